//! Serves the OAuth server until it is killed, with a login page: `cargo run -p portunus-mock --example idp
//! -- PORT`. Alice's password is `alice-pw`.

use std::time::Duration;

use portunus_mock::{GrantType, MockIdp, OAuthClient, User};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args().nth(1).unwrap_or_default().parse().unwrap_or(0);
    let signs_in =
        |client: OAuthClient, back: &str| client.redirect_uri(back).scopes(["openid", "profile", "email"]);
    let web = OAuthClient::new("gateway-web").secret("gateway-web-secret");
    let service = OAuthClient::new("service").secret("service-secret").scopes(["api"]);
    let idp = MockIdp::builder()
        .port(port)
        .client(signs_in(web, "http://127.0.0.1:8080/callback"))
        .client(signs_in(OAuthClient::new("cli"), "http://127.0.0.1/callback"))
        .client(service.grants([GrantType::ClientCredentials]))
        .account(User::new("alice").claim("email", "alice@example.com"), "alice-pw")
        .device(Duration::from_secs(600), Duration::from_secs(1))
        .build()?;
    println!("READY {}", idp.issuer());
    std::future::pending::<()>().await;
    Ok(())
}
