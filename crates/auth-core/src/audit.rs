//! One event for every decision, allowed or refused, also when the client hangs up.

mod http_facts;
mod target;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

pub use http_facts::{HttpFacts, RequestId};
pub use target::{KeySelection, Target};

use crate::{Clock, Principal, PrincipalId, TenantId};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum EventKind {
    /// A call to a provider.
    #[serde(rename = "llm.request")]
    LlmRequest,
    /// A call to a page or an API of the control plane.
    #[serde(rename = "control.request")]
    ControlRequest,
    /// An identity was exchanged for a key.
    #[serde(rename = "token.issued")]
    TokenIssued,
    /// An exchange was refused.
    #[serde(rename = "token.denied")]
    TokenDenied,
    /// A token that may be exchanged once was presented again.
    #[serde(rename = "token.replayed")]
    TokenReplayed,
    /// A key was taken back, or a revocation was refused.
    #[serde(rename = "token.revoked")]
    TokenRevoked,
    /// A key that nobody took back came to its end.
    #[serde(rename = "token.expired")]
    TokenExpired,
    /// Somebody asked what a key is good for (RFC 7662), or was refused to be told.
    #[serde(rename = "token.used")]
    TokenUsed,
    /// An administrator's call was refused for lack of the administrator's token.
    #[serde(rename = "admin.denied")]
    AdminDenied,
    /// Policies were asked what they say about somebody, without doing it.
    #[serde(rename = "policy.explained")]
    PolicyExplained,
    /// Other policies came into force.
    #[serde(rename = "policy.reloaded")]
    PolicyReloaded,
    /// An administrator was shown which keys there are, or could not be.
    #[serde(rename = "admin.listed")]
    AdminListed,
    /// An issuer's keys were fetched anew.
    #[serde(rename = "jwks.refreshed")]
    JwksRefreshed,
    /// An issuer's keys could not be fetched.
    #[serde(rename = "jwks.failed")]
    JwksFailed,
    /// The process begins to serve.
    #[serde(rename = "server.started")]
    ServerStarted,
    /// The process has served its last request.
    #[serde(rename = "server.stopped")]
    ServerStopped,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Admitted, and carried out to its end.
    Allowed,
    /// Refused by us.
    Refused(Reason),
    /// Admitted, but it failed on the way.
    Failed(Reason),
    /// The caller went away before the end.
    Abandoned,
}

/// Why. A fixed set of codes, so that nothing a caller wrote gets into the audit as an explanation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the codes are the text of the audit")]
pub enum Reason {
    MissingCredential,
    MalformedCredential,
    AmbiguousCredential,
    UnknownCredential,
    ExpiredCredential,
    RevokedCredential,
    NotAdmitted,
    AuthenticationUnavailable,
    ModelDenied,
    ToolDenied,
    UpstreamDenied,
    ScopeDenied,
    UnknownRoute,
    UnknownModel,
    MalformedRequest,
    RequestTooLarge,
    RequestTimeout,
    RateLimited,
    Overloaded,
    TooManyKeys,
    AddressNotKept,
    ReplayedToken,
    TooManyGenerations,
    MissingProof,
    BadProof,
    StaleProof,
    ReplayedProof,
    ProofOfOtherKey,
    ProofOfOtherRequest,
    BadSignature,
    UnknownIssuer,
    UnknownKey,
    WrongAudience,
    WrongClaims,
    NotYetValid,
    UnsupportedAlgorithm,
    UnsupportedGrant,
    NoPolicy,
    IssuerUnavailable,
    StoreUnavailable,
    CredentialUnavailable,
    UpstreamUnreachable,
    UpstreamTimeout,
    UpstreamBroken,
    Unauthorized,
    NotFound,
    Internal,
}

/// Who did it, as far as that is proven.
#[derive(Clone, Debug)]
pub enum Actor {
    /// An authenticated caller.
    Principal(Arc<Principal>),
    /// A verified identity that holds no key yet.
    Identity(Arc<PrincipalId>),
    /// A configured client of the key server.
    Client {
        /// Its name.
        id: Arc<str>,
        /// The tenant whose keys it may ask about.
        tenant: TenantId,
    },
    /// Whoever holds the administrator's token.
    Admin,
    /// The system itself.
    System,
}

