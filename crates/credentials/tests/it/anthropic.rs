//! Workload identity federation with Anthropic, against the mock's token endpoint, which refuses a request
//! that is not exactly the documented one; and what the environment chooses.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use portunus_auth_core::clock::ManualClock;
use portunus_credentials::http::Http;
use portunus_credentials::{
    AnthropicCredentialProvider, AnthropicSource, Credential, CredentialError, CredentialProvider,
    CredentialSource, IdentityTokenFile, ProviderConfig, StaticTokenProvider, apply,
};
use portunus_mock::{Fault, FederationRule, MockCloud};
use serde_json::json;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::{Env, Source, Step, clock, everything, jwt, seconds, text, unavailable};

const PATH: &str = "/v1/oauth/token";
const RULE: &str = "fdrl_1";
const ORGANIZATION: &str = "00000000-0000-0000-0000-000000000001";

/// The identity token that the rule admits: it ends in ten days, and has no name of its own.
fn good() -> String {
    jwt(&json!({ "iss": "https://idp.example", "sub": "workload", "exp": 1_700_864_000 }))
}

fn once(n: u32) -> String {
    jwt(&json!({ "sub": "workload", "exp": 1_700_864_000, "jti": n }))
}

fn cloud(rule: FederationRule) -> MockCloud {
    MockCloud::builder().federation_rule(rule).build().unwrap()
}

fn rule() -> FederationRule {
    FederationRule::new(RULE, ORGANIZATION).trusting(good())
}

fn fixed(token: &str) -> StaticTokenProvider {
    StaticTokenProvider::new(token.into())
}

fn quick() -> Http {
    Http::with_timeouts(seconds(5), Duration::from_millis(500)).with_attempts(1, Duration::ZERO)
}

fn source(url: &str, identity: impl CredentialSource, clock: &Arc<ManualClock>) -> AnthropicSource {
    AnthropicSource::new(RULE, ORGANIZATION, identity, clock.clone())
        .with_base_url(url.parse().unwrap())
        .with_http(quick())
}

#[tokio::test]
async fn an_identity_becomes_a_bearer_token_with_its_flag_and_no_key() {
    let (clock, cloud) = (clock(), cloud(rule().for_service_account("svac_1").in_workspace("wrkspc_1")));
    let source = source(&cloud.url(), fixed(&good()), &clock)
        .with_service_account("svac_1")
        .with_workspace("wrkspc_1");
    let issued = source.fetch().await.unwrap();
    assert_eq!(issued.source.as_deref(), Some("Anthropic workload identity federation"));
    assert_eq!(issued.subject.as_deref(), Some("svac_1"));

    let mut headers = HeaderMap::new();
    headers.insert("anthropic-beta", "of-the-caller".parse().unwrap());
    apply(&issued.credential, &mut headers).unwrap();
    assert_eq!(headers["authorization"], "Bearer sk-ant-oat01-mock-token-1");
    assert_eq!(headers["anthropic-beta"], "of-the-caller, oauth-2025-04-20");
    assert!(!headers.contains_key("x-api-key"));
}

#[tokio::test]
async fn it_is_kept_and_renewed_before_it_ends() {
    let (clock, cloud) = (clock(), cloud(rule()));
    let provider = AnthropicCredentialProvider::new(source(&cloud.url(), fixed(&good()), &clock));
    for _ in 0..3 {
        assert_eq!(text(&provider.resolve().await.unwrap()), "sk-ant-oat01-mock-token-1");
    }
    clock.advance(seconds(3_599 - 301));
    assert!(provider.held().is_some());
    // The margin is up to a tenth less, so that many processes do not ask at once.
    clock.advance(seconds(31));
    assert!(provider.held().is_none());
    clock.advance(seconds(270));
    assert_eq!(text(&provider.resolve().await.unwrap()), "sk-ant-oat01-mock-token-2");
    assert_eq!(cloud.count(PATH), 2);
    provider.invalidate(&provider.resolve().await.unwrap());
    assert_eq!(text(&provider.resolve().await.unwrap()), "sk-ant-oat01-mock-token-3");
}

