//! Where credentials are looked for, and in which order; who pays; what a configuration says.

use portunus_credentials::{
    CredentialError, CredentialProvider, GoogleSource, ProviderConfig, VertexOAuthCredentialProvider,
};
use portunus_mock::{GoogleCloud, GoogleMetadata, GoogleUser};
use serde_json::json;

use super::*;
use crate::support::{clock, text};

/// A machine with a metadata server, whose users have logins named after where they are kept.
struct World {
    clock: Arc<ManualClock>,
    cloud: MockCloud,
}

impl World {
    fn new() -> Self {
        let clock = clock();
        let google = ["explicit", "config", "home"]
            .iter()
            .fold(GoogleCloud::new().metadata(GoogleMetadata::new(EMAIL)), |google, name| {
                google.user(GoogleUser::new("c", "s", *name, CLOUD_PLATFORM))
            });
        Self { cloud: serve(&clock, google), clock }
    }

    fn login(&self, refresh_token: &str) -> String {
        json!({
            "type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": refresh_token,
            "token_uri": format!("{}/token", self.cloud.url()), "quota_project_id": "file-pays",
        })
        .to_string()
    }

    /// What is asked first.
    async fn asks(&self, values: &[(&str, &str)]) -> String {
        let host = self.cloud.url().replace("http://", "");
        let values: Vec<_> = [("GCE_METADATA_HOST", host.as_str())].iter().chain(values).copied().collect();
        let provider =
            VertexOAuthCredentialProvider::from_secrets(&Env::of(&values), self.clock.clone()).unwrap();
        provider.resolve().await.unwrap();
        let asked = self.cloud.requests().pop().unwrap();
        form(asked.body())
            .into_iter()
            .find(|(name, _)| name == "refresh_token")
            .map_or_else(|| "metadata".to_owned(), |(_, token)| token)
    }
}

#[tokio::test]
async fn the_explicit_file_beats_the_one_that_gcloud_keeps_and_that_the_metadata_server() {
    let world = World::new();
    let (explicit, config, home) = (world.login("explicit"), world.login("config"), world.login("home"));
    let all = [
        ("GOOGLE_APPLICATION_CREDENTIALS", " /explicit.json "),
        ("/explicit.json", &*explicit),
        ("CLOUDSDK_CONFIG", "/config"),
        ("/config/application_default_credentials.json", &*config),
        ("HOME", "/users/u"),
        ("/users/u/.config/gcloud/application_default_credentials.json", &*home),
    ];
    assert_eq!(world.asks(&all).await, "explicit");
    assert_eq!(world.asks(&all[2..]).await, "config");
    if !cfg!(windows) {
        assert_eq!(world.asks(&all[4..]).await, "home");
    }
    assert_eq!(
        world.asks(&[("GOOGLE_APPLICATION_CREDENTIALS", " "), ("HOME", "/users/u")]).await,
        "metadata"
    );
    // The folder that was named is the only one that is looked into.
    let named = [("CLOUDSDK_CONFIG", "/elsewhere"), all[4], all[5]];
    assert_eq!(world.asks(&named).await, "metadata");
}

#[test]
fn a_file_that_is_there_and_not_usable_is_not_passed_over() {
    let world = World::new();
    let login = world.login("home");
    let fails = |values: &[(&str, &str)]| {
        let result = VertexOAuthCredentialProvider::from_secrets(&Env::of(values), world.clock.clone());
        let error = result.unwrap_err();
        assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
        everything(&error)
    };
    let well_known = "/c/application_default_credentials.json";
    let missing =
        [("GOOGLE_APPLICATION_CREDENTIALS", "/no.json"), ("CLOUDSDK_CONFIG", "/c"), (well_known, &login)];
    assert!(fails(&missing).contains("/no.json"));
    assert!(fails(&[("CLOUDSDK_CONFIG", "/c"), (well_known, "{\"canary\":")]).contains("JSON"));
}

#[tokio::test]
async fn who_pays_is_sent_along() {
    let world = World::new();
    let login: Value = serde_json::from_str(&world.login("explicit")).unwrap();
    let pays = |project| vec![("x-goog-user-project", project)];
    let from_file = provider(&login, &world.clock);
    assert_eq!(with_project(&from_file.resolve().await.unwrap()).1, pays("file-pays"));
    let env = [("GOOGLE_CLOUD_QUOTA_PROJECT", "env-pays")];
    let from_env = provider_with(&login, &env, &world.clock).unwrap();
    assert_eq!(with_project(&from_env.resolve().await.unwrap()).1, pays("env-pays"));
    let chosen = from_env.with_quota_project("chosen-pays").unwrap();
    assert_eq!(with_project(&chosen.resolve().await.unwrap()).1, pays("chosen-pays"));
    assert!(matches!(chosen.with_quota_project("a\nb"), Err(CredentialError::Invalid(_))));
}

