//! Serves the OAuth server until it is killed, with a login page: `cargo run -p portunus-mock --example idp
//! -- PORT`. Alice's password is `alice-pw`.

use portunus_mock::{GrantType, MockIdp, OAuthClient, User};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args().nth(1).unwrap_or_default().parse().unwrap_or(0);
    let web = OAuthClient::new("gateway-web").secret("gateway-web-secret");
    let web = web.redirect_uri("http://127.0.0.1:8080/callback").scopes(["openid", "profile", "email"]);
    let service = OAuthClient::new("service").secret("service-secret").scopes(["api"]);
    let idp = MockIdp::builder()
        .port(port)
        .client(web)
        .client(service.grants([GrantType::ClientCredentials]))
        .account(User::new("alice").claim("email", "alice@example.com"), "alice-pw")
        .build()?;
    println!("READY {}", idp.issuer());
    std::future::pending::<()>().await;
    Ok(())
}
