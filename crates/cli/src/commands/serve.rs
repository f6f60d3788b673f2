//! `portunus serve`

use portunus_credentials::ProcessEnv;
use portunus_gateway::Server;

use super::end_wished;
use crate::args::ConfigFile;
use crate::exit::Failure;

pub(crate) async fn run(args: ConfigFile) -> Result<(), Failure> {
    let server = Server::start(&args.config, &ProcessEnv).await?;
    println!("listening on http://{}", server.address());
    end_wished().await;
    println!("draining");
    server.stop().await;
    Ok(())
}
