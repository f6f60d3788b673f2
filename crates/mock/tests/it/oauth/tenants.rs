//! Several issuers on one port, each with a path.

use portunus_mock::{MockIdp, OAuthClient, StartError, User};
use serde_json::Value;

use super::flows::{BACK, Who, metadata, ok, post, redeem, sign_in, text, with};
use crate::support::{client, json_of};
use crate::tokens::claims_of;

const APP: Who = ("app", Some("s"));

fn idp() -> MockIdp {
    let tenant = |user: &str| {
        let app = OAuthClient::new("app").secret("s").redirect_uri(BACK);
        MockIdp::builder().client(app).user(User::new(user))
    };
    let main = tenant("main").tenant("t1", tenant("one")).tenant("t2", tenant("two"));
    main.build().unwrap()
}

#[tokio::test]
async fn every_address_of_every_tenant_answers() {
    let idp = idp();
    for (issuer, path) in [(&idp, ""), (idp.tenant("t1").unwrap(), "/t1"), (idp.tenant("t2").unwrap(), "/t2")]
    {
        assert_eq!(issuer.issuer(), format!("{}{path}", idp.issuer()));
        let metadata = metadata(issuer).await;
        assert_eq!(metadata["issuer"], issuer.issuer());
        // RFC 8414 §3.1: inserted before the path, and appended to it as OpenID Connect does.
        for url in [
            format!("{}/.well-known/oauth-authorization-server{path}", idp.issuer()),
            format!("{}/.well-known/oauth-authorization-server", issuer.issuer()),
        ] {
            assert_eq!(json_of(client().get(url).send().await.unwrap()).await, metadata);
        }
        for (name, url) in metadata.as_object().unwrap() {
            if name.ends_with("_endpoint") || name == "jwks_uri" {
                let url = url.as_str().unwrap();
                assert!(url.starts_with(&format!("{}/", issuer.issuer())));
                assert_ne!(client().get(url).send().await.unwrap().status(), 404, "{url}");
            }
        }
        let shell = format!("{}/__mock/id_token?sub=alice", issuer.issuer());
        let token = client().get(shell).send().await.unwrap().text().await.unwrap();
        assert_eq!(claims_of(&token).1["iss"], issuer.issuer());
    }
    assert!(idp.tenant("t3").is_none());
    assert_eq!(client().get(format!("{}/t3/token", idp.issuer())).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn tenants_share_nothing() {
    let idp = idp();
    let (one, two) = (idp.tenant("t1").unwrap(), idp.tenant("t2").unwrap());
    let tokens = sign_in(one, APP, &[]).await;
    let claims = claims_of(text(&tokens, "id_token")).1;
    assert_eq!((&claims["sub"], &claims["iss"]), (&Value::from("one"), &Value::from(one.issuer())));
    for other in [two, &idp] {
        let form = with(APP, &[("token", text(&tokens, "access_token"))]);
        let told = post(other, "introspection_endpoint", &form).await;
        assert_eq!(ok(told).await["active"], false);
    }
    let code = super::flows::code(one, APP, &[]).await;
    let url = two.token_endpoint();
    let form = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", BACK)];
    let answer = client().post(url).form(&with(APP, &form)).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    ok(redeem(one, APP, &code, &[]).await).await;

    two.rotate_keys();
    two.set_down(true);
    assert_eq!(client().get(two.jwks_uri()).send().await.unwrap().status(), 503);
    assert_ne!(one.jwks(), two.jwks());
    sign_in(one, APP, &[]).await;
    two.set_down(false);
    one.set_user(User::new("uno"));
    let tokens = sign_in(one, APP, &[]).await;
    assert_eq!(claims_of(text(&tokens, "id_token")).1["sub"], "uno");
}

#[tokio::test]
async fn a_tenant_needs_a_name_that_is_a_path() {
    for name in ["", "a/b", "a b", "ä"] {
        let built = MockIdp::builder().tenant(name, MockIdp::builder()).build();
        assert!(matches!(built, Err(StartError::Incomplete(_))), "{name}");
    }
    let nested = MockIdp::builder().tenant("b", MockIdp::builder());
    assert!(MockIdp::builder().tenant("a", nested).build().is_err());
}
