//! What policies may not say, what they say about somebody, and what becomes of live keys when they change.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use portunus_auth_core::audit::EventKind;
use portunus_auth_core::{AuthError, BearerToken, ConfigProblem, Outcome, Reason};
use portunus_keyserver::{
    Config, ExplainError, Explanation, Finding, Fixtures, Holds, Policies, PolicyConfig, Question, Refused,
    ReloadError, Ruling, Unanswerable,
};
use portunus_store::{Memory, Store};
use serde_json::{Map, Value, json};

use crate::support::{
    ADMIN, Answer, ENGINEERS, Switch, World, clock, configuration, eventually, exchange_of,
};

const IDP: &str = "https://idp.example";

const POLICIES: &str = r#"
[[policies]]
name = "engineers"
match = { issuer = "idp", groups = ["eng", "ops"], email_domain = "corp.example" }
grant = { models = ["gpt-4o*"], tools = ["search"], upstreams = ["azure-*"], tier = "standard", ttl = "8h" }

[[policies]]
name = "interns"
match = { issuer = "idp", claims = { "/org/unit" = "interns" } }
grant = { models = ["gpt-4o-mini"], tier = "small", ttl = "15m" }

[[policies]]
name = "leavers"
match = { issuer = "idp", groups = "leaving" }
effect = "deny"
"#;

fn policies(more: &str) -> Policies {
    Policies::new(&configuration(IDP, more)).unwrap()
}

fn about(claims: Value) -> Question {
    let Value::Object(mut claims) = claims else { panic!() };
    claims.insert("iss".to_owned(), IDP.into());
    claims.entry("sub").or_insert("alice".into());
    Question::new(claims)
}

fn explained(claims: Value) -> Explanation {
    policies(POLICIES).explain(&about(claims)).unwrap()
}

/// One policy about `idp` that says this beside.
fn sound(matches: &str) -> String {
    format!(
        "[[policies]]\nname = \"a\"\nmatch = {{ issuer = \"idp\"{matches} }}\n\
         grant = {{ models = \"all\", tier = \"t\", ttl = \"1h\" }}"
    )
}

/// Where the configuration is wrong.
fn places(more: &str) -> Vec<String> {
    let problems = Policies::new(&configuration(IDP, more)).unwrap_err();
    assert!(problems.iter().all(|problem: &ConfigProblem| !problem.says.is_empty()));
    problems.into_iter().map(|problem| problem.at).collect()
}

#[test]
fn a_match_that_cannot_be_meant_is_an_error_in_its_place() {
    for (matches, at) in [
        ("", "policies.0.match"),
        (", tenant = \"acme\"", "policies.0.match"),
        (", subject = \"a\", tenant = \"other\"", "policies.0.match.tenant"),
        (", subject = \"a\", tenant = []", "policies.0.match.tenant"),
        (", roles = []", "policies.0.match.roles"),
        (", roles = \"**\"", "policies.0.match.roles"),
        (", claims = {}", "policies.0.match.claims"),
        (", subject = \"a\", claims = {}", "policies.0.match.claims"),
        (", claims = { \"\" = \"a\" }", "policies.0.match.claims"),
        (", claims = { \"/\" = \"a\" }", "policies.0.match.claims"),
        (", claims = { \"/a~2\" = \"a\" }", "policies.0.match.claims"),
        (", claims = { \"/a\" = \"*\" }", "policies.0.match.claims./a"),
        (", claims = { \"/iss\" = \"https*\" }", "policies.0.match.claims./iss"),
        (", claims = { \"/email\" = \"a@b.example\" }", "policies.0.match.claims./email"),
        (", email = []", "policies.0.match.email"),
        (", email = \"\"", "policies.0.match.email"),
        (", email = \"corp.example\"", "policies.0.match.email"),
        (", email = \"*@corp.example\", email_domain = \"*.example\"", "policies.0.match.email_domain"),
        (", email = [\"a@b.example\", \"a@b@c.example\"]", "policies.0.match.email"),
        (", subject = \"a\", email_ignore_case = true", "policies.0.match.email_ignore_case"),
        (", email_domain = \"\"", "policies.0.match.email_domain"),
        (", email_domain = \"*\"", "policies.0.match.email_domain"),
        (", email_domain = \"127.0.0.1\"", "policies.0.match.email_domain"),
    ] {
        assert_eq!(places(&sound(matches))[0], at, "{matches}");
    }
}

