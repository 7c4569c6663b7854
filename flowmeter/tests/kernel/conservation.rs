//! Every packet is counted once: over a veth pair, under traffic that does not stop while the agent drains every
//! 100 ms, the events add up to what the sender sent.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use aya::{
    programs::{ProgramInfo, SchedClassifier, TcAttachType, loaded_programs},
    sys::{Stats, enable_stats},
};
use nix::sys::signal::Signal;

use crate::{
    agent::{Agent, Totals},
    network::{Cable, Load, Namespace},
    support::root_or_skip,
};

/// Where packets are counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hook {
    Xdp,
    Ingress,
    Egress,
}

impl Hook {
    fn place(self, cable: &Cable) -> (&Namespace, &'static str) {
        match self {
            Self::Xdp | Self::Ingress => (&cable.receiver, "in0"),
            Self::Egress => (&cable.sender, "out0"),
        }
    }

    fn agent(self, cable: &Cable, more: &[&str]) -> Agent {
        let (mode, direction) = match self {
            Self::Xdp => ("xdp", "ingress"),
            Self::Ingress => ("tc", "ingress"),
            Self::Egress => ("tc", "egress"),
        };
        let (host, interface) = self.place(cable);
        let mut arguments = vec!["-i", interface, "--mode", mode, "--direction", direction];
        arguments.extend(["--interval", "100ms"]);
        arguments.extend(more);
        Agent::start(&host.name, &arguments)
    }

    /// The program of the agent that is attached here, as the kernel describes it.
    fn program(self, cable: &Cable) -> ProgramInfo {
        let (host, interface) = self.place(cable);
        let id = match self {
            Self::Xdp => host.xdp_program(interface).unwrap(),
            Self::Ingress => tcx_program(host, interface, TcAttachType::Ingress),
            Self::Egress => tcx_program(host, interface, TcAttachType::Egress),
        };
        described(id)
    }
}

fn tcx_program(host: &Namespace, interface: &str, hook: TcAttachType) -> u32 {
    let (_, programs) = host
        .inside(|| SchedClassifier::query_tcx(interface, hook))
        .unwrap();
    programs.first().unwrap().id()
}

fn described(id: u32) -> ProgramInfo {
    loaded_programs()
        .map(Result::unwrap)
        .find(|program| program.id() == id)
        .unwrap()
}

/// Sends `load` from each of `senders` CPUs while the agent runs; what it wrote, and how many packets passed.
fn metered(hook: Hook, mtu: u32, senders: usize, load: &Load, more: &[&str]) -> (Totals, u64) {
    let cable = Cable::new(mtu);
    let agent = hook.agent(&cable, more);
    let (sent, never) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for cpu in 0..senders {
            let (cable, sent, never) = (&cable, &sent, &never);
            scope.spawn(move || cable.send(cpu, load, sent, never));
        }
    });
    let sent = sent.into_inner();
    assert_eq!(sent, load.packets * senders as u64);
    let arrived = cable.arrived(sent);
    let passed = if hook == Hook::Egress { sent } else { arrived };
    (agent.stop(), passed)
}

#[track_caller]
fn assert_exact(totals: &Totals, passed: u64, load: &Load) {
    assert!(
        totals.statistics > 3,
        "only {} drains while packets passed",
        totals.statistics
    );
    let l3_bytes = load.payload as u64 + 28;
    assert_eq!(
        (
            totals.flows.packets,
            totals.flows.l3_bytes,
            totals.seen.wire_bytes
        ),
        (passed, passed * l3_bytes, passed * (l3_bytes + 14)),
        "packets, L3 bytes and wire bytes of {passed} packets that passed"
    );
    assert_eq!(totals.seen.packets, passed, "seen");
    totals.assert_conserved();
}

fn every_packet_is_counted(hook: Hook, mtu: u32, senders: usize, load: &Load) {
    let (totals, passed) = metered(hook, mtu, senders, load, &[]);
    assert_exact(&totals, passed, load);
}

const SMALL: Load = Load {
    packets: 2_000_000,
    payload: 100,
    ports: 64,
};
const JUMBO: Load = Load {
    packets: 2_000_000,
    payload: 8972,
    ports: 64,
};
/// Of each of two senders.
const HALF: Load = Load {
    packets: 1_000_000,
    ..SMALL
};

#[test]
fn xdp_counts_every_packet() {
    if root_or_skip("xdp_counts_every_packet") {
        every_packet_is_counted(Hook::Xdp, 1500, 1, &SMALL);
    }
}

#[test]
fn ingress_counts_every_packet() {
    if root_or_skip("ingress_counts_every_packet") {
        every_packet_is_counted(Hook::Ingress, 1500, 1, &SMALL);
    }
}

