//! What an administrator does with many keys, and a holder with their own.

use std::num::NonZeroUsize;
use std::sync::Arc;

use portunus_auth_core::audit::{Actor, EventKind, KeySelection};
use portunus_auth_core::{BearerToken, KeyId, Outcome, Reason, Trail, Via};
use portunus_store::StoreError;
use tracing::Instrument;

use super::inspect::no_key;
use super::{KeyServer, Peer, RevokeError, revocation};
use crate::keys::{KeyPage, Matched, Revoke};

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

/// Whether the selection names somebody: with at least one part, and with no subject without its issuer,
/// which two issuers may both use.
pub(crate) fn is_revocable(which: &KeySelection) -> bool {
    !which.is_everything() && (which.subject.is_none() || which.issuer.is_some())
}

impl KeyServer {
    /// At most `limit` of the selected live keys, the oldest first, of those issued after the one named
    /// `after`. Leaves no audit event; whoever shows it to somebody does.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(
        &self,
        which: &KeySelection,
        after: Option<&KeyId>,
        limit: NonZeroUsize,
    ) -> Result<KeyPage, StoreError> {
        self.0.keys.list(which, after, limit).await
    }

    /// Revokes all selected keys. When this returns they do not work here any more, and the other servers
    /// that share the store are told. Leaves exactly one audit event. Dropping it does not stop it.
    ///
    /// # Errors
    /// [`RevokeError`]; repeat it when it is [`RevokeError::Store`].
    pub async fn revoke_selected(
        &self,
        which: KeySelection,
        why: StatedReason,
    ) -> Result<Matched, RevokeError> {
        if !is_revocable(&which) {
            return Err(RevokeError::Unselected);
        }
        let trail = self.trail(EventKind::TokenRevoked, Peer::default())?;
        let conclude = |trail: Trail, matched: &Result<Matched, StoreError>| {
            trail.finish(revocation(matched.as_ref().ok().map(|matched| matched.keys)));
        };
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
        conclude: fn(Trail, &Result<Matched, StoreError>),
    ) -> Result<Matched, StoreError> {
        let event = trail.event();
        event.actor = Some(actor);
        event.target.selection = Some(Arc::new(which.clone()));
        event.target.stated_reason = Some(why.0);
        let keys = self.0.keys.clone();
        let revoking = async move {
            let matched = keys.revoke_selected(&which).await;
            let target = &mut trail.event().target;
            target.revoked = matched.as_ref().ok().map(|matched| matched.keys);
            target.identities = matched.as_ref().ok().map(|matched| matched.identities);
            conclude(trail, &matched);
            matched
        };
        let lost = |lost: tokio::task::JoinError| Err(StoreError::Unavailable(lost.into()));
        tokio::spawn(revoking.in_current_span()).await.unwrap_or_else(lost)
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
            Ok(Ok((holder, jti))) => Ok(self.revoke_as(holder, Revoke::Key(jti), trail, conclude).await? > 0),
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
    ) -> Result<Result<(Actor, KeyId), Reason>, StoreError> {
        let presented = self.0.keys.presented(token).await?;
        Ok(presented.map_err(|error| no_key(&error)).and_then(|key| match key.via() {
            Via::Key(jti) => Ok((Actor::Principal(key.clone()), jti.clone())),
            _ => Err(Reason::UnknownCredential),
        }))
    }
}
