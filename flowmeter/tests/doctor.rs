//! `flowmeter doctor` as a person or a script meets it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the lints' exception for tests does not reach their helper functions"
)]

#[path = "support/network.rs"]
mod network;
#[path = "support/mod.rs"]
mod support;

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use network::Namespace;
use serde_json::Value;
use support::root_or_skip;
use tempfile::TempDir;

struct Told {
    code: i32,
    stdout: String,
    stderr: String,
}

/// `flowmeter doctor` behind `before` (such as `ip netns exec NAME`), on a folder that holds what it looks at.
fn doctor(before: &[&str], folder: &TempDir, arguments: &[&str]) -> Told {
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mut words = before.to_vec();
    words.push(env!("CARGO_BIN_EXE_flowmeter"));
    let mut command = Command::new(words[0]);
    let output = command
        .args(&words[1..])
        .args(["doctor", "-c", "/dev/null", "--wazuh", &path("ossec")])
        .args(["--set", &format!("output.path={}", path("events.json"))])
        .args(["--set", &format!("detect.state={}", path("state"))])
        // The disk of the test is nobody's collector.
        .args(["--set", "output.keep=1", "--set", "output.rotate_bytes=1048576"])
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .output()
        .unwrap();
    Told {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Check, result and finding of each outcome in the JSON.
fn outcomes(told: &Told) -> Vec<(String, String, String)> {
    let report: Value = serde_json::from_str(&told.stdout).unwrap();
    let text = |outcome: &Value, name: &str| outcome.get(name).unwrap().as_str().unwrap().to_owned();
    let checks = report.get("checks").unwrap().as_array().unwrap();
    let outcomes = checks.iter().map(|outcome| {
        let result = text(outcome, "result");
        // Whatever is not right comes with what to do about it.
        assert_eq!(outcome.get("remedy").is_none(), result == "ok", "{outcome}");
        (text(outcome, "check"), result, text(outcome, "found"))
    });
    outcomes.collect()
}

fn of<'a>(check: &str, outcomes: &'a [(String, String, String)]) -> Vec<(&'a str, &'a str)> {
    let of_check = outcomes.iter().filter(|(name, ..)| name == check);
    of_check
        .map(|(_, result, found)| (result.as_str(), found.as_str()))
        .collect()
}

/// A host with one interface that is up and has an address.
fn host(address: &str) -> Namespace {
    let host = Namespace::new();
    host.ip("link add in0 type veth peer name out0");
    host.ip(&format!("address add {address} dev in0"));
    host.ip("link set in0 up");
    host.ip("link set out0 up");
    host
}

#[test]
fn with_root_everything_is_tried_and_nothing_fails() {
    if !root_or_skip("with_root_everything_is_tried_and_nothing_fails") {
        return;
    }
    let host = host("10.1.2.3/24");
    let folder = TempDir::new().unwrap();
    let inside = ["ip", "netns", "exec", &host.name];
    let told = doctor(&inside, &folder, &["--json", "--set", "capture.interfaces=in0"]);
    assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{}", told.stdout);
    let all = outcomes(&told);
    for check in [
        "kernel",
        "btf",
        "capabilities",
        "programs",
        "interfaces",
        "offloads",
        "networks",
        "events",
        "wazuh",
        "clock",
        "disk",
        "state",
    ] {
        assert!(!of(check, &all).is_empty(), "{check}: {all:?}");
    }
    assert!(
        all.iter()
            .all(|(_, result, _)| result == "ok" || result == "warning")
    );
    let [(_, accepted), (_, counted)] = of("programs", &all)[..] else {
        panic!("{all:?}")
    };
    for program in [
        "flowmeter_in",
        "flowmeter_in_l3",
        "flowmeter_out",
        "flowmeter_outl3",
    ] {
        assert!(accepted.contains(program), "{accepted}");
    }
    assert!(
        counted.contains("test packets were counted, each and no other"),
        "{counted}"
    );
    let [(_, interface)] = of("interfaces", &all)[..] else {
        panic!("{all:?}")
    };
    assert!(
        interface.starts_with("in0: ") && interface.contains("ingress"),
        "{interface}"
    );
    // It has changed nothing.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn text_is_for_people_and_without_colours_where_nobody_looks() {
    if !root_or_skip("text_is_for_people_and_without_colours_where_nobody_looks") {
        return;
    }
    let host = host("203.0.113.7/24");
    let folder = TempDir::new().unwrap();
    let inside = ["ip", "netns", "exec", &host.name];
    let told = doctor(&inside, &folder, &[]);
    assert_eq!(told.code, 0, "{}", told.stdout);
    assert!(!told.stdout.contains('\x1b'));
    assert!(
        told.stdout
            .contains("warning  networks      in0 has the address 203.0.113.7, which counts as outside"),
        "{}",
        told.stdout
    );
    assert!(
        told.stdout
            .contains("-> if it is yours, add its network: INTERNAL_NETWORKS"),
        "{}",
        told.stdout
    );
    let told = doctor(&inside, &folder, &["--set", "networks.internal=203.0.113.0/24"]);
    assert!(
        told.stdout
            .contains("ok       networks      inside: 203.0.113.0/24; so is every address"),
        "{}",
        told.stdout
    );
}

#[test]
fn what_may_not_be_looked_at_ends_with_77() {
    let folder = TempDir::new().unwrap();
    let root = nix::unistd::geteuid().is_root();
    let without: &[&str] = if root {
        &["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    } else {
        &[]
    };
    let told = doctor(without, &folder, &["--json", "--set", "capture.interfaces=lo"]);
    assert_eq!(told.code, 77, "{}", told.stdout);
    assert!(
        told.stderr.contains("not everything could be looked at"),
        "{}",
        told.stderr
    );
    let report: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(report.get("result").unwrap(), "denied");
    let all = outcomes(&told);
    let [(result, found)] = of("capabilities", &all)[..] else {
        panic!("{all:?}")
    };
    assert_eq!(result, "denied");
    assert!(
        found.contains("CAP_BPF") && found.contains("CAP_NET_ADMIN"),
        "{found}"
    );
    assert_eq!(of("programs", &all)[0].0, "denied");
    assert_eq!(of("events", &all)[0].0, "ok");
}

#[test]
fn a_folder_that_is_missing_is_a_failure_with_what_to_do() {
    let folder = TempDir::new().unwrap();
    let missing = folder.path().join("nowhere/events.json").display().to_string();
    let told = doctor(&[], &folder, &["--set", &format!("output.path={missing}")]);
    assert_eq!(told.code, 1, "{}", told.stdout);
    assert!(told.stderr.contains("failed"), "{}", told.stderr);
    let there = folder.path().join("nowhere").display().to_string();
    assert!(
        told.stdout.contains(&format!(
            "failure  events        the folder {there} of the event file does not exist"
        )),
        "{}",
        told.stdout
    );
    assert!(
        told.stdout
            .contains(&format!("-> mkdir -p {there}, or change output.path")),
        "{}",
        told.stdout
    );
}

#[test]
fn an_agent_of_wazuh_that_does_not_read_the_file_is_a_failure() {
    let folder = TempDir::new().unwrap();
    let events = folder.path().join("events.json");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(&events, "").unwrap();
    fs::set_permissions(&events, fs::Permissions::from_mode(0o644)).unwrap();
    let conf = folder.path().join("ossec/etc/ossec.conf");
    fs::create_dir_all(conf.parent().unwrap()).unwrap();
    let localfile = |location: &str| {
        let text = format!(
            "<ossec_config><localfile><log_format>json</log_format><location>{location}</location>\
             </localfile></ossec_config>"
        );
        fs::write(&conf, text).unwrap();
        let all = outcomes(&doctor(&[], &folder, &["--json"]));
        of("wazuh", &all)
            .into_iter()
            .map(|(result, found)| (result.to_owned(), found.to_owned()))
            .collect::<Vec<_>>()
    };
    let found = localfile("/var/log/other.json");
    let unread = format!(
        "no <localfile> block names {}: the agent does not read it",
        events.display()
    );
    assert!(
        found.contains(&("failure".to_owned(), unread.clone())),
        "{found:?}"
    );
    let found = localfile(&events.display().to_string());
    assert!(found.iter().all(|(result, _)| result != "failure"), "{found:?}");
    let read = format!("{} has the agent read {}", conf.display(), events.display());
    assert!(found.contains(&("ok".to_owned(), read)), "{found:?}");
}
