//! One file per command: from checked arguments to what the rest of the crate does.

mod check_config;
mod completions;
mod doctor;
mod evidence;
mod explain;
mod generate;
mod interfaces;
mod man;
mod print_default_config;
mod replay;
mod report;
mod run;
mod wazuh;

use std::{
    io::{self, Write},
    path::Path,
};

use anyhow::{Context, Result};

use crate::{
    cli::Command,
    config::{self, Loaded, Sources},
    doctor::environment,
    error::Failure,
};

/// Does what the command says.
///
/// # Errors
/// What the command fails with; [`crate::error::exit_code`] tells its kind.
pub fn run(command: Command) -> Result<()> {
    match command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Generate(arguments) => generate::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Evidence(arguments) => evidence::run(&arguments),
        Command::Wazuh(arguments) => wazuh::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::CheckConfig(arguments) => check_config::run(&arguments),
        Command::Interfaces(arguments) => interfaces::run(&arguments),
        Command::PrintDefaultConfig => print_default_config::run(),
        Command::Completions { shell } => completions::run(shell),
        Command::Man => man::run(),
    }
}

/// Loads the configuration and tells what was taken otherwise than it was written.
fn load(sources: &Sources) -> Result<Loaded> {
    let loaded = config::load(sources).map_err(Failure::Configuration)?;
    for note in &loaded.notes {
        log::warn!("{note}");
    }
    Ok(loaded)
}

/// With the service's own configuration also what its environment adds, unless the caller's says otherwise.
fn as_service(mut sources: Sources) -> Result<Sources> {
    if sources.file.is_none() {
        for (name, value) in environment::read(Path::new(environment::FILE))? {
            if !sources.environment.iter().any(|(known, _)| *known == name) {
                sources.environment.push((name, value));
            }
        }
    }
    Ok(sources)
}

/// Writes the whole of a command's output. A reader that has gone, such as `head`, wants no more of it: that is
/// no failure.
fn print(output: impl AsRef<[u8]>) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(output.as_ref()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}
