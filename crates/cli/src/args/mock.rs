//! What can be typed after `portunus mock`.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use portunus_mock::{Algorithm, Preset, TokenFault};
use serde::de::IntoDeserializer as _;
use serde::de::value::Error;
use serde_json::Value;

use crate::commands::KeySpec;

#[derive(Debug, Subcommand)]
pub(crate) enum Mock {
    /// Serve an LLM provider, and an OAuth server if that is wished, on this machine until Ctrl-C or SIGTERM.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Box<MockServe>),
    /// Say whether fixture files can be used, and of each that cannot, where and why.
    Validate(MockValidate),
    /// Print a token that the mock's public test keys sign, right or wrong.
    #[command(after_help = TOKEN_EXAMPLES)]
    Token(MockToken),
    /// Print the key set that verifies what `mock token` prints.
    Jwks,
}

const SERVE_EXAMPLES: &str = "\
Examples:
  portunus mock serve --key sk-test:uses=2,ttl=5m
  portunus mock serve --port 0 --port-file mock.json --oauth --json-log
  portunus mock serve --fixtures weather.yaml --expect-all
  portunus mock serve --oauth --preset okta --oauth-client cli --oauth-redirect http://127.0.0.1/callback
  curl localhost:4010/__mock/requests      # the control API; CONTROL.md has all of it";

const TOKEN_EXAMPLES: &str = "\
Examples:
  portunus mock token --issuer http://127.0.0.1:8080 --sub alice --aud portunus --ttl 5m --claim 'groups=[\"eng\"]'
  portunus mock token --sub alice --fault expired
  portunus mock jwks > jwks.json";

#[derive(Debug, Args)]
pub(crate) struct MockServe {
    /// The provider's port; 0 takes a free one.
    #[arg(long, default_value_t = 4010)]
    pub(crate) port: u16,
    /// Answer as these fixture files say, also after they have changed.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) fixtures: Vec<PathBuf>,
    /// End with 77 if a fixture has not answered as often as its file expects. Otherwise that is only told.
    #[arg(long, requires = "fixtures")]
    pub(crate) expect_all: bool,
    /// Write where everything is to that file, as one JSON object, once all ports listen.
    #[arg(long, value_name = "FILE")]
    pub(crate) port_file: Option<PathBuf>,
    /// Serve HTTPS, with a CA that is made for this run.
    #[arg(long)]
    pub(crate) tls: bool,
    /// Write the CA's certificate to that file; means --tls.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Do not serve the control API.
    #[arg(long)]
    pub(crate) no_control_api: bool,
    /// Print a line of JSON for each request, and nothing else.
    #[arg(long)]
    pub(crate) json_log: bool,
    /// Print what to export, so that the providers' own clients find the mock, and nothing else.
    #[arg(long, conflicts_with = "json_log")]
    pub(crate) print_env: bool,
    /// Draw everything that is left to chance from that number.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Word errors as Portunus documents them, instead of as the providers do.
    #[arg(long)]
    pub(crate) documented: bool,
    /// Really limit all callers together, such as requests=60,tokens=100000,per=1m.
    #[arg(long, value_name = "LIMITS")]
    pub(crate) limit: Option<Limits>,

    /// A key that the provider accepts, with or without options: TOKEN:uses=2,ttl=5m,models=a|b,paths=/v1/messages.
    /// Without any key, and without an OAuth server, it accepts every caller.
    #[arg(long, value_name = "KEY", help_heading = "Credentials")]
    pub(crate) key: Vec<KeySpec>,
    /// A file with such keys, one a line; `-` is standard input. Other users of the machine see arguments.
    #[arg(long, value_name = "FILE", help_heading = "Credentials")]
    pub(crate) key_file: Vec<PathBuf>,
    /// An AWS key that signs calls of Bedrock: its id, and the file that holds its secret.
    #[arg(long, value_name = "ID=FILE", help_heading = "Credentials")]
    pub(crate) aws_key: Vec<NamedFile>,
    /// Ask for a credential even if none is known.
    #[arg(long, help_heading = "Credentials")]
    pub(crate) require_auth: bool,
    /// Means --require-auth and --expect-all.
    #[arg(long)]
    pub(crate) strict: bool,

