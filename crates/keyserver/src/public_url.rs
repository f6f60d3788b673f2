//! Where callers reach the server. What the server says about its addresses comes from here, never from a
//! request's `Host`.

use std::fmt;

use serde::Deserialize;

use crate::fetch::issuer_url;

/// `[server]`, as far as it concerns the key server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Where callers reach the server. Without it, it publishes no metadata (RFC 8414, RFC 9728) and does
    /// not name itself as the issuer of its keys.
    pub public_url: Option<PublicUrl>,
}

/// A server's address as its callers know it: https, or http on the local machine, without user, query,
/// fragment, and slash at its end. It is the issuer of RFC 8414 section 2.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PublicUrl {
    text: String,
    /// Where its path begins, which is its end when it has none.
    path: usize,
}

/// The text cannot be a [`PublicUrl`].
#[derive(Debug, thiserror::Error)]
#[error(
    "a public address is https, or http on the local machine, in its normal form, without user, query, \
     fragment and slash at its end"
)]
pub struct BadPublicUrl;

impl PublicUrl {
    /// Checks the address.
    ///
    /// # Errors
    /// [`BadPublicUrl`].
    pub fn new(text: &str) -> Result<Self, BadPublicUrl> {
        let url = issuer_url(text).map_err(|_| BadPublicUrl)?;
        let path = url.path().trim_end_matches('/');
        // Whoever compares issuers compares characters, so there must be one way to write it.
        if url.as_str().trim_end_matches('/') != text || path.contains("//") {
            return Err(BadPublicUrl);
        }
        Ok(Self { text: text.to_owned(), path: text.len() - path.len() })
    }

    /// The address, by which the server calls itself.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its path: empty, or beginning with a slash.
    pub fn path(&self) -> &str {
        &self.text[self.path..]
    }

    /// The address of a route.
    pub fn at(&self, route: &str) -> String {
        format!("{}{route}", self.text)
    }

    /// The address of a well-known document about it, whose name comes before the path (RFC 8414 section
    /// 3.1, RFC 9728 section 3.1).
    pub fn well_known(&self, name: &str) -> String {
        let (origin, path) = self.text.split_at(self.path);
        format!("{origin}/.well-known/{name}{path}")
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for PublicUrl {
    type Error = BadPublicUrl;

    fn try_from(text: String) -> Result<Self, BadPublicUrl> {
        Self::new(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_way_to_write_an_address() {
        for (text, path) in [
            ("https://llm.example.com", ""),
            ("https://llm.example.com:8443/a/b", "/a/b"),
            ("http://127.0.0.1:4000", ""),
            ("http://[::1]:4000/llm", "/llm"),
        ] {
            assert_eq!(PublicUrl::new(text).unwrap().path(), path, "{text}");
        }
        for text in [
            "",
            "llm.example.com",
            "http://llm.example.com",
            "https://llm.example.com/",
            "https://llm.example.com/a/",
            "https://LLM.example.com",
            "https://llm.example.com:443",
            "https://llm.example.com/a/../b",
            "https://llm.example.com//a",
            "https://user@llm.example.com",
            "https://llm.example.com?x",
            "https://llm.example.com#x",
        ] {
            assert!(PublicUrl::new(text).is_err(), "{text}");
        }
        let url = PublicUrl::new("https://llm.example.com/a").unwrap();
        assert_eq!(url.well_known("x"), "https://llm.example.com/.well-known/x/a");
        assert_eq!(url.at("/oauth/token"), "https://llm.example.com/a/oauth/token");
    }
}
