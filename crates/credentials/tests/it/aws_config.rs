//! The scenarios of AWS's own SDK for Rust that concern a source of ours: environment, files, recorded
//! traffic, and what comes of it.

mod vectors {
    use std::collections::VecDeque;
    use std::path::PathBuf;
    use std::sync::{Arc, Mutex};

    use portunus_auth_core::vectors::{Report, open};
    use portunus_credentials::{
        AwsCredentialProvider, ContainerSource, CredentialError, CredentialProvider, InstanceMetadataSource,
    };
    use serde_json::Value;
    use wiremock::matchers::any;
    use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

    use crate::support::{Env, clock, everything};
    use crate::web_identity::keys;

    /// Scenarios of the default chain without profiles. Where SDK and source word an error differently, what
    /// ours has to say.
    const OURS: [(&str, &str); 9] = [
        ("ecs_credentials_invalid_profile", ""),
        ("eks_pod_identity_credentials", ""),
        ("eks_pod_identity_no_token_file", "No such file or directory"),
        ("environment_variables", ""),
        ("imds_config_with_no_creds", ""),
        ("imds_no_iam_role", "no source is configured"),
        ("imds_token_fail", "403"),
        ("prefer_environment", ""),
        ("web_identity_token_env", ""),
    ];

    /// What was recorded, in order; each request has to be the next one.
    struct Replay(Mutex<VecDeque<(String, Answer)>>);

