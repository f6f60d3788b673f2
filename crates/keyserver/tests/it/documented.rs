//! The description of the API: what it says is what happens, and nothing else happens.

use std::collections::BTreeSet;
use std::path::PathBuf;

use axum::body::Body;
use http::{Method, Request};
use portunus_keyserver::{KeyServer, openapi};
use serde_json::{Value, json};
use std::sync::Arc;

use crate::contract::Full;
use crate::support::{
    ADMIN, Answer, CLIENT, ENGINEERS, World, admin, basic, configuration, exchange_of, form, parts, server,
};

/// Set `UPDATE_SCHEMA=1` to write it anew.
#[test]
#[expect(clippy::disallowed_methods, reason = "the person who runs the test says so by a variable")]
fn the_committed_description_is_the_codes() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schema/openapi.json");
    let written = serde_json::to_string_pretty(&openapi()).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&file, &written).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == written, "run this test with UPDATE_SCHEMA=1, and commit {}", file.display());
}

/// The described operation at this path.
fn operation(description: &Value, method: &Method, path: &str) -> Option<(String, Value)> {
    let method = method.as_str().to_ascii_lowercase();
    let is_like = |template: &str| {
        let (mut mine, mut its) = (template.split('/'), path.split('/'));
        loop {
            match (mine.next(), its.next()) {
                (None, None) => return true,
                (Some(mine), Some(its)) if mine == its || (mine.starts_with('{') && !its.is_empty()) => {}
                _ => return false,
            }
        }
    };
    let paths = description["paths"].as_object()?;
    let (template, operations) = paths.iter().find(|(template, _)| is_like(template))?;
    operations.get(&method).map(|operation| (template.clone(), operation.clone()))
}

/// Holds that the description knows this answer: its status, its headers, and every member of its body.
pub(crate) fn check(method: &Method, path: &str, answer: &Answer) -> Option<(String, String, String)> {
    let description = openapi();
    let Some((template, operation)) = operation(&description, method, path) else {
        assert!(matches!(answer.status.as_u16(), 404 | 405), "{method} {path} is not described");
        return None;
    };
    let status = answer.status.as_str().to_owned();
    let described = &operation["responses"][&status];
    assert!(described.is_object(), "{method} {template} answers {status}: {}", answer.text);
    for (header, _) in described["headers"].as_object().into_iter().flatten() {
        assert!(answer.headers.contains_key(header.as_str()), "{method} {template} {status}: no {header}");
    }
    let schema = &described["content"]["application/json"]["schema"];
    if schema.is_null() {
        assert_eq!(answer.text, "", "{method} {template} {status}");
    } else {
        assert_eq!(answer.headers["content-type"], "application/json");
        let name = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()).unwrap_or_default();
        fits(&answer.json, &description["components"]["schemas"][name]);
    }
    Some((template, method.to_string(), status))
}

/// The required members are there, and no other than the described ones.
fn fits(body: &Value, schema: &Value) {
    let body = body.as_object().unwrap();
    let Some(properties) = schema["properties"].as_object() else { return };
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(body.contains_key(name.as_str().unwrap()), "{name} is missing in {body:?}");
    }
    for name in body.keys() {
        assert!(properties.contains_key(name), "{name} is not described");
    }
}

fn all_described() -> BTreeSet<(String, String, String)> {
    let description = openapi();
    let mut all = BTreeSet::new();
    for (template, operations) in description["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            for (status, _) in operation["responses"].as_object().unwrap() {
                all.insert((template.clone(), method.to_ascii_uppercase(), status.clone()));
            }
        }
    }
    all
}

const POSTS: [&str; 6] = [
    "/auth/token",
    "/oauth/token",
    "/oauth/introspect",
    "/oauth/revoke",
    "/admin/revocations",
    "/admin/policies:explain",
];

fn request(method: &str, path: &str, body: impl Into<String>) -> Request<Body> {
    let is_json = path.starts_with("/admin");
    let media_type = if is_json { "application/json" } else { "application/x-www-form-urlencoded" };
    let request = Request::builder().method(method).uri(path).header("content-type", media_type);
    request.header("authorization", admin()).body(Body::from(body.into())).unwrap()
}

fn without_header(mut request: Request<Body>, name: &str) -> Request<Body> {
    request.headers_mut().remove(name);
    request
}

