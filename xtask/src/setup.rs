//! What a fresh machine lacks.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Result, sh};

/// The SDKs that the end-to-end test drives, pinned: a new version is a change to review.
pub(crate) const SDKS: &[&str] = &["openai==3.54.0", "anthropic==2.12.0"];
/// The clouds' own libraries, whose requests ours are compared with; moto's STS; a generic OAuth client and
/// what reads its tokens; what tries out an OpenAPI document; and the SDKs for which the mock passes as each
/// provider, with the HTTP client whose errors they pass on.
pub(crate) const ORACLES: &[&str] = &[
    "Authlib==1.9.9",
    "anthropic==2.12.0",
    "boto3==1.44.5",
    "botocore==1.44.5",
    "cryptography==50.0.2",
    "google-auth==2.62.2",
    "google-genai==3.4.0",
    "httpx2==2.16.2",
    "joserfc==1.8.0",
    "moto[server]==5.2.5",
    "msal==1.39.0",
    "openai==3.54.0",
    "requests==2.34.2",
    "schemathesis==4.32.5",
];

/// Installs `cargo NAME` from crates.io unless it is there.
///
/// # Errors
/// When it cannot be built.
pub(crate) fn cargo_tool(name: &str) -> Result {
    if sh::succeeds(&mut sh::command("cargo", &[name, "--version"])) {
        return Ok(());
    }
    println!("cargo {name} is missing; building it takes some minutes, once");
    sh::run(&mut sh::command("cargo", &["install", "--locked", &format!("cargo-{name}")]))
}

/// The Python of a virtual environment of that name below `target/` that holds these packages; made on
/// first use.
///
/// # Errors
/// When Python is missing and cannot be installed, or the packages cannot be fetched.
pub(crate) fn python(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let folder = sh::root().join("target").join(name);
    let python = folder.join("bin/python");
    let stamp = folder.join("installed");
    let wanted = packages.join("\n");
    if std::fs::read_to_string(&stamp).is_ok_and(|have| have == wanted) && python.exists() {
        return Ok(python);
    }
    if !sh::succeeds(&mut sh::command("python3", &["-c", "import venv, ensurepip"])) {
        install("Python 3 with its `venv` module is missing", &["python3", "python3-venv"])?;
    }
    sh::run(sh::command("python3", &["-m", "venv", "--clear"]).arg(&folder))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"];
    sh::run(Command::new(&python).args(pip).args(packages).current_dir(sh::root()))?;
    std::fs::write(&stamp, wanted)?;
    Ok(python)
}

/// A folder below `target/` with the scripts of that folder and the npm packages that its `package.json` pins, a
/// Node of its own among them.
///
/// # Errors
/// When npm is missing and cannot be installed, or the packages cannot be fetched.
pub(crate) fn node(scripts: &str) -> Result<PathBuf> {
    let from = sh::root().join(scripts);
    let folder = sh::root().join("target/interop-node");
    std::fs::create_dir_all(&folder)?;
    for file in std::fs::read_dir(&from)? {
        let file = file?.path();
        if file.extension().is_some_and(|end| end == "mjs" || end == "py") {
            std::fs::copy(&file, folder.join(file.file_name().unwrap_or_default()))?;
        }
    }
    let wanted = std::fs::read_to_string(from.join("package.json"))?;
    let stamp = folder.join("installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|have| have == wanted) {
        return Ok(folder);
    }
    if !sh::succeeds(&mut sh::command("npm", &["--version"])) {
        install("Node's `npm` is missing", &["nodejs", "npm"])?;
    }
    std::fs::write(folder.join("package.json"), &wanted)?;
    let npm = ["install", "--no-audit", "--no-fund", "--loglevel=error"];
    sh::run(Command::new("npm").args(npm).current_dir(&folder))?;
    std::fs::write(&stamp, wanted)?;
    Ok(folder)
}

fn install(what_is_missing: &str, packages: &[&str]) -> Result {
    if !Path::new("/usr/bin/apt-get").exists() {
        return Err(format!("{what_is_missing}; install it and run this again").into());
    }
    let root = sh::output(&mut sh::command("id", &["-u"]))?.trim() == "0";
    let apt = |arguments: &[&str]| {
        let mut command = if root { sh::command("apt-get", &[]) } else { sh::command("sudo", &["apt-get"]) };
        sh::run(command.args(arguments))
    };
    apt(&["update", "--quiet"])?;
    apt(&[&["install", "--yes", "--quiet", "--no-install-recommends"], packages].concat())
}
