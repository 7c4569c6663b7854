//! Super-packets are counted as the packets that they stand for. The second count is the kernel's: a router cuts them
//! up before a cable that takes single packets only, and that cable's counters are compared with the events.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::mpsc::channel,
    thread,
};

use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};

use crate::{
    agent::{Agent, Sums},
    network::Namespace,
    support::root_or_skip,
};

const SENT: usize = 500 << 20;

/// Sender (10.99.1.1), router, receiver (10.99.2.2). The first cable carries super-packets, the second does not.
struct Route {
    sender: Namespace,
    router: Namespace,
    receiver: Namespace,
}

impl Route {
    fn new() -> Self {
        let route = Self {
            sender: Namespace::new(),
            router: Namespace::new(),
            receiver: Namespace::new(),
        };
        let (sender, router, receiver) = (&route.sender, &route.router, &route.receiver);
        let cable = |from: &Namespace, a: &str, to: &Namespace, b: &str| {
            from.ip(&format!("link add {a} type veth peer name {b} netns {}", to.name));
        };
        cable(sender, "out0", router, "left0");
        cable(receiver, "in0", router, "right0");
        router.run("ethtool -K right0 tso off gso off tx-udp-segmentation off");
        receiver.run("ethtool -K in0 tso off gso off");
        router.run("sysctl -qw net.ipv4.ip_forward=1");
        for (host, interface, address) in [
            (router, "left0", "10.99.1.254"),
            (router, "right0", "10.99.2.254"),
            (receiver, "in0", "10.99.2.2"),
            (sender, "out0", "10.99.1.1"),
        ] {
            host.ip(&format!("addr add {address}/24 dev {interface}"));
            host.ip(&format!("link set {interface} up"));
        }
        sender.ip("route add default via 10.99.1.254");
        receiver.ip("route add default via 10.99.2.254");
        // All neighbours known, so that no ARP is sent while packets are counted.
        let know = |host: &Namespace, interface: &str, address: &str, other: &Namespace, name: &str| {
            let mac = other
                .link(name)
                .get("address")
                .unwrap()
                .as_str()
                .unwrap()
                .to_owned();
            host.ip(&format!("neigh replace {address} lladdr {mac} dev {interface}"));
        };
        know(sender, "out0", "10.99.1.254", router, "left0");
        know(router, "left0", "10.99.1.1", sender, "out0");
        know(router, "right0", "10.99.2.2", receiver, "in0");
        know(receiver, "in0", "10.99.2.254", router, "right0");
        route
    }

    /// Packets and frame bytes that the router has cut, and its kernel has put on the second cable.
    fn cut(&self) -> (u64, u64) {
        assert_eq!(
            self.sender.counter("out0", "tx/dropped"),
            0,
            "a packet was dropped"
        );
        assert_eq!(
            self.router.counter("right0", "tx/dropped"),
            0,
            "a packet was dropped"
        );
        (
            self.router.counter("right0", "tx/packets"),
            self.router.counter("right0", "tx/bytes"),
        )
    }

    /// Meters what leaves the sender and what enters the router while `traffic` runs.
    fn compare(&self, traffic: impl FnOnce(&Self)) {
        let arguments = |interface, direction| ["-i", interface, "--mode", "tc", "--direction", direction];
        let egress = Agent::start(&self.sender.name, &arguments("out0", "egress"));
        let ingress = Agent::start(&self.router.name, &arguments("left0", "ingress"));
        let before = self.sender.counter("out0", "tx/packets");
        traffic(self);
        let super_packets = self.sender.counter("out0", "tx/packets") - before;
        let egress = egress.stop();
        let ingress = ingress.stop();
        let (packets, wire_bytes) = self.cut();
        assert!(
            super_packets * 5 < packets,
            "{super_packets} buffers for {packets} packets: no super-packets"
        );
        for totals in [egress, ingress] {
            totals.assert_conserved();
            let seen = (totals.seen.packets, totals.seen.wire_bytes);
            assert_eq!(seen, (packets, wire_bytes), "of {super_packets} super-packets");
            let flows = Sums {
                packets,
                l3_bytes: wire_bytes - 14 * packets,
                wire_bytes,
            };
            assert_eq!(totals.exported, flows);
        }
    }
}

#[test]
fn tcp_segments_are_counted_as_the_kernel_cuts_them() {
    if !root_or_skip("tcp_segments_are_counted_as_the_kernel_cuts_them") {
        return;
    }
    Route::new().compare(|route| {
        let (ready, listens) = channel();
        let receiver = thread::scope(|scope| {
            let receiver = scope.spawn(|| {
                route.receiver.inside(|| {
                    let listener = TcpListener::bind("10.99.2.2:5001").unwrap();
                    ready.send(()).unwrap();
                    let (mut stream, _) = listener.accept().unwrap();
                    let mut received = 0;
                    let mut buffer = vec![0; 1 << 20];
                    loop {
                        match stream.read(&mut buffer).unwrap() {
                            0 => return received,
                            count => received += count,
                        }
                    }
                })
            });
            listens.recv().unwrap();
            route.sender.inside(|| {
                let mut stream = TcpStream::connect("10.99.2.2:5001").unwrap();
                let chunk = vec![0; 1 << 20];
                for _ in 0..SENT >> 20 {
                    stream.write_all(&chunk).unwrap();
                }
            });
            receiver.join().unwrap()
        });
        assert_eq!(receiver, SENT);
    });
}

#[test]
fn udp_segments_are_counted_as_the_kernel_cuts_them() {
    if !root_or_skip("udp_segments_are_counted_as_the_kernel_cuts_them") {
        return;
    }
    Route::new().compare(|route| {
        route.sender.inside(|| {
            let socket = UdpSocket::bind("10.99.1.1:40000").unwrap();
            setsockopt(&socket, UdpGsoSegment, &1000).unwrap();
            // 40 full segments and one of 777 bytes.
            let datagrams = vec![0; 40_777];
            for port in 0..2_000 {
                socket
                    .send_to(&datagrams, ("10.99.2.2", 9000 + port % 8))
                    .unwrap();
            }
        });
    });
}
