//! What an issuer's name looks like, the other names that it goes by, and where its keys are.

use std::collections::BTreeMap;

use portunus_auth_core::TenantId;
use url::Url;

use super::Preset;
use crate::naming::{IssuedAs, is_guid, is_trust_domain};

const ENTRA: &str = "login.microsoftonline.com";

/// Entra's hosts: the public cloud's, and those of the United States' government and of China.
const ENTRA_HOSTS: [&str; 3] = [ENTRA, "login.microsoftonline.us", "login.partner.microsoftonline.cn"];

/// The scheme of SPIFFE IDs.
pub(crate) const SPIFFE_SCHEME: &str = "spiffe://";

/// The names that an issuer goes by.
#[derive(Debug)]
pub(crate) struct Names {
    /// As its tokens may name it; the configured name first.
    pub(crate) all: Vec<IssuedAs>,
    /// Where its keys are, where that is not for its discovery document to say.
    pub(crate) jwks_uri: Option<String>,
}

impl Names {
    fn one(issuer: &str) -> Self {
        Self { all: vec![IssuedAs::plain(issuer)], jwks_uri: None }
    }
}

impl Preset {
    /// The names of the issuer that is configured as this, for the directories that are listed.
    ///
    /// # Errors
    /// What it should look like.
    pub(crate) fn names(
        self,
        issuer: &str,
        tenants: Option<&BTreeMap<String, TenantId>>,
    ) -> Result<Names, &'static str> {
        let looks_right = |right: bool, says: &'static str| {
            if right { Ok(Names::one(issuer)) } else { Err(says) }
        };
        let path = Url::parse(issuer).map(|url| url.path().to_owned()).unwrap_or_default();
        match self {
            Self::Google if issuer == "https://accounts.google.com" => {
                let mut names = Names::one(issuer);
                // OpenID Connect Core section 15.6.2.
                names.all.push(IssuedAs::plain("accounts.google.com"));
                Ok(names)
            }
            Self::Google => Err("Google's issuer is https://accounts.google.com"),
            Self::Okta => {
                let id = issuer.split_once("/oauth2/").map_or("default", |(_, id)| id);
                let right = !issuer.ends_with('/')
                    && (path == "/" || path == format!("/oauth2/{id}"))
                    && !id.is_empty()
                    && !id.contains('/');
                looks_right(
                    right,
                    "Okta's issuers are https://HOST and https://HOST/oauth2/ID, without a slash at the end",
                )
            }
            Self::Entra => entra(issuer, tenants),
            Self::Auth0 => looks_right(
                path == "/" && issuer.ends_with('/'),
                "Auth0's issuer is https://HOST/, with the slash at the end",
            ),
            Self::Gitlab => looks_right(!issuer.ends_with('/'), "GitLab's issuer has no slash at the end"),
            Self::Onelogin => looks_right(path == "/oidc/2", "OneLogin's issuer is https://HOST/oidc/2"),
            Self::GithubActions => {
                let rest = issuer.strip_prefix("https://token.actions.githubusercontent.com");
                let hosted = rest.is_some_and(|rest| {
                    rest.is_empty()
                        || rest.strip_prefix('/').is_some_and(|e| !e.is_empty() && !e.contains('/'))
                });
                looks_right(
                    hosted || path == "/_services/token",
                    "the issuer is https://token.actions.githubusercontent.com, that with the name of an enterprise \
                     below it, or https://HOST/_services/token of an Enterprise Server",
                )
            }
            Self::Spiffe => match issuer.strip_prefix(SPIFFE_SCHEME) {
                Some(domain) => looks_right(
                    is_trust_domain(domain),
                    "a trust domain has letters a-z, digits, dots, hyphens and underscores",
                ),
                None => Ok(Names::one(issuer)),
            },
            Self::Kubernetes | Self::Oidc => Ok(Names::one(issuer)),
        }
    }
}

