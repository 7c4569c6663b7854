//! What holds for any traffic, any intervals and any table size.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use flowmeter::{
    flow::{EndReason, FlowRecord, Outcome, Slice, ip_address},
    track::Tracker,
};
use flowmeter_common::{
    FlowCounters, KeyFlags, Sizes,
    flow::protocol::{ICMP, TCP, UDP},
};
use proptest::{collection::vec, prelude::*, sample::select};

use crate::traffic::{SECOND, Way, tracker};

/// An interval's length and what was drained in it.
type Interval = (u64, Vec<FlowRecord>);

/// Few ends and ports, so that keys meet; many flags and times, also absurd ones.
fn record() -> impl Strategy<Value = FlowRecord> {
    let end = || (0..2_u8, select(vec![0_u16, 8, 53]));
    let at = prop_oneof![0..600 * SECOND, (0..60_u64).prop_map(|tens| tens * 10 * SECOND)];
    let packet = (at, any::<u8>(), 1..5_u32, 0..9000_u64);
    let key = (
        end(),
        end(),
        select(vec![TCP, TCP, UDP, ICMP]),
        select(vec![0, KeyFlags::EGRESS]),
    );
    (key, vec(packet, 1..4)).prop_map(|((from, to, protocol, flags), packets)| {
        let mut way = Way::new(protocol, from, to);
        way.0.flags = KeyFlags(flags);
        let mut counters = FlowCounters::default();
        for (at, flags, packets, bytes) in packets {
            let flags = if protocol == TCP { flags & 0x1f } else { 0 };
            let sizes = Sizes {
                packets,
                l3_bytes: bytes,
                wire_bytes: bytes + 14,
            };
            counters.merge(&FlowCounters::first(sizes, flags, at));
        }
        FlowRecord { key: way.0, counters }
    })
}

fn intervals() -> impl Strategy<Value = Vec<Interval>> {
    let length = select(vec![
        SECOND / 10,
        2 * SECOND,
        10 * SECOND,
        70 * SECOND,
        400 * SECOND,
    ]);
    vec((length, vec(record(), 0..20)), 1..12)
}

/// The same with each record's packets in the interval that it was drained in.
///
/// Where a packet of a forgotten connection's very time comes again in a later interval, the same key and start
/// give the same id: absurd times are for the other properties.
fn in_their_time(mut intervals: Vec<Interval>) -> Vec<Interval> {
    let mut start_ns = 0;
    for (length_ns, records) in &mut intervals {
        for FlowRecord { counters, .. } in records {
            counters.first_ns = start_ns + counters.first_ns % *length_ns;
            counters.last_ns = counters.first_ns.max(start_ns + counters.last_ns % *length_ns);
        }
        start_ns += *length_ns;
    }
    intervals
}

/// Every slice that comes of the intervals, each interval's records taken in by so many calls.
fn run(tracker: &mut Tracker, intervals: &[Interval], calls: usize) -> Vec<Slice> {
    let mut slices = Vec::new();
    let mut now_ns = 0;
    for (length_ns, records) in intervals {
        now_ns += length_ns;
        for drain in records.chunks(records.len().div_ceil(calls).max(1)) {
            tracker.ingest(drain, &mut slices);
        }
        tracker.close_interval(now_ns, &mut slices);
    }
    tracker.finish(now_ns, &mut slices);
    slices
}

type Sums = BTreeMap<(u8, IpAddr, IpAddr), [u64; 7]>;

fn add(sums: &mut Sums, way: (u8, IpAddr, IpAddr), counters: &FlowCounters) {
    let FlowCounters {
        packets,
        l3_bytes,
        wire_bytes,
        syn,
        syn_ack,
        fin,
        rst,
        ..
    } = *counters;
    if packets > 0 {
        let flags = [syn, syn_ack, fin, rst].map(u64::from);
        let [syn, syn_ack, fin, rst] = flags;
        let terms = [packets, l3_bytes, wire_bytes, syn, syn_ack, fin, rst];
        for (sum, term) in sums.entry(way).or_default().iter_mut().zip(terms) {
            *sum += term;
        }
    }
}

