//! `flowmeter explain`

use std::io::{self, IsTerminal as _};

use anyhow::Result;
use jiff::Timestamp;

use crate::{
    cli::Explain,
    explain::{self, Explained},
};

pub(super) fn run(arguments: &Explain) -> Result<()> {
    // https://no-color.org
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let coloured = wanted && io::stdout().is_terminal();
    let Explained { reports, problem } = explain::explain(&arguments.file, coloured, Timestamp::now());
    super::print(reports)?;
    problem.map_or(Ok(()), Err)
}
