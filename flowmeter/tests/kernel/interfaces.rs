//! Interfaces that come, go, and come back.

use flowmeter::{config::Capture, flow::Batch};

use crate::{
    agent::Agent,
    network::{Cable, Namespace},
    programs,
    support::root_or_skip,
};

fn index(host: &Namespace, interface: &str) -> u64 {
    host.link(interface).get("ifindex").unwrap().as_u64().unwrap()
}

/// Waits for so many intervals, told by the statistics of an interface that stays.
fn intervals(agent: &mut Agent, index: u64, count: u64) {
    let now = agent.totals().statistics_of(index);
    agent.until(|totals| totals.statistics_of(index) >= now + count);
}

#[test]
fn an_interface_that_went_and_came_back_is_counted_in_full() {
    if !root_or_skip("an_interface_that_went_and_came_back_is_counted_in_full") {
        return;
    }
    let cable = Cable::new(1500);
    // No tick while it runs: what the lost interface counted last is still in the kernel when it goes.
    let arguments = ["-i", "out0", "--direction", "egress", "--interval", "1h"];
    let mut agent = Agent::start(&cable.sender.name, &arguments);
    let first = index(&cable.sender, "out0");
    cable.send_some(1000);
    cable.unplug();
    agent.says("out0 is gone; it is metered again when it comes back");
    cable.plug(1500);
    agent.says("metering out0");
    let second = index(&cable.sender, "out0");
    assert_ne!(first, second);
    cable.send_some(500);
    let totals = agent.stop();
    assert_eq!(totals.by_interface.get("out0"), Some(&1500), "{totals:?}");
    assert_eq!(
        totals.described.keys().copied().collect::<Vec<_>>(),
        [first, second]
    );
    totals.assert_conserved();
}

#[test]
fn counters_of_an_interface_that_is_gone_go_too() {
    if !root_or_skip("counters_of_an_interface_that_is_gone_go_too") {
        return;
    }
    let cable = Cable::new(1500);
    let host = &cable.sender;
    host.ip("link add stays0 type veth peer name stays1");
    let arguments = ["-i", "out0", "-i", "stays0", "--interval", "100ms"];
    let mut agent = Agent::start(&host.name, &arguments);
    let (gone, stays) = (index(host, "out0"), index(host, "stays0"));
    cable.send_some(1000);
    agent.until(|totals| totals.statistics_of(gone) >= 2);
    cable.send_some(1000);
    cable.unplug();
    agent.says("out0 is gone");
    // Two drains, for the two generations, and one that may have begun before.
    intervals(&mut agent, stays, 4);
    let told = agent.totals().statistics_of(gone);
    intervals(&mut agent, stays, 4);
    assert_eq!(agent.totals().statistics_of(gone), told);
    let totals = agent.stop();
    assert_eq!(totals.by_interface.get("out0"), Some(&2000));
    totals.assert_conserved();
}

/// The kernel's map has room for about a thousand interfaces.
#[test]
fn room_for_interfaces_is_given_back() {
    if !root_or_skip("room_for_interfaces_is_given_back") {
        return;
    }
    let (_ebpf, mut drain) = programs::loaded(&Capture::default());
    let mut batch = Batch::default();
    for round in 0..3 {
        let interfaces = round * 1000 + 1..=round * 1000 + 1000;
        for ifindex in interfaces.clone() {
            drain.add_interface(ifindex).unwrap();
        }
        for ifindex in interfaces {
            drain.retire_interface(ifindex);
        }
        for told in [1000, 1000, 0] {
            batch.clear();
            drain.drain(&mut batch).unwrap();
            assert_eq!(batch.interfaces.len(), told);
        }
    }
}

#[test]
fn a_new_interface_that_matches_a_glob_is_metered() {
    if !root_or_skip("a_new_interface_that_matches_a_glob_is_metered") {
        return;
    }
    let host = Namespace::new();
    host.ip("link add out9 type veth peer name x9");
    let arguments = ["-i", "out*", "--direction", "egress", "--interval", "1h"];
    let mut agent = Agent::start(&host.name, &arguments);
    let cable = Cable {
        sender: host,
        receiver: Namespace::new(),
    };
    cable.plug(1500);
    agent.says("metering out0");
    cable.send_some(700);
    let totals = agent.stop();
    assert_eq!(totals.by_interface.get("out0"), Some(&700));
    totals.assert_conserved();
}

/// By default a packet is counted once, also after the host was rebuilt.
#[test]
fn an_interface_that_becomes_a_port_is_left_to_its_bridge() {
    if !root_or_skip("an_interface_that_becomes_a_port_is_left_to_its_bridge") {
        return;
    }
    let cable = Cable::new(1500);
    let host = &cable.receiver;
    let mut agent = Agent::spawn(&host.name, &[]);
    agent.says("metering in0");
    host.ip("link add br0 up type bridge");
    agent.says("metering br0");
    host.ip("link set in0 master br0");
    agent.says("in0 is not metered any more: port of br0, which is metered");
    host.ip("link set in0 nomaster");
    agent.says("metering in0");
    agent.stop();
}

#[test]
fn an_interface_that_cannot_be_metered_leaves_nothing_behind() {
    if !root_or_skip("an_interface_that_cannot_be_metered_leaves_nothing_behind") {
        return;
    }
    let cable = Cable::new(1500);
    let host = &cable.sender;
    let arguments = ["-i", "out*", "--mode", "xdp", "--interval", "100ms"];
    let mut agent = Agent::start(&host.name, &arguments);
    let stays = index(host, "out0");
    // A bridge has no native XDP; only the kernel knows.
    host.ip("link add outbridge type bridge");
    let error = agent.says("outbridge cannot be metered");
    assert!(error.contains("by native XDP"), "{error}");
    let failed = index(host, "outbridge");
    intervals(&mut agent, stays, 4);
    let told = agent.totals().statistics_of(failed);
    intervals(&mut agent, stays, 4);
    assert_eq!(agent.totals().statistics_of(failed), told);
    cable.send_some(300);
    let totals = agent.stop();
    assert_eq!(totals.flows.packets, 300);
    totals.assert_conserved();
}