#[test]
fn what_grants_or_asks_nothing_is_an_error() {
    for (from, to, at) in [
        ("models = \"all\"", "models = \"all\", upstreams = []", "policies.0.grant"),
        ("models = \"all\"", "upstreams = \"all\"", "policies.0.grant"),
        (
            "grant = { models = \"all\", tier = \"t\", ttl = \"1h\" }",
            "effect = \"deny\"\nreusable_subject_token = true",
            "policies.0.reusable_subject_token",
        ),
    ] {
        let changed = sound(", subject = \"a\"").replace(from, to);
        assert_eq!(places(&changed), [at], "{to}");
    }
    for (key, at) in [
        ("groups_claim = \"groups\"", "issuers.0.groups_claim"),
        ("roles_claim = \"\"", "issuers.0.roles_claim"),
    ] {
        assert_eq!(places(key), [at]);
    }
    for misspelled in
        [", subject = \"\"", ", role = \"a\"", ", email_domains = \"a.example\"", ", roles = [\"\"]"]
    {
        let text = sound(misspelled);
        assert!(
            toml::from_str::<Config>(&format!("[key_server]\naudience = \"a\"\n{text}")).is_err(),
            "{text}"
        );
    }
}

#[test]
fn an_explanation_says_which_policy_decides_and_why() {
    let got = explained(json!({
        "groups": ["sales", "eng"], "email": "Alice@CORP.example", "email_verified": true,
    }));
    assert_eq!((got.ruling, got.policy.as_deref()), (Ruling::Granted, Some("engineers")));
    let why: Vec<_> = got.why.iter().map(|looked| (looked.field.as_str(), looked.finding)).collect();
    let matching = ["issuer", "groups /groups", "email_domain"].map(|field| (field, Finding::Matches));
    assert_eq!(why, matching);
    assert_eq!(got.why[1].found, ["sales", "eng"]);
    assert_eq!(got.why[2].found, ["corp.example"]);
    let offer = serde_json::to_value(got.grant.unwrap()).unwrap();
    assert_eq!(
        offer,
        json!({
            "models": ["gpt-4o*"], "tools": ["search"], "upstreams": ["azure-*"], "roles": [],
            // The server's own limit.
            "tier": "standard", "ttl": 3600, "reusable_subject_token": false,
            "scope": "model:gpt-4o* tool:search upstream:azure-*",
        })
    );
    let others: Vec<_> = got.others.iter().map(|other| (&*other.policy, other.holds)).collect();
    assert_eq!(others, [("interns", Holds::No), ("leavers", Holds::No)]);
    let failed: Vec<_> = got.others[0].failed().map(|f| (f.field.as_str(), f.finding)).collect();
    assert_eq!(failed, [("claims /org/unit", Finding::Absent)]);
}

#[test]
fn an_explanation_says_which_condition_fails_in_each_policy() {
    let got = explained(json!({ "groups": ["eng"], "email": "alice@corp.example" }));
    assert_eq!((got.ruling, &got.policy, &got.grant), (Ruling::NoPolicy, &None, &None));
    let failed: Vec<Vec<_>> = got
        .others
        .iter()
        .map(|other| other.failed().map(|looked| (looked.field.clone(), looked.finding)).collect())
        .collect();
    assert_eq!(
        failed,
        [
            vec![("email_domain".to_owned(), Finding::NotVerified)],
            vec![("claims /org/unit".to_owned(), Finding::Absent)],
            vec![("groups /groups".to_owned(), Finding::Differs)],
        ]
    );
    // What cannot be told is denied, and the explanation says so.
    let got = explained(json!({ "groups": "eng", "org": { "unit": "interns" } }));
    assert_eq!((got.ruling, got.policy.as_deref()), (Ruling::Denied, Some("leavers")));
    assert_eq!(got.why[1].finding, Finding::NoListOfTexts);
    let mut named = about(json!({ "org": { "unit": "interns" }, "groups": [] }));
    named.policy = Some("engineers".to_owned());
    assert_eq!(policies(POLICIES).explain(&named).unwrap().ruling, Ruling::NotNamed);
}

