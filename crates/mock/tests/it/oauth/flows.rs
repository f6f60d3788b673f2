//! The flows that many tests go through, each with everything right.

use std::collections::HashMap;
use std::sync::Arc;

use portunus_auth_core::clock::ManualClock;
use portunus_mock::{IdpBuilder, MockIdp, OAuthClient, User};
use reqwest::Response;
use serde_json::Value;
use url::Url;

use crate::support::{client, header, json_of};

pub(crate) const NOW: u64 = 1_700_000_000;
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub(crate) const BACK: &str = "https://app.example/cb";
pub(crate) const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Id and secret, if any.
pub(crate) type Who = (&'static str, Option<&'static str>);
pub(crate) const APP: Who = ("app", Some("app-secret"));
pub(crate) const OTHER: Who = ("other", Some("other-secret"));
pub(crate) const CLI: Who = ("cli", None);

pub(crate) struct World {
    pub(crate) idp: MockIdp,
    pub(crate) clock: Arc<ManualClock>,
}

/// Two confidential clients and a public one, with Alice as the user.
pub(crate) fn builder() -> (IdpBuilder, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at_unix(NOW));
    let scopes = ["openid", "profile", "email"];
    let known = |(id, secret): Who| {
        let client = OAuthClient::new(id).redirect_uri(BACK).scopes(scopes);
        secret.into_iter().fold(client, OAuthClient::secret)
    };
    let alice = User::new("alice").claim("email", "a@example.com").claim("preferred_username", "Alice");
    let builder = MockIdp::builder().clock(clock.clone()).user(alice);
    (builder.client(known(APP)).client(known(OTHER)).client(known(CLI)), clock)
}

pub(crate) fn world() -> World {
    adapted(|builder| builder)
}

pub(crate) fn adapted(adapt: impl FnOnce(IdpBuilder) -> IdpBuilder) -> World {
    let (builder, clock) = builder();
    World { idp: adapt(builder).build().unwrap(), clock }
}

/// `fields` and how the client proves itself.
pub(crate) fn with<'f>((id, secret): Who, fields: &[(&'f str, &'f str)]) -> Vec<(&'f str, &'f str)> {
    let mut form = fields.to_vec();
    form.push(("client_id", id));
    form.extend(secret.map(|secret| ("client_secret", secret)));
    form
}

/// Posts to that endpoint as the metadata names it.
pub(crate) async fn post(idp: &MockIdp, endpoint: &str, form: &[(&str, &str)]) -> Response {
    let url = metadata(idp).await[endpoint].as_str().unwrap().to_owned();
    client().post(url).form(form).send().await.unwrap()
}

pub(crate) async fn metadata(idp: &MockIdp) -> Value {
    let url = format!("{}/.well-known/openid-configuration", idp.issuer().trim_end_matches('/'));
    json_of(client().get(url).send().await.unwrap()).await
}

/// Where a redirect leads, and the parameters there.
pub(crate) fn location(answer: &Response) -> (String, HashMap<String, String>) {
    assert_eq!(answer.status(), 302);
    let url = Url::parse(header(answer, "location").unwrap()).unwrap();
    let query = url.query_pairs().into_owned().collect();
    (url[..url::Position::AfterPath].to_owned(), query)
}

/// A right authorization request.
pub(crate) fn asking<'f>((id, _): Who, more: &[(&'f str, &'f str)]) -> Vec<(&'f str, &'f str)> {
    let mut query = vec![
        ("response_type", "code"),
        ("client_id", id),
        ("redirect_uri", BACK),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    query.extend(more);
    query
}

/// Through the authorization endpoint; answers the code.
pub(crate) async fn code(idp: &MockIdp, who: Who, more: &[(&str, &str)]) -> String {
    let url = metadata(idp).await["authorization_endpoint"].as_str().unwrap().to_owned();
    let answer = client().get(url).query(&asking(who, more)).send().await.unwrap();
    let (_, mut query) = location(&answer);
    query.remove("code").unwrap_or_else(|| panic!("{query:?}"))
}

/// Redeems a code.
pub(crate) async fn redeem(idp: &MockIdp, who: Who, code: &str, more: &[(&str, &str)]) -> Response {
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", BACK),
        ("code_verifier", VERIFIER),
    ];
    form.extend(more);
    post(idp, "token_endpoint", &with(who, &form)).await
}

/// The whole code flow; answers the token response.
pub(crate) async fn sign_in(idp: &MockIdp, who: Who, more: &[(&str, &str)]) -> Value {
    let code = code(idp, who, more).await;
    ok(redeem(idp, who, &code, &[]).await).await
}

/// The body of an answer that is 200.
pub(crate) async fn ok(answer: Response) -> Value {
    let status = answer.status();
    let body = json_of(answer).await;
    assert_eq!(status, 200, "{body}");
    body
}

/// Status and `error` of an answer that must not be kept.
pub(crate) async fn refused(answer: Response) -> (u16, String) {
    assert_eq!(header(&answer, "cache-control"), Some("no-store"));
    let status = answer.status().as_u16();
    let body = json_of(answer).await;
    assert!(body["error_description"].is_string(), "{body}");
    (status, body["error"].as_str().unwrap().to_owned())
}

pub(crate) async fn refresh(idp: &MockIdp, who: Who, token: &str, more: &[(&str, &str)]) -> Response {
    let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", token)];
    form.extend(more);
    post(idp, "token_endpoint", &with(who, &form)).await
}

/// Whether `/userinfo` takes that token.
pub(crate) async fn is_taken(idp: &MockIdp, access_token: &str) -> bool {
    let url = metadata(idp).await["userinfo_endpoint"].as_str().unwrap().to_owned();
    client().get(url).bearer_auth(access_token).send().await.unwrap().status() == 200
}

pub(crate) fn text<'v>(body: &'v Value, name: &str) -> &'v str {
    body[name].as_str().unwrap_or_else(|| panic!("{name} in {body}"))
}

pub(crate) fn invalid_grant() -> (u16, String) {
    (400, "invalid_grant".to_owned())
}
