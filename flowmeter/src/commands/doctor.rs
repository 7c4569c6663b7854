//! `flowmeter doctor`

use std::{
    env,
    io::{self, IsTerminal as _},
};

use anyhow::Result;

use crate::{cli::Doctor, doctor};

pub(super) fn run(arguments: &Doctor) -> Result<()> {
    let loaded = super::load(&super::as_service(arguments.configuration.sources())?)?;
    let report = doctor::examine(&loaded.config, &arguments.wazuh);
    super::print(if arguments.json {
        serde_json::to_string_pretty(&Answer {
            result: report.result(),
            report: &report,
        })? + "\n"
    } else {
        report.to_text(colours())
    })?;
    report.verdict()
}

#[derive(serde::Serialize)]
struct Answer<'a> {
    result: doctor::Grade,
    #[serde(flatten)]
    report: &'a doctor::Report,
}

/// Only where somebody looks at them (https://no-color.org).
fn colours() -> bool {
    let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
    io::stdout().is_terminal() && !unwanted && !dumb
}
