//! A request on its way in: first its head, then, for callers who are known, its body.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HOST};
use http::uri::Authority;
use http::{HeaderMap, Request, Version, request};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use portunus_auth_core::dialect::Route;
use portunus_auth_core::{Action, Dialect};

use crate::reply::Refusal;

/// How many header lines and how many bytes of them a request may have. Below what the HTTP parser
/// takes, so that the refusal is ours, and readable.
const MAX_HEADERS: usize = 90;
const MAX_HEADER_BYTES: usize = 48 * 1024;

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
    pub(crate) fn split(request: Request<Incoming>) -> Result<(Head, Incoming), Refusal> {
        let (head, body) = request.into_parts();
        check_size(&head)?;
        check_host(&head)?;
        let route = Dialect::route(&head.method, head.uri.path()).map_err(Refusal::Route)?;
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
    /// Reads the body, within limits. Called for authenticated callers only: strangers never make us
    /// buffer.
    pub(crate) async fn read(self, body: Incoming, limits: BodyLimits) -> Result<Call, Refusal> {
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
    let mut whole = BytesMut::from(first);
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

fn names_a_credential(query: &str) -> bool {
    query.split('&').any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        ["key", "api_key", "api-key", "apikey", "access_token", "token"]
            .iter()
            .any(|credential| credential.eq_ignore_ascii_case(name))
    })
}

/// Removes from a caller's headers all that must not reach an upstream: credentials, what concerns
/// only this connection (RFC 9110 section 7.6.1), and headers by which a proxy vouches for a caller.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let mut gone = Vec::with_capacity(8);
    for connection in headers.get_all(http::header::CONNECTION) {
        let named = connection.to_str().unwrap_or_default().split(',');
        gone.extend(named.filter_map(|name| http::HeaderName::try_from(name.trim()).ok()));
    }
    gone.extend(headers.keys().filter(|name| !passes(name.as_str())).cloned());
    for name in gone {
        headers.remove(name);
    }
    // Set anew from the body that is really sent.
    headers.remove(CONTENT_LENGTH);
}

/// Whether a caller's header of that name may reach an upstream. A name with `_` may not, because
/// some servers read it as one with `-`.
fn passes(name: &str) -> bool {
    match name {
        "authorization" | "x-api-key" | "api-key" | "x-goog-api-key" | "cookie" => false,
        "connection" | "keep-alive" | "te" | "trailer" | "transfer-encoding" | "upgrade" | "expect"
        | "http2-settings" | "host" => false,
        "forwarded" | "via" | "x-real-ip" | "remote-user" | "x-rewrite-url" | "x-original-url" => false,
        _ => {
            let vouching = ["proxy-", "x-forwarded-", "x-auth-request-", "x-remote-", "x-amz-", "x-goog-"];
            !name.contains('_') && !vouching.iter().any(|prefix| name.starts_with(prefix))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn nothing_that_vouches_or_authenticates_passes() {
        let mut headers = HeaderMap::new();
        for name in [
            "authorization",
            "x-api-key",
            "api-key",
            "x-goog-api-key",
            "cookie",
            "x_api_key",
            "x-tenant_id",
            "proxy-authorization",
            "x-forwarded-for",
            "x-auth-request-user",
            "x-amz-security-token",
            "via",
            "connection",
            "te",
            "upgrade",
            "expect",
            "host",
            "content-length",
            "x-named",
        ] {
            headers.append(http::HeaderName::from_static(name), HeaderValue::from_static("canary"));
        }
        headers.append("connection", HeaderValue::from_static("close, X-Named , x-kept-not-here"));
        headers.append("anthropic-version", HeaderValue::from_static("2023-06-01"));
        headers.append("x-stainless-lang", HeaderValue::from_static("python"));
        strip(&mut headers);
        let mut left: Vec<_> = headers.keys().map(|name| name.as_str()).collect();
        left.sort_unstable();
        assert_eq!(left, ["anthropic-version", "x-stainless-lang"]);
    }

    #[test]
    fn a_credential_in_the_url_is_noticed() {
        for query in ["key=a", "beta=true&api_key=a", "ACCESS_TOKEN=a", "token"] {
            assert!(names_a_credential(query), "{query}");
        }
        assert!(!names_a_credential("beta=true&keyboard=1"));
    }
}
