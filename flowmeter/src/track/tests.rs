use std::{net::Ipv4Addr, time::Duration};

use flowmeter_common::{FlowKey, KeyFlags, flow::tcp_flags::*};
use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_000 * SECOND;

fn record(from: (u8, u16), to: (u8, u16), protocol: u8, flags: &[u8], at_ns: u64) -> FlowRecord {
    let address = |last: u8| Ipv4Addr::new(192, 0, 2, last).to_ipv6_mapped().octets();
    let mut counters = FlowCounters {
        packets: flags.len().max(1) as u64,
        l3_bytes: 60 * flags.len().max(1) as u64,
        wire_bytes: 74 * flags.len().max(1) as u64,
        first_ns: at_ns,
        last_ns: at_ns,
        first_tcp_flags: flags.first().copied().unwrap_or(0),
        ..FlowCounters::default()
    };
    for flag in flags {
        counters.tcp_flags |= u32::from(*flag);
        counters.syn_ack += u32::from(flag & (SYN | ACK) == SYN | ACK);
    }
    FlowRecord {
        key: FlowKey {
            source: address(from.0),
            destination: address(to.0),
            source_port: from.1,
            destination_port: to.1,
            protocol,
            ifindex: 2,
            ..FlowKey::default()
        },
        counters,
    }
}

fn one(records: &[FlowRecord]) -> Slice {
    let mut tracker = Tracker::new(&config::Track::default());
    tracker.ingest(records, &mut Vec::new());
    let slices = tracker.close_interval(START + SECOND);
    assert_eq!(slices.len(), 1, "{slices:?}");
    slices[0].clone()
}

#[test]
fn initiator_and_outcome_of_tcp() {
    let client = (9, 50_000);
    let server = (1, 443);
    let cases: &[(&str, &[u8], &[u8], Outcome)] = &[
        ("handshake", &[SYN, ACK], &[SYN | ACK], Outcome::Accepted),
        ("refused", &[SYN], &[RST | ACK], Outcome::Refused),
        ("no answer", &[SYN], &[], Outcome::Unanswered),
        ("half open", &[SYN, RST], &[SYN | ACK], Outcome::HalfOpen),
        ("seen from the middle", &[ACK | PSH], &[ACK], Outcome::Accepted),
    ];
    for (name, sent, answered, outcome) in cases {
        let mut records = vec![record(client, server, 6, sent, START)];
        if !answered.is_empty() {
            records.insert(0, record(server, client, 6, answered, START + 1));
        }
        let slice = one(&records);
        assert_eq!(slice.outcome, *outcome, "{name}");
        assert_eq!(
            (slice.initiator.port, slice.responder.port),
            (50_000, 443),
            "{name}"
        );
    }
}

#[test]
fn a_lone_syn_ack_or_rst_names_the_other_end_as_initiator() {
    for flags in [SYN | ACK, RST, RST | ACK] {
        let slice = one(&[record((1, 40_000), (9, 50_000), 6, &[flags], START)]);
        assert_eq!(slice.initiator.port, 50_000, "flags {flags:#x}");
        assert_eq!(slice.basis, InitiatorBasis::TcpFlags);
        assert_eq!((slice.forward.packets, slice.reverse.packets), (0, 1));
    }
}

#[test]
fn ports_and_times_decide_where_flags_cannot() {
    let dns = one(&[
        record((1, 53), (9, 50_000), 17, &[], START),
        record((9, 50_000), (1, 53), 17, &[], START + 9),
    ]);
    assert_eq!((dns.initiator.port, dns.basis), (50_000, InitiatorBasis::Port));
    let peers = one(&[
        record((1, 40_001), (9, 40_000), 17, &[], START + 9),
        record((9, 40_000), (1, 40_001), 17, &[], START),
    ]);
    assert_eq!(
        (peers.initiator.port, peers.basis),
        (40_000, InitiatorBasis::Time)
    );
}

#[test]
fn echo_request_and_reply_are_one_connection() {
    let slice = one(&[
        record((1, 0), (9, 0), 1, &[], START + 5),
        record((9, 8), (1, 0), 1, &[], START),
    ]);
    assert_eq!(
        (slice.initiator.port, slice.responder.port, slice.outcome),
        (8, 0, Outcome::Accepted)
    );
    assert_eq!(slice.initiator.ip.to_string(), "192.0.2.9");
    let unreachable = one(&[record((9, 3), (1, 1), 1, &[], START)]);
    assert_eq!((unreachable.initiator.port, unreachable.responder.port), (3, 1));
    assert_eq!(unreachable.outcome, Outcome::Unanswered);
}

