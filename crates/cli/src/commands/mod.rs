//! One file for each command: it calls one library function and prints.

mod config;
mod credentials;
mod mock;
mod policy;
mod quickstart;
mod serve;
mod token;

use tokio::signal::unix::{SignalKind, signal};

pub(crate) use mock::KeySpec;

use crate::args::{Args, Command, Config, Credentials, Mock, Policy, Token};
use crate::exit::Failure;

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    // The mock's servers have threads of their own.
    let mut runtime = match args.command {
        Command::Mock(_) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.worker_threads(2).enable_all().build();
    runtime.map_err(|error| Failure::Retry(format!("no runtime: {error}")))?.block_on(async {
        match args.command {
            Command::Quickstart(args) => quickstart::run(args).await,
            Command::Serve(args) => serve::run(args).await,
            Command::Config(Config::Check(args)) => config::check(&args),
            Command::Policy(Policy::Explain(args)) => policy::explain(&args),
            Command::Policy(Policy::Test(args)) => policy::test(&args),
            Command::Mock(Mock::Serve(args)) => mock::serve(*args).await,
            Command::Mock(Mock::Validate(args)) => mock::validate(&args.files),
            Command::Mock(Mock::Token(args)) => mock::token(args),
            Command::Mock(Mock::Jwks) => mock::jwks(),
            Command::Token(Token::Exchange(args)) => token::exchange(args).await,
            Command::Credentials(Credentials::Test(args)) => credentials::test(args).await,
        }
    })
}

/// Waits for the wish to end: SIGTERM, Ctrl-C, or the terminal's end (SIGHUP).
async fn end_wished() {
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = signalled(SignalKind::terminate()) => {}
        () = signalled(SignalKind::hangup()) => {}
    }
}

async fn signalled(kind: SignalKind) {
    match signal(kind) {
        Ok(mut signals) => drop(signals.recv().await),
        Err(_) => std::future::pending().await,
    }
}
