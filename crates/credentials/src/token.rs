//! What an OAuth token endpoint answers (RFC 6749 §5).

use std::fmt;
use std::time::Duration;

use ::http::StatusCode;
use portunus_auth_core::CredentialError;
use portunus_auth_core::secret::SecretString;
use serde::Deserialize;
use serde_json::Value;

use crate::http::Answer;

/// Assumed where the issuer does not say how long its token lives.
const UNSTATED_LIFE: Duration = Duration::from_secs(60);
/// Believed at most, so that nothing is kept for ever.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// An error code or a list of them that is longer is no code.
const LONGEST_CODE: usize = 64;
const MOST_CODES: usize = 8;

/// An issued access token.
#[derive(Clone, Debug)]
pub struct Token {
    /// The token, to be sent as a bearer token.
    pub access_token: SecretString,
    /// How long it lives from the moment it was asked for; at most a day, whatever was stated, and a
    /// minute if nothing was.
    pub expires_in: Duration,
}

/// What an issuer answered instead of a token: the status and its codes, never its text, which can
/// repeat what was sent to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct IssuerError {
    /// The HTTP status.
    pub status: StatusCode,
    /// The OAuth error code (RFC 6749 §5.2), if it looks like one.
    pub error: Option<String>,
    /// The vendor's numeric codes.
    pub codes: Vec<u64>,
}

impl fmt::Display for IssuerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the issuer answered {}", self.status.as_u16())?;
        if let Some(error) = &self.error {
            write!(f, " {error}")?;
        }
        for (i, code) in self.codes.iter().enumerate() {
            write!(f, "{}{code}", if i == 0 { ", code " } else { ", " })?;
        }
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
enum Misunderstood {
    #[error("the issuer's answer is not a token response")]
    NotAToken,
    #[error("the issuer's token has a lifetime that is not a whole number")]
    Lifetime,
    #[error("the issuer's token is not a bearer token")]
    TokenType,
}

#[derive(Deserialize)]
struct TokenReply {
    access_token: SecretString,
    token_type: Option<String>,
    expires_in: Option<Value>,
}

#[derive(Default, Deserialize)]
struct ErrorReply {
    #[serde(default)]
    error: Value,
    #[serde(default)]
    error_codes: Value,
}

impl Answer {
    /// The issued token.
    ///
    /// # Errors
    /// What the status and the OAuth error code say ([`IssuerError::classify`]); `Unavailable` if a
    /// success holds no usable token.
    pub fn token(&self) -> Result<Token, CredentialError> {
        self.token_or(IssuerError::classify)
    }

    /// The same, for an issuer whose codes say more.
    ///
    /// # Errors
    /// What `classify` makes of a refusal; `Unavailable` if a success holds no usable token.
    pub fn token_or(
        &self,
        classify: impl FnOnce(IssuerError, Option<Duration>) -> CredentialError,
    ) -> Result<Token, CredentialError> {
        if let Some(refusal) = self.refused() {
            return Err(classify(refusal, self.retry_after));
        }
        self.parsed()
            .map_err(|why| CredentialError::Unavailable { retry_after: self.retry_after, source: why.into() })
    }

    /// What the issuer said instead of issuing something: its status is no success, or its body an error
    /// nevertheless.
    pub fn refused(&self) -> Option<IssuerError> {
        let refusal = self.refusal();
        (!self.status.is_success() || refusal.error.is_some()).then_some(refusal)
    }

    fn parsed(&self) -> Result<Token, Misunderstood> {
        let reply: TokenReply = self.json().ok_or(Misunderstood::NotAToken)?;
        // RFC 6749 §7.1: a token of a type that is not understood must not be used.
        if reply.token_type.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            return Err(Misunderstood::TokenType);
        }
        let expires_in = match reply.expires_in {
            None | Some(Value::Null) => UNSTATED_LIFE,
            Some(stated) => lifetime(&stated).ok_or(Misunderstood::Lifetime)?,
        };
        Ok(Token { access_token: reply.access_token, expires_in })
    }

    fn refusal(&self) -> IssuerError {
        let reply: ErrorReply = self.json().unwrap_or_default();
        // Letters and `_` only: an issuer that put a secret where its code belongs is not repeated.
        let is_code = |text: &&str| {
            (1..=LONGEST_CODE).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_')
        };
        // Where an API's own errors come in place of OAuth's, the code is the type of the error.
        let code = reply.error.as_str().or_else(|| reply.error.get("type")?.as_str());
        IssuerError {
            status: self.status,
            error: code.filter(is_code).map(str::to_owned),
            codes: reply
                .error_codes
                .as_array()
                .map(|codes| codes.iter().filter_map(Value::as_u64).take(MOST_CODES).collect())
                .unwrap_or_default(),
        }
    }
}

