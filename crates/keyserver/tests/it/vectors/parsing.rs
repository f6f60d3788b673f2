//! JSON and URLs, right and wrong, through everything that reads them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{Method, Request};
use portunus_auth_core::vectors::{Report, open};
use portunus_auth_core::{AuthError, BearerToken, ConfigProblem, Principal, Reason, TenantId};
use portunus_keyserver::{
    Audiences, BadDiscovery, BadKeySet, Config, Discovery, Fixtures, Issuer, KeySet, Possession, PublicUrl,
    Question, Refused, SetupError, TokenKind, TokenRequest, UnverifiedJwt,
};
use serde_json::{Value, json};

use super::text;
use crate::signer::{Published, Signer};
use crate::support::{ENGINEERS, NOW, PUBLIC_URL, World, admin, configuration, server};

/// Whether the bytes are JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Yes,
    No,
    /// Readers may differ: either way, but without a panic.
    Either,
}

struct Case {
    id: String,
    raw: Vec<u8>,
    verdict: Verdict,
}

impl Case {
    /// The corpus, if it is there. What is right by RFC 8259 and refused here all the same is an object with
    /// a member that comes twice.
    fn all() -> Option<Vec<Self>> {
        let cases: Vec<Value> = serde_json::from_slice(&open("json-parsing/cases.json")?).unwrap();
        let read = |case: &Value| {
            let id = text(case, "id").to_owned();
            let verdict = match text(case, "expect") {
                "accept" if id.starts_with("y_object_duplicated_key") => Verdict::No,
                "accept" => Verdict::Yes,
                "reject" => Verdict::No,
                _ => Verdict::Either,
            };
            Self { raw: STANDARD.decode(text(case, "raw_base64")).unwrap(), id, verdict }
        };
        Some(cases.iter().map(read).collect())
    }

    fn around(&self, before: &str, after: &str) -> Vec<u8> {
        [before.as_bytes(), &self.raw, after.as_bytes()].concat()
    }

    /// Notes whether a reader that takes any value as a member was right about this one.
    fn as_member(&self, report: &mut Report, whose: &str, accepted: bool) {
        let right = match self.verdict {
            Verdict::Yes => accepted,
            Verdict::No => !accepted,
            Verdict::Either => true,
        };
        report.case(format!("{} in {whose}", self.id), right);
    }
}