/// Tokens of version 1 and 2 are signed by the same keys.
fn entra(issuer: &str, tenants: Option<&BTreeMap<String, TenantId>>) -> Result<Names, &'static str> {
    const FORM: &str = "Entra's issuers are https://login.microsoftonline.com/DIRECTORY/v2.0, with the directory's \
                        id in lower case, or `organizations` or `common` and a table of directories as `tenant`, and \
                        https://sts.windows.net/DIRECTORY/";
    let v1 = issuer.strip_prefix("https://sts.windows.net/").and_then(|rest| rest.strip_suffix('/'));
    let v2 = || issuer.strip_prefix("https://")?.strip_suffix("/v2.0")?.split_once('/');
    let (host, directory) = v1.map(|directory| (ENTRA, directory)).or_else(v2).ok_or(FORM)?;
    let listed: Vec<&str> =
        tenants.into_iter().flat_map(|tenants| tenants.keys().map(String::as_str)).collect();
    let directories = match directory {
        // Whoever has a directory of their own could sign in.
        "organizations" | "common" => listed.clone(),
        one if is_guid(one) => vec![one],
        _ => return Err(FORM),
    };
    if !ENTRA_HOSTS.contains(&host) || directories.is_empty() {
        return Err(FORM);
    }
    if !listed.iter().all(|listed| is_guid(listed) && directories.contains(listed)) {
        return Err(
            "a directory that is listed as `tenant` is named by its id, in lower case, and is the issuer's",
        );
    }
    let mut all = Vec::new();
    for directory in &directories {
        all.push(IssuedAs::of(format!("https://{host}/{directory}/v2.0"), directory));
        if host == ENTRA {
            all.push(IssuedAs::of(format!("https://sts.windows.net/{directory}/"), directory));
        }
    }
    Ok(Names { all, jwks_uri: Some(format!("https://{host}/{directory}/discovery/v2.0/keys")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
    const B: &str = "00000000-1111-2222-3333-444444444444";

    fn tenants(directories: &[&str]) -> BTreeMap<String, TenantId> {
        directories.iter().map(|id| ((*id).to_owned(), TenantId::new("acme").unwrap())).collect()
    }

    #[test]
    fn each_provider_has_its_form() {
        let actions = "https://token.actions.githubusercontent.com";
        for (preset, issuer) in [
            (Preset::Google, "https://accounts.google.com"),
            (Preset::Okta, "https://a.okta.com"),
            (Preset::Okta, "https://a.okta.com/oauth2/default"),
            (Preset::Auth0, "https://t.auth0.com/"),
            (Preset::Gitlab, "https://gitlab.com"),
            (Preset::Gitlab, "https://dev.example/gitlab"),
            (Preset::Onelogin, "https://acme.onelogin.com/oidc/2"),
            (Preset::GithubActions, actions),
            (Preset::GithubActions, &format!("{actions}/acme")),
            (Preset::GithubActions, "https://ghes.example/_services/token"),
            (Preset::Spiffe, "spiffe://prod.example"),
            (Preset::Spiffe, "https://oidc.example"),
        ] {
            let names = preset.names(issuer, None).unwrap_or_else(|says| panic!("{issuer}: {says}"));
            assert_eq!(names.all[0].iss, issuer);
        }
    }

    #[test]
    fn another_form_is_another_issuer() {
        let actions = "https://token.actions.githubusercontent.com";
        for (preset, issuer) in [
            (Preset::Google, "https://accounts.google.com/"),
            (Preset::Google, "accounts.google.com"),
            (Preset::Google, "https://accounts.google.com.evil.example"),
            (Preset::Okta, "https://a.okta.com/"),
            (Preset::Okta, "https://a.okta.com/oauth2"),
            (Preset::Okta, "https://a.okta.com/oauth2/"),
            (Preset::Okta, "https://a.okta.com/oauth2/a/b"),
            (Preset::Okta, "https://a.okta.com/x/oauth2/default"),
            (Preset::Auth0, "https://t.auth0.com"),
            (Preset::Auth0, "https://t.auth0.com/x/"),
            (Preset::Gitlab, "https://gitlab.com/"),
            (Preset::Onelogin, "https://acme.onelogin.com"),
            (Preset::Onelogin, "https://acme.onelogin.com/oidc/2/"),
            (Preset::GithubActions, &format!("{actions}/")),
            (Preset::GithubActions, &format!("{actions}/a/b")),
            (Preset::GithubActions, &format!("{actions}.evil.example")),
            (Preset::Spiffe, "spiffe://"),
            (Preset::Spiffe, "spiffe://Prod.example"),
            (Preset::Spiffe, "spiffe://prod.example/"),
            (Preset::Spiffe, "spiffe://prod.example:1"),
        ] {
            assert!(preset.names(issuer, None).is_err(), "{preset:?} {issuer}");
        }
    }

    #[test]
    fn entra_names_the_directories_that_are_listed_and_no_others() {
        let names = |issuer: &str, listed: Option<&[&str]>| {
            let tenants = listed.map(tenants);
            Preset::Entra.names(issuer, tenants.as_ref()).map(|names| {
                (names.all.into_iter().map(|name| name.iss).collect::<Vec<_>>(), names.jwks_uri.unwrap())
            })
        };
        let (v2, v1) = (format!("https://{ENTRA}/{A}/v2.0"), format!("https://sts.windows.net/{A}/"));
        let both = vec![v2.clone(), v1.clone()];
        let keys = format!("https://{ENTRA}/{A}/discovery/v2.0/keys");
        assert_eq!(names(&v2, None).unwrap(), (both.clone(), keys.clone()));
        assert_eq!(names(&v1, None).unwrap(), (both, keys));
        let government = format!("https://login.microsoftonline.us/{A}/v2.0");
        assert_eq!(names(&government, None).unwrap().0, vec![government]);
        let (several, keys) = names(&format!("https://{ENTRA}/organizations/v2.0"), Some(&[A, B])).unwrap();
        assert_eq!((several.len(), keys), (4, format!("https://{ENTRA}/organizations/discovery/v2.0/keys")));
        for (issuer, listed) in [
            (format!("https://{ENTRA}/organizations/v2.0"), None),
            (format!("https://{ENTRA}/common/v2.0"), Some(&[][..])),
            (format!("https://{ENTRA}/common/v2.0"), Some(&["common"][..])),
            (format!("https://{ENTRA}/common/v2.0"), Some(&["*"][..])),
            (v2.clone(), Some(&[B][..])),
            (format!("https://{ENTRA}/{}/v2.0", A.to_uppercase()), None),
            (format!("https://{ENTRA}/{{tenantid}}/v2.0"), None),
            (format!("https://{ENTRA}/{A}/v2.0/"), None),
            (format!("https://{ENTRA}/{A}"), None),
            (format!("https://{ENTRA}.evil.example/{A}/v2.0"), None),
            (format!("https://evil.example/{A}/v2.0"), None),
            (format!("https://{ENTRA}/consumers/v2.0"), None),
        ] {
            assert!(names(&issuer, listed).is_err(), "{issuer}");
        }
    }
}
