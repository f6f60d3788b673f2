//! Signing in at a page, staying signed in, and signing out.

use std::time::Duration;

use portunus_mock::{IdpBuilder, MockIdp, OAuthClient, User};
use reqwest::{RequestBuilder, Response};
use serde_json::Value;

use super::flows::{
    APP, BACK, CLI, DEVICE, World, adapted, asking, location, ok, post, redeem, text, with, world,
};
use crate::support::{client, header};
use crate::tokens::claims_of;

const OUT: &str = "https://app.example/out";

/// The client of that id is there already; the one that comes last is meant.
fn asks(idp: IdpBuilder) -> IdpBuilder {
    let client =
        OAuthClient::new("app").secret("app-secret").redirect_uri(BACK).post_logout_redirect_uri(OUT);
    let client = client.scopes(["openid"]);
    idp.client(client).account(User::new("alice"), "alice-pw").account(User::new("bob"), "bob-pw")
}

fn page_world() -> World {
    adapted(asks)
}

fn get(idp: &MockIdp, more: &[(&str, &str)], cookie: Option<&str>) -> RequestBuilder {
    let request = client().get(format!("{}/authorize", idp.issuer())).query(&asking(APP, more));
    cookie.into_iter().fold(request, |request, cookie| request.header("cookie", cookie))
}

async fn sign_in(idp: &MockIdp, name: &str, password: &str, more: &[(&str, &str)]) -> Response {
    let mut form = asking(APP, &[("state", "s\"<x>")]);
    form.extend([("username", name), ("password", password)]);
    form.extend(more);
    client().post(format!("{}/authorize", idp.issuer())).form(&form).send().await.unwrap()
}

