//! What `BPF_PROG_TEST_RUN` cannot express: frames as real devices hand them to the programs. VLAN tags that the
//! kernel has taken out of the data, frames too short for an IP header, devices without a link layer. Frames are made
//! by hand, as not every kernel has VLAN and tunnel devices.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

use aya::Ebpf;
use flowmeter::{
    capture::{
        attach::{Attached, attach},
        drain::Drain,
        features::Features,
        interfaces::Interface,
        plan::plan,
    },
    config::{Capture, Mode, ObservedDirection, Tunnels},
    flow::Batch,
};
use flowmeter_common::{InterfaceCounters, KeyFlags, Link, Uncounted};
use nix::net::if_::if_nametoindex;

use crate::{
    frames::{self, Case, Expected, parsed},
    network::Namespace,
    programs,
    raw::RawSocket,
    support::root_or_skip,
};

/// The programs on one interface.
struct Meter {
    ifindex: u32,
    _ebpf: Ebpf,
    _attached: Attached,
    drain: Drain,
}

impl Meter {
    fn new(interface: &str, link: Link, mode: Mode, direction: ObservedDirection, tunnels: Tunnels) -> Self {
        let capture = Capture {
            mode,
            direction,
            tunnels,
            max_flows: 1024,
            ..Capture::default()
        };
        let (mut ebpf, mut drain) = programs::loaded(&capture);
        let interface = Interface {
            index: if_nametoindex(interface).unwrap(),
            name: interface.to_owned(),
            ethernet: link == Link::Ethernet,
            ..Interface::default()
        };
        let plan = plan(&interface, &capture, &Features::probe().unwrap(), false).unwrap();
        drain.add_interface(interface.index).unwrap();
        Self {
            ifindex: interface.index,
            _attached: attach(&mut ebpf, &interface, &plan).unwrap(),
            _ebpf: ebpf,
            drain,
        }
    }

    /// What the one frame that is on its way was counted as.
    fn counted(&mut self, direction: ObservedDirection, name: &str) -> Result<Expected, Uncounted> {
        let mut batch = Batch::default();
        let mut counters = InterfaceCounters::default();
        let patience = Instant::now() + Duration::from_secs(20);
        while counters.seen.packets == 0 {
            assert!(Instant::now() < patience, "{name} was not seen");
            batch.interfaces.clear();
            self.drain.drain(&mut batch).unwrap();
            let interface = batch
                .interfaces
                .iter()
                .find(|interface| interface.ifindex == self.ifindex);
            counters.merge(&interface.unwrap().counters);
        }
        assert_eq!(counters.seen.packets, 1);
        let Some(record) = batch.records.first() else {
            let mut reasons = Uncounted::ALL.into_iter();
            return Err(reasons.find(|&reason| counters.get(reason).packets == 1).unwrap());
        };
        assert_eq!(batch.records.len(), 1);
        let mut key = record.key;
        assert_eq!(key.ifindex, self.ifindex);
        assert_eq!(key.flags.egress(), direction == ObservedDirection::Egress);
        key.ifindex = 0;
        key.flags.0 &= !KeyFlags::EGRESS;
        Ok(Expected {
            key,
            tcp_flags: record.counters.first_tcp_flags,
            sizes: flowmeter_common::Sizes {
                packets: u32::try_from(record.counters.packets).unwrap(),
                l3_bytes: record.counters.l3_bytes,
                wire_bytes: record.counters.wire_bytes,
            },
        })
    }

    /// Puts each case on its way by `send`, and compares what it was counted as with what the parser says.
    fn compare(&mut self, cases: &[Case], direction: ObservedDirection, mut send: impl FnMut(&[u8])) {
        for case in cases {
            send(&case.frame);
            let counted = self.counted(direction, case.name);
            assert_eq!(counted, parsed(case), "{}", case.name);
        }
    }
}

/// Frames that an Ethernet device carries: with a whole header, which is the least that a socket can send.
fn ethernet_cases(inner: bool) -> Vec<Case> {
    let mut cases = frames::cases();
    cases.retain(|case| case.link == Link::Ethernet && case.frame.len() >= 14 && case.inner == inner);
    assert!(cases.len() > 30, "{}", cases.len());
    assert!(
        inner || cases.iter().any(|case| case.frame.len() < 14 + 20),
        "short frames"
    );
    cases
}

/// The packets of all cases, those inside Ethernet frames too.
fn l3_cases() -> Vec<Case> {
    let mut cases: Vec<_> = frames::cases()
        .into_iter()
        .filter(|case| !case.inner)
        .filter_map(|mut case| {
            if case.link == Link::Ethernet {
                if !matches!(case.frame.get(12..14)?, [0x08, 0x00] | [0x86, 0xdd]) {
                    return None;
                }
                case.frame.drain(..14);
                case.link = Link::Ip;
            }
            Some(case)
        })
        .collect();
    // A tun device takes no packet without a byte, and a packet socket on it none that is not IP.
    cases.retain(|case| {
        case.link == Link::Ip && matches!(case.frame.first(), Some(0x40..=0x4f | 0x60..=0x6f))
    });
    assert!(cases.len() > 30, "{}", cases.len());
    cases
}

