//! The typed client that Rust programs use, through every flow, and what a strict reader of OpenID Connect
//! makes of the rest.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use oauth2::basic::{BasicClient, BasicTokenResponse};
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, DeviceAuthorizationUrl,
    EndpointNotSet, EndpointSet, ExtraTokenFields, HttpRequest, HttpResponse, IntrospectionUrl,
    PkceCodeChallenge, RedirectUrl, RevocationUrl, Scope, StandardDeviceAuthorizationResponse,
    StandardRevocableToken, TokenIntrospectionResponse, TokenResponse, TokenUrl,
};
use portunus_mock::{Algorithm, MockIdp, OAuthClient, Preset, User};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::flows::{BACK, location};
use crate::support;

/// What OpenID Connect Discovery §3 requires. A client that reads it strictly reads nothing else.
#[derive(Debug, Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: AuthUrl,
    token_endpoint: TokenUrl,
    jwks_uri: String,
    response_types_supported: Vec<String>,
    subject_types_supported: Vec<String>,
    id_token_signing_alg_values_supported: Vec<String>,
    device_authorization_endpoint: Option<DeviceAuthorizationUrl>,
    introspection_endpoint: Option<IntrospectionUrl>,
    revocation_endpoint: Option<RevocationUrl>,
}

/// An ID token beside an access token.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct IdToken {
    id_token: Option<String>,
}

impl ExtraTokenFields for IdToken {}

type Client = oauth2::Client<
    oauth2::basic::BasicErrorResponse,
    oauth2::StandardTokenResponse<IdToken, oauth2::basic::BasicTokenType>,
    oauth2::basic::BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    oauth2::basic::BasicRevocationErrorResponse,
    EndpointSet,
    EndpointSet,
    EndpointSet,
    EndpointSet,
    EndpointSet,
>;

/// As the client wants to be handed its HTTP client. It revokes tokens at addresses with TLS only, and the
/// mock has none.
async fn http(mut request: HttpRequest) -> Result<HttpResponse, reqwest::Error> {
    let plain = request.uri().to_string().replacen("https://", "http://", 1);
    *request.uri_mut() = plain.parse().unwrap();
    let answer = support::client().execute(request.try_into()?).await?;
    let mut response = http::Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        response = response.header(name, value);
    }
    Ok(response.body(answer.bytes().await?.to_vec()).unwrap())
}

/// A server of the real time, for the client has no other.
fn idp(algorithm: Algorithm) -> MockIdp {
    let client = OAuthClient::new("app").secret("s:ecret+%").redirect_uri(BACK).scopes(["openid", "email"]);
    let user = User::new("alice").claim("email", "a@example.com");
    let idp = MockIdp::builder().client(client).user(user).algorithm(algorithm);
    idp.device(Duration::from_secs(60), Duration::ZERO).build().unwrap()
}

async fn metadata(idp: &MockIdp) -> Metadata {
    serde_json::from_value(super::flows::metadata(idp).await).unwrap()
}

async fn client(idp: &MockIdp, auth: AuthType) -> Client {
    let found = metadata(idp).await;
    let revoke = found.revocation_endpoint.unwrap().to_string().replacen("http:", "https:", 1);
    oauth2::Client::new(ClientId::new("app".to_owned()))
        .set_client_secret(ClientSecret::new("s:ecret+%".to_owned()))
        .set_auth_type(auth)
        .set_redirect_uri(RedirectUrl::new(BACK.to_owned()).unwrap())
        .set_auth_uri(found.authorization_endpoint)
        .set_token_uri(found.token_endpoint)
        .set_device_authorization_url(found.device_authorization_endpoint.unwrap())
        .set_introspection_url(found.introspection_endpoint.unwrap())
        .set_revocation_url(RevocationUrl::new(revoke).unwrap())
}

/// The claims of an ID token, checked as OpenID Connect Core §3.1.3.7 wants it, by the real clock.
async fn checked(idp: &MockIdp, id_token: &str) -> Option<Value> {
    let found = metadata(idp).await;
    let keys = support::client().get(found.jwks_uri).send().await.unwrap();
    let keys: JwkSet = serde_json::from_value(support::json_of(keys).await).unwrap();
    let header = jsonwebtoken::decode_header(id_token).unwrap();
    let key = keys.find(header.kid.as_deref().unwrap())?;
    let mut validation = Validation::new(header.alg);
    validation.set_issuer(&[&found.issuer]);
    validation.set_audience(&["app"]);
    validation.set_required_spec_claims(&["iss", "sub", "aud", "exp"]);
    let claims = jsonwebtoken::decode::<Value>(id_token, &DecodingKey::from_jwk(key).unwrap(), &validation);
    claims.ok().map(|data| data.claims)
}

