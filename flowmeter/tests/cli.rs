//! The binary as a person or a script meets it: messages, exit codes, help.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use tempfile::NamedTempFile;

/// The binary in an empty environment, so that nothing of the caller's gets in.
fn flowmeter(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowmeter"));
    command.args(arguments).env_clear();
    command
}

struct Told {
    code: i32,
    stdout: String,
    stderr: String,
}

fn told(command: &mut Command) -> Told {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    Told {
        code: status.code().unwrap(),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// What `check-config` says about a file, with the file's name as FILE.
fn check(text: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Told {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    let mut told = told(
        flowmeter(&["check-config", "--config", path])
            .args(arguments)
            .envs(environment.iter().copied()),
    );
    told.stdout = told.stdout.replace(path, "FILE");
    told.stderr = told.stderr.replace(path, "FILE");
    told
}

#[track_caller]
fn refused(text: &str, message: &str) {
    let Told { code, stdout, stderr } = check(text, &[], &[]);
    assert_eq!(stderr, format!("error: {message}\n"));
    assert_eq!((code, stdout.as_str()), (78, ""));
}

#[test]
fn an_unknown_key_is_shown_where_it_stands() {
    refused(
        "[capture]\nintervall = \"5s\"\n",
        "FILE:2:1: unknown key `capture.intervall`; did you mean `capture.interval`?\n  |\n2 | intervall = \"5s\"\n  | ^^^^^^^^^",
    );
    refused(
        "max_flows = 5000\n",
        "FILE:1:1: unknown key `max_flows`; did you mean `capture.max_flows`?\n  |\n1 | max_flows = 5000\n  | ^^^^^^^^^",
    );
    refused(
        "[outputs]\n",
        "FILE:1:2: unknown key `outputs`; did you mean `output`?\n  |\n1 | [outputs]\n  |  ^^^^^^^",
    );
}

#[test]
fn bad_toml_is_shown_where_it_breaks() {
    refused(
        "# é\n\n[capture\n",
        "FILE:3:9: unclosed table, expected `]`\n  |\n3 | [capture\n  |         ^",
    );
    refused(
        "[capture]\nsampling = 1\nsampling = 2\n",
        "FILE:3:1: duplicate key\n  |\n3 | sampling = 2\n  | ^^^^^^^^",
    );
}

#[test]
fn a_bad_network_is_shown_in_its_list() {
    refused(
        "[networks]\ninternal = [\n  \"10.0.0.0/8\", # lab\n\t\"10.0.0/33\",\n]\n",
        "FILE:4:2: networks.internal: `10.0.0/33` is not a network in CIDR notation, such as 10.0.0.0/8 or \
         fc00::/7\n  |\n4 | \t\"10.0.0/33\",\n  | \t^^^^^^^^^^^",
    );
}

#[test]
fn a_wrong_type_is_told_with_the_right_one() {
    refused(
        "[capture]\ninterval = 5\n",
        "FILE:2:12: capture.interval: invalid type: integer `5`, expected a duration in quotes, such as \
         \"500ms\", \"10s\", \"5m\" or \"1h\"\n  |\n2 | interval = 5\n  |            ^",
    );
    refused(
        "[capture]\nmax_flows = \"many\"\n",
        "FILE:2:13: capture.max_flows: invalid type: string \"many\", expected a whole number, not negative\n  \
         |\n2 | max_flows = \"many\"\n  |             ^^^^^^",
    );
    refused(
        "[capture]\ninterfaces = \"eth0\"\n",
        "FILE:2:14: capture.interfaces: invalid type: string \"eth0\", expected a list in brackets\n  |\n2 | \
         interfaces = \"eth0\"\n  |              ^^^^^^",
    );
    refused(
        "capture = 3\n",
        "FILE:1:11: capture: expected a table, written [capture]\n  |\n1 | capture = 3\n  |           ^",
    );
    refused(
        "[capture]\nmode = \"generic\"\n",
        "FILE:2:8: capture.mode: unknown value `generic`, expected one of `auto`, `xdp`, `tc`\n  |\n2 | mode = \
         \"generic\"\n  |        ^^^^^^^^^",
    );
}

#[test]
fn a_bad_duration_is_told_with_an_example() {
    let Told { code, stderr, .. } = check("[track]\nidle_timeout = \"5 parsecs\"\n", &[], &[]);
    assert_eq!(code, 78);
    let start =
        "error: FILE:2:16: track.idle_timeout: `5 parsecs` is not a duration such as 500ms, 10s, 5m or 1h: ";
    assert!(stderr.starts_with(start), "{stderr}");
}

#[test]
fn a_value_out_of_range_is_told_with_its_range() {
    refused(
        "[capture]\ninterval = \"50ms\"\n",
        "FILE:2:12: capture.interval: 50ms is out of range: 100ms to 1h\n  |\n2 | interval = \"50ms\"\n  |            \
         ^^^^^^",
    );
    refused(
        "[output]\nrotate_bytes = 1000\n",
        "FILE:2:16: output.rotate_bytes: 1000 is out of range: at least 1048576\n  |\n2 | rotate_bytes = 1000\n  \
         |                ^^^^",
    );
}

#[test]
fn a_contradiction_is_told() {
    refused(
        "[capture]\nmode = \"tc\"\ndrop_after_count = [\"span0\"]\n",
        "FILE:3:20: capture.drop_after_count: frames can only be dropped by XDP at ingress, but capture.mode is \
         \"tc\"\n  |\n3 | drop_after_count = [\"span0\"]\n  |                    ^^^^^^^^^",
    );
}

#[test]
fn a_bad_glob_is_told() {
    refused(
        "[capture]\nexclude = [\"veth*\", \"e[th\"]\n",
        "FILE:2:11: capture.exclude: `e[th` is not an interface name or glob: unclosed character class; missing \
         ']'\n  |\n2 | exclude = [\"veth*\", \"e[th\"]\n  |           ^^^^^^^^^^^^^^^^^",
    );
}

#[test]
fn an_error_above_the_file_names_where_it_comes_from() {
    let cases: [(&[&str], &[(&str, &str)], &str); 8] = [
        (
            &[],
            &[("FLOWMETER_CAPTURE_INTERVALL", "5s")],
            "environment variable FLOWMETER_CAPTURE_INTERVALL is not known; did you mean FLOWMETER_CAPTURE_INTERVAL?",
        ),
        (
            &[],
            &[("FLOWMETER_CAPTURE_INTERVAL", "5h")],
            "environment variable FLOWMETER_CAPTURE_INTERVAL: capture.interval: 5h is out of range: 100ms to 1h",
        ),
        (
            &[],
            &[("INTERNAL_NETWORKS", "10.0.0.0/8,lab")],
            "environment variable INTERNAL_NETWORKS: networks.internal: `lab` is not a network in CIDR notation, \
             such as 10.0.0.0/8 or fc00::/7",
        ),
        (
            &["--set", "capture.sampling=few"],
            &[],
            "--set capture.sampling: invalid type: string \"few\", expected a whole number, not negative",
        ),
        (
            &["--set", "capture.sampling=0"],
            &[],
            "--set capture.sampling: 0 is out of range: 1 to 65536",
        ),
        (
            &["--set", "sampling=2"],
            &[],
            "--set sampling: unknown key; did you mean `capture.sampling`?",
        ),
        (
            &["--set", "capture.sampling"],
            &[],
            "--set capture.sampling: expected KEY=VALUE, such as capture.interval=5s",
        ),
        (
            &["--set", "capture.sampling=2", "--set", "output.schema=ECS"],
            &[],
            "--set output.schema: unknown value `ECS`, expected `wazuh4` or `ecs`",
        ),
    ];
    for (arguments, environment, message) in cases {
        let Told { code, stdout, stderr } = check("", arguments, environment);
        assert_eq!(stderr, format!("error: {message}\n"));
        assert_eq!((code, stdout.as_str()), (78, ""));
    }
}

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
fn a_named_file_must_exist() {
    let Told { code, stderr, .. } = told(&mut flowmeter(&["check-config", "-c", "/nowhere/f.toml"]));
    assert_eq!(
        stderr,
        "error: cannot read configuration /nowhere/f.toml: no such file\n"
    );
    assert_eq!(code, 78);
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
