//! What is kept of the requests, and what is never shown.

use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex};

use portunus_mock::{EntraApp, Fixture, Key, MockCloud, ServerBuilder};
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{chat, client, contents, converse, message, post, post_chat, post_message, status_with};

const GEMINI: &str = "/v1beta/models/m:generateContent";

#[tokio::test]
async fn every_request_is_kept_with_headers_body_and_status() {
    let server = ServerBuilder::new().with_bearer_token("sk-1").build().await.unwrap();
    let url = server.url();
    let good = message("claude", "hi");
    let request = post_message(&url, &good).header("x-api-key", "sk-1").header("anthropic-beta", "b1");
    request.query(&[("beta", "true")]).send().await.unwrap();
    post_chat(&url, &chat("gpt-4o", "hi")).bearer_auth("sk-wrong").send().await.unwrap();
    client().get(format!("{url}/nowhere")).send().await.unwrap();

    let requests = server.requests();
    let seen: Vec<_> = requests.iter().map(|r| (r.method().as_str(), r.path(), r.status())).collect();
    assert_eq!(
        seen,
        [
            ("POST", "/v1/messages", Some(200)),
            ("POST", "/v1/chat/completions", Some(401)),
            ("GET", "/nowhere", Some(401)),
        ]
    );
    assert_eq!(requests[0].query(), Some("beta=true"));
    assert_eq!(requests[0].header("Anthropic-Beta"), Some("b1"));
    assert_eq!(requests[0].header("x-api-key"), Some("***"));
    assert_eq!(requests[0].credential().unwrap().expose(), "sk-1");
    assert_eq!(requests[0].json(), Some(good));
    // Refused, and still there in full.
    assert_eq!(requests[1].json(), Some(chat("gpt-4o", "hi")));
    assert_eq!(requests[1].credential().unwrap().expose(), "sk-wrong");
    assert!(requests[2].credential().is_none());

    assert_eq!(server.count("/v1/messages"), 1);
    assert_eq!(server.count("/nowhere"), 1);
    assert_eq!(server.count("/never"), 0);
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Sink {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn no_secret_is_shown_anywhere() {
    let sink = Sink::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(sink.clone()).finish();
    // The server has a thread of its own, so the whole process logs here.
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let fixture = Fixture::new().with_key("canary-fixture-key").respond_with_content("ok");
    let aws = Key::aws("canary-id", "canary-aws-secret").session_token("canary-session");
    let builder = ServerBuilder::new().with_bearer_token("canary-token").with_key(aws).faithful();
    let builder = builder.fixture(fixture.clone());
    let mut shown = format!("{fixture:?} {builder:?}");
    let server = builder.build().await.unwrap();
    server.add_token("canary-added-token");
    let url = server.url();
    for key in ["canary-token", "canary-wrong-token-of-some-length"] {
        for request in [
            post_chat(&url, &chat("m", "canary-prompt")).bearer_auth(key),
            post_message(&url, &message("m", "canary-prompt")).header("x-api-key", key),
            post(&url, GEMINI, &contents("canary-prompt")).header("x-goog-api-key", key),
            post(&url, &format!("{GEMINI}?key={key}"), &contents("canary-prompt")),
            post(&url, "/openai/deployments/d/chat/completions", &chat("m", "canary-prompt"))
                .header("api-key", key),
            post(&url, "/model/m/converse", &converse("canary-prompt")).bearer_auth(key),
            post(&url, "/model/m/converse", &converse("canary-prompt"))
                .header(
                    "authorization",
                    format!("AWS4-HMAC-SHA256 Credential={key}/1/r/bedrock/aws4_request"),
                )
                .header("x-amz-security-token", "canary-session"),
        ] {
            shown += &request.send().await.unwrap().text().await.unwrap();
        }
    }
    write!(shown, "{server:?} {:?}", server.requests()).unwrap();
    server.mount(Fixture::new().named("never").expect(1));
    write!(shown, "{}", server.verify().unwrap_err()).unwrap();
    assert!(shown.contains("POST /v1/messages for \"m\" with cana…ken: 404"), "{shown}");
    server.set_fixtures([]).unwrap();
    for seen in server.requests() {
        assert!(seen.credential().unwrap().expose().contains("canary"), "{seen:?}");
    }

    shown += &cloud_secrets().await;
    #[cfg(feature = "oauth")]
    {
        shown += &idp_secrets().await;
    }

    let log = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
    // OpenAI itself repeats eight characters of a wrong key, and nothing else does.
    let allowed = "Incorrect API key provided: canary-w****ngth";
    assert!(shown.contains(allowed));
    let shown = shown.replace(allowed, "");
    assert!(!shown.contains("canary"), "{shown}");
    assert!(log.contains("no fixture matches"), "the log is read at all: {log}");
    let ours: Vec<_> = log.lines().filter(|line| line.contains("portunus_mock")).collect();
    assert!(!ours.join("\n").contains("canary"), "{ours:?}");
}

async fn cloud_secrets() -> String {
    let mut shown = String::new();
    let app = EntraApp::new("tenant", "app", "canary-secret");
    write!(shown, "{app:?}").unwrap();
    let cloud = MockCloud::builder().entra(app.clone()).build().unwrap();
    let form = [("grant_type", "client_credentials"), ("client_secret", "canary-secret")];
    let answer = client().post(cloud.url() + &app.token_path()).form(&form).send().await.unwrap();
    shown += &answer.text().await.unwrap();
    write!(shown, "{cloud:?} {:?}", cloud.requests()).unwrap();
    shown
}

#[cfg(feature = "oauth")]
async fn idp_secrets() -> String {
    use portunus_mock::{MockIdp, OAuthConfig};

    let config = OAuthConfig { client_secret: "canary-client-secret".to_owned(), ..OAuthConfig::default() };
    let builder = MockIdp::builder().client(config.clone());
    let mut shown = format!("{config:?} {builder:?}");
    let idp = builder.build().unwrap();
    let token = idp.mint("alice").access_token();
    let form = [("grant_type", "canary-grant"), ("client_secret", "canary-client-secret")];
    for request in [
        client().post(format!("{}/token", idp.issuer())).form(&form),
        client().post(format!("{}/token", idp.issuer())).basic_auth("canary-id", Some("canary-pass")),
        client().get(format!("{}/userinfo", idp.issuer())).bearer_auth("canary-bearer"),
        client().get(format!("{}/authorize?client_id=canary-id&state=canary-state", idp.issuer())),
    ] {
        shown += &request.send().await.unwrap().text().await.unwrap();
    }
    write!(shown, "{idp:?} {:?} {:?}", idp.requests(), idp.mint("alice")).unwrap();
    assert!(!shown.contains(&token));
    shown
}

#[tokio::test]
async fn an_observer_is_told_of_each_request_as_it_is_answered() {
    let (tell, told) = std::sync::mpsc::channel();
    let told_by = |name: &'static str| {
        let tell = tell.clone();
        move |seen: &portunus_mock::Recorded| {
            tell.send((name, seen.path().to_owned(), seen.status())).unwrap();
        }
    };
    let builder = ServerBuilder::new().observe(told_by("llm"));
    #[cfg(feature = "oauth")]
    let builder = builder.with_idp(portunus_mock::MockIdp::builder().observe(told_by("oauth")));
    let server = builder.with_bearer_token("sk-1").build().await.unwrap();
    status_with(&server.url(), "sk-1").await;
    status_with(&server.url(), "sk-2").await;
    let path = || "/v1/chat/completions".to_owned();
    assert_eq!(told.recv().unwrap(), ("llm", path(), Some(200)));
    assert_eq!(told.recv().unwrap(), ("llm", path(), Some(401)));
    #[cfg(feature = "oauth")]
    {
        client().get(server.oauth_url().unwrap() + "/jwks.json").send().await.unwrap();
        assert_eq!(told.recv().unwrap(), ("oauth", "/jwks.json".to_owned(), Some(200)));
    }
    assert!(told.try_recv().is_err());
}
