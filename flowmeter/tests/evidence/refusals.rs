//! What is told when there is nothing to collect, or not all of it.

use super::*;

#[test]
fn a_finding_that_is_not_there_is_told_with_the_time_that_the_files_cover() {
    let case = Case::new();
    let other = finding(Some("192.0.2.1"), None, &[]).replace(EPISODE, "00000000000000aa");
    case.write(
        "events.json.1",
        flow("2026-01-05T08:00:00Z", "192.0.2.1", "192.0.2.2"),
    );
    case.write("events.json", other);
    let (code, stdout, stderr) = told(&case.evidence(&["--finding", EPISODE]));
    assert_eq!((code, stdout.as_str()), (1, ""));
    let place = case.folder.path().display().to_string();
    assert_eq!(
        stderr.replace(&place, "DIR"),
        format!(
            "error: no finding of episode {EPISODE} in DIR/events.json.1, DIR/events.json (2 lines), which cover \
             2026-01-05T08:00:00Z to 2026-01-05T12:01:00Z; 1 findings of others\n"
        )
    );
    assert!(!case.path("out").exists(), "nothing is left behind");

    let at = ["--finding", EPISODE, "--since", "2026-01-06T00:00:00Z"];
    let (_, _, stderr) = told(&case.evidence(&at));
    assert!(stderr.contains(" since 2026-01-06T00:00:00Z in "), "{stderr}");
}

#[test]
fn a_host_without_flows_and_files_without_events_are_told() {
    let case = Case::new();
    let at = ["--source", "192.0.2.1", "--since", "2026-01-05T12:00:00Z"];
    let (code, _, stderr) = told(&case.evidence(&at));
    assert_eq!(code, 1);
    assert!(
        stderr.contains("there is no ") && stderr.contains("events.json"),
        "{stderr}"
    );
    case.write("events.json", "");
    let (code, _, stderr) = told(&case.evidence(&at));
    assert_eq!(code, 1);
    assert!(
        stderr.contains("(0 lines), in which there is no event at all"),
        "{stderr}"
    );
    case.write(
        "events.json",
        flow("2026-01-05T11:59:59Z", "192.0.2.1", "192.0.2.2"),
    );
    let (code, _, stderr) = told(&case.evidence(&at));
    assert_eq!(code, 1);
    assert!(
        stderr.contains("no finding and no flow of 192.0.2.1 since 2026-01-05T12:00:00Z in"),
        "{stderr}"
    );
    assert_eq!(fs::read_dir(case.path("out")).map_or(0, Iterator::count), 0);
}

#[test]
fn what_can_be_read_of_a_damaged_file_is_taken_and_the_rest_is_told() {
    let case = Case::new();
    let events = [
        finding(Some("192.0.2.1"), None, &[]),
        flow("2026-01-05T12:00:30Z", "192.0.2.1", "192.0.2.2").repeat(2_000),
    ];
    let packed = gzipped(events.concat().as_bytes());
    case.write("events.json.1.gz", &packed[..packed.len() / 2]);
    case.write(
        "events.json",
        flow("2026-01-05T12:00:30Z", "192.0.2.1", "192.0.2.2"),
    );
    let (code, _, stderr) = told(&case.evidence(&["--finding", EPISODE]));
    assert_eq!(code, 1);
    assert!(
        stderr.contains("events.json.1.gz: cannot be read behind line"),
        "{stderr}"
    );
    let files = case.unpacked();
    assert_eq!(lines(&files["findings.jsonl"]).len(), 1);
    let readme = String::from_utf8(files["README.txt"].clone()).unwrap();
    assert!(readme.contains("cannot be read behind line"), "{readme}");
}

#[test]
fn wrong_usage_is_refused() {
    let case = Case::new();
    case.write("events.json", finding(Some("192.0.2.1"), None, &[]));
    for (arguments, code, part) in [
        (&["--finding", "51d39a"][..], 2, "16 hexadecimal digits"),
        (&["--source", "192.0.2.1"], 2, "--since"),
        (&[], 2, "--finding"),
        (
            &["--finding", EPISODE, "--source", "192.0.2.1"],
            2,
            "cannot be used with",
        ),
        (
            &[
                "--finding",
                EPISODE,
                "--since",
                "2026-01-06T00:00:00Z",
                "--until",
                "2026-01-05T00:00:00Z",
            ],
            1,
            "is later than",
        ),
        (
            &["--finding", EPISODE, "--set", "output.path=-"],
            1,
            "name the event files",
        ),
        (&["--finding", EPISODE, "-"], 1, "regular file"),
    ] {
        let (exit, _, stderr) = told(&case.evidence(arguments));
        assert_eq!(exit, code, "{arguments:?}: {stderr}");
        assert!(stderr.contains(part), "{arguments:?}: {stderr}");
    }
}
