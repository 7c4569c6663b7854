//! The detectors on captures: as good as `docs/detection-quality.md` says, whatever the interval, over a restart.
//! Skipped without FLOWMETER_DATA.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "the measuring program uses the rest; a wrong table must fail its test"
)]

#[path = "../quality/mod.rs"]
mod quality;
#[path = "../support/mod.rs"]
mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use flowmeter::{
    detect::{Engine, Finding, Phase, Tag},
    enrich::Networks,
};
use quality::{Mode, Row, config, feed, hold_out, judged, load, made, measure, read, slices_with_restart};

const TEN: Duration = Duration::from_secs(10);

#[test]
fn the_measured_quality_holds() {
    let Some(data) = support::data_or_skip("the_measured_quality_holds") else {
        return;
    };
    let measured = measure(&data, Mode::Full, TEN, "").unwrap();
    let scores = measured.scores();
    // (rows found, precision, rows that must be quiet): floors, from docs/detection-quality.md.
    for (group, recall, precision) in [
        ("possible_port_scan", 0.95, 0.95),
        ("possible_beaconing", 1.0, 0.6),
        ("suspicious_dns_flow", 1.0, 1.0),
        ("possible_dos", 1.0, 1.0),
        ("brute_force", 0.66, 0.66),
        ("possible_lateral_movement", 0.8, 0.8),
    ] {
        let score = scores[group];
        assert!(score.recall() >= recall, "{group}: {score:?}");
        assert!(score.precision() >= precision, "{group}: {score:?}");
        assert_eq!(score.not_kept, score.not_rows, "{group}: {score:?}");
    }
    let unwanted: BTreeSet<_> = measured
        .labelled
        .made
        .iter()
        .chain(&measured.unlabelled.made)
        .filter(|made| made.finding.tag == Tag::Beaconing && !made.wanted)
        .map(|made| (&made.path, made.finding.source, made.finding.destination))
        .collect();
    assert!(unwanted.len() <= 8, "{unwanted:?}");
    // Every other finding was looked at.
    let judged = judged::count(&measured);
    assert!(
        judged.get(judged::UNEXPLAINED).copied().unwrap_or(0) <= 10,
        "{judged:?}"
    );
}

fn too_slow(name: &str) -> bool {
    let slow = cfg!(debug_assertions);
    if slow {
        support::skip(name, "takes minutes without --release");
    }
    slow
}

#[test]
fn thresholds_chosen_without_a_source_hold_on_it() {
    if too_slow("thresholds_chosen_without_a_source_hold_on_it") {
        return;
    }
    let Some(data) = support::data_or_skip("thresholds_chosen_without_a_source_hold_on_it") else {
        return;
    };
    let held = hold_out::hold_out(&data).unwrap();
    for (right, rows) in [held.chosen, held.shipped] {
        assert!(
            rows >= 38 && right * 10 >= rows * 9,
            "{right} of {rows}:\n{}",
            held.text
        );
    }
}

// Floors for traffic that is not in the folder, from docs/detection-quality.md, on draws of their own.

#[test]
fn made_up_attacks_are_found() {
    let strengths = if cfg!(debug_assertions) { 0..1 } else { 0..2 };
    let attacks = made::attacks(2001..2002, strengths.clone(), "");
    assert!(attacks.len() >= 28, "{}", attacks.len());
    for (kind, all) in &attacks {
        for found in all.get(strengths.clone()).unwrap() {
            assert_eq!(
                (found.runs, found.found),
                (1, 1),
                "{}: {}",
                kind.expect,
                kind.name
            );
            assert!(found.others.len() <= 1, "{}: {:?}", kind.name, found.others);
        }
    }
}

#[test]
fn made_up_peace_is_kept() {
    if too_slow("made_up_peace_is_kept") {
        return;
    }
    let peace = made::peace(2001..2003, "");
    assert!(peace.len() >= 19, "{}", peace.len());
    for (kind, host_days, findings) in &peace {
        #[expect(clippy::cast_precision_loss, reason = "a few")]
        let per_day = findings.len() as f64 / host_days;
        assert!(
            per_day <= kind.most_per_day,
            "{}: {per_day}: {findings:#?}",
            kind.name
        );
    }
}

