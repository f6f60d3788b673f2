//! In what the large identity providers differ from one that follows the book: a row for each.

use http::StatusCode;
use serde::Deserialize;

use super::client::GrantType::{self, AuthorizationCode, ClientCredentials, DeviceCode, RefreshToken};
use super::keys::Algorithm;
use super::routes::{Endpoint, PLAIN};
use super::user::User;

/// An identity provider to imitate: its paths, what it does not serve, and its known quirks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Preset {
    /// One that follows the standards in everything.
    #[default]
    Oidc,
    /// Google: refresh tokens only with `access_type=offline`, `verification_url` in the device flow, no
    /// groups.
    Google,
    /// Okta's custom authorization server `default`: at most 100 groups, and nobody says that there are
    /// more.
    Okta,
    /// Entra ID, v2.0: another `sub` for every application, no groups beyond the two-hundredth, and no
    /// `resource`.
    Entra,
    /// Auth0: an issuer that ends with a slash, `audience` in place of `resource`, bare `groups` and the
    /// like dropped.
    Auth0,
    /// OAuth apps of GitHub: not OpenID Connect, and errors have status 200.
    GitHub,
    /// GitLab: `groups_direct` in ID tokens, `groups` at `/oauth/userinfo`.
    GitLab,
    /// OneLogin: groups with the scope `groups` only.
    OneLogin,
    /// The issuer of the identity tokens of GitHub Actions: no sign-in, and the caller names the audience.
    #[serde(rename = "github-actions")]
    GitHubActions,
}

/// Where refresh tokens come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offline {
    /// Every consent gives one.
    Always,
    /// With the scope `offline_access`.
    Scope,
    /// With the parameter `access_type=offline`.
    AccessType,
    Never,
}

/// How an audience is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AudienceRule {
    /// With `resource` (RFC 8707).
    Resource,
    /// With `audience`.
    Audience,
    /// By scopes; `resource` is refused.
    Scope,
}

/// What access tokens look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AccessForm {
    /// RFC 9068.
    Jwt,
    /// Text that nobody can read, with that prefix.
    Opaque(&'static str),
    /// A JWT for who asked for an audience, and otherwise opaque.
    JwtForAudience,
}

/// How claims differ from what is known of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClaimRule {
    Plain,
    Google,
    Okta,
    Entra,
    Auth0,
    GitHub,
    GitLab,
    OneLogin,
}

/// A provider's row. Paths follow the base, which is that of the tenant.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) issuer: &'static str,
    pub(super) endpoints: &'static [(Endpoint, &'static str)],
    /// Whether it describes itself.
    pub(super) metadata: bool,
    pub(super) grants: &'static [GrantType],
    pub(super) algorithms: &'static [Algorithm],
    pub(super) offline: Offline,
    pub(super) audience: AudienceRule,
    pub(super) access: AccessForm,
    pub(super) claims: ClaimRule,
    pub(super) needs_pkce: bool,
    /// The audience of access tokens, unless one is chosen.
    pub(super) own_audience: &'static str,
    /// Whether a token can be revoked by whoever has it.
    pub(super) anybody_revokes: bool,
    /// The name of the page's address in a device authorization response.
    pub(super) verification_member: &'static str,
    /// The status of `authorization_pending` and `slow_down`.
    pub(super) poll_status: StatusCode,
    pub(super) denied_status: StatusCode,
}

const RS256: &[Algorithm] = &[Algorithm::Rs256];

const OIDC: Profile = Profile {
    issuer: "",
    endpoints: PLAIN,
    metadata: true,
    grants: &GrantType::ALL,
    algorithms: &Algorithm::ALL,
    offline: Offline::Always,
    audience: AudienceRule::Resource,
    access: AccessForm::Jwt,
    claims: ClaimRule::Plain,
    needs_pkce: true,
    own_audience: "portunus-mock",
    anybody_revokes: false,
    verification_member: "verification_uri",
    poll_status: StatusCode::BAD_REQUEST,
    denied_status: StatusCode::BAD_REQUEST,
};

