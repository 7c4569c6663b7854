//! A slice as the engine looks at it.

use std::net::IpAddr;

use flowmeter_common::flow::{protocol, tcp_flags};

use super::{Contact, RETRY_NS, Sum, kept::direction};
use crate::{
    detect::{sketch::hash, table::Key as _},
    enrich::Direction,
    flow::{EndReason, Endpoint, InitiatorBasis, Outcome, Slice},
};

/// A slice, cut down to what is needed here.
#[derive(Clone, Copy, Debug)]
pub(in crate::detect) struct Seen {
    /// When what is new in it began.
    pub(in crate::detect) time_ns: u64,
    pub(super) contact: u64,
    pub(super) reverse: u64,
    pub(in crate::detect) source: IpAddr,
    pub(in crate::detect) target: IpAddr,
    pub(super) source_port: u16,
    pub(in crate::detect) port: u16,
    pub(in crate::detect) protocol: u8,
    pub(super) direction: u8,
    pub(super) unicast: bool,
    pub(super) basis: InitiatorBasis,
    pub(super) outcome: Outcome,
    pub(super) ifindex: u32,
    pub(super) start_ns: u64,
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
    pub(super) sent: Sum,
    pub(super) received: Sum,
    pub(super) sent_flags: u8,
    pub(super) received_flags: u8,
    pub(super) first_flags: u8,
    pub(super) end: Option<EndReason>,
}

impl Seen {
    pub(in crate::detect) fn new(slice: &Slice, direction: Direction, unicast: bool) -> Self {
        let (forward, reverse) = (&slice.forward, &slice.reverse);
        let flags = |flags: u32| u8::try_from(flags & 0xff).unwrap_or(0);
        let (a, b) = (&slice.initiator, &slice.responder);
        let (source_port, port) = match slice.protocol {
            protocol::ICMP | protocol::ICMPV6 => (0, slice.initiator.port),
            _ => (slice.initiator.port, slice.responder.port),
        };
        Self {
            time_ns: time_ns(slice),
            contact: key(slice.protocol, a, b),
            // Asked for only where the initiator was guessed.
            reverse: if slice.basis > InitiatorBasis::IcmpType {
                key(slice.protocol, b, a)
            } else {
                0
            },
            source: slice.initiator.ip,
            target: slice.responder.ip,
            source_port,
            port,
            protocol: slice.protocol,
            direction: match direction {
                Direction::InternalToInternal => 0,
                Direction::InternalToExternal => 1,
                Direction::ExternalToInternal => 2,
                Direction::ExternalToExternal => 3,
            },
            unicast: unicast
                && is_host(slice.responder.ip)
                && is_host(slice.initiator.ip)
                && slice.initiator.ip != slice.responder.ip,
            basis: slice.basis,
            outcome: slice.outcome,
            ifindex: slice.ifindex,
            start_ns: slice.start_ns,
            first_ns: first_ns(slice),
            last_ns: slice.last_ns,
            sent: Sum {
                packets: forward.packets,
                bytes: forward.l3_bytes,
            },
            received: Sum {
                packets: reverse.packets,
                bytes: reverse.l3_bytes,
            },
            sent_flags: flags(forward.tcp_flags),
            received_flags: flags(reverse.tcp_flags),
            first_flags: forward.first_tcp_flags,
            end: slice.end,
        }
    }
}

/// When what is new in a slice began.
pub(in crate::detect) fn time_ns(slice: &Slice) -> u64 {
    first_ns(slice).max(slice.start_ns)
}

/// The order in which slices of the same time are gone through, whatever order they came in.
pub(in crate::detect) fn order(slice: &Slice) -> (u64, u32, u64, bool) {
    (slice.id, slice.ifindex, slice.last_ns, slice.end.is_some())
}

/// Its first packet, or the connection's last if it has none.
fn first_ns(slice: &Slice) -> u64 {
    [&slice.forward, &slice.reverse]
        .into_iter()
        .filter(|counters| counters.packets > 0)
        .map(|counters| counters.first_ns)
        .min()
        .unwrap_or(slice.last_ns)
}

/// What connections are known by.
fn key(protocol: u8, a: &Endpoint, b: &Endpoint) -> u64 {
    let ports = u64::from(protocol) << 32 | u64::from(a.port) << 16 | u64::from(b.port);
    hash(0, &(ports, a.ip.packed(), b.ip.packed()))
}

/// An address that stands for a host that somebody can reach.
pub(in crate::detect) fn is_host(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            !(ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_broadcast()
                || ip.is_multicast())
        }
        IpAddr::V6(ip) => {
            !(ip.is_unspecified() || ip.is_loopback() || ip.is_unicast_link_local() || ip.is_multicast())
        }
    }
}

impl Seen {
    pub(in crate::detect) fn direction(&self) -> Direction {
        direction(self.direction)
    }

    /// Its connection's first.
    pub(in crate::detect) fn begins(&self) -> bool {
        self.first_ns == self.start_ns && self.traffic()
    }

    /// It carried something, and does not only tell an end.
    pub(super) fn traffic(&self) -> bool {
        self.sent.packets + self.received.packets > 0
    }

    /// A connection on the same ports is the same one, or a retry of it.
    pub(super) fn goes_on_with(&self, contact: &Contact) -> bool {
        self.start_ns <= contact.last_ns.saturating_add(RETRY_NS)
    }

    /// A TCP handshake's start is in sight, or what stands in its place in a scan; or flags are unknown.
    pub(super) fn opens(&self) -> bool {
        let both = self.sent_flags | self.received_flags;
        both & tcp_flags::SYN != 0 || self.first_flags & tcp_flags::ACK == 0
    }
}
