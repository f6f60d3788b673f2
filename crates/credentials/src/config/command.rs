//! A program's output in a configuration.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

/// The credential that a program prints: `CommandSource`. Needs the feature `command`.
///
/// `Debug` shows the program only: somebody may have put a secret into an argument.
#[derive(Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CommandConfig {
    /// The program; there is no shell.
    pub program: PathBuf,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// After so many seconds it is killed. 30 by default.
    pub timeout_seconds: Option<u64>,
}

impl fmt::Debug for CommandConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandConfig").field("program", &self.program).finish_non_exhaustive()
    }
}

#[cfg(feature = "command")]
mod built {
    use std::sync::Arc;
    use std::time::Duration;

    use portunus_auth_core::{Clock, ConfigProblem};

    use super::CommandConfig;
    use crate::CommandSource;
    use crate::config::Source;

    impl CommandConfig {
        pub(in crate::config) fn source(&self, clock: Arc<dyn Clock>) -> Result<Source, ConfigProblem> {
            if self.program.as_os_str().is_empty() {
                return Err(ConfigProblem::new("program", "name a program"));
            }
            let source = CommandSource::new(&self.program, &self.args, clock);
            Ok(Box::new(match self.timeout_seconds {
                Some(0) => return Err(ConfigProblem::new("timeout_seconds", "at least one second")),
                Some(seconds) => source.with_timeout(Duration::from_secs(seconds)),
                None => source,
            }))
        }
    }
}
