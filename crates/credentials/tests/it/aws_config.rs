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
    const OURS: [(&str, &str); 8] = [
        ("ecs_credentials_invalid_profile", ""),
        ("eks_pod_identity_credentials", ""),
        ("eks_pod_identity_no_token_file", "No such file or directory"),
        ("environment_variables", ""),
        ("imds_config_with_no_creds", ""),
        ("imds_no_iam_role", "no source is configured"),
        ("imds_token_fail", "403"),
        ("prefer_environment", ""),
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
        for (name, says) in OURS.into_iter().chain([("web_identity_token_env", "")]) {
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

    /// Scenarios of a profile that need no service of AWS. The others, which sign on or assume a role, test
    /// AWS's own crate, which we hand them to.
    #[cfg(feature = "aws-chain")]
    const PROFILES: [(&str, Option<&str>); 9] = [
        ("default-credential-provider-chain/environment_variables_blank", Some("some_profile")),
        ("default-credential-provider-chain/profile_name", Some("some-thing:long/the_one%only.foo@bar+")),
        ("default-credential-provider-chain/profile_static_keys", None),
        ("default-credential-provider-chain/profile_static_keys_case_insensitive", None),
        ("profile-provider/credential_process", None),
        ("profile-provider/credential_process_failure", None),
        ("profile-provider/credential_process_invalid", None),
        ("profile-provider/empty_config", None),
        ("profile-provider/invalid_sso_credentials_config", None),
    ];

    #[cfg(feature = "aws-chain")]
    #[tokio::test]
    async fn profiles() {
        use portunus_credentials::{AwsProfileSource, CredentialSource as _};

        let mut report = Report::on("aws-config (profiles)");
        let folder = tempfile::tempdir().unwrap();
        for (name, profile) in PROFILES {
            let Some(case) = json(&format!("aws-config/{name}/test-case.json")) else { return };
            let files = ["config", "credentials"].map(|file| {
                let place = folder.path().join(file);
                let text = open(&format!("aws-config/{name}/fs/home/.aws/{file}"));
                std::fs::write(&place, text.unwrap_or_default()).unwrap();
                place
            });
            let [config, credentials] = files;
            let source = AwsProfileSource::new(Some(profile.unwrap_or("default").to_owned()));
            let found = source.with_files(config, credentials).fetch().await;
            let wanted = &case["result"]["Ok"];
            let right = match &found {
                Ok(issued) => {
                    let found = keys(&issued.credential);
                    let wanted = ["access_key_id", "secret_access_key", "session_token"]
                        .map(|field| wanted[field].as_str().unwrap_or_default());
                    found == wanted
                }
                Err(_) => wanted.is_null(),
            };
            if !right {
                println!("{name}: {found:?}");
            }
            report.case(name, right);
        }
        report.finish();
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
