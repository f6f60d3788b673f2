//! Token exchange (RFC 8693) and assertions as grants (RFC 7523).

use std::time::Duration;

use portunus_mock::{GrantType, MockIdp, TokenFault};
use reqwest::Response;
use serde_json::json;

use super::flows::{
    APP, NOW, OTHER, Who, World, adapted, invalid_grant, is_taken, ok, post, refused, sign_in, text, with,
    world,
};
use crate::tokens::claims_of;

const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";
const ID: &str = "urn:ietf:params:oauth:token-type:id_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

async fn exchange(idp: &MockIdp, who: Who, token: &str, kind: &str, more: &[(&str, &str)]) -> Response {
    let mut form = vec![
        ("grant_type", GrantType::TokenExchange.name()),
        ("subject_token", token),
        ("subject_token_type", kind),
    ];
    form.extend(more);
    post(idp, "token_endpoint", &with(who, &form)).await
}

fn invalid_request() -> (u16, String) {
    (400, "invalid_request".to_owned())
}

#[tokio::test]
async fn a_users_token_becomes_one_for_a_service() {
    let World { idp, clock } = world();
    let user = sign_in(&idp, APP, &[("scope", "openid email")]).await;
    clock.advance(Duration::from_secs(600));
    let more = [("audience", "billing"), ("resource", "https://b.example/"), ("scope", "email")];
    let tokens = ok(exchange(&idp, OTHER, text(&user, "access_token"), ACCESS, &more).await).await;
    assert_eq!(tokens["issued_token_type"], ACCESS);
    assert_eq!((&tokens["token_type"], &tokens["scope"]), (&json!("Bearer"), &json!("email")));
    assert_eq!(tokens.get("refresh_token"), None);
    let (_, claims) = claims_of(text(&tokens, "access_token"));
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("alice"), &json!("other")));
    assert_eq!(claims["aud"], json!(["https://b.example/", "billing"]));
    // Not longer than what was presented.
    assert_eq!((&claims["exp"], &tokens["expires_in"]), (&json!(NOW + 3_600), &json!(3_000)));
    assert_eq!(claims.get("act"), None);
}

#[tokio::test]
async fn actors_form_a_chain() {
    let World { idp, .. } = world();
    let user = sign_in(&idp, APP, &[]).await;
    let actor = async |who: Who| {
        let form = with(who, &[("grant_type", "client_credentials")]);
        ok(post(&idp, "token_endpoint", &form).await).await
    };
    let (first, second) = (actor(APP).await, actor(OTHER).await);
    let with_actor = [("actor_token", text(&first, "access_token")), ("actor_token_type", ACCESS)];
    let once = ok(exchange(&idp, APP, text(&user, "access_token"), ACCESS, &with_actor).await).await;
    assert_eq!(claims_of(text(&once, "access_token")).1["act"], json!({"sub": "app"}));
    let with_actor = [("actor_token", text(&second, "access_token")), ("actor_token_type", JWT)];
    let twice = ok(exchange(&idp, OTHER, text(&once, "access_token"), ACCESS, &with_actor).await).await;
    let act = json!({"sub": "other", "act": {"sub": "app"}});
    assert_eq!(claims_of(text(&twice, "access_token")).1["act"], act);
}

#[tokio::test]
async fn a_revoked_consent_ends_exchanged_tokens_as_well() {
    let World { idp, .. } = world();
    let user = sign_in(&idp, APP, &[]).await;
    let tokens = ok(exchange(&idp, OTHER, text(&user, "access_token"), ACCESS, &[]).await).await;
    assert!(is_taken(&idp, text(&tokens, "access_token")).await);
    post(&idp, "revocation_endpoint", &with(APP, &[("token", text(&user, "refresh_token"))])).await;
    assert!(!is_taken(&idp, text(&tokens, "access_token")).await);
}