impl Serialize for Actor {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        let id = match self {
            Self::Principal(principal) => {
                map.serialize_entry("kind", principal.via().kind())?;
                match principal.via() {
                    crate::Via::Key(jti) => map.serialize_entry("jti", jti)?,
                    crate::Via::StaticKey(name) => map.serialize_entry("key", name)?,
                    crate::Via::Jwt => {}
                }
                Some(principal.id())
            }
            Self::Identity(id) => {
                map.serialize_entry("kind", "identity")?;
                Some(&**id)
            }
            Self::Client { id, tenant } => {
                map.serialize_entry("kind", "client")?;
                map.serialize_entry("client", id)?;
                map.serialize_entry("tenant", tenant)?;
                None
            }
            Self::Admin => {
                map.serialize_entry("kind", "admin")?;
                None
            }
            Self::System => {
                map.serialize_entry("kind", "system")?;
                None
            }
        };
        if let Some(id) = id {
            map.serialize_entry("tenant", &id.tenant)?;
            map.serialize_entry("iss", &id.issuer)?;
            map.serialize_entry("sub", &id.subject)?;
        }
        map.end()
    }
}

/// One decision. The writer adds the sequence number and the chain of hashes.
#[derive(Clone, Debug)]
pub struct AuditEvent {
    /// When it began.
    pub at: SystemTime,
    /// What.
    pub kind: EventKind,
    /// How it ended.
    pub outcome: Outcome,
    /// Who.
    pub actor: Option<Actor>,
    /// The peer's address.
    pub peer: Option<IpAddr>,
    /// The HTTP side.
    pub http: Option<HttpFacts>,
    /// What it was about.
    pub target: Target,
    /// How long it took.
    pub took: Option<Duration>,
    /// How many bytes of body the caller was sent.
    pub bytes_out: Option<u64>,
}

impl AuditEvent {
    /// An event of which nothing more is known yet.
    pub fn new(at: SystemTime, kind: EventKind, outcome: Outcome) -> Self {
        Self {
            at,
            kind,
            outcome,
            actor: None,
            peer: None,
            http: None,
            target: Target::default(),
            took: None,
            bytes_out: None,
        }
    }
}

impl Serialize for AuditEvent {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("ts", &format_args!("{}", humantime::format_rfc3339_micros(self.at)))?;
        map.serialize_entry("event", &self.kind)?;
        let (outcome, reason) = match self.outcome {
            Outcome::Allowed => ("allowed", None),
            Outcome::Refused(reason) => ("refused", Some(reason)),
            Outcome::Failed(reason) => ("failed", Some(reason)),
            Outcome::Abandoned => ("abandoned", None),
        };
        map.serialize_entry("outcome", outcome)?;
        if let Some(reason) = reason {
            map.serialize_entry("reason_code", &reason)?;
        }
        if let Some(actor) = &self.actor {
            map.serialize_entry("actor", actor)?;
        }
        if let Some(peer) = &self.peer {
            map.serialize_entry("peer", peer)?;
        }
        if let Some(http) = &self.http {
            map.serialize_entry("http", http)?;
        }
        map.serialize_entry("target", &self.target)?;
        if let Some(took) = self.took {
            map.serialize_entry("took_us", &u64::try_from(took.as_micros()).unwrap_or(u64::MAX))?;
        }
        if let Some(bytes) = self.bytes_out {
            map.serialize_entry("bytes_out", &bytes)?;
        }
        map.end()
    }
}

/// The audit cannot take one more event; whatever it was for must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit is full")]
pub struct AuditFull;

/// Where events go.
///
/// Must not block, and must not lose an event that was admitted. A sink that can lose one says so in
/// its name and counts them.
pub trait AuditSink: fmt::Debug + Send + Sync + 'static {
    /// Keeps room for one event. Each call of [`AuditSink::record`] uses up one.
    ///
    /// # Errors
    /// [`AuditFull`] when there is no room; the caller must refuse, because it could not be audited.
    fn admit(&self) -> Result<(), AuditFull>;

    /// Takes the event for which room was kept.
    fn record(&self, event: AuditEvent);
}

