//! What is known beforehand of an identity provider: one row of data for each, and no code of its own.
//!
//! Nothing here talks to a vendor. What a token leaves out, such as Google's groups, those beyond Okta's
//! hundredth or Entra's two-hundredth, stays unknown, and what is unknown grants nothing.

mod form;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use form::{Names, SPIFFE_SCHEME};

use crate::jose::Algorithm;

/// `issuers.preset`: which provider it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Preset {
    /// Google accounts and Google Workspace.
    Google,
    /// Okta, by its org server or a custom authorization server.
    Okta,
    /// Microsoft Entra ID, with tokens of version 1 or 2.
    Entra,
    /// Auth0.
    Auth0,
    /// GitLab, its own or self-hosted; people and CI jobs.
    Gitlab,
    /// OneLogin.
    Onelogin,
    /// Jobs of GitHub Actions.
    GithubActions,
    /// Service accounts of a Kubernetes cluster, with projected tokens.
    Kubernetes,
    /// Workloads with a SPIFFE JWT-SVID.
    Spiffe,
    /// Any other that follows OpenID Connect: nothing is known beforehand.
    #[default]
    Oidc,
}

/// How a list of groups is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum ListForm {
    /// A list of texts.
    List,
    /// That, or one text with semicolons between the items.
    ListOrText,
}

/// How far an issuer is believed about e-mail addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum EmailTrust {
    /// Where it says that it verified the address.
    Verified,
    /// That, and only of mailboxes that it hosts: the domain is its own or that of the claim `hd`.
    Hosted,
    /// Never.
    Never,
}

/// How a token says whom it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubjectRule {
    /// By `sub`.
    Sub,
    /// By `tid` and `oid`, as `TID/OID`: `sub` is another one for every application.
    Directory,
    /// By a `sub` of the form `system:serviceaccount:NAMESPACE:NAME`.
    ServiceAccount,
    /// By a `sub` that is a SPIFFE ID of the issuer's trust domain.
    SpiffeId,
}

/// A provider's row. Claims are named by JSON pointer.
#[derive(Debug)]
pub(crate) struct Profile {
    /// Where the groups and the roles are; `None` where no token has them unless somebody set it up.
    pub(crate) groups: Option<&'static str>,
    pub(crate) roles: Option<&'static str>,
    pub(crate) groups_form: ListForm,
    /// Whether the token of who has no groups, or no roles, has no such claim, and that of somebody of whom too
    /// many are left out says so. With others, who has none in the token may have some.
    pub(crate) none_is_absent: bool,
    /// The most groups that the provider puts into a token, without saying that there are more.
    pub(crate) truncated_at: Option<usize>,
    pub(crate) email: EmailTrust,
    /// Claims that its users can choose or take over, by which no policy may tell them apart.
    pub(crate) unfit: &'static [&'static str],
    /// Claims that it drops when somebody sets them up.
    pub(crate) dropped: &'static [&'static str],
    /// Claims of which a policy that grants must ask for at least one: always, or where it asks for one of the
    /// names below or for a subject that is no number.
    pub(crate) anchors: &'static [&'static str],
    /// Claims with names that can be given to others.
    pub(crate) names: &'static [&'static str],
    /// The claims that name the client that the token was issued to.
    pub(crate) party_claims: &'static [&'static str],
    /// The claim that says which of several tenants.
    pub(crate) tenant_claim: Option<&'static str>,
    pub(crate) subject: SubjectRule,
    /// Claims without which it is another kind of token.
    pub(crate) required: &'static [&'static str],
    pub(crate) algorithms: &'static [Algorithm],
    pub(crate) max_token_age: Duration,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);

const OIDC: Profile = Profile {
    groups: Some("/groups"),
    roles: Some("/roles"),
    groups_form: ListForm::List,
    none_is_absent: false,
    truncated_at: None,
    email: EmailTrust::Verified,
    unfit: &[],
    dropped: &[],
    anchors: &[],
    names: &[],
    party_claims: &["azp"],
    tenant_claim: None,
    subject: SubjectRule::Sub,
    required: &[],
    algorithms: &Algorithm::DEFAULT,
    max_token_age: DAY,
};

