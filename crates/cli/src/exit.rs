//! How the program ends: 64 wrong usage, 75 try again later, 77 refused, 78 wrong configuration.

use std::fmt;
use std::process::ExitCode;

use portunus_gateway::ConfigError;

/// Why a command failed, by what the person can do.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command was given wrongly.
    Usage(String),
    /// It may work later.
    Retry(String),
    /// Somebody said no.
    Denied(String),
    /// The configuration is wrong.
    Config(String),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(says) | Self::Retry(says) | Self::Denied(says) | Self::Config(says) => {
                f.write_str(says)
            }
        }
    }
}

pub(crate) fn report(result: Result<(), Failure>) -> ExitCode {
    let Err(failure) = result else { return ExitCode::SUCCESS };
    eprintln!("{failure}");
    ExitCode::from(match failure {
        Failure::Usage(_) => 64,
        Failure::Retry(_) => 75,
        Failure::Denied(_) => 77,
        Failure::Config(_) => 78,
    })
}

/// For a command line that does not parse; asking for help is no failure.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    if printed.is_ok() && !error.use_stderr() { ExitCode::SUCCESS } else { ExitCode::from(64) }
}
