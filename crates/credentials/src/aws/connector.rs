//! How AWS's own crate reaches its services: through this crate's client, with its rules and limits.

use std::time::SystemTime;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use portunus_auth_core::{BoxError, CredentialError};
use url::Url;

use crate::http::Http;

#[derive(Clone, Debug)]
pub(super) struct Connector(pub(super) Http);

impl HttpClient for Connector {
    /// The time limits are the client's own.
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let http = self.0.clone();
        HttpConnectorFuture::new(async move { exchange(&http, request).await })
    }
}

/// Once: AWS's crate knows which of its requests may be sent again.
async fn exchange(http: &Http, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let unfit = |why: BoxError| ConnectorError::user(why);
    let request = request.try_into_http1x().map_err(|why| unfit(why.into()))?;
    let (head, body) = request.into_parts();
    let url = Url::parse(&head.uri.to_string()).map_err(|why| unfit(why.into()))?;
    let body = body.bytes().ok_or_else(|| unfit("a body that is not at hand".into()))?.to_vec();
    // The time is for a `Retry-After` that is a date, which AWS's crate reads itself.
    let sent = http.request(head.method, &url).whole(head.headers, body).send(SystemTime::UNIX_EPOCH);
    let answer = sent.await.map_err(|error| match error {
        CredentialError::Unavailable { .. } => ConnectorError::io(error.into()),
        _ => unfit(error.into()),
    })?;
    let mut response = ::http::Response::new(answer.body.into());
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response.try_into().map_err(|why| ConnectorError::other(BoxError::from(why), None))
}
