//! A collector under 100,000 flows an interval.

use std::time::Duration;

use flowmeter::{config::Flows, flow::FlowRecord};
use serde_json::Value;

use crate::{
    collector::{Collector, SECOND, config, record},
    law::{self, number},
};

const FLOWS: u32 = 100_000;
/// As many as there are lines are no use; these are enough to be over the budget.
const FEWER: u32 = 12_000;
/// 300 a second.
const INTERVAL_LINES: usize = 3_000;

/// One host scans a network, many flood a server, the others do what they always do; some of it is large.
fn busy(collector: &Collector, round: u32, flows: u32) -> Vec<FlowRecord> {
    let start_ns = collector.start_ns();
    (0..flows)
        .map(|number| {
            let [_, a, b, c] = number.to_be_bytes();
            let port = u16::try_from(1024 + (number + round * 7_919) % 60_000).unwrap();
            let at_ns = start_ns + u64::from(number) * 9 * SECOND / u64::from(flows);
            let (from, to, sent) = match number % 4 {
                0 => (([10, 0, 0, 66], port), ([10, 20 + a, b, c], 445), (1, 40)),
                1 => (([100 + a, b, c, 9], port), ([10, 0, 0, 80], 443), (1, 40)),
                2 => (([10, 9, b, c], port), ([192, 0, 2, 53], 853), (2, 80)),
                _ => (
                    ([10, 8, b, c], port),
                    ([203, 0, 113, c], 443),
                    (10, 100 + u64::from(number % 977)),
                ),
            };
            record(from, to, sent, at_ns, 1 + number % 3)
        })
        .collect()
}

fn run(mode: Flows, flows: u32, mut after_each: impl FnMut(&mut Collector)) -> (String, String) {
    let mut config = config(mode);
    config.output.all_flows_path = "beside".into();
    let mut collector = Collector::new(config);
    for round in 0..2 {
        collector.interval(busy(&collector, round, flows));
        after_each(&mut collector);
    }
    collector.finish()
}

#[test]
fn it_keeps_to_its_lines_loses_no_finding_and_the_sums_are_what_was_counted() {
    let (all, every) = run(Flows::All, FLOWS, |collector| assert!(!collector.waits()));
    let mut before = 0;
    let (budget, every_under_budget) = run(Flows::Budget, FLOWS, |collector| {
        let mut told = 0;
        let start = before;
        for step in 0..10 {
            if step > 0 {
                collector.pace(Duration::from_secs(step));
            }
            let lines = collector.lines();
            told += lines - before;
            assert!(
                told <= 300 * (usize::try_from(step).unwrap() + 1),
                "step {step}: {told}"
            );
            before = lines;
        }
        assert!(!collector.waits(), "all is written before the next interval");
        assert!(before - start <= INTERVAL_LINES && before - start > INTERVAL_LINES / 2);
    });
    let last = budget.lines().count() - before;
    assert!(last <= INTERVAL_LINES, "the end writes {last} lines");

    let (all, budget) = (law::check(&all), law::check(&budget));
    assert!(!all.findings.is_empty());
    assert_eq!(budget.findings, all.findings);
    assert_eq!(budget.seen, all.seen);
    assert_eq!(budget.exported, all.exported);
    assert_eq!((all.summaries, budget.summaries > 0), (0, true));
    assert_eq!(every, every_under_budget);
    assert_eq!(
        every.lines().count() as u64,
        all.flows,
        "every flow is in the second file"
    );
}

#[test]
fn a_scan_and_a_flood_are_a_summary_each_and_the_largest_flows_are_written() {
    let (text, _) = run(Flows::Budget, FEWER, |_| {});
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let found = |wanted: &dyn Fn(&Value) -> bool| {
        events
            .iter()
            .filter(|event| event["event"]["action"] == "network_flow_summary")
            .filter(|event| wanted(event))
            .map(|event| number(&event["flow"]["merged"]["flows"]))
            .max()
            .unwrap_or(0)
    };
    // A quarter of the flows, a third of which is on each interface.
    let least = u64::from(FEWER) / 4 / 3 - 1;
    assert!(found(&|event| event["srcip"] == "10.0.0.66" && event["dstport"] == 445) >= least);
    assert!(found(&|event| event["dstip"] == "10.0.0.80" && event["dstport"] == 443) >= least);
    let smallest = events
        .iter()
        .filter(|event| event["event"]["action"] == "network_flow")
        .map(|event| number(&event["network"]["bytes"]))
        // At the end all that is left are ends of connections.
        .filter(|bytes| *bytes > 0)
        .min();
    assert!(smallest >= Some(1_000), "{smallest:?}");
}

#[test]
fn under_findings_only_nothing_but_findings_and_statistics_is_written() {
    let (text, every) = run(Flows::FindingsOnly, FEWER, |_| {});
    let sums = law::check(&text);
    assert_eq!((sums.flows, sums.summaries), (0, 0));
    assert!(sums.left_out.0 > u64::from(FEWER) && !sums.findings.is_empty());
    assert!(every.lines().count() >= 2 * FEWER as usize);
}
