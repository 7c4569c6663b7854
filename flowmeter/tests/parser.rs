//! The frame parser against frames whose answer is known.

#[path = "support/frames.rs"]
mod frames;

use flowmeter_common::Uncounted;

#[test]
fn every_case_is_answered_as_expected() {
    let wrong: Vec<String> = frames::cases()
        .iter()
        .filter_map(|case| {
            let got = frames::parsed(case);
            (got != case.expect).then(|| format!("{}: got {got:?}\n  expected {:?}", case.name, case.expect))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_are_unique_and_every_reason_of_the_parser_is_covered() {
    let cases = frames::cases();
    let mut names: Vec<_> = cases.iter().map(|case| case.name).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
    for reason in [
        Uncounted::NotIp,
        Uncounted::Truncated,
        Uncounted::Malformed,
        Uncounted::TooDeep,
    ] {
        assert!(
            cases.iter().any(|case| case.expect == Err(reason)),
            "{}",
            reason.name()
        );
    }
}

/// A frame of which only the start was captured is answered by the same key or by a reason.
#[test]
fn a_cut_frame_has_the_same_key_or_none() {
    for case in frames::cases() {
        let mut whole = flowmeter_common::Packet::default();
        if flowmeter_common::parse(case.frame.as_slice(), case.link, false, &mut whole).is_err() {
            continue;
        }
        for length in 0..case.frame.len().min(400) {
            let mut cut = flowmeter_common::Packet::default();
            let answer = flowmeter_common::parse(&case.frame[..length], case.link, false, &mut cut);
            if answer.is_ok() {
                assert_eq!(
                    (cut.key, cut.tcp_flags),
                    (whole.key, whole.tcp_flags),
                    "{} at {length}",
                    case.name
                );
            }
        }
    }
}
