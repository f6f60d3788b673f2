//! What the server says about itself: RFC 8414 and RFC 9728.

use axum::body::Body;
use http::Request;
use portunus_keyserver::PublicUrl;

use crate::support::{ENGINEERS, PUBLIC_URL, World, configuration, server};

async fn get(world: &World, path: &str) -> crate::support::Answer {
    let request =
        Request::get(path).header("host", "evil.example").header("x-forwarded-host", "evil.example");
    world.call(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn metadata_comes_from_the_configuration_never_from_the_host() {
    let world = World::new(ENGINEERS).await;
    for name in ["oauth-authorization-server", "oauth-protected-resource"] {
        for path in ["", "/portunus"] {
            let answer = get(&world, &format!("/.well-known/{name}{path}")).await;
            assert_eq!(answer.status, 200);
            assert!(!answer.text.contains("evil"), "{}", answer.text);
            assert!(answer.headers["cache-control"].to_str().unwrap().contains("max-age"));
        }
        for path in ["/", "/portunus/", "/portunus/x", "/x", "//portunus", "/%ff", "/portunus%2f"] {
            let answer = get(&world, &format!("/.well-known/{name}{path}")).await;
            assert_eq!(answer.status, 404, "{path}");
        }
    }
    let server = get(&world, "/.well-known/oauth-authorization-server").await.json;
    assert_eq!(server["issuer"], PUBLIC_URL);
    assert_eq!(server["token_endpoint"], format!("{PUBLIC_URL}/oauth/token"));
    assert_eq!(server["introspection_endpoint"], format!("{PUBLIC_URL}/oauth/introspect"));
    assert_eq!(server["revocation_endpoint"], format!("{PUBLIC_URL}/oauth/revoke"));
    assert_eq!(
        server["grant_types_supported"],
        serde_json::json!(["urn:ietf:params:oauth:grant-type:token-exchange"])
    );
    let resource = get(&world, "/.well-known/oauth-protected-resource").await.json;
    assert_eq!(resource["resource"], PUBLIC_URL);
    assert_eq!(resource["authorization_servers"], serde_json::json!([PUBLIC_URL]));
}

#[tokio::test]
async fn the_endpoints_that_it_names_are_there() {
    let world = World::new(ENGINEERS).await;
    let metadata = get(&world, "/.well-known/oauth-authorization-server").await.json;
    for name in ["token_endpoint", "introspection_endpoint", "revocation_endpoint"] {
        let path = metadata[name].as_str().unwrap().strip_prefix(PUBLIC_URL).unwrap();
        let answer = world.send(path, "", &[("token", "x")]).await;
        assert!(matches!(answer.status.as_u16(), 200 | 400 | 401), "{name}: {}", answer.status);
    }
}

#[tokio::test]
async fn without_a_public_address_there_is_no_metadata() {
    let world = World::new(ENGINEERS).await;
    let serve = async |url: Option<&str>| {
        let mut config = configuration(world.idp.issuer(), ENGINEERS);
        config.server.public_url = url.map(|url| PublicUrl::new(url).unwrap());
        let server = server(config, world.store.clone(), &world.clock, &world.audit).await.unwrap();
        let statuses = async |path: &str| {
            let call = Request::get(path).body(Body::empty()).unwrap();
            let router = portunus_keyserver::router(server.clone());
            tower::ServiceExt::oneshot(router, call).await.unwrap().status().as_u16()
        };
        let mut all = Vec::new();
        for name in ["oauth-authorization-server", "oauth-protected-resource"] {
            all.push(statuses(&format!("/.well-known/{name}")).await);
            all.push(statuses(&format!("/.well-known/{name}/portunus")).await);
        }
        all
    };
    assert_eq!(serve(None).await, [404; 4]);
    assert_eq!(serve(Some("https://llm.example.com")).await, [200, 404, 200, 404]);
}
