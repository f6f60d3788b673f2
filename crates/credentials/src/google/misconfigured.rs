//! What a person must mend.

use std::path::PathBuf;

use portunus_auth_core::CredentialError;

use crate::http::HttpError;
use crate::jwt::KeyError;

/// What is wrong with a credentials file or with the environment. Holds nothing of a file's text.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Misconfigured {
    #[error("the credentials file `{}` cannot be read", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("Google's credentials are a JSON object, as `gcloud` or the console writes it")]
    NotJson,
    #[error("the credentials file lacks `{0}`, or it is empty")]
    Missing(&'static str),
    #[error("`{0}` in the credentials file is not what it has to be")]
    Wrong(&'static str),
    #[error("`{key}` in the credentials file is not usable: {why}")]
    Key { key: &'static str, why: KeyError },
    #[error("`{0}` in the credentials file does not lead to Google; create the file anew with `gcloud`")]
    ForeignHost(&'static str),
    #[error(
        "credentials of this `type` are not known; known are service_account, authorized_user, external_account and impersonated_service_account"
    )]
    UnknownType,
    #[error("credentials of the type `{0}` are recognised, but not supported here")]
    UnsupportedType(&'static str),
    #[error(
        "the credentials file is for another universe than the public cloud; if that is right, set `GOOGLE_CLOUD_UNIVERSE_DOMAIN` to its `universe_domain`"
    )]
    Universe,
    #[cfg(not(feature = "bedrock-auth"))]
    #[error("an external account on AWS needs a build with the feature `bedrock-auth`")]
    NeedsBedrock,
    #[cfg(feature = "bedrock-auth")]
    #[error("the keys of AWS in the environment are not whole")]
    AwsKeys(#[source] CredentialError),
    #[error("`credential_source` in the credentials file is one of `file`, `url` and `executable`")]
    SubjectSource,
    #[error("`url` in the credentials file must be https, or lead to this machine's own network")]
    SubjectUrl(#[source] HttpError),
    #[error(
        "the credentials file names a program to run; if that is right, set `GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES` to 1"
    )]
    ExecutableForbidden,
    #[error("a service account's key is expected here: a file of the type `service_account`")]
    NotAServiceAccount,
    #[error("a quota project's id cannot be sent in a header")]
    QuotaProject,
    #[error(
        "`GCE_METADATA_HOST` is a host on this machine's own network, such as metadata.google.internal or 169.254.169.254, perhaps with a port"
    )]
    MetadataHost(#[source] Option<HttpError>),
}

impl From<Misconfigured> for CredentialError {
    fn from(why: Misconfigured) -> Self {
        Self::Invalid(Box::new(why))
    }
}
