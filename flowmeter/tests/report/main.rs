//! `flowmeter report` as an analyst or a script meets it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the lints' exception for tests does not reach their helper functions"
)]

mod hostile;
mod input;
mod kinds;
mod samples;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use flowmeter::{
    capture::replay::Replay,
    config::{Config, Flows},
    generate::{
        self,
        packets::Packets,
        site::Site,
        source::{GeneratedSource, INTERFACE},
    },
    pipeline::{InterfaceNames, Pipeline},
};

const FLOW: &str = include_str!("../../../samples/flow-tcp.json");
const SUMMARY: &str = include_str!("../../../samples/flow-summary.json");
const STATISTICS: &str = include_str!("../../../samples/statistics.json");
/// Of the hosts and the time of the samples above.
const FINDING: &str = include_str!("finding.json");

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Writes the events that replaying the scenarios' packets gives, as the agent would have: with statistics, and
/// flows within the budget.
fn events(scenarios: &str, flows: Flows, path: &Path) {
    let mut config = Config::default();
    config.collector.name = "generated-traffic".to_owned();
    config.output.path = path.to_owned();
    config.output.rotate_bytes = u64::MAX;
    config.output.rotate_age = std::time::Duration::MAX;
    config.output.flows = flows;
    // As in any replay: nothing was learned before.
    config.detect.learning = std::time::Duration::ZERO;
    let site = Site::new(&config.networks.internal, false).unwrap();
    let scenarios = generate::scenarios(scenarios);
    let conversations = generate::conversations(&scenarios, &site, None);
    // 2026-01-05T08:00:00Z
    let start = std::time::Duration::from_secs(1_767_600_000);
    let source = GeneratedSource::new(Packets::new(conversations), start);
    let mut replay = Replay::new(
        vec![Box::new(source)],
        config.capture.interval,
        config.capture.tunnels,
    );
    let mut pipeline = Pipeline::new(&config).unwrap();
    let names = InterfaceNames::from([(1, INTERFACE.to_owned())]);
    let mut last = 0..0;
    let mut next = replay.next_interval();
    while let Some(mut interval) = next {
        pipeline.take(&mut interval.batch);
        last = interval.start_ns..interval.end_ns;
        next = replay.next_interval();
        if next.is_some() {
            pipeline.close_interval(last.clone(), &names).unwrap();
        }
    }
    pipeline.finish(last, &names).unwrap();
}

/// Exit code, standard output, standard error.
fn told(command: &mut Command) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (status.code().unwrap(), stdout, stderr)
}

/// `flowmeter report` in an empty environment.
fn report(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowmeter"));
    command.arg("report").args(arguments).env_clear();
    command
}

/// What is said about a file that holds `bytes`; its name as FILE.
fn about(bytes: impl AsRef<[u8]>, arguments: &[&str]) -> (i32, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.json");
    fs::write(&path, bytes).unwrap();
    let path = path.to_str().unwrap();
    let (code, stdout, stderr) = told(report(&[path]).args(arguments));
    (code, stdout.replace(path, "FILE"), stderr.replace(path, "FILE"))
}

/// The report, without a complaint.
#[track_caller]
fn made(bytes: impl AsRef<[u8]>, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = about(bytes, arguments);
    assert_eq!((code, stderr.as_str()), (0, ""));
    stdout
}
