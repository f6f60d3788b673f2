//! `portunus mock …`

mod fixtures;
mod keys;
mod oauth;
mod ready;
mod serve;
mod token;

pub(super) use fixtures::validate;
pub(crate) use keys::KeySpec;
pub(super) use serve::serve;
pub(super) use token::{jwks, token};

use std::path::Path;

use crate::exit::Failure;

/// The text of a file that the command line names, without the line's end.
fn read(path: &Path) -> Result<String, Failure> {
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    let text = text.map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
