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
pub(crate) const SEVERE: u64 = 80;

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
    for (label, value) in facts_of(episode) {
        page.row(label, &value);
    }
}

/// What it is, when, and who took part: labels and their values. A value without a label belongs to the one before.
pub(crate) fn facts_of(episode: &Episode) -> Vec<(&'static str, String)> {
    let told = episode.latest();
    let mut facts = Vec::new();
    if told.synthetic {
        let made_up = "by flowmeter generate: there was no such traffic";
        facts.push(("made up", made_up.to_owned()));
    }
    if let Some(score) = told.score {
        let confidence = told.confidence.as_ref();
        let confidence = confidence.map(|confidence| format!(", confidence {confidence}"));
        facts.push((
            "score",
            format!("{score} of 100{}", confidence.unwrap_or_default()),
        ));
    }
    let (first, last) = (episode.first_seen(), episode.last_seen());
    let lasting = match last.duration_since(first).unsigned_abs().as_secs() {
        0 => "within a second".to_owned(),
        seconds => humantime::format_duration(Duration::from_secs(seconds)).to_string(),
    };
    facts.push(("seen", format!("{} to {} ({lasting})", time(first), time(last))));
    facts.push(("episode", format!("{}: {}", told.episode, phases(episode))));
    facts.push(("source", side(told.source.map(|ip| ip.to_string()))));
    let target = told.destination.map(|ip| {
        let port = told.port.map(|port| format!(", port {port}")).unwrap_or_default();
        let transport = told
            .transport
            .as_ref()
            .map(|name| format!(", {}", name.to_uppercase()));
        format!("{ip}{port}{}", transport.unwrap_or_default())
    });
    facts.push(("target", side(target)));
    if let Some(collector) = &told.collector {
        facts.push(("seen by", collector.clone()));
    }
    for (number, id) in told.techniques.iter().enumerate() {
        let name = knowledge::text(TECHNIQUES, id).unwrap_or("(not known to this version)");
        facts.push((if number == 0 { "ATT&CK" } else { "" }, format!("{id} {name}")));
    }
    facts
}

fn side(address: Option<String>) -> String {
    address.unwrap_or_else(|| "several, or none that counts".to_owned())
}

pub(crate) fn phases(episode: &Episode) -> String {
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
    page.heading("Evidence");
    for (label, value) in evidence_of(episode) {
        page.row(&label, &value);
    }
}

/// What was counted and measured, and how far it could be seen: labels and their values.
pub(crate) fn evidence_of(episode: &Episode) -> Vec<(String, String)> {
    let told = episode.latest();
    let mut evidence = Vec::new();
    let mut row = |label: &str, value: String| evidence.push((label.to_owned(), value));
    for (name, value, error) in &told.counts {
        let mut shown = HumanCount(*value).to_string();
        if name.starts_with("bytes_") {
            shown += &format!(" ({})", BinaryBytes(*value));
        }
        if let Some(error) = error.filter(|error| *error > 0) {
            shown += &format!(", give or take {error} %");
        }
        row(name, shown);
    }
    for (label, values) in [
        ("ports, a sample", texts(&told.ports)),
        ("hosts, a sample", texts(&told.hosts)),
        ("open ports", texts(&told.open_ports)),
    ] {
        if !values.is_empty() {
            row(label, values.join(", "));
        }
    }
    if let Some(period) = &told.period {
        let (seconds, jitter) = (rounded(period.seconds), rounded(period.jitter_seconds));
        let next = time(period.next);
        row(
            "period",
            format!("{seconds} s, jitter {jitter} s; next contact due {next}"),
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
        row(
            "baseline",
            format!("{} {unit}; {usual}", rounded(baseline.observed)),
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
    row("visibility", format!("{sides}; {lost}"));
    if episode.suppressed() > 0 {
        row(
            "not written",
            format!("{} more of the same", HumanCount(episode.suppressed())),
        );
    }
    evidence
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(T::to_string).collect()
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

pub(crate) fn time(time: Timestamp) -> String {
    format!("{} UTC", time.strftime("%Y-%m-%d %H:%M:%S"))
}

/// At most two decimals.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
