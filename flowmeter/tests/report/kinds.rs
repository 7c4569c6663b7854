//! Each kind says what it is for.

use std::fs;

use flowmeter::config::Flows;

use crate::{FINDING, FLOW, STATISTICS, about, events, made, report, told};

#[test]
fn each_kind_has_its_sections_in_both_formats() {
    let events = [FINDING, FLOW, STATISTICS].concat();
    for (kind, title, sections) in [
        (
            "monitoring",
            "Network monitoring",
            &[
                "Timeline",
                "Findings",
                "Top talkers",
                "Directions",
                "Services",
                "Protocols",
                "Meter health",
            ][..],
        ),
        (
            "anomalies",
            "Anomaly detection",
            &[
                "When",
                "By kind",
                "By source",
                "Findings",
                "How far this could see",
            ],
        ),
        (
            "incident",
            "Incident: possible port scan",
            &[
                "Assessment",
                "What was seen",
                "Chronology",
                "Who else is in it",
                "Related findings",
                "Likely benign causes",
                "Follow-up",
                "What decided",
                "How far this could see",
            ],
        ),
    ] {
        let page = made(&events, &["--kind", kind]);
        assert!(page.contains(&format!("<h1>{title}</h1>")), "{page}");
        let document = made(&events, &["--kind", kind, "--format", "md"]);
        assert!(document.starts_with(&format!("# {title}\n")));
        let headings: Vec<_> = document
            .lines()
            .filter_map(|line| line.strip_prefix("## "))
            .collect();
        assert_eq!(headings, sections);
        for section in sections {
            assert!(page.contains(&format!(">{section}</h2>")), "{kind}: {section}");
        }
        assert!(
            document.contains("192.168.56.30 tried 31 ports of 192.168.56.28 within 2 s, 29 of them closed")
        );
    }
}

#[test]
fn the_health_of_the_meter_is_told_with_every_loss() {
    let document = made(STATISTICS, &["--format", "md"]);
    for told in [
        "Every packet that was seen is accounted for",
        "| seen | 111,555 |",
        "| lost: map_full | 2,500 |",
        "| of the exported: withheld (file not writable) | 410 |",
        "Packets were sampled, one in 100.",
        "0 packets in the lines read, 9,490 exported and not withheld",
        "No space left on device (os error 28)",
        "- **Lost by the meter**: 2,515 (of 111,555 packets seen)",
    ] {
        assert!(document.contains(told), "{told} in {document}");
    }
    let off = STATISTICS.replace("\"packets\":111555", "\"packets\":111556");
    assert!(made(off, &["--format", "md"]).contains("do not add up (enp1s0: off by 1 packet)"));
    let later = STATISTICS
        .replace("11:45:20.000000000Z", "11:50:00.000000000Z")
        .replace("11:45:30.000000000Z", "11:50:10.000000000Z");
    let gap = made([STATISTICS, &later].concat(), &["--format", "md"]);
    assert!(gap.contains("told nothing in 1 gap"), "{gap}");
    assert!(
        gap.contains("2026-04-26 11:45:30 to 11:50:00 UTC (4m 30s)"),
        "{gap}"
    );
    let twice = made([STATISTICS, STATISTICS].concat(), &["--format", "md"]);
    assert!(
        twice.contains("1 interval of enp1s0 of lab-collector-01 lie over others"),
        "{twice}"
    );
}

#[test]
fn an_incident_is_about_the_finding_that_was_asked_for() {
    let weaker = FINDING
        .replace("51d39a0c77e142b6", "0000000000000001")
        .replace("\"score\":87", "\"score\":30")
        .replace("192.168.56.30", "192.168.56.31");
    let both = [&weaker, FINDING].concat();
    for (arguments, source) in [
        (&["--kind", "incident"][..], "192.168.56.30"),
        (&["--finding", "0000000000000001"], "192.168.56.31"),
        (&["--source", "192.168.56.31"], "192.168.56.31"),
    ] {
        let document = made(&both, &[arguments, &["--format", "md"]].concat());
        assert!(
            document.contains(&format!("- **source**: {source}\n")),
            "{arguments:?}"
        );
        // The other one has the same target.
        assert!(document.contains("one more finding names its hosts"));
    }
    let (code, _, stderr) = about(&both, &["--finding", "ffff"]);
    let message = "error: --finding ffff: no such anomaly.episode among 2 findings\n";
    assert_eq!((code, stderr.as_str()), (1, message));
    let (_, _, stderr) = about(&both, &["--source", "10.0.0.1"]);
    assert_eq!(
        stderr,
        "error: --source 10.0.0.1: no finding has this source among 2 findings\n"
    );
    let (_, _, stderr) = about(FLOW, &["--kind", "incident"]);
    assert_eq!(
        stderr,
        "error: an incident report needs a finding, and these events hold none\n"
    );
}

#[test]
fn the_format_is_that_of_the_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.json");
    fs::write(&file, FLOW).unwrap();
    let file = file.to_str().unwrap();
    for (name, start) in [("r.html", "<!DOCTYPE html>"), ("r.md", "# Network monitoring")] {
        let output = directory.path().join(name);
        let done = told(&mut report(&[file, "-o", output.to_str().unwrap()]));
        assert_eq!(done, (0, String::new(), String::new()));
        assert!(fs::read_to_string(output).unwrap().starts_with(start));
    }
    let (code, _, stderr) = told(&mut report(&[file, "-o", "r.pdf"]));
    let message = "error: the name r.pdf does not end in .html or .md: say --format html or --format md\n";
    assert_eq!((code, stderr.as_str()), (1, message));
}

/// What the lines hold is what the meter exported, whatever was merged on the way.
#[test]
fn the_sums_of_a_budgeted_file_are_those_of_all_flows() {
    let directory = tempfile::tempdir().unwrap();
    let totals = [Flows::All, Flows::Budget].map(|flows| {
        let file = directory.path().join("events.json");
        events("dos", flows, &file);
        let document = made(fs::read(&file).unwrap(), &["--format", "md"]);
        fs::remove_file(&file).unwrap();
        assert!(
            !document.contains("do not hold what the meter exported"),
            "{document}"
        );
        let merged = document.contains("each in a line of its own");
        assert_eq!(merged, flows == Flows::All);
        let total = |name: &str| {
            let start = format!("- **{name}**: ");
            let line = document.lines().find_map(|line| line.strip_prefix(&start));
            line.unwrap().split(' ').next().unwrap().to_owned()
        };
        ["Traffic", "Packets", "Flow records"].map(total)
    });
    assert_eq!(totals[0], totals[1]);
}