#[tokio::test]
async fn a_refusal_says_what_to_look_at_and_repeats_nothing() {
    let (clock, cloud) = (clock(), cloud(rule()));
    let stranger = jwt(&json!({ "sub": "stranger" }));
    let error = source(&cloud.url(), fixed(&stranger), &clock).fetch().await.unwrap_err();
    assert!(matches!(error, CredentialError::Rejected(_)), "{error:?}");
    let all = everything(&error);
    assert!(all.contains("401 authentication_error") && all.contains("authentication history"), "{all}");
    assert!(!all.contains("canary"), "{all}");
    assert_eq!(cloud.count(PATH), 1, "the same token is not shown twice");

    let malformed = AnthropicSource::new("rule", ORGANIZATION, fixed(&good()), clock.clone())
        .with_base_url(cloud.url().parse().unwrap());
    let error = malformed.fetch().await.unwrap_err();
    assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
    assert!(everything(&error).contains("400 invalid_request_error"), "{error:?}");
}

#[tokio::test]
async fn a_refused_token_is_read_again_and_its_successor_tried_once() {
    let (clock, cloud) = (clock(), cloud(rule()));
    let (stale, fresh) = (jwt(&json!({ "sub": "stale" })).leak(), good().leak());
    let identity = Source::new(&clock);
    identity.then(Step::Token(stale, None)).then(Step::Token(fresh, None));
    source(&cloud.url(), identity.clone(), &clock).fetch().await.unwrap();
    assert_eq!((identity.fetches(), cloud.count(PATH)), (2, 2));

    let other = jwt(&json!({ "sub": "other" })).leak();
    identity.then(Step::Token(stale, None)).then(Step::Token(other, None));
    source(&cloud.url(), identity.clone(), &clock).fetch().await.unwrap_err();
    assert_eq!((identity.fetches(), cloud.count(PATH)), (4, 4));
}

#[tokio::test]
async fn what_cannot_be_an_identity_token_is_never_sent() {
    let (clock, cloud) = (clock(), cloud(rule()));
    let invalid: Vec<Box<dyn CredentialSource>> = vec![
        Box::new(fixed("sk-canary")),
        Box::new(fixed("canary.canary.canary")),
        Box::new(fixed(&format!("{}.canary", good()))),
        Box::new(fixed(good().strip_suffix("canary-signature").unwrap())),
        Box::new(fixed(&jwt(&json!({ "padding": "canary".repeat(3_000) })))),
        Box::new(StaticTokenProvider::api_key(http::HeaderName::from_static("x-api-key"), good().into())),
    ];
    for identity in invalid {
        let error = source(&cloud.url(), identity, &clock).fetch().await.unwrap_err();
        assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
        assert!(!everything(&error).contains("canary"), "{error:?}");
    }
    for (ends, is_sent) in [(1_699_999_000, false), (1_699_999_970, false), (1_699_999_971, true)] {
        let token = jwt(&json!({ "exp": ends }));
        let before = cloud.count(PATH);
        let error = source(&cloud.url(), fixed(&token), &clock).fetch().await.unwrap_err();
        assert!(matches!(error, CredentialError::Rejected(_)), "{error:?}");
        assert_eq!(everything(&error).contains("expired"), !is_sent, "{error:?}");
        assert_eq!(cloud.count(PATH) - before, u64::from(is_sent), "{ends}");
    }
    let identity = Source::new(&clock);
    identity.then(Step::Fail(CredentialError::NotConfigured)).then(Step::Fail(unavailable(Some(7))));
    let source = source(&cloud.url(), identity, &clock);
    assert!(matches!(source.fetch().await, Err(CredentialError::NotConfigured)));
    let error = source.fetch().await.unwrap_err();
    assert!(matches!(error, CredentialError::Unavailable { retry_after: Some(_), .. }), "{error:?}");
}

#[tokio::test]
async fn a_token_with_a_name_is_shown_once_and_its_file_read_every_time() {
    let rule = FederationRule::new(RULE, ORGANIZATION).trusting_once(once(1)).trusting_once(once(2));
    let (clock, cloud) = (clock(), cloud(rule));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, once(1)).unwrap();
    let source = source(&cloud.url(), IdentityTokenFile::new(&file, clock.clone()), &clock)
        .with_http(quick().with_attempts(3, Duration::ZERO));
    source.fetch().await.unwrap();
    assert!(matches!(source.fetch().await, Err(CredentialError::Rejected(_))), "a replay");
    std::fs::write(&file, once(2)).unwrap();
    cloud.fail_next(1, Fault::status(503));
    let before = cloud.count(PATH);
    assert!(matches!(source.fetch().await, Err(CredentialError::Unavailable { .. })));
    assert_eq!(cloud.count(PATH), before + 1, "it may be spent although the answer was lost");
    source.fetch().await.unwrap();
}

