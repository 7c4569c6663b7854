//! Packets on an interface.

use std::{
    collections::BTreeSet,
    fs::File,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use flowmeter::{
    config::Config,
    generate::{conversations, frame, packets::Packets, scenarios, site::Site},
};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CloneFlags, setns},
    sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket},
};

use crate::{generate, support};

#[test]
fn packets_of_public_addresses_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.pcap");
    let arguments = [
        "--scenario",
        "port_scan",
        "--set",
        "networks.internal=131.107.0.0/16",
    ];
    let output = generate(&arguments)
        .args(["--send", "lo", "-o", "-", "--pcap", path.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(1), &b""[..])
    );
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.starts_with("error: refused to send packets of 131.107.0.10"),
        "{told}"
    );
    assert!(!path.exists());
    // A file harms nobody.
    assert!(generate(&arguments).output().unwrap().status.success());
}

#[test]
fn an_interface_that_is_not_there_is_told() {
    let output = generate(&["--scenario", "dos", "--send", "fm-none0"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: no interface fm-none0; `ip link` lists what there is\n"
    );
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(
        output.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A namespace with a veth pair of which one end sends and the other receives; gone when dropped.
struct Wire {
    namespace: String,
}

impl Wire {
    fn new(name: &str) -> Self {
        let namespace = format!("fm-{name}{}", std::process::id());
        ip(&format!("netns add {namespace}"));
        let wire = Self { namespace };
        let inside = |arguments: &str| ip(&format!("netns exec {} {arguments}", wire.namespace));
        // No neighbour discovery: nothing but the test's packets passes.
        inside("sysctl -qw net.ipv6.conf.default.disable_ipv6=1");
        ip(&format!(
            "-n {} link add from0 type veth peer name to0",
            wire.namespace
        ));
        for end in ["from0", "to0"] {
            ip(&format!("-n {} link set {end} up", wire.namespace));
        }
        wire
    }

    /// Takes every frame that reaches an interface of the namespace, once at each.
    fn listen(&self) -> OwnedFd {
        let namespace = File::open(format!("/run/netns/{}", self.namespace)).unwrap();
        let open = move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            socket(
                AddressFamily::Packet,
                SockType::Raw,
                SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
                SockProtocol::EthAll,
            )
        };
        thread::spawn(open).join().unwrap().unwrap()
    }

    fn generate(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = Command::new("ip");
        // The variables of the tests are none of the agent's.
        let path = std::env::vars_os().filter(|(name, _)| name == "PATH");
        command.env_clear().envs(path);
        command.args([
            "netns",
            "exec",
            &self.namespace,
            env!("CARGO_BIN_EXE_flowmeter"),
            "generate",
        ]);
        command.args(["-c", "/dev/null", "--set", "collector.name=c1", "--send", "from0"]);
        command.args(arguments).output().unwrap()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "del", &self.namespace])
            .status();
    }
}

/// Frames from a socket, until there are `count` of them or none comes for a second.
fn frames(socket: &OwnedFd, count: usize) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut buffer = [0; 2048];
    while frames.len() < count {
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) => frames.push(buffer[..length].to_vec()),
            Err(Errno::EAGAIN) => {
                let mut waited = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
                if poll(&mut waited, PollTimeout::from(1000_u16)).unwrap() == 0 {
                    break;
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
    frames
}

/// The frames of a scenario as the library makes them.
fn expected(scenario: &str, count: u32) -> Vec<Vec<u8>> {
    let site = Site::new(&Config::default().networks.internal, false).unwrap();
    let packets = Packets::new(conversations(&scenarios(scenario), &site, Some(count)));
    let mut bytes = Vec::new();
    packets
        .map(|packet| {
            frame::write(&packet, &mut bytes);
            bytes.clone()
        })
        .collect()
}

#[test]
fn every_packet_reaches_the_other_end_once() {
    if !support::root_or_skip("every_packet_reaches_the_other_end_once") {
        return;
    }
    let wire = Wire::new("send");
    let socket = wire.listen();
    // TCP and UDP, with and without payload; hours of it, which pass in seconds.
    for (scenario, count) in [("port_scan", 20), ("beaconing", 5), ("dns", 20)] {
        let output = wire.generate(&[
            "--scenario",
            scenario,
            "--count",
            &count.to_string(),
            "--speed",
            "1000",
        ]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{told}");
        assert_eq!(output.stdout, b"", "events only where they are asked for");
        let mut expected = expected(scenario, count);
        let bytes: usize = expected.iter().map(Vec::len).sum();
        let sent = format!("{} packets, {bytes} bytes", expected.len());
        assert!(
            told.contains(&format!("sending {scenario} on from0: {sent}")),
            "{told}"
        );
        assert!(told.contains(&format!("sent {sent}")), "{told}");
        // Seen leaving the one end and entering the other.
        let mut received = frames(&socket, 2 * expected.len());
        assert_eq!(received.len(), 2 * expected.len(), "{scenario}");
        expected.extend_from_within(..);
        expected.sort_unstable();
        received.sort_unstable();
        assert!(received == expected, "{scenario}");
        let distinct: BTreeSet<_> = received.iter().collect();
        assert_eq!(
            distinct.len(),
            expected.len() / 2,
            "{scenario}: no two frames are alike"
        );
    }
}

#[test]
fn packets_are_sent_at_their_time() {
    if !support::root_or_skip("packets_are_sent_at_their_time") {
        return;
    }
    let wire = Wire::new("pace");
    // The last of 11 ports, one every 100 ms, is tried after a second.
    let begun = Instant::now();
    assert!(
        wire.generate(&["--scenario", "port_scan", "--count", "11"])
            .status
            .success()
    );
    assert!(begun.elapsed() >= Duration::from_secs(1));
    // An hour, in 36 ms at least; far less than a minute for a slow machine.
    let begun = Instant::now();
    let fast = wire.generate(&["--scenario", "beaconing", "--count", "60", "--speed", "100000"]);
    assert!(fast.status.success());
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn an_interface_that_takes_no_frame_stops_the_sending() {
    if !support::root_or_skip("an_interface_that_takes_no_frame_stops_the_sending") {
        return;
    }
    let wire = Wire::new("down");
    ip(&format!("-n {} link set from0 down", wire.namespace));
    let output = wire.generate(&["--scenario", "port_scan", "--count", "1"]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("sending on from0, after 0 packets: ENETDOWN"),
        "{told}"
    );

    ip(&format!("-n {} link set from0 mtu 1000 up", wire.namespace));
    let output = wire.generate(&["--scenario", "high_outbound", "--count", "1"]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("is over its MTU"), "{told}");
}
