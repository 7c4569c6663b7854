//! Network monitoring: how much went where, and did the meter see it all?

use jiff::Timestamp;

use super::{
    health,
    parts::{
        by_severity, facts, findings_figure, findings_table, footer, notes, timeline, traffic_figures,
        volumes,
    },
};
use crate::{
    explain::episode::Episode,
    report::{
        collect::Collected,
        model::{Block, Report, Section},
    },
};

/// Rows of a table.
const ROWS: usize = 10;
/// Findings, which are only named here.
const FINDINGS: usize = 20;

pub(in crate::report) fn monitoring(collected: &Collected, episodes: &[Episode], now: Timestamp) -> Report {
    let total = collected.total;
    let mut figures = traffic_figures(collected);
    figures.push(findings_figure(episodes));
    figures.push(health::figure(&collected.health));
    let sections = vec![
        Section {
            heading: "Timeline",
            blocks: vec![
                timeline(collected),
                Block::Text(
                    "Each line counts in the bucket of its last packet. Findings are marked where they were raised \
                     or renewed."
                        .to_owned(),
                ),
            ],
        },
        Section {
            heading: "Findings",
            blocks: findings(episodes),
        },
        Section {
            heading: "Top talkers",
            blocks: talkers(collected),
        },
        Section {
            heading: "Directions",
            blocks: volumes("Direction", &collected.directions, ROWS, total),
        },
        Section {
            heading: "Services",
            blocks: volumes("Service", &collected.services, ROWS, total),
        },
        Section {
            heading: "Protocols",
            blocks: volumes("Protocol", &collected.protocols, ROWS, total),
        },
        Section {
            heading: "Meter health",
            blocks: health::health(collected),
        },
    ];
    Report {
        title: "Network monitoring".to_owned(),
        lead: "How much went where, what was found in it, and how much of it the meter saw.".to_owned(),
        facts: facts(collected),
        figures,
        notes: notes(collected),
        sections,
        footer: footer(now),
    }
}

fn findings(episodes: &[Episode]) -> Vec<Block> {
    if episodes.is_empty() {
        return vec![Block::Text("Nothing was found.".to_owned())];
    }
    let mut blocks = vec![Block::Table(findings_table(
        by_severity(episodes).into_iter().take(FINDINGS),
    ))];
    let more = episodes.len().saturating_sub(FINDINGS);
    if more > 0 {
        blocks.push(Block::Text(format!(
            "{more} more with a lower score are not listed; --kind anomalies lists them with their evidence."
        )));
    } else {
        blocks.push(Block::Text(
            "The highest score first. --kind anomalies has the evidence of each, --kind incident everything about one."
                .to_owned(),
        ));
    }
    blocks
}

fn talkers(collected: &Collected) -> Vec<Block> {
    let total = collected.total;
    let mut blocks = vec![
        Block::Text(
            "A source is who opened a connection, a destination who was called. Bytes are those of both ways, from the \
             IP header on; a record is one connection's traffic in one interval. Flows that found no line of their own \
             stand in summaries and are in all sums; where a summary holds several addresses, it has a row of its own."
                .to_owned(),
        ),
        Block::Heading("Sources".to_owned()),
    ];
    blocks.extend(volumes("Source", &collected.sources, ROWS, total));
    blocks.push(Block::Heading("Destinations".to_owned()));
    blocks.extend(volumes("Destination", &collected.destinations, ROWS, total));
    blocks
}
