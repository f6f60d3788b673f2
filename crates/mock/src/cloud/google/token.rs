//! `https://oauth2.googleapis.com/token`: a service account's assertion
//! (<https://developers.google.com/identity/protocols/oauth2/service-account>) or a refresh token.

use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use http::Method;
use portunus_auth_core::BearerToken;
use serde_json::{Value, json};

use super::{Cloud, GoogleCloud, Problem, granted, refused};
use crate::answer::Answer;
use crate::capture::Recorded;
use crate::form::Form;

const AUDIENCE: &str = "https://oauth2.googleapis.com/token";

/// A service account and its public key.
#[derive(Clone, Debug)]
pub struct GoogleAccount {
    pub(super) email: String,
    key_id: String,
    public_key: Vec<u8>,
}

impl GoogleAccount {
    /// An account whose assertions are signed with the RSA key to this public one, in PEM
    /// (`-----BEGIN PUBLIC KEY-----`).
    pub fn new(email: impl Into<String>, key_id: impl Into<String>, public_key: &str) -> Self {
        let base64: String = public_key.lines().filter(|line| !line.starts_with('-')).collect();
        let public_key = BASE64_STANDARD.decode(base64).unwrap_or_default();
        Self { email: email.into(), key_id: key_id.into(), public_key }
    }

    pub(in crate::cloud) fn is_complete(&self) -> bool {
        self.email.contains('@') && !self.public_key.is_empty()
    }
}

/// A person's login at one client.
#[derive(Clone, Debug)]
pub struct GoogleUser {
    client_id: String,
    client_secret: BearerToken,
    refresh_token: BearerToken,
    scope: String,
}

impl GoogleUser {
    /// A login that was granted these scopes, separated by spaces.
    pub fn new(
        client_id: impl Into<String>,
        client_secret: impl Into<String>,
        refresh_token: impl Into<String>,
        scope: impl Into<String>,
    ) -> Self {
        Self {
            client_id: client_id.into(),
            client_secret: BearerToken::new(client_secret),
            refresh_token: BearerToken::new(refresh_token),
            scope: scope.into(),
        }
    }
}

/// `POST /token`.
pub(super) fn token(cloud: &Cloud, google: &GoogleCloud, request: &Recorded) -> Answer {
    match check(google, request, cloud.desk.clock.now()) {
        Ok(scope) => {
            let seconds = cloud.lifetime.load(Ordering::Relaxed);
            let (token, _) = google.issue(cloud, &scope, Duration::from_secs(seconds));
            granted(&token, seconds, json!({ "scope": scope }))
        }
        Err(problem) => refused(problem),
    }
}

fn check(google: &GoogleCloud, request: &Recorded, now: SystemTime) -> Result<String, Problem> {
    if request.method() != Method::POST || request.query().is_some() {
        return Err((405, "invalid_request", "POST without a query is expected."));
    }
    let form = Form::of_body(request).ok_or((400, "invalid_request", "A form is expected."))?;
    match form.get("grant_type") {
        Some("urn:ietf:params:oauth:grant-type:jwt-bearer") => {
            only(&form, &["grant_type", "assertion"])?;
            let assertion = form.get("assertion").ok_or((400, "invalid_request", "Missing assertion"))?;
            assert(google, assertion, now)
        }
        Some("refresh_token") => refresh(google, &form),
        _ => Err((400, "unsupported_grant_type", "Invalid grant_type")),
    }
}

pub(super) fn only(form: &Form, fields: &[&str]) -> Result<(), Problem> {
    if form.repeated().is_some() || form.names().any(|name| !fields.contains(&name)) {
        return Err((400, "invalid_request", "A parameter is repeated or unknown."));
    }
    Ok(())
}

fn refresh(google: &GoogleCloud, form: &Form) -> Result<String, Problem> {
    only(form, &["grant_type", "client_id", "client_secret", "refresh_token", "scope"])?;
    let [Some(client), Some(secret), Some(token)] =
        ["client_id", "client_secret", "refresh_token"].map(|name| form.get(name))
    else {
        return Err((400, "invalid_request", "A parameter is missing."));
    };
    let is_client = |user: &&GoogleUser| user.client_id == client && user.client_secret.expose() == secret;
    if !google.users.iter().any(|user| is_client(&user)) {
        return Err((401, "invalid_client", "The OAuth client was not found."));
    }
    let user = google.users.iter().filter(is_client).find(|user| user.refresh_token.expose() == token);
    let user = user.ok_or((400, "invalid_grant", "Token has been expired or revoked."))?;
    match form.get("scope") {
        None => Ok(user.scope.clone()),
        Some(asked) if asked.split(' ').all(|one| user.scope.split(' ').any(|has| has == one)) => {
            Ok(asked.to_owned())
        }
        Some(_) => Err((400, "invalid_scope", "Bad Request")),
    }
}

/// The scope that the assertion asks for.
fn assert(google: &GoogleCloud, assertion: &str, now: SystemTime) -> Result<String, Problem> {
    let invalid = |says| (400, "invalid_grant", says);
    let parts: Vec<&str> = assertion.split('.').collect();
    let [header, claims, signature] = *parts else { return Err(invalid("Invalid JWT: three parts.")) };
    let open = |part| BASE64_URL_SAFE_NO_PAD.decode(part).ok();
    let read = |part| serde_json::from_slice::<Value>(&open(part)?).ok();
    let (Some(header), Some(claims), Some(signature)) = (read(header), read(claims), open(signature)) else {
        return Err(invalid("Invalid JWT: base64url of JSON."));
    };
    let account = claims["iss"].as_str().and_then(|email| google.account_of(email));
    let account = account.ok_or(invalid("Invalid grant: account not found"))?;
    if header != json!({ "alg": "RS256", "typ": "JWT", "kid": account.key_id }) {
        return Err(invalid("Invalid JWT Header."));
    }
    let signed = &assertion[..assertion.rfind('.').unwrap_or_default()];
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &account.public_key)
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| invalid("Invalid JWT Signature."))?;
    let names: Vec<_> = claims.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    if names.len() != 5 || claims["aud"] != AUDIENCE {
        return Err(invalid("Invalid JWT: iss, aud, scope, iat and exp, for this server."));
    }
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (Some(issued), Some(ends)) = (claims["iat"].as_u64(), claims["exp"].as_u64()) else {
        return Err(invalid("Invalid JWT: whole seconds."));
    };
    if issued > now || ends <= now || ends - issued > 3_600 {
        return Err(invalid(
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.",
        ));
    }
    match claims["scope"].as_str() {
        Some(scope) if scope.split(' ').all(|one| one.starts_with("https://www.googleapis.com/auth/")) => {
            Ok(scope.to_owned())
        }
        _ => Err((400, "invalid_scope", "Invalid OAuth scope or ID token audience provided.")),
    }
}
