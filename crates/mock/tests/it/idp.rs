//! The identity provider's metadata, keys, clients and userinfo.

use std::sync::Arc;
use std::time::Duration;

use portunus_auth_core::clock::ManualClock;
use portunus_mock::{Fault, MockIdp, OAuthConfig, ServerBuilder, StartError, User};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use crate::support::{client, header, json_of, status_with};
use crate::tokens::claims_of;

/// Client credentials in the body.
const POSTED: [(&str, &str); 3] =
    [("grant_type", "client_credentials"), ("client_id", "mock-client"), ("client_secret", "mock-secret")];

const GRANTS: [&str; 6] = [
    "authorization_code",
    "refresh_token",
    "client_credentials",
    "urn:ietf:params:oauth:grant-type:device_code",
    "urn:ietf:params:oauth:grant-type:token-exchange",
    "urn:ietf:params:oauth:grant-type:jwt-bearer",
];

pub(crate) async fn token(idp: &MockIdp, form: &[(&str, &str)]) -> Response {
    client().post(format!("{}/token", idp.issuer())).form(form).send().await.unwrap()
}

async fn get(url: &str) -> Value {
    let answer = client().get(url).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{url}");
    json_of(answer).await
}

#[tokio::test]
async fn metadata_names_what_is_served_and_nothing_else() {
    let idp = MockIdp::start().await;
    let issuer = idp.issuer();
    let metadata = get(&format!("{issuer}/.well-known/openid-configuration")).await;
    let secrets = ["client_secret_basic", "client_secret_post", "private_key_jwt"];
    let or_none = [secrets[0], secrets[1], secrets[2], "none"];
    assert_eq!(
        metadata,
        json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": idp.jwks_uri(),
            "userinfo_endpoint": format!("{issuer}/userinfo"),
            "device_authorization_endpoint": format!("{issuer}/device_authorization"),
            "introspection_endpoint": format!("{issuer}/introspect"),
            "revocation_endpoint": format!("{issuer}/revoke"),
            "end_session_endpoint": format!("{issuer}/end_session"),
            "registration_endpoint": format!("{issuer}/register"),
            "scopes_supported": ["email", "offline_access", "openid", "profile"],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query", "form_post"],
            "grant_types_supported": GRANTS,
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256", "EdDSA"],
            "token_endpoint_auth_methods_supported": or_none,
            "token_endpoint_auth_signing_alg_values_supported": ["RS256", "ES256", "EdDSA"],
            "introspection_endpoint_auth_methods_supported": secrets,
            "revocation_endpoint_auth_methods_supported": or_none,
            "code_challenge_methods_supported": ["S256"],
            "dpop_signing_alg_values_supported": ["RS256", "ES256", "EdDSA"],
            "authorization_response_iss_parameter_supported": true,
            "request_parameter_supported": false,
            "request_uri_parameter_supported": false,
            "claims_supported": ["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce"],
        })
    );
    assert_eq!(get(&format!("{issuer}/.well-known/oauth-authorization-server")).await, metadata);
    for (name, value) in metadata.as_object().unwrap() {
        if name.ends_with("_endpoint") || name == "jwks_uri" {
            let answer = client().get(value.as_str().unwrap()).send().await.unwrap();
            assert_ne!(answer.status(), 404, "{name}");
        }
    }
    // Each grant type is known: what is missing is something else.
    for grant in GRANTS {
        let form = [("grant_type", grant), ("client_id", "mock-client"), ("client_secret", "mock-secret")];
        let answer = token(&idp, &form).await;
        let known = answer.status() == 200 || json_of(answer).await["error"] == "invalid_request";
        assert!(known, "{grant}");
    }
}

#[tokio::test]
async fn every_published_key_is_for_signing_and_public() {
    let idp = MockIdp::start().await;
    let jwks = get(&idp.jwks_uri()).await;
    let keys = jwks["keys"].as_array().unwrap();
    let named: Vec<_> = keys.iter().map(|key| (&key["alg"], &key["kid"], &key["use"])).collect();
    let (rs, es, ed) = (json!("RS256"), json!("ES256"), json!("EdDSA"));
    let kids = ["rs256", "es256", "eddsa"].map(|alg| json!(format!("mock-{alg}-1")));
    let sig = json!("sig");
    assert_eq!(named, [(&rs, &kids[0], &sig), (&es, &kids[1], &sig), (&ed, &kids[2], &sig)]);
    for key in keys {
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(key.get(private).is_none(), "{key}");
        }
    }
    // The same in every server: recorded tokens stay verifiable.
    assert_eq!(get(&MockIdp::start().await.jwks_uri()).await, jwks);
}

