//! `portunus mock token` and `portunus mock jwks`: the mock's bundled keys, without a server that stays.

use std::fmt::Write as _;

use portunus_mock::MockIdp;

use crate::args::{MockToken, TokenKind};
use crate::exit::Failure;

fn idp() -> Result<MockIdp, Failure> {
    MockIdp::builder().build().map_err(|error| Failure::Retry(error.to_string()))
}

pub(crate) fn token(args: MockToken) -> Result<(), Failure> {
    let idp = idp()?;
    let mint = idp.mint(args.sub).issuer(args.issuer).ttl(args.ttl).algorithm(args.alg);
    // Two runs of the same second must not give the same token: whoever remembers spent ones refuses it.
    let mut mint = mint.claim("jti", unique()?);
    for audience in args.aud {
        mint = mint.audience(audience);
    }
    for (name, value) in args.claim {
        mint = mint.claim(name, value);
    }
    for name in args.without {
        mint = mint.without(name);
    }
    if let Some(fault) = args.fault {
        mint = mint.fault(fault);
    }
    println!(
        "{}",
        match args.kind {
            TokenKind::Id => mint.id_token(),
            TokenKind::Access => mint.access_token(),
        }
    );
    Ok(())
}

fn unique() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Failure::Retry("the system has no randomness".to_owned()))?;
    Ok(bytes.iter().fold("jti-mock-".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

pub(crate) fn jwks() -> Result<(), Failure> {
    println!("{:#}", idp()?.jwks());
    Ok(())
}