/// The promise of exactly one event for one request. It begins as [`Outcome::Abandoned`] and is
/// recorded when dropped, so whoever forgets to finish it, or goes away, still leaves a trace.
#[derive(Debug)]
pub struct Trail {
    sink: Arc<dyn AuditSink>,
    clock: Arc<dyn Clock>,
    began: Duration,
    event: Option<AuditEvent>,
}

impl Trail {
    /// Keeps room for the event and begins it.
    ///
    /// # Errors
    /// [`AuditFull`]: the request must be refused.
    pub fn begin(
        sink: Arc<dyn AuditSink>,
        clock: Arc<dyn Clock>,
        kind: EventKind,
    ) -> Result<Self, AuditFull> {
        sink.admit()?;
        let event = AuditEvent::new(clock.now(), kind, Outcome::Abandoned);
        let began = clock.monotonic();
        Ok(Self { sink, clock, began, event: Some(event) })
    }

    /// Who the caller turned out to be.
    pub fn identify(&mut self, caller: &Arc<Principal>) {
        self.event().actor = Some(Actor::Principal(caller.clone()));
    }

    /// The event so far, to note facts in.
    pub fn event(&mut self) -> &mut AuditEvent {
        let clock = &self.clock;
        self.event
            .get_or_insert_with(|| AuditEvent::new(clock.now(), EventKind::LlmRequest, Outcome::Abandoned))
    }

    /// Ends with this outcome.
    pub fn finish(mut self, outcome: Outcome) {
        self.event().outcome = outcome;
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        if let Some(mut event) = self.event.take() {
            event.took = Some(self.clock.monotonic().saturating_sub(self.began));
            self.sink.record(event);
        }
    }
}

/// Keeps events in memory, for tests.
#[cfg(any(test, feature = "test-util"))]
#[derive(Debug, Default)]
pub struct MemorySink(std::sync::Mutex<Vec<AuditEvent>>);

#[cfg(any(test, feature = "test-util"))]
impl MemorySink {
    /// All events so far, oldest first.
    pub fn events(&self) -> Vec<AuditEvent> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

#[cfg(any(test, feature = "test-util"))]
impl AuditSink for MemorySink {
    fn admit(&self) -> Result<(), AuditFull> {
        Ok(())
    }

    fn record(&self, event: AuditEvent) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn trail(sink: &Arc<MemorySink>, clock: &Arc<ManualClock>) -> Trail {
        Trail::begin(sink.clone(), clock.clone(), EventKind::LlmRequest).unwrap()
    }

    #[test]
    fn a_dropped_trail_is_recorded_as_abandoned_and_a_finished_one_once() {
        let (sink, clock) = (Arc::new(MemorySink::default()), Arc::new(ManualClock::at_unix(1)));
        drop(trail(&sink, &clock));
        let finished = trail(&sink, &clock);
        clock.advance(Duration::from_millis(3));
        finished.finish(Outcome::Refused(Reason::UnknownModel));
        let outcomes: Vec<_> = sink.events().iter().map(|e| (e.outcome, e.took)).collect();
        assert_eq!(
            outcomes,
            [
                (Outcome::Abandoned, Some(Duration::ZERO)),
                (Outcome::Refused(Reason::UnknownModel), Some(Duration::from_millis(3))),
            ]
        );
    }

    #[test]
    fn an_event_is_one_flat_json_object() {
        let mut event = AuditEvent::new(
            SystemTime::UNIX_EPOCH,
            EventKind::LlmRequest,
            Outcome::Refused(Reason::ModelDenied),
        );
        event.http = Some(HttpFacts {
            method: http::Method::POST,
            route: "/v1/messages",
            status: Some(403),
            request_id: RequestId(1, 2),
        });
        event.actor = Some(Actor::Admin);
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            r#"{"ts":"1970-01-01T00:00:00.000000Z","event":"llm.request","outcome":"refused","reason_code":"model_denied","actor":{"kind":"admin"},"http":{"method":"POST","route":"/v1/messages","status":403,"request_id":"req_00000000000000010000000000000002"},"target":{}}"#
        );
    }
}
