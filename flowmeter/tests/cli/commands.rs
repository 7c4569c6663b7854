//! What each command prints and how it ends.

use std::{fs, os::unix::fs::MetadataExt, process::Stdio};

use tempfile::NamedTempFile;

use crate::{Told, check, flowmeter, told};

#[test]
fn check_config_shows_what_differs_as_toml_that_is_the_same_configuration() {
    let text = "[collector]\nname = \"c1\"\n[capture]\ninterfaces = [\"eth0\"]\nsampling = 1\n";
    let environment = [("INTERNAL_NETWORKS", "10.0.0.0/8")];
    let first = check(text, &["--set", "services.8443/tcp=Intranet"], &environment);
    assert_eq!(
        first.stdout,
        "# FILE; what differs from the defaults:\n\
         capture.interfaces = [\"eth0\"]  # FILE:4\n\
         collector.name = \"c1\"  # FILE:2\n\
         networks.internal = [\"10.0.0.0/8\"]  # environment variable INTERNAL_NETWORKS\n\
         services.\"8443/tcp\" = \"Intranet\"  # --set services.8443/tcp\n\
         ok\n"
    );
    assert_eq!((first.code, first.stderr.as_str()), (0, ""));
    let values = |text: &str| {
        let lines = text.lines().filter_map(|line| line.split_once("  # "));
        lines.map(|(value, _)| value.to_owned()).collect::<Vec<_>>()
    };
    let again = check(first.stdout.strip_suffix("ok\n").unwrap(), &[], &[]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_eq!(values(&again.stdout), values(&first.stdout));
}

#[test]
fn host_bits_are_a_warning() {
    let Told { code, stdout, stderr } = check("", &[], &[("INTERNAL_NETWORKS", "192.168.56.5/24")]);
    assert_eq!(code, 0);
    assert!(stderr.contains("WARN"), "{stderr}");
    assert!(
        stderr.contains("192.168.56.5/24 has host bits set, taken as 192.168.56.0/24"),
        "{stderr}"
    );
    assert!(
        stdout.contains("networks.internal = [\"192.168.56.0/24\"]"),
        "{stdout}"
    );
}

#[test]
fn the_printed_default_is_a_configuration_that_changes_nothing() {
    let printed = told(&mut flowmeter(&["print-default-config"]));
    assert_eq!((printed.code, printed.stderr.as_str()), (0, ""));
    let checked = check(&printed.stdout, &["--set", "collector.name="], &[]);
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    let mut lines = checked.stdout.lines();
    assert_eq!(lines.next(), Some("# FILE; what differs from the defaults:"));
    assert!(
        lines.next().is_some_and(|line| line.ends_with("  # host name")),
        "{}",
        checked.stdout
    );
    assert_eq!(lines.next(), Some("ok"));
}

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in [
        &[][..],
        &["meter"],
        &["run", "--mode", "generic"],
        &["run", "--interval", "soon"],
        &["run", "--duration", "0s"],
        &["run", "--internal-networks", "10.0.0.0/33"],
        &["run", "--log-level", "loud"],
        &["check-config", "eth0"],
        &["completions", "cmd"],
    ] {
        let Told { code, stdout, stderr } = told(&mut flowmeter(arguments));
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(!stderr.is_empty());
    }
}

#[test]
fn options_of_run_reach_the_configuration() {
    // Each is in the right form but out of its range, so that the check names it before anything is attached.
    for (arguments, message) in [
        (
            &["--interval", "1ms"][..],
            "--interval: capture.interval: 1ms is out of range: 100ms to 1h",
        ),
        (
            &["--max-flows", "5"],
            "--max-flows: capture.max_flows: 5 is out of range: 1024 to 16777216",
        ),
        (
            &["--output", ""],
            "--output: output.path: is empty: give a file, or - for standard output",
        ),
        (
            &["-i", "eth0", "-i", ""],
            "--interface: capture.interfaces: an interface name is empty",
        ),
        (
            &["--mode", "tc", "--set", "capture.drop_after_count=span0"],
            "--set capture.drop_after_count: frames can only be dropped by XDP at ingress, but capture.mode is \
             \"tc\"",
        ),
        (
            &["--mode", "xdp", "--direction", "egress"],
            "--mode: capture.mode: XDP does not see packets that leave: take \"tc\" or \"auto\" with \
             capture.direction \"egress\"",
        ),
        // Options win over `--set` in whatever order.
        (
            &["--interval", "1ms", "--set", "capture.interval=5s"],
            "--interval: capture.interval: 1ms is out of range: 100ms to 1h",
        ),
    ] {
        let Told { code, stderr, .. } = told(flowmeter(&["run", "-c", "/dev/null"]).args(arguments));
        assert_eq!(stderr, format!("error: {message}\n"));
        assert_eq!(code, 78);
    }
}

