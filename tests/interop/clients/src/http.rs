//! HTTP for the clients that bring none, and alice's browser.

use ::http::{Response, StatusCode};
use oauth2::{HttpRequest, HttpResponse};
use reqwest::redirect::Policy;
use url::Url;

use crate::{Result, equal};

const ALICE: [(&str, &str); 2] = [("username", "alice"), ("password", "alice-pw")];

#[expect(clippy::disallowed_methods, reason = "the one place that makes a client: no redirects")]
fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().redirect(Policy::none()).no_proxy().build()
}

/// As `oauth2` and `openidconnect` want to be handed their HTTP client. They revoke tokens at addresses with
/// TLS only, and this mock has none.
pub(crate) async fn send(mut request: HttpRequest) -> reqwest::Result<HttpResponse> {
    if let Ok(plain) = request.uri().to_string().replacen("https://", "http://", 1).parse() {
        *request.uri_mut() = plain;
    }
    let answer = client()?.execute(request.try_into()?).await?;
    let mut response = Response::new(Vec::new());
    *response.status_mut() = answer.status();
    *response.headers_mut() = answer.headers().clone();
    *response.body_mut() = answer.bytes().await?.into();
    Ok(response)
}

/// The server's metadata.
pub(crate) async fn metadata(issuer: &str) -> Result<serde_json::Value> {
    let found = client()?.get(format!("{issuer}/.well-known/oauth-authorization-server")).send().await?;
    Ok(serde_json::from_slice(&found.bytes().await?)?)
}

/// Signs in at the page that `url` shows; answers where that leads to.
pub(crate) async fn sign_in(mut url: Url) -> Result<Url> {
    let page = client()?.get(url.clone()).send().await?.text().await?;
    equal("a form", page.contains("<form method=post"), true)?;
    let asked: Vec<_> = url.query_pairs().into_owned().collect();
    url.set_query(None);
    let answer = post(url, asked.iter().map(|(name, value)| (&**name, &**value))).await?;
    let location = answer.headers().get("location").ok_or("no redirect")?;
    Ok(Url::parse(location.to_str()?)?)
}

/// Approves a device at its page.
pub(crate) async fn approve(page: Url, user_code: &str) -> Result {
    let answer = post(page, [("user_code", user_code)]).await?;
    equal("approval", answer.status(), StatusCode::OK)
}

async fn post<'a>(
    url: Url,
    fields: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<reqwest::Response> {
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .extend_pairs(ALICE)
        .finish();
    let request = client()?.post(url).header("content-type", "application/x-www-form-urlencoded");
    Ok(request.body(form).send().await?)
}
