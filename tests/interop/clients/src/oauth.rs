//! `oauth2`: devices and services.

use std::time::Duration;

use oauth2::basic::{BasicClient, BasicErrorResponseType};
use oauth2::{
    ClientId, ClientSecret, DeviceAuthorizationUrl, IntrospectionUrl, RequestTokenError, RevocationUrl,
    Scope, StandardDeviceAuthorizationResponse, StandardRevocableToken, TokenIntrospectionResponse as _,
    TokenResponse as _, TokenUrl,
};
use serde_json::Value;

use crate::http::{approve, metadata, send};
use crate::{Result, equal};

fn endpoint(metadata: &Value, name: &str) -> Result<String> {
    Ok(metadata[name].as_str().ok_or_else(|| format!("no {name}"))?.to_owned())
}

pub(crate) async fn device(issuer: &str) -> Result {
    let found = metadata(issuer).await?;
    let client = BasicClient::new(ClientId::new("cli".to_owned()))
        .set_device_authorization_url(DeviceAuthorizationUrl::new(endpoint(
            &found,
            "device_authorization_endpoint",
        )?)?)
        .set_token_uri(TokenUrl::new(endpoint(&found, "token_endpoint")?)?);
    let asked = client.exchange_device_code().add_scope(Scope::new("email".to_owned()));
    let flow: StandardDeviceAuthorizationResponse = asked.request_async(&send).await?;
    let sleep = |_: Duration| async {
        // Alice is as quick as the device's first poll is slow.
        tokio::time::sleep(flow.interval()).await;
        let _ = approve(flow.verification_uri().url().clone(), flow.user_code().secret()).await;
    };
    let tokens = client.exchange_device_access_token(&flow).request_async(&send, sleep, None).await?;
    equal("scope", tokens.scopes(), Some(&vec![Scope::new("email".to_owned())]))
}

pub(crate) async fn service(issuer: &str) -> Result {
    let found = metadata(issuer).await?;
    let token_url = TokenUrl::new(endpoint(&found, "token_endpoint")?)?;
    let client = |secret: &str| {
        BasicClient::new(ClientId::new("service".to_owned()))
            .set_client_secret(ClientSecret::new(secret.to_owned()))
            .set_token_uri(token_url.clone())
    };
    match client("wrong").exchange_client_credentials().request_async(&send).await {
        Err(RequestTokenError::ServerResponse(error)) => {
            equal("error", error.error(), &BasicErrorResponseType::InvalidClient)?;
        }
        other => return Err(format!("a wrong secret: {other:?}").into()),
    }
    let revocation = endpoint(&found, "revocation_endpoint")?.replacen("http:", "https:", 1);
    let client = client("service-secret")
        .set_introspection_url(IntrospectionUrl::new(endpoint(&found, "introspection_endpoint")?)?)
        .set_revocation_url(RevocationUrl::new(revocation)?);
    let tokens = client.exchange_client_credentials().request_async(&send).await?;
    equal("refresh token", tokens.refresh_token().is_some(), false)?;
    let told = client.introspect(tokens.access_token()).request_async(&send).await?;
    equal("introspection", (told.active(), told.sub()), (true, Some("service")))?;
    let token = StandardRevocableToken::from(tokens.access_token().clone());
    client.revoke_token(token)?.request_async(&send).await?;
    equal("active", client.introspect(tokens.access_token()).request_async(&send).await?.active(), false)
}
