//! The token endpoint.

use std::sync::Arc;
use std::time::SystemTime;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::Idp;
use super::claims;
use super::client::{GrantType, OAuthClient};
use super::client_auth::authenticate;
use super::consent::{Consent, audiences};
use super::error::{OAuthError, no_store};
use super::ledger::Refresh;
use super::mint::{Mint, seconds};
use super::user::User;
use super::{device, exchange, github, jwt_bearer, possession};
use crate::answer::{self, Answer};
use crate::capture::Recorded;
use crate::form::Form;

/// `POST /token`.
pub(super) fn token(idp: &Arc<Idp>, request: &Recorded) -> Answer {
    match issue(idp, request) {
        Ok(tokens) => worded(idp, request, StatusCode::OK, tokens),
        Err(error) => error.answer_for(idp, request),
    }
}

/// A token response, in the provider's own way.
pub(super) fn worded(idp: &Idp, request: &Recorded, status: StatusCode, body: Value) -> Answer {
    if idp.settings.profile.metadata {
        no_store(answer::json(status, answer::write(&body)))
    } else {
        github::worded(request, status, body)
    }
}

/// A request of a client that has proven who it is, and maybe that it has a key.
pub(super) struct Asked<'r> {
    pub(super) idp: &'r Arc<Idp>,
    pub(super) client: Arc<OAuthClient>,
    pub(super) form: &'r Form,
    /// The thumbprint of the key that the client has proven (RFC 9449).
    pub(super) key: Option<String>,
}

fn issue(idp: &Arc<Idp>, request: &Recorded) -> Result<Value, OAuthError> {
    let form = posted_form(request, &["resource", "audience"])?;
    let invalid = |says| OAuthError::new("invalid_request", says);
    // GitHub's clients do not say it when they redeem a code.
    let unsaid = (!idp.settings.profile.metadata).then_some("authorization_code");
    let grant_type = form.get("grant_type").or(unsaid).ok_or_else(|| invalid("`grant_type` is missing"))?;
    let client = authenticate(idp, request, &form)?;
    let grant = GrantType::of(grant_type).filter(|grant| idp.settings.grants.contains(grant));
    let grant = grant.ok_or(OAuthError::new("unsupported_grant_type", "the grant type is not supported"))?;
    idp.script.came(grant);
    if let Some(error) = idp.script.refusal() {
        return Err(OAuthError::new(error, "the test wants it so"));
    }
    if !client.may_use(grant) {
        return Err(OAuthError::new("unauthorized_client", "the client may not use that grant type"));
    }
    let key = possession::proven_at_token_endpoint(idp, request)?;
    if client.dpop && key.is_none() {
        return Err(OAuthError::new("invalid_dpop_proof", "the client has to send a DPoP proof"));
    }
    let asked = Asked { idp, client, form: &form, key };
    match grant {
        GrantType::AuthorizationCode => authorization_code(&asked),
        GrantType::RefreshToken => refresh_token(&asked),
        GrantType::ClientCredentials => client_credentials(&asked),
        GrantType::DeviceCode => device::redeem(&asked),
        GrantType::TokenExchange => exchange::exchange(&asked),
        GrantType::JwtBearer => jwt_bearer::jwt_bearer(&asked),
    }
}

/// The form of a `POST`; only the parameters of those names may be there several times.
pub(super) fn posted_form(request: &Recorded, several: &[&str]) -> Result<Form, OAuthError> {
    let invalid = |says| OAuthError::new("invalid_request", says);
    if request.method() != Method::POST {
        return Err(invalid("the endpoint takes POST"));
    }
    let form = Form::of_body(request).ok_or_else(|| invalid("the body must be a form"))?;
    if form.names().any(|name| !several.contains(&name) && form.repeats(name)) {
        return Err(invalid("a parameter is there twice"));
    }
    Ok(form)
}

fn authorization_code(asked: &Asked<'_>) -> Result<Value, OAuthError> {
    let idp = asked.idp;
    let code = idp.codes.redeem(&asked.client.id, asked.form, asked.key.as_deref(), idp)?;
    first_tokens(asked, code.consent, code.nonce)
}

/// The first tokens that a consent gives.
pub(super) fn first_tokens(
    asked: &Asked<'_>,
    consent: Consent,
    nonce: Option<String>,
) -> Result<Value, OAuthError> {
    let idp = asked.idp;
    let mut tokens = tokens(asked, &consent, &consent.scopes, nonce)?;
    if consent.offline {
        let key = asked.key.clone().filter(|_| asked.client.is_public());
        let now = idp.now();
        let refresh = Refresh::new(consent, key, now, now + idp.settings.refresh_ttl);
        tokens["refresh_token"] = idp.issued.add_refresh(refresh).into();
    }
    Ok(tokens)
}

/// The first tokens of the current user for that client, as after a flow.
pub(super) fn without_flow(idp: &Arc<Idp>, client_id: &str, scopes: &str) -> Option<Value> {
    let client = idp.clients.find(client_id)?;
    let scopes = client.scopes_for(Some(scopes)).ok()?;
    let consent = Consent {
        client_id: client.id.clone(),
        user: idp.user(),
        audiences: Vec::new(),
        authenticated_at: idp.now(),
        offline: idp.is_offline(&client, &scopes, true),
        scopes,
        family: idp.issued.new_family(),
    };
    first_tokens(&Asked { idp, client, form: &Form::default(), key: None }, consent, None).ok()
}

