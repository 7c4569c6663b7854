//! The kernel programs on the same frames as the user-space parser: same keys, same counts, same reasons.

#![expect(
    clippy::panic,
    reason = "clippy's exception for tests does not reach their helper functions"
)]

#[path = "support/frames.rs"]
mod frames;

#[path = "support/mod.rs"]
mod support;

#[path = "support/programs.rs"]
mod programs;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU32, Ordering},
};

use flowmeter::{
    config::{Capture, Tunnels},
    flow::Batch,
};
use flowmeter_common::{FlowPage, FlowSlot, InterfaceSlot, Link, TableSize, Uncounted};

fn capture(tunnels: Tunnels) -> Capture {
    Capture {
        tunnels,
        max_flows: 1024,
        ..Capture::default()
    }
}

/// What `BPF_PROG_TEST_RUN` cannot express is left out here: frames shorter than the Ethernet header, at TC also
/// frames shorter than it and an IP header.
#[test]
fn kernel_programs_agree_with_the_parser_on_every_case() {
    if !support::root_or_skip("kernel_programs_agree_with_the_parser_on_every_case") {
        return;
    }
    let (outer, mut outer_drain) = programs::loaded(&capture(Tunnels::Outer));
    let (inner, mut inner_drain) = programs::loaded(&capture(Tunnels::Inner));
    let mut compared = 0;
    for case in frames::cases() {
        if case.link != Link::Ethernet || case.frame.len() < 14 {
            continue;
        }
        let (ebpf, drain) = if case.inner {
            (&inner, &mut inner_drain)
        } else {
            (&outer, &mut outer_drain)
        };
        for program in ["flowmeter_xdp", "flowmeter_in", "flowmeter_out"] {
            // TC by test_run refuses an IP EtherType without a whole IP header behind it.
            if program != "flowmeter_xdp" && case.frame.len() < 14 + 40 {
                continue;
            }
            let context = format!("{} through {program}", case.name);
            programs::run(
                ebpf.program(program).expect("it is in the object"),
                &case.frame,
                1,
            );
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

/// The counters of an interface stand at a place that its index gives; interfaces whose indexes give the same one
/// must not share them.
#[test]
fn interfaces_whose_places_meet_are_counted_apart() {
    if !support::root_or_skip("interfaces_whose_places_meet_are_counted_apart") {
        return;
    }
    // Test runs come in at the loopback interface.
    const LOOPBACK: u32 = 1;
    let (ebpf, mut drain) = programs::loaded(&capture(Tunnels::Outer));
    let same_place = |number| LOOPBACK + number * InterfaceSlot::COUNT;
    for number in 1..InterfaceSlot::PLACES {
        drain.add_interface(same_place(number)).expect("there is room");
    }
    drain.add_interface(LOOPBACK).expect("one place is left");
    let full = drain
        .add_interface(same_place(InterfaceSlot::PLACES))
        .expect_err("all places are taken");
    assert!(
        format!("{full:#}").contains("no room for the counters"),
        "{full:#}"
    );

    let frame = frames::ethernet(0x0800, &frames::ipv4(6, &frames::tcp(1, 80, 2, &[])));
    let counted = |drain: &mut flowmeter::capture::drain::Drain| {
        for program in ["flowmeter_xdp", "flowmeter_in"] {
            programs::run(ebpf.program(program).expect("it is in the object"), &frame, 5);
        }
        let mut batch = Batch::default();
        drain.drain(&mut batch).expect("draining");
        batch
            .interfaces
            .iter()
            .filter(|interface| interface.counters.seen.packets > 0)
            .map(|interface| (interface.ifindex, interface.counters.seen.packets))
            .collect::<Vec<_>>()
    };
    assert_eq!(counted(&mut drain), [(LOOPBACK, 10)]);
    assert_eq!(counted(&mut drain), [(LOOPBACK, 10)]);

    // What is given up counts on until nothing can be running any more; then the place is free, and empty.
    drain.retire_interface(LOOPBACK);
    assert_eq!(counted(&mut drain), [(LOOPBACK, 10)]);
    assert_eq!(counted(&mut drain), [(LOOPBACK, 10)]);
    assert_eq!(counted(&mut drain), [(0, 10)]);
    drain
        .add_interface(same_place(InterfaceSlot::PLACES))
        .expect("a place is free again");
    assert_eq!(counted(&mut drain), [(0, 10)]);
}

/// A flood must still be seen: its packets are counted as lost, and apart by source prefix and protocol.
#[test]
fn what_finds_no_room_is_told_by_source() {
    if !support::root_or_skip("what_finds_no_room_is_told_by_source") {
        return;
    }
    let (ebpf, mut drain) = programs::loaded(&capture(Tunnels::Outer));
    let program = ebpf.program("flowmeter_in").expect("it is in the object");
    let syn = |source_port| {
        let packet = frames::tcp(source_port, 80, 2, &[]);
        frames::ethernet(0x0800, &frames::ipv4(6, &packet))
    };
    let size = TableSize::of(1024);
    // Twice, since each generation has its own room.
    for _generation in 0..2 {
        for port in 1..=3000 {
            programs::run(program, &syn(port), 2);
        }
        let mut batch = Batch::default();
        drain.drain(&mut batch).expect("draining");
        // How many find a slot of their own depends on their hashes, which are others with each load.
        let room = batch.records.len();
        assert!(room >= size.flows as usize, "{room} of {size:?}");
        assert!(
            room <= (size.pages * 32 + size.overflow) as usize,
            "{room} of {size:?}"
        );
        // Whether in a slot or in the overflow, each stands there once and with both of its packets.
        let ports: BTreeSet<_> = batch
            .records
            .iter()
            .map(|record| record.key.source_port)
            .collect();
        assert_eq!(ports.len(), room);
        assert!(batch.records.iter().all(|record| record.counters.packets == 2));
        let lost = 2 * (3000 - room as u64);
        let counters = batch.interfaces.first().expect("it was counted").counters;
        assert_eq!(counters.seen.packets, 6000);
        assert_eq!(counters.get(Uncounted::MapFull).packets, lost);
        let [(key, spilled)] = batch.spill.as_slice() else {
            panic!("{:?}", batch.spill)
        };
        let mut prefix = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 0];
        assert_eq!((key.source_prefix, key.protocol, key.ipv6), (prefix, 6, 0));
        prefix[12..].copy_from_slice(&frames::B4);
        assert_eq!((spilled.destination, spilled.destination_port), (prefix, 80));
        assert_eq!(
            (spilled.packets, spilled.syn, spilled.l3_bytes),
            (lost, lost, lost * 40)
        );
    }
}

/// Both take the first packet of the same new flow at the same moment, again and again. It may get two slots then, but
/// each packet is counted once.
#[test]
fn cpus_that_meet_at_a_new_flow_count_each_packet_once() {
    const FLOWS: u16 = 20_000;
    if !support::root_or_skip("cpus_that_meet_at_a_new_flow_count_each_packet_once") {
        return;
    }
    let (ebpf, mut drain) = programs::loaded(&Capture {
        max_flows: 2 * u32::from(FLOWS),
        ..capture(Tunnels::Outer)
    });
    let program = ebpf.program("flowmeter_xdp").expect("it is in the object");
    let started = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _cpu in 0..2 {
            scope.spawn(|| {
                for port in 1..=FLOWS {
                    let packet = frames::tcp(port, 80, 2, &[]);
                    let frame = frames::ethernet(0x0800, &frames::ipv4(6, &packet));
                    started.fetch_add(1, Ordering::AcqRel);
                    while started.load(Ordering::Acquire) < 2 * u32::from(port) {
                        std::hint::spin_loop();
                    }
                    programs::run(program, &frame, 1);
                }
            });
        }
    });
    let mut batch = Batch::default();
    drain.drain(&mut batch).expect("draining");
    let mut packets: BTreeMap<u16, u64> = BTreeMap::new();
    for record in &batch.records {
        *packets.entry(record.key.source_port).or_default() += record.counters.packets;
    }
    let wrong: Vec<_> = (1..=FLOWS).filter(|port| packets.get(port) != Some(&2)).collect();
    assert!(
        packets.len() == usize::from(FLOWS) && wrong.is_empty(),
        "{} are wrong",
        wrong.len()
    );
    eprintln!(
        "{} of {FLOWS} flows stood twice",
        batch.records.len() - packets.len()
    );
}

