//! What the demo prints.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    ops::RangeInclusive,
    path::Path,
};

use anyhow::{Result, ensure};

use super::events::{Conversation, End, Events};

const HEADINGS: [&str; 9] = [
    "PROTOCOL",
    "SOURCE",
    "DESTINATION",
    "VLAN",
    "SERVICE",
    "OUTCOME",
    "PACKETS",
    "BYTES",
    "DIRECTION",
];
/// Columns of numbers stand to the right.
const NUMBERS: [usize; 2] = [6, 7];

pub(super) fn write(out: &mut impl Write, events: &Events, file: &Path) -> Result<()> {
    writeln!(out, "\nWhat flowmeter saw on the inner interface:\n")?;
    table(out, &events.conversations)?;
    statistics(out, events)?;
    writeln!(
        out,
        "\n{} events, one a line, are in\n  {}",
        events.lines.len(),
        file.display()
    )?;
    writeln!(out, "The first two and the last (the statistics of an interval):")?;
    let first = events.lines.iter().take(2);
    for line in first.chain(events.lines.get(2..).and_then(<[String]>::last)) {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}

/// The agent's count beside that of the interface's driver.
pub(super) fn compare(out: &mut impl Write, events: &Events, interface: RangeInclusive<u64>) -> Result<()> {
    let seen = events.statistics.seen;
    let (least, most) = (interface.start(), interface.end());
    if least == most {
        writeln!(
            out,
            "\nThe interface's own counters: {most} packets; flowmeter: {seen}"
        )?;
    } else {
        writeln!(
            out,
            "\nThe interface's own counters: {least} to {most} packets (some passed while the agent started or \
             stopped); flowmeter: {seen}"
        )?;
    }
    ensure!(
        interface.contains(&seen),
        "flowmeter's count is not the interface's"
    );
    Ok(())
}

fn statistics(out: &mut impl Write, events: &Events) -> Result<()> {
    let statistics = &events.statistics;
    let mut terms = format!("{} exported", statistics.exported);
    for (reason, packets) in statistics.lost.iter().filter(|(_, packets)| **packets > 0) {
        terms += &format!(" + {packets} {reason}");
    }
    let verdict = if events.conserved() {
        "every packet is accounted for"
    } else {
        "THIS DOES NOT ADD UP"
    };
    writeln!(out, "\n{} packets seen = {terms}: {verdict}", statistics.seen)?;
    Ok(())
}

fn table(out: &mut impl Write, conversations: &[Conversation]) -> Result<()> {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    let mut sorted = together(conversations);
    sorted.sort_by_key(|Row { conversation, .. }| {
        (
            conversation.direction.clone(),
            conversation.protocol.clone(),
            std::cmp::Reverse(conversation.bytes),
        )
    });
    rows.extend(sorted.into_iter().map(row));
    let widths: Vec<usize> = (0..HEADINGS.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        })
        .collect();
    let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
    for (index, row) in rows.iter().enumerate() {
        let line: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, width))| {
                if NUMBERS.contains(&column) {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:<width$}")
                }
            })
            .collect();
        writeln!(out, "  {}", line.join("  ").trim_end())?;
        if index == 0 {
            writeln!(out, "  {}", rule.join("  "))?;
        }
    }
    Ok(())
}

/// A conversation, or several that are told as one: their sum.
struct Row {
    conversation: Conversation,
    source_ports: BTreeSet<Option<String>>,
    destination_ports: BTreeSet<Option<String>>,
}

/// From so many on, conversations of the same two hosts stand in one row if they were accepted on one port (a
/// beacon) or ended alike without that (a scan).
const MANY: usize = 4;