#[tokio::test]
async fn a_source_says_who_answered_and_for_whom() {
    let world = World::new();
    let key = key_file(&format!("{}/token", serve(&world.clock, GoogleCloud::new()).url()));
    let file = json!({ "universe_domain": "example.goog" });
    let mut key = key;
    key["universe_domain"] = file["universe_domain"].clone();
    let env = Env::of(&[("/key.json", &key.to_string())]);
    let source = GoogleSource::from_file("/key.json".as_ref(), &env, world.clock.clone()).unwrap();
    let issued = portunus_credentials::CredentialSource::fetch(&source).await.unwrap();
    assert_eq!(issued.source.as_deref(), Some("Google service account"));
    assert_eq!(issued.subject.as_deref(), Some(EMAIL));
}

fn build(
    toml: &str,
    env: &Env,
    clock: &Arc<ManualClock>,
) -> Result<Arc<dyn CredentialProvider>, portunus_auth_core::ConfigProblem> {
    let config: ProviderConfig = toml::from_str(toml).unwrap();
    assert!(toml.contains(config.name()));
    config.build(env, clock.clone())
}

#[tokio::test]
async fn every_source_can_be_configured() {
    let world = World::new();
    let key = key_file("https://oauth2.googleapis.com/token").to_string();
    let (login, host) = (world.login("explicit"), world.cloud.url().replace("http://", ""));
    let env = Env::of(&[
        ("KEY", &key),
        ("/key.json", &key),
        ("/login.json", &login),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/login.json"),
        ("GCE_METADATA_HOST", &host),
    ]);
    let signed = "self_signed = true\nscope = \"https://a\"\nquota_project = \"p\"";
    for line in ["key_file = \"/key.json\"", "key = \"${KEY}\"", "key = \"${file:/key.json}\""] {
        let toml = format!("source = \"google-service-account\"\n{line}\n{signed}");
        let credential = build(&toml, &env, &world.clock).unwrap().resolve().await.unwrap();
        let (token, headers) = with_project(&credential);
        assert_eq!(opened(token).1["scope"], "https://a");
        assert_eq!(headers, [("x-goog-user-project", "p")]);
    }
    for toml in ["source = \"google-credentials-file\"\npath = \"/login.json\"", "source = \"google-adc\""] {
        let credential = build(toml, &env, &world.clock).unwrap().resolve().await.unwrap();
        assert_eq!(with_project(&credential).1, [("x-goog-user-project", "file-pays")], "{toml}");
    }
    let toml = "source = \"google-metadata\"\nscope = \"https://b\"";
    let metadata = build(toml, &env, &world.clock).unwrap();
    assert!(text(&metadata.resolve().await.unwrap()).starts_with("ya29."));
    assert_eq!(world.cloud.requests().pop().unwrap().query(), Some("scopes=https%3A%2F%2Fb"));
}

#[test]
fn a_problem_is_at_the_key_that_is_wrong() {
    let clock = clock();
    let user =
        json!({ "type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r" });
    let env = Env::of(&[
        ("BAD", "{}"),
        ("/user.json", &user.to_string()),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/none"),
        ("GCE_METADATA_HOST", "evil.test"),
    ]);
    for (toml, at) in [
        ("source = \"google-service-account\"", "key_file"),
        ("source = \"google-service-account\"\nkey_file = \"/k\"\nkey = \"${BAD}\"", "key_file"),
        ("source = \"google-service-account\"\nkey_file = \"/none\"", "key_file"),
        ("source = \"google-service-account\"\nkey_file = \"/user.json\"", "key_file"),
        ("source = \"google-service-account\"\nkey = \"${BAD}\"", "key"),
        ("source = \"google-service-account\"\nkey = \"${UNSET}\"", "key"),
        ("source = \"google-credentials-file\"\npath = \"/none\"", "path"),
        (
            "source = \"google-credentials-file\"\npath = \"/user.json\"\nquota_project = \"\\n\"",
            "quota_project",
        ),
        ("source = \"google-adc\"", "source"),
        ("source = \"google-metadata\"", "source"),
    ] {
        assert_eq!(build(toml, &env, &clock).unwrap_err().at, at, "{toml}");
    }
}
