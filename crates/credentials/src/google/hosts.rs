//! Which hosts a credentials file may name.
//!
//! Whoever gets somebody to use a file of theirs would otherwise get what is sent to the file's token
//! address: an assertion, a refresh token, a workload's identity token. Google's own libraries leave the
//! check to their callers (<https://cloud.google.com/docs/authentication/external/externally-sourced-credentials>).

use portunus_auth_core::SecretSource;
use portunus_auth_core::endpoint::is_loopback;
use url::{Host, Url};

use super::fields::Fields;
use super::misconfigured::Misconfigured;
use crate::env::set;

/// The universe of the public cloud; Trusted Partner Clouds have their own.
pub(super) const UNIVERSE: &str = "googleapis.com";

/// A file's universe. A file cannot vouch for its own hosts: any but the public one has to be the
/// environment's as well.
pub(super) fn universe<'a>(fields: &Fields<'a>, env: &dyn SecretSource) -> Result<&'a str, Misconfigured> {
    match fields.text("universe_domain")? {
        None | Some(UNIVERSE) => Ok(UNIVERSE),
        Some(other) if set(env, "GOOGLE_CLOUD_UNIVERSE_DOMAIN").as_deref() == Some(other) => Ok(other),
        Some(_) => Err(Misconfigured::Universe),
    }
}

/// A service of Google's to which secrets are sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Service {
    OAuth,
    Sts,
    IamCredentials,
}

impl Service {
    fn name(self) -> &'static str {
        match self {
            Self::OAuth => "oauth2",
            Self::Sts => "sts",
            Self::IamCredentials => "iamcredentials",
        }
    }

    /// The address that a file gives under `key`, if it is this service's own in that universe, or this
    /// machine.
    pub(super) fn url(self, key: &'static str, text: &str, universe: &str) -> Result<Url, Misconfigured> {
        let url = Url::parse(text).map_err(|_| Misconfigured::Wrong(key))?;
        let bare = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        let own = url.scheme() == "https" && url.port().is_none() && self.owns(&url, universe);
        if bare && (own || is_loopback(&url) && matches!(url.scheme(), "http" | "https")) {
            Ok(url)
        } else {
            Err(Misconfigured::ForeignHost(key))
        }
    }

    /// `sts.U`, `sts.REGION.U`, `REGION-sts.U`, `ANY.sts.U`, and for Private Service Connect `sts-ANY.p.U`.
    fn owns(self, url: &Url, universe: &str) -> bool {
        let Some(Host::Domain(host)) = url.host() else { return false };
        if matches!(self, Self::OAuth) && universe == UNIVERSE {
            // Where older files lead.
            if matches!(host, "accounts.google.com" | "www.googleapis.com") {
                return true;
            }
        }
        let Some(labels) = host.strip_suffix(universe).and_then(|rest| rest.strip_suffix('.')) else {
            return false;
        };
        let name = self.name();
        let labels: Vec<&str> = labels.split('.').collect();
        match *labels {
            [only] => only == name || only.strip_suffix(name).is_some_and(|region| region.ends_with('-')),
            [private, "p"] => private.strip_prefix(name).is_some_and(|rest| rest.starts_with('-')),
            [first, second] => first == name || second == name,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_its_own_hosts() {
        for (service, url) in [
            (Service::OAuth, "https://oauth2.googleapis.com/token"),
            (Service::OAuth, "https://oauth2.mtls.googleapis.com/token"),
            (Service::OAuth, "https://accounts.google.com/o/oauth2/token"),
            (Service::OAuth, "https://www.googleapis.com/oauth2/v4/token"),
            (Service::OAuth, "http://127.0.0.1:8080/token"),
            (Service::Sts, "https://sts.googleapis.com/v1/token"),
            (Service::Sts, "https://STS.googleapis.com:443/v1/token"),
            (Service::Sts, "https://sts.europe-west1.googleapis.com/v1/token"),
            (Service::Sts, "https://us-east1-sts.googleapis.com/v1/token"),
            (Service::Sts, "https://us-east1.sts.googleapis.com/v1/token"),
            (Service::Sts, "https://sts-mine.p.googleapis.com/v1/token"),
            (Service::IamCredentials, "https://iamcredentials.googleapis.com/v1/x:generateAccessToken"),
            (Service::Sts, "https://localhost/v1/token"),
        ] {
            assert!(service.url("token_url", url, UNIVERSE).is_ok(), "{url}");
        }
        assert!(Service::Sts.url("token_url", "https://sts.example.goog/v1/token", "example.goog").is_ok());
    }

    #[test]
    fn nobody_else_has_them() {
        for url in [
            "https://evil.test/token",
            "http://sts.googleapis.com/v1/token",
            "https://sts.googleapis.com@evil.test/token",
            "https://user@sts.googleapis.com/token",
            "https://sts.googleapis.com.evil.test/token",
            "https://evil.test/sts.googleapis.com",
            "https://stsgoogleapis.com/token",
            "https://evilsts.googleapis.com/token",
            "https://sts.p.evil.googleapis.com/token",
            "https://stsx.p.googleapis.com/token",
            "https://storage.googleapis.com/bucket/token",
            "https://sts.googleapis.com:8443/v1/token",
            "https://sts.googleapis.com/v1/token?x=https://evil.test",
            "https://sts.googleapis.com/v1/token#x",
            "https://sts.googleapis.com./v1/token",
            "https://accounts.google.com/o/oauth2/token",
            "https://sts.example.goog/v1/token",
            "http://169.254.169.254/computeMetadata/v1/",
            "http://metadata.google.internal/computeMetadata/v1/",
            "https://[fe80::1]/token",
            "ftp://127.0.0.1/token",
            "file:///etc/passwd",
        ] {
            let refused = Service::Sts.url("token_url", url, UNIVERSE);
            assert!(matches!(refused, Err(Misconfigured::ForeignHost("token_url"))), "{url}");
        }
        assert!(matches!(
            Service::Sts.url("token_url", "no url", UNIVERSE),
            Err(Misconfigured::Wrong("token_url"))
        ));
    }
}