#[test]
fn a_flood_of_spoofed_sources_does_not_hide_a_scanner() {
    // Far more sources than there is room for.
    let config = config("", "", &["detect.memory_bytes=8388608".to_owned()]).unwrap();
    let load = load::flood(&config, 1_500_000);
    assert!(load.told_of(load::SCANNER), "{:#?}", load.usage);
    let flood = load.findings.iter().any(|finding| finding.tag == Tag::Dos);
    assert!(flood, "the flood itself was not told");
    let full: u64 = load.usage.iter().map(|usage| usage.evicted).sum();
    assert!(full > 100_000, "no table was full: {:#?}", load.usage);
    for usage in &load.usage {
        assert!(usage.used <= usage.capacity, "{usage:?}");
    }
}

type Starts = BTreeMap<(Tag, String), Vec<u64>>;

/// Which detector told of whom, and since when.
fn starts(findings: &[Finding]) -> Starts {
    let mut starts = Starts::new();
    for finding in findings.iter().filter(|finding| finding.phase == Phase::Start) {
        let target = finding
            .destination
            .filter(|_| !matches!(finding.tag, Tag::PortScan | Tag::LateralMovement));
        starts
            .entry((finding.tag, format!("{:?} {target:?}", finding.source)))
            .or_default()
            .push(finding.first_seen_ns);
    }
    starts
}

fn findings(
    path: &Path,
    row: &Row,
    interval: Duration,
    restart_after: Option<usize>,
) -> (Vec<Finding>, usize) {
    let config = config(&row.internal, &row.settings, &[]).unwrap();
    let networks = Networks::new(&config.networks.internal);
    let mut engine = Engine::new(&config);
    let mut findings = Vec::new();
    let (mut last_ns, mut intervals) = (0, 0);
    slices_with_restart(
        path,
        &config,
        interval,
        restart_after,
        |end_ns, slices, restart| {
            feed(&mut engine, &networks, &slices);
            engine.advance(end_ns);
            findings.append(&mut engine.drain());
            last_ns = last_ns.max(end_ns);
            intervals += 1;
            if restart {
                let saved = engine.snapshot();
                engine = Engine::new(&config);
                engine.restore(&saved).unwrap();
            }
        },
    );
    engine.advance(last_ns + 120_000_000_000);
    findings.append(&mut engine.drain());
    (findings, intervals)
}

fn each_labelled(data: &Path, mut check: impl FnMut(&Path, &Row)) {
    let mut done = BTreeSet::new();
    for row in read(data).unwrap() {
        if done.insert((row.path.clone(), row.internal.clone(), row.settings.clone())) {
            check(&data.join(&row.path), &row);
        }
    }
    assert!(done.len() > 40, "{}", done.len());
}

#[test]
fn the_interval_changes_no_finding_on_captures() {
    let Some(data) = support::data_or_skip("the_interval_changes_no_finding_on_captures") else {
        return;
    };
    let mut told = BTreeSet::new();
    each_labelled(&data, |path, row| {
        let (ten, _) = findings(path, row, TEN, None);
        told.extend(ten.iter().map(|finding| finding.tag));
        let ten = starts(&ten);
        for seconds in [1, 60] {
            let (other, _) = findings(path, row, Duration::from_secs(seconds), None);
            let other = starts(&other);
            assert_eq!(
                ten.keys().collect::<Vec<_>>(),
                other.keys().collect::<Vec<_>>(),
                "{}: {seconds} s",
                row.path
            );
            for (subject, times) in &ten {
                let off_ns = times[0].abs_diff(other[subject][0]);
                let within_ns = seconds.max(10) * 1_000_000_000;
                assert!(
                    off_ns <= within_ns,
                    "{}: {seconds} s: {subject:?}: {off_ns} ns",
                    row.path
                );
            }
        }
    });
    assert!(told.len() >= 6, "{told:?}");
}

#[test]
fn a_restart_in_the_middle_loses_and_repeats_nothing() {
    let Some(data) = support::data_or_skip("a_restart_in_the_middle_loses_and_repeats_nothing") else {
        return;
    };
    let mut told = BTreeSet::new();
    each_labelled(&data, |path, row| {
        let (whole, intervals) = findings(path, row, TEN, None);
        told.extend(whole.iter().map(|finding| finding.tag));
        let (restarted, _) = findings(path, row, TEN, Some((intervals / 2).max(1)));
        let count = |findings: &[Finding]| -> BTreeMap<(Tag, String), usize> {
            starts(findings)
                .into_iter()
                .map(|(subject, times)| (subject, times.len()))
                .collect()
        };
        assert_eq!(count(&whole), count(&restarted), "{}", row.path);
    });
    assert!(told.len() >= 6, "{told:?}");
}
