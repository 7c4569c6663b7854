//! `flowmeter run`

use anyhow::Result;

use crate::{agent, cli::Run};

pub(super) fn run(arguments: &Run) -> Result<()> {
    let sources = arguments.sources();
    let loaded = super::load(&sources)?;
    agent::run(loaded, &sources, arguments.duration)
}
