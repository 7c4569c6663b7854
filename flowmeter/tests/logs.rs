//! The logs of the corpus: what pmacctd wrote is what its captures hold, and every line of Zeek's is used.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics fails"
)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use flowmeter::{
    capture::{
        format::{Format, Reading},
        input::BytesRead,
        log::LineCounts,
        replay::{self, FileSource, Interval, Replay, Source},
    },
    config::{Config, Tunnels},
    flow::{InitiatorBasis, Outcome, Slice},
    track::Tracker,
};
use jiff::tz::TimeZone;

const INTERVAL: Duration = Duration::from_secs(10);

fn replay(paths: &[&Path]) -> Replay {
    let reading = Reading {
        format: Format::Auto,
        start_ns: None,
        zone: TimeZone::UTC,
    };
    let reader = reading.reader();
    let source =
        |path: &&Path| Box::new(FileSource::new(path, &BytesRead::default(), &reader)) as Box<dyn Source>;
    Replay::new(paths.iter().map(source).collect(), INTERVAL, Tunnels::Outer)
}

struct Read {
    intervals: Vec<Interval>,
    lines: LineCounts,
    /// Told, and whether something was lost.
    told: Vec<(String, bool)>,
}

fn read(paths: &[&Path]) -> Read {
    let mut replay = replay(paths);
    let intervals = std::iter::from_fn(|| replay.next_interval()).collect();
    let told = replay
        .take_problems()
        .into_iter()
        .map(|problem| (problem.what.to_string(), problem.is_loss()))
        .collect();
    Read {
        intervals,
        lines: replay.lines(),
        told,
    }
}

/// What the tracker makes of them, its first slice of each connection.
fn connections(intervals: &[Interval]) -> Vec<Slice> {
    let mut tracker = Tracker::new(&Config::default().track);
    let mut slices = Vec::new();
    for interval in intervals {
        tracker.ingest(&interval.batch.records, &mut slices);
        tracker.close_interval(interval.end_ns, &mut slices);
    }
    let mut first = BTreeMap::new();
    for slice in slices {
        first.entry((slice.start_ns, slice.id)).or_insert(slice);
    }
    first.into_values().collect()
}

/// Packets and bytes by addresses, ports and protocol.
type Flows = BTreeMap<([u8; 16], [u8; 16], u16, u16, u8), (u64, u64)>;

fn flows(intervals: &[Interval], with_icmp_ports: bool) -> Flows {
    let mut flows = Flows::new();
    for record in intervals.iter().flat_map(|interval| &interval.batch.records) {
        let key = record.key;
        let ports = if with_icmp_ports || !matches!(key.protocol, 1 | 58) {
            (key.source_port, key.destination_port)
        } else {
            (0, 0)
        };
        let sum = flows
            .entry((key.source, key.destination, ports.0, ports.1, key.protocol))
            .or_default();
        sum.0 += record.counters.packets;
        sum.1 += record.counters.l3_bytes;
    }
    flows
}

/// What pmacctd read, by the name of what it wrote.
const LOGS: [(&str, &str); 6] = [
    ("TCP_SYN_SCAN", "nmap-evilfingers/TCP_SYN_SCAN.pcap"),
    ("plain", "nmap-evilfingers/TCP_SYN_SCAN.pcap"),
    ("ftp-crack", "ppa-book1/ftp-crack.pcap"),
    ("http_espn", "ppa-book3/http_espn.pcapng"),
    ("http_ipv6", "ndpi/http_ipv6.pcap"),
    ("icmp-ping", "zeek-traces/icmp/icmp-ping.pcap"),
];

#[test]
fn what_pmacctd_wrote_is_what_its_captures_hold() {
    let name = "what_pmacctd_wrote_is_what_its_captures_hold";
    let Some(data) = support::data_or_skip(name) else {
        return;
    };
    for (log, capture) in LOGS {
        let log = data.join(format!("pmacct/{log}.json.gz"));
        let metered = read(&[&log]);
        let captured = read(&[&data.join(capture)]);
        let all: Vec<_> = metered.told.iter().filter(|(_, lost)| *lost).collect();
        assert!(all.is_empty(), "{log:?}: {all:?}");
        let LineCounts {
            read: lines,
            flows: used,
            ..
        } = metered.lines;
        assert!(lines > 0 && used == lines, "{log:?}: {:?}", metered.lines);
        let (metered, captured) = (
            flows(&metered.intervals, false),
            flows(&captured.intervals, false),
        );
        let differing: Vec<_> = captured
            .iter()
            .filter(|(key, counts)| metered.get(*key) != Some(counts))
            .collect();
        assert!(
            differing.is_empty() && metered.len() == captured.len(),
            "{log:?}: {differing:?}"
        );
    }
}

