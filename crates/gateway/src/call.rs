//! A request on its way in: first its head, then, for callers who are known, its body.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, HOST};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, Request, Version, request};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use portunus_auth_core::Action;
use portunus_auth_core::dialect::{NoRoute, Route};

use crate::limit::Turn;
use crate::reply::Refusal;

/// How many header lines and how many bytes of them a request may have. Below what the HTTP parser
/// takes, so that the refusal is ours, and readable.
const MAX_HEADERS: usize = 90;
const MAX_HEADER_BYTES: usize = 48 * 1024;

/// How much room is made for a body before it has arrived.
const MAX_RESERVE: usize = 1024 * 1024;

/// How much a caller may send, and how long that may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    pub(crate) bytes: usize,
    pub(crate) time: Duration,
}

/// A request's head, with its route decided once.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) route: Route,
    pub(crate) headers: HeaderMap,
    pub(crate) query: Option<Box<str>>,
}

/// A whole request, as far as a decision needs to know it.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) head: Head,
    pub(crate) body: Bytes,
    pub(crate) model: Arc<str>,
    /// Where the model's JSON string lies in the body.
    pub(crate) model_at: Range<usize>,
    tools: Vec<Cow<'static, str>>,
}

impl Call {
    /// Takes the head off, and refuses what is no LLM request.
    pub(crate) fn split(
        request: Request<Incoming>,
        route: Result<Route, NoRoute>,
    ) -> Result<(Head, Incoming), Refusal> {
        let (head, body) = request.into_parts();
        check_size(&head)?;
        check_host(&head)?;
        let route = route.map_err(Refusal::Route)?;
        let query = head.uri.query();
        if query.is_some_and(names_a_credential) {
            return Err(Refusal::BadHead("A credential goes in a header, never in the URL."));
        }
        let query = query.map(Box::from);
        Ok((Head { route, headers: head.headers, query }, body))
    }

    /// What the caller is about to do.
    pub(crate) fn action(&self) -> Action<'_> {
        Action { model: Some(&self.model), tools: &self.tools }
    }
}

impl Head {
    /// Reads the body, within limits. Whoever has no turn, because they are unknown or over their rate,
    /// never makes us buffer.
    pub(crate) async fn read(
        self,
        body: Incoming,
        _turn: &Turn,
        limits: BodyLimits,
    ) -> Result<Call, Refusal> {
        let body = match tokio::time::timeout(limits.time, collect(body, limits.bytes)).await {
            Ok(body) => body?,
            Err(_) => return Err(Refusal::BodyTimeout),
        };
        let found = self.route.dialect.read(&body).map_err(Refusal::BadBody)?;
        let model = Arc::from(&*found.model);
        let model_at = found.model_at;
        let tools = found.tools.into_iter().map(|tool| Cow::Owned(tool.into_owned())).collect();
        Ok(Call { head: self, body, model, model_at, tools })
    }
}

