//! Every packet is counted once: over a veth pair, under traffic that does not stop while the agent drains every
//! 100 ms, the events add up to what the sender sent.

#![expect(
    clippy::panic,
    reason = "clippy's exception for tests does not reach their helper functions"
)]

#[path = "support/mod.rs"]
mod support;

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::UdpSocket,
    process::{Child, Command, Stdio},
    thread,
};

use nix::{
    sched::{CloneFlags, setns},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

const PACKETS: u64 = 2_000_000;
const PAYLOAD: usize = 100;
const PORTS: u16 = 64;

/// Two namespaces joined by a veth pair; removed when dropped.
struct Hosts {
    sender: String,
    receiver: String,
}

fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .expect("iproute2 is installed");
    assert!(
        output.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("ip writes text")
}

impl Hosts {
    fn new(name: &str) -> Self {
        let id = std::process::id();
        let hosts = Self {
            sender: format!("fm-{name}-s{id}"),
            receiver: format!("fm-{name}-r{id}"),
        };
        let (s, r) = (&hosts.sender, &hosts.receiver);
        ip(&format!("netns add {s}"));
        ip(&format!("netns add {r}"));
        for host in [s, r] {
            // No neighbour discovery: nothing but the test's packets passes.
            for which in ["all", "default"] {
                ip(&format!(
                    "netns exec {host} sysctl -qw net.ipv6.conf.{which}.disable_ipv6=1"
                ));
            }
        }
        ip(&format!("-n {s} link add out0 type veth peer name in0 netns {r}"));
        ip(&format!("-n {s} link set out0 address 02:00:00:00:00:01 up"));
        ip(&format!("-n {r} link set in0 address 02:00:00:00:00:02 up"));
        ip(&format!("-n {s} addr add 10.99.0.1/24 dev out0"));
        ip(&format!(
            "-n {s} neigh add 10.99.0.2 lladdr 02:00:00:00:00:02 dev out0"
        ));
        hosts
    }

    /// Sends from a thread of its own inside the sender's namespace.
    fn send(&self) {
        let namespace = File::open(format!("/run/netns/{}", self.sender)).expect("the namespace is there");
        thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("root may enter it");
            let socket = UdpSocket::bind("10.99.0.1:40000").expect("the address is there");
            for number in 0..PACKETS {
                let port = 9000 + u16::try_from(number % u64::from(PORTS)).expect("below PORTS");
                socket
                    .send_to(&[0; PAYLOAD], ("10.99.0.2", port))
                    .expect("sending");
            }
        })
        .join()
        .expect("the sender ends well");
    }

    fn counter(&self, host: &str, interface: &str, path: &str) -> u64 {
        let links: Value =
            serde_json::from_str(&ip(&format!("-n {host} -s -j link show {interface}"))).expect("JSON");
        links
            .pointer(&format!("/0/stats64/{path}"))
            .and_then(Value::as_u64)
            .expect("the counter is there")
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in [&self.sender, &self.receiver] {
            let _ = Command::new("ip").args(["netns", "del", host]).status();
        }
    }
}

fn start(host: &str, interface: &str, mode: &str, direction: &str, file: &std::path::Path) -> Child {
    let mut command = Command::new("ip");
    // What cargo and xtask set for tests is no configuration of the agent.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FLOWMETER_"))
    {
        command.env_remove(name);
    }
    let mut agent = command
        .args([
            "netns",
            "exec",
            host,
            env!("CARGO_BIN_EXE_flowmeter"),
            "run",
            "-c",
            "/dev/null",
            "-i",
            interface,
        ])
        .args([
            "--mode",
            mode,
            "--direction",
            direction,
            "--interval",
            "100ms",
            "-o",
        ])
        .arg(file)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the agent starts");
    let mut lines = BufReader::new(agent.stderr.take().expect("piped")).lines();
    loop {
        let line = lines
            .next()
            .expect("the agent says that it is metering")
            .expect("text");
        if line.contains("metering") {
            break;
        }
    }
    thread::spawn(move || lines.for_each(drop));
    agent
}

fn stop(mut agent: Child) {
    let id = Pid::from_raw(i32::try_from(agent.id()).expect("a process id"));
    kill(id, Signal::SIGTERM).expect("the agent runs");
    assert!(agent.wait().expect("waiting").success(), "the agent ends well");
}

fn conserved(name: &str, mode: &str, direction: &str) {
    if !support::root_or_skip(name) {
        return;
    }
    let hosts = Hosts::new(name.get(..3).expect("a name"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("events.json");
    let (host, interface) = if direction == "egress" {
        (&hosts.sender, "out0")
    } else {
        (&hosts.receiver, "in0")
    };
    let agent = start(host, interface, mode, direction, &file);
    hosts.send();
    // The sender's queue to a receiver with XDP is a ring, which drops when full: the receiver's own counter is
    // the truth there, and is waited for.
    let arrived = loop {
        let received = hosts.counter(&hosts.receiver, "in0", "rx/packets");
        let dropped = hosts.counter(&hosts.sender, "out0", "tx/dropped");
        if received + dropped >= PACKETS {
            break received;
        }
    };
    stop(agent);
    let expected = if direction == "egress" { PACKETS } else { arrived };

    let text = fs::read_to_string(&file).expect("the event file");
    let (mut packets, mut bytes, mut seen, mut accounted) = (0, 0, 0, 0);
    let mut statistics = 0;
    for line in text.lines() {
        let event: Value = serde_json::from_str(line).expect("one event a line");
        let number = |path: &str| {
            event
                .pointer(path)
                .and_then(Value::as_u64)
                .unwrap_or_else(|| panic!("{path}: {line}"))
        };
        if event.pointer("/event/action").and_then(Value::as_str) == Some("network_flow") {
            packets += number("/network/packets");
            bytes += number("/network/bytes");
        } else {
            statistics += 1;
            seen += number("/flowmeter/seen/packets");
            accounted += number("/flowmeter/exported/packets");
            let lost = event
                .pointer("/flowmeter/lost")
                .and_then(Value::as_object)
                .expect("losses");
            accounted += lost
                .values()
                .filter_map(|reason| reason["packets"].as_u64())
                .sum::<u64>();
        }
    }
    assert!(
        statistics > 3,
        "the agent drained only {statistics} times while packets passed"
    );
    assert_eq!(packets, expected, "packets in the events, of those that passed");
    assert_eq!(bytes, expected * (PAYLOAD as u64 + 28), "L3 bytes in the events");
    assert_eq!(
        (seen, accounted),
        (expected, expected),
        "seen, and exported plus lost"
    );
}

#[test]
fn xdp_counts_every_packet() {
    conserved("xdp_counts_every_packet", "xdp", "ingress");
}

#[test]
fn ingress_counts_every_packet() {
    conserved("ingress_counts_every_packet", "tc", "ingress");
}

#[test]
fn egress_counts_every_packet() {
    conserved("egress_counts_every_packet", "tc", "egress");
}
