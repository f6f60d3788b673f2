//! The userinfo endpoint (OIDC Core §5.3) and its challenges (RFC 6750 §3, RFC 9449 §7.1).

use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};
use portunus_auth_core::BearerToken;

use super::Idp;
use super::error::no_store;
use super::ledger::Access;
use super::possession::{Unproven, proven};
use super::routes::Endpoint;
use crate::answer::{self, Answer};
use crate::capture::Recorded;

/// `GET /userinfo` and `POST /userinfo`.
pub(super) fn userinfo(idp: &Idp, request: &Recorded) -> Answer {
    if ![Method::GET, Method::POST].contains(request.method()) {
        return answer::json(StatusCode::METHOD_NOT_ALLOWED, r#"{"error":"invalid_request"}"#);
    }
    let access = match presented(idp, request) {
        Ok(access) => access,
        Err(refusal) => return *refusal,
    };
    if !access.has_scope("openid") {
        let narrow = r#"Bearer realm="portunus-mock", error="insufficient_scope", scope="openid""#;
        return challenge(StatusCode::FORBIDDEN, narrow);
    }
    let mut claims = access.userinfo;
    claims.insert("sub".to_owned(), access.subject.into());
    no_store(answer::json(StatusCode::OK, answer::write(&claims)))
}

/// What the presented access token is good for, or why it is refused. One that is bound to a key has to
/// come with a proof, and one that is not has none.
pub(super) fn presented(idp: &Idp, request: &Recorded) -> Result<Access, Box<Answer>> {
    let unauthorized = |with| Box::new(challenge(StatusCode::UNAUTHORIZED, with));
    let invalid = || unauthorized(r#"Bearer realm="portunus-mock", error="invalid_token""#);
    let Some(header) = request.headers_with_secrets().get(AUTHORIZATION) else {
        return Err(unauthorized(r#"Bearer realm="portunus-mock""#));
    };
    if let Some(token) = BearerToken::from_authorization(header) {
        let access = idp.issued.find(token.expose(), idp.now());
        return access.filter(|access| access.key().is_none()).ok_or_else(invalid);
    }
    let token = BearerToken::with_scheme(header, "DPoP").ok_or_else(invalid)?;
    let key = match proven(idp, request, Endpoint::Userinfo, Some(token.expose())) {
        Ok(Some(key)) => key,
        Ok(None) | Err(Unproven::Wrong(_)) => {
            return Err(unauthorized(r#"DPoP error="invalid_dpop_proof", algs="RS256 ES256 EdDSA""#));
        }
        Err(Unproven::Nonce(nonce)) => {
            let mut answer = unauthorized(r#"DPoP error="use_dpop_nonce", algs="RS256 ES256 EdDSA""#);
            if let Ok(nonce) = HeaderValue::try_from(nonce) {
                answer.headers_mut().insert("dpop-nonce", nonce);
            }
            return Err(answer);
        }
    };
    let access = idp.issued.find(token.expose(), idp.now());
    let access = access.filter(|access| access.key() == Some(&*key));
    access.ok_or_else(|| unauthorized(r#"DPoP error="invalid_token", algs="RS256 ES256 EdDSA""#))
}

fn challenge(status: StatusCode, with: &'static str) -> Answer {
    let mut answer = answer::json(status, "{}");
    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(with));
    answer
}