#[tokio::test]
async fn faults_are_unavailable_and_a_token_without_a_name_is_shown_again() {
    let (clock, cloud) = (clock(), cloud(rule()));
    let source = source(&cloud.url(), fixed(&good()), &clock);
    let limited = Fault::Status { status: 429, retry_after: Some(seconds(9)) };
    for fault in [Fault::Hang, Fault::Malformed, Fault::Oversized, Fault::status(529), limited] {
        cloud.fail_next(1, fault.clone());
        let error = source.fetch().await.unwrap_err();
        assert!(matches!(error, CredentialError::Unavailable { .. }), "{fault:?}: {error:?}");
    }
    cloud.fail_next(2, Fault::status(503));
    source.with_http(quick().with_attempts(3, Duration::ZERO)).fetch().await.unwrap();
}

#[tokio::test]
async fn a_lifetime_is_believed_only_if_it_is_one() {
    for (stated, life) in [
        (json!(600), Some(600)),
        (json!("600"), Some(600)),
        (json!(null), Some(60)),
        (json!(0), None),
        (json!(-5), None),
        (json!(true), None),
        (json!(600.5), None),
        (json!("inf"), None),
        (json!([600]), None),
    ] {
        let clock = clock();
        let server = MockServer::start().await;
        let body = json!({ "access_token": "canary", "token_type": "Bearer", "expires_in": stated });
        Mock::given(any()).respond_with(ResponseTemplate::new(200).set_body_json(body)).mount(&server).await;
        match source(&server.uri(), fixed(&good()), &clock).fetch().await {
            Ok(issued) => {
                let life = life.map(|life| std::time::UNIX_EPOCH + seconds(1_700_000_000 + life));
                assert_eq!(issued.expires_at, life, "{stated}");
            }
            Err(error) => {
                assert!(matches!(error, CredentialError::Unavailable { .. }), "{stated}: {error:?}");
                assert!(life.is_none() && !everything(&error).contains("canary"), "{stated}: {error:?}");
            }
        }
    }
}

#[tokio::test]
async fn only_a_protected_address_is_asked() {
    for url in
        ["http://api.example.com", "https://u:canary@api.example.com", "https://api.example.com/?a=canary"]
    {
        let source = source(url, fixed(&good()), &clock());
        assert!(!format!("{source:?}").contains("canary"));
        let error = source.fetch().await.unwrap_err();
        assert!(matches!(error, CredentialError::Invalid(_)), "{url}: {error:?}");
        assert!(!everything(&error).contains("canary"));
    }
}

fn of(values: &[(&str, &str)]) -> Result<AnthropicCredentialProvider, CredentialError> {
    AnthropicCredentialProvider::from_secrets(&Env::of(values), clock())
}

#[tokio::test]
async fn a_key_comes_first_then_a_token() {
    let both = [("ANTHROPIC_API_KEY", "canary-key"), ("ANTHROPIC_AUTH_TOKEN", "canary-token")];
    let rest = [("ANTHROPIC_PROFILE", "absent"), ("ANTHROPIC_FEDERATION_RULE_ID", RULE)];
    let key = of(&[both, rest].concat()).unwrap();
    assert!(!key.renews() && key.held().is_some());
    assert!(
        matches!(key.resolve().await.unwrap(), Credential::ApiKey { header, .. } if header == "x-api-key")
    );
    let token = of(&[("ANTHROPIC_API_KEY", " "), both[1], rest[0]]).unwrap();
    assert!(matches!(token.resolve().await.unwrap(), Credential::BearerToken(_)));
    assert!(!format!("{key:?} {token:?}").contains("canary"));
    assert!(matches!(of(&[]), Err(CredentialError::NotConfigured)));
}

