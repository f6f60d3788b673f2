//! Where everything is, said once all of it listens.

use std::io::Write as _;
use std::path::Path;

use portunus_mock::{MockServer, Recorded};
use serde_json::{Map, Value, json};

use super::KeySpec;
use crate::args::MockServe;
use crate::exit::Failure;

pub(super) fn places(server: &MockServer, args: &MockServe) -> Value {
    let mut places = Map::new();
    places.insert("pid".to_owned(), std::process::id().into());
    places.insert("url".to_owned(), server.url().into());
    if !args.no_control_api {
        places.insert("control_url".to_owned(), format!("{}/__mock/", server.url()).into());
    }
    if let Some(idp) = server.idp() {
        places.insert("oauth_url".to_owned(), idp.issuer().into());
        for tenant in &args.tenant {
            let issuer = idp.tenant(&tenant.name).map(|tenant| tenant.issuer());
            places.entry("tenants").or_insert_with(|| json!({}))[&tenant.name] = json!(issuer);
        }
    }
    if let Some(file) = server.ca_file() {
        places.insert("ca_file".to_owned(), file.to_string_lossy().into());
    }
    places.into()
}

/// For people.
pub(super) fn as_text(server: &MockServer, args: &MockServe) -> String {
    let mut text = format!("mock provider on {}", server.url());
    if let Some(idp) = server.idp() {
        text += &format!("\nmock identity provider on {}", idp.issuer());
    }
    if !args.no_control_api {
        text += &format!("\ncontrol API on {}/__mock/", server.url());
    }
    text
}

/// For a shell: the variables by which the providers' clients find the mock. They do not start without a key,
/// so there is always one; keys from files are not repeated.
pub(super) fn exports(server: &MockServer, args: &MockServe) -> String {
    let key = args.key.first().map_or("mock", KeySpec::token);
    let quoted = |(name, value): (&str, String)| format!("export {name}='{}'", value.replace('\'', r"'\''"));
    server.env_with_key(key).into_iter().map(quoted).collect::<Vec<_>>().join("\n")
}

/// Whoever reads the file sees all of it, or none.
pub(super) fn write(path: &Path, places: &Value) -> Result<(), Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = tempfile::NamedTempFile::new_in(folder).and_then(|mut file| {
        writeln!(file, "{places}")?;
        file.persist(path).map_err(|error| error.error)
    });
    written.map(drop).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

/// One line for a request.
pub(super) fn line(server: &str, seen: &Recorded) -> Value {
    json!({
        "at": humantime::format_rfc3339_millis(seen.at()).to_string(),
        "server": server,
        "method": seen.method().as_str(),
        "path": seen.path(),
        "model": seen.model(),
        "credential": seen.redacted_credential(),
        "fixture": seen.fixture(),
        "status": seen.status(),
    })
}