#[test]
fn egress_counts_every_packet() {
    if root_or_skip("egress_counts_every_packet") {
        every_packet_is_counted(Hook::Egress, 1500, 1, &SMALL);
    }
}

/// Frames over several buffers.
#[test]
fn xdp_counts_every_jumbo_frame() {
    if root_or_skip("xdp_counts_every_jumbo_frame") {
        every_packet_is_counted(Hook::Xdp, 9000, 1, &JUMBO);
    }
}

#[test]
fn ingress_counts_every_jumbo_frame() {
    if root_or_skip("ingress_counts_every_jumbo_frame") {
        every_packet_is_counted(Hook::Ingress, 9000, 1, &JUMBO);
    }
}

#[test]
fn egress_counts_every_jumbo_frame() {
    if root_or_skip("egress_counts_every_jumbo_frame") {
        every_packet_is_counted(Hook::Egress, 9000, 1, &JUMBO);
    }
}

#[test]
fn two_cpus_write_the_same_flows_without_loss() {
    if root_or_skip("two_cpus_write_the_same_flows_without_loss") {
        for hook in [Hook::Xdp, Hook::Ingress, Hook::Egress] {
            every_packet_is_counted(hook, 1500, 2, &HALF);
        }
    }
}

#[test]
fn what_finds_no_room_is_counted_as_lost() {
    if !root_or_skip("what_finds_no_room_is_counted_as_lost") {
        return;
    }
    // A generation has room for twice 1024 flows.
    let load = Load {
        packets: 400_000,
        payload: 100,
        ports: 20_000,
    };
    let (totals, passed) = metered(Hook::Egress, 1500, 1, &load, &["--max-flows", "1024"]);
    totals.assert_conserved();
    assert_eq!(totals.seen.packets, passed);
    let lost = totals.lost.get("map_full").copied().unwrap();
    assert!(lost > 0, "{totals:?}");
    let only = BTreeMap::from([("map_full".to_owned(), lost)]);
    let others: BTreeMap<_, _> = totals.lost.iter().filter(|(_, packets)| **packets > 0).collect();
    assert_eq!(others, only.iter().collect(), "nothing else is lost");
    assert!(
        totals.flows.packets >= 2048,
        "what had room is in flows: {totals:?}"
    );
}

/// A second count: how often the kernel says that it ran the program. The statistics are the kernel's own, kept
/// beside the program and not by it, and outlive the agent with a descriptor of the program.
fn ends_under_load(hook: Hook) {
    let _stats = enable_stats(Stats::RunTime).unwrap();
    let cable = Cable::new(1500);
    let agent = hook.agent(&cable, &[]);
    let program = hook.program(&cable);
    let _held = program.fd().unwrap();
    let (sent, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let endless = Load {
        packets: u64::MAX,
        ..SMALL
    };
    let totals = thread::scope(|scope| {
        scope.spawn(|| cable.send(0, &endless, &sent, &stop));
        while sent.load(Ordering::Relaxed) < 300_000 {
            thread::yield_now();
        }
        agent.signal(Signal::SIGTERM);
        let (status, totals) = agent.end();
        let at_end = sent.load(Ordering::Relaxed);
        // The sender went on: the agent really ended under load.
        while sent.load(Ordering::Relaxed) < at_end + 1000 {
            thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        assert!(status.success(), "{status}");
        totals
    });
    let runs = described(program.id()).run_count();
    assert!(runs > 100_000, "{runs}");
    assert!(
        runs < sent.into_inner(),
        "the program was detached while packets passed"
    );
    assert_eq!(totals.flows.packets, runs);
    totals.assert_conserved();
}

#[test]
fn an_end_under_load_loses_nothing() {
    if root_or_skip("an_end_under_load_loses_nothing") {
        for hook in [Hook::Xdp, Hook::Ingress, Hook::Egress] {
            ends_under_load(hook);
        }
    }
}

/// Fifty million packets; minutes long, so only on demand.
#[test]
#[ignore = "takes minutes for each hook: cargo test --release --test kernel -- --ignored --nocapture fifty"]
fn fifty_million_packets_are_counted_on_each_hook() {
    if !root_or_skip("fifty_million_packets_are_counted_on_each_hook") {
        return;
    }
    let load = Load {
        packets: 25_000_000,
        ..SMALL
    };
    for (name, hook) in [
        ("XDP", Hook::Xdp),
        ("TC ingress", Hook::Ingress),
        ("TC egress", Hook::Egress),
    ] {
        let (totals, passed) = metered(hook, 1500, 2, &load, &[]);
        println!(
            "{name}: sent 50000000, passed {passed}, in events {}, in {} intervals",
            totals.flows.packets, totals.statistics
        );
        assert_exact(&totals, passed, &load);
    }
}
