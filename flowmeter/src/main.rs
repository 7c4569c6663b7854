//! `flowmeter`: parse the arguments, do what they say, print an error once.

use std::process::ExitCode;

use clap::Parser;
use flowmeter::{cli::Cli, commands, error, logging};

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::init(cli.log_level.into());
    match commands::run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error::report(&error),
    }
}