fn on_a_veth_pair(mode: Mode, direction: ObservedDirection) {
    let host = Namespace::new();
    host.ip("link add a0 type veth peer name b0");
    // The sending end last: it then has its carrier at once.
    host.ip("link set b0 up");
    host.ip("link set a0 up");
    host.inside(|| {
        let interface = if direction == ObservedDirection::Egress {
            "a0"
        } else {
            "b0"
        };
        let raw = RawSocket::open("a0");
        for tunnels in [Tunnels::Outer, Tunnels::Inner] {
            let mut meter = Meter::new(interface, Link::Ethernet, mode, direction, tunnels);
            let mut cases = ethernet_cases(tunnels == Tunnels::Inner);
            if mode == Mode::Tc && direction == ObservedDirection::Ingress {
                // The kernel takes the first tag out of the data before the hook. Of five tags four are left, which
                // is not too deep; a frame that ends within six bytes of its tag is dropped (`skb_vlan_untag`).
                cases.retain(|case| {
                    let tagged = matches!(case.frame.get(12..14), Some([0x81, 0x00] | [0x88, 0xa8]));
                    case.name != "five tags" && !(tagged && case.frame.len() < 14 + 6)
                });
            }
            meter.compare(&cases, direction, |frame| raw.send(frame));
        }
    });
}

#[test]
fn frames_on_a_veth_pair_are_counted_as_the_parser_says_at_ingress() {
    if root_or_skip("frames_on_a_veth_pair_are_counted_as_the_parser_says_at_ingress") {
        on_a_veth_pair(Mode::Tc, ObservedDirection::Ingress);
    }
}

#[test]
fn frames_on_a_veth_pair_are_counted_as_the_parser_says_at_egress() {
    if root_or_skip("frames_on_a_veth_pair_are_counted_as_the_parser_says_at_egress") {
        on_a_veth_pair(Mode::Tc, ObservedDirection::Egress);
    }
}

#[test]
fn frames_on_a_veth_pair_are_counted_as_the_parser_says_by_xdp() {
    if root_or_skip("frames_on_a_veth_pair_are_counted_as_the_parser_says_by_xdp") {
        on_a_veth_pair(Mode::Xdp, ObservedDirection::Ingress);
    }
}

#[repr(C)]
struct InterfaceRequest {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    /// Of a union that is as large as this.
    rest: [u8; 22],
}

nix::ioctl_write_ptr_bad!(
    tun_set_interface,
    nix::request_code_write!(b'T', 202, size_of::<libc::c_int>()),
    InterfaceRequest
);

/// A tun device, there as long as the file is open. What is written to it enters the host.
fn tun() -> File {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .unwrap();
    let mut request = InterfaceRequest {
        name: [0; libc::IFNAMSIZ],
        flags: libc::c_short::try_from(libc::IFF_TUN).unwrap(),
        rest: [0; 22],
    };
    request.name[..4].copy_from_slice(b"tun0");
    // SAFETY: the descriptor is open, and the request is a whole `struct ifreq`, which the call reads and writes.
    unsafe { tun_set_interface(file.as_raw_fd(), &raw const request) }.unwrap();
    file
}

#[test]
fn a_device_without_link_layer_is_metered_in_both_directions() {
    if !root_or_skip("a_device_without_link_layer_is_metered_in_both_directions") {
        return;
    }
    let host = Namespace::new();
    let (mode, link) = (Mode::Tc, Link::Ip);
    host.inside(|| {
        let mut device = tun();
        host.ip("link set tun0 up");
        let direction = ObservedDirection::Ingress;
        let mut meter = Meter::new("tun0", link, mode, direction, Tunnels::Outer);
        meter.compare(&l3_cases(), direction, |packet| {
            // The header that tun(4) wants: flags and the EtherType.
            let ethertype = if packet[0] >> 4 == 4 { 0x0800_u16 } else { 0x86dd };
            let mut framed = vec![0, 0];
            framed.extend(ethertype.to_be_bytes());
            framed.extend(packet);
            device.write_all(&framed).unwrap();
        });
        drop(meter);
        let direction = ObservedDirection::Egress;
        let raw = RawSocket::open("tun0");
        let mut meter = Meter::new("tun0", link, mode, direction, Tunnels::Outer);
        meter.compare(&l3_cases(), direction, |packet| raw.send(packet));
    });
}
