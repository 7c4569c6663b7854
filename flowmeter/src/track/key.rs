//! One key for both directions.

use flowmeter_common::{
    FlowKey, KeyFlags,
    flow::protocol::{ICMP, ICMPV6, TCP},
};

use crate::flow::{Endpoint, ip_address};

/// A flow key with its ends in order, so that both directions give the same.
///
/// For ICMP the ports of the ends are the types that they send, where request and reply are a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ConnectionKey {
    low: ([u8; 16], u16),
    high: ([u8; 16], u16),
    pub(super) ifindex: u32,
    pub(super) tunnel_id: u32,
    pub(super) vlan_id: u16,
    /// ICMP only, where the type has no counterpart; such flows have one direction.
    code: u16,
    pub(super) protocol: u8,
    /// Without the egress bit: the two directions of a connection pass an interface in opposite ones.
    pub(super) flags: KeyFlags,
}

impl ConnectionKey {
    /// The key, and which end (0 low, 1 high) sent what `flow` counts.
    pub(super) fn of(flow: &FlowKey) -> (Self, usize) {
        let (source_port, destination_port, code) = match icmp_ports(flow) {
            Some(ports) => ports,
            None => (flow.source_port, flow.destination_port, 0),
        };
        let source = (flow.source, source_port);
        let destination = (flow.destination, destination_port);
        let (low, high, end) = if source <= destination {
            (source, destination, 0)
        } else {
            (destination, source, 1)
        };
        let key = Self {
            low,
            high,
            ifindex: flow.ifindex,
            tunnel_id: flow.tunnel_id,
            vlan_id: flow.vlan_id,
            code,
            protocol: flow.protocol,
            flags: KeyFlags(flow.flags.0 & !KeyFlags::EGRESS),
        };
        (key, end)
    }

    pub(super) const fn is_tcp(&self) -> bool {
        self.protocol == TCP && !self.flags.fragment()
    }

    pub(super) const fn is_icmp(&self) -> bool {
        matches!(self.protocol, ICMP | ICMPV6) && !self.flags.fragment()
    }

    /// Ports of the low and the high end.
    pub(super) const fn ports(&self) -> [u16; 2] {
        [self.low.1, self.high.1]
    }

    /// Initiator and responder, with `opener` the end that is the initiator.
    pub(super) fn endpoints(&self, opener: usize) -> (Endpoint, Endpoint) {
        let endpoint = |(address, port): ([u8; 16], u16)| Endpoint {
            ip: ip_address(address, self.flags.ipv6()),
            port,
        };
        let (initiator, responder) = if opener == 0 {
            (self.low, self.high)
        } else {
            (self.high, self.low)
        };
        let mut responder = endpoint(responder);
        if self.is_icmp() {
            responder.port = self.code;
        }
        (endpoint(initiator), responder)
    }

    /// FNV-1a over key and start: stable over runs and machines.
    pub(super) fn id(&self, start_ns: u64) -> u64 {
        let ports = [self.low.1, self.high.1, self.vlan_id, self.code].map(u16::to_be_bytes);
        let words = [self.ifindex, self.tunnel_id].map(u32::to_be_bytes);
        [self.protocol, self.flags.0]
            .iter()
            .chain(&self.low.0)
            .chain(&self.high.0)
            .chain(ports.as_flattened())
            .chain(words.as_flattened())
            .chain(&start_ns.to_be_bytes())
            .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            })
    }
}

/// The types of request and reply (as Community ID v1 pairs them), source's first; the code is kept apart.
/// A type without a counterpart stands at the source's end.
fn icmp_ports(flow: &FlowKey) -> Option<(u16, u16, u16)> {
    let pairs: &[(u16, u16)] = match flow.protocol {
        ICMP => &[(8, 0), (13, 14), (15, 16), (17, 18), (10, 9)],
        ICMPV6 => &[
            (128, 129),
            (130, 131),
            (133, 134),
            (135, 136),
            (139, 140),
            (144, 145),
        ],
        _ => return None,
    };
    if flow.flags.fragment() {
        return None;
    }
    let kind = flow.source_port;
    let counterpart = pairs.iter().find_map(|&(request, reply)| {
        if kind == request {
            Some(reply)
        } else if kind == reply {
            Some(request)
        } else {
            None
        }
    });
    Some((kind, counterpart.unwrap_or(NO_COUNTERPART), flow.destination_port))
}

/// True for an ICMP type that opens an exchange.
pub(super) fn is_request(protocol: u8, kind: u16) -> bool {
    match protocol {
        ICMP => matches!(kind, 8 | 13 | 15 | 17 | 10),
        _ => matches!(kind, 128 | 130 | 133 | 135 | 139 | 144),
    }
}

/// Stands for the other end's type where there is none.
pub(super) const NO_COUNTERPART: u16 = u16::MAX;
