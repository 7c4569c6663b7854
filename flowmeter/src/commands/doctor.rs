//! `flowmeter doctor`

use std::{
    env,
    io::{self, IsTerminal as _},
    path::Path,
};

use anyhow::Result;

use crate::{
    cli::Doctor,
    doctor::{self, environment},
};

pub(super) fn run(arguments: &Doctor) -> Result<()> {
    let mut sources = arguments.configuration.sources();
    // With the service's own configuration also what its environment adds, unless the caller's says otherwise.
    if sources.file.is_none() {
        let service = environment::read(Path::new(environment::FILE))?;
        for (name, value) in service {
            if !sources.environment.iter().any(|(known, _)| *known == name) {
                sources.environment.push((name, value));
            }
        }
    }
    let loaded = super::load(&sources)?;
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
