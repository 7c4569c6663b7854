//! What is left of an agent that was killed, and what is left of others by an agent.

use std::io::Write as _;

use aya::programs::{SchedClassifier, TcAttachType};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    agent::Agent,
    network::{Cable, Namespace},
    programs,
    support::root_or_skip,
};

fn tcx(host: &Namespace, interface: &str) -> Vec<u32> {
    host.inside(|| {
        [TcAttachType::Ingress, TcAttachType::Egress]
            .into_iter()
            .flat_map(|hook| SchedClassifier::query_tcx(interface, hook).unwrap().1)
            .map(|program| program.id())
            .collect()
    })
}

#[test]
fn a_killed_agent_leaves_nothing_attached() {
    if !root_or_skip("a_killed_agent_leaves_nothing_attached") {
        return;
    }
    let cable = Cable::new(1500);
    let host = &cable.receiver;
    for (mode, links) in [("xdp", 1), ("tc", 2)] {
        let agent = Agent::start(&host.name, &["-i", "in0", "--mode", mode]);
        assert_eq!(host.xdp_program("in0").is_some(), mode == "xdp");
        assert_eq!(tcx(host, "in0").len(), links);
        agent.signal(Signal::SIGKILL);
        agent.end();
        assert_eq!(host.xdp_program("in0"), None);
        assert!(tcx(host, "in0").is_empty());
    }
}

/// Names of the BPF filters at the ingress of `in0`; the kernel tells none of a filter without a name.
fn filters(host: &Namespace) -> Vec<String> {
    let text = host.run("tc -j filter show dev in0 ingress");
    let filters: Vec<Value> = serde_json::from_str(&text).unwrap();
    filters
        .iter()
        .filter_map(|filter| filter.get("options"))
        .map(|options| match options.get("bpf_name") {
            Some(name) => name.as_str().unwrap().to_owned(),
            None => options.get("bytecode").unwrap().to_string(),
        })
        .collect()
}

#[test]
fn a_filter_that_outlived_its_agent_is_replaced_and_those_of_others_stay() {
    if !root_or_skip("a_filter_that_outlived_its_agent_is_replaced_and_those_of_others_stay") {
        return;
    }
    let cable = Cable::new(1500);
    let host = &cable.receiver;
    host.run("tc qdisc add dev in0 clsact");
    // Classic BPF, one instruction: match nothing.
    let mut bytecode = tempfile::NamedTempFile::new().unwrap();
    bytecode.write_all(b"1,6 0 0 0").unwrap();
    host.run(&format!(
        "tc filter add dev in0 ingress prio 1 bpf bytecode-file {}",
        bytecode.path().display()
    ));
    let others = filters(host);
    assert_eq!(others.len(), 1);
    let qdiscs = host.run("tc qdisc show dev in0");
    let arguments = ["-i", "in0", "--mode", "tc", "--set", "capture.tc_attach=clsact"];

    let killed = Agent::start(&host.name, &arguments);
    killed.signal(Signal::SIGKILL);
    killed.end();
    let with_ours = ["flowmeter_in".to_owned(), others[0].clone()];
    assert_eq!(filters(host), with_ours, "a filter is no link");

    let mut agent = Agent::spawn(&host.name, &arguments);
    agent.says("replaced a filter flowmeter_in on in0 that an earlier run left behind");
    agent.says("replaced a filter flowmeter_out on in0 that an earlier run left behind");
    agent.says("metering in0 by clsact ingress and clsact egress");
    assert_eq!(filters(host), with_ours);
    cable.send_some(1000);
    cable.arrived(1000);
    assert_eq!(agent.stop().flows.packets, 1000, "each packet once");
    assert_eq!(filters(host), others);
    assert_eq!(host.run("tc qdisc show dev in0"), qdiscs);
}

/// A program that decides about a packet ends the walk: who stands behind it sees nothing.
#[test]
fn the_meter_stands_before_programs_of_others() {
    if !root_or_skip("the_meter_stands_before_programs_of_others") {
        return;
    }
    let cable = Cable::new(1500);
    let host = &cable.receiver;
    let (mut other, _) = programs::loaded(&flowmeter::config::Capture::default());
    let program: &mut SchedClassifier = other.program_mut("flowmeter_in").unwrap().try_into().unwrap();
    host.inside(|| program.attach("in0", TcAttachType::Ingress))
        .unwrap();
    let before = tcx(host, "in0");
    let agent = Agent::start(&host.name, &["-i", "in0", "--direction", "ingress"]);
    let with_ours = tcx(host, "in0");
    assert_eq!(with_ours.len(), 2);
    assert_eq!(with_ours[1..], before);
    agent.stop();
    assert_eq!(tcx(host, "in0"), before);
}
