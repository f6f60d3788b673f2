//! Workload identity federation with OpenAI, against the mock's token endpoint, which refuses a request
//! that is not exactly the documented one.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use portunus_auth_core::clock::ManualClock;
use portunus_credentials::http::Http;
use portunus_credentials::{
    Credential, CredentialError, CredentialProvider, CredentialSource, OpenAiCredentialProvider,
    OpenAiSource, ProviderConfig, StaticTokenProvider, SubjectTokenType,
};
use portunus_mock::{Fault, MockCloud, OpenAiMapping};
use serde_json::json;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::{Env, Source, Step, clock, everything, jwt, seconds, text};

const PATH: &str = "/oauth/token";

fn good() -> String {
    jwt(&json!({ "sub": "system:serviceaccount:default:me", "exp": 1_700_864_000, "jti": "1" }))
}

fn cloud() -> MockCloud {
    let jwts = OpenAiMapping::new("idp_1", "svc_1").trusting(good());
    let id_tokens = OpenAiMapping::new("idp_2", "svc_2").of_id_tokens().trusting(good());
    MockCloud::builder().openai(jwts).openai(id_tokens).build().unwrap()
}

fn fixed(token: &str) -> StaticTokenProvider {
    StaticTokenProvider::new(token.into())
}

fn quick() -> Http {
    Http::with_timeouts(seconds(5), Duration::from_millis(500)).with_attempts(1, Duration::ZERO)
}

fn source(
    url: &str,
    [provider, account]: [&str; 2],
    identity: impl CredentialSource,
    clock: &Arc<ManualClock>,
) -> OpenAiSource {
    OpenAiSource::new(provider, account, identity, clock.clone())
        .with_token_url(format!("{url}{PATH}").parse().unwrap())
        .with_http(quick())
}

#[tokio::test]
async fn an_identity_becomes_a_bearer_token_of_the_service_account() {
    let (clock, cloud) = (clock(), cloud());
    let issued = source(&cloud.url(), ["idp_1", "svc_1"], fixed(&good()), &clock).fetch().await.unwrap();
    assert!(matches!(issued.credential, Credential::BearerToken(_)));
    assert_eq!(text(&issued.credential), "openai-mock-token-1");
    assert_eq!(issued.subject.as_deref(), Some("svc_1"));
    assert_eq!(issued.source.as_deref(), Some("OpenAI workload identity federation"));
    let id_token = source(&cloud.url(), ["idp_2", "svc_2"], fixed(&good()), &clock);
    let error = id_token.clone().fetch().await.unwrap_err();
    assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
    id_token.with_subject_token_type(SubjectTokenType::IdToken).fetch().await.unwrap();
}

#[tokio::test]
async fn it_is_renewed_twenty_minutes_before_it_ends_or_after_half_its_life() {
    for (life, due) in [(3_600, 2_400), (600, 300)] {
        let (clock, cloud) = (clock(), cloud());
        cloud.set_token_lifetime(seconds(life));
        let source = source(&cloud.url(), ["idp_1", "svc_1"], fixed(&good()), &clock);
        let provider = OpenAiCredentialProvider::new(source);
        provider.resolve().await.unwrap();
        clock.advance(seconds(due - 1));
        assert!(provider.held().is_some(), "{life}");
        // The margin is up to a tenth less, so that many processes do not ask at once.
        clock.advance(seconds(1 + (life - due) / 10));
        assert!(provider.held().is_none(), "{life}");
        clock.advance(seconds(life));
        assert_eq!(text(&provider.resolve().await.unwrap()), "openai-mock-token-2");
        assert_eq!(cloud.count(PATH), 2);
    }
}

#[tokio::test]
async fn what_openai_refuses_is_told_apart() {
    let (clock, cloud) = (clock(), cloud());
    let stranger = jwt(&json!({ "sub": "stranger" }));
    for (names, token, code) in [
        (["idp_1", "svc_1"], &stranger, "400 invalid_subject_token"),
        (["idp_9", "svc_1"], &good(), "400 invalid_grant"),
        (["idp_1", "svc_9"], &good(), "403 invalid_grant"),
    ] {
        let error = source(&cloud.url(), names, fixed(token), &clock).fetch().await.unwrap_err();
        assert!(matches!(error, CredentialError::Rejected(_)), "{error:?}");
        let all = everything(&error);
        assert!(all.contains(code) && all.contains("mapping") && !all.contains("canary"), "{all}");
    }
    let error = source(&cloud.url(), ["idp_1", ""], fixed(&good()), &clock).fetch().await.unwrap_err();
    assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
    let error =
        source(&cloud.url(), ["idp_1", "svc_1"], fixed("sk-canary"), &clock).fetch().await.unwrap_err();
    assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
    assert_eq!(cloud.count(PATH), 4, "what is no JWT is not sent");
}