#[tokio::test]
async fn a_client_proves_itself_in_exactly_one_way() {
    let config = OAuthConfig {
        client_id: "id:with+marks".to_owned(),
        client_secret: "s%cret:&=+ ".to_owned(),
        ..OAuthConfig::default()
    };
    let idp = MockIdp::builder().client(config).public_client("cli", ["http://127.0.0.1/"], ["openid"]);
    let idp = idp.build().unwrap();
    let url = format!("{}/token", idp.issuer());
    let basic = |id: &str, secret: &str| {
        let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        client().post(&url).basic_auth(encode(id), Some(encode(secret)))
    };
    let grant = ("grant_type", "client_credentials");
    let (id, secret) = (("client_id", "id:with+marks"), ("client_secret", "s%cret:&=+ "));
    let status = async |request: RequestBuilder, form: &[(&str, &str)]| {
        let answer = request.form(form).send().await.unwrap();
        assert_eq!(header(&answer, "cache-control"), Some("no-store"));
        assert_eq!(header(&answer, "pragma"), Some("no-cache"));
        let challenged = header(&answer, "www-authenticate").is_some_and(|how| how.starts_with("Basic "));
        let status = answer.status().as_u16();
        (status, json_of(answer).await["error"].as_str().unwrap_or("-").to_owned(), challenged)
    };
    let is = |status: u16, error: &str, challenged: bool| (status, error.to_owned(), challenged);

    assert_eq!(status(basic(id.1, secret.1), &[grant]).await, is(200, "-", false));
    assert_eq!(status(basic(id.1, secret.1), &[grant, id]).await, is(200, "-", false));
    assert_eq!(status(client().post(&url), &[grant, id, secret]).await, is(200, "-", false));
    let mixed_case = basic(id.1, secret.1).build().unwrap().headers()["authorization"].clone();
    let mixed_case = mixed_case.to_str().unwrap().replace("Basic", "bASIC");
    let request = client().post(&url).header("authorization", mixed_case);
    assert_eq!(status(request, &[grant]).await, is(200, "-", false));

    assert_eq!(status(basic(id.1, "wrong"), &[grant]).await, is(401, "invalid_client", true));
    assert_eq!(status(basic("who", secret.1), &[grant]).await, is(401, "invalid_client", true));
    let bearer = client().post(&url).bearer_auth("x");
    assert_eq!(status(bearer, &[grant, id]).await, is(401, "invalid_client", true));
    let wrong = ("client_secret", "wrong");
    assert_eq!(status(client().post(&url), &[grant, id, wrong]).await, is(401, "invalid_client", false));
    assert_eq!(status(client().post(&url), &[grant, id]).await, is(401, "invalid_client", false));
    assert_eq!(status(client().post(&url), &[grant]).await, is(401, "invalid_client", false));
    assert_eq!(status(basic(id.1, secret.1), &[grant, id, secret]).await, is(400, "invalid_request", false));
    let other = ("client_id", "cli");
    assert_eq!(status(basic(id.1, secret.1), &[grant, other]).await, is(400, "invalid_request", false));
    // A public client has no secret, and cannot act for itself.
    assert_eq!(status(client().post(&url), &[grant, other, wrong]).await, is(401, "invalid_client", false));
    assert_eq!(status(client().post(&url), &[grant, other]).await, is(400, "unauthorized_client", false));
}

