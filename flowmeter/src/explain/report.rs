//! The report about one episode.

use std::time::Duration;

use indicatif::{BinaryBytes, HumanCount};
use jiff::Timestamp;

use super::{
    episode::Episode,
    knowledge::{self, REASONS, TECHNIQUES, kind},
    next,
    page::Page,
    told::Told,
};
use crate::{config, detect::Phase};

/// Score from which the title is red.
const SEVERE: u64 = 80;

/// `now` dates the entry of the allow-list.
pub(super) fn write(page: &mut Page, episode: &Episode, now: Timestamp) {
    let told = episode.latest();
    let kind = kind(told.tag);
    page.title(
        told.score.is_some_and(|score| score >= SEVERE),
        told.tag.name(),
        kind.title,
    );
    page.prose(&told.message);
    page.blank();
    facts(page, episode);
    reasons(page, episode);
    settings(page, told);
    evidence(page, episode);
    next_steps(page, episode);
    benign(page, episode, now);
}

fn facts(page: &mut Page, episode: &Episode) {
    let told = episode.latest();
    if told.synthetic {
        page.row("made up", "by flowmeter generate: there was no such traffic");
    }
    if let Some(score) = told.score {
        let confidence = told.confidence.as_ref();
        let confidence = confidence.map(|confidence| format!(", confidence {confidence}"));
        page.row(
            "score",
            &format!("{score} of 100{}", confidence.unwrap_or_default()),
        );
    }
    let (first, last) = (episode.first_seen(), episode.last_seen());
    let lasting = match last.duration_since(first).unsigned_abs().as_secs() {
        0 => "within a second".to_owned(),
        seconds => humantime::format_duration(Duration::from_secs(seconds)).to_string(),
    };
    page.row("seen", &format!("{} to {} ({lasting})", time(first), time(last)));
    page.row("episode", &format!("{}: {}", told.episode, phases(episode)));
    page.row("source", &side(told.source.map(|ip| ip.to_string())));
    page.row(
        "target",
        &side(told.destination.map(|ip| {
            let port = told.port.map(|port| format!(", port {port}")).unwrap_or_default();
            let transport = told
                .transport
                .as_ref()
                .map(|name| format!(", {}", name.to_uppercase()));
            format!("{ip}{port}{}", transport.unwrap_or_default())
        })),
    );
    if let Some(collector) = &told.collector {
        page.row("seen by", collector);
    }
    for (number, id) in told.techniques.iter().enumerate() {
        let name = knowledge::text(TECHNIQUES, id).unwrap_or("(not known to this version)");
        page.row(if number == 0 { "ATT&CK" } else { "" }, &format!("{id} {name}"));
    }
}

fn side(address: Option<String>) -> String {
    address.unwrap_or_else(|| "several, or none that counts".to_owned())
}

fn phases(episode: &Episode) -> String {
    let mut phases = Vec::new();
    phases.push(if episode.has(Phase::Start) {
        "start".to_owned()
    } else {
        "its start is not among what was read".to_owned()
    });
    match episode.updates() {
        0 => {}
        1 => phases.push("1 update".to_owned()),
        updates => phases.push(format!("{updates} updates")),
    }
    phases.push(if episode.has(Phase::End) {
        "ended".to_owned()
    } else {
        "no end yet".to_owned()
    });
    phases.join(", ")
}

fn reasons(page: &mut Page, episode: &Episode) {
    let reasons = episode.reasons();
    if reasons.is_empty() {
        return;
    }
    page.heading("Why it was raised");
    for (id, words) in reasons {
        page.item(&format!("{words} ({id})"));
        page.note(knowledge::text(REASONS, id).unwrap_or("This version does not know the reason."));
    }
}

fn settings(page: &mut Page, told: &Told) {
    if told.settings.is_empty() {
        return;
    }
    page.heading("Against which setting");
    for setting in &told.settings {
        page.item(setting.trim_end_matches(" = "));
        let key = setting.split(" = ").next().unwrap_or_default();
        if let Some(comment) = config::comment(key) {
            page.note(&comment);
        }
    }
}

