//! What a replay saw, added up: the tables of `flowmeter replay --summary`.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use comfy_table::{CellAlignment, Table, presets};
use flowmeter_common::{InterfaceCounters, Uncounted};
use hashbrown::HashMap;
use jiff::Timestamp;

use crate::{
    detect::{Finding, Phase},
    enrich::{Enriched, protocol},
    flow::Slice,
};

/// Rows of the tables that could have any number of them.
const ROWS: usize = 10;

/// Sums over the slices of a replay. Its memory grows with the number of addresses and services.
#[derive(Debug, Default)]
pub struct Summary {
    total: Volume,
    /// First and last packet, nanoseconds since the Unix epoch.
    times: Option<(u64, u64)>,
    /// What an address sent and what it received.
    talkers: HashMap<IpAddr, (Volume, Volume)>,
    services: HashMap<String, Volume>,
    directions: BTreeMap<&'static str, Volume>,
    protocols: BTreeMap<u8, Volume>,
    counters: InterfaceCounters,
    /// Episodes that began: tag and message.
    findings: Vec<(&'static str, String)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Volume {
    connections: u64,
    packets: u64,
    bytes: u64,
}

impl Volume {
    fn add(&mut self, connections: u64, packets: u64, bytes: u64) {
        self.connections += connections;
        self.packets += packets;
        self.bytes += bytes;
    }
}

impl Summary {
    pub fn add(&mut self, slice: &Slice, enriched: &Enriched<'_>) {
        // Every connection has one last slice: forced at the end of the replay if nothing else ended it.
        let ended = u64::from(slice.end.is_some());
        let (forward, reverse) = (&slice.forward, &slice.reverse);
        let (packets, bytes) = (slice.packets(), slice.l3_bytes());
        self.total.add(ended, packets, bytes);
        for sent in [forward, reverse].into_iter().filter(|sent| sent.packets > 0) {
            let (first_ns, last_ns) = self.times.unwrap_or((sent.first_ns, sent.last_ns));
            self.times = Some((first_ns.min(sent.first_ns), last_ns.max(sent.last_ns)));
        }
        for (end, sent, received) in [
            (slice.initiator, forward, reverse),
            (slice.responder, reverse, forward),
        ] {
            let talker = self.talkers.entry(end.ip).or_default();
            talker.0.add(ended, sent.packets, sent.l3_bytes);
            talker.1.add(ended, received.packets, received.l3_bytes);
        }
        match self.services.get_mut(enriched.service) {
            Some(service) => service.add(ended, packets, bytes),
            None => self
                .services
                .entry(enriched.service.to_owned())
                .or_default()
                .add(ended, packets, bytes),
        }
        let direction = self.directions.entry(enriched.direction.name()).or_default();
        direction.add(ended, packets, bytes);
        let protocol = self.protocols.entry(slice.protocol).or_default();
        protocol.add(ended, packets, bytes);
    }

    pub fn add_finding(&mut self, finding: &Finding) {
        if finding.phase == Phase::Start {
            self.findings.push((finding.tag.name(), finding.message.clone()));
        }
    }