#[tokio::test]
async fn client_credentials_give_an_access_token_of_the_client_itself() {
    let idp = MockIdp::start().await;
    let tokens = json_of(token(&idp, &POSTED).await).await;
    let members: Vec<_> = tokens.as_object().unwrap().keys().collect();
    assert_eq!(members, ["access_token", "expires_in", "scope", "token_type"]);
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!((&tokens["expires_in"], &tokens["scope"]), (&json!(3_600), &json!("openid profile email")));
    let (head, claims) = claims_of(tokens["access_token"].as_str().unwrap());
    assert_eq!(head["typ"], "at+jwt");
    assert_eq!(claims["sub"], "mock-client");
    assert_eq!(claims["client_id"], "mock-client");
    assert_eq!(claims["aud"], "portunus-mock");
    assert_eq!(claims["iss"], idp.issuer());

    let with = |more: (&'static str, &'static str)| POSTED.into_iter().chain([more]).collect::<Vec<_>>();
    let narrow = json_of(token(&idp, &with(("scope", "email"))).await).await;
    assert_eq!(narrow["scope"], "email");
    let resource = json_of(token(&idp, &with(("resource", "https://api.example/"))).await).await;
    assert_eq!(claims_of(resource["access_token"].as_str().unwrap()).1["aud"], "https://api.example/");
}

#[tokio::test]
async fn every_error_of_the_token_endpoint_has_its_own_code() {
    let idp = MockIdp::start().await;
    let with = |more: (&'static str, &'static str)| POSTED.into_iter().chain([more]).collect::<Vec<_>>();
    let grant = |value: &'static str| {
        POSTED.map(|(name, v)| (name, if name == "grant_type" { value } else { v })).to_vec()
    };
    for (form, error) in [
        (POSTED[1..].to_vec(), "invalid_request"),
        (grant(""), "invalid_request"),
        (grant("password"), "unsupported_grant_type"),
        (grant("refresh_token"), "invalid_request"),
        (grant("authorization_code"), "invalid_request"),
        (with(("scope", "admin")), "invalid_scope"),
        (with(("scope", "openid admin")), "invalid_scope"),
        (with(("scope", " ")), "invalid_scope"),
        (with(("resource", "relative")), "invalid_target"),
        (with(("resource", "https://a.example/#x")), "invalid_target"),
        (with(("grant_type", "client_credentials")), "invalid_request"),
    ] {
        let answer = token(&idp, &form).await;
        assert_eq!(answer.status(), 400, "{form:?}");
        let said = json_of(answer).await;
        assert_eq!(said["error"], error, "{form:?}");
        assert!(said["error_description"].is_string());
    }
    let url = format!("{}/token", idp.issuer());
    for request in
        [client().post(&url).json(&json!({"grant_type": "x"})), client().post(&url), client().get(&url)]
    {
        let answer = request.send().await.unwrap();
        assert_eq!((answer.status().as_u16(), header(&answer, "cache-control")), (400, Some("no-store")));
        assert_eq!(json_of(answer).await["error"], "invalid_request");
    }
}

