//! The control API: what the handle of a server does, over HTTP. One table says what there is.

mod asked;
mod llm;
#[cfg(feature = "oauth")]
mod oauth;
mod seen;

use std::sync::Arc;

use http::header::ALLOW;
use http::request::Parts;
use http::{HeaderValue, Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::answer::{self, Answer};
use crate::body::{self, Unread};
use crate::llm::Llm;
use crate::loopback;
#[cfg(feature = "oauth")]
use crate::oauth::MockIdp;
use asked::{Asked, Refusal};

/// What every path begins with.
const PREFIX: &str = "/__mock/";
/// How large a request may be.
const BODY_LIMIT: usize = 1 << 20;

/// What is driven.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) llm: Arc<Llm>,
    #[cfg(feature = "oauth")]
    pub(crate) idp: Option<MockIdp>,
}

/// The answer of the control API, if there is one and the path is its own; else that of the LLM server.
pub(crate) async fn answer(
    llm: Arc<Llm>,
    control: Option<Arc<Control>>,
    request: Request<Incoming>,
) -> Answer {
    match control {
        Some(control) if request.uri().path().starts_with(PREFIX) => control.handle(request).await,
        _ => llm.handle(request).await,
    }
}

/// One thing that can be done. A segment of the path in braces may be anything.
struct Route {
    method: Method,
    path: &'static str,
    does: &'static str,
    act: Act,
}

#[derive(Clone, Copy)]
enum Act {
    Llm(fn(&Control, &Asked<'_>) -> Result<Value, Refusal>),
    /// On the OAuth server, or on the tenant that `?tenant=NAME` names.
    #[cfg(feature = "oauth")]
    OAuth(fn(&MockIdp, &Asked<'_>) -> Result<Value, Refusal>),
}

const INDEX: Route =
    Route { method: Method::GET, path: "", does: "lists what there is", act: Act::Llm(|_, _| Ok(index())) };

fn routes() -> impl Iterator<Item = &'static Route> {
    let all = std::iter::once(&INDEX).chain(llm::ROUTES);
    #[cfg(feature = "oauth")]
    let all = all.chain(oauth::ROUTES);
    all
}

fn index() -> Value {
    let routes = routes().map(|route| {
        json!({"method": route.method.as_str(), "path": format!("{PREFIX}{}", route.path), "does": route.does})
    });
    json!({ "routes": routes.collect::<Vec<_>>() })
}

impl Control {
    async fn handle(&self, request: Request<Incoming>) -> Answer {
        let (head, incoming) = request.into_parts();
        let body = body::read(incoming, BODY_LIMIT).await.map_err(|unread| match unread {
            Unread::TooLarge => Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"),
            Unread::Broken => Refusal::bad("the body broke off"),
        });
        match body.and_then(|body| self.act(&head, &body)) {
            Ok(value) => answer::json(StatusCode::OK, answer::write(&value)),
            Err(Refusal { status, says, allow }) => {
                let mut answer = answer::json(status, answer::write(&json!({ "error": says })));
                if let Some(allow) = allow.and_then(|allow| HeaderValue::try_from(allow).ok()) {
                    answer.headers_mut().insert(ALLOW, allow);
                }
                answer
            }
        }
    }

    fn act(&self, head: &Parts, body: &[u8]) -> Result<Value, Refusal> {
        if let Some(says) = loopback::refusal(&head.headers) {
            return Err(Refusal::new(StatusCode::FORBIDDEN, says));
        }
        let path = head.uri.path().strip_prefix(PREFIX).unwrap_or_default();
        let mut allowed = Vec::new();
        for route in routes() {
            let Some(segment) = segment_of(route.path, path) else { continue };
            if route.method == head.method {
                let asked = Asked::new(segment, head, body);
                let query = head.uri.query().unwrap_or_default();
                return match route.act {
                    Act::Llm(act) if query.is_empty() => act(self, &asked),
                    Act::Llm(_) => Err(Refusal::bad("the path takes no query")),
                    #[cfg(feature = "oauth")]
                    Act::OAuth(act) => act(self.issuer(query)?, &asked),
                };
            }
            allowed.push(route.method.as_str());
        }
        if allowed.is_empty() {
            return Err(Refusal::unknown(format!(
                "there is no such path; GET {PREFIX} lists those there are"
            )));
        }
        let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "the path takes another method");
        Err(Refusal { allow: Some(allowed.join(", ")), ..refusal })
    }
}

#[cfg(feature = "oauth")]
impl Control {
    fn issuer(&self, query: &str) -> Result<&MockIdp, Refusal> {
        let idp = self.idp.as_ref().ok_or_else(|| Refusal::unknown("there is no OAuth server"))?;
        let mut query = form_urlencoded::parse(query.as_bytes());
        match (query.next(), query.next()) {
            (None, _) => Ok(idp),
            (Some((name, tenant)), None) if name == "tenant" => {
                idp.tenant(&tenant).ok_or_else(|| Refusal::unknown("there is no such tenant"))
            }
            _ => Err(Refusal::bad("the query may only be `tenant=NAME`")),
        }
    }
}

/// What stands in place of the segment in braces, if that is the path; nothing if it has none.
fn segment_of<'p>(known: &str, path: &'p str) -> Option<&'p str> {
    let Some((before, rest)) = known.split_once('{') else { return (known == path).then_some("") };
    let (_, after) = rest.split_once('}')?;
    let segment = path.strip_prefix(before)?.strip_suffix(after)?;
    (!segment.is_empty() && !segment.contains('/')).then_some(segment)
}
