//! The corpus of tokens through a whole server: keys that are fetched and kept, tokens that are remembered.

use portunus_auth_core::vectors::Report;
use portunus_auth_core::{BearerToken, Reason};
use portunus_keyserver::{ExchangeError, KeyServer, Peer, TokenKind, TokenRequest};
use serde_json::{Value, json};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{list, text};
use crate::support::{NOW, World, configuration, server};

/// One case, and where its issuers publish their keys.
struct Served<'v> {
    corpus: &'v Value,
    case: &'v Value,
    site: MockServer,
    world: World,
}

impl<'v> Served<'v> {
    async fn new(corpus: &'v Value, case: &'v Value) -> Self {
        let (site, world) = (MockServer::start().await, World::new("").await);
        let mut served = Self { corpus, case, site, world };
        for (place, (_, keys)) in served.issuers().into_iter().enumerate() {
            served.publish(place, &keys, 9).await;
        }
        served.world.server = served.server().await;
        served
    }

    /// The issuers, and the names of their key sets.
    fn issuers(&self) -> Vec<(String, String)> {
        match self.case.get("issuers").and_then(Value::as_object) {
            Some(issuers) => issuers
                .iter()
                .map(|(issuer, keys)| (issuer.clone(), keys.as_str().unwrap().to_owned()))
                .collect(),
            None => {
                vec![(text(&self.corpus["profile"], "issuer").to_owned(), text(self.case, "jwks").to_owned())]
            }
        }
    }

    async fn publish(&self, place: usize, keys: &str, priority: u8) {
        let answer = ResponseTemplate::new(200).set_body_string(self.corpus["jwks"][keys].to_string());
        let answer = answer.insert_header("cache-control", "max-age=0");
        let at = path(format!("/{place}"));
        Mock::given(at).respond_with(answer).with_priority(priority).mount(&self.site).await;
    }

    async fn server(&self) -> KeyServer {
        let profile = &self.corpus["profile"];
        let entry = |(place, (issuer, _)): (usize, (String, String))| {
            format!(
                "[[issuers]]\nname = \"i{place}\"\nissuer = \"{issuer}\"\ntenant = \"acme\"\n\
                 jwks_uri = \"{}/{place}\"\naudience = \"{}\"\nalgorithms = {}\nleeway = \"{}s\"\n\
                 [[policies]]\nname = \"p{place}\"\nreusable_subject_token = true\n\
                 match = {{ issuer = \"i{place}\", subject = [\"user-1\", \"пользователь*\"] }}\n\
                 grant = {{ models = \"all\", tier = \"t\", ttl = \"1h\" }}\n",
                self.site.uri(),
                text(profile, "audience"),
                profile["allowed_algs"],
                profile["leeway_s"],
            )
        };
        let entries: String = self.issuers().into_iter().enumerate().map(entry).collect();
        let config = configuration(self.world.idp.issuer(), &entries);
        server(config, self.world.store.clone(), &self.world.clock, &self.world.audit).await.unwrap()
    }

    /// Whether the token is taken, for a key and as it is; or why not.
    async fn present(&self, step: &Value) -> (Result<(), Reason>, bool) {
        let (kind, is_any) = match self.case.get("profile").and_then(Value::as_str) {
            Some("id_token") => (TokenKind::Identity, false),
            Some("at_jwt") => (TokenKind::Access, false),
            _ => (TokenKind::Any, true),
        };
        let token = BearerToken::new(text(step, "token"));
        let request = TokenRequest::new(token.clone(), kind);
        let exchanged = match self.world.server.exchange(request, Peer::default()).await {
            Ok(_) => Ok(()),
            Err(ExchangeError::BadSubject(reason) | ExchangeError::Unavailable { reason, .. }) => Err(reason),
            Err(other) => panic!("{other}"),
        };
        let verified = self.world.server.verify(&token).await;
        (exchanged, !is_any || verified.is_ok() == exchanged.is_ok())
    }

    /// Every request was for keys where they are, and there were no more than the case allows.
    async fn asked_nothing_else(&self) -> bool {
        let requests = self.site.received_requests().await.unwrap();
        let refetches = self.case.get("max_refetch").and_then(Value::as_u64).unwrap_or(3);
        let at_known = requests.iter().all(|request| ["/0", "/1"].contains(&request.url.path()));
        at_known && requests.len() as u64 <= 1 + refetches && self.world.idp.requests().is_empty()
    }
}

#[tokio::test]
async fn oidc_verify_through_a_server() {
    let corpus: Value = serde_json::from_str(include_str!("../../data/oidc-verify.json")).unwrap();
    let mut report = Report::on("keyserver/oidc-verify served");
    // An exchange has no request to compare a nonce with.
    let cases = list(&corpus, "cases").iter().filter(|case| case.get("expected_nonce").is_none());
    for case in cases {
        let served = Served::new(&corpus, case).await;
        for (number, step) in list(case, "steps").iter().enumerate() {
            if let Some(now) = step.get("now").and_then(Value::as_u64) {
                served.world.pass(now - NOW);
            }
            if step["after_refresh"] == json!(true) {
                served.publish(0, text(step, "jwks"), 1).await;
                served.world.pass(300);
            }
            let (exchanged, agrees) = served.present(step).await;
            let right = match text(step, "expect") {
                "accept" => exchanged.is_ok(),
                // By what it is, and not because no policy is about it.
                "reject" => exchanged.is_err_and(|reason| reason != Reason::NoPolicy),
                _ => true,
            };
            // In the minute that is allowed for other clocks, a token can be exchanged and not be used.
            let is_late = step["after_refresh"] == json!(true);
            report.case(format!("{}#{number} {exchanged:?}", text(case, "id")), right && (agrees || is_late));
        }
        report.case(format!("{} asks nobody else", text(case, "id")), served.asked_nothing_else().await);
    }
    report.finish();
}
