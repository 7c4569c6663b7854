//! What it reads, what it leaves out, and what it says about it.

use std::{fs, io::Write as _, process::Stdio};

use crate::{FINDING, FLOW, STATISTICS, SUMMARY, about, made, report, told};

#[test]
fn summaries_are_in_the_sums_and_it_is_said() {
    let document = made([FLOW, SUMMARY].concat(), &["--format", "md"]);
    // 5,461,766,916 and 220,000 bytes; 5,368,718 and 5,500 packets; 1 and 5,000 records.
    assert!(document.contains("- **Packets**: 5,374,218 "), "{document}");
    assert!(document.contains("- **Flow records**: 5,001 (5,000 of them in summaries)"));
    assert!(document.contains("| in summaries of several | 214.84 KiB | 0.0 % | 5,500 | 5,000 |"));
    assert!(document.contains("are in all sums"));
}

#[test]
fn lines_that_are_broken_are_told_with_their_place_and_the_rest_is_used() {
    let events = [FLOW, "{\"event\":\n", SUMMARY, "no JSON\n"].concat();
    for format in ["html", "md"] {
        let text = made(&events, &["--format", format]);
        assert!(
            text.contains("2 lines could not be read and are in no sum: "),
            "{text}"
        );
        assert!(text.contains("FILE, line 2: ") && text.contains("FILE, line 4: "));
        assert!(text.contains("5,374,218"));
    }
    let many = FLOW.to_owned() + &"?\n".repeat(1000);
    let document = made(many, &["--format", "md"]);
    assert!(document.contains("1,000 lines could not be read") && document.contains("; and 980 more."));
}

#[test]
fn without_an_event_it_says_so() {
    for (text, message) in [
        ("", "there is no event to report on; lines read: 0"),
        (
            "\n{\"a\":1}\n",
            "there is no event to report on; lines read: 2, other: 2",
        ),
        (
            "[]\n",
            "there is no event to report on; lines read: 1, broken: 1; FILE, line 1: ",
        ),
    ] {
        let (code, stdout, stderr) = about(text, &[]);
        assert_eq!((code, stdout.as_str()), (1, ""));
        assert!(stderr.starts_with(&format!("error: {message}")), "{stderr}");
    }
    let (code, _, stderr) = about(FLOW, &["--since", "2030-01-01T00:00:00Z"]);
    let message = "lines read: 1, outside of --since and --until: 1";
    assert!(code == 1 && stderr.contains(message), "{stderr}");
    let (code, _, stderr) = told(&mut report(&["/nowhere/events.json"]));
    assert_eq!(
        (code, stderr.as_str()),
        (
            1,
            "error: cannot read /nowhere/events.json: No such file or directory (os error 2)\n"
        )
    );
}

#[test]
fn since_and_until_hold_both_ends() {
    // The flow's time is 11:46:05.
    for (arguments, used) in [
        (["--since", "2026-04-26T11:46:05Z"], true),
        (["--until", "2026-04-26T11:46:05Z"], true),
        (["--since", "2026-04-26T11:46:06Z"], false),
        (["--until", "2026-04-26T11:46:04Z"], false),
    ] {
        let (code, ..) = about(FLOW, &arguments);
        assert_eq!(code == 0, used, "{arguments:?}");
    }
    let document = made(
        [FLOW, SUMMARY].concat(),
        &["--format", "md", "--until", "2026-04-26T11:46:00Z"],
    );
    assert!(document.contains("- **Packets**: 5,500 "));
    assert!(document.contains("1 outside of the time wanted"));
}

#[test]
fn compressed_files_several_files_and_standard_input_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let (plain, packed) = (directory.path().join("a.json"), directory.path().join("b.gz"));
    fs::write(&plain, FLOW).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(SUMMARY.as_bytes()).unwrap();
    fs::write(&packed, gzip.finish().unwrap()).unwrap();
    let expected = "- **Packets**: 5,374,218 ";
    let (plain, packed) = (plain.to_str().unwrap(), packed.to_str().unwrap());
    let (code, both, _) = told(&mut report(&[plain, packed, "--format", "md"]));
    assert!(code == 0 && both.contains(expected), "{both}");
    // An incident is read twice: the second time out of what was kept of standard input.
    let events = directory.path().join("events.json");
    fs::write(
        &events,
        [
            FINDING,
            STATISTICS,
            &FLOW.replace("203.0.113.99", "192.168.56.28"),
        ]
        .concat(),
    )
    .unwrap();
    let input = || Stdio::from(fs::File::open(&events).unwrap());
    let piped = told(report(&["--kind", "incident", "--format", "md", "-"]).stdin(input()));
    let read = told(&mut report(&[
        "--kind",
        "incident",
        "--format",
        "md",
        events.to_str().unwrap(),
    ]));
    assert_eq!(piped.0, 0, "{}", piped.2);
    assert!(
        piped
            .1
            .contains("192.168.56.30 to 192.168.56.28, port 443 (HTTPS): 1 record, accepted")
    );
    let without_the_time = |text: &str| text.split("Made ").next().unwrap().to_owned();
    assert_eq!(without_the_time(&piped.1), without_the_time(&read.1));
}

#[test]
fn a_file_that_is_cut_is_used_up_to_there() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for number in 0..20_000_u32 {
        // Not all the same, or it would be compressed into nothing.
        let line = FLOW.replace(
            "48739",
            &(number.wrapping_mul(2_654_435_761) % 60_000).to_string(),
        );
        gzip.write_all(line.as_bytes()).unwrap();
    }
    let whole = gzip.finish().unwrap();
    let document = made(&whole[..whole.len() - 100], &["--format", "md"]);
    assert!(
        document.contains("Cannot be read further on: FILE, after line 19"),
        "{document}"
    );
}
