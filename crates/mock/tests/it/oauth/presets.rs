//! The large providers: what they do unlike the book.

use std::time::Duration;

use portunus_mock::{JOB_REQUEST_TOKEN, MockIdp, OAuthClient, Preset, User};
use reqwest::Response;
use serde_json::{Value, json};

use super::flows::{
    APP, BACK, DEVICE, adapted, asking, code, is_taken, location, metadata, ok, post, redeem, refresh,
    refused, sign_in, text, with,
};
use crate::support::{client, header, json_of};
use crate::tokens::claims_of;

/// That provider, with the client of [`APP`].
fn like(preset: Preset) -> MockIdp {
    with_user(preset, None)
}

fn with_user(preset: Preset, user: Option<User>) -> MockIdp {
    let app = OAuthClient::new("app").secret("app-secret").redirect_uri(BACK);
    let app = app.scopes(["openid", "profile", "email", "groups"]);
    let builder = MockIdp::builder().preset(preset).client(app);
    let builder = builder.device(Duration::from_secs(600), Duration::ZERO);
    user.into_iter().fold(builder, |builder, user| builder.user(user)).build().unwrap()
}

fn groups(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("group-{n}")).collect()
}

async fn userinfo(idp: &MockIdp, tokens: &Value) -> Value {
    let url = metadata(idp).await["userinfo_endpoint"].as_str().unwrap().to_owned();
    ok(client().get(url).bearer_auth(text(tokens, "access_token")).send().await.unwrap()).await
}

#[tokio::test]
async fn every_address_that_is_advertised_answers() {
    let all = [
        (Preset::Google, ""),
        (Preset::Okta, "/oauth2/default"),
        (Preset::Entra, "/11111111-2222-3333-4444-555555555555/v2.0"),
        (Preset::Auth0, "/"),
        (Preset::GitLab, ""),
        (Preset::OneLogin, "/oidc/2"),
        (Preset::GitHubActions, ""),
    ];
    for (preset, path) in all {
        let idp = like(preset);
        let metadata = metadata(&idp).await;
        assert_eq!(metadata["issuer"], idp.issuer());
        assert!(
            idp.issuer().ends_with(&format!(":{}{path}", idp.issuer().split([':', '/']).nth(4).unwrap()))
        );
        for (name, url) in metadata.as_object().unwrap() {
            if name.ends_with("_endpoint") || name == "jwks_uri" {
                let status = client().get(url.as_str().unwrap()).send().await.unwrap().status();
                assert_ne!(status, 404, "{preset:?} {name}");
            }
        }
        assert_eq!(metadata["id_token_signing_alg_values_supported"], json!(["RS256"]));
        let keys = json_of(client().get(idp.jwks_uri()).send().await.unwrap()).await;
        assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
        for grant in metadata["grant_types_supported"].as_array().into_iter().flatten() {
            let form = with(APP, &[("grant_type", grant.as_str().unwrap())]);
            let said = json_of(post(&idp, "token_endpoint", &form).await).await;
            assert_ne!(said["error"], "unsupported_grant_type", "{preset:?} {grant}");
        }
    }
}

#[tokio::test]
async fn google() {
    let idp = like(Preset::Google);
    let online = sign_in(&idp, APP, &[]).await;
    assert_eq!(online.get("refresh_token"), None);
    let tokens = sign_in(&idp, APP, &[("access_type", "offline"), ("prompt", "consent")]).await;
    assert!(text(&tokens, "access_token").starts_with("ya29."));
    let (_, claims) = claims_of(text(&tokens, "id_token"));
    assert_eq!((&claims["hd"], claims.get("groups")), (&json!("example.com"), None));

    // The old name of the issuer, which is still to be taken.
    let alias = idp.issuer().trim_start_matches("http://");
    assert_eq!(claims_of(&idp.mint("a").issuer(alias).id_token()).1["iss"], alias);

    let flow = ok(post(&idp, "device_authorization_endpoint", &with(APP, &[])).await).await;
    assert_eq!((flow["verification_url"].is_string(), flow.get("verification_uri")), (true, None));
    let form = [("grant_type", DEVICE), ("device_code", text(&flow, "device_code"))];
    let poll = async || post(&idp, "token_endpoint", &with(APP, &form)).await;
    assert_eq!(refused(poll().await).await, (428, "authorization_pending".to_owned()));
    idp.deny_device(text(&flow, "user_code")).unwrap();
    assert_eq!(refused(poll().await).await, (403, "access_denied".to_owned()));

    let own = post(&idp, "token_endpoint", &with(APP, &[("grant_type", "client_credentials")])).await;
    assert_eq!(refused(own).await, (400, "unsupported_grant_type".to_owned()));

    // Whoever has a token may revoke it, and its refresh token goes with it.
    let url = format!("{}/revoke?token={}", idp.issuer(), text(&tokens, "access_token"));
    assert_eq!(client().post(&url).send().await.unwrap().status(), 200);
    assert!(!is_taken(&idp, text(&tokens, "access_token")).await);
    assert_eq!(refresh(&idp, APP, text(&tokens, "refresh_token"), &[]).await.status(), 400);
    assert_eq!(refused(client().post(&url).send().await.unwrap()).await, (400, "invalid_token".to_owned()));
}

