//! Findings in a maintenance window are not told but counted, in the statistics of the same file.

use flowmeter::config::{Flows, detect::Allow};
use serde_json::Value;

use crate::{
    collector::{Collector, SECOND, config, record},
    law::{self, number},
};

/// One host tries 200 ports of another, on Sunday, 2026-04-26, at 11:45 UTC. The findings, and what was kept back.
fn scan_with(allow: Allow) -> (usize, u64) {
    let mut config = config(Flows::All);
    config.detect.allow = vec![allow];
    let mut collector = Collector::new(config);
    let start_ns = collector.start_ns();
    let tries = (0..200_u16).map(|number| {
        let at_ns = start_ns + u64::from(number) * SECOND / 40;
        record(
            ([10, 0, 0, 66], 40_000 + number),
            ([10, 20, 0, 7], 1 + number),
            (1, 40),
            at_ns,
            1,
        )
    });
    collector.interval(tries.collect());
    // Tries that nobody answers are failures after a while.
    for _ in 0..12 {
        collector.interval(Vec::new());
    }
    let (text, _) = collector.finish();
    let findings = law::check(&text).findings.len();
    let hits = text.lines().rev().find_map(|line| {
        let event: Value = serde_json::from_str(line).unwrap();
        event["flowmeter"]["detect"]["allow_hits"].get(0).map(number)
    });
    (findings, hits.unwrap_or(0))
}

fn window(network: &str, from: &str, weekly: &str) -> Allow {
    Allow {
        networks: vec![network.parse().unwrap()],
        from: from.to_owned(),
        weekly: vec![weekly.to_owned()],
        ..Allow::default()
    }
}

#[test]
fn a_window_keeps_back_what_either_end_is_in_and_counts_it() {
    for network in ["10.0.0.66/32", "10.20.0.0/16"] {
        let (findings, hits) = scan_with(window(network, "2026-04-26", "Sun 11:00-12:00"));
        assert!(
            findings == 0 && hits > 0,
            "{network}: {findings} told, {hits} kept back"
        );
    }
}

#[test]
fn outside_its_hours_its_days_or_its_networks_everything_is_told() {
    let told = scan_with(Allow {
        ports: vec![9],
        ..Allow::default()
    });
    assert!(told.0 > 0 && told.1 == 0, "{told:?}");
    for allow in [
        window("10.0.0.66/32", "2026-04-26", "Sun 12:00-24:00"),
        window("10.0.0.66/32", "2026-04-27", "Sun 11:00-12:00"),
        window("10.20.1.0/24", "2026-04-26", "Sun 11:00-12:00"),
    ] {
        assert_eq!(scan_with(allow.clone()), told, "{allow:?}");
    }
}
