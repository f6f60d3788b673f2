//! Cloud token services on one port: a cloud per file, a route per service.

mod anthropic;
mod anthropic_login;
mod aws_metadata;
mod azure_identity;
mod entra;
mod entra_assertion;
mod github;
mod google;
mod openai;
mod sts;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use serde_json::{Map, Value};

use crate::answer::{self, Answer};
use crate::capture::Recorded;
use crate::clock::VirtualClock;
use crate::desk::Desk;
use crate::error::StartError;
use crate::fault::Fault;
use crate::host::{Bound, Host};
use crate::observer::Observer;
use crate::requests::Requests;

pub use anthropic::FederationRule;
pub use anthropic_login::AnthropicLogin;
pub use aws_metadata::{ContainerRole, InstanceRole};
pub use azure_identity::ManagedIdentity;
pub use entra::EntraApp;
pub use github::GitHubJob;
pub use google::{GoogleAccount, GoogleCloud, GoogleMetadata, GooglePool, GoogleUser};
pub use openai::OpenAiMapping;
pub use sts::StsRole;

/// How long tokens and keys live, unless a test says otherwise.
const LIFETIME: Duration = Duration::from_secs(3_599);

/// What is chosen before a cloud starts.
#[derive(Debug)]
pub struct CloudBuilder {
    clock: VirtualClock,
    port: u16,
    entra: Vec<EntraApp>,
    google: GoogleCloud,
    sts: Vec<StsRole>,
    containers: Vec<ContainerRole>,
    instance: Option<InstanceRole>,
    identity: Option<ManagedIdentity>,
    federation_rules: Vec<FederationRule>,
    anthropic_login: Option<AnthropicLogin>,
    openai: Vec<OpenAiMapping>,
    job: Option<GitHubJob>,
}

