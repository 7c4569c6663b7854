//! How well the meter did: what it saw and what became of it.

use super::words::{count, lasting, period, several, size};
use crate::report::{
    collect::Collected,
    event::Amount,
    health::{Health, Interface},
    model::{Block, Cell, Column, Figure, Table},
};

/// Interfaces with a column of their own.
const INTERFACES: usize = 4;
/// Gaps that are listed.
const GAPS: usize = 10;

/// Packets that were lost, of all that were seen.
pub(super) fn figure(health: &Health) -> Figure {
    let (seen, lost) = (health.sum(|one| one.seen), health.sum(Interface::lost));
    let metered = health.metered().next().is_some();
    Figure {
        name: "Lost by the meter",
        value: if metered {
            count(lost.packets)
        } else {
            "not known".to_owned()
        },
        more: if metered {
            format!("of {} packets seen", count(seen.packets))
        } else {
            "no statistics event".to_owned()
        },
    }
}

/// Whether everything adds up, in a sentence.
fn verdict(interfaces: &[(&(String, String), &Interface)]) -> String {
    let off: Vec<String> = interfaces
        .iter()
        .filter(|(_, interface)| interface.seen.packets != interface.accounted().packets)
        .map(|((_, name), interface)| {
            let difference = interface.seen.packets.abs_diff(interface.accounted().packets);
            format!("{name}: off by {}", several(difference, "packet"))
        })
        .collect();
    if off.is_empty() {
        "Every packet that was seen is accounted for: seen = exported + left out + lost + filtered + sampled out, on \
         each interface."
            .to_owned()
    } else {
        format!(
            "What was seen and what became of it do not add up ({}).",
            off.join("; ")
        )
    }
}

pub(super) fn health(collected: &Collected) -> Vec<Block> {
    let health = &collected.health;
    let interfaces: Vec<_> = health.metered().collect();
    if interfaces.is_empty() {
        return vec![Block::Text(
            "There is no statistics event among these: nothing is known about what the meter did not see. Made-up \
             events have none."
                .to_owned(),
        )];
    }
    let mut blocks = vec![
        Block::Text(verdict(&interfaces)),
        Block::Table(balance(health, &interfaces)),
    ];
    blocks.extend(lines(&interfaces));
    blocks.extend(gaps(&interfaces));
    let facts = [
        (
            "flow map, at its fullest",
            health_max(&interfaces, |one| one.map_percent, " %"),
        ),
        (
            "drains ahead of time",
            health_sum(&interfaces, |one| one.early_drains),
        ),
        (
            "connections ended early for want of room",
            health_sum(&interfaces, |one| one.evicted),
        ),
        (
            "lines given up (file not writable)",
            health_sum(&interfaces, |one| one.withheld_lines),
        ),
        (
            "last failure to write",
            health.last_error.clone().unwrap_or_else(|| "none".to_owned()),
        ),
    ];
    blocks.push(Block::Facts(
        facts.map(|(label, value)| (label.to_owned(), value)).into(),
    ));
    if health.beyond > 0 {
        blocks.push(Block::Note(format!(
            "{} of further interfaces found no room here.",
            several(health.beyond, "statistics event")
        )));
    }
    blocks
}

fn health_sum(interfaces: &[(&(String, String), &Interface)], of: impl Fn(&Interface) -> u64) -> String {
    let values = interfaces.iter().map(|(_, interface)| of(interface));
    count(values.fold(0, u64::saturating_add))
}

fn health_max(
    interfaces: &[(&(String, String), &Interface)],
    of: impl Fn(&Interface) -> u64,
    unit: &str,
) -> String {
    let max = interfaces.iter().map(|(_, interface)| of(interface)).max();
    format!("{}{unit}", max.unwrap_or(0))
}