#[tokio::test]
async fn the_federation_variables_are_taken_together_and_the_file_before_the_token() {
    let cloud = cloud(rule().for_service_account("svac_1").in_workspace("default"));
    let url = cloud.url();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, good()).unwrap();
    let all = [
        ("ANTHROPIC_FEDERATION_RULE_ID", RULE),
        ("ANTHROPIC_ORGANIZATION_ID", ORGANIZATION),
        ("ANTHROPIC_IDENTITY_TOKEN_FILE", file.to_str().unwrap()),
        ("ANTHROPIC_IDENTITY_TOKEN", "canary-not-this-one"),
        ("ANTHROPIC_SERVICE_ACCOUNT_ID", "svac_1"),
        ("ANTHROPIC_WORKSPACE_ID", "default"),
        ("ANTHROPIC_BASE_URL", &url),
    ];
    let provider = of(&all).unwrap().with_http(quick());
    assert_eq!(text(&provider.resolve().await.unwrap()), "sk-ant-oat01-mock-token-1");
    assert!(provider.renews());
    for (gone, named) in [
        (&["ANTHROPIC_ORGANIZATION_ID"][..], "ANTHROPIC_ORGANIZATION_ID"),
        (&["ANTHROPIC_IDENTITY_TOKEN_FILE", "ANTHROPIC_IDENTITY_TOKEN"], "ANTHROPIC_IDENTITY_TOKEN_FILE"),
    ] {
        let some: Vec<_> = all.into_iter().filter(|(name, _)| !gone.contains(name)).collect();
        let error = of(&some).unwrap_err();
        assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
        assert!(everything(&error).contains(&format!("these are not: `{named}`")), "{error:?}");
    }
    let readable = of(&[&all[..6], &[("ANTHROPIC_BASE_URL", "http://api.example.com")]].concat());
    assert!(matches!(readable, Err(CredentialError::Invalid(_))));
}

/// A profile's text, with what differs from a good one.
fn profile(identity: &Path, url: &str) -> serde_json::Value {
    json!({
        "version": "1.0",
        "authentication": {
            "type": "oidc_federation",
            "federation_rule_id": RULE,
            "identity_token": { "source": "file", "path": identity },
        },
        "organization_id": ORGANIZATION,
        "base_url": url,
    })
}

#[tokio::test]
async fn a_named_profile_comes_before_the_variables_and_they_before_the_active_one() {
    let cloud = cloud(rule().in_workspace("wrkspc_of_the_environment"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, good()).unwrap();
    let good = profile(&file, &cloud.url()).to_string();
    let files = |name: &str| format!("/users/me/.config/anthropic/configs/{name}.json");
    let (work, default) = (files("work"), files("default"));
    let home = ("HOME", "/users/me");
    let workspace = ("ANTHROPIC_WORKSPACE_ID", "wrkspc_of_the_environment");
    let variables = [("ANTHROPIC_FEDERATION_RULE_ID", "fdrl_other"), ("ANTHROPIC_ORGANIZATION_ID", "other")];

    let named = [home, workspace, variables[0], variables[1], ("ANTHROPIC_PROFILE", "work"), (&work, &good)];
    of(&named).unwrap().resolve().await.unwrap();
    of(&[home, workspace, (&default, &good)]).unwrap().resolve().await.unwrap();
    // Without an identity the variables are half said, and the active profile is whole.
    of(&[home, workspace, variables[0], variables[1], (&default, &good)]).unwrap().resolve().await.unwrap();
    let moved = [
        ("ANTHROPIC_CONFIG_DIR", "/etc/anthropic"),
        ("/etc/anthropic/active_config", "work\n"),
        ("/etc/anthropic/configs/work.json", &good),
        workspace,
    ];
    of(&moved).unwrap().resolve().await.unwrap();

    let token = ("ANTHROPIC_IDENTITY_TOKEN", "a.b.c");
    let by_variables = of(&[home, variables[0], variables[1], token, (&default, &good)]).unwrap();
    assert!(format!("{by_variables:?}").contains("fdrl_other"));
}

#[test]
fn a_profile_that_was_chosen_and_cannot_be_used_is_an_error_that_says_why() {
    let edit = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut value = profile(Path::new("/token"), "https://api.example.com");
        change(&mut value);
        value.to_string()
    };
    let login = edit(&|v| v["authentication"] = json!({ "type": "user_oauth", "client_id": "canary" }));
    for (text, says) in [
        ("canary".to_owned(), "not the JSON object"),
        ("{}".to_owned(), "not the JSON object"),
        (login.clone(), "interactive login"),
        (edit(&|v| v["authentication"]["type"] = "canary".into()), "kind of `authentication`"),
        (edit(&|v| v["authentication"]["identity_token"] = json!({ "source": "url" })), "`identity_token`"),
        (edit(&|v| v["authentication"]["identity_token"] = json!(null)), "lacks `identity_token`"),
        (edit(&|v| v["organization_id"] = "".into()), "lacks `organization_id`"),
        (edit(&|v| v["base_url"] = "http://api.example.com".into()), "https://"),
    ] {
        let error =
            of(&[("HOME", "/h"), ("ANTHROPIC_PROFILE", "p"), ("/h/.config/anthropic/configs/p.json", &text)]);
        let error = error.unwrap_err();
        assert!(matches!(error, CredentialError::Invalid(_)), "{text}: {error:?}");
        assert!(everything(&error).contains(says) && !everything(&error).contains("canary"), "{error:?}");
    }
    for name in ["../p", ".p", "a/b", "absent"] {
        let error = of(&[("HOME", "/h"), ("ANTHROPIC_PROFILE", name)]).unwrap_err();
        assert!(matches!(error, CredentialError::Invalid(_)), "{name}: {error:?}");
    }
    let default = ("/h/.config/anthropic/configs/default.json", &*login);
    let lies_there = of(&[("HOME", "/h"), default]);
    assert!(matches!(lies_there, Err(CredentialError::NotConfigured)), "nobody chose it");
    let chosen = of(&[("HOME", "/h"), ("/h/.config/anthropic/active_config", "default"), default]);
    assert!(matches!(chosen, Err(CredentialError::Invalid(_))), "{chosen:?}");
}

