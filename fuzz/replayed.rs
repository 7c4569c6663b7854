//! Files of hostile bytes through a replay: what every format has to keep.

use std::{collections::BTreeMap, io::Cursor, time::Duration};

use flowmeter::{
    capture::{
        log::{LineCounts, LogSource, Parser},
        replay::{Interval, Replay, Source},
    },
    config::Tunnels,
    flow::FlowRecord,
};

/// Everything that a replay hands out, in its order.
pub fn intervals(source: Box<dyn Source>, interval: Duration) -> (Vec<Interval>, LineCounts) {
    let mut replay = Replay::new(vec![source], interval, Tunnels::Inner);
    let mut all = Vec::<Interval>::new();
    while let Some(interval) = replay.next_interval() {
        conserved(&interval);
        if let Some(before) = all.last() {
            assert!(
                before.end_ns <= interval.start_ns,
                "an interval twice, or back in time"
            );
        }
        all.push(interval);
    }
    for problem in replay.take_problems() {
        assert!(!problem.to_string().contains('\n'), "{problem}");
    }
    (all, replay.lines())
}

/// Seen is what is in flows and what has a reason not to be.
fn conserved(interval: &Interval) {
    let mut seen = BTreeMap::<u32, (u64, u64)>::new();
    let mut add = |ifindex, packets: u64, wire_bytes: u64| {
        let sum = seen.entry(ifindex).or_default();
        sum.0 = sum.0.saturating_add(packets);
        sum.1 = sum.1.saturating_add(wire_bytes);
    };
    for FlowRecord { key, counters } in &interval.batch.records {
        assert!(counters.packets > 0, "a flow without packets");
        assert!(
            counters.first_ns <= counters.last_ns,
            "a flow that ends before it starts"
        );
        for part in [counters.syn, counters.syn_ack, counters.rst, counters.fin] {
            assert!(u64::from(part) <= counters.packets, "more flags than packets");
        }
        add(key.ifindex, counters.packets, counters.wire_bytes);
    }
    for interface in &interval.batch.interfaces {
        for count in interface.counters.uncounted {
            add(interface.ifindex, count.packets, count.wire_bytes);
        }
    }
    for interface in &interval.batch.interfaces {
        let sum = seen.remove(&interface.ifindex).unwrap_or_default();
        let counters = &interface.counters.seen;
        // Sums that are cut off at the end of their range depend on their order.
        if sum.0 < u64::MAX
            && sum.1 < u64::MAX
            && counters.packets < u64::MAX
            && counters.wire_bytes < u64::MAX
        {
            assert_eq!(sum, (counters.packets, counters.wire_bytes));
        }
    }
    assert!(seen.is_empty(), "traffic of no interface");
}

/// A log: every line is accounted for, and their order does not matter.
pub fn log<P: Parser + 'static>(data: &[u8], parser: fn() -> P, order_matters: bool) {
    let source = |bytes: Vec<u8>| Box::new(LogSource::new("log", Cursor::new(bytes), parser()));
    let interval = Duration::from_secs(10);
    let (forward, counts) = intervals(source(data.to_vec()), interval);
    let LineCounts {
        read,
        flows,
        empty,
        other,
        broken,
    } = counts;
    assert_eq!(read, flows + empty + other + broken);
    let lines = data.split(|&byte| byte == b'\n').count() as u64;
    assert_eq!(read, lines - u64::from(data.is_empty() || data.ends_with(b"\n")));
    assert_eq!(flows == 0, forward.is_empty());
    if order_matters || data.starts_with(b"\xef\xbb\xbf") {
        return;
    }
    let mut lines: Vec<_> = data.split(|&byte| byte == b'\n').collect();
    lines.reverse();
    let backward = lines.join(&b'\n');
    if backward.starts_with(b"\xef\xbb\xbf") {
        return;
    }
    let (backward, _) = intervals(source(backward), interval);
    assert_eq!(forward.len(), backward.len());
    for (one, other) in forward.iter().zip(&backward) {
        assert_eq!(
            (one.start_ns, &one.batch.records),
            (other.start_ns, &other.batch.records)
        );
    }
}
