//! An identity token from a program
//! (<https://google.aip.dev/auth/4117#determining-the-subject-token-in-executable-sourced-credentials>).
//!
//! Off unless the environment allows it: whoever can change a credentials file could otherwise run
//! whatever they like.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portunus_auth_core::secret::SecretString;
use portunus_auth_core::{CredentialError, SecretSource};
use serde::Deserialize;

use super::fields::Fields;
use super::misconfigured::Misconfigured;
use super::subject::json_of;
use crate::command::Program;
use crate::env::set;
use crate::file::read_token;

const ALLOWED: &str = "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES";
const LONGEST_CODE: usize = 64;

#[derive(Clone, Debug)]
pub(crate) struct Executable {
    program: Program,
    output_file: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("the program that prints the identity token printed something else")]
    NotAResponse,
    #[error("the program printed an identity token that has expired")]
    Expired,
    #[error("the program refused an identity token{}", code.as_ref().map(|code| format!(", code {code}")).unwrap_or_default())]
    Refused { code: Option<String> },
}

impl From<Failed> for CredentialError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Refused { .. } => Self::Rejected(failed.into()),
            _ => Self::Unavailable { retry_after: None, source: failed.into() },
        }
    }
}

/// What the program prints, or left in its output file.
#[derive(Deserialize)]
struct Response {
    version: u32,
    success: bool,
    token_type: Option<String>,
    id_token: Option<SecretString>,
    saml_response: Option<SecretString>,
    expiration_time: Option<u64>,
    code: Option<String>,
}

impl Executable {
    pub(super) fn parse(
        fields: &Fields<'_>,
        audience: &str,
        token_type: &str,
        acts_as: Option<&str>,
        env: &dyn SecretSource,
    ) -> Result<Self, Misconfigured> {
        if set(env, ALLOWED).as_deref() != Some("1") {
            return Err(Misconfigured::ExecutableForbidden);
        }
        // No shell: nothing in the command is expanded or chained.
        let mut words = fields.required("command")?.split_whitespace().map(OsString::from);
        let name = words.next().ok_or(Misconfigured::Missing("command"))?;
        let limit = fields.number("timeout_millis")?.unwrap_or(30_000);
        if !(5_000..=120_000).contains(&limit) {
            return Err(Misconfigured::Wrong("timeout_millis"));
        }
        let output_file = fields.text("output_file")?;
        let mut variables = vec![
            ("GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE", audience.to_owned()),
            ("GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE", token_type.to_owned()),
            ("GOOGLE_EXTERNAL_ACCOUNT_INTERACTIVE", "0".to_owned()),
        ];
        variables
            .extend(acts_as.map(|email| ("GOOGLE_EXTERNAL_ACCOUNT_IMPERSONATED_EMAIL", email.to_owned())));
        variables.extend(output_file.map(|file| ("GOOGLE_EXTERNAL_ACCOUNT_OUTPUT_FILE", file.to_owned())));
        let (arguments, timeout) = (words.collect(), Duration::from_millis(limit));
        Ok(Self {
            program: Program { name, arguments, variables, timeout },
            output_file: output_file.map(PathBuf::from),
        })
    }

    pub(super) async fn token(&self, now: SystemTime) -> Result<SecretString, CredentialError> {
        if let Some(kept) = self.kept(now).await {
            return Ok(kept);
        }
        let response =
            serde_json::from_slice(&self.program.output().await?).map_err(|_| Failed::NotAResponse)?;
        Ok(token_of(response, now)?)
    }

    /// What an earlier run left in the output file, while it is good.
    async fn kept(&self, now: SystemTime) -> Option<SecretString> {
        let text = read_token(self.output_file.as_ref()?).await.ok()?;
        let response: Response = serde_json::from_value(json_of(&text)?).ok()?;
        response.expiration_time?;
        token_of(response, now).ok()
    }
}

fn token_of(response: Response, now: SystemTime) -> Result<SecretString, Failed> {
    if response.version != 1 {
        return Err(Failed::NotAResponse);
    }
    if !response.success {
        let is_code = |code: &String| {
            (1..=LONGEST_CODE).contains(&code.len())
                && code.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_')
        };
        return Err(Failed::Refused { code: response.code.filter(is_code) });
    }
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if response.expiration_time.is_some_and(|ends| ends <= now) {
        return Err(Failed::Expired);
    }
    let token = match response.token_type.as_deref() {
        Some("urn:ietf:params:oauth:token-type:jwt" | "urn:ietf:params:oauth:token-type:id_token") => {
            response.id_token
        }
        Some("urn:ietf:params:oauth:token-type:saml2") => response.saml_response,
        _ => None,
    };
    token.ok_or(Failed::NotAResponse)
}
