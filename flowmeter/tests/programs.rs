//! The kernel programs on the same frames as the user-space parser: same keys, same counts, same reasons.

#![expect(
    clippy::panic,
    reason = "clippy's exception for tests does not reach their helper functions"
)]

#[path = "support/frames.rs"]
mod frames;

#[path = "support/mod.rs"]
mod support;

use aya::{
    Ebpf,
    programs::{Program, TestRun as _, TestRunOptions},
};
use flowmeter::{
    capture::{drain::Drain, features::Features, programs},
    config::{Capture, Tunnels},
    flow::Batch,
};
use flowmeter_common::{Link, Uncounted};

fn run(ebpf: &mut Ebpf, name: &str, frame: &[u8]) {
    let options = TestRunOptions {
        data_in: Some(frame),
        ..TestRunOptions::new()
    };
    match ebpf.program_mut(name).expect("the object has the program") {
        Program::Xdp(program) => program.test_run(options),
        Program::SchedClassifier(program) => program.test_run(options),
        other => panic!("{name} is {other:?}"),
    }
    .unwrap_or_else(|error| panic!("{name}: {error}"));
}

fn loaded(tunnels: Tunnels) -> (Ebpf, Drain) {
    let capture = Capture {
        tunnels,
        max_flows: 1024,
        ..Capture::default()
    };
    let features = Features::probe().expect("root may ask the kernel");
    let mut ebpf = programs::load(&capture, &features, log::LevelFilter::Info).expect("the programs load");
    for (name, program) in ebpf.programs_mut() {
        match program {
            Program::Xdp(program) => program.load(),
            Program::SchedClassifier(program) => program.load(),
            other => panic!("{name} is {other:?}"),
        }
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let drain = Drain::new(&mut ebpf, programs::map_entries(&capture)).expect("the maps are there");
    (ebpf, drain)
}

/// What `BPF_PROG_TEST_RUN` cannot express is left out here: frames shorter than the Ethernet header, at TC also
/// frames shorter than it and an IP header.
#[test]
fn kernel_programs_agree_with_the_parser_on_every_case() {
    if !support::root_or_skip("kernel_programs_agree_with_the_parser_on_every_case") {
        return;
    }
    let (mut outer, mut outer_drain) = loaded(Tunnels::Outer);
    let (mut inner, mut inner_drain) = loaded(Tunnels::Inner);
    let mut compared = 0;
    for case in frames::cases() {
        if case.link != Link::Ethernet || case.frame.len() < 14 {
            continue;
        }
        let (ebpf, drain) = if case.inner {
            (&mut inner, &mut inner_drain)
        } else {
            (&mut outer, &mut outer_drain)
        };
        for program in ["flowmeter_xdp", "flowmeter_in", "flowmeter_out"] {
            // TC by test_run refuses an IP EtherType without a whole IP header behind it.
            if program != "flowmeter_xdp" && case.frame.len() < 14 + 40 {
                continue;
            }
            let context = format!("{} through {program}", case.name);
            run(ebpf, program, &case.frame);
            let mut batch = Batch::default();
            drain.drain(&mut batch).expect("draining");
            let counters = batch
                .interfaces
                .first()
                .expect("the test's interface was counted")
                .counters;
            assert_eq!(counters.seen.packets, 1, "{context}");
            match &case.expect {
                Ok(expected) => {
                    let [record] = batch.records.as_slice() else {
                        panic!("{context}: {:?}", batch.records)
                    };
                    let mut key = record.key;
                    key.ifindex = 0;
                    key.flags.0 &= !flowmeter_common::KeyFlags::EGRESS;
                    assert_eq!(key, expected.key, "{context}");
                    assert_eq!(record.counters.packets, 1, "{context}");
                    assert_eq!(record.counters.l3_bytes, expected.sizes.l3_bytes, "{context}");
                    assert_eq!(record.counters.wire_bytes, expected.sizes.wire_bytes, "{context}");
                    assert_eq!(record.counters.first_tcp_flags, expected.tcp_flags, "{context}");
                }
                Err(reason) => {
                    assert_eq!(batch.records, [], "{context}");
                    for other in Uncounted::ALL {
                        let packets = counters.uncounted[other as usize].packets;
                        assert_eq!(packets, u64::from(other == *reason), "{context}: {other:?}");
                    }
                }
            }
            compared += 1;
        }
    }
    assert!(
        compared > 100,
        "only {compared} runs: the table of frames is not what it was"
    );
}
