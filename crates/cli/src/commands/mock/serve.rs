//! `portunus mock serve`

use std::io::Write as _;

use portunus_mock::{Limiter, Recorded, ServerBuilder, StartError};

use super::fixtures::{Followed, settle};
use super::{keys, oauth, ready};
use crate::args::{Limits, MockServe};
use crate::commands::end_wished;
use crate::exit::Failure;

pub(crate) async fn serve(args: MockServe) -> Result<(), Failure> {
    let forget = || {
        // Most often there is none.
        args.port_file.iter().for_each(|path| drop(std::fs::remove_file(path)));
    };
    // Whoever waits for the file must not find an earlier run's.
    forget();
    let mut files = Followed::new(args.fixtures.clone());
    let server = builder(&args)?.fixtures(files.load()?).build().await.map_err(failed)?;
    let places = ready::places(&server, &args);
    if let Some(path) = &args.port_file {
        ready::write(path, &places)?;
    }
    say(&match (args.json_log, args.print_env) {
        (true, _) => places.to_string(),
        (_, true) => ready::exports(&server, &args),
        _ => ready::as_text(&server, &args),
    });
    tokio::select! {
        () = end_wished() => {}
        never = files.follow(&server) => match never {},
    }
    forget();
    let met = settle(&server);
    server.shutdown().await;
    match met {
        Err(unmet) if !args.expect_all && !args.strict => {
            eprintln!("{unmet}");
            Ok(())
        }
        met => met,
    }
}

fn builder(args: &MockServe) -> Result<ServerBuilder, Failure> {
    let mut builder = keys::add(ServerBuilder::new().port(args.port), args)?;
    builder = builder.with_auth(args.require_auth || args.strict);
    if !args.documented {
        builder = builder.faithful();
    }
    if !args.no_control_api {
        builder = builder.control_api();
    }
    if let Some(seed) = args.seed {
        builder = builder.seed(seed);
    }
    if let Some(limits) = args.limit {
        builder = builder.limiter(limiter(limits));
    }
    if args.tls {
        builder = builder.tls();
    }
    if let Some(file) = &args.ca_file {
        builder = builder.ca_file(file);
    }
    if args.json_log {
        builder = builder.observe(log("llm"));
    }
    if args.oauth {
        let idp = oauth::builder(args)?;
        let idp = if args.json_log { idp.observe(log("oauth")) } else { idp };
        builder = builder.with_idp(idp).oauth_port(args.oauth_port);
    }
    Ok(builder)
}

fn limiter(limits: Limits) -> Limiter {
    let limiter = Limiter::per(limits.per);
    let limiter = limits.requests.into_iter().fold(limiter, Limiter::requests);
    limits.tokens.into_iter().fold(limiter, Limiter::tokens)
}

fn log(server: &'static str) -> impl Fn(&Recorded) + Send + Sync + 'static {
    move |seen| say(&ready::line(server, seen).to_string())
}

/// A mock whose reader has gone goes on serving.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn failed(error: StartError) -> Failure {
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
    let says = format!("the mock cannot start: {error}{cause}");
    match error {
        StartError::Listen { .. } | StartError::Thread(_) | StartError::Certificate(_) => {
            Failure::Retry(says)
        }
        _ => Failure::Usage(says),
    }
}