#[tokio::test]
async fn a_refused_token_is_read_again_and_its_successor_tried_once() {
    let (clock, cloud) = (clock(), cloud());
    let identity = Source::new(&clock);
    let stale = jwt(&json!({ "sub": "stale" })).leak();
    identity.then(Step::Token(stale, None)).then(Step::Token(good().leak(), None));
    source(&cloud.url(), ["idp_1", "svc_1"], identity.clone(), &clock).fetch().await.unwrap();
    assert_eq!((identity.fetches(), cloud.count(PATH)), (2, 2));
}

#[tokio::test]
async fn faults_are_unavailable_and_an_exchange_may_be_repeated() {
    let (clock, cloud) = (clock(), cloud());
    let source = source(&cloud.url(), ["idp_1", "svc_1"], fixed(&good()), &clock);
    let limited = Fault::Status { status: 429, retry_after: Some(seconds(9)) };
    for fault in [Fault::Hang, Fault::Malformed, Fault::Oversized, Fault::status(500), limited] {
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
        ("3600", Some(3_600)),
        ("\"3600\"", Some(3_600)),
        ("999999999999", Some(86_400)),
        ("0", None),
        ("-1", None),
        ("true", None),
        ("1e400", None),
        ("Infinity", None),
        ("NaN", None),
        ("0.5", None),
    ] {
        let server = MockServer::start().await;
        let body = format!("{{\"access_token\":\"canary\",\"expires_in\":{stated}}}");
        Mock::given(any())
            .respond_with(ResponseTemplate::new(200).set_body_string(body))
            .mount(&server)
            .await;
        match source(&server.uri(), ["idp_1", "svc_1"], fixed(&good()), &clock()).fetch().await {
            Ok(issued) => {
                let life = life.map(|life| UNIX_EPOCH + seconds(1_700_000_000 + life));
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
async fn the_environment_gives_a_key_and_nothing_else() {
    let from = |values: &[(&str, &str)]| OpenAiCredentialProvider::from_secrets(&Env::of(values), clock());
    let key = from(&[("OPENAI_API_KEY", "sk-canary")]).unwrap();
    assert_eq!(text(&key.resolve().await.unwrap()), "sk-canary");
    assert!(!key.renews() && !format!("{key:?}").contains("canary"));
    assert!(matches!(from(&[("OPENAI_API_KEY", " ")]), Err(CredentialError::NotConfigured)));
}

#[tokio::test]
async fn the_configuration_builds_it() {
    let cloud = cloud();
    let config = |rest: &str, names: [&str; 2]| {
        let toml = format!(
            "source = \"openai-federation\"\nidentity_provider_id = \"{}\"\nservice_account_id = \"{}\"\nidentity = {{ source = \"env\", var = \"IDENTITY\" }}\n{rest}",
            names[0], names[1]
        );
        toml::from_str::<ProviderConfig>(&toml).unwrap()
    };
    let env = || Env::of(&[("IDENTITY", &good())]);
    let url = format!("token_url = \"{}{PATH}\"\n", cloud.url());
    for (rest, names) in [("", ["idp_1", "svc_1"]), ("subject_token_type = \"id_token\"", ["idp_2", "svc_2"])]
    {
        let config = config(&format!("{url}{rest}"), names);
        assert_eq!(config.policy().margin, seconds(1_200));
        let token = config.build(&env(), clock()).unwrap().resolve().await.unwrap();
        assert!(text(&token).starts_with("openai-mock-token-"));
    }
    for (rest, names, at) in [
        ("token_url = \"http://auth.example.com\"", ["idp_1", "svc_1"], "token_url"),
        ("", [" ", "svc_1"], "identity_provider_id"),
        ("", ["idp_1", ""], "service_account_id"),
    ] {
        assert_eq!(config(rest, names).build(&env(), clock()).unwrap_err().at, at);
    }
}
