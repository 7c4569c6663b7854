//! Where the event file is read: from the file to the agent.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::Path,
    time::Duration,
};

use anyhow::Result;
use jiff::Timestamp;
use nix::unistd::Group;
use serde_json::Value;

use super::Diagnosis;
use crate::wazuh::{
    age::{Age, age},
    conf::Conf,
    host::{AGENT_CONF, CONF, Host},
};

/// How much of the end of the event file is looked at.
const LOOKED_AT: u64 = 1 << 20;
/// Flows that have to be external to external, every one, before that is called a mistake.
const FLOWS: usize = 20;
const SILENT_AFTER: Duration = Duration::from_secs(300);

pub(super) fn diagnose(host: &Host, found: &mut Vec<Diagnosis>) -> Result<()> {
    event_file(host, found);
    localfile(host, found)
}

fn event_file(host: &Host, found: &mut Vec<Diagnosis>) {
    let events = &host.events;
    let shown = events.display();
    let end = match end_of(events) {
        Ok(end) => end,
        Err(error) => {
            let remedy = "start flowmeter, or name its file: --set output.path=FILE";
            found.push(Diagnosis::error(
                format!("the event file {shown} cannot be read: {error}"),
                remedy,
            ));
            return;
        }
    };
    match barrier(events, group(host)) {
        None => found.push(Diagnosis::good(format!(
            "the event file {shown} can be read by Wazuh's group"
        ))),
        Some(barrier) => found.push(Diagnosis::error(
            format!("Wazuh's group cannot read {shown}: {barrier}"),
            "give it to the group: chgrp wazuh and chmod g+rX, and output.mode = \"0640\"",
        )),
    }
    match age(events, Timestamp::now(), SILENT_AFTER) {
        heard @ Age::Heard { .. } => found.push(Diagnosis::good(heard.to_string())),
        silent => found.push(Diagnosis::warning(
            silent.to_string(),
            "see whether the meter runs: systemctl status flowmeter",
        )),
    }
    contents(&end, found);
}

/// The last lines of a file, without the one that is cut.
fn end_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(LOOKED_AT);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(LOOKED_AT).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(match text.split_once('\n') {
        Some((_, whole)) if start > 0 => whole.to_owned(),
        _ => text,
    })
}

/// Wazuh's group; in a copy of its folder that of its configuration.
fn group(host: &Host) -> u32 {
    let named = Group::from_name("wazuh")
        .ok()
        .flatten()
        .map(|group| group.gid.as_raw());
    let of_conf = fs::metadata(host.path(CONF)).map(|metadata| metadata.gid());
    named.or(of_conf.ok()).unwrap_or_default()
}

/// What keeps a group from reading a file.
fn barrier(path: &Path, group: u32) -> Option<String> {
    for place in path.ancestors().filter(|place| !place.as_os_str().is_empty()) {
        let metadata = match fs::metadata(place) {
            Ok(metadata) => metadata,
            Err(error) => return Some(format!("{}: {error}", place.display())),
        };
        let shift = if metadata.gid() == group { 3 } else { 0 };
        let wanted = if metadata.is_dir() { 0o1 } else { 0o4 };
        let mode = metadata.mode();
        if mode >> shift & wanted == 0 {
            return Some(format!(
                "{} has the permissions {:04o}",
                place.display(),
                mode & 0o7777
            ));
        }
    }
    None
}

fn contents(lines: &str, found: &mut Vec<Diagnosis>) {
    let mut flows = 0;
    let mut external = 0;
    let mut foreign = 0;
    for line in lines.lines() {
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        if event.get("netflow").is_none_or(|netflow| netflow != "true") {
            foreign += 1;
        }
        if event
            .pointer("/event/action")
            .is_some_and(|action| action == "network_flow")
        {
            flows += 1;
            let direction = event.pointer("/network/direction");
            external += usize::from(direction.is_some_and(|direction| direction == "external"));
        }
    }
    if foreign > 0 {
        found.push(Diagnosis::error(
            format!("{foreign} of the last events have no \"netflow\":\"true\", which rule 117000 needs"),
            "set output.schema = \"wazuh4\"; look at one with: flowmeter wazuh check EVENT-FILE",
        ));
    }
    if flows >= FLOWS && external == flows {
        found.push(Diagnosis::error(
            format!("each of the last {flows} flows is external_to_external"),
            "name your networks: INTERNAL_NETWORKS or networks.internal; `ip -brief address` shows this host's",
        ));
    } else if flows > 0 {
        found.push(Diagnosis::good(format!(
            "internal networks: {} of the last {flows} flows have an end inside",
            flows - external
        )));
    }
}

fn localfile(host: &Host, found: &mut Vec<Diagnosis>) -> Result<()> {
    let mut confs = Vec::new();
    for file in [CONF, AGENT_CONF] {
        let Some(text) = host.read(file)? else { continue };
        let shown = host.path(file);
        match Conf::read(&text) {
            Ok(conf) => confs.push((shown, conf)),
            Err(error) => found.push(Diagnosis::error(
                format!("{}:{error}", shown.display()),
                "correct it there; the agent may not start with it",
            )),
        }
    }
    let events = host.events.display();
    let readers: Vec<_> = confs
        .iter()
        .filter_map(|(file, conf)| Some((file, conf.reads(&host.events)?)))
        .collect();
    match readers.as_slice() {
        [] => found.push(Diagnosis::error(
            format!("no <localfile> block names {events}: the agent does not read it"),
            "flowmeter wazuh install --agent",
        )),
        [(file, block), more @ ..] => {
            if block.log_format == "json" {
                found.push(Diagnosis::good(format!(
                    "{} has the agent read {events}",
                    file.display()
                )));
            } else {
                found.push(Diagnosis::error(
                    format!("{} reads {events} as {}", file.display(), block.log_format),
                    "make that <log_format>json</log_format>",
                ));
            }
            if let Some((other, _)) = more.first() {
                found.push(Diagnosis::warning(
                    format!("{} names {events} as well", other.display()),
                    "keep one of the two",
                ));
            }
        }
    }
    if !confs.iter().any(|(_, conf)| conf.tells_age()) {
        found.push(Diagnosis::warning(
            "nothing tells the manager when this meter falls silent",
            "flowmeter wazuh install --agent",
        ));
    }
    super::manager::restarted(host, "wazuh-logcollector", &[CONF], found);
    Ok(())
}
