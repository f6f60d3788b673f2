//! The body of a token request, as form or JSON (RFC 8693 section 2.1).

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use axum::body::Body;
use http::HeaderValue;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use portunus_auth_core::BearerToken;
use serde_json::Value;

use crate::exchange::{ExchangeError, TokenRequest};
use crate::issuer::TokenKind;
use crate::json;

/// The longest body, in bytes.
const MAX_BODY: usize = 32 * 1024;

/// How long a body may take to arrive. An honest one comes in one packet or two; whoever trickles holds a
/// connection and at most [`MAX_BODY`] bytes until then.
const MAX_WAIT: Duration = Duration::from_secs(10);

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// The whole body, unless it is too long or too late.
pub(crate) async fn collect(body: Body) -> Result<Vec<u8>, ExchangeError> {
    tokio::time::timeout(MAX_WAIT, within_limits(body)).await.unwrap_or(Err(ExchangeError::TooSlow))
}

/// Copies each piece, because a piece of one byte keeps the whole buffer that it came in.
async fn within_limits(body: Body) -> Result<Vec<u8>, ExchangeError> {
    let (mut body, mut bytes) = (Limited::new(body, MAX_BODY), Vec::new());
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            Err(error) if error.is::<LengthLimitError>() => return Err(ExchangeError::TooLarge),
            Err(_) => return Err(ExchangeError::Malformed),
        }
    }
    Ok(bytes)
}

/// Reads the request out of the body.
pub(crate) fn parse(content_type: &HeaderValue, body: &[u8]) -> Result<TokenRequest, ExchangeError> {
    let media_type = content_type.to_str().ok().and_then(|text| text.split(';').next()).unwrap_or_default();
    match media_type.trim().to_ascii_lowercase().as_str() {
        "application/x-www-form-urlencoded" => from_form(body),
        "application/json" => from_json(body),
        _ => Err(ExchangeError::Malformed),
    }
}

fn from_form(body: &[u8]) -> Result<TokenRequest, ExchangeError> {
    let mut parameters = Parameters::default();
    for (name, value) in form_urlencoded::parse(body) {
        parameters.add(&name, value)?;
    }
    parameters.request()
}

fn from_json(body: &[u8]) -> Result<TokenRequest, ExchangeError> {
    let mut parameters = Parameters::default();
    for (name, value) in json::object(body).ok_or(ExchangeError::Malformed)? {
        match value {
            Value::String(text) => parameters.add(&name, text.into())?,
            Value::Number(number) if name == "ttl" => parameters.add(&name, number.to_string().into())?,
            Value::Array(texts) if matches!(name.as_str(), "audience" | "resource") => {
                for text in texts {
                    let Value::String(text) = text else { return Err(ExchangeError::Malformed) };
                    parameters.add(&name, text.into())?;
                }
            }
            // RFC 6749 section 3.2: unrecognized parameters are ignored.
            _ if !KNOWN.contains(&name.as_str()) => {}
            _ => return Err(ExchangeError::Malformed),
        }
    }
    parameters.request()
}

/// The parameters that may come once.
const KNOWN: [&str; 9] = [
    "grant_type",
    "subject_token",
    "subject_token_type",
    "requested_token_type",
    "scope",
    "policy",
    "ttl",
    "actor_token",
    "actor_token_type",
];

#[derive(Default)]
struct Parameters {
    single: HashMap<&'static str, String>,
    audiences: Vec<String>,
}

impl Parameters {
    fn add(&mut self, name: &str, value: Cow<'_, str>) -> Result<(), ExchangeError> {
        if matches!(name, "audience" | "resource") {
            self.audiences.push(value.into_owned());
            return Ok(());
        }
        let Some(known) = KNOWN.iter().find(|known| **known == name) else { return Ok(()) };
        // RFC 6749 section 3.2: a parameter without a value is as one left out.
        if !value.is_empty() && self.single.insert(known, value.into_owned()).is_some() {
            return Err(ExchangeError::Malformed);
        }
        Ok(())
    }

    fn request(mut self) -> Result<TokenRequest, ExchangeError> {
        let mut take = |name| self.single.remove(name);
        if take("grant_type").ok_or(ExchangeError::Malformed)? != GRANT_TYPE {
            return Err(ExchangeError::UnsupportedGrantType);
        }
        // Delegation is not offered, and must not seem to have happened.
        if take("actor_token").is_some() || take("actor_token_type").is_some() {
            return Err(ExchangeError::Malformed);
        }
        if take("requested_token_type").is_some_and(|wanted| wanted != ACCESS_TOKEN) {
            return Err(ExchangeError::Malformed);
        }
        let kind = match take("subject_token_type").as_deref() {
            Some(ID_TOKEN) => TokenKind::Identity,
            Some(ACCESS_TOKEN) => TokenKind::Access,
            Some(JWT) => TokenKind::Any,
            _ => return Err(ExchangeError::Malformed),
        };
        let ttl = match take("ttl") {
            None => None,
            Some(text) => match text.parse() {
                Ok(seconds) if seconds > 0 => Some(Duration::from_secs(seconds)),
                _ => return Err(ExchangeError::Malformed),
            },
        };
        Ok(TokenRequest {
            subject_token: BearerToken::new(take("subject_token").ok_or(ExchangeError::Malformed)?),
            kind,
            scope: take("scope"),
            policy: take("policy"),
            ttl,
            audiences: self.audiences,
        })
    }
}