#[test]
fn claims_of_nobody_are_not_explained() {
    let policies = policies(POLICIES);
    let ask = |claims: Value, issuer: Option<&str>| {
        let Value::Object(claims) = claims else { panic!() };
        let mut question = Question::new(claims);
        question.issuer = issuer.map(str::to_owned);
        policies.explain(&question).map(|explanation| explanation.identity.subject)
    };
    assert_eq!(&*ask(json!({ "sub": "alice" }), Some("idp")).unwrap(), "alice");
    for (claims, issuer, why) in [
        (json!({ "sub": "alice" }), None, Unanswerable::UnknownIssuer),
        (json!({ "sub": "alice" }), Some("other"), Unanswerable::UnknownIssuer),
        (json!({ "sub": "alice", "iss": "https://idp.example/" }), None, Unanswerable::UnknownIssuer),
        (json!({ "sub": "alice", "iss": 1 }), Some("idp"), Unanswerable::UnknownIssuer),
        (json!({ "sub": "alice", "iss": "https://b.example" }), Some("idp"), Unanswerable::AnotherIssuer),
        (json!({ "iss": IDP }), None, Unanswerable::NoSubject),
        (json!({ "iss": IDP, "sub": "" }), None, Unanswerable::NoSubject),
        (json!({ "iss": IDP, "sub": "a\n" }), None, Unanswerable::NoSubject),
    ] {
        assert_eq!(ask(claims.clone(), issuer).unwrap_err(), why, "{claims}");
    }
}