/// They stand in one page of the flow table, also where one was seen entering and the other leaving the interface, so that
/// whoever follows connections meets the second while it still has the first at hand.
#[test]
fn both_directions_of_a_connection_are_read_together() {
    if !support::root_or_skip("both_directions_of_a_connection_are_read_together") {
        return;
    }
    let (ebpf, mut drain) = programs::loaded(&Capture::default());
    let program = |name| ebpf.program(name).expect("it is in the object");
    for port in 101..=1100 {
        let there = frames::ethernet(0x0800, &frames::ipv4(6, &frames::tcp(port, 80, 2, &[])));
        let mut back = frames::ethernet(0x0800, &frames::ipv4(6, &frames::tcp(80, port, 18, &[])));
        // The addresses, which stand in octets 12 to 19 of the IP header.
        let (source, destination) = back[14 + 12..14 + 20].split_at_mut(4);
        source.swap_with_slice(destination);
        programs::run(program("flowmeter_in"), &there, 1);
        programs::run(program("flowmeter_out"), &back, 1);
    }
    let mut batch = Batch::default();
    drain.drain(&mut batch).expect("draining");
    assert_eq!(batch.records.len(), 2000);
    let mut places: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    for (place, record) in batch.records.iter().enumerate() {
        let ports = [record.key.source_port, record.key.destination_port];
        places.entry(ports[0].max(ports[1])).or_default().push(place);
    }
    for (port, places) in places {
        let apart = places.last().unwrap() - places.first().unwrap();
        assert!(
            apart < size_of::<FlowPage>() / size_of::<FlowSlot>(),
            "{port}: {apart} apart"
        );
    }
}
