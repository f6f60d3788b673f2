//! One file for each command: it calls one library function and prints.

mod config;
mod mock;
mod quickstart;
mod serve;
mod token;

use crate::args::{Args, Command, Config, Mock, Token};
use crate::exit::Failure;

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::Retry(format!("no runtime: {error}")))?;
    runtime.block_on(async {
        match args.command {
            Command::Quickstart(args) => quickstart::run(args).await,
            Command::Serve(args) => serve::run(args).await,
            Command::Config(Config::Check(args)) => config::check(&args),
            Command::Mock(Mock::Serve(args)) => mock::serve(args).await,
            Command::Token(Token::Exchange(args)) => token::exchange(args).await,
        }
    })
}

/// Waits for the wish to end: SIGTERM or Ctrl-C.
async fn end_wished() {
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate => {}
    }
}
