//! Tokens that are bound to a key (RFC 9449).

use std::time::{Duration, UNIX_EPOCH};

use portunus_mock::{Algorithm, DpopKey, DpopProof, MockIdp, OAuthClient, ServerBuilder};
use reqwest::Response;
use serde_json::json;

use super::flows::{
    APP, BACK, CLI, NOW, VERIFIER, Who, World, adapted, code, ok, post, refresh, refused, text, with, world,
};
use crate::support::{client, header, json_of, status_with};
use crate::tokens::claims_of;

fn key(number: usize) -> DpopKey {
    DpopKey::bundled(Algorithm::Es256, number)
}

fn proof<'k>(idp: &MockIdp, key: &'k DpopKey) -> DpopProof<'k> {
    key.proof("POST", &idp.token_endpoint(), UNIX_EPOCH + Duration::from_secs(NOW))
}

async fn asked(idp: &MockIdp, form: &[(&str, &str)], proofs: &[&str]) -> Response {
    let mut request = client().post(idp.token_endpoint()).form(form);
    for proof in proofs {
        request = request.header("dpop", *proof);
    }
    request.send().await.unwrap()
}

fn own(who: Who) -> Vec<(&'static str, &'static str)> {
    with(who, &[("grant_type", "client_credentials")])
}

fn redeeming(code: &str, who: Who) -> Vec<(&str, &str)> {
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", BACK),
        ("code_verifier", VERIFIER),
    ];
    with(who, &form)
}

async fn userinfo(idp: &MockIdp, scheme: &str, token: &str, proof: Option<String>) -> Response {
    let mut request = client().get(format!("{}/userinfo", idp.issuer()));
    request = request.header("authorization", format!("{scheme} {token}"));
    if let Some(proof) = proof {
        request = request.header("dpop", proof);
    }
    request.send().await.unwrap()
}

#[tokio::test]
async fn a_bound_token_is_taken_only_with_its_key() {
    let World { idp, .. } = world();
    let (mine, theirs) = (key(0), key(1));
    let code = code(&idp, CLI, &[]).await;
    let tokens = ok(asked(&idp, &redeeming(&code, CLI), &[&proof(&idp, &mine).sign()]).await).await;
    assert_eq!(tokens["token_type"], "DPoP");
    let token = text(&tokens, "access_token");
    assert_eq!(claims_of(token).1["cnf"], json!({"jkt": mine.thumbprint()}));

    let at = UNIX_EPOCH + Duration::from_secs(NOW);
    let url = format!("{}/userinfo", idp.issuer());
    let shown = |key: &DpopKey, method: &str| key.proof(method, &url, at).for_token(token).sign();
    let answer = userinfo(&idp, "DPoP", token, Some(shown(&mine, "GET"))).await;
    assert_eq!(answer.status(), 200);
    for (scheme, proof) in [
        ("Bearer", None),
        ("Bearer", Some(shown(&mine, "GET"))),
        ("DPoP", None),
        ("DPoP", Some(shown(&theirs, "GET"))),
        ("DPoP", Some(shown(&mine, "POST"))),
        ("DPoP", Some(mine.proof("GET", &url, at).sign())),
        ("DPoP", Some(mine.proof("GET", &url, at).for_token("another").sign())),
    ] {
        let answer = userinfo(&idp, scheme, token, proof).await;
        assert_eq!(answer.status(), 401);
        let challenge = header(&answer, "www-authenticate").unwrap();
        assert!(challenge.starts_with(scheme) && challenge.contains("error="), "{challenge}");
    }
    // A token without a key is not made better by a proof.
    let plain = ok(asked(&idp, &own(APP), &[]).await).await;
    let plain = text(&plain, "access_token");
    let answer =
        userinfo(&idp, "DPoP", plain, Some(mine.proof("GET", &url, at).for_token(plain).sign())).await;
    assert_eq!(answer.status(), 401);
}

#[tokio::test]
async fn a_proof_that_is_wrong_in_one_thing_is_refused() {
    let World { idp, clock } = world();
    let mine = key(0);
    let right = || proof(&idp, &mine);
    ok(asked(&idp, &own(APP), &[&right().sign()]).await).await;
    let with_query = format!("{}?a=b#c", idp.token_endpoint());
    ok(asked(&idp, &own(APP), &[&right().claim("htu", with_query).sign()]).await).await;

    // A proof that gives its private key away proves nothing any more.
    let mut jwk = idp.jwks()["keys"][1].clone();
    assert_eq!(jwk["kid"], "mock-es256-1");
    ok(asked(&idp, &own(APP), &[&right().header("jwk", jwk.clone()).sign()]).await).await;
    jwk["d"] = "AA".into();
    let private = right().header("jwk", jwk);
    let other_jwk = json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"});
    for bad in [
        private,
        right().claim("htm", "GET"),
        right().claim("htu", format!("{}/userinfo", idp.issuer())),
        right().claim("htu", json!(null)),
        right().claim("jti", json!(null)),
        right().claim("iat", json!(null)),
        right().claim("iat", NOW - 61),
        right().claim("iat", NOW + 61),
        right().header("typ", "JWT"),
        right().header("alg", "none"),
        right().header("alg", "RS256"),
        right().header("jwk", json!(null)),
        right().header("jwk", other_jwk),
        right().header("jwk", json!({"kty": "oct", "k": "AA"})),
    ] {
        let answer = asked(&idp, &own(APP), &[&bad.sign()]).await;
        assert_eq!(refused(answer).await, (400, "invalid_dpop_proof".to_owned()));
    }
    let once = right().sign();
    ok(asked(&idp, &own(APP), &[&once]).await).await;
    let (a, b) = (right().sign(), right().sign());
    for proofs in [&[&*once][..], &[&a, &b], &["nonsense"]] {
        let answer = asked(&idp, &own(APP), proofs).await;
        assert_eq!(refused(answer).await, (400, "invalid_dpop_proof".to_owned()));
    }
    clock.advance(Duration::from_secs(61));
    let old = asked(&idp, &own(APP), &[&right().sign()]).await;
    assert_eq!(refused(old).await, (400, "invalid_dpop_proof".to_owned()));
}

