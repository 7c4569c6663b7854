//! `flowmeter interfaces`

use anyhow::Result;

use crate::{capture, cli::Interfaces};

pub(super) fn run(arguments: &Interfaces) -> Result<()> {
    let loaded = super::load(&arguments.configuration.sources())?;
    let table = capture::table::table(&loaded.config)?;
    super::print(if arguments.json {
        serde_json::to_string_pretty(&table)? + "\n"
    } else {
        table.to_string()
    })
}
