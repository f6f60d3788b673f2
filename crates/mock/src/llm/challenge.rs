//! How a refused caller is told to authenticate.

use http::HeaderValue;
use serde::Serialize;

use super::failure::Cause;
use super::gate::Why;
use crate::answer::write;

/// Where the metadata of a protected resource are (RFC 9728 section 3).
pub(super) const PATH: &str = "/.well-known/oauth-protected-resource";

/// The server as a protected resource, for clients that find their authorization server by it.
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) url: String,
    /// The authorization server, if there is one.
    pub(crate) issuer: Option<String>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    resource: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_servers: Option<[&'a str; 1]>,
    bearer_methods_supported: [&'static str; 1],
}

impl Resource {
    pub(super) fn metadata(&self) -> Vec<u8> {
        write(&Metadata {
            resource: &self.url,
            authorization_servers: self.issuer.as_deref().map(|issuer| [issuer]),
            bearer_methods_supported: ["header"],
        })
    }
}

/// The challenge of an answer with that status, if it has one. Providers do not point to metadata; that
/// is done where a test asks for it.
pub(super) fn of(cause: &Cause, status: u16, resource: Option<&Resource>) -> Option<HeaderValue> {
    let text = match (cause, resource) {
        (Cause::Refused(_), None) if status == 401 => r#"Bearer realm="api""#.to_owned(),
        (Cause::Refused(refused), Some(Resource { url, .. })) if status == 401 => {
            // Without a credential there is no error yet (RFC 6750 section 3.1).
            let error = if refused.why == Why::Missing { "" } else { r#", error="invalid_token""# };
            format!(r#"Bearer resource_metadata="{url}{PATH}"{error}"#)
        }
        (Cause::Forbidden, Some(Resource { url, .. })) => {
            format!(r#"Bearer resource_metadata="{url}{PATH}", error="insufficient_scope""#)
        }
        _ => return None,
    };
    HeaderValue::try_from(text).ok()
}