#[tokio::test]
async fn okta() {
    let idp = with_user(Preset::Okta, Some(User::new("alice").claim("groups", groups(150))));
    let tokens = sign_in(&idp, APP, &[("scope", "openid groups offline_access")]).await;
    let (_, claims) = claims_of(text(&tokens, "id_token"));
    assert_eq!(claims["groups"].as_array().unwrap().len(), 100);
    assert_eq!(claims.get("_claim_names"), None);
    assert!(tokens["refresh_token"].is_string());
    let (_, access) = claims_of(text(&tokens, "access_token"));
    assert_eq!((&access["aud"], &access["cid"]), (&json!("api://default"), &json!("app")));
    assert_eq!(access["scp"], json!(["openid", "groups", "offline_access"]));
    let without = sign_in(&idp, APP, &[("scope", "openid")]).await;
    assert_eq!(without.get("refresh_token"), None);
}

#[tokio::test]
async fn entra() {
    const DIRECTORY: &str = "99999999-2222-3333-4444-555555555555";
    let alice = User::new("alice").claim("oid", "oid-alice").claim("groups", groups(200));
    let app = |id: &str| OAuthClient::new(id).secret("s").redirect_uri(BACK).scopes(["openid", "profile"]);
    let tenant = MockIdp::builder().preset(Preset::Entra).client(app("a")).client(app("b")).user(alice);
    let idp = MockIdp::builder().tenant(DIRECTORY, tenant).build().unwrap();
    let origin = idp.issuer();
    let idp = idp.tenant(DIRECTORY).unwrap();
    assert_eq!(idp.issuer(), format!("{origin}/{DIRECTORY}/v2.0"));
    assert_eq!(idp.jwks_uri(), format!("{origin}/{DIRECTORY}/discovery/v2.0/keys"));

    let told = async |client: &'static str| {
        let tokens = sign_in(idp, (client, Some("s")), &[]).await;
        (claims_of(text(&tokens, "id_token")).1, userinfo(idp, &tokens).await)
    };
    let ((a, at_a), (b, _)) = (told("a").await, told("b").await);
    // Another subject for every application; the person is `tid` and `oid`.
    assert_ne!(a["sub"], b["sub"]);
    assert_eq!(a["sub"], at_a["sub"]);
    for claims in [&a, &b] {
        assert_eq!((&claims["oid"], &claims["tid"]), (&json!("oid-alice"), &json!(DIRECTORY)));
        assert_eq!((&claims["ver"], claims["groups"].as_array().unwrap().len()), (&json!("2.0"), 200));
    }
    idp.set_user(User::new("alice").claim("groups", groups(201)));
    let (many, _) = told("a").await;
    assert_eq!((many.get("groups"), &many["_claim_names"]), (None, &json!({"groups": "src1"})));
    assert!(many["_claim_sources"]["src1"]["endpoint"].is_string());

    let with_resource = asking(("a", None), &[("resource", "https://graph.microsoft.com/")]);
    let url = metadata(idp).await["authorization_endpoint"].as_str().unwrap().to_owned();
    let (_, back) = location(&client().get(url).query(&with_resource).send().await.unwrap());
    assert_eq!(back["error"], "invalid_target");
    assert!(back["error_description"].starts_with("AADSTS9010010"));

    let own =
        post(idp, "token_endpoint", &with(("a", Some("s")), &[("grant_type", "client_credentials")])).await;
    let own = claims_of(text(&ok(own).await, "access_token")).1;
    assert_eq!((&own["idtyp"], &own["azp"], &own["oid"]), (&json!("app"), &json!("a"), &json!("a")));
    for shared in ["common", "organizations"] {
        let url = format!("{origin}/{shared}/v2.0/.well-known/openid-configuration");
        let told = ok(client().get(url).send().await.unwrap()).await;
        assert_eq!(told["issuer"], format!("{origin}/{{tenantid}}/v2.0"));
        assert_eq!(told["jwks_uri"], idp.jwks_uri());
    }
}