/// The pair that a browser sends back.
fn cookie(answer: &Response) -> String {
    let cookie = header(answer, "set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    cookie.split(';').next().unwrap().to_owned()
}

async fn subject(idp: &MockIdp, answer: &Response) -> Value {
    let (_, query) = location(answer);
    let tokens = ok(redeem(idp, APP, &query["code"], &[]).await).await;
    claims_of(text(&tokens, "id_token")).1
}

#[tokio::test]
async fn a_page_asks_who_it_is() {
    let World { idp, .. } = page_world();
    let page = get(&idp, &[("state", "s\"<x>")], None).send().await.unwrap();
    assert_eq!(
        (page.status().as_u16(), header(&page, "content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
    let page = page.text().await.unwrap();
    assert!(page.contains("name=username") && page.contains("name=password"));
    assert!(page.contains("value=\"s&quot;&lt;x&gt;\"") && !page.contains("<x>"), "{page}");

    for (name, password) in [("alice", "bob-pw"), ("nobody", "alice-pw"), ("alice", "")] {
        let again = sign_in(&idp, name, password, &[]).await;
        assert_eq!((again.status().as_u16(), header(&again, "set-cookie")), (200, None));
        assert!(again.text().await.unwrap().contains("role=alert"));
    }
    let answer = sign_in(&idp, "bob", "bob-pw", &[]).await;
    assert_eq!(location(&answer).1["state"], "s\"<x>");
    assert_eq!(subject(&idp, &answer).await["sub"], "bob");

    let refused = sign_in(&idp, "", "", &[("deny", "yes")]).await;
    assert_eq!(location(&refused).1["error"], "access_denied");
    // Errors do not need a person.
    let error = get(&idp, &[("scope", "admin")], None).send().await.unwrap();
    assert_eq!(location(&error).1["error"], "invalid_scope");
}

#[tokio::test]
async fn a_session_spares_the_page() {
    let World { idp, clock } = page_world();
    let first = sign_in(&idp, "alice", "alice-pw", &[]).await;
    let cookie = cookie(&first);
    clock.advance(Duration::from_secs(100));
    for prompt in [&[][..], &[("prompt", "none")], &[("max_age", "100")]] {
        let answer = get(&idp, prompt, Some(&cookie)).send().await.unwrap();
        let claims = subject(&idp, &answer).await;
        // It was signed in to then, and not now.
        assert_eq!(
            (&claims["sub"], claims["auth_time"].as_u64()),
            (&"alice".into(), Some(super::flows::NOW))
        );
    }
    for asks in [("prompt", "login"), ("max_age", "99")] {
        assert_eq!(get(&idp, &[asks], Some(&cookie)).send().await.unwrap().status(), 200, "{asks:?}");
    }
    for unknown in [None, Some("portunus_mock_session=x"), Some("other=1; x")] {
        let answer = get(&idp, &[("prompt", "none")], unknown).send().await.unwrap();
        assert_eq!(location(&answer).1["error"], "login_required");
    }
    let answer = get(&idp, &[("prompt", "none"), ("max_age", "99")], Some(&cookie)).send().await.unwrap();
    assert_eq!(location(&answer).1["error"], "login_required");
}

#[tokio::test]
async fn a_response_can_be_posted() {
    let World { idp, .. } = world();
    let url = format!("{}/authorize", idp.issuer());
    let more = [("response_mode", "form_post"), ("state", "a&b")];
    let page = client().get(&url).query(&asking(APP, &more)).send().await.unwrap();
    assert_eq!((page.status().as_u16(), header(&page, "location")), (200, None));
    let page = page.text().await.unwrap();
    assert!(page.contains(&format!("action=\"{BACK}\"")) && page.contains("value=\"a&amp;b\""), "{page}");
    let code = page.split("name=\"code\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    ok(redeem(&idp, APP, code, &[]).await).await;

    idp.deny_next();
    let page = client().get(&url).query(&asking(APP, &more)).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("value=\"access_denied\"") && page.contains("name=\"iss\""), "{page}");
}

#[tokio::test]
async fn a_device_is_approved_by_who_signs_in() {
    let World { idp, .. } = page_world();
    let flow = ok(post(&idp, "device_authorization_endpoint", &with(CLI, &[])).await).await;
    let press = async |name: &str, password: &str, cookie: Option<&str>| {
        let form = [("user_code", text(&flow, "user_code")), ("username", name), ("password", password)];
        let request = client().post(text(&flow, "verification_uri")).form(&form);
        let request = cookie.into_iter().fold(request, |request, cookie| request.header("cookie", cookie));
        request.send().await.unwrap().text().await.unwrap()
    };
    assert!(press("bob", "wrong", None).await.contains("role=alert"));
    assert!(press("", "", None).await.contains("role=alert"));
    assert!(press("bob", "bob-pw", None).await.contains("Approved"));
    let form = [("grant_type", DEVICE), ("device_code", text(&flow, "device_code"))];
    let tokens = ok(post(&idp, "token_endpoint", &with(CLI, &form)).await).await;
    assert_eq!(claims_of(text(&tokens, "id_token")).1["sub"], "bob");
}

async fn sign_out(idp: &MockIdp, query: &[(&str, &str)], cookie: &str) -> Response {
    let url = format!("{}/end_session", idp.issuer());
    client().get(url).query(query).header("cookie", cookie).send().await.unwrap()
}

#[tokio::test]
async fn signing_out_ends_the_session() {
    let World { idp, clock } = page_world();
    let first = sign_in(&idp, "alice", "alice-pw", &[]).await;
    let cookie = cookie(&first);
    let tokens = ok(redeem(&idp, APP, &location(&first).1["code"], &[]).await).await;
    let hint = text(&tokens, "id_token");
    // Also when the ID token has expired.
    clock.advance(Duration::from_secs(7_200));
    let query = [("id_token_hint", hint), ("post_logout_redirect_uri", OUT), ("state", "s")];
    let answer = sign_out(&idp, &query, &cookie).await;
    assert!(header(&answer, "set-cookie").unwrap().contains("Max-Age=0"));
    let (to, query) = location(&answer);
    assert_eq!((&*to, &*query["state"]), (OUT, "s"));
    let answer = get(&idp, &[("prompt", "none")], Some(&cookie)).send().await.unwrap();
    assert_eq!(location(&answer).1["error"], "login_required");
    for query in [&[][..], &[("client_id", "app"), ("post_logout_redirect_uri", OUT)]] {
        assert!([200, 302].contains(&sign_out(&idp, query, &cookie).await.status().as_u16()));
    }
}

#[tokio::test]
async fn nobody_is_sent_to_an_unregistered_address_when_signing_out() {
    let World { idp, .. } = page_world();
    let first = sign_in(&idp, "alice", "alice-pw", &[]).await;
    let cookie = cookie(&first);
    let (mine, forged) = (idp.mint("alice").id_token(), MockIdp::start().await);
    let forged =
        forged.mint("alice").issuer(idp.issuer()).fault(portunus_mock::TokenFault::BadSignature).id_token();
    for query in [
        &[("post_logout_redirect_uri", OUT)][..],
        &[("post_logout_redirect_uri", "https://evil.example/"), ("client_id", "app")],
        &[("post_logout_redirect_uri", OUT), ("client_id", "cli")],
        &[("id_token_hint", &forged), ("post_logout_redirect_uri", OUT)],
        &[("id_token_hint", "nonsense")],
        &[("id_token_hint", &mine), ("client_id", "other")],
        &[("client_id", "app"), ("client_id", "app")],
    ] {
        let answer = sign_out(&idp, query, &cookie).await;
        assert_eq!((answer.status().as_u16(), header(&answer, "location")), (400, None), "{query:?}");
    }
    // The session goes on.
    assert_eq!(get(&idp, &[("prompt", "none")], Some(&cookie)).send().await.unwrap().status(), 302);
}