/// <https://developers.google.com/identity/protocols/oauth2/limited-input-device>,
/// <https://developers.google.com/identity/protocols/oauth2/web-server>
const GOOGLE: Profile = Profile {
    endpoints: &[
        (Endpoint::Authorize, "/o/oauth2/v2/auth"),
        (Endpoint::Token, "/token"),
        (Endpoint::Jwks, "/oauth2/v3/certs"),
        (Endpoint::Userinfo, "/v1/userinfo"),
        (Endpoint::DeviceAuthorization, "/device/code"),
        (Endpoint::DevicePage, "/device"),
        (Endpoint::Revoke, "/revoke"),
    ],
    grants: &[AuthorizationCode, RefreshToken, DeviceCode],
    algorithms: RS256,
    offline: Offline::AccessType,
    access: AccessForm::Opaque("ya29.mock-"),
    claims: ClaimRule::Google,
    needs_pkce: false,
    anybody_revokes: true,
    verification_member: "verification_url",
    poll_status: StatusCode::PRECONDITION_REQUIRED,
    denied_status: StatusCode::FORBIDDEN,
    ..OIDC
};

const OKTA: Profile = Profile {
    issuer: "/oauth2/default",
    endpoints: &[
        (Endpoint::Authorize, "/oauth2/default/v1/authorize"),
        (Endpoint::Token, "/oauth2/default/v1/token"),
        (Endpoint::Jwks, "/oauth2/default/v1/keys"),
        (Endpoint::Userinfo, "/oauth2/default/v1/userinfo"),
        (Endpoint::Introspect, "/oauth2/default/v1/introspect"),
        (Endpoint::Revoke, "/oauth2/default/v1/revoke"),
        (Endpoint::EndSession, "/oauth2/default/v1/logout"),
        (Endpoint::DeviceAuthorization, "/oauth2/default/v1/device/authorize"),
        (Endpoint::DevicePage, "/activate"),
        (Endpoint::Register, "/oauth2/v1/clients"),
    ],
    algorithms: RS256,
    offline: Offline::Scope,
    own_audience: "api://default",
    claims: ClaimRule::Okta,
    ..OIDC
};

/// The base is the directory's id.
const ENTRA: Profile = Profile {
    issuer: "/v2.0",
    endpoints: &[
        (Endpoint::Authorize, "/oauth2/v2.0/authorize"),
        (Endpoint::Token, "/oauth2/v2.0/token"),
        (Endpoint::Jwks, "/discovery/v2.0/keys"),
        (Endpoint::Userinfo, "/oidc/userinfo"),
        (Endpoint::DeviceAuthorization, "/oauth2/v2.0/devicecode"),
        (Endpoint::DevicePage, "/device"),
        (Endpoint::EndSession, "/oauth2/v2.0/logout"),
    ],
    grants: &[AuthorizationCode, RefreshToken, ClientCredentials, DeviceCode, GrantType::JwtBearer],
    algorithms: RS256,
    offline: Offline::Scope,
    audience: AudienceRule::Scope,
    claims: ClaimRule::Entra,
    needs_pkce: false,
    ..OIDC
};

const AUTH0: Profile = Profile {
    issuer: "/",
    endpoints: &[
        (Endpoint::Authorize, "/authorize"),
        (Endpoint::Token, "/oauth/token"),
        (Endpoint::Jwks, "/.well-known/jwks.json"),
        (Endpoint::Userinfo, "/userinfo"),
        (Endpoint::DeviceAuthorization, "/oauth/device/code"),
        (Endpoint::DevicePage, "/activate"),
        (Endpoint::Revoke, "/oauth/revoke"),
        (Endpoint::EndSession, "/oidc/logout"),
        (Endpoint::Register, "/oidc/register"),
    ],
    grants: &[AuthorizationCode, RefreshToken, ClientCredentials, DeviceCode],
    algorithms: RS256,
    offline: Offline::Scope,
    audience: AudienceRule::Audience,
    access: AccessForm::JwtForAudience,
    claims: ClaimRule::Auth0,
    needs_pkce: false,
    poll_status: StatusCode::FORBIDDEN,
    denied_status: StatusCode::FORBIDDEN,
    ..OIDC
};