#[test]
fn help_fits_a_page_and_names_every_option_at_most_once() {
    for command in [
        "",
        "run",
        "doctor",
        "check-config",
        "interfaces",
        "print-default-config",
        "completions",
        "man",
    ] {
        let arguments: Vec<_> = [command, "--help"]
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect();
        let Told { code, stdout, stderr } = told(&mut flowmeter(&arguments));
        assert_eq!((code, stderr.as_str()), (0, ""), "{command}");
        assert!(stdout.contains("Usage: flowmeter"), "{stdout}");
        assert!(
            stdout.lines().count() <= 60,
            "{command} has {} lines",
            stdout.lines().count()
        );
        for line in stdout.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}

#[test]
fn every_command_is_completed_and_in_the_manual() {
    let manual = told(&mut flowmeter(&["man"]));
    assert_eq!((manual.code, manual.stderr.as_str()), (0, ""));
    assert!(manual.stdout.contains(".TH flowmeter 1"));
    for shell in ["bash", "zsh", "fish"] {
        let script = told(&mut flowmeter(&["completions", shell]));
        assert_eq!((script.code, script.stderr.as_str()), (0, ""));
        for command in [
            "run",
            "doctor",
            "check-config",
            "interfaces",
            "print-default-config",
            "completions",
            "man",
        ] {
            assert!(script.stdout.contains(command), "{shell}: {command}");
            let section = format!(".SH \"FLOWMETER {}\"", command.to_uppercase());
            assert!(manual.stdout.contains(&section), "{section}");
        }
        assert!(script.stdout.contains("max-flows"), "{shell}");
    }
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    for arguments in [
        &["print-default-config"][..],
        &["man"],
        &["completions", "zsh"],
        &["check-config"],
        &["--help"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = flowmeter(arguments);
        let output = command.stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{arguments:?}");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = flowmeter(&["print-default-config"])
        .stdout(full)
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        stderr,
        "error: cannot write to standard output: No space left on device (os error 28)\n"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_log_level_may_come_from_the_environment_and_empty_is_unset() {
    let warning = |level: Option<&str>| {
        let mut command = flowmeter(&["check-config", "-c", "/dev/null"]);
        command
            .env("INTERNAL_NETWORKS", "10.1.1.1/8")
            .envs(level.map(|level| ("FLOWMETER_LOG", level)));
        told(&mut command).stderr
    };
    assert!(warning(None).contains("host bits"));
    assert!(warning(Some("")).contains("host bits"));
    assert_eq!(warning(Some("error")), "");
}

#[test]
fn the_journal_gets_priorities_and_anyone_else_the_time() {
    let warning = |inode_offset: u64| {
        let stderr = NamedTempFile::new().unwrap();
        let metadata = stderr.as_file().metadata().unwrap();
        let status = flowmeter(&["check-config", "-c", "/dev/null"])
            .env("INTERNAL_NETWORKS", "10.1.1.1/8")
            .env(
                "JOURNAL_STREAM",
                format!("{}:{}", metadata.dev(), metadata.ino() + inode_offset),
            )
            .stdout(Stdio::null())
            .stderr(stderr.reopen().unwrap())
            .status()
            .unwrap();
        assert!(status.success());
        fs::read_to_string(stderr.path()).unwrap()
    };
    let message = "networks.internal: 10.1.1.1/8 has host bits set, taken as 10.0.0.0/8";
    assert_eq!(warning(0), format!("<4>{message}\n"));
    // The variable is inherited by processes whose standard error goes elsewhere.
    let elsewhere = warning(1);
    assert!(elsewhere.starts_with("[20"), "{elsewhere}");
    assert!(elsewhere.ends_with(&format!("WARN ] {message}\n")), "{elsewhere}");
}