const RS256: &[Algorithm] = &[Algorithm::Rs256];

/// Of a Google account with another provider's mailbox, `email_verified` says that it could be read once;
/// who may read it today is that provider's business. `hd` names the Workspace that the account is of.
const GOOGLE: Profile = Profile {
    groups: None,
    roles: None,
    email: EmailTrust::Hosted,
    tenant_claim: Some("/hd"),
    algorithms: RS256,
    ..OIDC
};

const OKTA: Profile = Profile { truncated_at: Some(100), algorithms: RS256, ..OIDC };

/// An address, a `upn` and the like are whatever a directory's administrator writes into them.
const ENTRA: Profile = Profile {
    email: EmailTrust::Never,
    unfit: &["/email", "/preferred_username", "/unique_name", "/upn", "/name"],
    tenant_claim: Some("/tid"),
    subject: SubjectRule::Directory,
    required: &["/tid", "/oid", "/ver"],
    none_is_absent: true,
    party_claims: &["azp", "appid"],
    algorithms: RS256,
    ..OIDC
};

/// Only namespaced claims, such as `https://app.example/roles`, get into a token.
const AUTH0: Profile = Profile {
    groups: None,
    roles: None,
    dropped: &["/groups", "/roles"],
    algorithms: &[Algorithm::Rs256, Algorithm::Ps256],
    ..OIDC
};

/// The full `groups` are in userinfo only. People are numbers; jobs are named by paths, which change hands.
const GITLAB: Profile = Profile {
    groups: Some("/groups_direct"),
    roles: None,
    anchors: &["/project_id", "/namespace_id", "/user_id"],
    names: &["/project_path", "/namespace_path", "/user_login", "/ci_config_ref_uri"],
    algorithms: RS256,
    ..OIDC
};

const ONELOGIN: Profile = Profile { groups_form: ListForm::ListOrText, algorithms: RS256, ..OIDC };

/// Names of repositories and owners change hands; their ids do not. A token is for one job, and lasts
/// minutes.
const GITHUB_ACTIONS: Profile = Profile {
    groups: None,
    roles: None,
    email: EmailTrust::Never,
    anchors: &["/repository_id", "/repository_owner_id", "/enterprise_id"],
    required: &["/repository_id", "/repository_owner_id"],
    algorithms: RS256,
    max_token_age: HOUR,
    ..OIDC
};

/// Tokens that are not bound to a pod or a service account, which live in secrets for ever, have no
/// `kubernetes.io` (and no `exp`).
const KUBERNETES: Profile = Profile {
    groups: None,
    roles: None,
    email: EmailTrust::Never,
    subject: SubjectRule::ServiceAccount,
    required: &["/kubernetes.io/namespace", "/kubernetes.io/serviceaccount/name"],
    algorithms: &[Algorithm::Rs256, Algorithm::Es256, Algorithm::Es384, Algorithm::Es512],
    ..OIDC
};

/// JWT-SVID sections 2 and 3: EdDSA is not among its algorithms.
const SPIFFE: Profile = Profile {
    groups: None,
    roles: None,
    email: EmailTrust::Never,
    subject: SubjectRule::SpiffeId,
    algorithms: &[
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::Es512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
    ],
    ..OIDC
};

impl Preset {
    /// What is known of it.
    pub(crate) fn profile(self) -> &'static Profile {
        match self {
            Self::Google => &GOOGLE,
            Self::Okta => &OKTA,
            Self::Entra => &ENTRA,
            Self::Auth0 => &AUTH0,
            Self::Gitlab => &GITLAB,
            Self::Onelogin => &ONELOGIN,
            Self::GithubActions => &GITHUB_ACTIONS,
            Self::Kubernetes => &KUBERNETES,
            Self::Spiffe => &SPIFFE,
            Self::Oidc => &OIDC,
        }
    }
}