#[tokio::test]
async fn userinfo_challenges_as_rfc_6750_says() {
    let clock = Arc::new(ManualClock::at_unix(1_700_000_000));
    let idp = MockIdp::builder().clock(clock.clone()).build().unwrap();
    let asked = async |token: Option<&str>| {
        let mut request = client().get(format!("{}/userinfo", idp.issuer()));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.unwrap();
        let challenge = header(&answer, "www-authenticate").unwrap_or_default().to_owned();
        (answer.status().as_u16(), challenge)
    };
    let invalid = (401, r#"Bearer realm="portunus-mock", error="invalid_token""#.to_owned());
    assert_eq!(asked(None).await, (401, r#"Bearer realm="portunus-mock""#.to_owned()));
    assert_eq!(asked(Some("wrong")).await, invalid);
    assert_eq!(asked(Some(&idp.mint("alice").id_token())).await, invalid);
    let narrow = idp.mint("alice").claim("scope", "email").access_token();
    let (status, challenge) = asked(Some(&narrow)).await;
    assert_eq!(status, 403);
    assert!(challenge.contains(r#"error="insufficient_scope", scope="openid""#));
    let good = idp.mint("alice").access_token();
    assert_eq!(asked(Some(&good)).await.0, 200);
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(asked(Some(&good)).await, invalid);
}

#[tokio::test]
async fn the_llm_server_takes_access_tokens_only_and_only_while_they_last() {
    let clock = Arc::new(ManualClock::at_unix(1_700_000_000));
    let server =
        ServerBuilder::new().clock(clock.clone()).faithful().with_oauth_defaults().build().await.unwrap();
    let idp = server.idp().unwrap();
    let url = server.url();
    let access = json_of(token(idp, &POSTED).await).await["access_token"].as_str().unwrap().to_owned();
    let minted = idp.mint("alice").access_token();
    for good in [&access, &minted] {
        assert_eq!(status_with(&url, good).await, 200);
    }
    assert_eq!(status_with(&url, &idp.mint("alice").id_token()).await, 401);
    let forged = MockIdp::start().await.mint("alice").issuer(idp.issuer()).access_token();
    assert_eq!(status_with(&url, &forged).await, 401);
    server.revoke_token(&minted);
    assert_eq!(status_with(&url, &minted).await, 401);

    clock.advance(Duration::from_secs(3_599));
    assert_eq!(status_with(&url, &access).await, 200);
    clock.advance(Duration::from_secs(1));
    let body = crate::support::message("claude", "hi");
    let expired = crate::support::post_message(&url, &body).bearer_auth(&access).send().await.unwrap();
    assert_eq!(expired.status(), 401);
    let said = json_of(expired).await["error"]["message"].as_str().unwrap().to_owned();
    assert!(said.starts_with("OAuth token has expired."), "{said}");
    assert_eq!((server.count("/token"), idp.count("/token")), (1, 1));
}

#[tokio::test]
async fn it_can_be_down_and_can_fail() {
    let idp = MockIdp::start().await;
    idp.set_down(true);
    for path in ["/jwks.json", "/token", "/.well-known/openid-configuration"] {
        assert_eq!(client().get(format!("{}{path}", idp.issuer())).send().await.unwrap().status(), 503);
    }
    idp.set_down(false);
    idp.fail_next(1, Fault::Oversized);
    let oversized = client().get(idp.jwks_uri()).send().await.unwrap().bytes().await.unwrap();
    assert!(oversized.len() > 16 << 20);
    get(&idp.jwks_uri()).await;
    assert_eq!(idp.count("/jwks.json"), 3);
    assert_eq!(idp.requests().len(), 5);
}

#[tokio::test]
async fn a_shell_can_have_an_id_token() {
    let idp = MockIdp::start().await;
    let url = format!("{}/__mock/id_token", idp.issuer());
    let query = [("sub", "alice"), ("groups", "eng,ops"), ("aud", "portunus"), ("email", "a@example.com")];
    for request in [
        client().get(&url).query(&query),
        client().post(&url).query(&query),
        client().post(&url).form(&query),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!((answer.status().as_u16(), header(&answer, "cache-control")), (200, Some("no-store")));
        let (_, claims) = claims_of(&answer.text().await.unwrap());
        assert_eq!(claims["sub"], "alice");
        assert_eq!(claims["groups"], json!(["eng", "ops"]));
        assert_eq!(claims["aud"], "portunus");
        assert_eq!((&claims["email"], &claims["email_verified"]), (&json!("a@example.com"), &json!(true)));
    }
    let plain = client().get(&url).query(&[("sub", "bob")]).send().await.unwrap().text().await.unwrap();
    assert_eq!(claims_of(&plain).1["aud"], "mock-client");
    for (name, value) in [("origin", "https://evil.example"), ("origin", "null"), ("host", "evil.example")] {
        let page = client().get(&url).query(&query).header(name, value).send().await.unwrap();
        assert_eq!((page.status().as_u16(), header(&page, "access-control-allow-origin")), (403, None));
    }
    for bad in ["", "?sub=", "?sub=a&sub=b", "?sub=a&group=b"] {
        assert_eq!(client().get(format!("{url}{bad}")).send().await.unwrap().status(), 400, "{bad}");
    }
}

#[tokio::test]
async fn an_incomplete_client_is_refused() {
    let client = |id: &str, secret: &str, uri: &str| OAuthConfig {
        client_id: id.to_owned(),
        client_secret: secret.to_owned(),
        redirect_uris: vec![uri.to_owned()],
        scopes: Vec::new(),
    };
    for bad in [client("", "s", "http://a/"), client("c", "", "http://a/"), client("c", "s", "/a")] {
        assert!(matches!(MockIdp::builder().client(bad).build(), Err(StartError::Incomplete(_))));
    }
}

#[tokio::test]
async fn the_default_client_and_user_are_always_the_same() {
    for _ in 0..100 {
        let idp = MockIdp::builder().user(User::default()).build().unwrap();
        let pair = idp.client_credentials().unwrap();
        assert_eq!(pair, ("mock-client".to_owned(), "mock-secret".to_owned()));
        idp.shutdown().await;
    }
}