/// The whole body. What arrives in one piece is not copied.
async fn collect(mut body: Incoming, limit: usize) -> Result<Bytes, Refusal> {
    let declared = body.size_hint().lower();
    if declared > limit as u64 {
        return Err(Refusal::BodyTooLarge(limit));
    }
    let Some(first) = next_data(&mut body).await? else { return Ok(Bytes::new()) };
    if first.len() > limit {
        return Err(Refusal::BodyTooLarge(limit));
    }
    if body.is_end_stream() {
        return Ok(first);
    }
    // Grown once, to what was announced, but not on a mere announcement of very much.
    let mut whole =
        BytesMut::with_capacity(usize::try_from(declared).unwrap_or(limit).clamp(first.len(), MAX_RESERVE));
    whole.extend_from_slice(&first);
    while let Some(data) = next_data(&mut body).await? {
        if data.len() > limit - whole.len() {
            return Err(Refusal::BodyTooLarge(limit));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

async fn next_data(body: &mut Incoming) -> Result<Option<Bytes>, Refusal> {
    while let Some(frame) = body.frame().await {
        // Trailers are neither authorised nor forwarded.
        if let Ok(data) = frame.map_err(|_| Refusal::BodyBroken)?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

fn check_size(head: &request::Parts) -> Result<(), Refusal> {
    let bytes = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    if head.headers.len() > MAX_HEADERS || bytes.sum::<usize>() > MAX_HEADER_BYTES {
        return Err(Refusal::HeadTooLarge);
    }
    Ok(())
}

/// RFC 9112 section 3.2: exactly one valid `Host`. The target is a path, never a URL, since whatever
/// is in front of us may have authorised another host than the one it names.
fn check_host(head: &request::Parts) -> Result<(), Refusal> {
    if head.uri.authority().is_some() {
        return Err(Refusal::BadHead("The request's target must be a path."));
    }
    let mut hosts = head.headers.get_all(HOST).iter();
    let good = match (hosts.next(), hosts.next()) {
        (Some(host), None) => {
            let text = host.to_str().unwrap_or("@");
            !text.contains('@') && text.parse::<Authority>().is_ok()
        }
        (None, _) => head.version == Version::HTTP_10,
        _ => false,
    };
    if good { Ok(()) } else { Err(Refusal::BadHead("The request must have exactly one valid Host header.")) }
}

/// Whether a query has a parameter by which some server takes a credential, however it is encoded and
/// separated.
fn names_a_credential(query: &str) -> bool {
    query.split(['&', ';']).any(|pair| {
        let name = form_urlencoded::parse(pair.as_bytes()).next();
        name.is_some_and(|(name, _)| {
            ["key", "api_key", "api-key", "apikey", "x-api-key", "access_token", "token"]
                .iter()
                .any(|credential| credential.eq_ignore_ascii_case(&name))
        })
    })
}

/// Leaves of a caller's headers what its provider needs to know: what describes the body and the answer
/// wanted, the vendor's own settings, and what names the request. Everything else stays here: what a
/// caller authenticates with, what concerns only this connection (RFC 9110 section 7.6.1), and whatever
/// a proxy may vouch for a caller with, of which no list is ever complete.
pub(crate) fn strip(headers: &mut HeaderMap, also: &[HeaderName]) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .collect();
    let gone: Vec<HeaderName> =
        headers.keys().filter(|name| !(passes(name.as_str()) || also.contains(name))).cloned().collect();
    for name in gone.into_iter().chain(named) {
        headers.remove(name);
    }
}

/// Whether a caller's header of that name may reach a provider.
fn passes(name: &str) -> bool {
    match name {
        "accept" | "accept-encoding" | "accept-language" | "content-type" | "user-agent" => true,
        "openai-beta" | "idempotency-key" | "x-client-request-id" | "x-app" => true,
        "traceparent" | "tracestate" => true,
        _ => name.starts_with("anthropic-") || name.starts_with("x-stainless-"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn only_what_a_provider_needs_to_know_passes() {
        let mut headers = HeaderMap::new();
        for name in [
            "authorization",
            "x-api-key",
            "cookie",
            "x_api_key",
            "x-forwarded-for",
            "x-amzn-oidc-accesstoken",
            "cf-access-jwt-assertion",
            "openai-organization",
            "dpop",
            "connection",
            "te",
            "expect",
            "host",
            "content-length",
            "anthropic-named",
            "x-never-heard-of",
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("canary"));
        }
        headers.append("connection", HeaderValue::from_static("close, Anthropic-Named , x-kept-not-here"));
        headers.append("anthropic-version", HeaderValue::from_static("2023-06-01"));
        headers.append("x-stainless-lang", HeaderValue::from_static("python"));
        headers.append("x-configured", HeaderValue::from_static("1"));
        strip(&mut headers, &[HeaderName::from_static("x-configured")]);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["anthropic-version", "x-configured", "x-stainless-lang"]);
    }

    #[test]
    fn a_credential_in_the_url_is_noticed() {
        for query in
            ["key=a", "beta=true&api_key=a", "ACCESS_TOKEN=a", "token", "k%65y=a", "a=1;key=b", "x-api-key=a"]
        {
            assert!(names_a_credential(query), "{query}");
        }
        assert!(!names_a_credential("beta=true&keyboard=1"));
    }
}
