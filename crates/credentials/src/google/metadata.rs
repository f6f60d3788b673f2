//! The metadata server of Compute Engine, GKE, Cloud Run and their like
//! (<https://cloud.google.com/compute/docs/access/authenticate-workloads>).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use ::http::{HeaderName, StatusCode};
use portunus_auth_core::{Credential, CredentialError, Issued, SecretSource};
use url::Url;

use super::misconfigured::Misconfigured;
use super::{Call, classify};
use crate::env::set;
use crate::http::{Answer, Http, allowed_metadata, nobody_there};

const HOST: &str = "metadata.google.internal";
const HOST_VARIABLE: &str = "GCE_METADATA_HOST";
const ACCOUNT: &str = "computeMetadata/v1/instance/service-accounts/default/";

/// Sent, so that no page in a browser can ask; and required of the answer, so that nobody else's is
/// believed.
const FLAVOR: HeaderName = HeaderName::from_static("metadata-flavor");

/// What the firmware calls a machine of Google's.
const PRODUCT_NAME: &str = "/sys/class/dmi/id/product_name";

/// The server hands out the same token until four to five minutes before its end.
pub(super) const RENEWED_BEFORE_END: Duration = Duration::from_secs(225);

#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    /// The default service account's folder.
    base: Url,
    /// Somebody named the host, or the machine is Google's. Where nothing says so, an address where nobody is says that
    /// there is no such server.
    expected: bool,
    switched_off: bool,
    has_answered: Arc<AtomicBool>,
}

#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(
        "what answers in the metadata server's place is not Google's: the answer lacks `metadata-flavor`"
    )]
    NotGoogle,
    #[error("the metadata server knows no service account: attach one to this machine or workload")]
    NoAccount,
}

impl Metadata {
    pub(super) fn from_secrets(env: &dyn SecretSource) -> Result<Self, Misconfigured> {
        let named = set(env, HOST_VARIABLE);
        let product = env.file(Path::new(PRODUCT_NAME)).unwrap_or_default();
        let host = named.as_deref().unwrap_or(HOST);
        let base = Url::parse(&format!("http://{host}/")).map_err(|_| Misconfigured::MetadataHost(None))?;
        if base.path() != "/" || base.query().is_some() || base.fragment().is_some() {
            return Err(Misconfigured::MetadataHost(None));
        }
        allowed_metadata(&base).map_err(|why| Misconfigured::MetadataHost(Some(why)))?;
        Ok(Self {
            base: base.join(ACCOUNT).map_err(|_| Misconfigured::MetadataHost(None))?,
            expected: named.is_some() || product.trim_start().starts_with("Google"),
            switched_off: named.is_none() && set(env, "NO_GCE_CHECK").is_some_and(|no| no == "true"),
            has_answered: Arc::default(),
        })
    }

    pub(super) async fn token(&self, call: &Call<'_>) -> Result<Issued, CredentialError> {
        let scopes = call.scope.split_whitespace().collect::<Vec<_>>().join(",");
        let answer = self.get(call.metadata_http, "token", &[("scopes", &scopes)], call.now).await?;
        let token = answer.token_or(classify)?;
        let issued = Issued::new(Credential::BearerToken(token.access_token), call.now + token.expires_in);
        Ok(issued.with_refresh_margin(RENEWED_BEFORE_END).from_source("Google metadata server"))
    }

    /// What the server says of the default service account.
    ///
    /// # Errors
    /// `NotConfigured` where there is no such server and nothing said that there would be.
    pub(super) async fn get(
        &self,
        http: &Http,
        what: &str,
        query: &[(&str, &str)],
        now: SystemTime,
    ) -> Result<Answer, CredentialError> {
        if self.switched_off {
            return Err(CredentialError::NotConfigured);
        }
        let mut url = self.base.join(what).map_err(|_| Misconfigured::MetadataHost(None))?;
        url.query_pairs_mut().extend_pairs(query);
        let request = http.get(&url).header(FLAVOR, "Google");
        let expected = self.expected || self.has_answered.load(Ordering::Relaxed);
        // Away from Google, one try that ends within a second has to do.
        let request = if expected { request.idempotent() } else { request };
        let answer = match request.send(now).await {
            Err(error) if !expected && nobody_there(&error) => return Err(CredentialError::NotConfigured),
            answer => answer?,
        };
        let is_google = answer.header(FLAVOR) == Some("Google");
        if !is_google && !expected {
            return Err(CredentialError::NotConfigured);
        }
        if !is_google && answer.status().is_success() {
            return Err(CredentialError::Invalid(Refused::NotGoogle.into()));
        }
        if is_google {
            self.has_answered.store(true, Ordering::Relaxed);
        }
        if answer.status() == StatusCode::NOT_FOUND {
            return Err(CredentialError::Invalid(Refused::NoAccount.into()));
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn asked(expected: bool) -> CredentialError {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let server = Metadata {
            base: format!("http://{closed}/{ACCOUNT}").parse().unwrap(),
            expected,
            switched_off: false,
            has_answered: Arc::default(),
        };
        let http = Http::for_metadata().with_attempts(2, Duration::ZERO);
        server.get(&http, "token", &[], SystemTime::UNIX_EPOCH).await.unwrap_err()
    }

    #[tokio::test]
    async fn where_nobody_is_nothing_is_configured_unless_somebody_was_expected() {
        assert!(matches!(asked(false).await, CredentialError::NotConfigured));
        assert!(matches!(asked(true).await, CredentialError::Unavailable { .. }));
    }

    #[test]
    fn a_machine_of_googles_has_the_server() {
        struct Files(&'static str);
        impl SecretSource for Files {
            fn env(&self, _: &str) -> Option<String> {
                None
            }
            fn file(&self, path: &Path) -> std::io::Result<String> {
                assert_eq!(path, Path::new(PRODUCT_NAME));
                Ok(self.0.to_owned())
            }
        }
        let expected = |product| Metadata::from_secrets(&Files(product)).unwrap().expected;
        assert!(expected("Google Compute Engine\n") && expected("Google\n"));
        assert!(!expected("Standard PC") && !expected(""));
    }
}