#[tokio::test]
async fn auth0() {
    let user = User::new("auth0|1").claim("groups", vec!["a"]).claim("roles", vec!["b"]).claim("org_id", "c");
    let idp = with_user(Preset::Auth0, Some(user.claim("https://app/roles", vec!["admin"])));
    assert!(idp.issuer().ends_with('/'));
    let tokens = sign_in(&idp, APP, &[]).await;
    let (_, claims) = claims_of(text(&tokens, "id_token"));
    assert_eq!(claims["iss"], idp.issuer());
    assert_eq!(claims["https://app/roles"], json!(["admin"]));
    for dropped in ["groups", "roles", "org_id"] {
        assert_eq!(claims.get(dropped), None, "{dropped}");
    }
    assert!(!text(&tokens, "access_token").contains('.'), "opaque without an audience");
    let tokens = sign_in(&idp, APP, &[("audience", "https://api.example/"), ("resource", "ignored")]).await;
    assert_eq!(claims_of(text(&tokens, "access_token")).1["aud"], "https://api.example/");
}

#[tokio::test]
async fn gitlab() {
    let user = User::new("7").claim("groups", vec!["a", "a/b"]).claim("groups_direct", vec!["a"]);
    let idp = with_user(Preset::GitLab, Some(user));
    let tokens = sign_in(&idp, APP, &[("scope", "openid email")]).await;
    let (_, claims) = claims_of(text(&tokens, "id_token"));
    assert_eq!((claims.get("groups"), &claims["groups_direct"]), (None, &json!(["a"])));
    let told = userinfo(&idp, &tokens).await;
    assert_eq!((&told["groups"], told.get("groups_direct")), (&json!(["a", "a/b"]), None));
}

#[tokio::test]
async fn onelogin() {
    let idp = with_user(Preset::OneLogin, Some(User::new("7").claim("groups", "eng;ops")));
    let claims = async |scope: &str| {
        let tokens = sign_in(&idp, APP, &[("scope", scope)]).await;
        claims_of(text(&tokens, "id_token")).1
    };
    assert_eq!(claims("openid").await.get("groups"), None);
    assert_eq!(claims("openid groups").await["groups"], "eng;ops");
}

#[tokio::test]
async fn github_actions() {
    let idp = like(Preset::GitHubActions);
    let asked = async |token: &str, audience: &str| {
        let url = format!("{}/idtoken?api-version=2.0{audience}", idp.issuer());
        client().get(url).bearer_auth(token).send().await.unwrap()
    };
    let told = ok(asked(JOB_REQUEST_TOKEN, "&audience=portunus").await).await;
    let (_, claims) = claims_of(text(&told, "value"));
    assert_eq!((&claims["aud"], &claims["iss"]), (&json!("portunus"), &json!(idp.issuer())));
    assert_eq!((&claims["repository_id"], &claims["repository_owner_id"]), (&json!("1"), &json!("2")));
    assert_eq!(claims["sub"], "repo:mock-org/mock-repo:ref:refs/heads/main");
    let told = ok(asked(JOB_REQUEST_TOKEN, "").await).await;
    assert_eq!(claims_of(text(&told, "value")).1["aud"], "https://github.com/mock-org");
    assert_eq!(asked("wrong", "&audience=portunus").await.status(), 401);
    // Nobody signs in here.
    assert_eq!(client().get(format!("{}/authorize", idp.issuer())).send().await.unwrap().status(), 404);
}

fn github() -> MockIdp {
    let orgs: Vec<_> = (0..40).map(|n| format!("org-{n}")).collect();
    let user = User::new("mock-user").claim("id", 583_231).claim("login", "mock-user").claim("orgs", orgs);
    let user =
        user.claim("teams", vec!["org-1/eng"]).claim("email", "m@example.com").claim("email_verified", true);
    let scopes = ["read:user", "user:email", "read:org"];
    let app = OAuthClient::new("app").secret("app-secret").redirect_uri(BACK).scopes(scopes);
    let other = OAuthClient::new("other").secret("other-secret").redirect_uri(BACK).scopes(scopes);
    let builder = MockIdp::builder().preset(Preset::GitHub).client(app).client(other).user(user);
    builder.device(Duration::from_secs(600), Duration::ZERO).build().unwrap()
}

/// Signs in as GitHub's own documentation does: without PKCE, and with commas.
async fn github_code(idp: &MockIdp) -> String {
    let query = [("client_id", "app"), ("scope", "read:user,user:email,read:org"), ("state", "s")];
    let url = format!("{}/login/oauth/authorize", idp.issuer());
    let (to, back) = location(&client().get(url).query(&query).send().await.unwrap());
    assert_eq!((&*to, back.get("iss")), (BACK, None));
    back["code"].clone()
}

