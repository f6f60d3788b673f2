//! Tokens without a flow, right ones and wrong ones.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Idp;
use super::keys::{Algorithm, Kid, unsigned};
use super::ledger::Access;
use super::preset::AccessForm;
use super::user::User;

/// What is wrong with a token that is otherwise right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TokenFault {
    /// The signature does not fit.
    BadSignature,
    /// Another issuer.
    WrongIssuer,
    /// Another audience.
    WrongAudience,
    /// Expired an hour ago.
    Expired,
    /// Valid from an hour ahead, by `nbf` and `iat`.
    NotYetValid,
    /// Names a key that is not published.
    UnknownKid,
    /// Names no key.
    NoKid,
    /// `alg: none`, and no signature.
    AlgNone,
}

const HOUR: Duration = Duration::from_secs(3_600);

/// A token in the making.
///
/// Without any choice it is valid for the identity provider's own client, or audience, from now on.
#[derive(Clone, Debug)]
#[must_use]
pub struct Mint {
    idp: Arc<Idp>,
    subject: String,
    audiences: Vec<String>,
    claims: Map<String, Value>,
    without: Vec<String>,
    algorithm: Algorithm,
    ttl: Duration,
    issued_at: Option<SystemTime>,
    issuer: Option<String>,
    fault: Option<TokenFault>,
    pub(super) userinfo: Map<String, Value>,
    pub(super) family: Option<u64>,
}

impl Mint {
    pub(super) fn new(idp: Arc<Idp>, subject: String) -> Self {
        Self {
            subject,
            audiences: Vec::new(),
            claims: Map::new(),
            without: Vec::new(),
            algorithm: idp.settings.algorithm,
            ttl: idp.settings.token_ttl,
            issued_at: None,
            issuer: None,
            fault: None,
            userinfo: Map::new(),
            family: None,
            idp,
        }
    }

    /// The ID token of a user, with every scope.
    pub(super) fn of_user(idp: Arc<Idp>, user: &User) -> Self {
        let scopes = ["openid", "profile", "email", "groups"].map(str::to_owned);
        let subject = super::claims::subject(&idp, &idp.clients.own_id(), user);
        let claims = super::claims::of_id_token(&idp, user, &scopes);
        Self::new(idp, subject).claims(claims)
    }

