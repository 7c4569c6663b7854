//! `samples/reports/` holds what is made of the generated scenarios, byte for byte.
//!
//! After a wanted change: `FLOWMETER_BLESS=1 cargo test -p flowmeter --test report samples` writes them again.

use std::fs;

use flowmeter::{
    config::Flows,
    report::{self, Kind, Request, Span, Subject},
};

use crate::{events, repository};

const SAMPLES: [(&str, Kind, &str); 3] = [
    ("network-monitoring", Kind::Monitoring, ""),
    ("anomaly-detection", Kind::Anomalies, ""),
    ("incident-beaconing", Kind::Incident, "192.168.56.30"),
];

#[test]
fn the_committed_reports_are_what_is_made_of_the_scenarios() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.json");
    events("all", Flows::Budget, &file);
    let folder = repository("samples/reports");
    for (name, kind, source) in SAMPLES {
        let request = Request {
            files: vec![file.clone()],
            kind,
            subject: source.parse().map_or(Subject::Worst, Subject::Source),
            span: Span {
                since: None,
                // The first hour has everything but the long tail of the tunnel.
                until: Some("2026-01-05T09:00:00Z".parse().unwrap()),
            },
        };
        let report = report::report(&request, "2026-01-05T12:00:00Z".parse().unwrap()).unwrap();
        for (ending, text) in [("html", report::html(&report)), ("md", report::markdown(&report))] {
            let path = folder.join(format!("{name}.{ending}"));
            if std::env::var_os("FLOWMETER_BLESS").is_some() {
                fs::create_dir_all(&folder).unwrap();
                fs::write(&path, text).unwrap();
            } else {
                let committed = fs::read_to_string(&path).unwrap_or_default();
                assert!(
                    committed == text,
                    "{name}.{ending} is not what is made; see the head of this file"
                );
            }
        }
    }
}