    /// Serve an OAuth server as well; its access tokens are accepted by the provider.
    #[arg(long, help_heading = "OAuth server")]
    pub(crate) oauth: bool,
    /// Its port; 0 takes a free one.
    #[arg(long, default_value_t = 0, requires = "oauth", help_heading = "OAuth server")]
    pub(crate) oauth_port: u16,
    /// A client: its id and, unless it is public, the file that holds its secret. Without any there is
    /// mock-client, whose secret is mock-secret.
    #[arg(long, value_name = "ID[=FILE]", requires = "oauth", help_heading = "OAuth server")]
    pub(crate) oauth_client: Vec<NamedFile>,
    /// Where users of these clients may be sent back to.
    #[arg(long, value_name = "URI", requires = "oauth_client", help_heading = "OAuth server")]
    pub(crate) oauth_redirect: Vec<String>,
    /// A scope that these clients may ask for: openid, profile, email and offline_access, unless given.
    #[arg(long, value_name = "SCOPE", requires = "oauth_client", help_heading = "OAuth server")]
    pub(crate) oauth_scope: Vec<String>,
    /// A user, as a JSON object of claims. With a member `password` a login page asks for it; without, that
    /// user signs in unasked.
    #[arg(long, value_name = "FILE", requires = "oauth", help_heading = "OAuth server")]
    pub(crate) user: Vec<PathBuf>,
    /// Imitate a provider: google, okta, entra, auth0, github, gitlab, onelogin, github-actions.
    #[arg(long, value_name = "NAME", requires = "oauth", value_parser = named::<Preset>, help_heading = "OAuth server")]
    pub(crate) preset: Option<Preset>,
    /// A further issuer below a path of that name, with or without a preset.
    #[arg(long, value_name = "NAME[=PRESET]", requires = "oauth", help_heading = "OAuth server")]
    pub(crate) tenant: Vec<NamedPreset>,
}

#[derive(Debug, Args)]
pub(crate) struct MockValidate {
    /// The fixture files.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct MockToken {
    /// The issuer that the token names.
    #[arg(long, value_name = "URL", default_value = "https://idp.example")]
    pub(crate) issuer: String,
    /// Whom it is about.
    #[arg(long)]
    pub(crate) sub: String,
    /// For whom it is; mock-client, unless given.
    #[arg(long)]
    pub(crate) aud: Vec<String>,
    /// How long it is valid.
    #[arg(long, default_value = "1h", value_parser = span)]
    pub(crate) ttl: Duration,
    /// A claim. The value is JSON if it can be, and text otherwise.
    #[arg(long, value_name = "NAME=VALUE", value_parser = claim)]
    pub(crate) claim: Vec<(String, Value)>,
    /// Leave out a claim that would be there.
    #[arg(long, value_name = "NAME")]
    pub(crate) without: Vec<String>,
    /// Which of the two it is.
    #[arg(long, default_value = "id")]
    pub(crate) kind: TokenKind,
    /// How it is signed: RS256, ES256 or EdDSA.
    #[arg(long, value_name = "NAME", default_value = "RS256", value_parser = named::<Algorithm>)]
    pub(crate) alg: Algorithm,
    /// What is wrong with it: bad_signature, wrong_issuer, wrong_audience, expired, not_yet_valid,
    /// unknown_kid, no_kid or alg_none.
    #[arg(long, value_name = "NAME", value_parser = named::<TokenFault>)]
    pub(crate) fault: Option<TokenFault>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TokenKind {
    Id,
    Access,
}

/// A name, and the file that holds its secret.
#[derive(Clone, Debug)]
pub(crate) struct NamedFile {
    pub(crate) name: String,
    pub(crate) file: Option<PathBuf>,
}

impl FromStr for NamedFile {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, file) = text.split_once('=').map_or((text, None), |(name, file)| (name, Some(file)));
        if name.is_empty() || file == Some("") {
            return Err("a name comes first, then `=` and a file");
        }
        Ok(Self { name: name.to_owned(), file: file.map(PathBuf::from) })
    }
}

/// A tenant, and whom it imitates.
#[derive(Clone, Debug)]
pub(crate) struct NamedPreset {
    pub(crate) name: String,
    pub(crate) preset: Preset,
}

impl FromStr for NamedPreset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, preset) = match text.split_once('=') {
            Some((name, preset)) => (name, named(preset)?),
            None => (text, Preset::default()),
        };
        Ok(Self { name: name.to_owned(), preset })
    }
}

/// `requests=60,tokens=100000,per=1m`
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) requests: Option<NonZeroU64>,
    pub(crate) tokens: Option<NonZeroU64>,
    pub(crate) per: Duration,
}

impl FromStr for Limits {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut limits = Self { requests: None, tokens: None, per: Duration::from_secs(60) };
        for part in text.split(',') {
            let (name, value) = part.split_once('=').ok_or("write requests=N,tokens=N,per=1m")?;
            let number = || value.parse().map_err(|_| format!("`{name}` is a number, not 0"));
            match name {
                "requests" => limits.requests = Some(number()?),
                "tokens" => limits.tokens = Some(number()?),
                "per" => limits.per = span(value)?,
                _ => return Err(format!("`{name}` is none of requests, tokens, per")),
            }
        }
        Ok(limits)
    }
}

/// The sum of a longer one and a date could not be written.
fn span(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(1_000 * 365 * 24 * 3_600);
    let span = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if span > LONGEST { Err("at most 1000 years".to_owned()) } else { Ok(span) }
}

fn claim(text: &str) -> Result<(String, Value), &'static str> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into())))
}

/// One of the names that the mock knows a thing by, which the error lists.
fn named<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    T::deserialize(text.into_deserializer()).map_err(|error: Error| error.to_string())
}
