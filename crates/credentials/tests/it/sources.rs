use std::sync::Arc;

use portunus_auth_core::SecretSource;
use portunus_credentials::{
    Cached, Chain, CredentialError, CredentialProvider, CredentialSource, EnvSource, FileSource, ProcessEnv,
    StaticTokenProvider,
};

use crate::support::{Env, Source, Step, clock, everything, seconds, text, unavailable};

fn not_configured() -> EnvSource {
    EnvSource::new("UNSET", Arc::new(Env::default()))
}

#[tokio::test]
async fn a_static_token_stays_whatever_the_upstream_says() {
    let provider = StaticTokenProvider::new("canary-1".into());
    let token = provider.resolve().await.unwrap();
    provider.invalidate(&token);
    assert_eq!(text(&provider.held().unwrap()), "canary-1");
    assert!(!provider.renews());
    assert!(!format!("{provider:?}").contains("canary"));
}

#[tokio::test]
async fn a_variable_is_a_token_unless_unset_or_blank() {
    let env: Arc<dyn SecretSource + Send + Sync> = Arc::new(Env::of(&[("A", " canary-1\n"), ("B", " \n")]));
    let issued = EnvSource::new("A", env.clone()).fetch().await.unwrap();
    assert_eq!(text(&issued.credential), "canary-1");
    assert_eq!(issued.expires_at, None);
    for unset in ["B", "C"] {
        let error = EnvSource::new(unset, env.clone()).fetch().await.unwrap_err();
        assert!(matches!(error, CredentialError::NotConfigured), "{unset}");
    }
    assert!(!format!("{:?}", EnvSource::new("A", env)).contains("canary"));
}

#[tokio::test]
async fn a_changed_file_is_noticed_and_a_deleted_one_no_longer_honoured() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let clock = clock();
    let cached = Cached::new(FileSource::new(&path, clock.clone()), clock.clone());
    assert!(matches!(cached.resolve().await, Err(CredentialError::NotConfigured)));
    clock.advance(seconds(5));

    std::fs::write(&path, "first\n").unwrap();
    assert_eq!(text(&cached.resolve().await.unwrap()), "first");
    std::fs::write(&path, "second").unwrap();
    assert_eq!(text(&cached.resolve().await.unwrap()), "first");
    clock.advance(seconds(35));
    assert_eq!(text(&cached.resolve().await.unwrap()), "first");
    while cached.held().is_none_or(|held| text(&held) != "second") {
        tokio::task::yield_now().await;
    }

    std::fs::write(&path, "third").unwrap();
    cached.invalidate(&cached.resolve().await.unwrap());
    assert_eq!(text(&cached.resolve().await.unwrap()), "third");

    std::fs::remove_file(&path).unwrap();
    clock.advance(seconds(60));
    assert!(matches!(cached.resolve().await, Err(CredentialError::NotConfigured)));
}

#[tokio::test]
async fn a_file_that_cannot_be_a_token_is_invalid() {
    let folder = tempfile::tempdir().unwrap();
    let (empty, large, binary) =
        (folder.path().join("empty"), folder.path().join("large"), folder.path().join("binary"));
    std::fs::write(&empty, " \n").unwrap();
    std::fs::write(&large, "canary".repeat(20_000)).unwrap();
    std::fs::write(&binary, b"canary\xff").unwrap();
    for path in [empty, large, binary, folder.path().to_owned()] {
        let error = FileSource::new(&path, clock()).fetch().await.unwrap_err();
        assert!(matches!(error, CredentialError::Invalid(_)), "{}: {error:?}", path.display());
        assert!(!everything(&error).contains("canary"));
    }
}

#[test]
fn the_process_environment_is_read() {
    let path = ProcessEnv.env("PATH").expect("set in every environment that runs tests");
    assert!(!path.is_empty());
    assert_eq!(ProcessEnv.env("PORTUNUS_SURELY_UNSET"), None);
    assert!(ProcessEnv.file("/dev/zero".as_ref()).is_err());
}

#[tokio::test]
async fn a_chain_goes_on_only_where_nothing_is_configured() {
    let clock = clock();
    let chain = Chain::first("one", not_configured()).then("two", Source::new(&clock));
    assert_eq!(text(&chain.fetch().await.unwrap().credential), "token-1");

    for error in
        [CredentialError::Invalid("i".into()), CredentialError::Rejected("r".into()), unavailable(Some(3))]
    {
        let expected = error.to_string();
        let (failing, never) = (Source::new(&clock), Source::new(&clock));
        failing.then(Step::Fail(error));
        let chain = Chain::first("one", not_configured()).then("two", failing).then("three", never.clone());
        assert_eq!(chain.fetch().await.unwrap_err().to_string(), expected);
        assert_eq!(never.fetches(), 0, "a failure must not silently change the identity");
    }
}

#[tokio::test]
async fn a_chain_that_finds_nothing_says_what_it_tried() {
    let chain = Chain::first("variable A", not_configured()).then("file", not_configured());
    let cached = Cached::new(chain, clock());
    let error = cached.resolve().await.unwrap_err();
    assert!(matches!(error, CredentialError::Invalid(_)));
    assert!(everything(&error).contains("no source is configured; tried: variable A, file"));
}

#[tokio::test]
async fn a_static_token_can_end_a_chain() {
    let chain = Chain::first("none", not_configured()).then("last", StaticTokenProvider::new("t".into()));
    assert_eq!(text(&chain.fetch().await.unwrap().credential), "t");
}

#[tokio::test]
async fn a_chain_within_a_chain_is_passed_over_when_nothing_of_it_is_configured() {
    let unset = || EnvSource::new("UNSET", Arc::new(Env::default()));
    let inner = || Chain::first("a", unset()).then("b", unset());
    let chain = Chain::first("inner", inner()).then("fixed", StaticTokenProvider::new("token".into()));
    let issued = chain.fetch().await.unwrap();
    assert_eq!((text(&issued.credential), issued.source.as_deref()), ("token", Some("fixed")));
    let error = Chain::first("inner", inner()).then("c", unset()).fetch().await.unwrap_err();
    assert!(everything(&error).contains("tried: inner/a, inner/b, c"), "{error:?}");
}