#[tokio::test]
async fn what_cannot_be_exchanged() {
    let World { idp, clock } = world();
    let user = sign_in(&idp, APP, &[("scope", "openid email")]).await;
    let access = text(&user, "access_token");
    for (token, kind, more, error) in [
        ("unknown", ACCESS, &[][..], "invalid_request"),
        (text(&user, "refresh_token"), ACCESS, &[], "invalid_request"),
        (text(&user, "id_token"), ACCESS, &[], "invalid_request"),
        (access, ID, &[], "invalid_request"),
        (access, "urn:ietf:params:oauth:token-type:saml2", &[], "invalid_request"),
        (access, "", &[], "invalid_request"),
        ("", ACCESS, &[], "invalid_request"),
        (access, ACCESS, &[("requested_token_type", ID)], "invalid_request"),
        (access, ACCESS, &[("actor_token", "x")], "invalid_request"),
        (access, ACCESS, &[("actor_token", "x"), ("actor_token_type", ACCESS)], "invalid_request"),
        (access, ACCESS, &[("scope", "profile")], "invalid_scope"),
        (access, ACCESS, &[("scope", " ")], "invalid_scope"),
        (access, ACCESS, &[("resource", "relative")], "invalid_target"),
    ] {
        let answer = exchange(&idp, APP, token, kind, more).await;
        assert_eq!(refused(answer).await, (400, error.to_owned()), "{kind} {more:?}");
    }
    // An access token does not become an ID token by naming the client.
    let access_for_client = idp.mint("alice").audience("app").access_token();
    let answer = exchange(&idp, APP, &access_for_client, ID, &[]).await;
    assert_eq!(refused(answer).await, invalid_request());
    // The ID token is for the client that it names.
    ok(exchange(&idp, APP, text(&user, "id_token"), ID, &[]).await).await;
    let others = exchange(&idp, OTHER, text(&user, "id_token"), ID, &[]).await;
    assert_eq!(refused(others).await, invalid_request());
    for fault in
        [TokenFault::BadSignature, TokenFault::Expired, TokenFault::WrongIssuer, TokenFault::WrongAudience]
    {
        let forged = idp.mint("alice").fault(fault).id_token();
        assert_eq!(
            refused(exchange(&idp, APP, &forged, ID, &[]).await).await,
            invalid_request(),
            "{fault:?}"
        );
    }
    clock.advance(Duration::from_secs(3_600));
    for (token, kind) in [(access, ACCESS), (text(&user, "id_token"), ID)] {
        assert_eq!(refused(exchange(&idp, APP, token, kind, &[]).await).await, invalid_request());
    }
}

#[tokio::test]
async fn tokens_of_an_issuer_that_is_trusted() {
    let other = MockIdp::builder().build().unwrap();
    let World { idp, clock } = adapted(|idp| idp.trust("https://ci.example", other.jwks()));
    let at = portunus_auth_core::Clock::now(&*clock);
    let right = |audience: &str| {
        other
            .mint("job-1")
            .issuer("https://ci.example")
            .audience(audience)
            .issued_at(at)
            .ttl(Duration::from_secs(60))
    };
    let bearer = async |assertion: &str, more: &[(&str, &str)]| {
        let mut form = vec![("grant_type", GrantType::JwtBearer.name()), ("assertion", assertion)];
        form.extend(more);
        post(&idp, "token_endpoint", &with(APP, &form)).await
    };
    let endpoint = idp.token_endpoint();
    for audience in [idp.issuer(), &endpoint] {
        let tokens = ok(bearer(&right(audience).id_token(), &[("scope", "email")]).await).await;
        let (_, claims) = claims_of(text(&tokens, "access_token"));
        assert_eq!((&claims["sub"], &claims["iss"]), (&json!("job-1"), &json!(idp.issuer())));
        assert_eq!((&tokens["scope"], tokens.get("refresh_token")), (&json!("email"), None));
        let tokens = ok(exchange(&idp, APP, &right(audience).id_token(), JWT, &[]).await).await;
        assert_eq!(tokens["expires_in"], 60);
    }
    let own = || right(idp.issuer());
    for bad in [
        right("https://elsewhere.example"),
        own().issuer("https://unknown.example"),
        own().fault(TokenFault::BadSignature),
        own().fault(TokenFault::AlgNone),
        own().fault(TokenFault::Expired),
        own().fault(TokenFault::NotYetValid),
        own().without("exp"),
        own().without("sub"),
        own().without("aud"),
    ] {
        let bad = bad.id_token();
        assert_eq!(refused(bearer(&bad, &[]).await).await, invalid_grant());
        assert_eq!(refused(exchange(&idp, APP, &bad, JWT, &[]).await).await, invalid_request());
    }
    assert_eq!(refused(bearer("", &[]).await).await, invalid_request());
    assert_eq!(refused(bearer(&own().id_token(), &[("scope", "admin")]).await).await.1, "invalid_scope");

    let late = MockIdp::start().await;
    let foreign = late.mint("x").audience(idp.issuer()).issued_at(at).id_token();
    assert_eq!(refused(bearer(&foreign, &[]).await).await, invalid_grant());
    idp.trust(late.issuer(), late.jwks()).unwrap();
    ok(bearer(&foreign, &[]).await).await;
    assert!(idp.trust("https://a.example", json!(1)).is_err());
}
