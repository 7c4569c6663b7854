//! Incident investigation: everything about one finding, and what its hosts did around it.

mod assessment;
mod chronology;
mod follow_up;

use std::net::IpAddr;

use jiff::Timestamp;

use self::{
    assessment::assessment,
    chronology::chronology,
    follow_up::{benign, follow_up},
};
use super::{
    health,
    parts::{facts, findings_table, footer, notes, severity_of, volumes},
    words::{count, lasting, several, size},
};
use crate::{
    config,
    detect::Phase,
    explain::{
        episode::Episode,
        knowledge::kind,
        report::{evidence_of, facts_of},
    },
    report::{
        collect::Collected,
        model::{Block, ContactsChart, Figure, Item, Report, Section, Severity},
        scene::Scene,
    },
};

/// Related findings that are listed.
const RELATED: usize = 40;
/// Hosts on the other side that are listed.
const HOSTS: usize = 8;

pub(in crate::report) fn incident(
    collected: &Collected,
    episodes: &[Episode],
    chosen: &Episode,
    scene: &Scene,
    now: Timestamp,
) -> Report {
    let told = chosen.latest();
    let related = related(episodes, chosen);
    let sections = vec![
        Section {
            heading: "Assessment",
            blocks: assessment(collected, chosen, scene, &related),
        },
        Section {
            heading: "What was seen",
            blocks: seen(chosen, scene),
        },
        Section {
            heading: "Chronology",
            blocks: chronology(chosen, scene, &related),
        },
        Section {
            heading: "Who else is in it",
            blocks: others(chosen, scene),
        },
        Section {
            heading: "Related findings",
            blocks: related_findings(&related),
        },
        Section {
            heading: "Likely benign causes",
            blocks: benign(chosen, now),
        },
        Section {
            heading: "Follow-up",
            blocks: vec![Block::Checks(follow_up(chosen))],
        },
        Section {
            heading: "What decided",
            blocks: decided(chosen),
        },
        Section {
            heading: "How far this could see",
            blocks: health::health(collected),
        },
    ];
    let mut all_facts = facts(collected);
    all_facts.extend(
        facts_of(chosen)
            .into_iter()
            .filter(|(label, _)| !["score", "seen by"].contains(label))
            .map(|(label, value)| (label.to_owned(), value)),
    );
    Report {
        title: format!("Incident: {}", kind(told.tag).title.to_lowercase()),
        lead: told.message.clone(),
        facts: all_facts,
        figures: figures(chosen, scene, &related),
        notes: notes(collected),
        sections,
        footer: footer(now),
    }
}

fn figures(chosen: &Episode, scene: &Scene, related: &[&Episode]) -> Vec<Figure> {
    let told = chosen.latest();
    let severity = severity_of(chosen);
    let confidence = told.confidence.as_deref().unwrap_or("not told");
    vec![
        Figure {
            name: "Severity",
            value: format!("{} {}", severity.mark(), severity.name()),
            more: told
                .score
                .map(|score| format!("score {score} of 100"))
                .unwrap_or_default(),
        },
        Figure {
            name: "Confidence",
            value: confidence.to_owned(),
            more: "of the detector".to_owned(),
        },
        Figure {
            name: "Lasting",
            value: lasting(chosen.first_seen(), chosen.last_seen()),
            more: if chosen.has(Phase::End) {
                "has ended"
            } else {
                "no end yet"
            }
            .to_owned(),
        },
        Figure {
            name: "Its traffic",
            value: size(scene.own.bytes),
            more: format!(
                "{} sent, {} received",
                size(scene.own_sent),
                size(scene.own_received)
            ),
        },
        Figure {
            name: "Related findings",
            value: count(related.len() as u64),
            more: "of the same hosts".to_owned(),
        },
    ]
}

fn hosts(episode: &Episode) -> [Option<IpAddr>; 2] {
    [episode.latest().source, episode.latest().destination]
}

/// Other episodes in which a host of this one takes part.
fn related<'a>(episodes: &'a [Episode], chosen: &Episode) -> Vec<&'a Episode> {
    let hosts: Vec<IpAddr> = hosts(chosen).into_iter().flatten().collect();
    let takes_part = |episode: &&Episode| {
        let told = episode.latest();
        let ends = [told.source, told.destination];
        hosts
            .iter()
            .any(|host| ends.contains(&Some(*host)) || told.hosts.contains(host))
    };
    let same = |episode: &&Episode| !std::ptr::eq(*episode, chosen);
    let mut related: Vec<_> = episodes.iter().filter(same).filter(takes_part).collect();
    related.sort_by_key(|episode| episode.first_seen());
    related
}

fn seen(chosen: &Episode, scene: &Scene) -> Vec<Block> {
    let mut blocks = vec![Block::Facts(evidence_of(chosen))];
    let contacts: Vec<Timestamp> = scene.contacts.iter().copied().collect();
    if contacts.is_empty() {
        return blocks;
    }
    let first = contacts
        .first()
        .copied()
        .unwrap_or_default()
        .min(chosen.first_seen());
    let last = contacts
        .last()
        .copied()
        .unwrap_or_default()
        .max(chosen.last_seen());
    let number = several(contacts.len() as u64, "connection");
    let mut label = format!("{number} as in this finding, each at its start");
    if scene.more_contacts {
        label += "; more are not shown";
    }
    blocks.push(Block::Contacts(ContactsChart {
        from: first,
        until: last,
        label,
        contacts,
        findings: chosen
            .findings()
            .filter(|told| told.phase != Phase::End)
            .map(|told| (told.last_seen, Severity::of(told.score)))
            .collect(),
    }));
    blocks
}

fn others(chosen: &Episode, scene: &Scene) -> Vec<Block> {
    let [source, destination] = hosts(chosen);
    let mut blocks = Vec::new();
    for (host, what, column, top) in [
        (
            source,
            "opened connections to",
            "Destination",
            &scene.targets_of_source,
        ),
        (destination, "was called by", "Source", &scene.sources_of_target),
    ] {
        let Some(host) = host else {
            continue;
        };
        let ranking = top.largest(0);
        let mut total = ranking.others;
        total.add(ranking.several);
        if total.records == 0 {
            continue;
        }
        blocks.push(Block::Heading(format!("{host} {what}")));
        blocks.extend(volumes(column, top, HOSTS, total));
    }
    if blocks.is_empty() {
        blocks.push(Block::Text(
            "No flow event here names its hosts: the events may hold findings only (output.flows)."
                .to_owned(),
        ));
    }
    blocks
}

fn related_findings(related: &[&Episode]) -> Vec<Block> {
    if related.is_empty() {
        return vec![Block::Text("No other finding names its hosts.".to_owned())];
    }
    let shown = related.iter().take(RELATED).copied();
    let mut blocks = vec![Block::Table(findings_table(shown))];
    if related.len() > RELATED {
        blocks.push(Block::Text(format!(
            "{} later ones are not listed.",
            related.len() - RELATED
        )));
    }
    blocks
}

fn decided(chosen: &Episode) -> Vec<Block> {
    let settings = &chosen.latest().settings;
    if settings.is_empty() {
        return vec![Block::Text("The event names no setting.".to_owned())];
    }
    let items = settings.iter().map(|setting| {
        let key = setting.split(" = ").next().unwrap_or_default();
        Item::new(setting.trim_end_matches(" = ")).with_detail(config::comment(key).unwrap_or_default())
    });
    vec![
        Block::Text("The values were those of the agent at the time, as the event has them.".to_owned()),
        Block::Items(items.collect()),
    ]
}
