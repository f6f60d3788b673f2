//! Credentials that another program prints: a cloud's command-line tool, a script of one's own.

use std::ffi::OsString;
use std::fmt;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use portunus_auth_core::secret::{ExposeSecret, SecretString};
use portunus_auth_core::{Clock, Credential, CredentialError, CredentialSource, Issued};
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

/// No credential is larger; a program that prints without end must not fill the memory.
const LARGEST_OUTPUT: u64 = 64 * 1024;
/// For so long a token is used of which the program does not say when it ends.
const UNSTATED_LIFE: Duration = Duration::from_secs(300);

/// Runs a program and takes its standard output for the credential.
///
/// * There is no shell: the arguments arrive as they are given. The environment is passed on.
/// * The program gets no input, 30 seconds and 64 KiB. When it is late, or the fetch is dropped, it is killed,
///   with every process of its group.
/// * Its error output is discarded, because it may repeat a secret.
///
/// The output is one token, or a JSON object with
///
/// * `token`, `access_token` or `accessToken`: a bearer token; or
/// * `AccessKeyId`, `SecretAccessKey` and maybe `SessionToken`: AWS keys, as
///   [`credential_process`](https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html)
///   prints them;
///
/// and when that ends: `expires_at`, `expires_on` or `Expiration`, in RFC 3339 or in seconds since 1970, or
/// `expires_in`, in seconds. Without it, a token is used for five minutes.
///
/// `Debug` shows the program only: somebody may have put a secret into an argument.
#[derive(Clone)]
pub struct CommandSource {
    program: Program,
    clock: Arc<dyn Clock>,
}

/// What is run, how long, and what it is told in its environment. `Debug` shows the program only.
#[derive(Clone)]
pub(crate) struct Program {
    pub(crate) name: OsString,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) variables: Vec<(&'static str, String)>,
    pub(crate) timeout: Duration,
}

/// Why a program gave no credential. Holds nothing of what it printed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// It is not there, or may not be run.
    #[error("the program cannot be started")]
    NotStarted(#[source] std::io::Error),
    /// It ended with a failure.
    #[error("the program ended with {0}; run it by hand to see why")]
    Failed(ExitStatus),
    /// It did not end in time.
    #[error("the program did not end within {0:?}")]
    TooLate(Duration),
    /// Its output could not be read, or was more than 64 KiB.
    #[error("the program's output is larger than 64 KiB, or broke off")]
    Output(#[source] Option<std::io::Error>),
    /// It printed something else than a credential.
    #[error("the program printed neither one token nor a JSON object with a credential and its end")]
    NotACredential,
}

#[derive(Deserialize)]
struct Printed {
    #[serde(alias = "access_token", alias = "accessToken")]
    token: Option<SecretString>,
    #[serde(rename = "AccessKeyId")]
    access_key_id: Option<SecretString>,
    #[serde(rename = "SecretAccessKey")]
    secret_access_key: Option<SecretString>,
    #[serde(rename = "SessionToken")]
    session_token: Option<SecretString>,
    #[serde(alias = "expires_on", alias = "Expiration")]
    expires_at: Option<When>,
    expires_in: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum When {
    Seconds(u64),
    Text(String),
}

impl fmt::Debug for CommandSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandSource").field("program", &self.program).finish_non_exhaustive()
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.name, f)
    }
}

impl CommandSource {
    /// Runs that program, found as the operating system finds it, with these arguments.
    pub fn new(
        program: impl Into<OsString>,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        let (name, timeout) = (program.into(), Duration::from_secs(30));
        Self { program: Program { name, arguments, variables: Vec::new(), timeout }, clock }
    }

    /// Kills the program after that time instead of 30 seconds.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.program.timeout = timeout;
        self
    }
}

impl Program {
    fn start(&self) -> Result<Running, CommandError> {
        let mut command = Command::new(&self.name);
        command.args(&self.arguments).kill_on_drop(true);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        #[cfg(unix)]
        command.process_group(0);
        command.spawn().map(Running).map_err(CommandError::NotStarted)
    }

    /// What it prints.
    pub(crate) async fn output(&self) -> Result<Vec<u8>, CommandError> {
        let mut running = self.start()?;
        tokio::time::timeout(self.timeout, running.output())
            .await
            .unwrap_or(Err(CommandError::TooLate(self.timeout)))
    }
}

/// Ends with everything it has started.
struct Running(Child);

impl Running {
    async fn output(&mut self) -> Result<Vec<u8>, CommandError> {
        let mut output = Vec::new();
        let Some(stdout) = self.0.stdout.take() else { return Err(CommandError::Output(None)) };
        let read = stdout.take(LARGEST_OUTPUT + 1).read_to_end(&mut output).await;
        if read.map_err(|error| CommandError::Output(Some(error)))? as u64 > LARGEST_OUTPUT {
            return Err(CommandError::Output(None));
        }
        let status = self.0.wait().await.map_err(|error| CommandError::Output(Some(error)))?;
        if status.success() { Ok(output) } else { Err(CommandError::Failed(status)) }
    }
}

#[cfg(unix)]
impl Drop for Running {
    fn drop(&mut self) {
        // Known only while the child has not been waited for, so the number is not another's by now.
        let group = self.0.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

impl From<CommandError> for CredentialError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::NotStarted(_) | CommandError::NotACredential => Self::Invalid(error.into()),
            CommandError::Failed(_) => Self::Rejected(error.into()),
            CommandError::TooLate(_) | CommandError::Output(_) => {
                Self::Unavailable { retry_after: None, source: error.into() }
            }
        }
    }
}

#[async_trait]
impl CredentialSource for CommandSource {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        let started = self.clock.now();
        let output = self.program.output().await?;
        let issued = issued(&output, started).ok_or(CommandError::NotACredential)?;
        Ok(issued.from_source(self.program.name.to_string_lossy()))
    }
}

fn issued(output: &[u8], started: SystemTime) -> Option<Issued> {
    let text = std::str::from_utf8(output).ok()?.trim();
    if !text.starts_with('{') {
        let is_token = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        let token = is_token.then(|| SecretString::from(text))?;
        return Some(Issued::new(Credential::BearerToken(token), started + UNSTATED_LIFE));
    }
    let printed: Printed = serde_json::from_str(text).ok()?;
    let ends = match (&printed.expires_at, printed.expires_in) {
        (Some(when), _) => Some(moment(when)?),
        (None, Some(seconds)) => Some(started.checked_add(Duration::from_secs(seconds))?),
        (None, None) => None,
    };
    let whole = |secret: SecretString| Some(secret).filter(|text| !text.expose_secret().trim().is_empty());
    if let Some(token) = printed.token {
        let ends = ends.unwrap_or(started + UNSTATED_LIFE);
        return Some(Issued::new(Credential::BearerToken(whole(token)?), ends));
    }
    let credential = Credential::AwsCredentials {
        access_key_id: whole(printed.access_key_id?)?,
        secret_access_key: whole(printed.secret_access_key?)?,
        session_token: printed.session_token,
    };
    // AWS says that keys without an end do not end.
    Some(Issued::new(credential, ends))
}

fn moment(when: &When) -> Option<SystemTime> {
    let seconds = match when {
        When::Seconds(seconds) => *seconds,
        When::Text(text) => match text.trim().parse() {
            Ok(seconds) => seconds,
            Err(_) => return humantime::parse_rfc3339(text.trim()).ok(),
        },
    };
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}
