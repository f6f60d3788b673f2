//! What tokens tell of a user, as each provider words it.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::Idp;
use super::preset::ClaimRule;
use super::user::User;

/// As many groups as Okta puts into a token.
const OKTA_GROUPS: usize = 100;
/// Beyond so many Entra names none.
const ENTRA_GROUPS: usize = 200;

/// The subject that a user has for a client.
pub(super) fn subject(idp: &Idp, client_id: &str, user: &User) -> String {
    if idp.settings.profile.claims != ClaimRule::Entra {
        return user.subject.clone();
    }
    URL_SAFE_NO_PAD.encode(digest(&SHA256, format!("{client_id} {}", user.subject).as_bytes()))
}

/// What an ID token tells.
pub(super) fn of_id_token(idp: &Idp, user: &User, scopes: &[String]) -> Map<String, Value> {
    let mut claims = user.claims(scopes);
    match idp.settings.profile.claims {
        ClaimRule::Plain | ClaimRule::GitHub => {}
        ClaimRule::Google => drop(claims.remove("groups")),
        ClaimRule::Okta => {
            if let Some(Value::Array(groups)) = claims.get_mut("groups") {
                groups.truncate(OKTA_GROUPS);
            }
        }
        ClaimRule::Entra => directory(idp, user, &mut claims),
        ClaimRule::Auth0 => without_restricted(&mut claims),
        ClaimRule::GitLab => {
            let all = claims.remove("groups");
            if let Some(all) = all.filter(|_| !claims.contains_key("groups_direct")) {
                claims.insert("groups_direct".to_owned(), all);
            }
        }
        ClaimRule::OneLogin => {
            if !scopes.iter().any(|scope| scope == "groups") {
                claims.remove("groups");
            }
        }
    }
    claims
}

/// What `/userinfo` tells.
pub(super) fn of_userinfo(idp: &Idp, user: &User, scopes: &[String]) -> Map<String, Value> {
    match idp.settings.profile.claims {
        // Its API has scopes of its own.
        ClaimRule::GitHub => user.claims(&["profile", "email"].map(str::to_owned)),
        ClaimRule::GitLab => {
            let mut claims = user.claims(scopes);
            claims.remove("groups_direct");
            claims
        }
        ClaimRule::Entra => {
            let mut claims = user.claims(scopes);
            ["groups", "oid"].iter().for_each(|name| drop(claims.remove(*name)));
            claims
        }
        _ => of_id_token(idp, user, scopes),
    }
}

/// What an access token has beside the usual. `user`: `None` for a client that acts for itself.
pub(super) fn of_access_token(
    idp: &Idp,
    client_id: &str,
    user: Option<&User>,
    scope: &str,
) -> Map<String, Value> {
    let mut claims = Map::new();
    match (idp.settings.profile.claims, user) {
        (ClaimRule::Okta, user) => {
            claims.insert("cid".to_owned(), client_id.into());
            claims.insert("scp".to_owned(), scope.split(' ').collect());
            if let Some(user) = user {
                claims.insert("uid".to_owned(), user.subject.clone().into());
            }
        }
        (ClaimRule::Entra, Some(user)) => {
            directory(idp, user, &mut claims);
            claims.insert("azp".to_owned(), client_id.into());
            claims.insert("scp".to_owned(), scope.into());
        }
        (ClaimRule::Entra, None) => {
            directory(idp, &User::new(client_id), &mut claims);
            claims.insert("azp".to_owned(), client_id.into());
            claims.insert("idtyp".to_owned(), "app".into());
        }
        (ClaimRule::Auth0, _) => drop(claims.insert("azp".to_owned(), client_id.into())),
        _ => {}
    }
    claims
}

/// Entra's `tid`, `oid` and `ver`, and where the groups are when they are too many.
fn directory(idp: &Idp, user: &User, claims: &mut Map<String, Value>) {
    claims.insert("ver".to_owned(), "2.0".into());
    claims.insert("tid".to_owned(), idp.settings.directory.clone().into());
    claims.insert("oid".to_owned(), user.get("oid").cloned().unwrap_or_else(|| user.subject.clone().into()));
    let too_many = claims.get("groups").and_then(Value::as_array).is_some_and(|all| all.len() > ENTRA_GROUPS);
    if too_many {
        claims.remove("groups");
        claims.insert("_claim_names".to_owned(), json!({"groups": "src1"}));
        let endpoint = format!("https://graph.microsoft.com/v1.0/users/{}/getMemberObjects", user.subject);
        claims.insert("_claim_sources".to_owned(), json!({"src1": {"endpoint": endpoint}}));
    }
}

/// Auth0 drops these without a word; namespaced ones stay.
fn without_restricted(claims: &mut Map<String, Value>) {
    ["groups", "roles", "permissions", "org_id"].iter().for_each(|name| drop(claims.remove(*name)));
}
