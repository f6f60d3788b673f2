#![doc = include_str!("../README.md")]

mod args;
mod commands;
mod exit;
mod http;
mod logs;
mod quickstart;
mod report;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => return exit::usage(&error),
    };
    logs::start();
    exit::report(commands::run(args))
}