/// Requests that are well-formed.
async fn good(world: &World) -> Vec<Request<Body>> {
    let mut requests = Vec::new();
    for path in ["/auth/token", "/oauth/token"] {
        let token = world.engineer("alice").id_token();
        requests.push(request("POST", path, form(&exchange_of(&token))));
    }
    for path in ["/auth/token/", "/admin/tokens/"] {
        let key = world.key("bob").await;
        requests.push(request("DELETE", &format!("{path}{}", key.key_id), ""));
    }
    let key = world.key("carol").await;
    for path in ["/oauth/introspect", "/oauth/revoke"] {
        requests.push(request("POST", path, form(&[("token", key.access_token.expose())])));
    }
    requests.push(request("GET", "/admin/tokens", ""));
    requests.push(request("POST", "/admin/revocations", json!({"iss": "idp", "reason": "x"}).to_string()));
    let about = json!({"claims": {"sub": "alice", "groups": ["eng"]}, "issuer": "idp"});
    requests.push(request("POST", "/admin/policies:explain", about.to_string()));
    for document in ["authorization-server", "protected-resource"] {
        for path in ["", "/portunus"] {
            requests.push(request("GET", &format!("/.well-known/oauth-{document}{path}"), ""));
        }
    }
    requests.extend(["/auth/audience", "/auth/openapi.json"].map(|path| request("GET", path, "")));
    requests
}

/// Requests that are refused, whatever state the server is in.
fn bad() -> Vec<Request<Body>> {
    let mut requests = Vec::new();
    for path in POSTS {
        requests.push(request("POST", path, ""));
        requests.push(request("POST", path, "x".repeat(33 * 1024)));
        requests.push(without_header(request("POST", path, ""), "content-type"));
        requests.push(without_header(request("POST", path, form(&[("token", "x")])), "authorization"));
    }
    for (method, path) in
        [("DELETE", "/auth/token/x"), ("DELETE", "/admin/tokens/x"), ("GET", "/admin/tokens")]
    {
        requests.push(request(method, path, ""));
        requests.push(without_header(request(method, path, ""), "authorization"));
    }
    requests.push(request("GET", "/admin/tokens?nonsense=1", ""));
    let nobody = json!({"tenant": "nobody", "reason": "x"}).to_string();
    requests.push(request("POST", "/admin/revocations", nobody));
    // Whose address it is was not kept of any key.
    let address = json!({"iss": "idp", "email": "a@b.example", "reason": "x"}).to_string();
    requests.push(request("POST", "/admin/revocations", address));
    requests.push(request("GET", "/.well-known/oauth-authorization-server/x", ""));
    requests.push(request("GET", "/.well-known/oauth-protected-resource/x", ""));
    requests
}

#[tokio::test]
async fn every_described_answer_is_given() {
    let mut given = BTreeSet::new();
    let mut ask = async |world: &World, requests: Vec<Request<Body>>| {
        for request in requests {
            let (method, path) = (request.method().clone(), request.uri().path().to_owned());
            given.extend(check(&method, &path, &world.call(request).await));
        }
    };
    let mut world = World::new(ENGINEERS).await;
    let requests = good(&world).await;
    ask(&world, requests).await;
    world.key("dave").await;
    ask(&world, bad()).await;

    let mut config = configuration(world.idp.issuer(), ENGINEERS);
    config.key_server.max_keys_per_identity = 1.try_into().unwrap();
    config.server.public_url = None;
    world.server = server(config, world.store.clone(), &world.clock, &world.audit).await.unwrap();
    world.key("alice").await;
    let unspent = world.engineer("alice").id_token();
    let exchange = |path| request("POST", path, form(&exchange_of(&unspent)));
    ask(&world, ["/auth/token", "/oauth/token"].map(exchange).into()).await;
    let documents = ["authorization-server", "protected-resource"];
    let document = |name| request("GET", &format!("/.well-known/oauth-{name}"), "");
    ask(&world, documents.map(document).into()).await;

    let requests = good(&World::new(ENGINEERS).await).await;
    let config = configuration(world.idp.issuer(), ENGINEERS);
    let parts = parts(world.store.clone(), &world.clock, Arc::new(Full));
    world.server = KeyServer::new(config, parts).await.unwrap();
    ask(&world, requests).await;
    let described = all_described();
    let missing: Vec<_> = described.difference(&given).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test]
async fn a_wrong_method_is_refused_and_audited_once() {
    let world = World::new(ENGINEERS).await;
    for path in POSTS {
        let answer = world.call(request("PUT", path, "")).await;
        assert_eq!(answer.error(), (405, "method_not_allowed"));
        assert_eq!(answer.headers["allow"], "POST");
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
    assert_eq!(world.events().len(), POSTS.len());
}

#[tokio::test]
async fn it_is_served_and_says_where() {
    let world = World::new(ENGINEERS).await;
    let mut served = world.call(request("GET", "/auth/openapi.json", "")).await.json;
    assert_eq!(served["servers"][0]["url"], crate::support::PUBLIC_URL);
    served.as_object_mut().unwrap().remove("servers");
    assert_eq!(served, openapi());
    assert_eq!(served["openapi"], "3.1.0");
    let text = served.to_string();
    assert!(!text.contains(ADMIN) && !text.contains(CLIENT));
    assert!(!text.contains(&basic("proxy", CLIENT)));
}