/// Narrower scopes may be asked for, wider ones not (RFC 6749 §6).
fn refresh_token(asked: &Asked<'_>) -> Result<Value, OAuthError> {
    let (idp, form) = (asked.idp, asked.form);
    let text = form.get("refresh_token");
    let text = text.ok_or(OAuthError::new("invalid_request", "`refresh_token` is missing"))?;
    let now = idp.now();
    let mut scopes = None;
    let (refresh, next) = idp.issued.refresh(
        text,
        &asked.client.id,
        idp.settings.refresh_policy,
        (now, now + idp.settings.refresh_ttl),
        |refresh| {
            if refresh.key.is_some() && refresh.key != asked.key {
                return Err(OAuthError::new(
                    "invalid_dpop_proof",
                    "the refresh token is bound to another key",
                ));
            }
            scopes = form.get("scope").map(super::client::split);
            let wider = scopes.iter().flatten().any(|scope| !refresh.consent.scopes.contains(scope));
            if wider || scopes.as_ref().is_some_and(Vec::is_empty) {
                return Err(OAuthError::new("invalid_scope", "a scope was not granted before"));
            }
            refresh.consent.narrowed(idp, form).map(drop)
        },
    )?;
    let consent = refresh.consent;
    let mut tokens = tokens(asked, &consent, scopes.as_ref().unwrap_or(&consent.scopes), None)?;
    tokens["refresh_token"] = next.into();
    Ok(tokens)
}

/// An access token, and an ID token with `openid`.
fn tokens(
    asked: &Asked<'_>,
    consent: &Consent,
    scopes: &[String],
    nonce: Option<String>,
) -> Result<Value, OAuthError> {
    let (idp, user) = (asked.idp, &consent.user);
    let subject = claims::subject(idp, &asked.client.id, user);
    let granted = Granted {
        subject: &subject,
        user: Some(user),
        scope: scopes.join(" "),
        audiences: consent.narrowed(idp, asked.form)?,
        family: Some(consent.family),
        userinfo: claims::of_userinfo(idp, user, scopes),
        act: None,
        not_after: None,
    };
    let mut tokens = access_token(asked, granted);
    if idp.settings.profile.metadata && scopes.iter().any(|scope| scope == "openid") {
        let access = tokens["access_token"].as_str().unwrap_or_default();
        let mut mint = Mint::new(Arc::clone(idp), subject)
            .claims(claims::of_id_token(idp, user, scopes))
            .audience(asked.client.id.clone())
            .claim("auth_time", seconds(consent.authenticated_at))
            .claim("at_hash", idp.settings.algorithm.half_hash(access));
        if let Some(nonce) = nonce {
            mint = mint.nonce(nonce);
        }
        tokens["id_token"] = mint.id_token().into();
    }
    Ok(tokens)
}

/// What an access token is issued for.
pub(super) struct Granted<'g> {
    pub(super) subject: &'g str,
    /// `None`: a client that acts for itself, or somebody whom only another issuer knows.
    pub(super) user: Option<&'g User>,
    pub(super) scope: String,
    /// None: that of the identity provider.
    pub(super) audiences: Vec<String>,
    pub(super) family: Option<u64>,
    pub(super) userinfo: Map<String, Value>,
    /// Who acts for the subject (RFC 8693 §4.1).
    pub(super) act: Option<Value>,
    pub(super) not_after: Option<SystemTime>,
}

impl<'g> Granted<'g> {
    /// What the request asks for about a subject who is no user here, so that there is nothing to refresh.
    pub(super) fn alone(asked: &Asked<'_>, subject: &'g str) -> Result<Self, OAuthError> {
        Ok(Self {
            subject,
            user: None,
            scope: asked.client.scopes_for(asked.form.get("scope"))?.join(" "),
            audiences: audiences(asked.idp, asked.form)?,
            family: None,
            userinfo: Map::new(),
            act: None,
            not_after: None,
        })
    }
}

/// A token response with an access token, bound to the key that the client has proven.
pub(super) fn access_token(asked: &Asked<'_>, granted: Granted<'_>) -> Value {
    let idp = asked.idp;
    let now = idp.now();
    let left = granted.not_after.map(|end| end.duration_since(now).unwrap_or_default());
    let ttl = left.map_or(idp.settings.token_ttl, |left| left.min(idp.settings.token_ttl));
    let mut mint = Mint::new(Arc::clone(idp), granted.subject.to_owned())
        .ttl(ttl)
        .claims(claims::of_access_token(idp, &asked.client.id, granted.user, &granted.scope))
        .claim("client_id", asked.client.id.clone())
        .claim("scope", granted.scope.clone());
    for audience in granted.audiences {
        mint = mint.audience(audience);
    }
    if let Some(key) = &asked.key {
        mint = mint.claim("cnf", json!({ "jkt": key }));
    }
    if let Some(act) = granted.act {
        mint = mint.claim("act", act);
    }
    mint.userinfo = granted.userinfo;
    mint.family = granted.family;
    json!({
        "access_token": mint.access_token(),
        "token_type": if asked.key.is_some() { "DPoP" } else { "Bearer" },
        "expires_in": ttl.as_secs(),
        "scope": granted.scope,
    })
}

/// The client acts for itself: its id is the subject, there is no user to tell of, and nothing to
/// refresh (RFC 6749 §4.4.3).
fn client_credentials(asked: &Asked<'_>) -> Result<Value, OAuthError> {
    if asked.client.is_public() {
        return Err(OAuthError::new("unauthorized_client", "a public client cannot act for itself"));
    }
    Ok(access_token(asked, Granted::alone(asked, &asked.client.id)?))
}
