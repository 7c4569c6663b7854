//! The frame parser against frames whose answer is known.

#[path = "support/frames.rs"]
mod frames;

use flowmeter_common::{FlowKey, KeyFlags, Packet, Uncounted, parse};

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

/// The kernel programs parse each frame into the memory of the one before.
#[test]
fn nothing_of_the_frame_before_is_left() {
    let before = Packet {
        key: FlowKey {
            source: [0xee; 16],
            destination: [0xee; 16],
            source_port: 0xeeee,
            destination_port: 0xeeee,
            protocol: 0xee,
            flags: KeyFlags(0xee),
            vlan_id: 0xeee,
            ifindex: 0,
            tunnel_id: 0xeeee_eeee,
        },
        l3_offset: 0xee,
        payload_offset: 0xee,
        l3_length: 0xee,
        tcp_flags: 0xee,
    };
    for case in frames::cases() {
        for inner in [false, true] {
            let (mut fresh, mut reused) = (Packet::default(), before);
            let answer = parse(case.frame.as_slice(), case.link, inner, &mut fresh);
            assert_eq!(
                parse(case.frame.as_slice(), case.link, inner, &mut reused),
                answer
            );
            if answer.is_ok() {
                assert_eq!(reused, fresh, "{}", case.name);
            }
        }
    }
}

/// A frame of which only the start was captured is answered by the same key or by a reason.
#[test]
fn a_cut_frame_has_the_same_key_or_none() {
    for case in frames::cases() {
        let mut whole = Packet::default();
        if parse(case.frame.as_slice(), case.link, false, &mut whole).is_err() {
            continue;
        }
        for length in 0..case.frame.len().min(400) {
            let mut cut = Packet::default();
            let answer = parse(&case.frame[..length], case.link, false, &mut cut);
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
