//! Anomaly detection: every finding with its evidence.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    health,
    parts::{
        by_severity, card, facts, findings_figure, footer, notes, severity_of, timeline, traffic_figures,
    },
    words::{count, several},
};
use crate::{
    detect::Tag,
    explain::{episode::Episode, knowledge::kind},
    report::{
        collect::Collected,
        model::{Block, Cell, Column, LaneBar, LanesChart, Report, Section, Table},
    },
};

/// Findings with their evidence.
const CARDS: usize = 200;
/// Rows of the table of hosts.
const HOSTS: usize = 20;

pub(in crate::report) fn anomalies(collected: &Collected, episodes: &[Episode], now: Timestamp) -> Report {
    let mut figures = vec![findings_figure(episodes), health::figure(&collected.health)];
    figures.extend(traffic_figures(collected));
    let mut sections = Vec::new();
    if episodes.is_empty() {
        sections.push(Section {
            heading: "Findings",
            blocks: vec![Block::Text("Nothing was found.".to_owned())],
        });
    } else {
        sections.push(Section {
            heading: "When",
            blocks: vec![lanes(collected, episodes), timeline(collected)],
        });
        sections.push(Section {
            heading: "By kind",
            blocks: vec![Block::Table(by_kind(episodes))],
        });
        sections.push(Section {
            heading: "By source",
            blocks: by_source(episodes),
        });
        sections.push(Section {
            heading: "Findings",
            blocks: cards(episodes),
        });
    }
    sections.push(Section {
        heading: "How far this could see",
        blocks: health::health(collected),
    });
    Report {
        title: "Anomaly detection".to_owned(),
        lead: "Every finding with its evidence. A finding says what was seen, not what it was for: most have a harmless \
               cause, and which one is for people to find out."
            .to_owned(),
        facts: facts(collected),
        figures,
        notes: notes(collected),
        sections,
        footer: footer(now),
    }
}

fn by_tag(episodes: &[Episode]) -> BTreeMap<Tag, Vec<&Episode>> {
    let mut tags: BTreeMap<Tag, Vec<&Episode>> = BTreeMap::new();
    for episode in episodes {
        tags.entry(episode.latest().tag).or_default().push(episode);
    }
    tags
}

fn lanes(collected: &Collected, episodes: &[Episode]) -> Block {
    // The evidence may be older than the first event that was read.
    let (from, until) = collected.span.unzip();
    let from = episodes.iter().map(Episode::first_seen).chain(from).min();
    let until = episodes.iter().map(Episode::last_seen).chain(until).max();
    let lanes = by_tag(episodes).into_iter().map(|(tag, episodes)| {
        let mut bars: Vec<_> = episodes
            .into_iter()
            .map(|episode| LaneBar {
                from: episode.first_seen(),
                until: episode.last_seen(),
                severity: severity_of(episode),
                title: episode.latest().message.clone(),
            })
            .collect();
        // The worst on top.
        bars.sort_by_key(|bar| bar.severity);
        (kind(tag).title.to_owned(), bars)
    });
    Block::Lanes(LanesChart {
        from: from.unwrap_or_default(),
        until: until.unwrap_or_default(),
        lanes: lanes.collect(),
    })
}

fn by_kind(episodes: &[Episode]) -> Table {
    let mut rows = Vec::new();
    for (tag, episodes) in by_tag(episodes) {
        let Some(worst) = by_worst(&episodes) else {
            continue;
        };
        let told: u64 = episodes.iter().map(|episode| 1 + episode.updates() as u64).sum();
        rows.push(vec![
            Cell::Severity(severity_of(worst)),
            Cell::text(kind(tag).title),
            Cell::text(tag.name()),
            Cell::text(count(episodes.len() as u64)),
            Cell::text(count(told)),
            Cell::text(
                worst
                    .latest()
                    .score
                    .map(|score| score.to_string())
                    .unwrap_or_default(),
            ),
        ]);
    }
    Table {
        columns: vec![
            Column::Short("Worst"),
            Column::Text("Kind"),
            Column::Text("Tag"),
            Column::Number("Episodes"),
            Column::Number("Starts and updates"),
            Column::Number("Highest score"),
        ],
        rows,
        remainders: 0,
    }
}

fn by_worst<'a>(episodes: &[&'a Episode]) -> Option<&'a Episode> {
    let worst = episodes.iter().max_by_key(|episode| episode.latest().score);
    worst.copied()
}

fn by_source(episodes: &[Episode]) -> Vec<Block> {
    let mut sources: BTreeMap<_, Vec<&Episode>> = BTreeMap::new();
    for episode in episodes {
        sources.entry(episode.latest().source).or_default().push(episode);
    }
    let mut sources: Vec<_> = sources.into_iter().collect();
    sources.sort_by_key(|(_, episodes)| {
        let score = by_worst(episodes).map(|episode| episode.latest().score);
        std::cmp::Reverse((score, episodes.len()))
    });
    let more = sources.len().saturating_sub(HOSTS);
    let rows = sources.into_iter().take(HOSTS).filter_map(|(source, episodes)| {
        let mut kinds: Vec<&str> = episodes
            .iter()
            .map(|episode| kind(episode.latest().tag).title)
            .collect();
        kinds.sort_unstable();
        kinds.dedup();
        let source = source.map(|ip| ip.to_string());
        Some(vec![
            Cell::Severity(severity_of(by_worst(&episodes)?)),
            Cell::text(source.unwrap_or_else(|| "several, or none that counts".to_owned())),
            Cell::text(count(episodes.len() as u64)),
            Cell::text(kinds.join(", ")),
        ])
    });
    let table = Table {
        columns: vec![
            Column::Short("Worst"),
            Column::Text("Source"),
            Column::Number("Findings"),
            Column::Text("Kinds"),
        ],
        rows: rows.collect(),
        remainders: 0,
    };
    let mut blocks = vec![Block::Table(table)];
    if more > 0 {
        let sources = several(more as u64, "source");
        blocks.push(Block::Text(format!(
            "{sources} more with a lower score are not listed."
        )));
    }
    blocks
}

fn cards(episodes: &[Episode]) -> Vec<Block> {
    let mut blocks: Vec<Block> = by_severity(episodes).into_iter().take(CARDS).map(card).collect();
    let more = episodes.len().saturating_sub(CARDS);
    if more > 0 {
        blocks.push(Block::Note(format!(
            "{} more with a lower score are not shown; narrow the time with --since and --until.",
            count(more as u64)
        )));
    }
    blocks
}