#[test]
fn json_as_claims_key_set_and_discovery() {
    const KEY: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    const PLACE: &str = r#""issuer":"https://idp.example","jwks_uri":"https://idp.example/keys""#;
    let Some(cases) = Case::all() else { return };
    let mut report = Report::on("keyserver/json-parsing");
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA"}"#);
    let claims = |payload: &[u8]| {
        let token = BearerToken::new(format!("{header}.{}.AAAA", URL_SAFE_NO_PAD.encode(payload)));
        UnverifiedJwt::read(&token).and_then(|jwt| jwt.issuer())
    };
    let as_header = |bytes: &[u8]| {
        let token = BearerToken::new(format!("{}.e30.AAAA", URL_SAFE_NO_PAD.encode(bytes)));
        UnverifiedJwt::read(&token).map(drop)
    };
    let discovery = |document: &[u8]| Discovery::parse(document, "https://idp.example");
    for case in &cases {
        case.as_member(&mut report, "claims", claims(&case.around(r#"{"iss":"me","x":"#, "}")).is_ok());
        case.as_member(
            &mut report,
            "a header",
            as_header(&case.around(r#"{"alg":"EdDSA","x":"#, "}")).is_ok(),
        );
        let set = KeySet::parse(&case.around(&format!(r#"{{"keys":[{KEY}],"x":"#), "}"));
        case.as_member(&mut report, "a key set", set.is_ok());
        let document = discovery(&case.around(&format!("{{{PLACE},\"x\":"), "}"));
        case.as_member(&mut report, "a discovery document", document.is_ok());
        let about = Question::from_claims(&case.around(r#"{"sub":"alice","x":"#, "}"));
        case.as_member(&mut report, "claims to explain", about.is_ok());
        let alone = (claims(&case.raw), as_header(&case.raw), KeySet::parse(&case.raw), discovery(&case.raw));
        let is_refused = matches!(
            alone,
            (
                Err(Refused::Malformed),
                Err(Refused::Malformed),
                Err(BadKeySet::Malformed | BadKeySet::TooLarge),
                Err(BadDiscovery::Malformed | BadDiscovery::TooLarge)
            )
        );
        report.case(format!("{} alone", case.id), case.verdict != Verdict::No || is_refused);
    }
    report.finish();
}

/// Signed, so that nothing but the reading of it decides.
#[tokio::test]
async fn json_as_signed_token_and_proof() {
    let Some(cases) = Case::all() else { return };
    let mut report = Report::on("keyserver/json-parsing signed");
    let (signer, bound) = (Signer::new(), Bound::new().await);
    let keys = KeySet::parse(signer.jwks().to_string().as_bytes()).unwrap();
    let audiences = Audiences::new(["portunus"]).unwrap();
    let issuer = Issuer::new("idp", "https://idp", TenantId::new("acme").unwrap(), audiences);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    let verify = |payload: &[u8]| {
        let token = signer.sign_text("EdDSA", r#"{"alg":"EdDSA","kid":"EdDSA"}"#, payload);
        let token = BearerToken::new(token);
        issuer.verify(&UnverifiedJwt::read(&token)?, TokenKind::Identity, &keys, now).map(drop)
    };
    let claims =
        json!({"iss": "https://idp", "sub": "alice", "aud": "portunus", "iat": NOW, "exp": NOW + 600});
    let claims = claims.to_string();
    let open = |members: &str| format!("{},\"x\":", &members[..members.len() - 1]);
    for (n, case) in cases.iter().enumerate() {
        case.as_member(&mut report, "a token", verify(&case.around(&open(&claims), "}")).is_ok());
        let proof = bound.claims(&n.to_string(), &bound.url()).to_string();
        case.as_member(&mut report, "a proof", bound.prove(&case.around(&open(&proof), "}")).is_ok());
        let alone = (verify(&case.raw), bound.prove(&case.raw));
        let is_refused = alone == (Err(Refused::Malformed), Err(Reason::BadProof));
        report.case(format!("{} alone", case.id), case.verdict != Verdict::No || is_refused);
    }
    report.finish();
}

/// A server, and somebody whose token is bound to a key of which proofs are made up.
struct Bound {
    issuer: Published,
    principal: Arc<Principal>,
    token: BearerToken,
    jwk: Value,
}

impl Bound {
    const PATH: &'static str = "/v1/messages";

    async fn new() -> Self {
        let issuer = Published::new("").await;
        let mut jwk = issuer.signer.jwk("EdDSA");
        jwk.as_object_mut().unwrap().remove("kid");
        let url = format!("{PUBLIC_URL}/oauth/token");
        let first = json!({"htm": "POST", "htu": url, "iat": NOW, "jti": "first"}).to_string();
        let first = issuer.signer.sign_text("EdDSA", &Self::header(&jwk), first);
        let token = issuer.signer.sign("ES256", json!({}), &issuer.claims());
        let shown = Possession::new(Method::POST, "/oauth/token").with_proof(BearerToken::new(first));
        let bind = |request: &mut TokenRequest| request.possession = shown;
        let key = issuer.world.exchange_for(token, bind).await.unwrap();
        let principal = issuer.world.server.find(&key.access_token).unwrap();
        Self { issuer, principal, token: key.access_token, jwk }
    }

    fn header(jwk: &Value) -> String {
        json!({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwk}).to_string()
    }

    fn url(&self) -> String {
        format!("{PUBLIC_URL}{}", Self::PATH)
    }

    fn claims(&self, jti: &str, url: &str) -> Value {
        use aws_lc_rs::digest::{SHA256, digest};
        let digest = URL_SAFE_NO_PAD.encode(digest(&SHA256, self.token.expose().as_bytes()));
        json!({"htm": "POST", "htu": url, "iat": NOW, "jti": jti, "ath": digest})
    }

    fn prove(&self, payload: &[u8]) -> Result<(), Reason> {
        let proof = self.issuer.signer.sign_text("EdDSA", &Self::header(&self.jwk), payload);
        let shown = Possession::new(Method::POST, Self::PATH).with_proof(BearerToken::new(proof));
        match self.issuer.world.server.prove(&self.principal, &self.token, &shown) {
            Ok(()) => Ok(()),
            Err(AuthError::Unproven(reason)) => Err(reason),
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn json_as_requests() {
    let Some(cases) = Case::all() else { return };
    let mut report = Report::on("keyserver/json-parsing requests");
    let world = World::new(ENGINEERS).await;
    let send = async |path: &str, body: Vec<u8>| {
        let request = Request::post(path).header("content-type", "application/json");
        world.call(request.header("authorization", admin()).body(body.into()).unwrap()).await
    };
    for case in &cases {
        // Whoever reads it sees that the grant type is not ours.
        let token = send("/oauth/token", case.around(r#"{"grant_type":"other","x":"#, "}")).await;
        case.as_member(&mut report, "a token request", token.error() == (400, "unsupported_grant_type"));
        let about = case.around(r#"{"issuer":"idp","claims":{"sub":"alice","x":"#, "}}");
        let explained = send("/admin/policies:explain", about).await;
        case.as_member(&mut report, "claims", explained.status == 200);
        let selected = case.around(r#"{"iss":"idp","sub":"x","reason":"#, "}");
        let revoked = send("/admin/revocations", selected).await;
        report
            .case(format!("{} in a revocation", case.id), [400, 404, 413].contains(&revoked.status.as_u16()));
        for path in ["/oauth/token", "/admin/policies:explain", "/admin/revocations"] {
            let answer = send(path, case.raw.clone()).await;
            let (status, error) = answer.error();
            let is_refused = matches!(status, 400 | 413) && error == "invalid_request";
            let right = if case.verdict == Verdict::No { is_refused } else { status < 500 };
            report.case(format!("{} to {path}", case.id), right);
        }
    }
    report.finish();
}

/// None of it is a configuration, and nothing in it makes one that is more than it says.
#[test]
fn json_as_configuration() {
    let Some(cases) = Case::all() else { return };
    let mut report = Report::on("keyserver/json-parsing configuration");
    let parses = |text: &str| toml::from_str::<Config>(text).is_ok();
    for case in &cases {
        let raw = String::from_utf8_lossy(&case.raw).into_owned();
        report.case(&case.id, !parses(&raw) && toml::from_str::<Fixtures>(&raw).is_err());
        let config = format!("[key_server]\naudience = \"portunus\"\n{raw}");
        // Blanks are all that may be added; whatever else is there is unknown.
        report.case(format!("{} as well", case.id), parses(&config) == raw.trim().is_empty());
        let name = toml::from_str::<Config>(&format!("[key_server]\naudience = {raw}\n"));
        let says_so = |config: Config| {
            serde_json::from_slice::<String>(&case.raw).is_ok_and(|text| text == config.key_server.audience)
        };
        report.case(format!("{} as a text", case.id), name.map_or(true, says_so));
    }
    report.finish();
}

struct Address<'c> {
    input: &'c str,
    /// Whether it is absolute and a URL at all.
    parses: bool,
    /// Whether documents may be fetched from it, as far as its form says.
    safe: bool,
    loopback: bool,
    /// Whether it is written in its normal form.
    plain: bool,
}

impl<'c> Address<'c> {
    fn read(case: &'c Value) -> Self {
        let input = text(case, "input");
        let part = |name: &str| case.get(name).and_then(Value::as_str).unwrap_or_default();
        let loopback =
            matches!(part("hostname"), "localhost" | "[::1]") || part("hostname").starts_with("127.");
        Self {
            input,
            parses: case.get("failure").is_none() && case["base"].is_null(),
            safe: (part("protocol") == "https:" || part("protocol") == "http:" && loopback)
                && ["username", "password", "search", "hash"].iter().all(|name| part(name).is_empty()),
            loopback,
            plain: input == part("href") || format!("{input}/") == part("href"),
        }
    }

    /// Nothing unsafe gets in. What is safe and plainly written does.
    fn is_right(&self, accepted: bool, may_be_local: bool) -> bool {
        let good = self.parses && self.safe && (may_be_local || !self.loopback);
        if good && self.plain { accepted || self.input.contains('@') } else { !accepted || good }
    }
}

#[tokio::test]
async fn urls_as_addresses_of_documents() {
    let Some(cases) = open("url-parsing/urltestdata.json") else { return };
    let cases: Vec<Value> = serde_json::from_slice(&cases).unwrap();
    let mut report = Report::on("keyserver/url-parsing");
    let world = World::new(ENGINEERS).await;
    for address in cases.iter().filter(|case| case.is_object()).map(Address::read) {
        let input = address.input;
        let accepted = |field: &str, found: &[ConfigProblem]| {
            !found.iter().any(|problem| problem.at == format!("issuers.0.{field}"))
        };
        for field in ["issuer", "jwks_uri"] {
            let mut config = configuration(world.idp.issuer(), ENGINEERS);
            match field {
                "issuer" => config.issuers[0].issuer = input.to_owned(),
                _ => config.issuers[0].jwks_uri = Some(input.to_owned()),
            }
            let accepted = match server(config, world.store.clone(), &world.clock, &world.audit).await {
                Ok(_) => true,
                Err(SetupError::Config(found)) => accepted(field, &found),
                Err(other) => panic!("{other}"),
            };
            report.case(format!("{field} {input:?}"), address.is_right(accepted, true));
        }
        let document = |issuer: &str| json!({"issuer": issuer, "jwks_uri": input}).to_string();
        for (issuer, is_local) in [("https://idp.example", false), ("http://127.0.0.1:1", true)] {
            let accepted = Discovery::parse(document(issuer).as_bytes(), issuer).is_ok();
            report.case(format!("jwks_uri of {issuer} {input:?}"), address.is_right(accepted, is_local));
        }
        // There is one way to write it, which is without a slash at its end.
        let public = PublicUrl::new(input).is_ok();
        report.case(
            format!("public_url {input:?}"),
            !public || address.parses && address.safe && address.plain,
        );
    }
    report.finish();
}

/// A proof for any of these is none for our own address.
#[tokio::test]
async fn urls_as_addresses_in_proofs() {
    let Some(cases) = open("url-parsing/urltestdata.json") else { return };
    let cases: Vec<Value> = serde_json::from_slice(&cases).unwrap();
    let mut report = Report::on("keyserver/url-parsing proofs");
    let bound = Bound::new().await;
    assert_eq!(bound.prove(bound.claims("good", &bound.url()).to_string().as_bytes()), Ok(()));
    for (n, case) in cases.iter().filter(|case| case.is_object()).enumerate() {
        let input = text(case, "input");
        let proven = bound.prove(bound.claims(&n.to_string(), input).to_string().as_bytes());
        let expected = if input.is_empty() { Reason::BadProof } else { Reason::ProofOfOtherRequest };
        report.case(format!("htu {input:?}"), proven == Err(expected));
    }
    report.finish();
}
