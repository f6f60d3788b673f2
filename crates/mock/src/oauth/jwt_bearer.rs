//! An assertion of an issuer that is trusted, in exchange for an access token (RFC 7523 §2.1).

use serde_json::Value;

use super::assertion;
use super::error::OAuthError;
use super::token::{Asked, Granted, access_token};

/// The subject of the assertion is that of the token. There is no refresh token (RFC 7521 §4.1).
pub(super) fn jwt_bearer(asked: &Asked<'_>) -> Result<Value, OAuthError> {
    let text = asked.form.get("assertion");
    let text = text.ok_or(OAuthError::new("invalid_request", "`assertion` is missing"))?;
    let claims = asked.idp.trusted_claims(text);
    let claims = claims.ok_or_else(|| OAuthError::grant("no issuer that is trusted signed the assertion"))?;
    assertion::is_for(asked.idp, &claims).map_err(OAuthError::grant)?;
    let subject = claims.get("sub").and_then(Value::as_str);
    let subject = subject.ok_or_else(|| OAuthError::grant("the assertion has no subject"))?;
    Ok(access_token(asked, Granted::alone(asked, subject)?))
}
