//! Logs, on stderr.

use tracing_subscriber::EnvFilter;

/// Starts them at the level that `PORTUNUS_LOG` says, or `warn`.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_env("PORTUNUS_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