#[test]
fn late_packets_belong_to_the_closed_connection_and_a_syn_starts_another() {
    let (client, server) = ((9, 50_000), (1, 443));
    let mut tracker = Tracker::new(&config::Track::default());
    let mut ended = Vec::new();
    tracker.ingest(
        &[
            record(client, server, 6, &[SYN, ACK, FIN | ACK], START),
            record(server, client, 6, &[SYN | ACK, FIN | ACK], START + 1),
        ],
        &mut ended,
    );
    let first = tracker.close_interval(START + SECOND);
    tracker.ingest(&[record(client, server, 6, &[ACK], START + SECOND)], &mut ended);
    let late = tracker.close_interval(START + 2 * SECOND);
    assert_eq!((late[0].id, late[0].end), (first[0].id, None));
    tracker.ingest(
        &[record(client, server, 6, &[SYN], START + 3 * SECOND)],
        &mut ended,
    );
    assert_eq!(ended[0].end, Some(EndReason::EndOfFlowDetected));
    let again = tracker.close_interval(START + 4 * SECOND);
    assert_ne!(again[0].id, first[0].id);
    assert_eq!(again[0].outcome, Outcome::Unanswered);
}

#[test]
fn timeouts_end_connections_with_their_reason() {
    let settings = config::Track {
        idle_timeout: Duration::from_secs(60),
        active_timeout: Duration::from_secs(100),
        ..config::Track::default()
    };
    let mut tracker = Tracker::new(&settings);
    let mut ended = Vec::new();
    tracker.ingest(&[record((9, 50_000), (1, 53), 17, &[], START)], &mut ended);
    assert_eq!(tracker.close_interval(START + SECOND)[0].end, None);
    assert!(tracker.close_interval(START + 59 * SECOND).is_empty());
    let last = tracker.close_interval(START + 60 * SECOND);
    assert_eq!(
        (last[0].end, last[0].packets()),
        (Some(EndReason::IdleTimeout), 0)
    );
    assert_eq!(tracker.statistics().connections, 0);

    tracker.ingest(&[record((9, 50_000), (1, 53), 17, &[], START)], &mut ended);
    let first = tracker.close_interval(START + SECOND);
    tracker.ingest(
        &[record((9, 50_000), (1, 53), 17, &[], START + 100 * SECOND)],
        &mut ended,
    );
    let active = tracker.close_interval(START + 101 * SECOND);
    assert_eq!(
        (active[0].end, active[0].id),
        (Some(EndReason::ActiveTimeout), first[0].id)
    );
    assert_eq!(tracker.statistics().connections, 1);
}

fn any_records() -> impl Strategy<Value = Vec<FlowRecord>> {
    let one = (
        0..5_u8,
        0..4_u16,
        0..5_u8,
        0..4_u16,
        any::<bool>(),
        any::<u8>(),
        0..40_u64,
        any::<bool>(),
    )
        .prop_map(|(from, sport, to, dport, tcp, flags, at, egress)| {
            let mut record = record(
                (from, sport),
                (to, dport),
                if tcp { 6 } else { 17 },
                &[flags],
                START + at * SECOND,
            );
            record.key.flags = KeyFlags(if egress { KeyFlags::EGRESS } else { 0 });
            record
        });
    proptest::collection::vec(one, 0..60)
}

proptest! {
    #[test]
    fn sums_of_slices_are_the_sums_of_records(records in any_records(), cut in 1..9_usize, room in 1..9_usize) {
        let mut tracker = Tracker::new(&config::Track { max_connections: room, ..config::Track::default() });
        let mut slices = Vec::new();
        for (number, interval) in records.chunks(cut).enumerate() {
            tracker.ingest(interval, &mut slices);
            slices.extend(tracker.close_interval(START + number as u64 * 30 * SECOND));
            prop_assert!(tracker.statistics().connections <= room as u64);
        }
        slices.extend(tracker.finish());
        let sum = |of: fn(&FlowCounters) -> u64| records.iter().map(|r| of(&r.counters)).sum::<u64>();
        prop_assert_eq!(slices.iter().map(Slice::packets).sum::<u64>(), sum(|c| c.packets));
        prop_assert_eq!(slices.iter().map(Slice::l3_bytes).sum::<u64>(), sum(|c| c.l3_bytes));
        prop_assert_eq!(slices.iter().map(Slice::wire_bytes).sum::<u64>(), sum(|c| c.wire_bytes));
    }

    #[test]
    fn order_and_early_drains_within_an_interval_change_nothing(records in any_records(), split in 0..60_usize) {
        let close = |batches: &[&[FlowRecord]]| {
            let mut tracker = Tracker::new(&config::Track::default());
            for batch in batches {
                tracker.ingest(batch, &mut Vec::new());
            }
            tracker.close_interval(START + 40 * SECOND)
        };
        let mut unordered = records.clone();
        unordered.reverse();
        for record in &mut unordered {
            record.key.flags = KeyFlags(0);
        }
        let mut records = records;
        for record in &mut records {
            record.key.flags = KeyFlags(0);
        }
        let (early, late) = unordered.split_at(split.min(unordered.len()));
        prop_assert_eq!(close(&[&records]), close(&[late, early]));
    }
}
