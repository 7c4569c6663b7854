//! `flowmeter evidence`: what an examiner can rely on.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics fails"
)]

mod contents;
mod refusals;

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use tempfile::TempDir;

const EPISODE: &str = "e514e28ce9718248";

/// The binary in an empty environment.
fn flowmeter(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_flowmeter"))
        .args(arguments)
        .env_clear()
        .output()
        .unwrap()
}

/// Exit code, standard output, standard error.
fn told(output: &Output) -> (i32, String, String) {
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8(bytes.clone()).unwrap());
    (output.status.code().unwrap(), stdout, stderr)
}

/// A folder with event files, and one for the archives.
struct Case {
    folder: TempDir,
}

impl Case {
    fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Runs the command on the event file and what it was rotated to.
    fn evidence(&self, arguments: &[&str]) -> Output {
        let set = format!("output.path={}", self.path("events.json").display());
        let out = self.path("out").display().to_string();
        let common = ["evidence", "-o", &out, "--set", &set];
        flowmeter(&[&common, arguments].concat())
    }

    /// The files of the one archive that there is, unpacked and verified by other programs.
    fn unpacked(&self) -> BTreeMap<String, Vec<u8>> {
        let out = self.path("out");
        let mut names: Vec<String> = fs::read_dir(&out)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let [archive, sum] = names.as_slice() else {
            panic!("{names:?}");
        };
        assert_eq!(*sum, format!("{archive}.sha256"));
        for name in [archive, sum] {
            let mode = fs::metadata(out.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o600, "{name}");
        }
        run(&out, &["sha256sum", "-c", sum]);
        run(&out, &["tar", "-xzpf", archive]);
        let folder = out.join(archive.rsplitn(2, '-').last().unwrap());
        run(&folder, &["sha256sum", "-c", "SHA256SUMS"]);
        let files: BTreeMap<String, Vec<u8>> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, fs::read(&path).unwrap())
            })
            .collect();
        let sums = String::from_utf8(files["SHA256SUMS"].clone()).unwrap();
        let summed: Vec<&str> = sums
            .lines()
            .map(|line| line.split("  ").nth(1).unwrap())
            .collect();
        assert_eq!(summed.len(), files.len() - 1, "every other file has a sum");
        files
    }
}

fn run(folder: &Path, command: &[&str]) {
    let output = Command::new(command[0])
        .args(&command[1..])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// What the agent would have written about a beacon, and its episode.
fn beacon() -> (Vec<u8>, String) {
    let output = flowmeter(&["generate", "--scenario", "beaconing", "--as", "events"]);
    assert!(output.status.success());
    let found = lines(&output.stdout).into_iter().find_map(|line| {
        Some(
            serde_json::from_slice::<Value>(line).unwrap()["anomaly"]["episode"]
                .as_str()?
                .to_owned(),
        )
    });
    (output.stdout, found.unwrap())
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split_inclusive(|byte| *byte == b'\n').collect()
}

fn flow(time: &str, source: &str, destination: &str) -> String {
    let event = json!({
        "@timestamp": time,
        "event": {"action": "network_flow"},
        "source": {"ip": source},
        "destination": {"ip": destination},
    });
    event.to_string() + "\n"
}

/// From 12:00:00 to 12:01:00.
fn finding(source: Option<&str>, destination: Option<&str>, hosts: &[&str]) -> String {
    let mut event: Value = serde_json::from_str(include_str!("../../../samples/finding.json")).unwrap();
    event["@timestamp"] = "2026-01-05T12:01:00.000Z".into();
    event["event"]["start"] = "2026-01-05T12:00:00Z".into();
    event["event"]["end"] = "2026-01-05T12:01:00Z".into();
    event["anomaly"]["episode"] = EPISODE.into();
    event["anomaly"]["hosts"] = hosts.into();
    for (side, ip) in [("source", source), ("destination", destination)] {
        event[side] = ip.map_or_else(|| json!({}), |ip| json!({ "ip": ip }));
    }
    event.to_string() + "\n"
}