#[test]
fn fixtures_pass_or_say_what_differs() {
    let fixtures: Fixtures = toml::from_str(
        r#"
[[cases]]
name = "an engineer"
issuer = "idp"
claims = { sub = "alice", groups = ["eng"], email = "alice@corp.example", email_verified = true }
expect = { policy = "engineers", models = ["gpt-4o*"], roles = [], tier = "standard", ttl = "1h" }

[[cases]]
name = "a stranger"
claims = { sub = "eve", iss = "https://idp.example" }
expect = "denied"

[[cases]]
name = "an intern, wrongly expected"
issuer = "idp"
claims = { sub = "bob", org = { unit = "interns" }, groups = [] }
expect = { policy = "engineers", models = "all", upstreams = "all", ttl = "15m" }

[[cases]]
name = "an intern, expected to be nobody"
issuer = "idp"
claims = { sub = "bob", org = { unit = "interns" }, groups = [] }
expect = "denied"

[[cases]]
name = "an engineer who leaves"
issuer = "idp"
claims = { sub = "alice", groups = ["eng", "leaving"], email = "alice@corp.example", email_verified = true }
expect = { policy = "engineers" }

[[cases]]
name = "nobody, not denied"
claims = { sub = "bob" }
expect = "denied"
"#,
    )
    .unwrap();
    let results = policies(POLICIES).test(&fixtures);
    let passed: Vec<bool> = results.iter().map(|result| result.passed).collect();
    assert_eq!(passed, [true, true, false, false, false, false]);
    let differences = |n: usize| {
        results[n]
            .differences
            .iter()
            .map(|d| (d.field, d.expected.clone(), d.got.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        differences(2),
        [("policy", json!("engineers"), json!("interns")), ("models", json!("all"), json!(["gpt-4o-mini"])),]
    );
    assert_eq!(differences(3), [("ruling", json!("denied"), json!("granted"))]);
    assert_eq!(differences(4), [("ruling", json!("granted"), json!("denied"))]);
    assert!(serde_json::to_value(&results[5]).unwrap()["error"].as_str().unwrap().contains("issuer"));
    assert_eq!(serde_json::to_value(&results[4]).unwrap()["explanation"]["policy"], "leavers");
}

#[test]
fn fixtures_that_test_nothing_are_errors() {
    let case = |expect: Value| json!({ "cases": [{ "name": "a", "claims": {}, "expect": expect }] });
    let parse = |value: Value| serde_json::from_value::<Fixtures>(value);
    assert!(parse(case(json!("denied"))).is_ok());
    for bad in [
        json!({}),
        json!({ "cases": [] }),
        json!({ "cases": [{ "name": "", "claims": {}, "expect": "denied" }] }),
        json!({ "cases": [{ "name": "a", "expect": "denied" }] }),
        json!({ "cases": [{ "name": "a", "claims": {} }] }),
        json!({ "cases": [{ "name": "a", "claims": {}, "expect": "denied", "polcy": "x" }] }),
        case(json!({})),
        case(json!("granted")),
        case(json!({ "model": ["a"] })),
        case(json!({ "models": "*" })),
        case(json!(null)),
    ] {
        assert!(parse(bad.clone()).is_err(), "{bad}");
    }
}

fn listed(policies: &str) -> Vec<PolicyConfig> {
    configuration(IDP, policies).policies
}

#[tokio::test]
async fn a_reload_ends_the_keys_that_are_not_given_any_more() {
    let world = World::new(ENGINEERS).await;
    let (alice, bob) = (world.key("alice").await, world.key("bob").await);
    let find = |key: &portunus_keyserver::IssuedKey| world.server.find(&key.access_token).map(drop);

    // The same again, and more than before, leave every key alone.
    for wider in [ENGINEERS.to_owned(), ENGINEERS.replace("[\"search\"]", "\"all\"")] {
        assert_eq!(world.server.reload_policies(&listed(&wider)).await.unwrap(), 0);
    }
    assert!(find(&alice).is_ok() && find(&bob).is_ok());
    // A new rule that denies one of them.
    let denied = format!(
        "{ENGINEERS}\n[[policies]]\nname = \"bob\"\nmatch = {{ issuer = \"idp\", subject = \"bob\" }}\neffect = \"deny\"\n"
    );
    assert_eq!(world.server.reload_policies(&listed(&denied)).await.unwrap(), 1);
    assert!(find(&alice).is_ok());
    assert!(matches!(find(&bob), Err(AuthError::Revoked)));
    assert!(world.exchange(world.engineer("bob").id_token()).await.is_err());
    // A grant that is narrower in one of its parts.
    for narrower in [
        ENGINEERS.replace("\"gpt-4o*\", ", ""),
        ENGINEERS.replace("[\"search\"]", "[]"),
        ENGINEERS.replace("\"standard\"", "\"other\""),
        ENGINEERS.replace("8h", "1m"),
        ENGINEERS.replace("tools =", "upstreams = [\"azure\"], tools ="),
        // A claim that nobody looked at when the key was issued.
        ENGINEERS.replace("groups =", "claims = { \"/org\" = \"7\" }, groups ="),
        String::new(),
    ] {
        world.server.reload_policies(&listed(ENGINEERS)).await.unwrap();
        let key = world.key("carol").await;
        assert!(world.server.reload_policies(&listed(&narrower)).await.unwrap() >= 1, "{narrower}");
        assert!(matches!(find(&key), Err(AuthError::Revoked)), "{narrower}");
    }
}

#[tokio::test]
async fn a_reload_leaves_one_event_and_one_for_each_key() {
    let world = World::new(ENGINEERS).await;
    let key = world.key("alice").await;
    assert_eq!(world.server.reload_policies(&[]).await.unwrap(), 1);
    let events = world.events();
    let [_, revoked, reloaded] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((revoked.kind, revoked.outcome), (EventKind::TokenRevoked, Outcome::Allowed));
    assert_eq!(revoked.target.jti.as_ref(), Some(&key.key_id));
    assert_eq!(revoked.target.policy.as_deref(), Some("engineers"));
    assert_eq!((reloaded.kind, reloaded.outcome), (EventKind::PolicyReloaded, Outcome::Allowed));
    assert_eq!(reloaded.target.revoked, Some(1));
}

#[tokio::test]
async fn wrong_policies_change_nothing() {
    let world = World::new(ENGINEERS).await;
    let key = world.key("alice").await;
    for wrong in [
        ENGINEERS.replace("groups = [\"eng\"]", "groups = []"),
        ENGINEERS.replace("issuer = \"idp\"", "issuer = \"other\""),
    ] {
        let error = world.server.reload_policies(&listed(&wrong)).await.unwrap_err();
        assert!(
            matches!(error, ReloadError::Config(problems) if problems[0].at.starts_with("policies.0.match"))
        );
    }
    assert!(world.server.find(&key.access_token).is_ok());
    world.key("bob").await;
}

#[tokio::test]
async fn with_the_store_down_a_reload_holds_and_is_repeated_for_the_keys() {
    let world = World::new(ENGINEERS).await;
    let key = world.key("alice").await;
    let token = BearerToken::new(world.engineer("alice").id_token());
    world.server.verify(&token).await.unwrap();
    world.store.set_off(true);
    assert!(matches!(world.server.reload_policies(&[]).await, Err(ReloadError::Store(_))));
    // Tokens of issuers need no store.
    assert!(world.server.verified(&token).is_none());
    assert!(matches!(world.server.verify(&token).await, Err(AuthError::NotAdmitted)));
    world.store.set_off(false);
    assert_eq!(world.server.reload_policies(&[]).await.unwrap(), 1);
    assert!(world.server.find(&key.access_token).is_err());
}

#[tokio::test]
async fn a_server_that_starts_with_other_policies_ends_keys_everywhere() {
    let world = World::new(ENGINEERS).await;
    let (kept, lost) = (world.key("alice").await, world.key("bob").await);
    drop(world.another(ENGINEERS).await);
    assert!(world.server.find(&lost.access_token).is_ok());
    let narrower = ENGINEERS.replace("groups = [\"eng\"]", "groups = [\"eng\"], subject = \"alice\"");
    let another = world.another(&narrower).await;
    assert!(another.find(&kept.access_token).is_ok());
    assert!(matches!(another.find(&lost.access_token), Err(AuthError::Revoked)));
    assert!(eventually(|| world.server.find(&lost.access_token).is_err()).await);
    assert!(world.server.find(&kept.access_token).is_ok());
}

#[tokio::test]
async fn a_key_without_evidence_does_not_survive_other_policies() {
    let world = World::new(ENGINEERS).await;
    let key = world.key("alice").await;
    let (name, record) = world.store.scan("ks/key/", None, 1).await.unwrap().remove(0);
    let mut record: Map<String, Value> = serde_json::from_slice(&record).unwrap();
    let evidence = record.remove("evidence").unwrap();
    assert_eq!(evidence["claims"], json!({ "groups": ["eng"] }), "only what policies look at is kept");
    world.store.put(&name, &serde_json::to_vec(&record).unwrap(), None).await.unwrap();
    let another = world.another(ENGINEERS).await;
    assert!(another.find(&key.access_token).is_err());
}

#[tokio::test]
async fn a_key_that_is_decided_on_before_a_reload_and_stored_after_it_does_not_live() {
    let clock = clock();
    let store = Arc::new(Switch::over(Arc::new(Memory::new(clock.clone()))));
    let world = Arc::new(World::with(ENGINEERS, clock, store).await);
    world.store.hold("put_if_absent");
    let exchanging = tokio::spawn({
        let world = world.clone();
        async move { world.exchange(world.engineer("alice").id_token()).await }
    });
    world.store.until_somebody_waits().await;
    assert_eq!(world.server.reload_policies(&[]).await.unwrap(), 0);
    world.store.answer();
    let refused = exchanging.await.unwrap().unwrap_err();
    assert!(
        matches!(refused, portunus_keyserver::ExchangeError::BadSubject(Reason::NoPolicy)),
        "{refused:?}"
    );
    assert!(world.store.scan("ks/key/", None, 10).await.unwrap().is_empty());
}

async fn ask(world: &World, authorization: &str, body: impl Into<Body>) -> Answer {
    let request = Request::post("/admin/policies:explain")
        .header("content-type", "application/json")
        .header("authorization", authorization);
    world.call(request.body(body.into()).unwrap()).await
}

#[tokio::test]
async fn the_administrator_is_told_what_the_policies_say() {
    let world = World::new(ENGINEERS).await;
    let admin = format!("Bearer {ADMIN}");
    let claims = json!({ "claims": { "iss": world.idp.issuer(), "sub": "alice", "groups": ["eng"] } });
    let answer = ask(&world, &admin, claims.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(
        (&answer.json["ruling"], &answer.json["policy"], &answer.json["grant"]["models"]),
        (&json!("granted"), &json!("engineers"), &json!(["claude-*", "gpt-4o*"]))
    );
    assert_eq!(answer.json["why"][1]["finding"], "matches");

    // A token is verified, and not spent: it is a dry run.
    let token = world.engineer("alice").id_token();
    let answer = ask(&world, &admin, json!({ "token": token }).to_string()).await;
    assert_eq!((answer.status.as_u16(), &answer.json["identity"]["subject"]), (200, &json!("alice")));
    assert_eq!(world.form(&exchange_of(&token)).await.status, 200);

    let named = json!({ "issuer": "idp", "claims": { "sub": "a" }, "policy": "engineers" });
    let answer = ask(&world, &admin, named.to_string()).await;
    assert_eq!((answer.status.as_u16(), &answer.json["ruling"]), (200, &json!("no_policy")));

    let events = world.events();
    let explained: Vec<_> = events.iter().filter(|event| event.kind == EventKind::PolicyExplained).collect();
    assert_eq!(explained.len(), 3);
    assert!(explained.iter().all(|event| event.outcome == Outcome::Allowed));
    assert_eq!(explained[0].target.policy.as_deref(), Some("engineers"));
    assert_eq!(events.len(), 4);
}

#[tokio::test]
async fn nobody_else_is_told_anything() {
    let world = World::new(ENGINEERS).await;
    let key = world.key("alice").await;
    let body = json!({ "issuer": "idp", "claims": { "sub": "alice" } }).to_string();
    let mut answers = Vec::new();
    for authorization in
        [String::new(), "Bearer x".into(), format!("Basic {ADMIN}"), format!("Bearer {}", key.key_id)]
    {
        let answer = ask(&world, &authorization, body.clone()).await;
        assert_eq!(answer.error(), (401, "invalid_token"));
        answers.push(answer.text);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
    // Its body is not even read.
    assert_eq!(ask(&world, "Bearer x", Body::new(Never)).await.status, 401);
    let events = world.events();
    let denied = (EventKind::AdminDenied, Outcome::Refused(Reason::Unauthorized));
    assert_eq!(events[1..].iter().map(|e| (e.kind, e.outcome)).collect::<Vec<_>>(), [denied; 5]);
}

#[tokio::test]
async fn an_odd_question_is_refused_and_audited() {
    let world = World::new(ENGINEERS).await;
    let admin = format!("Bearer {ADMIN}");
    for odd in [
        "",
        "[]",
        "{}",
        r#"{"claims":{"sub":"a"},"token":"x"}"#,
        r#"{"claims":{"sub":"a"},"issuer":"idp","ttl":1}"#,
        r#"{"claims":[]}"#,
        r#"{"claims":{"sub":"a","sub":"b"},"issuer":"idp"}"#,
        r#"{"token":1}"#,
        r#"{"token":"x","issuer":"idp"}"#,
        r#"{"token":"x.y.z"}"#,
        r#"{"claims":{"sub":"a"}}"#,
        r#"{"claims":{"sub":"a"},"issuer":"other"}"#,
        r#"{"claims":{},"issuer":"idp"}"#,
    ] {
        assert_eq!(ask(&world, &admin, odd).await.error(), (400, "invalid_request"), "{odd}");
    }
    let long = format!(r#"{{"token":"{}"}}"#, "x".repeat(40_000));
    assert_eq!(ask(&world, &admin, long).await.error(), (413, "invalid_request"));
    let events = world.events();
    assert_eq!(events.len(), 14);
    for event in events {
        assert_eq!(event.kind, EventKind::PolicyExplained);
        assert!(matches!(event.outcome, Outcome::Refused(_)), "{event:?}");
    }
    world.idp.set_down(true);
    let body = json!({ "token": world.engineer("alice").id_token() }).to_string();
    assert_eq!(ask(&world, &admin, body).await.error(), (503, "temporarily_unavailable"));
}

#[tokio::test]
async fn a_token_is_explained_only_after_it_is_verified() {
    let world = World::new(ENGINEERS).await;
    let good = BearerToken::new(world.engineer("alice").id_token());
    let forged = world.engineer("alice").fault(portunus_mock::TokenFault::BadSignature).id_token();
    let forged = BearerToken::new(forged);
    assert_eq!(world.server.explain_token(&good, None).await.unwrap().ruling, Ruling::Granted);
    let error = world.server.explain_token(&forged, None).await.unwrap_err();
    assert!(matches!(error, ExplainError::Token(Refused::BadSignature)));
    // The other way says in its name that it verifies nothing.
    let question = Question::from_unverified(&forged).unwrap();
    assert_eq!(world.server.explain(&question).unwrap().ruling, Ruling::Granted);
    world.pass(Duration::from_secs(86_400).as_secs());
    assert!(world.server.explain_token(&good, None).await.is_err());
}

/// A body that never comes.
struct Never;

impl http_body::Body for Never {
    type Data = axum::body::Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        std::task::Poll::Pending
    }
}
