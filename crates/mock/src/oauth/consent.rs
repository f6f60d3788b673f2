//! What a user has agreed to. Codes, device codes and refresh tokens stand for it.

use std::time::SystemTime;

use url::Url;

use super::Idp;
use super::error::OAuthError;
use super::preset::AudienceRule;
use super::user::User;
use crate::form::Form;

/// A user's consent: for whom, to what, and since when.
#[derive(Clone, Debug)]
pub(super) struct Consent {
    pub(super) client_id: String,
    pub(super) user: User,
    pub(super) scopes: Vec<String>,
    /// Those of access tokens, if any were asked for (RFC 8707).
    pub(super) audiences: Vec<String>,
    pub(super) authenticated_at: SystemTime,
    /// Whether it outlasts the access token.
    pub(super) offline: bool,
    pub(super) family: u64,
}

impl Consent {
    /// The audiences that a token request asks for: at most those that were agreed to (RFC 8707 §2.2).
    pub(super) fn narrowed(&self, idp: &Idp, form: &Form) -> Result<Vec<String>, OAuthError> {
        let asked = audiences(idp, form)?;
        if asked.is_empty() {
            return Ok(self.audiences.clone());
        }
        if !self.audiences.is_empty() && asked.iter().any(|one| !self.audiences.contains(one)) {
            return Err(OAuthError::new("invalid_target", "the user was not asked for that resource"));
        }
        Ok(asked)
    }
}

/// The audiences that a request asks for.
pub(super) fn audiences(idp: &Idp, form: &Form) -> Result<Vec<String>, OAuthError> {
    match idp.settings.profile.audience {
        AudienceRule::Resource => form.all("resource").map(resource).collect(),
        AudienceRule::Audience => Ok(form.all("audience").map(str::to_owned).collect()),
        AudienceRule::Scope if form.get("resource").is_none() => Ok(Vec::new()),
        AudienceRule::Scope => Err(OAuthError::new(
            "invalid_target",
            "AADSTS9010010: the resource parameter does not match the requested scopes",
        )),
    }
}

/// An absolute URI without a fragment (RFC 8707 §2).
fn resource(text: &str) -> Result<String, OAuthError> {
    match Url::parse(text) {
        Ok(url) if url.fragment().is_none() => Ok(text.to_owned()),
        _ => Err(OAuthError::new("invalid_target", "`resource` must be an absolute URI without a fragment")),
    }
}
