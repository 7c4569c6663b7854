//! What speaks for a finding, what weakens it, and how far it reaches.

use super::super::{
    parts::{reasons, severity_of},
    words::{count, several},
};
use crate::{
    detect::Phase,
    explain::{
        episode::Episode,
        knowledge::{TECHNIQUES, kind, text},
    },
    report::{
        collect::Collected,
        model::{Block, Item, Severity},
        scene::Scene,
    },
};

pub(super) fn assessment(
    collected: &Collected,
    chosen: &Episode,
    scene: &Scene,
    related: &[&Episode],
) -> Vec<Block> {
    let told = chosen.latest();
    let severity = severity_of(chosen);
    let urgency = match severity {
        Severity::High => "Look at it now.",
        Severity::Medium => "Look at it today.",
        Severity::Low => "Look at it when there is time, or when something else points to the same hosts.",
    };
    let mut blocks = vec![
        Block::Text(format!(
            "{} of {} severity. {urgency} The detector's score is made of what speaks for it below; it knows no \
             intent and sees no content of packets.",
            kind(told.tag).title,
            severity.name()
        )),
        Block::Heading("What speaks for it".to_owned()),
        Block::Items(reasons(chosen)),
    ];
    let techniques: Vec<String> = told
        .techniques
        .iter()
        .map(|id| {
            format!(
                "{id} {}",
                text(TECHNIQUES, id).unwrap_or("(not known to this version)")
            )
        })
        .collect();
    if !techniques.is_empty() {
        blocks.push(Block::Text(format!(
            "In MITRE ATT&CK: {}.",
            techniques.join(", ")
        )));
    }
    blocks.push(Block::Heading("What weakens it".to_owned()));
    let weak = weaknesses(collected, chosen);
    blocks.push(if weak.is_empty() {
        Block::Text(
            "Nothing in how it was seen: no packet was lost meanwhile, both directions were seen, and the detector's \
             confidence is high. A harmless cause is possible all the same."
                .to_owned(),
        )
    } else {
        Block::Items(weak.into_iter().map(Item::new).collect())
    });
    blocks.push(Block::Heading("How far it reaches".to_owned()));
    blocks.push(Block::Items(
        scope(collected, chosen, scene, related)
            .into_iter()
            .map(Item::new)
            .collect(),
    ));
    blocks
}

fn weaknesses(collected: &Collected, chosen: &Episode) -> Vec<String> {
    let told = chosen.latest();
    let mut weak = Vec::new();
    if told.synthetic {
        weak.push("its traffic was made up by flowmeter generate".to_owned());
    }
    if let Some(confidence) = told
        .confidence
        .as_ref()
        .filter(|confidence| *confidence != "high")
    {
        weak.push(format!("the detector's confidence is {confidence}, not high"));
    }
    if told.one_sided {
        weak.push("hardly anything is answered where this was seen: \"no reply\" proves little".to_owned());
    }
    if told.lost_packets > 0 {
        weak.push(format!(
            "{} were not counted in the interval of the finding",
            several(told.lost_packets, "packet")
        ));
    }
    if told
        .counts
        .iter()
        .any(|(_, _, error)| error.is_some_and(|error| error > 0))
    {
        weak.push("some of its numbers are estimates".to_owned());
    }
    if told
        .baseline
        .as_ref()
        .is_some_and(|baseline| baseline.deviation.is_none())
    {
        weak.push("what is usual for this host is not known yet".to_owned());
    }
    if !chosen.has(Phase::Start) {
        weak.push("its start is not among these events".to_owned());
    }
    if collected.counts.broken > 0 {
        weak.push(format!(
            "{} could not be read",
            several(collected.counts.broken, "line")
        ));
    }
    weak
}

fn scope(collected: &Collected, chosen: &Episode, scene: &Scene, related: &[&Episode]) -> Vec<String> {
    let told = chosen.latest();
    let mut scope = Vec::new();
    if let Some(ip) = told.source {
        let ranking = scene.targets_of_source.largest(0);
        let all = ranking.rows.len() as u64 + ranking.other_rows;
        scope.push(format!(
            "{ip} opened connections to {} in these events",
            several(all, "host")
        ));
    }
    if let Some(ip) = told.destination {
        let ranking = scene.sources_of_target.largest(0);
        let all = ranking.rows.len() as u64 + ranking.other_rows;
        scope.push(format!(
            "{ip} was called by {} in these events",
            several(all, "host")
        ));
    }
    let unnamed = [&collected.sources, &collected.destinations].map(|top| top.largest(0).several.records);
    let unnamed = unnamed.into_iter().max().unwrap_or(0);
    if unnamed > 0 {
        scope.push(format!(
            "{} stand in summaries of several hosts, which these may be among (output.flows)",
            several(unnamed, "flow record")
        ));
    }
    scope.push(match related.len() {
        0 => "no other finding names its hosts".to_owned(),
        some => format!("{} its hosts", several_name(some as u64)),
    });
    scope
}

fn several_name(number: u64) -> String {
    match number {
        1 => "one more finding names".to_owned(),
        more => format!("{} more findings name", count(more)),
    }
}