#[tokio::test]
async fn a_user_signs_in_refreshes_and_is_revoked() {
    for (algorithm, auth) in [
        (Algorithm::Rs256, AuthType::BasicAuth),
        (Algorithm::Es256, AuthType::RequestBody),
        (Algorithm::EdDsa, AuthType::BasicAuth),
    ] {
        let idp = idp(algorithm);
        let client = client(&idp, auth).await;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let (url, state) = client
            .authorize_url(CsrfToken::new_random)
            .add_scope(Scope::new("openid".to_owned()))
            .add_scope(Scope::new("email".to_owned()))
            .add_extra_param("nonce", "n-1")
            .set_pkce_challenge(challenge)
            .url();
        let (_, query) = location(&support::client().get(url).send().await.unwrap());
        assert_eq!(&query["state"], state.secret());

        let code = AuthorizationCode::new(query["code"].clone());
        let tokens =
            client.exchange_code(code).set_pkce_verifier(verifier).request_async(&http).await.unwrap();
        let id_token = tokens.extra_fields().id_token.clone().unwrap();
        let claims = checked(&idp, &id_token).await.unwrap();
        assert_eq!((&claims["sub"], &claims["nonce"]), (&"alice".into(), &"n-1".into()));
        assert_eq!(claims["email"], "a@example.com");

        let refresh = tokens.refresh_token().unwrap();
        let next = client.exchange_refresh_token(refresh).request_async(&http).await.unwrap();
        let id_token = next.extra_fields().id_token.clone().unwrap();
        assert_eq!(checked(&idp, &id_token).await.unwrap()["sub"], "alice");

        let active = async |token| client.introspect(token).request_async(&http).await.unwrap().active();
        assert!(active(next.access_token()).await);
        let newest = StandardRevocableToken::from(next.refresh_token().unwrap().clone());
        client.revoke_token(newest).unwrap().request_async(&http).await.unwrap();
        assert!(!active(next.access_token()).await);
        let spent = client.exchange_refresh_token(next.refresh_token().unwrap());
        assert!(spent.request_async(&http).await.is_err());
    }
}

#[tokio::test]
async fn a_device_is_connected() {
    let idp = Arc::new(idp(Algorithm::Rs256));
    let client = client(&idp, AuthType::RequestBody).await;
    let asked = client.exchange_device_code().add_scope(Scope::new("openid".to_owned()));
    let flow: StandardDeviceAuthorizationResponse = asked.request_async(&http).await.unwrap();
    // The user agrees while the client waits for its second poll.
    let (approving, user_code) = (Arc::clone(&idp), flow.user_code().secret().clone());
    let polls = move |_: Duration| {
        let _ = approving.approve_device(&user_code);
        std::future::ready(())
    };
    let tokens = client.exchange_device_access_token(&flow);
    let tokens = tokens.request_async(&http, polls, Some(Duration::from_secs(60))).await.unwrap();
    let id_token = tokens.extra_fields().id_token.clone().unwrap();
    assert_eq!(checked(&idp, &id_token).await.unwrap()["sub"], "alice");
    assert_eq!(idp.count("/token"), 2);
}

#[tokio::test]
async fn a_service_acts_for_itself() {
    let idp = idp(Algorithm::Rs256);
    let client: BasicClient<EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet> =
        BasicClient::new(ClientId::new("app".to_owned()))
            .set_client_secret(ClientSecret::new("s:ecret+%".to_owned()))
            .set_token_uri(metadata(&idp).await.token_endpoint);
    let asked = client.exchange_client_credentials().add_scope(Scope::new("email".to_owned()));
    let tokens: BasicTokenResponse = asked.request_async(&http).await.unwrap();
    assert!(tokens.refresh_token().is_none());
    assert_eq!(tokens.expires_in(), Some(Duration::from_secs(3_600)));
    let told = super::typed::client(&idp, AuthType::BasicAuth).await;
    let told = told.introspect(tokens.access_token()).request_async(&http).await.unwrap();
    assert_eq!((told.active(), told.sub()), (true, Some("app")));
}

#[tokio::test]
async fn keys_rotate_under_a_strict_reader() {
    let idp = idp(Algorithm::Rs256);
    let old = idp.mint("alice").audience("app").id_token();
    idp.rotate_keys();
    let new = idp.mint("alice").audience("app").id_token();
    assert!(checked(&idp, &old).await.is_some() && checked(&idp, &new).await.is_some());
    idp.retire_keys();
    assert!(checked(&idp, &old).await.is_none() && checked(&idp, &new).await.is_some());
}

#[tokio::test]
async fn the_metadata_of_every_preset_has_what_is_required() {
    for preset in [
        Preset::Oidc,
        Preset::Google,
        Preset::Okta,
        Preset::Entra,
        Preset::Auth0,
        Preset::GitLab,
        Preset::OneLogin,
    ] {
        let tenant = MockIdp::builder().preset(preset);
        let idp = MockIdp::builder().preset(preset).tenant("t1", tenant).build().unwrap();
        for issuer in [&idp, idp.tenant("t1").unwrap()] {
            let found = metadata(issuer).await;
            assert_eq!(found.issuer, issuer.issuer(), "{preset:?}");
            assert_eq!(
                (found.jwks_uri, found.response_types_supported),
                (issuer.jwks_uri(), vec!["code".to_owned()])
            );
            assert_eq!(found.subject_types_supported, ["public"]);
            assert!(found.id_token_signing_alg_values_supported.contains(&"RS256".to_owned()));
        }
    }
}
