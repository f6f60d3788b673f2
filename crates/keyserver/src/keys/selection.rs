//! Which keys an administrator means.

use portunus_auth_core::audit::KeySelection;

use super::{KeyRecord, issued_at};
use crate::policy::{Holds, VerifiedAddress};
use crate::preset::EmailTrust;

/// The keys that are like every part of a selection.
#[derive(Debug)]
pub(crate) struct Meant<'a> {
    pub(super) which: &'a KeySelection,
    address: Option<VerifiedAddress>,
}

impl<'a> Meant<'a> {
    /// These, where their issuer is believed so far about addresses. `None`: the selection asks for an address
    /// that is none.
    pub(crate) fn by(which: &'a KeySelection, trust: EmailTrust) -> Option<Self> {
        let address = match &which.email {
            None => None,
            Some(email) => Some(VerifiedAddress::new(email, trust)?),
        };
        Some(Self { which, address })
    }

    /// Whether the key is one of them. It cannot be told of a key that is like all else, and of whose owner no
    /// address was kept.
    pub(super) fn is(&self, key: &KeyRecord) -> Holds {
        let Self { which, address } = self;
        let is_like_the_rest = which.is_about(&key.owner)
            && which.policy.as_ref().is_none_or(|policy| *policy == key.policy)
            && which.issued_before.is_none_or(|before| issued_at(&key.jti) < before);
        match address {
            _ if !is_like_the_rest => Holds::No,
            None => Holds::Yes,
            Some(address) => address.is_of(&key.owner, key.evidence.as_deref()),
        }
    }
}
