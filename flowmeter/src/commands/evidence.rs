//! `flowmeter evidence`

use std::fs;

use anyhow::{Context as _, Result, anyhow, ensure};
use indicatif::{BinaryBytes, HumanCount};
use jiff::Timestamp;

use crate::{
    cli::Evidence,
    config::{DEFAULT_FILE, Loaded},
    doctor,
    evidence::{self, Circumstances, Files, Request, Subject},
};

pub(super) fn run(arguments: &Evidence) -> Result<()> {
    if let (Some(since), Some(until)) = (arguments.since, arguments.until) {
        ensure!(since <= until, "--since {since} is later than --until {until}");
    }
    let subject = match (&arguments.subject.finding, arguments.subject.source) {
        (Some(episode), _) => Subject::Finding {
            episode: episode.clone(),
            margin: arguments.margin,
        },
        (None, Some(ip)) => Subject::Host(ip.to_canonical()),
        (None, None) => return Err(anyhow!("neither --finding nor --source is given")),
    };
    let loaded = super::load(&super::as_service(arguments.configuration.sources())?)?;
    let files = if arguments.files.is_empty() {
        Files::Output(&loaded.config.output.path)
    } else {
        Files::Named(&arguments.files)
    };
    let request = Request {
        subject,
        since: arguments.since,
        until: arguments.until,
        directory: arguments.directory.clone(),
    };
    let collected = evidence::collect(&request, files, &effective(&loaded)?, &circumstances())?;
    let mut output = format!(
        "{} ({})\n",
        collected.archive.display(),
        BinaryBytes(collected.bytes)
    );
    for (name, lines) in &collected.lines {
        output += &format!("  {name:<24}{} lines\n", HumanCount(*lines));
    }
    super::print(output)?;
    for problem in &collected.problems {
        log::warn!("{problem}");
    }
    ensure!(
        collected.problems.is_empty(),
        "the evidence is not whole: its README.txt tells what is missing"
    );
    Ok(())
}

/// Every key with its value, and what set those that are not the default.
fn effective(loaded: &Loaded) -> Result<String> {
    let mut text = match &loaded.file {
        Some(path) => format!("# {} and what was set over it\n", path.display()),
        None => format!("# no {DEFAULT_FILE}; defaults and what was set over them\n"),
    };
    for (key, value, origin) in loaded.differences()? {
        let origin = origin.map(ToString::to_string).unwrap_or_default();
        text += &format!("# not the default: {key} = {value} ({origin})\n");
    }
    text.push('\n');
    let all = toml::to_string_pretty(&loaded.config).context("cannot write the configuration as TOML")?;
    Ok(text + &all)
}

fn circumstances() -> Circumstances {
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
    let source = fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    Circumstances {
        flowmeter: env!("CARGO_PKG_VERSION"),
        host: host.unwrap_or_else(|error| format!("unknown: {error}")),
        collected_at: Timestamp::now(),
        clock_source: source.map_or_else(
            |error| format!("unknown: {error}"),
            |source| source.trim().to_owned(),
        ),
        clock_state: doctor::clock().found,
    }
}
