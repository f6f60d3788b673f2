//! What an administrator does with many keys, and a holder with their own.

use std::num::NonZeroUsize;
use std::sync::Arc;

use portunus_auth_core::audit::{Actor, EventKind, KeySelection};
use portunus_auth_core::{BearerToken, KeyId, Outcome, Reason, Trail, Via};
use portunus_store::StoreError;
use tracing::Instrument;

use super::inspect::no_key;
use super::{KeyServer, Peer, RevokeError, revocation};
use crate::config::IssuerConfig;
use crate::key::KeyDigest;
use crate::keys::{KeyPage, Matched, Meant, NotRevoked, Revoke};
use crate::policy::address;
use crate::preset::EmailTrust;

/// Why somebody revokes many keys, in their own words, for the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatedReason(Arc<str>);

/// The text cannot be a [`StatedReason`].
#[derive(Debug, thiserror::Error)]
#[error("a reason has 1 to 256 characters, none of them a control character, and not only white space")]
pub struct BadReason;

impl StatedReason {
    /// Checks the text.
    ///
    /// # Errors
    /// [`BadReason`] when it is empty or blank, too long, or has control characters.
    pub fn new(text: &str) -> Result<Self, BadReason> {
        if text.trim().is_empty() || text.chars().count() > 256 || text.contains(char::is_control) {
            return Err(BadReason);
        }
        Ok(Self(text.into()))
    }
}

/// Whether the selection names somebody: with at least one part, and with no subject or address without its
/// issuer, which two issuers may both use.
pub(crate) fn is_revocable(which: &KeySelection) -> bool {
    let names_one = which.subject.is_some() || which.email.is_some();
    let is_address = which.email.as_deref().is_none_or(|email| address(email).is_some());
    !which.is_everything() && (!names_one || which.issuer.is_some()) && is_address
}

impl KeyServer {
    /// At most `limit` of the selected live keys, the oldest first, of those issued after the one named
    /// `after`. By address, which needs the issuer, those of which it can be told. Leaves no audit event;
    /// whoever shows it to somebody does.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(
        &self,
        which: &KeySelection,
        after: Option<&KeyId>,
        limit: NonZeroUsize,
    ) -> Result<KeyPage, StoreError> {
        match Meant::by(which, self.email_trust(which)) {
            Some(meant) => self.0.keys.list(&meant, after, limit).await,
            None => Ok(KeyPage::default()),
        }
    }

    /// Revokes all selected keys. When this returns they do not work here any more, and the other servers
    /// that share the store are told. Leaves exactly one audit event. Dropping it does not stop it.
    ///
    /// # Errors
    /// [`RevokeError`]; repeat it when it is [`RevokeError::Store`].
    /// [`RevokeError::AddressNotKept`] when the selection has an address, and of a key that is like the rest of
    /// it none was kept, because no policy looked at addresses when it was issued.
    pub async fn revoke_selected(
        &self,
        which: KeySelection,
        why: StatedReason,
    ) -> Result<Matched, RevokeError> {
        if !is_revocable(&which) {
            return Err(RevokeError::Unselected);
        }
        let trail = self.trail(EventKind::TokenRevoked, Peer::default())?;
        let conclude = |trail: Trail, matched: &Result<Matched, NotRevoked>| trail.finish(of_many(matched));
        Ok(self.revoke_selected_as(Actor::System, which, why, trail, conclude).await?)
    }

    /// Revokes, notes in the trail what was selected and what came of it, and concludes it. In a task of its
    /// own, so that a caller who hangs up does not leave some of the keys.
    pub(crate) async fn revoke_selected_as(
        &self,
        actor: Actor,
        which: KeySelection,
        why: StatedReason,
        mut trail: Trail,
        conclude: fn(Trail, &Result<Matched, NotRevoked>),
    ) -> Result<Matched, NotRevoked> {
        let event = trail.event();
        event.actor = Some(actor);
        event.target.selection = Some(Arc::new(which.clone()));
        event.target.stated_reason = Some(why.0);
        let (keys, trust) = (self.0.keys.clone(), self.email_trust(&which));
        let revoking = async move {
            let matched = match Meant::by(&which, trust) {
                Some(meant) => keys.revoke_selected(&meant).await,
                None => Ok(Matched::default()),
            };
            let target = &mut trail.event().target;
            target.revoked = matched.as_ref().ok().map(|matched| matched.keys);
            target.identities = matched.as_ref().ok().map(|matched| matched.identities);
            conclude(trail, &matched);
            matched
        };
        let lost = |lost: tokio::task::JoinError| Err(StoreError::Unavailable(lost.into()).into());
        tokio::spawn(revoking.in_current_span()).await.unwrap_or_else(lost)
    }

    /// How far the issuer that is selected is believed about addresses.
    fn email_trust(&self, which: &KeySelection) -> EmailTrust {
        let is_meant = |issuer: &&IssuerConfig| which.issuer.as_deref() == Some(&*issuer.name);
        self.0.configured.iter().find(is_meant).map_or(EmailTrust::Never, |its| its.preset.profile().email)
    }

    /// Revokes the presented key: whoever has it may end it (RFC 7009). `false`: it is no live key. Leaves
    /// exactly one audit event.
    ///
    /// # Errors
    /// [`RevokeError`] when it is not certain that it is gone; repeat it then.
    pub async fn give_back(&self, token: &BearerToken) -> Result<bool, RevokeError> {
        let trail = self.trail(EventKind::TokenRevoked, Peer::default())?;
        let conclude = |trail: Trail, revoked: &Result<usize, StoreError>| {
            trail.finish(revocation(revoked.as_ref().ok().copied()));
        };
        match self.presented(token).await {
            Ok(Ok((holder, which, digest))) => {
                Ok(self.revoke_as(holder, (which, Some(digest)), trail, conclude).await? > 0)
            }
            Ok(Err(reason)) => {
                trail.finish(Outcome::Refused(reason));
                Ok(false)
            }
            Err(error) => {
                trail.finish(revocation(None));
                Err(error.into())
            }
        }
    }

    /// Who presents this live key, and its name; or why it is none.
    pub(crate) async fn presented(
        &self,
        token: &BearerToken,
    ) -> Result<Result<(Actor, Revoke, KeyDigest), Reason>, StoreError> {
        let presented = self.0.keys.presented(token).await?;
        Ok(presented.map_err(|error| no_key(&error)).and_then(|(digest, key)| match key.via() {
            Via::Key(jti) => Ok((Actor::Principal(key.clone()), Revoke::Key(jti.clone()), digest)),
            _ => Err(Reason::UnknownCredential),
        }))
    }
}

/// How a revocation of many ended, for the audit.
pub(crate) fn of_many(matched: &Result<Matched, NotRevoked>) -> Outcome {
    match matched {
        Ok(matched) => revocation(Some(matched.keys)),
        Err(NotRevoked::Store(_)) => revocation(None),
        Err(NotRevoked::AddressNotKept) => Outcome::Refused(Reason::AddressNotKept),
    }
}
