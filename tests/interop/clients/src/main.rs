//! Other people's Rust clients against the mock, on loopback: `portunus-interop URL-OF-THE-MOCK ISSUER`.
//!
//! The mock's examples `serve` and `idp` name its key, its clients and its user alice.

mod http;
mod oauth;
mod oidc;
mod openai;

use std::error::Error;
use std::fmt::Debug;
use std::process::ExitCode;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mock, issuer] = &arguments[..] else {
        eprintln!("usage: portunus-interop URL-OF-THE-MOCK ISSUER");
        return ExitCode::from(64);
    };
    let checks = [
        ("async-openai: chat, streams and tools", openai::chat(mock).await),
        ("async-openai: Responses", openai::responses(mock).await),
        ("async-openai: embeddings and models", openai::embeddings(mock).await),
        ("async-openai: errors, retries and broken streams", openai::failures(mock).await),
        ("openidconnect: discovery, code, PKCE, ID token, userinfo and refresh", oidc::sign_in(issuer).await),
        ("oauth2: device flow", oauth::device(issuer).await),
        ("oauth2: client credentials, introspection and revocation", oauth::service(issuer).await),
    ];
    let mut failed = false;
    for (name, result) in checks {
        match result {
            Ok(()) => println!("ok   {name}"),
            Err(error) => {
                failed = true;
                println!("FAIL {name}: {error}");
            }
        }
    }
    ExitCode::from(u8::from(failed))
}

fn equal<T: Debug + PartialEq>(what: &str, found: T, expected: T) -> Result {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?} instead of {expected:?}").into()) }
}
