//! The userinfo endpoint (OIDC Core §5.3) and its challenges (RFC 6750 §3).

use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};

use super::Idp;
use super::error::no_store;
use crate::answer::{self, Answer};
use crate::capture::{Recorded, bearer};

/// `GET /userinfo` and `POST /userinfo`.
pub(super) fn userinfo(idp: &Idp, request: &Recorded) -> Answer {
    if ![Method::GET, Method::POST].contains(request.method()) {
        return answer::json(StatusCode::METHOD_NOT_ALLOWED, r#"{"error":"invalid_request"}"#);
    }
    let Some(presented) = request.headers_with_secrets().get(AUTHORIZATION) else {
        return challenge(StatusCode::UNAUTHORIZED, r#"Bearer realm="portunus-mock""#);
    };
    let token = presented.to_str().ok().and_then(bearer);
    let Some(access) = token.and_then(|token| idp.issued.find(token, idp.now())) else {
        let invalid = r#"Bearer realm="portunus-mock", error="invalid_token""#;
        return challenge(StatusCode::UNAUTHORIZED, invalid);
    };
    if !access.scopes.iter().any(|scope| scope == "openid") {
        let narrow = r#"Bearer realm="portunus-mock", error="insufficient_scope", scope="openid""#;
        return challenge(StatusCode::FORBIDDEN, narrow);
    }
    let mut claims = access.claims;
    claims.insert("sub".to_owned(), access.subject.into());
    no_store(answer::json(StatusCode::OK, answer::write(&claims)))
}

fn challenge(status: StatusCode, with: &'static str) -> Answer {
    let mut answer = answer::json(status, "{}");
    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(with));
    answer
}