fn together(conversations: &[Conversation]) -> Vec<Row> {
    let mut groups = BTreeMap::<_, Vec<&Conversation>>::new();
    for conversation in conversations {
        let c = conversation;
        let port = c.destination.port.as_ref().filter(|_| c.outcome == "accepted");
        let key = (
            &c.protocol,
            &c.source.ip,
            &c.destination.ip,
            port,
            &c.vlan,
            &c.outcome,
        );
        groups.entry(key).or_default().push(c);
    }
    let mut rows = Vec::new();
    for group in groups.into_values() {
        let size = if group.len() < MANY { 1 } else { group.len() };
        rows.extend(group.chunks(size).filter_map(Row::of));
    }
    rows
}

impl Row {
    fn of(conversations: &[&Conversation]) -> Option<Self> {
        let (first, others) = conversations.split_first()?;
        let mut conversation = (*first).clone();
        for other in others {
            conversation.packets += other.packets;
            conversation.bytes += other.bytes;
            if other.service != conversation.service {
                conversation.service = "several".to_owned();
            }
        }
        let ports = |end: fn(&Conversation) -> &End| {
            let ports = conversations
                .iter()
                .map(|conversation| end(conversation).port.clone());
            ports.collect()
        };
        Some(Self {
            conversation,
            source_ports: ports(|conversation| &conversation.source),
            destination_ports: ports(|conversation| &conversation.destination),
        })
    }
}

fn end(end: &End, ports: &BTreeSet<Option<String>>) -> String {
    match ports.len() {
        0 | 1 => end.to_string(),
        several => format!("{} ({several} ports)", end.ip),
    }
}

fn row(row: Row) -> [String; 9] {
    let c = row.conversation;
    [
        c.protocol,
        end(&c.source, &row.source_ports),
        end(&c.destination, &row.destination_ports),
        c.vlan,
        c.service,
        c.outcome,
        grouped(c.packets),
        grouped(c.bytes),
        c.direction,
    ]
}

/// 1234567 as 1,234,567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_by_three() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
    }

    fn at(ip: &str, port: u16) -> End {
        End {
            ip: ip.to_owned(),
            port: Some(port.to_string()),
        }
    }

    fn conversation(port: u16, outcome: &str) -> Conversation {
        Conversation {
            source: at("203.0.113.5", 50_000 + port),
            destination: at("10.20.0.2", port),
            outcome: outcome.to_owned(),
            packets: 2,
            ..Conversation::default()
        }
    }

    #[test]
    fn a_scan_is_one_row_and_some_conversations_are_as_many() {
        let scan: Vec<_> = (1..=24).map(|port| conversation(port, "refused")).collect();
        let some = (1..=9).map(|port| conversation(port, "accepted"));
        let conversations: Vec<_> = scan.into_iter().chain(some).collect();
        let mut out = Vec::new();
        table(&mut out, &conversations).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 2 + 1 + 9, "{text}");
        let scan = text.lines().find(|line| line.contains("refused")).unwrap();
        assert!(
            scan.contains("203.0.113.5 (24 ports)  10.20.0.2 (24 ports)"),
            "{scan}"
        );
        assert!(scan.contains(" 48 "), "{scan}");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let conversation = Conversation {
            protocol: "TCP".to_owned(),
            source: at("203.0.113.5", 50000),
            bytes: 1_000,
            direction: "external_to_internal".to_owned(),
            ..Conversation::default()
        };
        let mut out = Vec::new();
        table(&mut out, &[conversation]).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        let at = |line: &str, word: &str| line.find(word).unwrap();
        assert_eq!(
            at(lines[0], "DESTINATION"),
            at(lines[2], "203.0.113.5:50000") + 17 + 2
        );
        assert_eq!(at(lines[0], "DIRECTION"), at(lines[2], "external_to_internal"));
        assert_eq!(at(lines[0], "BYTES"), at(lines[2], "1,000"));
    }

    #[test]
    fn a_count_outside_the_interfaces_is_an_error() {
        let mut events = Events::default();
        events.statistics.seen = 10;
        assert!(compare(&mut Vec::new(), &events, 10..=10).is_ok());
        assert!(compare(&mut Vec::new(), &events, 11..=12).is_err());
    }
}