async fn github_token(idp: &MockIdp, code: &str, secret: &str, accept: &str) -> Response {
    let form = [("client_id", "app"), ("client_secret", secret), ("code", code)];
    let url = format!("{}/login/oauth/access_token", idp.issuer());
    client().post(url).header("accept", accept).form(&form).send().await.unwrap()
}

#[tokio::test]
async fn github_signs_users_in() {
    let idp = github();
    let metadata = format!("{}/.well-known/openid-configuration", idp.issuer());
    assert_eq!(client().get(metadata).send().await.unwrap().status(), 404);

    let answer = github_token(&idp, &github_code(&idp).await, "app-secret", "*/*").await;
    assert_eq!(header(&answer, "content-type"), Some("application/x-www-form-urlencoded"));
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .contains("&scope=read%3Auser%2Cuser%3Aemail%2Cread%3Aorg&token_type=bearer")
    );
    let code = github_code(&idp).await;
    let tokens = ok(github_token(&idp, &code, "app-secret", "application/json").await).await;
    let token = text(&tokens, "access_token");
    assert_eq!(
        tokens,
        json!({"access_token": token, "scope": "read:user,user:email,read:org", "token_type": "bearer"})
    );
    // Errors have status 200.
    for (code, secret, error) in [
        ("unknown", "app-secret", "bad_verification_code"),
        (&*code, "wrong", "incorrect_client_credentials"),
    ] {
        assert_eq!(ok(github_token(&idp, code, secret, "application/json").await).await["error"], error);
    }
    let get = async |path: &str| {
        let url = format!("{}{path}", idp.issuer());
        ok(client().get(url).bearer_auth(token).send().await.unwrap()).await
    };
    let user = get("/user").await;
    assert_eq!(
        (&user["id"], &user["login"], &user["email"]),
        (&json!(583_231), &json!("mock-user"), &Value::Null)
    );
    let emails = get("/user/emails").await;
    assert_eq!((&emails[1]["email"], &emails[1]["primary"]), (&json!("m@example.com"), &json!(true)));
    assert_eq!(emails[0]["verified"], false);
    let pages = [
        ("/user/orgs", 30),
        ("/user/orgs?page=2", 10),
        ("/user/orgs?page=3", 0),
        ("/user/orgs?per_page=100", 40),
    ];
    for (path, count) in pages {
        assert_eq!(get(path).await.as_array().unwrap().len(), count, "{path}");
    }
    assert_eq!(get("/user/teams").await[0]["organization"]["login"], "org-1");
    let anonymous = client().get(format!("{}/user", idp.issuer())).send().await.unwrap();
    assert_eq!(anonymous.status(), 401);
}

#[tokio::test]
async fn github_tells_a_client_of_its_own_tokens_only() {
    let idp = github();
    let tokens =
        ok(github_token(&idp, &github_code(&idp).await, "app-secret", "application/json").await).await;
    let check = async |path: &str, (id, secret): (&str, &str), token: &str| {
        let request = client().post(format!("{}/applications/{path}/token", idp.issuer()));
        let request = request.basic_auth(id, Some(secret)).json(&json!({"access_token": token}));
        request.send().await.unwrap()
    };
    let token = text(&tokens, "access_token");
    let (app, other) = (("app", "app-secret"), ("other", "other-secret"));
    let told = ok(check("app", app, token).await).await;
    assert_eq!((&told["user"]["id"], &told["app"]["client_id"]), (&json!(583_231), &json!("app")));
    for (path, who, token, status) in [
        ("other", other, token, 404),
        ("app", app, "gho_unknown", 404),
        ("app", other, token, 401),
        ("app", ("app", "wrong"), token, 401),
    ] {
        assert_eq!(check(path, who, token).await.status(), status, "{path} {who:?}");
    }
}

#[tokio::test]
async fn github_connects_devices() {
    let idp = github();
    idp.add_client(OAuthClient::new("tool").scopes(["read:user"])).unwrap();
    let post = async |path: &str, form: &[(&str, &str)]| {
        let request = client().post(format!("{}{path}", idp.issuer())).header("accept", "application/json");
        ok(request.form(form).send().await.unwrap()).await
    };
    let flow = post("/login/device/code", &[("client_id", "tool")]).await;
    let form = [("client_id", "tool"), ("grant_type", DEVICE), ("device_code", text(&flow, "device_code"))];
    assert_eq!(post("/login/oauth/access_token", &form).await["error"], "authorization_pending");
    idp.approve_device(text(&flow, "user_code")).unwrap();
    assert_eq!(post("/login/oauth/access_token", &form).await["token_type"], "bearer");
}