#[tokio::test]
async fn the_configuration_builds_it_with_any_identity() {
    let cloud = cloud(rule());
    let federation = |identity: &str| {
        let toml = format!(
            "source = \"anthropic-federation\"\nfederation_rule_id = \"{RULE}\"\norganization_id = \"{ORGANIZATION}\"\nbase_url = \"{}\"\nidentity = {identity}",
            cloud.url()
        );
        toml::from_str::<ProviderConfig>(&toml).unwrap()
    };
    let env = || Env::of(&[("IDENTITY", &good()), ("KEY", "canary")]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, good()).unwrap();
    for identity in [
        "{ source = \"env\", var = \"IDENTITY\" }".to_owned(),
        "{ source = \"static-token\", token = \"${IDENTITY}\" }".to_owned(),
        format!("{{ source = \"file\", path = {file:?} }}"),
        format!("{{ source = \"kubernetes\", path = {file:?} }}"),
        "{ source = \"chain\", sources = [{ source = \"github-actions\", audience = \"a\" }, { source = \"env\", var = \"IDENTITY\" }] }".to_owned(),
    ] {
        let provider = federation(&identity).build(&env(), clock()).unwrap();
        assert!(text(&provider.resolve().await.unwrap()).starts_with("sk-ant-oat01-"), "{identity}");
    }
    for (identity, at) in [
        ("{ source = \"api-key\", key = \"${KEY}\" }", "identity.source"),
        ("{ source = \"aws-imds\" }", "identity.source"),
        ("{ source = \"anthropic\" }", "identity.source"),
        (
            "{ source = \"chain\", sources = [{ source = \"kubernetes\" }, { source = \"aws\" }] }",
            "identity.sources.1.source",
        ),
        ("{ source = \"static-token\", token = \"${UNSET}\" }", "identity.token"),
        ("{ source = \"github-actions\", audience = \" \" }", "identity.audience"),
    ] {
        let problem = federation(identity).build(&env(), clock()).unwrap_err();
        assert_eq!(problem.at, at, "{identity}: {problem}");
    }
    let missing = federation("{ source = \"file\", path = \"/nowhere/token\" }");
    let error = missing.build(&env(), clock()).unwrap().resolve().await.unwrap_err();
    assert!(everything(&error).contains("/nowhere/token"), "{error:?}");

    let found: ProviderConfig = toml::from_str("source = \"anthropic\"").unwrap();
    let key = Env::of(&[("ANTHROPIC_API_KEY", "canary")]);
    let provider = found.build(&key, clock()).unwrap();
    assert!(matches!(provider.resolve().await.unwrap(), Credential::ApiKey { .. }));
}
