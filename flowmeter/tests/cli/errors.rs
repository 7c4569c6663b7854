//! What is said about a configuration that cannot be used.

use crate::{Told, check, flowmeter, told};

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
fn an_error_in_the_environment_names_its_variable() {
    for (variable, message) in [
        (
            ("FLOWMETER_CAPTURE_INTERVALL", "5s"),
            "environment variable FLOWMETER_CAPTURE_INTERVALL is not known; did you mean FLOWMETER_CAPTURE_INTERVAL?",
        ),
        (
            ("FLOWMETER_CAPTURE_INTERVAL", "5h"),
            "environment variable FLOWMETER_CAPTURE_INTERVAL: capture.interval: 5h is out of range: 100ms to 1h",
        ),
        (
            ("INTERNAL_NETWORKS", "10.0.0.0/8,lab"),
            "environment variable INTERNAL_NETWORKS: networks.internal: `lab` is not a network in CIDR notation, \
             such as 10.0.0.0/8 or fc00::/7",
        ),
    ] {
        let Told { code, stdout, stderr } = check("", &[], &[variable]);
        assert_eq!(stderr, format!("error: {message}\n"));
        assert_eq!((code, stdout.as_str()), (78, ""));
    }
}

#[test]
fn an_error_in_an_assignment_names_it() {
    for (assignment, message) in [
        (
            "capture.sampling=few",
            "--set capture.sampling: invalid type: string \"few\", expected a whole number, not negative",
        ),
        (
            "capture.sampling=0",
            "--set capture.sampling: 0 is out of range: 1 to 65536",
        ),
        (
            "sampling=2",
            "--set sampling: unknown key; did you mean `capture.sampling`?",
        ),
        (
            "capture.sampling",
            "--set capture.sampling: expected KEY=VALUE, such as capture.interval=5s",
        ),
        (
            "output.schema=ECS",
            "--set output.schema: unknown value `ECS`, expected `wazuh4` or `ecs`",
        ),
    ] {
        let Told { code, stdout, stderr } = check("", &["--set", "output.keep=3", "--set", assignment], &[]);
        assert_eq!(stderr, format!("error: {message}\n"));
        assert_eq!((code, stdout.as_str()), (78, ""));
    }
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