/// A whole number of seconds, as a number or as text. Zero and less: it is over.
fn lifetime(stated: &Value) -> Option<Duration> {
    let seconds = match stated {
        Value::Number(number) => number.as_i64().or_else(|| number.as_u64().map(|_| i64::MAX))?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    Some(Duration::from_secs(seconds.try_into().unwrap_or(0)).min(LONGEST_LIFE))
}

impl IssuerError {
    /// What can be done about it, as far as HTTP and OAuth say so.
    pub fn classify(self, retry_after: Option<Duration>) -> CredentialError {
        let unavailable = self.status.is_server_error()
            || self.status == StatusCode::REQUEST_TIMEOUT
            || self.status == StatusCode::TOO_MANY_REQUESTS;
        match self.error.as_deref() {
            _ if unavailable => CredentialError::Unavailable { retry_after, source: self.into() },
            Some("temporarily_unavailable" | "server_error" | "slow_down") => {
                CredentialError::Unavailable { retry_after, source: self.into() }
            }
            Some("invalid_client" | "invalid_grant" | "unauthorized_client" | "access_denied") => {
                CredentialError::Rejected(self.into())
            }
            _ if matches!(self.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                CredentialError::Rejected(self.into())
            }
            // A redirect, a wrong path, a malformed request: asking again gives the same answer.
            _ => CredentialError::Invalid(self.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::http::HeaderMap;
    use portunus_auth_core::secret::ExposeSecret;
    use proptest::prelude::*;

    fn answer(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, retry_after: None, headers: HeaderMap::new(), body: body.as_bytes().to_vec() }
    }

    fn life(expires_in: &str) -> Option<u64> {
        let body = format!(r#"{{"access_token":"canary","expires_in":{expires_in}}}"#);
        answer(200, &body).token().ok().map(|token| token.expires_in.as_secs())
    }

    #[test]
    fn a_lifetime_is_a_whole_number_or_its_text() {
        assert_eq!(life("3599"), Some(3599));
        assert_eq!(life(r#""3599""#), Some(3599));
        assert_eq!(life("0"), Some(0));
        assert_eq!(life("-5"), Some(0));
        assert_eq!(life(r#""-5""#), Some(0));
        assert_eq!(life("null"), Some(60));
        for huge in ["86401", "9223372036854775807", "18446744073709551615", r#""9223372036854775807""#] {
            assert_eq!(life(huge), Some(86_400), "{huge}");
        }
        for bad in ["3599.5", "1e30", "true", "[]", "{}", r#""""#, r#""inf""#, r#""1h""#, r#""1e3""#, "NaN"] {
            assert_eq!(life(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_missing_lifetime_is_short() {
        let token = answer(200, r#"{"access_token":"t","token_type":"bearer"}"#).token().unwrap();
        assert_eq!((token.access_token.expose_secret(), token.expires_in.as_secs()), ("t", 60));
    }

    #[test]
    fn a_success_without_a_usable_token_is_not_one() {
        for body in [
            "",
            "{",
            "<html>canary</html>",
            r#"{"expires_in":3600}"#,
            r#"{"access_token":5}"#,
            r#"{"access_token":null}"#,
            r#"["canary"]"#,
            r#"["canary","bearer",3600]"#,
            r#"{"access_token":"canary","token_type":"DPoP"}"#,
            r#"{"access_token":"canary","token_type":{"canary":1}}"#,
        ] {
            let error = answer(200, body).token().unwrap_err();
            assert!(matches!(error, CredentialError::Unavailable { .. }), "{body}: {error:?}");
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        }
    }

    #[test]
    fn statuses_and_codes_are_classified() {
        let kind = |status, error: &str| {
            let body = format!(r#"{{"error":"{error}","error_description":"canary"}}"#);
            let error = answer(status, &body).token().unwrap_err();
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
            match error {
                CredentialError::Unavailable { .. } => "unavailable",
                CredentialError::Rejected(_) => "rejected",
                CredentialError::Invalid(_) => "invalid",
                other => panic!("{other:?}"),
            }
        };
        for (status, error, expected) in [
            (500, "invalid_client", "unavailable"),
            (503, "", "unavailable"),
            (408, "", "unavailable"),
            (429, "invalid_request", "unavailable"),
            (400, "temporarily_unavailable", "unavailable"),
            (401, "invalid_client", "rejected"),
            (400, "invalid_grant", "rejected"),
            (400, "unauthorized_client", "rejected"),
            (401, "", "rejected"),
            (403, "", "rejected"),
            (200, "access_denied", "rejected"),
            (400, "invalid_scope", "invalid"),
            (400, "invalid_request", "invalid"),
            (404, "", "invalid"),
            (302, "", "invalid"),
        ] {
            assert_eq!(kind(status, error), expected, "{status} {error}");
        }
    }

    #[test]
    fn an_error_says_its_codes_and_nothing_else() {
        let body = r#"{"error":"invalid_client","error_description":"canary","error_codes":[7000215,"canary",-1,7]}"#;
        let error = answer(401, body).refusal();
        assert_eq!(error.to_string(), "the issuer answered 401 invalid_client, code 7000215, 7");
        let echo = answer(400, r#"{"error":"canary-s3cret"}"#).refusal();
        assert_eq!(echo.to_string(), "the issuer answered 400");
    }

    proptest! {
        #[test]
        fn no_answer_panics_or_is_repeated(
            status in 200u16..600,
            bytes in any::<Vec<u8>>(),
            field in "(access_token|token_type|expires_in|error|error_description|error_codes|[a-z]{1,5})",
        ) {
            let echo = format!("canary-7 {}", String::from_utf8_lossy(&bytes));
            let nested = serde_json::json!({ "error": { &field: echo }, "error_codes": [echo] });
            let flat = serde_json::json!({ &field: echo });
            for body in [bytes, nested.to_string().into_bytes(), flat.to_string().into_bytes()] {
                let status = StatusCode::from_u16(status).unwrap();
                let answer = Answer { status, retry_after: None, headers: HeaderMap::new(), body };
                let shown = format!("{:?}", answer.token());
                prop_assert!(!shown.contains("canary"), "{}", shown);
            }
        }
    }
}