impl CloudBuilder {
    /// Serves the token of an Azure machine.
    #[must_use]
    pub fn managed_identity(mut self, identity: ManagedIdentity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Adds a federation rule that Anthropic knows.
    #[must_use]
    pub fn federation_rule(mut self, rule: FederationRule) -> Self {
        self.federation_rules.push(rule);
        self
    }

    /// Lets users of Anthropic sign in to a client.
    #[must_use]
    pub fn anthropic_login(mut self, login: AnthropicLogin) -> Self {
        self.anthropic_login = Some(login);
        self
    }

    /// Adds a workload identity provider that OpenAI knows.
    #[must_use]
    pub fn openai(mut self, mapping: OpenAiMapping) -> Self {
        self.openai.push(mapping);
        self
    }

    /// Serves the identity tokens of a GitHub Actions job.
    #[must_use]
    pub fn github_job(mut self, job: GitHubJob) -> Self {
        self.job = Some(job);
        self
    }

    /// Adds a container that gets AWS keys.
    #[must_use]
    pub fn container(mut self, role: ContainerRole) -> Self {
        self.containers.push(role);
        self
    }

    /// Serves the metadata of an EC2 instance.
    #[must_use]
    pub fn instance(mut self, role: InstanceRole) -> Self {
        self.instance = Some(role);
        self
    }

    /// Serves Google's token services for whom `google` knows.
    #[must_use]
    pub fn google(mut self, google: GoogleCloud) -> Self {
        self.google = google;
        self
    }

    /// Adds a role that AWS STS gives keys for.
    #[must_use]
    pub fn sts(mut self, role: StsRole) -> Self {
        self.sts.push(role);
        self
    }

    /// Adds an application that Entra knows.
    #[must_use]
    pub fn entra(mut self, app: EntraApp) -> Self {
        self.entra.push(app);
        self
    }

    /// Where the time of error bodies and captures comes from.
    #[must_use]
    pub fn clock(mut self, clock: impl Into<VirtualClock>) -> Self {
        self.clock = clock.into();
        self
    }

    /// The port on 127.0.0.1; 0, the default, is any.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Starts the cloud.
    ///
    /// # Errors
    /// [`StartError`] when the port is taken or an application is incomplete.
    pub fn build(self) -> Result<MockCloud, StartError> {
        if !self.entra.iter().all(EntraApp::is_complete) {
            return Err(StartError::Incomplete("an Entra application needs a tenant, an id and a secret"));
        }
        if !self.google.is_complete() {
            return Err(StartError::Incomplete("a Google service account needs an address and a public key"));
        }
        if !self.sts.iter().all(StsRole::is_complete) {
            return Err(StartError::Incomplete("a role of STS needs an ARN and a token"));
        }
        if !self.job.iter().all(GitHubJob::is_complete) {
            return Err(StartError::Incomplete("a GitHub job needs a request token and an identity token"));
        }
        let cloud = Arc::new(Cloud {
            desk: Desk::new(self.clock, Observer::default()),
            entra: self.entra,
            google: self.google,
            sts: self.sts,
            containers: self.containers,
            instance: self.instance,
            identity: self.identity,
            served: azure_identity::Served::default(),
            assertions: entra_assertion::Seen::default(),
            federation_rules: self.federation_rules,
            anthropic_login: self.anthropic_login,
            openai: self.openai,
            job: self.job,
            served_keys: aws_metadata::Served::default(),
            lifetime: AtomicU64::new(LIFETIME.as_secs()),
            tokens: AtomicU64::new(0),
            traces: AtomicU64::new(0),
        });
        let serving = Arc::clone(&cloud);
        let host = Bound::new(self.port, None)?.serve(move |request| {
            let cloud = Arc::clone(&serving);
            async move { cloud.desk.serve(request, |request| cloud.answer(request)).await }
        })?;
        Ok(MockCloud { host, cloud })
    }
}

#[derive(Debug)]
struct Cloud {
    desk: Desk,
    entra: Vec<EntraApp>,
    google: GoogleCloud,
    sts: Vec<StsRole>,
    containers: Vec<ContainerRole>,
    instance: Option<InstanceRole>,
    identity: Option<ManagedIdentity>,
    served: azure_identity::Served,
    /// Those that clients of Entra have signed.
    assertions: entra_assertion::Seen,
    federation_rules: Vec<FederationRule>,
    anthropic_login: Option<AnthropicLogin>,
    openai: Vec<OpenAiMapping>,
    job: Option<GitHubJob>,
    /// By the instance's metadata service.
    served_keys: aws_metadata::Served,
    /// In seconds.
    lifetime: AtomicU64,
    tokens: AtomicU64,
    traces: AtomicU64,
}

impl Cloud {
    fn answer(&self, request: &Recorded) -> Answer {
        let metadata = aws_metadata::answer(self, request).or_else(|| azure_identity::answer(self, request));
        if let Some(answer) = metadata {
            return answer;
        }
        if let Some(answer) = github::answer(self, request) {
            return answer;
        }
        if let Some(answer) = anthropic_login::answer(self, request) {
            return answer;
        }
        let path: Vec<&str> = request.path().split('/').collect();
        match *path {
            ["", tenant, "oauth2", "v2.0", "token"] => entra::token(self, tenant, request),
            ["", "v1", "oauth", "token"] => anthropic::token(self, request),
            ["", "oauth", "token"] => openai::token(self, request),
            ["", ""] => sts::assume_role(self, request),
            _ => google::answer(self, request)
                .unwrap_or_else(|| answer::json(StatusCode::NOT_FOUND, r#"{"error":"not_found"}"#)),
        }
    }
}

/// The body, if it is a JSON object and says so.
fn json_body(request: &Recorded) -> Option<Map<String, Value>> {
    let media = request.header("content-type")?;
    media.eq_ignore_ascii_case("application/json").then_some(())?;
    serde_json::from_slice(request.body()).ok()
}

/// A member that is text and not empty.
fn text<'a>(body: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    body.get(name)?.as_str().filter(|text| !text.is_empty())
}

fn next(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed) + 1
}

/// Running cloud token services. Dropping it closes the port and its connections.
pub struct MockCloud {
    host: Host,
    cloud: Arc<Cloud>,
}

impl MockCloud {
    /// A cloud to which services are added.
    pub fn builder() -> CloudBuilder {
        CloudBuilder {
            clock: VirtualClock::running(),
            port: 0,
            entra: Vec::new(),
            google: GoogleCloud::default(),
            sts: Vec::new(),
            containers: Vec::new(),
            instance: None,
            identity: None,
            federation_rules: Vec::new(),
            anthropic_login: None,
            openai: Vec::new(),
            job: None,
        }
    }

    /// The address, such as `http://127.0.0.1:12345`: Entra's authority, for one.
    pub fn url(&self) -> String {
        self.host.url()
    }

    /// The clock that everything here goes by.
    pub fn clock(&self) -> &VirtualClock {
        &self.cloud.desk.clock
    }

    /// How long the tokens and keys live that are issued from now on, in whole seconds.
    pub fn set_token_lifetime(&self, lifetime: Duration) {
        self.cloud.lifetime.store(lifetime.as_secs(), Ordering::Relaxed);
    }

    /// Ends all sessions with the instance's metadata service, as its restart does.
    pub fn end_instance_sessions(&self) {
        self.cloud.served_keys.forget_sessions();
    }

    /// Lets the next requests, whatever they ask, fail that way; queued behind earlier faults.
    pub fn fail_next(&self, requests: usize, fault: Fault) {
        self.cloud.desk.faults.add(requests, fault);
    }

    /// How many requests came for that path, failed ones too.
    pub fn count(&self, path: &str) -> u64 {
        self.cloud.desk.log.count(path)
    }

    /// What was asked, oldest first; at most the last [`CAPACITY`](crate::CAPACITY) requests.
    pub fn requests(&self) -> Requests {
        self.cloud.desk.log.requests()
    }

    /// Closes the port, and waits a few seconds at most for answers under way.
    pub async fn shutdown(self) {
        self.host.drain().await;
    }
}

impl fmt::Debug for MockCloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockCloud").field("url", &self.url()).finish_non_exhaustive()
    }
}
