//! The OAuth server of `portunus mock serve`.

use std::path::Path;

use portunus_mock::{IdpBuilder, MockIdp, OAuthClient, Preset, User};
use serde_json::{Map, Value};

use super::read;
use crate::args::MockServe;
use crate::exit::Failure;

const SCOPES: [&str; 4] = ["openid", "profile", "email", "offline_access"];

/// What is chosen for it. Its tenants have the same clients and users.
pub(super) fn builder(args: &MockServe) -> Result<IdpBuilder, Failure> {
    let clients = clients(args)?;
    let people = args.user.iter().map(|file| person(file)).collect::<Result<Vec<_>, _>>()?;
    if people.iter().filter(|(_, password)| password.is_none()).count() > 1 {
        return Err(Failure::Usage("one user at most has no `password`: who signs in unasked".to_owned()));
    }
    let issuer = |preset| {
        let builder = clients.iter().cloned().fold(MockIdp::builder().preset(preset), IdpBuilder::client);
        people.iter().cloned().fold(builder, |builder, (user, password)| match password {
            Some(password) => builder.account(user, password),
            None => builder.user(user),
        })
    };
    let builder = issuer(args.preset.unwrap_or(Preset::Oidc));
    let tenants = args.tenant.iter();
    Ok(tenants.fold(builder, |builder, tenant| builder.tenant(&tenant.name, issuer(tenant.preset))))
}

fn clients(args: &MockServe) -> Result<Vec<OAuthClient>, Failure> {
    let scopes = || args.oauth_scope.iter().cloned();
    let client = |named: &crate::args::NamedFile| {
        let mut client = OAuthClient::new(&named.name);
        client = if args.oauth_scope.is_empty() { client.scopes(SCOPES) } else { client.scopes(scopes()) };
        client = args.oauth_redirect.iter().fold(client, |client, uri| client.redirect_uri(uri));
        Ok(match &named.file {
            Some(file) => client.secret(read(file)?),
            None => client,
        })
    };
    args.oauth_client.iter().map(client).collect()
}

/// A user, and the password if there is one.
fn person(file: &Path) -> Result<(User, Option<String>), Failure> {
    let wrong = |says: String| Failure::Usage(format!("{}: {says}", file.display()));
    let mut claims: Map<String, Value> =
        serde_json::from_str(&read(file)?).map_err(|error| wrong(error.to_string()))?;
    let mut text = |name: &str| match claims.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
        Some(_) => Err(wrong(format!("`{name}` is a text that is not empty"))),
    };
    let (subject, password) = (text("sub")?, text("password")?);
    let subject = subject.ok_or_else(|| wrong("a user needs `sub`".to_owned()))?;
    let user = claims.into_iter().fold(User::new(subject), |user, (name, value)| user.claim(name, value));
    Ok((user, password))
}
