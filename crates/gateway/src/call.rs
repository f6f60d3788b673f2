//! A request on its way in: first its head, then, for callers who are known, its body.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::uri::Authority;
use http::{Extensions, HeaderMap, HeaderName, Method, Request, Uri, Version};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use portunus_auth_core::dialect::{NoRoute, Operation, Route};
use portunus_auth_core::{Action, Dialect};

use crate::limit::Turn;
use crate::reply::Refusal;
use crate::static_keys::ISSUED;

/// How many header lines and how many bytes of them a request may have. Below what the HTTP parser
/// takes, so that the refusal is ours, and readable.
const MAX_HEADERS: usize = 90;
const MAX_HEADER_BYTES: usize = 48 * 1024;

/// How much room is made for a body before it has arrived.
const MAX_RESERVE: usize = 1024 * 1024;

/// How much a caller may send, how long that may take, and how much all bodies may take up together.
#[derive(Debug)]
pub(crate) struct BodyLimits {
    pub(crate) bytes: usize,
    pub(crate) time: Duration,
    pub(crate) total: usize,
    pub(crate) used: AtomicUsize,
}

/// The room that one body takes up; given back when dropped.
pub(crate) struct Room<'a> {
    limits: &'a BodyLimits,
    bytes: usize,
}

impl Room<'_> {
    fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let used = self.limits.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.bytes += bytes;
        if used > self.limits.total { Err(Refusal::Overloaded) } else { Ok(()) }
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.limits.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A request's head, with its route decided once.
pub(crate) struct Head {
    pub(crate) route: Route,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    /// What the listener knows of the connection, such as the client's certificate.
    pub(crate) extensions: Extensions,
}

/// A whole request, as far as a decision needs to know it.
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
        let route = route.map_err(Refusal::Route)?;
        check_type(&head.headers)?;
        if head.uri.query().is_some_and(|query| !is_understood(query)) {
            return Err(Refusal::BadHead("The URL has a parameter that this route does not take."));
        }
        let Parts { method, uri, headers, extensions, .. } = head;
        Ok((Head { route, method, uri, headers, extensions }, body))
    }

    /// What the caller is about to do.
    pub(crate) fn action(&self) -> Action<'_> {
        Action { model: Some(&self.model), tools: &self.tools }
    }
}

impl Head {
    /// Reads the body, within limits. Whoever has no turn, because they are unknown or over their rate,
    /// never makes us buffer.
    pub(crate) async fn read<'a>(
        self,
        body: Incoming,
        _turn: &Turn,
        limits: &'a BodyLimits,
    ) -> Result<(Call, Room<'a>), Refusal> {
        let mut room = Room { limits, bytes: 0 };
        let body = match tokio::time::timeout(limits.time, collect(body, &mut room)).await {
            Ok(body) => body?,
            Err(_) => return Err(Refusal::BodyTimeout),
        };
        let found = self.route.dialect.read(&body).map_err(Refusal::BadBody)?;
        if found.model.starts_with(ISSUED) {
            return Err(Refusal::BadHead("`model` is a key. Send it as the credential instead."));
        }
        let model = Arc::from(&*found.model);
        let model_at = found.model_at;
        let tools = found.tools.into_iter().map(|tool| Cow::Owned(tool.into_owned())).collect();
        Ok((Call { head: self, body, model, model_at, tools }, room))
    }
}

