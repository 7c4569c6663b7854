//! The table as a whole: room, settings, the agent's stop, order.

use std::time::Duration;

use flowmeter::{
    config,
    flow::{EndReason, FlowRecord, Slice},
    track::Statistics,
};
use flowmeter_common::flow::tcp_flags::{ACK, RST, SYN};

use crate::traffic::{Way, interval, ip, one, quiet, seconds, tracker};

/// A connection refused at `at`, which has finished with that.
fn refused(at: f64) -> [FlowRecord; 2] {
    let way = Way::tcp((9, 40000), (1, 443));
    [way.packet(at, SYN), way.back().packet(at, RST | ACK)]
}

fn ends(slices: &[Slice]) -> Vec<(u16, u64, Option<EndReason>)> {
    slices
        .iter()
        .map(|slice| (slice.initiator.port, slice.packets(), slice.end))
        .collect()
}

#[test]
fn a_full_table_ends_what_has_been_idle_the_longest() {
    let way = |port| Way::udp((9, port), (1, 53));
    let mut tracker = tracker(3);
    interval(
        &mut tracker,
        &[way(2001).packet(1.0, 0), way(2002).packet(2.0, 0)],
        10.0,
    );
    interval(
        &mut tracker,
        &[way(2001).packet(11.0, 0), way(2003).packet(12.0, 0)],
        20.0,
    );
    let mut evicted = Vec::new();
    tracker.ingest(&[way(2004).packet(21.0, 0)], &mut evicted);
    assert_eq!(ends(&evicted), [(2002, 0, Some(EndReason::LackOfResources))]);
    assert_eq!(
        tracker.statistics(),
        Statistics {
            connections: 3,
            capacity: 3,
            evicted: 1
        }
    );
    // 2003 has just sent: 2001 goes, then 2004, the first of those that sent in this interval.
    evicted.clear();
    tracker.ingest(
        &[
            way(2003).packet(22.0, 0),
            way(2005).packet(23.0, 0),
            way(2006).packet(24.0, 0),
        ],
        &mut evicted,
    );
    assert_eq!(
        ends(&evicted),
        [
            (2001, 0, Some(EndReason::LackOfResources)),
            (2004, 1, Some(EndReason::LackOfResources))
        ]
    );
    assert_eq!(tracker.statistics().evicted, 3);
    let left = quiet(&mut tracker, 30.0);
    assert_eq!(ends(&left), [(2003, 1, None), (2005, 1, None), (2006, 1, None)]);
}

#[test]
fn connections_that_only_linger_make_room_first_and_uncounted() {
    let mut tracker = tracker(2);
    let udp = |port| Way::udp((9, port), (1, 53));
    interval(&mut tracker, &[udp(2001).packet(1.0, 0)], 10.0);
    assert_eq!(
        one(&mut tracker, &refused(11.0), 20.0).end,
        Some(EndReason::EndOfFlowDetected)
    );
    assert_eq!(
        tracker.statistics(),
        Statistics {
            connections: 1,
            capacity: 2,
            evicted: 0
        }
    );
    let slices = interval(&mut tracker, &[udp(2002).packet(21.0, 0)], 30.0);
    assert_eq!(ends(&slices), [(2002, 1, None)]);
    assert_eq!(
        tracker.statistics(),
        Statistics {
            connections: 2,
            capacity: 2,
            evicted: 0
        }
    );
}

#[test]
fn settings_change_while_it_runs() {
    let udp = |port| Way::udp((9, port), (1, 53));
    let mut tracker = tracker(4);
    let records = [1, 2, 3, 4].map(|n: u8| udp(2000 + u16::from(n)).packet(f64::from(n), 0));
    interval(&mut tracker, &records, 10.0);
    tracker.reconfigure(&config::Track {
        max_connections: 2,
        idle_timeout: Duration::from_secs(20),
        ..config::Track::default()
    });
    let mut evicted = Vec::new();
    tracker.ingest(&[udp(2005).packet(12.0, 0)], &mut evicted);
    assert_eq!(evicted.len(), 3);
    let mut slices = Vec::new();
    tracker.close_interval(seconds(24.0), &mut slices);
    assert_eq!(
        ends(&slices),
        [(2005, 1, None), (2004, 0, Some(EndReason::IdleTimeout))]
    );
}

#[test]
fn finishing_ends_everything_once() {
    let udp = |port| Way::udp((9, port), (1, 53));
    let mut tracker = tracker(8);
    interval(
        &mut tracker,
        &[udp(2001).packet(0.2, 0), udp(2002).packet(55.0, 0)],
        60.0,
    );
    interval(&mut tracker, &refused(59.95), 60.1);
    let mut slices = Vec::new();
    tracker.ingest(&[udp(2003).packet(60.2, 0)], &mut slices);
    tracker.finish(seconds(60.5), &mut slices);
    assert_eq!(
        ends(&slices),
        [
            (2003, 1, Some(EndReason::ForcedEnd)),
            (2001, 0, Some(EndReason::IdleTimeout)),
            (2002, 0, Some(EndReason::ForcedEnd)),
            (40000, 0, Some(EndReason::EndOfFlowDetected)),
        ]
    );
    assert_eq!(tracker.statistics().connections, 0);
}

#[test]
fn slices_come_by_start_whatever_the_order_of_records() {
    let way = |last| Way::udp((last, 2000), (200, 53));
    let mut tracker = tracker(8);
    interval(&mut tracker, &[way(7).packet(3.0, 0)], 5.0);
    let records = [
        way(5).packet(9.0, 0),
        way(6).packet(8.0, 0),
        way(4).packet(8.0, 0),
        way(7).packet(9.5, 0),
    ];
    let order: Vec<_> = interval(&mut tracker, &records, 10.0)
        .iter()
        .map(|slice| slice.initiator.ip)
        .collect();
    assert_eq!(order, [ip(7), ip(4), ip(6), ip(5)]);
}

#[test]
fn a_record_without_packets_is_no_traffic() {
    let empty = FlowRecord {
        key: Way::tcp((9, 40000), (1, 443)).0,
        ..FlowRecord::default()
    };
    let mut tracker = tracker(8);
    assert_eq!(interval(&mut tracker, &[empty], 10.0), []);
    assert_eq!(tracker.statistics().connections, 0);
}