    pub fn add_counters(&mut self, counters: &InterfaceCounters) {
        self.counters.merge(counters);
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Volume {
            connections,
            packets,
            bytes,
        } = self.total;
        writeln!(
            f,
            "{} packets, {} in {} connections",
            grouped(packets),
            size(bytes),
            grouped(connections)
        )?;
        if let Some((first_ns, last_ns)) = self.times {
            let seconds = std::time::Duration::from_secs((last_ns - first_ns) / 1_000_000_000);
            writeln!(
                f,
                "from {} to {} ({})",
                time(first_ns),
                time(last_ns),
                humantime::format_duration(seconds)
            )?;
        }
        self.findings(f)?;
        self.talkers(f)?;
        let services = self
            .services
            .iter()
            .map(|(name, volume)| (name.as_str(), *volume));
        volumes(f, "SERVICE", services.collect())?;
        let directions = self.directions.iter().map(|(name, volume)| (*name, *volume));
        volumes(f, "DIRECTION", directions.collect())?;
        let protocols: Vec<_> = self
            .protocols
            .iter()
            .map(|(number, volume)| {
                let known = protocol::name(*number).map(|name| name.display.to_owned());
                (known.unwrap_or_else(|| number.to_string()), *volume)
            })
            .collect();
        let protocols = protocols.iter().map(|(name, volume)| (name.as_str(), *volume));
        volumes(f, "PROTOCOL", protocols.collect())?;
        self.uncounted(f)
    }
}

impl Summary {
    fn findings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.findings.is_empty() {
            return Ok(());
        }
        let title = format!("FINDINGS{}", of(self.findings.len()));
        let mut table = table(&[&title, ""]);
        for (tag, message) in self.findings.iter().take(ROWS) {
            table.add_row([*tag, message]);
        }
        // Sentences, not numbers: to the left, and as long as they are.
        if let Some(tags) = table.column_mut(0) {
            tags.set_padding((0, 2));
        }
        writeln!(f, "\n{}", table.trim_fmt())
    }

    fn talkers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut talkers: Vec<_> = self.talkers.iter().collect();
        talkers.sort_unstable_by_key(|(ip, (sent, received))| {
            (std::cmp::Reverse(sent.bytes + received.bytes), **ip)
        });
        let title = format!("TOP TALKERS{}", of(talkers.len()));
        let mut table = table(&[&title, "CONNECTIONS", "SENT", "PACKETS", "RECEIVED", "PACKETS"]);
        for (ip, (sent, received)) in talkers.into_iter().take(ROWS) {
            table.add_row([
                ip.to_string(),
                grouped(sent.connections),
                size(sent.bytes),
                grouped(sent.packets),
                size(received.bytes),
                grouped(received.packets),
            ]);
        }
        aligned(f, table)
    }

    fn uncounted(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self.counters.seen.packets;
        let reasons: Vec<_> = Uncounted::ALL
            .into_iter()
            .map(|reason| (reason.name(), self.counters.get(reason)))
            .filter(|(_, count)| count.packets > 0)
            .collect();
        if reasons.is_empty() {
            return writeln!(f, "\nEvery one of {} packets was counted", grouped(seen));
        }
        let title = format!("NOT COUNTED, of {}", grouped(seen));
        let mut table = table(&[&title, "PACKETS", "ON THE WIRE"]);
        for (reason, count) in reasons {
            table.add_row([reason.to_owned(), grouped(count.packets), size(count.wire_bytes)]);
        }
        aligned(f, table)
    }
}

fn volumes(f: &mut fmt::Formatter<'_>, what: &str, mut rows: Vec<(&str, Volume)>) -> fmt::Result {
    rows.sort_unstable_by_key(|(name, volume)| (std::cmp::Reverse(volume.bytes), *name));
    let title = format!("{what}{}", of(rows.len()));
    let mut table = table(&[&title, "CONNECTIONS", "BYTES", "PACKETS"]);
    for (name, volume) in rows.into_iter().take(ROWS) {
        table.add_row([
            name.to_owned(),
            grouped(volume.connections),
            size(volume.bytes),
            grouped(volume.packets),
        ]);
    }
    aligned(f, table)
}

/// Says so where rows are left out.
fn of(rows: usize) -> String {
    if rows > ROWS {
        format!(", {ROWS} of {}", grouped(rows as u64))
    } else {
        String::new()
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table
}

/// The first column to the left, numbers to the right.
fn aligned(f: &mut fmt::Formatter<'_>, mut table: Table) -> fmt::Result {
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if index > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    writeln!(f, "\n{}", table.trim_fmt())
}

/// `1,234,567`
fn grouped(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

/// `1.21 GiB`
fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

fn time(ns: u64) -> String {
    match Timestamp::from_nanosecond(i128::from(ns)) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => format!("{ns} ns"),
    }
}
