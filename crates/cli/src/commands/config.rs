//! `portunus config …`

use portunus_credentials::ProcessEnv;

use crate::args::ConfigFile;
use crate::exit::Failure;

pub(crate) fn check(args: &ConfigFile) -> Result<(), Failure> {
    portunus_gateway::check(&args.config, &ProcessEnv)?;
    println!("{}: good", args.config.display());
    Ok(())
}
