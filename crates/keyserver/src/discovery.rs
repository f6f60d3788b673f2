//! What an issuer's discovery document says, read strictly (OpenID Connect Discovery 1.0 section 4).

use portunus_auth_core::endpoint::is_loopback;
use serde_json::Value;
use url::Url;

use crate::fetch::issuer_url;
use crate::json;

/// The longest document that is looked at, in bytes.
pub(crate) const MAX_DISCOVERY: usize = 100 * 1024;

/// An issuer's discovery document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    jwks_uri: Url,
}

/// Why a discovery document is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadDiscovery {
    /// Over 100 KiB.
    #[error("the discovery document is too large")]
    TooLarge,
    /// Not a strict JSON object.
    #[error("the discovery document is malformed")]
    Malformed,
    /// It is about another issuer, whose keys would otherwise count as this one's (section 4.3).
    #[error("the discovery document names another issuer")]
    OtherIssuer,
    /// It does not say where the keys are, or names an address that documents are not fetched from.
    #[error("the discovery document has no usable jwks_uri")]
    NoKeys,
    /// A remote issuer may not send us to our own machine.
    #[error("the discovery document points to the local machine")]
    LocalMachine,
}

impl Discovery {
    /// Reads the document of the issuer with this `iss`, character by character.
    ///
    /// # Errors
    /// [`BadDiscovery`].
    pub fn parse(text: &[u8], issuer: &str) -> Result<Self, BadDiscovery> {
        if text.len() > MAX_DISCOVERY {
            return Err(BadDiscovery::TooLarge);
        }
        let document = json::object(text).ok_or(BadDiscovery::Malformed)?;
        if document.get("issuer").and_then(Value::as_str) != Some(issuer) {
            return Err(BadDiscovery::OtherIssuer);
        }
        let jwks_uri =
            document.get("jwks_uri").and_then(Value::as_str).and_then(|text| issuer_url(text).ok());
        let jwks_uri = jwks_uri.ok_or(BadDiscovery::NoKeys)?;
        let is_local = Url::parse(issuer).is_ok_and(|issuer| is_loopback(&issuer));
        if is_loopback(&jwks_uri) && !is_local {
            return Err(BadDiscovery::LocalMachine);
        }
        Ok(Self { jwks_uri })
    }

    /// Where the issuer's keys are: an https URL, or http on this machine. Whether the host may be asked is not
    /// known from its name.
    pub fn jwks_uri(&self) -> &Url {
        &self.jwks_uri
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_leads_to_keys_and_not_to_this_machine() {
        let read = |issuer: &str, jwks_uri: &str| {
            let document = serde_json::json!({"issuer": issuer, "jwks_uri": jwks_uri}).to_string();
            Discovery::parse(document.as_bytes(), issuer).map(|document| document.jwks_uri().to_string())
        };
        let (remote, local) = ("https://idp.example/a", "http://127.0.0.1:9000");
        assert_eq!(read(remote, "https://keys.example/k").unwrap(), "https://keys.example/k");
        for here in ["http://127.0.0.1/k", "http://localhost:1/k", "https://localhost/k", "https://[::1]/k"] {
            assert_eq!(read(remote, here), Err(BadDiscovery::LocalMachine), "{here}");
            assert!(read(local, here).is_ok(), "{here}");
        }
        for unfit in [
            "http://idp.example/k",
            "https://idp.example/k?",
            "file:///k",
            "/k",
            "",
            "https://a@idp.example/k",
        ] {
            assert_eq!(read(remote, unfit), Err(BadDiscovery::NoKeys), "{unfit}");
        }
        let more = |issuer: &str, more: &str| {
            let text = format!(r#"{{"issuer":{issuer},"jwks_uri":"https://idp.example/k"{more}}}"#);
            Discovery::parse(text.as_bytes(), "https://idp.example").map(drop)
        };
        assert_eq!(more(r#""https://idp.example""#, r#","x":{}"#), Ok(()));
        for other in
            [r#""https://idp.example/""#, r#""https://IDP.example""#, r#"["https://idp.example"]"#, "null"]
        {
            assert_eq!(more(other, ""), Err(BadDiscovery::OtherIssuer), "{other}");
        }
        let twice = r#","issuer":"https://idp.example""#;
        assert_eq!(more(r#""https://idp.example""#, twice), Err(BadDiscovery::Malformed));
        let long = format!(r#","x":"{}""#, "x".repeat(MAX_DISCOVERY));
        assert_eq!(more(r#""https://idp.example""#, &long), Err(BadDiscovery::TooLarge));
    }
}