fn sums_of_slices(slices: &[Slice]) -> Sums {
    let mut sums = Sums::new();
    for slice in slices {
        let (initiator, responder) = (slice.initiator.ip, slice.responder.ip);
        add(&mut sums, (slice.protocol, initiator, responder), &slice.forward);
        add(&mut sums, (slice.protocol, responder, initiator), &slice.reverse);
    }
    sums
}

fn sums_of_records(intervals: &[Interval]) -> Sums {
    let mut sums = Sums::new();
    for FlowRecord { key, counters } in intervals.iter().flat_map(|(_, records)| records) {
        let way = (
            key.protocol,
            ip_address(key.source, false),
            ip_address(key.destination, false),
        );
        add(&mut sums, way, counters);
    }
    sums
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_packet_is_lost_or_counted_twice(intervals in intervals(), max_connections in 1..40_usize, calls in 1..4_usize) {
        let mut tracker = tracker(max_connections);
        let slices = run(&mut tracker, &intervals, calls);
        prop_assert_eq!(sums_of_slices(&slices), sums_of_records(&intervals));
        let early = slices.iter().filter(|slice| slice.end == Some(EndReason::LackOfResources)).count();
        prop_assert_eq!(tracker.statistics().evicted, early as u64);
        prop_assert_eq!(tracker.statistics().connections, 0);
        for slice in &slices {
            prop_assert!(slice.start_ns <= slice.last_ns);
            prop_assert!(slice.packets() > 0 || slice.end.is_some());
        }
    }

    #[test]
    fn neither_the_order_of_records_nor_the_number_of_drains_shows(
        (intervals, shuffled) in intervals().prop_flat_map(|intervals| {
            let shuffled: Vec<_> = intervals
                .iter()
                .map(|(length, records)| (Just(*length), Just(records.clone()).prop_shuffle()))
                .collect();
            (Just(intervals), shuffled)
        }),
        calls in 1..5_usize,
    ) {
        let expected = run(&mut tracker(1000), &intervals, 1);
        prop_assert_eq!(run(&mut tracker(1000), &shuffled, calls), expected);
    }

    #[test]
    fn each_identity_is_one_record_and_its_last_slice_has_the_end(intervals in intervals()) {
        let slices = run(&mut tracker(1000), &in_their_time(intervals), 1);
        let mut records: BTreeMap<u64, Vec<&Slice>> = BTreeMap::new();
        for slice in &slices {
            records.entry(slice.id).or_default().push(slice);
        }
        for record in records.values() {
            let identity = |slice: &Slice| {
                let Slice { initiator, responder, basis, start_ns, protocol, .. } = *slice;
                (initiator, responder, basis, start_ns, protocol)
            };
            let identities: BTreeSet<_> = record.iter().map(|slice| identity(slice)).collect();
            prop_assert_eq!(identities.len(), 1);
            // Once ended, it stays so: a straggler carries the end of finished TCP again.
            let after_end: Vec<_> = record.iter().skip_while(|slice| slice.end.is_none()).collect();
            prop_assert!(!after_end.is_empty());
            for late in after_end.iter().skip(1) {
                prop_assert_eq!((late.protocol, late.end), (TCP, Some(EndReason::EndOfFlowDetected)));
                prop_assert!(late.packets() > 0);
                prop_assert_eq!(after_end[0].end, late.end);
            }
            prop_assert!(record.is_sorted_by_key(|slice| slice.last_ns));
            let not_accepted = record.iter().skip_while(|slice| slice.outcome != Outcome::Accepted);
            prop_assert!(not_accepted.into_iter().all(|slice| slice.outcome == Outcome::Accepted));
        }
    }
}