/// <https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps>
const GITHUB: Profile = Profile {
    endpoints: &[
        (Endpoint::Authorize, "/login/oauth/authorize"),
        (Endpoint::Token, "/login/oauth/access_token"),
        (Endpoint::DeviceAuthorization, "/login/device/code"),
        (Endpoint::DevicePage, "/login/device"),
        (Endpoint::GitHubApi, "/user"),
        (Endpoint::GitHubApi, "/user/emails"),
        (Endpoint::GitHubApi, "/user/orgs"),
        (Endpoint::GitHubApi, "/user/teams"),
        (Endpoint::Copilot, "/copilot_internal/v2/token"),
        (Endpoint::GitHubCheck, "/applications/{client_id}/token"),
    ],
    metadata: false,
    grants: &[AuthorizationCode, DeviceCode],
    offline: Offline::Never,
    access: AccessForm::Opaque("gho_mock"),
    claims: ClaimRule::GitHub,
    needs_pkce: false,
    poll_status: StatusCode::OK,
    denied_status: StatusCode::OK,
    ..OIDC
};

const GITLAB: Profile = Profile {
    endpoints: &[
        (Endpoint::Authorize, "/oauth/authorize"),
        (Endpoint::Token, "/oauth/token"),
        (Endpoint::Jwks, "/oauth/discovery/keys"),
        (Endpoint::Userinfo, "/oauth/userinfo"),
        (Endpoint::Introspect, "/oauth/introspect"),
        (Endpoint::Revoke, "/oauth/revoke"),
        (Endpoint::DeviceAuthorization, "/oauth/authorize_device"),
        (Endpoint::DevicePage, "/oauth/device"),
    ],
    grants: &[AuthorizationCode, RefreshToken, ClientCredentials, DeviceCode],
    algorithms: RS256,
    access: AccessForm::Opaque("gitlab-mock-"),
    claims: ClaimRule::GitLab,
    needs_pkce: false,
    ..OIDC
};

const ONELOGIN: Profile = Profile {
    issuer: "/oidc/2",
    endpoints: &[
        (Endpoint::Authorize, "/oidc/2/auth"),
        (Endpoint::Token, "/oidc/2/token"),
        (Endpoint::Jwks, "/oidc/2/certs"),
        (Endpoint::Userinfo, "/oidc/2/me"),
        (Endpoint::Introspect, "/oidc/2/token/introspection"),
        (Endpoint::Revoke, "/oidc/2/token/revocation"),
        (Endpoint::EndSession, "/oidc/2/logout"),
    ],
    grants: &[AuthorizationCode, RefreshToken, ClientCredentials],
    algorithms: RS256,
    claims: ClaimRule::OneLogin,
    needs_pkce: false,
    ..OIDC
};

const GITHUB_ACTIONS: Profile = Profile {
    endpoints: &[(Endpoint::Jwks, "/.well-known/jwks"), (Endpoint::JobToken, "/idtoken")],
    grants: &[],
    algorithms: RS256,
    offline: Offline::Never,
    ..OIDC
};

impl Preset {
    pub(super) fn profile(self) -> &'static Profile {
        match self {
            Self::Oidc => &OIDC,
            Self::Google => &GOOGLE,
            Self::Okta => &OKTA,
            Self::Entra => &ENTRA,
            Self::Auth0 => &AUTH0,
            Self::GitHub => &GITHUB,
            Self::GitLab => &GITLAB,
            Self::OneLogin => &ONELOGIN,
            Self::GitHubActions => &GITHUB_ACTIONS,
        }
    }

    /// Who signs in, unless somebody else is chosen.
    pub(super) fn user(self) -> User {
        let user = User::default();
        match self {
            Self::Google => user.claim("hd", "example.com"),
            Self::Entra => user.claim("oid", "00000000-0000-0000-0000-00000000a11c"),
            Self::GitHub => user
                .claim("id", 1)
                .claim("login", "mock-user")
                .claim("orgs", vec!["mock-org"])
                .claim("teams", vec!["mock-org/eng"]),
            Self::GitHubActions => User::new("repo:mock-org/mock-repo:ref:refs/heads/main")
                .claim("repository", "mock-org/mock-repo")
                .claim("repository_id", "1")
                .claim("repository_owner", "mock-org")
                .claim("repository_owner_id", "2")
                .claim("ref", "refs/heads/main")
                .claim("event_name", "push")
                .claim("workflow_ref", "mock-org/mock-repo/.github/workflows/ci.yml@refs/heads/main")
                .claim("job_workflow_ref", "mock-org/mock-repo/.github/workflows/ci.yml@refs/heads/main")
                .claim("runner_environment", "github-hosted"),
            _ => user,
        }
    }
}
