//! `openidconnect`: a user signs in.

use std::collections::HashMap;

use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreProviderMetadata, CoreUserInfoClaims};
use openidconnect::{
    AccessTokenHash, AuthorizationCode, ClientId, ClientSecret, CsrfToken, IssuerUrl, Nonce,
    OAuth2TokenResponse as _, PkceCodeChallenge, RedirectUrl, Scope, TokenResponse as _,
};

use crate::http::{send, sign_in as at_the_page};
use crate::{Result, equal};

pub(crate) async fn sign_in(issuer: &str) -> Result {
    let metadata = CoreProviderMetadata::discover_async(IssuerUrl::new(issuer.to_owned())?, &send).await?;
    let secret = ClientSecret::new("gateway-web-secret".to_owned());
    let client =
        CoreClient::from_provider_metadata(metadata, ClientId::new("gateway-web".to_owned()), Some(secret))
            .set_redirect_uri(RedirectUrl::new("http://127.0.0.1:8080/callback".to_owned())?);

    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let flow = CoreAuthenticationFlow::AuthorizationCode;
    let (url, state, nonce) = client
        .authorize_url(flow, CsrfToken::new_random, Nonce::new_random)
        .add_scope(Scope::new("email".to_owned()))
        .set_pkce_challenge(challenge)
        .url();
    let back = at_the_page(url).await?;
    let query: HashMap<_, _> = back.query_pairs().into_owned().collect();
    equal("state", query.get("state"), Some(state.secret()))?;
    let code = query.get("code").ok_or("no code")?;

    let code = AuthorizationCode::new(code.clone());
    let tokens = client.exchange_code(code)?.set_pkce_verifier(verifier).request_async(&send).await?;
    let id_token = tokens.id_token().ok_or("no ID token")?;
    let checked = client.id_token_verifier();
    let claims = id_token.claims(&checked, &nonce)?;
    equal("subject", claims.subject().as_str(), "alice")?;
    equal("e-mail", claims.email().map(|email| email.as_str()), Some("alice@example.com"))?;
    let key = id_token.signing_key(&checked)?;
    let hash = AccessTokenHash::from_token(tokens.access_token(), id_token.signing_alg()?, key)?;
    equal("at_hash", claims.access_token_hash(), Some(&hash))?;

    let user: CoreUserInfoClaims = client
        .user_info(tokens.access_token().clone(), Some(claims.subject().clone()))?
        .request_async(&send)
        .await?;
    equal("userinfo", user.email().map(|email| email.as_str()), Some("alice@example.com"))?;

    let refresh = tokens.refresh_token().ok_or("no refresh token")?;
    let next = client.exchange_refresh_token(refresh)?.request_async(&send).await?;
    let no_nonce = |_: Option<&Nonce>| Ok(());
    let again = next.id_token().ok_or("no ID token")?.claims(&checked, no_nonce)?;
    equal("subject", again.subject(), claims.subject())?;
    let spent = client.exchange_refresh_token(refresh)?.request_async(&send).await;
    equal("reuse is refused", spent.is_err(), true)
}