    /// An audience; called twice, the token has two.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// A claim, also in place of one that would be there anyway.
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.claims.insert(name.into(), value.into());
        self
    }

    pub(super) fn claims(mut self, claims: Map<String, Value>) -> Self {
        self.claims.extend(claims);
        self
    }

    /// Leaves out a claim that would be there.
    pub fn without(mut self, claim: impl Into<String>) -> Self {
        self.without.push(claim.into());
        self
    }

    /// How it is signed.
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// How long it is valid, from when it was issued.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// When it was issued, instead of now.
    pub fn issued_at(mut self, at: SystemTime) -> Self {
        self.issued_at = Some(at);
        self
    }

    /// The nonce of the authorization request.
    pub fn nonce(self, nonce: impl Into<String>) -> Self {
        self.claim("nonce", nonce.into())
    }

    /// Another issuer than the identity provider itself.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Something wrong with it.
    pub fn fault(mut self, fault: TokenFault) -> Self {
        self.fault = Some(fault);
        self
    }

    /// An ID token (OIDC Core §2).
    pub fn id_token(self) -> String {
        let (mut claims, issued_at, _) = self.common(self.idp.clients.own_id());
        claims.insert("auth_time".to_owned(), seconds(issued_at).into());
        claims.insert("jti".to_owned(), self.jti(issued_at).into());
        self.sign("JWT", self.finished(claims))
    }

    /// An access token, which the identity provider and its LLM server honour: a JWT (RFC 9068) or, where
    /// the provider issues such, text that says nothing.
    pub fn access_token(self) -> String {
        let (mut claims, issued_at, expires_at) = self.common(self.idp.settings.audience.clone());
        claims.insert("jti".to_owned(), self.jti(issued_at).into());
        claims.insert("client_id".to_owned(), self.idp.clients.own_id().into());
        claims.insert("scope".to_owned(), "openid".into());
        let claims = self.finished(claims);
        let token = match self.opaque_prefix() {
            Some(prefix) => format!("{prefix}{}", self.idp.issued.new_family()),
            None => self.sign("at+jwt", claims.clone()),
        };
        if matches!(self.fault, None | Some(TokenFault::Expired)) {
            let access = Access {
                subject: self.subject.clone(),
                claims,
                userinfo: self.userinfo.clone(),
                expires_at,
                family: self.family,
            };
            self.idp.issued.add(&token, access, self.idp.now());
        }
        token
    }

    /// What an access token begins with that is not a JWT.
    fn opaque_prefix(&self) -> Option<&'static str> {
        match self.idp.settings.profile.access {
            AccessForm::Opaque(prefix) => Some(prefix),
            AccessForm::JwtForAudience if self.audiences.is_empty() => Some("opaque-mock-"),
            _ => self.idp.settings.opaque.then_some("opaque-mock-"),
        }
    }

    /// A name that no other token has, also not one of an earlier run, so that whoever remembers spent
    /// tokens can tell two of the same second apart.
    fn jti(&self, issued_at: SystemTime) -> String {
        format!("jti-mock-{}-{}", seconds(issued_at), self.idp.next())
    }

    /// The claims that both kinds have, when the token was issued and when it expires.
    fn common(&self, audience: String) -> (Map<String, Value>, SystemTime, SystemTime) {
        let now = self.issued_at.unwrap_or_else(|| self.idp.now());
        let (issued_at, expires_at) = match self.fault {
            Some(TokenFault::Expired) => (now - 2 * HOUR, now - HOUR),
            Some(TokenFault::NotYetValid) => (now + HOUR, now + HOUR + self.ttl),
            _ => (now, now + self.ttl),
        };
        let issuer = match self.fault {
            Some(TokenFault::WrongIssuer) => "https://wrong-issuer.example",
            _ => self.issuer.as_deref().unwrap_or(self.idp.issuer()),
        };
        let audience = match (&*self.audiences, self.fault) {
            (_, Some(TokenFault::WrongAudience)) => json!("wrong-audience"),
            ([], _) => json!(audience),
            ([one], _) => json!(one),
            (several, _) => json!(several),
        };
        let mut claims = Map::new();
        claims.insert("iss".to_owned(), issuer.into());
        claims.insert("sub".to_owned(), self.subject.clone().into());
        claims.insert("aud".to_owned(), audience);
        claims.insert("iat".to_owned(), seconds(issued_at).into());
        claims.insert("exp".to_owned(), seconds(expires_at).into());
        if self.fault == Some(TokenFault::NotYetValid) {
            claims.insert("nbf".to_owned(), seconds(issued_at).into());
        }
        (claims, issued_at, expires_at)
    }

    fn finished(&self, mut claims: Map<String, Value>) -> Map<String, Value> {
        claims.extend(self.claims.clone());
        self.without.iter().for_each(|name| drop(claims.remove(name)));
        claims
    }

    fn sign(&self, typ: &str, claims: Map<String, Value>) -> String {
        let kid = match self.fault {
            Some(TokenFault::AlgNone) => return unsigned(typ, &claims),
            Some(TokenFault::UnknownKid) => Kid::Unknown,
            Some(TokenFault::NoKid) => Kid::None,
            _ => Kid::Right,
        };
        let token = self.idp.keys().sign(self.algorithm, typ, &kid, &claims);
        if self.fault == Some(TokenFault::BadSignature) { with_bad_signature(&token) } else { token }
    }
}

/// Changes the first character of the signature, whose every bit counts.
fn with_bad_signature(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap_or((token, ""));
    let (first, rest) = signature.split_at(signature.len().min(1));
    format!("{signed}.{}{rest}", if first == "A" { "B" } else { "A" })
}

pub(super) fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
