//! A key server on the local machine, with an identity provider to try it with.
//!
//! `cargo run -p portunus-keyserver --all-features --example router [PORT]` prints one line of JSON
//! that says where it is and what it takes, and serves until its input ends. Whoever is in the group `eng` gets a
//! key; of the built-in identity provider, `GET {issuer}/__mock/id_token?sub=alice&aud=portunus&groups=eng`
//! gives an identity token.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use portunus_auth_core::audit::AuditFull;
use portunus_auth_core::{AuditEvent, AuditSink, SecretSource, SystemClock};
use portunus_keyserver::{Config, KeyServer, Parts, router};
use portunus_mock::MockIdp;

const ADMIN: &str = "example-admin-token-0123456789";
const CLIENT: &str = "example-client-secret-0123456789";

const CONFIGURATION: &str = r#"
[server]
public_url = "@URL@"

[key_server]
audience = "portunus"
admin = { bearer_token = "${env:ADMIN}" }

[[key_server.clients]]
id = "proxy"
secret = "${env:CLIENT}"
tenant = "acme"

[[issuers]]
name = "idp"
issuer = "@ISSUER@"
tenant = "acme"

[[policies]]
name = "engineers"
match = { issuer = "idp", groups = ["eng"] }
grant = { models = ["gpt-4o*", "claude-*"], tools = ["search"], tier = "standard", ttl = "8h" }
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().map_or(Ok(0), |port| port.parse())?;

    let idp = MockIdp::builder().build()?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let text = CONFIGURATION.replace("@URL@", &url).replace("@ISSUER@", idp.issuer());
    let config: Config = toml::from_str(&text)?;

    let clock = Arc::new(SystemClock);
    let store = portunus_store::open("memory:", clock.clone())?;
    let server = KeyServer::new(config, Parts::new(store, clock, Arc::new(Print), &Secrets)).await?;
    let application = axum::Router::new().merge(router(server));

    let about = serde_json::json!({
        "url": url,
        "openapi": format!("{url}/auth/openapi.json"),
        "issuer": idp.issuer(),
        "audience": "portunus",
        "admin_token": ADMIN,
        "client_id": "proxy",
        "client_secret": CLIENT,
    });
    println!("{about}");
    axum::serve(listener, application).with_graceful_shutdown(until_input_ends()).await?;
    Ok(())
}

async fn until_input_ends() {
    let read = || io::copy(&mut io::stdin().lock().by_ref(), &mut io::sink());
    let _ = tokio::task::spawn_blocking(read).await;
}

/// Shows every event. One that may not lose any would keep them; see the README.
#[derive(Debug)]
struct Print;

impl AuditSink for Print {
    fn admit(&self) -> Result<(), AuditFull> {
        Ok(())
    }

    fn record(&self, event: AuditEvent) {
        eprintln!("{}", serde_json::to_string(&event).unwrap_or_default());
    }
}

/// The example's secrets, which are none.
struct Secrets;

impl SecretSource for Secrets {
    fn env(&self, name: &str) -> Option<String> {
        match name {
            "ADMIN" => Some(ADMIN.to_owned()),
            "CLIENT" => Some(CLIENT.to_owned()),
            _ => None,
        }
    }

    fn file(&self, _: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }
}