/// Seen, and what became of it.
fn balance(health: &Health, interfaces: &[(&(String, String), &Interface)]) -> Table {
    let mut columns = vec![Column::Text("What became of it")];
    columns.extend([Column::Number("Packets"), Column::Number("On the wire")]);
    let mut rows = Vec::new();
    let mut row = |name: String, of: &dyn Fn(&Interface) -> Amount| {
        let sum = health.sum(of);
        rows.push(vec![
            Cell::Text(name),
            Cell::text(count(sum.packets)),
            Cell::text(size(sum.wire_bytes)),
        ]);
    };
    row("seen".to_owned(), &|one| one.seen);
    row("exported: in flow events and summaries".to_owned(), &|one| {
        one.exported
    });
    row("left out (output.flows = \"findings-only\")".to_owned(), &|one| {
        one.left_out
    });
    let mut reasons: Vec<&String> = interfaces.iter().flat_map(|(_, one)| one.lost.keys()).collect();
    reasons.sort_unstable();
    reasons.dedup();
    for reason in reasons {
        row(format!("lost: {reason}"), &|one| {
            one.lost.get(reason).copied().unwrap_or_default()
        });
    }
    row("filtered (capture.filter)".to_owned(), &|one| one.filtered);
    row("sampled out (capture.sampling)".to_owned(), &|one| {
        one.sampled_out
    });
    row(
        "of the exported: in summaries (output.flows = \"budget\")".to_owned(),
        &|one| one.summarised,
    );
    row(
        "of the exported: withheld (file not writable)".to_owned(),
        &|one| one.withheld,
    );
    Table {
        columns,
        rows,
        remainders: 2,
    }
}

/// Do the lines that were read hold what the meter exported?
fn lines(interfaces: &[(&(String, String), &Interface)]) -> Option<Block> {
    let off: Vec<String> = interfaces
        .iter()
        .filter(|(_, one)| one.in_lines.packets != one.expected_in_lines())
        .take(INTERFACES)
        .map(|((collector, name), one)| {
            format!(
                "{name} of {collector}: {} packets in the lines read, {} exported and not withheld",
                count(one.in_lines.packets),
                count(one.expected_in_lines())
            )
        })
        .collect();
    (!off.is_empty()).then(|| {
        Block::Note(format!(
            "The lines that were read do not hold what the meter exported: lines are missing, doubled, or cut off by \
             the time wanted. {}.",
            off.join("; ")
        ))
    })
}

fn gaps(interfaces: &[(&(String, String), &Interface)]) -> Vec<Block> {
    let mut blocks = Vec::new();
    for ((collector, name), one) in interfaces.iter().take(INTERFACES) {
        let gaps: Vec<_> = one.coverage.gaps().collect();
        if gaps.is_empty() {
            continue;
        }
        let shown: Vec<String> = gaps
            .iter()
            .take(GAPS)
            .map(|(from, until)| format!("{} ({})", period(*from, *until), lasting(*from, *until)))
            .collect();
        let more = match gaps.len().saturating_sub(GAPS) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        blocks.push(Block::Note(format!(
            "{name} of {collector} told nothing in {}: the meter did not run, or lines are missing. {}{more}.",
            several(gaps.len() as u64, "gap"),
            shown.join("; ")
        )));
    }
    for ((collector, name), one) in interfaces.iter().take(INTERFACES) {
        if one.coverage.doubled > 0 {
            blocks.push(Block::Note(format!(
                "{} of {name} of {collector} lie over others: the same lines were read twice, or two meters have the \
                 same name. Sums hold both.",
                several(one.coverage.doubled, "interval")
            )));
        }
        if one.coverage.beyond > 0 {
            blocks.push(Block::Note(format!(
                "{name} of {collector} has too many gaps to look at all of them; {} left aside.",
                several(one.coverage.beyond, "interval")
            )));
        }
    }
    if blocks.is_empty() {
        blocks.push(Block::Text(
            "No gap: each interval of each interface follows the one before.".to_owned(),
        ));
    }
    blocks
}
