//! The law, whatever the traffic, the mode, the pace and the disk.

use std::time::Duration;

use flowmeter::config::{Flows, Schema};
use proptest::prelude::*;

use crate::{
    collector::{Collector, config, record},
    law::{self, Amount},
};

#[derive(Clone, Debug)]
struct Interval {
    /// Source, destination, port, packets, interface.
    flows: Vec<(u8, u8, u16, u64, u32)>,
    /// Steps of a second in which the loop calls, and whether the file can be written then.
    steps: Vec<(u64, bool)>,
    disk: bool,
}

fn intervals() -> impl Strategy<Value = Vec<Interval>> {
    let flow = (0..6_u8, 0..6_u8, 1..9_u16, 1..5_u64, 1..4_u32);
    let interval = (
        prop::collection::vec(flow, 0..60),
        prop::collection::vec((1..10_u64, prop::bool::weighted(0.8)), 0..4),
        prop::bool::weighted(0.7),
    );
    prop::collection::vec(
        interval.prop_map(|(flows, steps, disk)| Interval { flows, steps, disk }),
        1..7,
    )
}

fn modes() -> impl Strategy<Value = Flows> {
    prop_oneof![
        Just(Flows::All),
        Just(Flows::FindingsOnly),
        Just(Flows::Budget),
        Just(Flows::Budget)
    ]
}

/// What the intervals hold, in packets and wire bytes, and the file that they make.
fn run(intervals: &[Interval], mode: Flows, schema: Schema, rate: u32, buffer: usize) -> (Amount, String) {
    let mut config = config(mode);
    config.output.schema = schema;
    config.output.lines_per_second = rate;
    config.output.retry_buffer_bytes = buffer;
    let mut collector = Collector::new(config);
    let mut counted = Amount::default();
    let quiet = Interval {
        flows: Vec::new(),
        steps: vec![(1, true)],
        disk: true,
    };
    // Whatever could not be written is told in the end.
    for interval in intervals.iter().chain([&quiet, &quiet, &quiet]) {
        collector.disk(interval.disk);
        let at_ns = collector.start_ns();
        let records: Vec<_> = interval
            .flows
            .iter()
            .zip(20_000..)
            .map(|((source, destination, port, packets, ifindex), from_port)| {
                let (from, to) = ([10, 0, 0, *source], [192, 0, 2, *destination]);
                record((from, from_port), (to, *port), (*packets, 100), at_ns, *ifindex)
            })
            .collect();
        for record in &records {
            counted += Amount(record.counters.packets, record.counters.wire_bytes);
        }
        // What the collector counts as not IP besides.
        counted += Amount(9, 540);
        collector.interval(records);
        for (after, disk) in &interval.steps {
            collector.disk(*disk);
            collector.pace(Duration::from_secs(*after));
        }
    }
    (counted, collector.finish().0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_was_counted_is_in_the_file_or_told_in_it(
        intervals in intervals(),
        mode in modes(),
        schema in prop_oneof![Just(Schema::Wazuh4), Just(Schema::Ecs)],
        rate in prop_oneof![1_u32..6, Just(300)],
        buffer in prop_oneof![3_000_usize..60_000, Just(64 << 20)],
    ) {
        let (counted, text) = run(&intervals, mode, schema, rate, buffer);
        let sums = law::check(&text);
        prop_assert_eq!(sums.seen, counted, "no statistics event is lost in the end");
        if mode == Flows::FindingsOnly {
            prop_assert_eq!(sums.flows + sums.summaries, 0);
        } else {
            prop_assert_eq!(sums.left_out, Amount::default());
        }
        if mode != Flows::Budget {
            prop_assert_eq!(sums.summaries, 0);
        }
    }

    #[test]
    fn the_same_input_at_the_same_pace_gives_the_same_bytes(
        mut intervals in intervals(),
        mode in modes(),
        rate in 1_u32..6,
    ) {
        // A failing disk is told in the words of the system, with the path.
        for interval in &mut intervals {
            interval.disk = true;
            interval.steps.iter_mut().for_each(|(_, disk)| *disk = true);
        }
        let run = || run(&intervals, mode, Schema::Wazuh4, rate, 64 << 20).1;
        prop_assert_eq!(run(), run());
    }
}
