//! `portunus token …`

use std::io::Read as _;

use portunus_auth_core::endpoint::is_protected;
use serde::{Deserialize, Serialize};

use crate::args::{Exchange, SubjectTokenType};
use crate::exit::Failure;
use crate::http::{exchange_form, post_form};

/// What the gateway answers. Printed on purpose: the key is what was asked for.
#[derive(Deserialize, Serialize)]
struct Issued {
    access_token: String,
    issued_token_type: String,
    token_type: String,
    expires_in: u64,
    scope: String,
    jti: String,
}

pub(crate) async fn exchange(args: Exchange) -> Result<(), Failure> {
    let subject = subject_token(&args)?;
    if !is_protected(&args.server) {
        let says = "the token would be readable on the way: give an https:// URL (http is for this machine)";
        return Err(Failure::Usage(says.to_owned()));
    }
    let url = format!("{}/auth/token", args.server.as_str().trim_end_matches('/'));
    let ttl = args.ttl.map(|seconds| seconds.to_string());
    let kind = args.subject_token_type.unwrap_or_else(|| SubjectTokenType::of(subject.trim()));
    let form = exchange_form(subject.trim(), kind.urn(), args.scope.as_deref(), ttl.as_deref());
    let issued: Issued = post_form(&url, &form).await?;
    if args.json {
        let json = serde_json::to_string_pretty(&issued).unwrap_or_default();
        println!("{json}");
    } else {
        println!("{}", issued.access_token);
    }
    Ok(())
}

fn subject_token(args: &Exchange) -> Result<String, Failure> {
    let mut text = String::new();
    match &args.subject_token_file {
        Some(path) => {
            text = std::fs::read_to_string(path)
                .map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
        }
        None => {
            std::io::stdin()
                .take(64 * 1024)
                .read_to_string(&mut text)
                .map_err(|error| Failure::Usage(format!("standard input: {error}")))?;
        }
    }
    if text.trim().is_empty() {
        return Err(Failure::Usage(
            "there is no token to exchange: give it on standard input or in a file".to_owned(),
        ));
    }
    Ok(text)
}