#[test]
fn connections_out_of_pmacct_lines_are_those_of_the_capture() {
    let name = "connections_out_of_pmacct_lines_are_those_of_the_capture";
    let Some(data) = support::data_or_skip(name) else {
        return;
    };
    for (log, capture) in LOGS {
        if matches!(log, "plain" | "icmp-ping") {
            // Neither times nor flags; neither type nor code.
            continue;
        }
        // The first of those ends: where the second interval begins is another matter, since pmacctd tells of
        // several packets only when they started.
        let shape = |intervals: &[Interval]| {
            let mut all = BTreeMap::new();
            for slice in connections(intervals) {
                all.entry((slice.protocol, slice.initiator, slice.responder))
                    .or_insert((slice.basis, slice.outcome, slice.start_ns));
            }
            all
        };
        let metered = read(&[&data.join(format!("pmacct/{log}.json.gz"))]);
        let captured = read(&[&data.join(capture)]);
        let (metered, captured) = (shape(&metered.intervals), shape(&captured.intervals));
        let differing: Vec<_> = captured
            .iter()
            .filter(|(ends, found)| metered.get(*ends) != Some(found))
            .collect();
        assert!(
            differing.is_empty() && metered.len() == captured.len(),
            "{log}: {differing:#?}"
        );
    }
}

#[test]
fn every_line_of_the_zeek_logs_is_used() {
    let Some(data) = support::data_or_skip("every_line_of_the_zeek_logs_is_used") else {
        return;
    };
    let mut logs = replay::files(&data).unwrap();
    logs.retain(|path| path.to_string_lossy().contains("conn.log"));
    assert!(logs.len() >= 12, "{logs:?}");
    for log in &logs {
        let Read {
            intervals,
            lines,
            told,
        } = read(&[log]);
        assert_eq!(lines.broken, 0, "{log:?}: {told:?}");
        assert!(lines.flows > 0, "{log:?}: {lines:?}");
        assert!(told.iter().all(|(_, lost)| !lost), "{log:?}: {told:?}");
        assert!(
            intervals.iter().all(|interval| interval.late_items == 0),
            "{log:?}"
        );
    }
}

#[test]
fn scans_and_beacons_in_zeek_logs_have_the_ends_and_outcomes_that_are_written_of_them() {
    let name = "scans_and_beacons_in_zeek_logs_have_the_ends_and_outcomes_that_are_written_of_them";
    let Some(data) = support::data_or_skip(name) else {
        return;
    };
    let of = |log: &str, initiator: &str, responder: &str| -> Vec<Slice> {
        let mut slices = connections(&read(&[&data.join(log)]).intervals);
        slices.retain(|slice| slice.initiator.ip.to_string() == initiator);
        slices.retain(|slice| {
            responder.is_empty() || format!("{}:{}", slice.responder.ip, slice.responder.port) == responder
        });
        slices
    };
    // expected.tsv: 42 refused ports.
    let vertical = of("slips/port-scans/vertical/conn.log.gz", "192.168.1.9", "");
    let mut refused: Vec<_> = vertical
        .iter()
        .filter(|slice| slice.outcome == Outcome::Refused)
        .map(|slice| slice.responder.port)
        .collect();
    refused.sort_unstable();
    refused.dedup();
    assert_eq!(refused.len(), 42);
    // 11 failed hosts.
    let horizontal = of("slips/port-scans/horizontal/conn.log.gz", "10.0.2.112", "");
    let mut failed: Vec<_> = horizontal
        .iter()
        .filter(|slice| slice.protocol == 6 && slice.outcome != Outcome::Accepted)
        .map(|slice| slice.responder.ip)
        .collect();
    failed.sort_unstable();
    failed.dedup();
    assert_eq!(failed.len(), 11);
    // Only what the server sent was captured: its SYN-ACK tells that it was not the initiator.
    let taidoor = of(
        "c2-zeek/taidoor/conn.log.gz",
        "192.168.99.51",
        "104.248.234.238:80",
    );
    assert_eq!(taidoor.len(), 2615);
    assert!(
        taidoor
            .iter()
            .all(|slice| slice.forward.packets == 0 && slice.basis == InitiatorBasis::TcpFlags)
    );
    // n=11786 of DNS.
    let zetaswitch = of(
        "c2-zeek/zetaswitch/conn.log.gz",
        "192.168.2.115",
        "172.208.51.75:53",
    );
    assert_eq!(zetaswitch.len(), 11786);
    // Retries to a dead host, of each port three times: what Zeek calls 719 connections shares 240 ports.
    let log = "slips/test18-malicious-ctu-sme-11-win/zeek-labeled/conn.log.labeled.gz";
    let remcos = of(log, "192.168.1.107", "66.63.168.35:5888");
    let ports: BTreeSet<_> = remcos.iter().map(|slice| slice.initiator.port).collect();
    assert_eq!(ports.len(), 240);
    assert!(
        remcos
            .iter()
            .all(|slice| matches!(slice.outcome, Outcome::Refused | Outcome::Unanswered))
    );
}