#[tokio::test]
async fn a_code_and_a_refresh_token_can_be_bound_too() {
    let World { idp, .. } = world();
    let (mine, theirs) = (key(0), key(1));
    let thumbprint = mine.thumbprint();
    let code = code(&idp, CLI, &[("dpop_jkt", &thumbprint)]).await;
    for proofs in [vec![], vec![proof(&idp, &theirs).sign()]] {
        let proofs: Vec<_> = proofs.iter().map(|proof| &**proof).collect();
        let answer = asked(&idp, &redeeming(&code, CLI), &proofs).await;
        assert_eq!(refused(answer).await, super::flows::invalid_grant());
    }
    let tokens = ok(asked(&idp, &redeeming(&code, CLI), &[&proof(&idp, &mine).sign()]).await).await;

    // RFC 9449 §5: the refresh token of a public client is bound, that of another is not.
    let token = text(&tokens, "refresh_token");
    let form = with(CLI, &[("grant_type", "refresh_token"), ("refresh_token", token)]);
    assert_eq!(refused(refresh(&idp, CLI, token, &[]).await).await, (400, "invalid_dpop_proof".to_owned()));
    let answer = asked(&idp, &form, &[&proof(&idp, &theirs).sign()]).await;
    assert_eq!(refused(answer).await, (400, "invalid_dpop_proof".to_owned()));
    ok(asked(&idp, &form, &[&proof(&idp, &mine).sign()]).await).await;

    let code = super::flows::code(&idp, APP, &[]).await;
    let tokens = ok(asked(&idp, &redeeming(&code, APP), &[&proof(&idp, &mine).sign()]).await).await;
    let next = ok(refresh(&idp, APP, text(&tokens, "refresh_token"), &[]).await).await;
    assert_eq!(next["token_type"], "Bearer");
}

#[tokio::test]
async fn a_server_can_ask_for_its_nonce() {
    let World { idp, .. } = adapted(|idp| idp.dpop_nonces());
    let mine = key(0);
    let answer = asked(&idp, &own(APP), &[&proof(&idp, &mine).sign()]).await;
    let nonce = header(&answer, "dpop-nonce").unwrap().to_owned();
    assert_eq!(refused(answer).await, (400, "use_dpop_nonce".to_owned()));
    let good = proof(&idp, &mine).claim("nonce", nonce.clone()).sign();
    let tokens = ok(asked(&idp, &own(APP), &[&good]).await).await;

    idp.new_dpop_nonce();
    let answer = asked(&idp, &own(APP), &[&proof(&idp, &mine).claim("nonce", nonce.clone()).sign()]).await;
    assert_ne!(header(&answer, "dpop-nonce"), Some(&*nonce));
    assert_eq!(refused(answer).await.1, "use_dpop_nonce");
    let at = UNIX_EPOCH + Duration::from_secs(NOW);
    let token = text(&tokens, "access_token");
    let old = mine.proof("GET", &format!("{}/userinfo", idp.issuer()), at).for_token(token).sign();
    let answer = userinfo(&idp, "DPoP", token, Some(old)).await;
    assert!(header(&answer, "www-authenticate").unwrap().contains("use_dpop_nonce"));
    assert!(header(&answer, "dpop-nonce").is_some());
}

#[tokio::test]
async fn a_client_can_have_bound_tokens_only() {
    let World { idp, .. } = world();
    idp.add_client(OAuthClient::new("bound").secret("s").dpop_bound()).unwrap();
    let answer = asked(&idp, &own(("bound", Some("s"))), &[]).await;
    assert_eq!(refused(answer).await, (400, "invalid_dpop_proof".to_owned()));
    ok(asked(&idp, &own(("bound", Some("s"))), &[&proof(&idp, &key(0)).sign()]).await).await;
}

#[tokio::test]
async fn a_bound_token_is_no_bearer_token_of_the_llm_server() {
    let server = ServerBuilder::new().with_oauth_defaults().build().await.unwrap();
    let idp = server.idp().unwrap();
    let mine = key(0);
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", "mock-client"),
        ("client_secret", "mock-secret"),
    ];
    let at = portunus_auth_core::Clock::now(&portunus_auth_core::SystemClock);
    let proof = mine.proof("POST", &idp.token_endpoint(), at).sign();
    let tokens = ok(asked(idp, &form, &[&proof]).await).await;
    assert_eq!(status_with(&server.url(), text(&tokens, "access_token")).await, 401);
    let told = [form[1], form[2], ("token", text(&tokens, "access_token"))];
    let told = json_of(post(idp, "introspection_endpoint", &told).await).await;
    assert_eq!((&told["token_type"], &told["cnf"]["jkt"]), (&json!("DPoP"), &json!(mine.thumbprint())));
}