    struct Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: String,
    }

    fn recorded(traffic: &Value) -> VecDeque<(String, Answer)> {
        let mut found = VecDeque::new();
        let mut asked = String::new();
        for event in traffic["events"].as_array().unwrap() {
            let action = &event["action"];
            if let Some(request) = action["Request"]["request"].as_object() {
                let uri: url::Url = request["uri"].as_str().unwrap().parse().unwrap();
                asked = format!("{} {}", request["method"].as_str().unwrap(), uri.path());
            }
            if let Some(answer) = action["Response"]["response"]["Ok"].as_object() {
                let headers = answer["headers"].as_object().into_iter().flatten();
                let headers = headers.map(|(name, v)| (name.clone(), v[0].as_str().unwrap().to_owned()));
                let status = answer["status"].as_u64().unwrap() as u16;
                let answer = Answer { status, headers: headers.collect(), body: String::new() };
                found.push_back((asked.clone(), answer));
            }
            if let Some(data) = action["Data"]["data"]["Utf8"].as_str()
                && action["Data"]["direction"] == "Response"
            {
                found.back_mut().unwrap().1.body.push_str(data);
            }
        }
        found
    }

    impl Respond for Replay {
        fn respond(&self, request: &Request) -> ResponseTemplate {
            let asked = format!("{} {}", request.method, request.url.path());
            let mut left = self.0.lock().unwrap();
            let Some((_, answer)) = left.pop_front_if(|(wanted, _)| *wanted == asked) else {
                return ResponseTemplate::new(418);
            };
            let framing = ["content-length", "connection", "transfer-encoding"];
            let headers = answer.headers.iter().filter(|(name, _)| !framing.contains(&name.as_str()));
            headers
                .fold(ResponseTemplate::new(answer.status), |template, (name, value)| {
                    template.insert_header(name.as_str(), value.as_str())
                })
                .set_body_string(answer.body)
        }
    }

    fn json(path: &str) -> Option<Value> {
        open(path).map(|text| serde_json::from_slice(&text).unwrap())
    }

    /// What the chain answers, with the recording in place of the services' own addresses.
    async fn play(folder: &str) -> Result<[String; 3], String> {
        let traffic = json(&format!("{folder}/http-traffic.json"));
        let left = traffic.as_ref().map(recorded).unwrap_or_default();
        let server = MockServer::start().await;
        let replay = Replay(Mutex::new(left));
        Mock::given(any()).respond_with(replay).mount(&server).await;
        let mut env: Vec<(String, String)> = json(&format!("{folder}/env.json"))
            .unwrap()
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect();
        let files = tempfile::tempdir().unwrap();
        for (name, value) in &mut env {
            let here = |path: &str| format!("{}{path}", server.uri());
            match name.as_str() {
                "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI" => {
                    *name = "AWS_CONTAINER_CREDENTIALS_FULL_URI".into();
                    *value = here(value);
                }
                "AWS_CONTAINER_CREDENTIALS_FULL_URI" => {
                    *value = here(url::Url::parse(value).unwrap().path());
                }
                "HOME" => {
                    let home = files.path().join("home");
                    std::fs::create_dir_all(home.join(".aws")).unwrap();
                    for file in ["config", "credentials"] {
                        // The profiles of these two send AWS's crate to the real address of a metadata service.
                        let is_safe =
                            !folder.ends_with("imds_no_iam_role") && !folder.ends_with("imds_token_fail");
                        let text = open(&format!("{folder}/fs{value}/.aws/{file}")).filter(|_| is_safe);
                        std::fs::write(home.join(".aws").join(file), text.unwrap_or_default()).unwrap();
                    }
                    *value = home.to_str().unwrap().to_owned();
                }
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE" | "AWS_WEB_IDENTITY_TOKEN_FILE" => {
                    let path: PathBuf = files.path().join("token");
                    if let Some(text) = open(&format!("{folder}/fs{value}")) {
                        std::fs::write(&path, text).unwrap();
                    }
                    *value = path.to_str().unwrap().to_owned();
                }
                _ => {}
            }
        }
        env.push(("AWS_EC2_METADATA_SERVICE_ENDPOINT".into(), server.uri()));
        env.push(("AWS_ENDPOINT_URL_STS".into(), server.uri()));
        let env: Vec<_> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        // When the recordings were made their keys were good.
        let clock = Arc::new(portunus_auth_core::clock::ManualClock::at_unix(1_234_560_000));
        let told = |error: CredentialError| everything(&error);
        let provider = AwsCredentialProvider::from_secrets(&Env::of(&env), clock).map_err(told)?;
        let found = provider.resolve().await.map_err(told)?;
        Ok(keys(&found))
    }

    #[tokio::test]
    async fn default_chain() {
        let mut report = Report::on("aws-config (default chain)");
        for (name, says) in OURS {
            let folder = format!("aws-config/default-credential-provider-chain/{name}");
            let Some(case) = json(&format!("{folder}/test-case.json")) else { return };
            let found = play(&folder).await;
            let wanted = &case["result"]["Ok"];
            let right = match &found {
                Ok(found) => {
                    let token = wanted["session_token"].as_str().unwrap_or_default();
                    found[0] == wanted["access_key_id"]
                        && found[1] == wanted["secret_access_key"]
                        && found[2] == token
                }
                Err(error) => wanted.is_null() && error.contains(says),
            };
            if !right {
                println!("{name}: {found:?}");
            }
            report.case(name, right);
        }
        report.finish();
    }

    /// Scenarios of a profile, and its name.
    const PROFILES: [(&str, &str); 14] = [
        ("default-credential-provider-chain/environment_variables_blank", "some_profile"),
        ("default-credential-provider-chain/imds_assume_role", "default"),
        ("default-credential-provider-chain/profile_name", "some-thing:long/the_one%only.foo@bar+"),
        ("default-credential-provider-chain/profile_static_keys", "default"),
        ("default-credential-provider-chain/profile_static_keys_case_insensitive", "default"),
        ("default-credential-provider-chain/sso_no_token_file", "sso-test"),
        ("profile-provider/assume_role_override_global_profile_url", "default"),
        ("profile-provider/credential_process", "default"),
        ("profile-provider/credential_process_account_id_fallback", "default"),
        ("profile-provider/credential_process_failure", "default"),
        ("profile-provider/credential_process_invalid", "default"),
        ("profile-provider/empty_config", "default"),
        ("profile-provider/invalid_sso_credentials_config", "default"),
        ("profile-provider/retry_on_error", "default"),
    ];

    /// Scenarios that no test here can play, each with its reason.
    const LEFT_OUT: [(&str, &str); 7] = [
        ("default-credential-provider-chain/ecs_assume_role", IN_PROCESS),
        ("default-credential-provider-chain/sso_server_error", IN_PROCESS),
        ("profile-provider/assume_role_override_service_env_url", IN_PROCESS),
        ("profile-provider/sso_credentials", IN_PROCESS),
        ("profile-provider/e2e_fips_and_dual_stack_sts", "a FIPS endpoint cannot be put on this machine"),
        ("default-token-provider-chain/profile_keys", "a token for services that nobody here calls"),
        ("default-token-provider-chain/profile_keys_case_insensitive", "the same"),
    ];
    const IN_PROCESS: &str = "AWS's crate reads this from the process's own environment";

    /// The corpus has 30 scenarios: each is played, or left out for a reason.
    #[test]
    fn no_scenario_is_forgotten() {
        let chain = OURS.map(|(name, _)| format!("default-credential-provider-chain/{name}"));
        let profiles = PROFILES.map(|(name, _)| name.to_owned());
        let left_out = LEFT_OUT.map(|(name, _)| name.to_owned());
        let all: std::collections::BTreeSet<_> = chain.into_iter().chain(profiles).chain(left_out).collect();
        assert_eq!(all.len(), OURS.len() + PROFILES.len() + LEFT_OUT.len(), "one is listed twice");
        assert_eq!(all.len(), 30);
        for name in all {
            if json(&format!("aws-config/{name}/test-case.json")).is_none() {
                return;
            }
        }
    }

    #[cfg(feature = "aws-chain")]
    #[tokio::test]
    async fn profiles() {
        let mut report = Report::on("aws-config (profiles)");
        for (name, profile) in PROFILES {
            let Some(case) = json(&format!("aws-config/{name}/test-case.json")) else { return };
            let found = of_profile(name, profile).await;
            let wanted = &case["result"]["Ok"];
            let right = match &found {
                Ok(issued) => {
                    let fields = ["access_key_id", "secret_access_key", "session_token"];
                    let end = issued.expires_at.map(|end| end.duration_since(std::time::UNIX_EPOCH).unwrap());
                    keys(&issued.credential) == fields.map(|field| wanted[field].as_str().unwrap_or_default())
                        && end.map(|end| end.as_secs()) == wanted["expiry"].as_u64()
                }
                Err(error) => {
                    let says = case["result"]["ErrorContains"].as_str().unwrap_or_default();
                    let is_absent = matches!(error, CredentialError::NotConfigured);
                    wanted.is_null() && is_absent == (says == "the credential provider was not enabled")
                }
            };
            if !right {
                println!("{name}: {found:?}");
            }
            report.case(name, right);
        }
        report.finish();
    }

    /// What the profile gives, with the recording in place of STS and of the instance's metadata service.
    #[cfg(feature = "aws-chain")]
    async fn of_profile(name: &str, profile: &str) -> Result<portunus_credentials::Issued, CredentialError> {
        use portunus_credentials::{AwsProfileSource, CredentialSource as _};

        let traffic = json(&format!("aws-config/{name}/http-traffic.json")).unwrap();
        let server = MockServer::start().await;
        Mock::given(any()).respond_with(Replay(Mutex::new(recorded(&traffic)))).mount(&server).await;
        let folder = tempfile::tempdir().unwrap();
        let [config, credentials] = ["config", "credentials"].map(|file| {
            let text = open(&format!("aws-config/{name}/fs/home/.aws/{file}")).unwrap_or_default();
            let text = String::from_utf8(text).unwrap();
            let text = if file == "config" { redirected(&text, &server.uri()) } else { text };
            let place = folder.path().join(file);
            std::fs::write(&place, text).unwrap();
            place
        });
        AwsProfileSource::new(Some(profile.to_owned())).with_files(config, credentials).fetch().await
    }

    #[cfg(feature = "aws-chain")]
    fn redirected(config: &str, server: &str) -> String {
        let lines = config.lines().filter(|line| !line.starts_with("endpoint_url"));
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        let here = format!("endpoint_url = {server}\nec2_metadata_service_endpoint = {server}\n");
        text.replacen("[default]\n", &format!("[default]\n{here}"), 1)
    }

    /// Rows that are not about the environment, or that ask a host in plain text which is not this machine's.
    const NOT_OURS: [&str; 5] = [
        "environment variable endpoint override",
        "invalid config endpoint mode",
        "explicit endpoint override",
        "explicit mode override",
        "environment variable overrides endpoint mode override",
    ];

    #[test]
    fn instance_addresses() {
        let Some(cases) = json("aws-config/imds-config/imds-endpoint-tests.json") else { return };
        let mut report = Report::on("aws-config (instance addresses)");
        for case in cases["tests"].as_array().unwrap() {
            let docs = case["docs"].as_str().unwrap();
            if NOT_OURS.contains(&docs) {
                continue;
            }
            let env = case["env"].as_object().unwrap().iter();
            let env: Vec<_> = env.map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
            let found = InstanceMetadataSource::from_secrets(&Env::of(&env), clock());
            let found = found.map(|source| source.endpoint().join("latest/api/token").unwrap());
            let right = match (&found, case["result"]["Ok"].as_str()) {
                (Ok(url), Some(wanted)) => url.as_str() == wanted,
                (Err(_), None) => true,
                _ => false,
            };
            report.case(docs, right);
        }
        report.finish();
    }

    #[test]
    fn container_addresses() {
        let Some(cases) = json("aws-config/ecs-tests.json") else { return };
        let mut report = Report::on("aws-config (container addresses)");
        for case in cases["tests"].as_array().unwrap() {
            let env = case["env"].as_object().unwrap().iter();
            let env: Vec<_> = env.map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
            let found = ContainerSource::from_secrets(&Env::of(&env), clock());
            let right = match (&found, case["result"]["Ok"].as_str()) {
                (Ok(source), Some(wanted)) => source.url().as_str() == wanted,
                (Err(_), None) => true,
                _ => false,
            };
            report.case(case["docs"].as_str().unwrap(), right);
        }
        report.finish();
    }
}
