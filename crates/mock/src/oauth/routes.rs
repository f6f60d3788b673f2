//! Which endpoint is where. Discovery and dispatch read the same table, so that what is advertised is
//! served.

use super::preset::{ClaimRule, Profile};

/// What an identity provider serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Metadata,
    /// Entra's for users of any directory: the issuer has a placeholder for it.
    SharedMetadata,
    Jwks,
    Authorize,
    Token,
    Userinfo,
    DeviceAuthorization,
    DevicePage,
    Introspect,
    Revoke,
    EndSession,
    Register,
    /// What GitHub tells of the user.
    GitHubApi,
    /// Tells GitHub's clients whose a token is.
    GitHubCheck,
    /// Exchanges a GitHub token for one of Copilot.
    Copilot,
    /// Hands out the identity tokens of a GitHub Actions job.
    JobToken,
    /// Hands out ID tokens to whoever asks on this machine.
    Mint,
}

impl Endpoint {
    /// Whether scripts of other origins may call it: not what is for people, or for this machine.
    pub(super) fn is_for_scripts(self) -> bool {
        !matches!(self, Self::Authorize | Self::DevicePage | Self::EndSession | Self::Mint)
    }

    /// Its member of the metadata (OIDC Discovery §3, RFC 8414 §2, RFC 8628 §4).
    pub(super) fn member(self) -> Option<&'static str> {
        match self {
            Self::Jwks => Some("jwks_uri"),
            Self::Authorize => Some("authorization_endpoint"),
            Self::Token => Some("token_endpoint"),
            Self::Userinfo => Some("userinfo_endpoint"),
            Self::DeviceAuthorization => Some("device_authorization_endpoint"),
            Self::Introspect => Some("introspection_endpoint"),
            Self::Revoke => Some("revocation_endpoint"),
            Self::EndSession => Some("end_session_endpoint"),
            Self::Register => Some("registration_endpoint"),
            Self::Metadata
            | Self::SharedMetadata
            | Self::DevicePage
            | Self::GitHubApi
            | Self::GitHubCheck
            | Self::Copilot
            | Self::JobToken
            | Self::Mint => None,
        }
    }
}

/// The endpoints of one issuer. Paths begin at the root of the port.
#[derive(Debug)]
pub(super) struct Routes {
    origin: String,
    pub(super) issuer: String,
    paths: Vec<(Endpoint, String)>,
}

/// Where OAuth servers of no particular kind have their endpoints.
pub(super) const PLAIN: &[(Endpoint, &str)] = &[
    (Endpoint::Jwks, "/jwks.json"),
    (Endpoint::Authorize, "/authorize"),
    (Endpoint::Token, "/token"),
    (Endpoint::Userinfo, "/userinfo"),
    (Endpoint::DeviceAuthorization, "/device_authorization"),
    (Endpoint::DevicePage, "/device"),
    (Endpoint::Introspect, "/introspect"),
    (Endpoint::Revoke, "/revoke"),
    (Endpoint::EndSession, "/end_session"),
    (Endpoint::Register, "/register"),
];

impl Routes {
    /// Those of a provider, all of them below `origin` + `base`.
    pub(super) fn new(origin: &str, base: &str, profile: &Profile) -> Self {
        let issuer = format!("{base}{}", profile.issuer);
        let endpoints = profile.endpoints.iter();
        let mut paths: Vec<_> =
            endpoints.map(|(endpoint, path)| (*endpoint, format!("{base}{path}"))).collect();
        if profile.metadata {
            let stem = issuer.trim_end_matches('/');
            let server = "/.well-known/oauth-authorization-server";
            // RFC 8414 §3.1 inserts the well-known path before the issuer's own, OpenID Connect appends it.
            let metadata = [
                format!("{stem}/.well-known/openid-configuration"),
                format!("{stem}{server}"),
                format!("{server}{stem}"),
            ];
            paths.extend(metadata.map(|path| (Endpoint::Metadata, path)));
            if profile.claims == ClaimRule::Entra {
                let shared = ["common", "organizations"];
                let path = |name| format!("/{name}/v2.0/.well-known/openid-configuration");
                paths.extend(shared.map(|name| (Endpoint::SharedMetadata, path(name))));
            }
            paths.push((Endpoint::Mint, format!("{stem}/__mock/id_token")));
        }
        Self { issuer: format!("{origin}{issuer}"), origin: origin.to_owned(), paths }
    }

    pub(super) fn find(&self, path: &str) -> Option<Endpoint> {
        self.paths.iter().find(|(_, known)| is_at(known, path)).map(|(endpoint, _)| *endpoint)
    }

    pub(super) fn path(&self, endpoint: Endpoint) -> Option<&str> {
        self.paths.iter().find(|(known, _)| *known == endpoint).map(|(_, path)| &**path)
    }

    pub(super) fn url(&self, endpoint: Endpoint) -> Option<String> {
        Some(format!("{}{}", self.origin, self.path(endpoint)?))
    }

    /// The members of the metadata that name addresses.
    pub(super) fn members(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.paths
            .iter()
            .filter_map(|(endpoint, path)| Some((endpoint.member()?, format!("{}{path}", self.origin))))
    }
}

/// Whether that is the path; a segment in braces may be anything.
fn is_at(known: &str, path: &str) -> bool {
    let fits = |(known, given): (&str, &str)| known == given || known.starts_with('{');
    known.split('/').count() == path.split('/').count() && known.split('/').zip(path.split('/')).all(fits)
}
