//! Where a workload's own identity token comes from: the `credential_source` of an external account.

use std::fmt;
use std::path::PathBuf;

use ::http::{HeaderName, HeaderValue};
use portunus_auth_core::secret::{ExposeSecret, SecretString};
use portunus_auth_core::{CredentialError, SecretSource};
use serde_json::Value;
use url::Url;

use super::Call;
use super::executable::Executable;
use super::fields::Fields;
use super::misconfigured::Misconfigured;
use crate::IssuerError;
use crate::file::read_token;
use crate::http::{Reach, allowed_metadata};

#[derive(Clone, Debug)]
pub(crate) enum Subject {
    File(PathBuf, Format),
    Url(Box<Asked>),
    Executable(Box<Executable>),
    #[cfg(feature = "bedrock-auth")]
    Aws(Box<super::aws::Aws>),
}

#[derive(Clone)]
pub(crate) struct Asked {
    url: Url,
    /// They may hold a token, so all of them are taken for secrets.
    headers: Vec<(HeaderName, SecretString)>,
    format: Format,
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Format {
    Text,
    /// The member of an object.
    Json(String),
}

#[derive(Debug, thiserror::Error)]
#[error("the identity token is not where `credential_source` says it is")]
struct NoToken;

impl Subject {
    pub(super) fn parse(
        fields: &Fields<'_>,
        audience: &str,
        token_type: &str,
        acts_as: Option<&str>,
        env: &dyn SecretSource,
    ) -> Result<Self, Misconfigured> {
        let source =
            fields.object("credential_source")?.ok_or(Misconfigured::Missing("credential_source"))?;
        if source.text("environment_id")?.is_some() {
            return Self::aws(&source, audience, env);
        }
        let executable = source.object("executable")?;
        match (source.text("file")?, source.text("url")?, executable) {
            (Some(file), None, None) => Ok(Self::File(file.into(), Format::parse(&source)?)),
            (None, Some(url), None) => Asked::parse(url, &source).map(|asked| Self::Url(Box::new(asked))),
            (None, None, Some(fields)) => {
                let executable = Executable::parse(&fields, audience, token_type, acts_as, env)?;
                Ok(Self::Executable(Box::new(executable)))
            }
            _ => Err(Misconfigured::SubjectSource),
        }
    }

    #[cfg(feature = "bedrock-auth")]
    fn aws(source: &Fields<'_>, audience: &str, env: &dyn SecretSource) -> Result<Self, Misconfigured> {
        super::aws::Aws::parse(source, audience, env).map(|aws| Self::Aws(Box::new(aws)))
    }

    #[cfg(not(feature = "bedrock-auth"))]
    fn aws(_: &Fields<'_>, _: &str, _: &dyn SecretSource) -> Result<Self, Misconfigured> {
        Err(Misconfigured::NeedsBedrock)
    }

    pub(super) async fn token(&self, call: &Call<'_>) -> Result<SecretString, CredentialError> {
        match self {
            #[cfg(feature = "bedrock-auth")]
            Self::Aws(aws) => aws.token(call).await,
            Self::File(path, format) => {
                let text = read_token(path).await?;
                format.token(&text).ok_or_else(|| CredentialError::Invalid(NoToken.into()))
            }
            Self::Url(asked) => asked.token(call).await,
            Self::Executable(executable) => executable.token(call.now).await,
        }
    }
}

impl Format {
    fn parse(source: &Fields<'_>) -> Result<Self, Misconfigured> {
        let Some(format) = source.object("format")? else { return Ok(Self::Text) };
        match format.text("type")? {
            None | Some("text") => Ok(Self::Text),
            Some("json") => {
                format.required("subject_token_field_name").map(|name| Self::Json(name.to_owned()))
            }
            Some(_) => Err(Misconfigured::Wrong("format")),
        }
    }

    fn token(&self, text: &SecretString) -> Option<SecretString> {
        let token = match self {
            Self::Text => text.expose_secret().trim().to_owned(),
            Self::Json(name) => json_of(text)?.get(name)?.as_str()?.trim().to_owned(),
        };
        (!token.is_empty()).then(|| token.into())
    }
}

/// The JSON in a secret text.
pub(super) fn json_of(text: &SecretString) -> Option<Value> {
    serde_json::from_str(text.expose_secret()).ok()
}

impl Asked {
    fn parse(url: &str, source: &Fields<'_>) -> Result<Self, Misconfigured> {
        let url = Url::parse(url).map_err(|_| Misconfigured::Wrong("url"))?;
        allowed_metadata(&url).map_err(Misconfigured::SubjectUrl)?;
        let mut headers = Vec::new();
        for (name, value) in source.texts("headers")? {
            let name = HeaderName::try_from(name).map_err(|_| Misconfigured::Wrong("headers"))?;
            HeaderValue::try_from(value).map_err(|_| Misconfigured::Wrong("headers"))?;
            headers.push((name, value.into()));
        }
        Ok(Self { url, headers, format: Format::parse(source)? })
    }

    async fn token(&self, call: &Call<'_>) -> Result<SecretString, CredentialError> {
        let is_outside = allowed_metadata(&self.url).map_err(Misconfigured::SubjectUrl)? == Reach::Outside;
        let http = if is_outside { call.http } else { call.metadata_http };
        let mut request = http.get(&self.url).idempotent();
        for (name, value) in &self.headers {
            request = request.secret_header(name.clone(), value);
        }
        let answer = request.send(call.now).await?;
        if !answer.status().is_success() {
            let refusal = IssuerError { status: answer.status(), error: None, codes: Vec::new() };
            return Err(refusal.classify(answer.retry_after()));
        }
        let text = std::str::from_utf8(answer.body()).ok().map(SecretString::from);
        text.and_then(|text| self.format.token(&text))
            .ok_or_else(|| CredentialError::Unavailable { retry_after: None, source: NoToken.into() })
    }
}
