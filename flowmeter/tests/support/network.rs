//! Network namespaces with nothing in them but what a test puts there.

#![allow(dead_code, reason = "each test binary uses a part of this")]
#![allow(clippy::unwrap_used, reason = "a wrong set-up must fail its test")]

use std::{
    fs::File,
    net::{SocketAddr, ToSocketAddrs as _, UdpSocket},
    process::Command,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    thread,
};

use nix::{
    sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, setns},
    unistd::Pid,
};
use serde_json::Value;

/// Runs a command, which has to succeed, and returns what it writes.
pub(crate) fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program)
        .args(arguments.split_whitespace())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Keeps the calling thread on one CPU, the `number`th of those that it may run on; there may be fewer.
pub(crate) fn pin(number: usize) {
    let this_thread = Pid::from_raw(0);
    let allowed = sched_getaffinity(this_thread).unwrap();
    let allowed: Vec<_> = (0..CpuSet::count())
        .filter(|&cpu| allowed.is_set(cpu).unwrap())
        .collect();
    let mut cpus = CpuSet::new();
    cpus.set(*allowed.iter().cycle().nth(number).unwrap()).unwrap();
    sched_setaffinity(this_thread, &cpus).unwrap();
}

/// Removed when dropped, with everything in it.
pub(crate) struct Namespace {
    pub(crate) name: String,
}

impl Namespace {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("flowmeter-test-{}-{number}", std::process::id());
        run("ip", &format!("netns add {name}"));
        let namespace = Self { name };
        // No neighbour discovery: nothing but the test's packets passes.
        for which in ["all", "default"] {
            namespace.run(&format!("sysctl -qw net.ipv6.conf.{which}.disable_ipv6=1"));
        }
        namespace
    }

    pub(crate) fn ip(&self, arguments: &str) -> String {
        run("ip", &format!("-n {} {arguments}", self.name))
    }

    pub(crate) fn run(&self, line: &str) -> String {
        run("ip", &format!("netns exec {} {line}", self.name))
    }

    /// What `work` returns, run by a thread inside.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.name)).unwrap();
        thread::scope(|scope| {
            // A thread of its own: it is moved for good.
            scope
                .spawn(move || {
                    setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
                    work()
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// What `ip -d link` tells of an interface.
    pub(crate) fn link(&self, interface: &str) -> Value {
        let links: Value =
            serde_json::from_str(&self.ip(&format!("-d -s -j link show {interface}"))).unwrap();
        links.pointer("/0").unwrap().clone()
    }

    /// A counter such as `rx/packets`, as the interface's driver keeps it.
    pub(crate) fn counter(&self, interface: &str, path: &str) -> u64 {
        self.link(interface)
            .pointer(&format!("/stats64/{path}"))
            .and_then(Value::as_u64)
            .unwrap()
    }

    /// Id of the program in an interface's XDP slot.
    pub(crate) fn xdp_program(&self, interface: &str) -> Option<u32> {
        let id = self.link(interface).pointer("/xdp/prog/id")?.as_u64()?;
        u32::try_from(id).ok()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// Two hosts on one cable: `out0` (10.99.0.1) of the sender, `in0` (10.99.0.2) of the receiver.
///
/// The receiver has no address, so that it answers nothing.
pub(crate) struct Cable {
    pub(crate) sender: Namespace,
    pub(crate) receiver: Namespace,
}

pub(crate) const DESTINATION: &str = "10.99.0.2";

impl Cable {
    pub(crate) fn new(mtu: u32) -> Self {
        let cable = Self {
            sender: Namespace::new(),
            receiver: Namespace::new(),
        };
        cable.plug(mtu);
        cable
    }

    pub(crate) fn plug(&self, mtu: u32) {
        let (sender, receiver) = (&self.sender, &self.receiver);
        sender.ip(&format!(
            "link add out0 mtu {mtu} address 02:00:00:00:00:01 type veth \
             peer name in0 mtu {mtu} address 02:00:00:00:00:02 netns {}",
            receiver.name
        ));
        // The sending end last: it then has its carrier at once.
        receiver.ip("link set in0 up");
        sender.ip("link set out0 up");
        sender.ip("addr add 10.99.0.1/24 dev out0");
        sender.ip(&format!(
            "neigh add {DESTINATION} lladdr 02:00:00:00:00:02 dev out0"
        ));
    }

    pub(crate) fn unplug(&self) {
        self.sender.ip("link del out0");
    }

    /// Sends a few packets.
    pub(crate) fn send_some(&self, packets: u64) {
        let load = Load {
            packets,
            payload: 100,
            ports: 1,
        };
        self.send(0, &load, &AtomicU64::new(0), &AtomicBool::new(false));
    }

    /// Sends `packets` datagrams over `ports` destination ports in turn, from one source port, on one CPU; counts
    /// them in `sent`. Ends early once `stop` is true.
    pub(crate) fn send(&self, cpu: usize, load: &Load, sent: &AtomicU64, stop: &AtomicBool) {
        self.sender.inside(|| {
            pin(cpu);
            let socket = shared_socket();
            let payload = vec![0; load.payload];
            let destinations: Vec<SocketAddr> = (0..load.ports)
                .map(|port| {
                    (DESTINATION, 9000 + port)
                        .to_socket_addrs()
                        .unwrap()
                        .next()
                        .unwrap()
                })
                .collect();
            let mut destinations = destinations.iter().cycle();
            for _ in 0..load.packets {
                socket.send_to(&payload, destinations.next().unwrap()).unwrap();
                sent.fetch_add(1, Ordering::Relaxed);
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
    }

    /// Waits until all of `sent` packets have come through the cable or were dropped in it, and returns how many
    /// came through: the queue to an interface with XDP is a ring, which drops when it is full.
    pub(crate) fn arrived(&self, sent: u64) -> u64 {
        loop {
            let received = self.receiver.counter("in0", "rx/packets");
            let dropped = self.sender.counter("out0", "tx/dropped");
            if received + dropped >= sent {
                return received;
            }
        }
    }
}

pub(crate) struct Load {
    pub(crate) packets: u64,
    /// Bytes of UDP payload in each.
    pub(crate) payload: usize,
    /// Flows.
    pub(crate) ports: u16,
}

/// Several senders have the same source port, so that they write the same flows.
fn shared_socket() -> UdpSocket {
    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt::ReusePort,
    };
    use std::os::fd::AsRawFd as _;
    let socket = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .unwrap();
    setsockopt(&socket, ReusePort, &true).unwrap();
    bind(socket.as_raw_fd(), &SockaddrIn::new(10, 99, 0, 1, 40000)).unwrap();
    UdpSocket::from(socket)
}