/// The whole body. What arrives in one piece is not copied.
async fn collect(mut body: Incoming, room: &mut Room<'_>) -> Result<Bytes, Refusal> {
    let limit = room.limits.bytes;
    let declared = body.size_hint().lower();
    if declared > limit as u64 {
        return Err(Refusal::BodyTooLarge(limit));
    }
    let Some(first) = next_data(&mut body).await? else { return Ok(Bytes::new()) };
    if first.len() > limit {
        return Err(Refusal::BodyTooLarge(limit));
    }
    room.grow(first.len())?;
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
        room.grow(data.len())?;
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

/// The route of a request, among those that are served here. To all others nothing is there.
pub(crate) fn route(method: &Method, path: &str) -> Result<Route, NoRoute> {
    let served = |route: &Route| {
        let served =
            [(Dialect::OpenAi, Operation::ChatCompletions), (Dialect::Anthropic, Operation::Messages)];
        served.contains(&(route.dialect, route.operation))
    };
    Dialect::find(path).filter(served).ok_or(NoRoute::UnknownPath)?.taking(method)
}

/// What holds for every request, whatever it asks for.
pub(crate) fn check_head<B>(request: &Request<B>) -> Result<(), Refusal> {
    check_size(request.headers())?;
    check_host(request)
}

fn check_size(headers: &HeaderMap) -> Result<(), Refusal> {
    let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    if headers.len() > MAX_HEADERS || bytes.sum::<usize>() > MAX_HEADER_BYTES {
        return Err(Refusal::HeadTooLarge);
    }
    Ok(())
}

/// RFC 9112 section 3.2: exactly one valid `Host`. The target is a path, never a URL, since whatever
/// is in front of us may have authorised another host than the one it names.
fn check_host<B>(request: &Request<B>) -> Result<(), Refusal> {
    if request.uri().authority().is_some() {
        return Err(Refusal::BadHead("The request's target must be a path."));
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let good = match (hosts.next(), hosts.next()) {
        (Some(host), None) => {
            let text = host.to_str().unwrap_or("@");
            !text.contains('@') && text.parse::<Authority>().is_ok()
        }
        (None, _) => request.version() == Version::HTTP_10,
        _ => false,
    };
    if good { Ok(()) } else { Err(Refusal::BadHead("The request must have exactly one valid Host header.")) }
}

/// The parameters that providers' clients send. Any other one might name a model, an address or a
/// credential to a server behind us, whatever the body says.
fn is_understood(query: &str) -> bool {
    query.split('&').all(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_');
        matches!(name, "beta" | "api-version") && value.bytes().all(plain)
    })
}

/// The body is read as JSON in UTF-8, so that is what it must be called: a server that is told otherwise
/// may read another model in the same bytes.
fn check_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let good = match (types.next(), types.next()) {
        (None, _) => true,
        (Some(one), None) => one.to_str().is_ok_and(is_json),
        _ => false,
    };
    if good { Ok(()) } else { Err(Refusal::NotJson) }
}

fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let json = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    json && parts.all(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        name.eq_ignore_ascii_case("charset") && value.trim_matches('"').eq_ignore_ascii_case("utf-8")
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
        "anthropic-version" | "anthropic-beta" | "anthropic-dangerous-direct-browser-access" => true,
        "openai-beta" | "x-client-request-id" | "x-app" | "traceparent" | "tracestate" => true,
        _ => name.starts_with("x-stainless-"),
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
            "anthropic-api-key",
            "openai-beta",
            "x-never-heard-of",
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("canary"));
        }
        headers.append("connection", HeaderValue::from_static("close, OpenAI-Beta , x-kept-not-here"));
        headers.append("anthropic-version", HeaderValue::from_static("2023-06-01"));
        headers.append("x-stainless-lang", HeaderValue::from_static("python"));
        headers.append("x-configured", HeaderValue::from_static("1"));
        strip(&mut headers, &[HeaderName::from_static("x-configured")]);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["anthropic-version", "x-configured", "x-stainless-lang"]);
    }

    #[test]
    fn a_query_has_only_parameters_that_clients_send() {
        for query in ["beta=true", "api-version=2024-10-21", "beta=true&api-version=preview"] {
            assert!(is_understood(query), "{query}");
        }
        for query in [
            "key=a",
            "beta=true&api_key=a",
            "k%65y=a",
            "a=1;key=b",
            "model=b",
            "beta=true;key=b",
            "",
            "beta=%0a",
        ] {
            assert!(!is_understood(query), "{query}");
        }
    }

    #[test]
    fn a_body_is_called_json_or_nothing() {
        for good in
            ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\""]
        {
            assert!(is_json(good), "{good}");
        }
        for bad in [
            "text/plain",
            "application/json; charset=utf-7",
            "application/x-www-form-urlencoded",
            "application/json, text/plain",
            "application/json; boundary=a",
            "",
        ] {
            assert!(!is_json(bad), "{bad}");
        }
    }
}
