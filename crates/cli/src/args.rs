//! What can be typed.

mod mock;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

pub(crate) use mock::{Limits, Mock, MockServe, MockToken, NamedFile, TokenKind};

/// Call any LLM without holding anyone's secret.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
#[command(after_help = "Logs go to stderr; PORTUNUS_LOG sets their level (error, warn, info, debug, trace).")]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Mock provider, mock identity provider and gateway in one process, with one real call through all.
    Quickstart(Quickstart),
    /// Serve the gateway.
    Serve(ConfigFile),
    /// Look at a configuration.
    #[command(subcommand)]
    Config(Config),
    /// A provider and an identity provider for tests.
    #[command(subcommand)]
    Mock(Mock),
    /// Keys.
    #[command(subcommand)]
    Token(Token),
    /// Who gets what, and why.
    #[command(subcommand)]
    Policy(Policy),
    /// What providers are called with.
    #[command(subcommand)]
    Credentials(Credentials),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Quickstart {
    /// End after the call instead of staying up.
    #[arg(long)]
    pub(crate) once: bool,
    /// The gateway's address; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:4000", value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,
    /// Keep the configuration, the keys and the audit in this folder instead of a temporary one.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) dir: Option<PathBuf>,
    /// Print one JSON object, for programs, instead of the settings to paste.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ConfigFile {
    /// The configuration file.
    #[arg(long, default_value = "portunus.toml", value_name = "FILE")]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Say whether a configuration would serve: read it and the secrets it refers to, open nothing.
    Check(ConfigFile),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Exchange an identity token for a key, or a key for a narrower and shorter one that ends with it, and
    /// print the key.
    #[command(
        after_help = "Examples:\n  OPENAI_API_KEY=$(portunus token exchange --server http://127.0.0.1:4000 < id-token.jwt)\n  echo $OPENAI_API_KEY | portunus token exchange --server http://127.0.0.1:4000 --scope model:gpt-4o --ttl 300"
    )]
    Exchange(Exchange),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Exchange {
    /// The gateway's URL.
    #[arg(long, value_name = "URL")]
    pub(crate) server: url::Url,
    /// The file that holds the identity token, or the key; standard input unless given. Never an argument,
    /// because other users of the machine see those.
    #[arg(long, value_name = "FILE")]
    pub(crate) subject_token_file: Option<PathBuf>,
    /// What it is; a key is known by its prefix, and everything else is an ID token unless said otherwise.
    #[arg(long, value_name = "TYPE")]
    pub(crate) subject_token_type: Option<SubjectTokenType>,
    /// Ask for less than the policy, or the key, grants, such as "model:gpt-4o* tool:get_weather".
    #[arg(long)]
    pub(crate) scope: Option<String>,
    /// Ask for a shorter life, in seconds.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) ttl: Option<u64>,
    /// Print the whole answer as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What a token is that is exchanged (RFC 8693 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum SubjectTokenType {
    /// An OpenID Connect ID token, or another JWT about somebody.
    IdToken,
    /// A key, or an access token of an issuer (RFC 9068).
    AccessToken,
    /// Either of an issuer's tokens.
    Jwt,
}

impl SubjectTokenType {
    /// What this token looks like.
    pub(crate) fn of(token: &str) -> Self {
        if token.starts_with(portunus_keyserver::PREFIX) { Self::AccessToken } else { Self::IdToken }
    }

    pub(crate) fn urn(self) -> &'static str {
        match self {
            Self::IdToken => "urn:ietf:params:oauth:token-type:id_token",
            Self::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Say which policy decides about somebody, and what keeps the others from it. Nothing is verified.
    #[command(
        after_help = "Example:\n  echo '{\"sub\":\"alice\",\"groups\":[\"eng\"]}' | portunus policy explain --issuer acme-okta --claims -"
    )]
    Explain(PolicyExplain),
    /// Check examples of who gets what.
    #[command(
        after_help = "A file of examples:\n  [[cases]]\n  name = \"an engineer\"\n  issuer = \"acme-okta\"\n  claims = { sub = \"alice\", groups = [\"eng\"] }\n  expect = { policy = \"engineers\", models = [\"gpt-4o*\"] }     # or \"denied\""
    )]
    Test(PolicyTest),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PolicyExplain {
    /// The configuration file.
    #[arg(long, default_value = "portunus.toml", value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// The claims as a JSON object; `-` is standard input.
    #[arg(long, value_name = "FILE", required_unless_present = "token_file", conflicts_with = "token_file")]
    pub(crate) claims: Option<PathBuf>,
    /// A file that holds a token, whose claims are taken without verifying them; `-` is standard input.
    /// Never an argument, because other users of the machine see those.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// The issuer's name in the configuration, in place of the claim `iss`.
    #[arg(long, value_name = "NAME")]
    pub(crate) issuer: Option<String>,
    /// The policy that the caller names.
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Option<String>,
    /// Print one JSON object, for programs.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PolicyTest {
    /// The configuration file.
    #[arg(long, default_value = "portunus.toml", value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Files of examples, in TOML, or in JSON if their names end in `.json`.
    #[arg(required = true, value_name = "FIXTURES")]
    pub(crate) fixtures: Vec<PathBuf>,
    /// Print one JSON array, for programs.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Credentials {
    /// Obtain each provider's credential once, and say which source answered, for whom and until when.
    #[command(
        after_help = "Examples:\n  portunus credentials test\n  portunus credentials test --source aws\n  portunus credentials test --source '{ source = \"file\", path = \"token\" }'"
    )]
    Test(CredentialsTest),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CredentialsTest {
    /// The configuration file.
    #[arg(long, default_value = "portunus.toml", value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Only this provider.
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
    /// A source instead of a configuration: its name, if it reads everything from the environment, or what
    /// the configuration has after `credential =`.
    #[arg(long, value_name = "SOURCE", conflicts_with_all = ["config", "provider"])]
    pub(crate) source: Option<String>,
    /// Print one JSON array, for programs.
    #[arg(long)]
    pub(crate) json: bool,
}
