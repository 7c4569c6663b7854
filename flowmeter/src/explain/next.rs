//! What to type next: queries for the dashboard, commands for the collector, the entry that silences it.

use std::net::IpAddr;

use jiff::{Timestamp, ToSpan as _, tz::TimeZone};

use super::{episode::Episode, told::Told};
use crate::{config::Config, detect::Tag};

/// An entry of the allow-list ends after this, so that it is looked at again.
const ALLOWED_DAYS: i64 = 30;

/// Label and query, in the dashboard's query language.
pub(crate) fn queries(episode: &Episode) -> Vec<(&'static str, String)> {
    let told = episode.latest();
    let prefix = told.prefix;
    let mut queries = vec![(
        "this episode",
        format!("{prefix}anomaly.episode:\"{}\"", told.episode),
    )];
    for (label, ip) in [
        ("more of source", told.source),
        ("more of target", told.destination),
    ] {
        queries.extend(ip.map(|ip| {
            let about = format!("({prefix}source.ip:\"{ip}\" or {prefix}destination.ip:\"{ip}\")");
            (label, format!("{prefix}anomaly.tags:* and {about}"))
        }));
    }
    if told.source.is_some() || told.destination.is_some() {
        let mut query = format!("{prefix}event.action:network_flow");
        for (side, ip) in [("source", told.source), ("destination", told.destination)] {
            query += &ip
                .map(|ip| format!(" and {prefix}{side}.ip:\"{ip}\""))
                .unwrap_or_default();
        }
        queries.push(("its flows", query));
    }
    queries
}

/// What and command, for the host that has the event file.
pub(crate) fn commands(episode: &Episode) -> Vec<(&'static str, String)> {
    let told = episode.latest();
    let file = Config::default().output.path;
    let file = file.display();
    let mut commands = Vec::new();
    let ends: Vec<String> = [("source", told.source), ("destination", told.destination)]
        .into_iter()
        .filter_map(|(side, ip)| Some(format!(".{side}.ip == \"{}\"", ip?)))
        .collect();
    if !ends.is_empty() {
        commands.push((
            "Its flows and findings, out of the event file or that of all flows (output.all_flows_path):",
            format!("jq -c 'select({})' {file}", ends.join(" and ")),
        ));
    }
    commands.push((
        "Who talked with whom until then, and does it come up again? A capture or the file of all flows shows all:",
        format!(
            "flowmeter replay --summary --until {:.0} {file}",
            whole_second(episode.last_seen())
        ),
    ));
    commands
}

/// Up to the end of the second.
fn whole_second(time: Timestamp) -> Timestamp {
    time.checked_add(1.second()).unwrap_or(time)
}

/// The entry of `detect.allow` that covers what the episode is about and nothing else; `None` where that would
/// be more than one host on either side, or where the allow-list does not count.
pub(crate) fn allow(episode: &Episode, now: Timestamp) -> Option<String> {
    let source = episode.constant(|told| told.source);
    let destination = episode.constant(|told| told.destination);
    let tag = episode.latest().tag;
    if tag == Tag::Overflow || source.is_none() && destination.is_none() {
        return None;
    }
    let mut entry = format!("[[detect.allow]]\nfindings = [\"{}\"]\n", tag.name());
    for (key, ip) in [("source", source), ("destination", destination)] {
        entry += &ip.map(|ip| format!("{key} = [\"{ip}\"]\n")).unwrap_or_default();
    }
    if let Some(port) = episode.constant(|told| told.port) {
        entry += &format!("ports = [{port}]\n");
    }
    let until = now.max(episode.last_seen()).to_zoned(TimeZone::UTC).date();
    let until = until.checked_add(ALLOWED_DAYS.days()).unwrap_or(until);
    entry += &format!("until = \"{until}\"\ncomment = \"why, and which ticket\"");
    Some(entry)
}

/// `text` with what the finding names in the place of `{source}` and the like; `None` where it names no such.
pub(crate) fn filled(text: &str, episode: &Episode) -> Option<String> {
    let told = episode.latest();
    let time = |time: Timestamp| format!("{} UTC", time.strftime("%Y-%m-%d %H:%M:%S"));
    let values: [(&str, Option<String>); 7] = [
        ("{source}", told.source.map(|ip| ip.to_string())),
        ("{destination}", told.destination.map(|ip| ip.to_string())),
        ("{host}", told.destination.map(|ip| bracketed(ip, None))),
        ("{endpoint}", endpoint(told)),
        ("{port}", told.port.map(|port| port.to_string())),
        ("{from}", Some(time(episode.first_seen()))),
        ("{until}", Some(time(whole_second(episode.last_seen())))),
    ];
    let mut filled = text.to_owned();
    for (name, value) in values {
        if filled.contains(name) {
            filled = filled.replace(name, &value?);
        }
    }
    Some(filled)
}

fn endpoint(told: &Told) -> Option<String> {
    Some(bracketed(told.destination?, Some(told.port?)))
}

/// As ss and openssl want it, for a shell.
fn bracketed(ip: IpAddr, port: Option<u16>) -> String {
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    match ip {
        IpAddr::V4(ip) => format!("{ip}{port}"),
        IpAddr::V6(ip) => format!("'[{ip}]{port}'"),
    }
}