fn evidence(page: &mut Page, episode: &Episode) {
    let told = episode.latest();
    page.heading("Evidence");
    for (name, value, error) in &told.counts {
        let mut shown = HumanCount(*value).to_string();
        if name.starts_with("bytes_") {
            shown += &format!(" ({})", BinaryBytes(*value));
        }
        if let Some(error) = error.filter(|error| *error > 0) {
            shown += &format!(", give or take {error} %");
        }
        page.row(name, &shown);
    }
    list(page, "ports, a sample", &told.ports);
    list(page, "hosts, a sample", &told.hosts);
    list(page, "open ports", &told.open_ports);
    if let Some(period) = &told.period {
        page.row(
            "period",
            &format!(
                "{} s, jitter {} s; next contact due {}",
                rounded(period.seconds),
                rounded(period.jitter_seconds),
                time(period.next)
            ),
        );
    }
    if let Some(baseline) = &told.baseline {
        let unit = &baseline.unit;
        let usual = match baseline.deviation {
            Some(deviation) => format!(
                "usual {} {unit}, {} times the usual deviation off",
                rounded(baseline.usual),
                rounded(deviation)
            ),
            None => "what is usual is not known yet".to_owned(),
        };
        page.row(
            "baseline",
            &format!("{} {unit}; {usual}", rounded(baseline.observed)),
        );
    }
    let sides = if told.one_sided {
        "hardly anything is answered where this was seen: \"no reply\" proves little"
    } else {
        "both directions were seen"
    };
    let lost = match told.lost_packets {
        0 => "no packet was lost in the interval".to_owned(),
        lost => format!("{} packets were not counted in the interval", HumanCount(lost)),
    };
    page.row("visibility", &format!("{sides}; {lost}"));
    if episode.suppressed() > 0 {
        page.row(
            "not written",
            &format!("{} more of the same", HumanCount(episode.suppressed())),
        );
    }
}

fn list<T: ToString>(page: &mut Page, label: &str, values: &[T]) {
    if !values.is_empty() {
        let values: Vec<String> = values.iter().map(T::to_string).collect();
        page.row(label, &values.join(", "));
    }
}

fn next_steps(page: &mut Page, episode: &Episode) {
    page.heading("What to look at next");
    for step in kind(episode.latest().tag).next {
        if let Some(command) = next::filled(step.command, episode) {
            page.item(step.what);
            if !command.is_empty() {
                page.command(&command);
            }
        }
    }
    page.item("On the dashboard, in DQL (flows are there with `flowmeter wazuh install --flows` only):");
    for (label, query) in next::queries(episode) {
        page.command(&format!("{label:<14}  {query}"));
    }
    for (what, command) in next::commands(episode) {
        page.item(what);
        page.command(&command);
    }
}

fn benign(page: &mut Page, episode: &Episode, now: Timestamp) {
    let kind = kind(episode.latest().tag);
    page.heading("Likely benign causes");
    for cause in kind.benign {
        page.item(cause);
    }
    let role = kind.role.as_ref();
    let role = role.and_then(|role| Some((role.when, next::filled(role.setting, episode)?)));
    let allow = next::allow(episode, now);
    if role.is_none() && allow.is_none() {
        return;
    }
    page.heading("If it is benign");
    if let Some((when, setting)) = &role {
        page.item(&format!("{when}:"));
        page.command(setting);
    }
    if let Some(allow) = allow {
        let silence = if role.is_some() { "Or silence" } else { "Silence" };
        page.item(&format!(
            "{silence} what is like this one; what the entry holds back is counted (detect.allow_hits):"
        ));
        page.command(&allow);
    }
    page.item("Then `flowmeter check-config`; a running agent takes it over on SIGHUP.");
}

fn time(time: Timestamp) -> String {
    format!("{} UTC", time.strftime("%Y-%m-%d %H:%M:%S"))
}

/// At most two decimals.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