#[tokio::test]
async fn a_user_is_worded_as_the_provider_does() {
    let many = User::new("alice").claim("groups", groups(300)).claim("email", "a@example.com");
    let claims = |preset| claims_of(&like(preset).mint_for(&many).id_token()).1;
    assert_eq!(claims(Preset::Oidc)["groups"].as_array().unwrap().len(), 300);
    assert_eq!(claims(Preset::Okta)["groups"].as_array().unwrap().len(), 100);
    assert!(claims(Preset::Entra).get("_claim_names").is_some());
    assert_eq!(claims(Preset::Auth0).get("groups"), None);
    assert!(claims(Preset::GitLab)["groups_direct"].is_array());
}

#[tokio::test]
async fn pkce_is_checked_wherever_it_is_used() {
    let super::flows::World { idp, .. } = adapted(|idp| idp.pkce_optional());
    let url = format!("{}/authorize", idp.issuer());
    let mut query = asking(APP, &[]);
    query.retain(|(name, _)| !name.starts_with("code_challenge"));
    let without = location(&client().get(&url).query(&query).send().await.unwrap()).1["code"].clone();
    let form = |verifier: Option<&'static str>| {
        let mut form = with(APP, &[("grant_type", "authorization_code"), ("redirect_uri", BACK)]);
        form.extend(verifier.map(|verifier| ("code_verifier", verifier)));
        form
    };
    let mut redeeming = form(Some(super::flows::VERIFIER));
    redeeming.push(("code", &without));
    // RFC 9700 §2.1.1: a verifier without a challenge is a downgrade.
    assert_eq!(refused(post(&idp, "token_endpoint", &redeeming).await).await, super::flows::invalid_grant());
    let mut redeeming = form(None);
    redeeming.push(("code", &without));
    ok(post(&idp, "token_endpoint", &redeeming).await).await;

    let challenged = code(&idp, APP, &[]).await;
    let mut redeeming = form(None);
    redeeming.push(("code", &challenged));
    assert_eq!(refused(post(&idp, "token_endpoint", &redeeming).await).await, super::flows::invalid_grant());
    ok(redeem(&idp, APP, &challenged, &[]).await).await;
}

#[tokio::test]
async fn a_github_token_becomes_one_of_copilot() {
    let tool = OAuthClient::new("tool").scopes(["read:user"]);
    let builder = MockIdp::builder().preset(Preset::GitHub).client(tool).copilot("https://copilot.example");
    let idp = builder.build().unwrap();
    let post = async |path: &str, form: &[(&str, &str)]| {
        let request = client().post(format!("{}{path}", idp.issuer())).header("accept", "application/json");
        ok(request.form(form).send().await.unwrap()).await
    };
    let flow = post("/login/device/code", &[("client_id", "tool"), ("scope", "read:user")]).await;
    let form = [("client_id", "tool"), ("grant_type", DEVICE), ("device_code", text(&flow, "device_code"))];
    assert_eq!(post("/login/oauth/access_token", &form).await["error"], "authorization_pending");
    // Too early: the answer says how long to wait from now on.
    let early = post("/login/oauth/access_token", &form).await;
    assert_eq!((&early["error"], &early["interval"]), (&json!("slow_down"), &json!(10)));
    idp.approve_device(text(&flow, "user_code")).unwrap();
    let github = post("/login/oauth/access_token", &form).await;
    let again = post("/login/oauth/access_token", &form).await;
    assert_eq!(again["error"], "incorrect_device_code");

    let second = async |authorization: String| {
        let request = client().get(format!("{}/copilot_internal/v2/token", idp.issuer()));
        request.header("authorization", authorization).send().await.unwrap()
    };
    let told = ok(second(format!("token {}", text(&github, "access_token"))).await).await;
    assert_eq!(
        (&told["endpoints"]["api"], &told["refresh_in"]),
        (&json!("https://copilot.example"), &json!(1_500))
    );
    assert!(told["expires_at"].is_u64() && text(&told, "token").starts_with("tid="));
    assert_eq!(second("token gho_unknown".to_owned()).await.status(), 401);
    assert_eq!(second("token ghp_personal".to_owned()).await.status(), 403);
    let without = github_without_copilot().await;
    assert_eq!(without, 404);
}

async fn github_without_copilot() -> u16 {
    let idp = github();
    let tokens = idp.sign_in("app", "read:user").unwrap();
    let request = client().get(format!("{}/copilot_internal/v2/token", idp.issuer()));
    let request = request.header("authorization", format!("token {}", text(&tokens, "access_token")));
    request.send().await.unwrap().status().as_u16()
}
