//! Which end opened a connection, from what both ends had sent when its first interval closed.

use std::cmp::Ordering;

use flowmeter_common::{
    FlowCounters, FlowKey,
    flow::{
        protocol::TCP,
        tcp_flags::{ACK, RST, SYN},
    },
};

use super::key::{IcmpRole, Pair, Side, icmp_role};
use crate::flow::InitiatorBasis;

/// Ports that people know a service by, beside those under 1,024 that are better known than their neighbours.
/// Sorted. Only a rank for guessing: names are given elsewhere.
const COMMON_SERVICES: [u16; 63] = [
    21, 22, 23, 25, 53, 67, 80, 88, 110, 123, 135, 139, 143, 161, 389, 443, 445, 465, 514, 587, 636, 853,
    993, 995, 1194, 1433, 1521, 1723, 1812, 1883, 2049, 2181, 3128, 3268, 3306, 3389, 3478, 4500, 5060, 5061,
    5222, 5353, 5432, 5671, 5672, 5900, 5985, 5986, 6379, 6443, 6514, 8000, 8080, 8443, 8883, 9000, 9090,
    9092, 9200, 9418, 11211, 27017, 51820,
];

/// How well a port is known, the best first. Port 0 stands for "no ports".
fn port_rank(port: u16) -> u8 {
    match port {
        _ if COMMON_SERVICES.binary_search(&port).is_ok() => 0,
        1..1024 => 1,
        _ => 2,
    }
}

/// The end that opened the connection, and what tells.
///
/// `sent` is what each end sent in the first interval; at least one of them sent something.
pub(super) fn initiator(key: &FlowKey, sent: &Pair<FlowCounters>) -> (Side, InitiatorBasis) {
    match icmp_role(key) {
        // Its key already has the asking end first.
        Some(IcmpRole::Request | IcmpRole::Reply(_)) => return (Side::Source, InitiatorBasis::IcmpType),
        // Only this end can ever send: the code is no port to be ranked.
        Some(IcmpRole::OneWay) => return (Side::Source, InitiatorBasis::Time),
        None => {}
    }
    if key.protocol == TCP
        && let Some(side) = by_tcp_flags(sent)
    {
        return (side, InitiatorBasis::TcpFlags);
    }
    match port_rank(key.source_port).cmp(&port_rank(key.destination_port)) {
        Ordering::Less => return (Side::Destination, InitiatorBasis::Port),
        Ordering::Greater => return (Side::Source, InitiatorBasis::Port),
        Ordering::Equal => {}
    }
    let first_ns = |side| match sent.of(side) {
        FlowCounters { packets: 0, .. } => None,
        counters => Some(counters.first_ns),
    };
    match (first_ns(Side::Source), first_ns(Side::Destination)) {
        (Some(source), Some(destination)) if source == destination => (Side::Source, InitiatorBasis::Address),
        (Some(source), Some(destination)) if source > destination => {
            (Side::Destination, InitiatorBasis::Time)
        }
        (None, _) => (Side::Destination, InitiatorBasis::Time),
        _ => (Side::Source, InitiatorBasis::Time),
    }
}

fn by_tcp_flags(sent: &Pair<FlowCounters>) -> Option<Side> {
    let first_is = |wanted: fn(u8) -> bool| {
        only(sent, |counters| {
            counters.packets > 0 && wanted(counters.first_tcp_flags)
        })
    };
    // Every segment but the opening one and a reset carries ACK (RFC 9293 section 3.1): a first packet
    // without either opens, or probes (FIN and Xmas scans). No flags at all may mean that they are unknown.
    first_is(|flags| flags != 0 && flags & (ACK | RST) == 0)
        .or_else(|| first_is(|flags| flags & (SYN | ACK | RST) == SYN | ACK).map(Side::other))
        // Behind stragglers of the port's last use.
        .or_else(|| only(sent, |counters| counters.syn > 0))
        .or_else(|| only(sent, |counters| counters.syn_ack > 0).map(Side::other))
        // A reset that nothing in sight provoked answers a SYN that went another way.
        .or_else(|| {
            only(sent, |counters| counters.packets > 0)
                .filter(|&side| sent.of(side).first_tcp_flags & RST != 0)
                .map(Side::other)
        })
}

/// The side of which something holds, if it does not hold of the other.
fn only(sent: &Pair<FlowCounters>, holds: impl Fn(&FlowCounters) -> bool) -> Option<Side> {
    match (holds(&sent.source), holds(&sent.destination)) {
        (true, false) => Some(Side::Source),
        (false, true) => Some(Side::Destination),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use flowmeter_common::{
        KeyFlags, Sizes,
        flow::{
            protocol::{ICMP, UDP},
            tcp_flags::{FIN, PSH, URG},
        },
    };

    use super::*;

    const SIZES: Sizes = Sizes {
        packets: 1,
        l3_bytes: 40,
        wire_bytes: 60,
    };
    const SILENT: FlowCounters = FlowCounters {
        packets: 0,
        l3_bytes: 0,
        wire_bytes: 0,
        first_ns: 0,
        last_ns: 0,
        syn: 0,
        syn_ack: 0,
        fin: 0,
        rst: 0,
        tcp_flags: 0,
        first_tcp_flags: 0,
        reserved: [0; 3],
    };

    fn at(first_ns: u64, flags: u8) -> FlowCounters {
        FlowCounters::first(SIZES, flags, first_ns)
    }

    fn then(mut counters: FlowCounters, first_ns: u64, flags: u8) -> FlowCounters {
        counters.merge(&at(first_ns, flags));
        counters
    }

    #[test]
    fn common_services_are_sorted_for_the_search() {
        assert!(COMMON_SERVICES.is_sorted_by(|a, b| a < b));
    }

    #[test]
    #[rustfmt::skip]
    fn the_surest_sign_decides() {
        use InitiatorBasis::{Address, Port, TcpFlags, Time};
        use Side::{Destination, Source};
        type Case =
            (&'static str, u8, [u16; 2], FlowCounters, FlowCounters, (Side, InitiatorBasis));
        let cases: &[Case] = &[
            // TCP flags win over ports and times.
            ("SYN alone, towards the unknown port", TCP, [80, 4000], at(1, SYN), SILENT, (Source, TcpFlags)),
            ("SYN from the other end", TCP, [4000, 80], at(1, ACK), at(2, SYN), (Destination, TcpFlags)),
            ("SYN and SYN-ACK, times swapped", TCP, [4000, 80], at(2, SYN), at(1, SYN | ACK), (Source, TcpFlags)),
            ("SYN-ACK alone (backscatter)", TCP, [4000, 80], at(1, SYN | ACK), SILENT, (Destination, TcpFlags)),
            ("SYN-ACK answered by RST", TCP, [4000, 80], at(1, SYN | ACK), at(2, RST), (Destination, TcpFlags)),
            ("lone RST", TCP, [4000, 80], at(1, RST | ACK), SILENT, (Destination, TcpFlags)),
            ("RST that data provoked tells nothing", TCP, [4000, 80], at(2, RST), at(1, ACK), (Source, Port)),
            ("SYN after a straggler", TCP, [80, 4000], then(at(1, ACK), 2, SYN), SILENT, (Source, TcpFlags)),
            ("SYN-ACK after a straggler", TCP, [4000, 80], then(at(1, ACK), 2, SYN | ACK), at(3, ACK), (Destination, TcpFlags)),
            ("SYN from both falls to ports", TCP, [4000, 80], at(1, SYN), at(2, SYN), (Source, Port)),
            ("Xmas probe from port 53", TCP, [53, 4000], at(1, FIN | PSH | URG), SILENT, (Source, TcpFlags)),
            ("NULL probe falls to ports", TCP, [4000, 80], at(1, 0), SILENT, (Source, Port)),
            ("flags of UDP mean nothing", UDP, [80, 4000], at(1, SYN), SILENT, (Destination, Port)),
            // Ports.
            ("mid-stream, well-known port second", TCP, [50000, 443], at(9, ACK), at(1, ACK), (Source, Port)),
            ("mid-stream, well-known port first", TCP, [443, 50000], at(1, ACK), at(9, ACK), (Destination, Port)),
            ("common beats merely low", UDP, [1000, 2049], SILENT, at(1, 0), (Source, Port)),
            ("low beats high", UDP, [777, 40000], at(1, 0), SILENT, (Destination, Port)),
            // Times.
            ("equal ranks: the earlier", UDP, [53, 53], at(5, 0), at(4, 0), (Destination, Time)),
            ("equal ranks: the earlier, swapped", UDP, [40000, 50000], at(4, 0), at(5, 0), (Source, Time)),
            ("only the second sent, at time 0", UDP, [40000, 50000], SILENT, at(0, 0), (Destination, Time)),
            ("only the first sent", UDP, [40000, 50000], at(9, 0), SILENT, (Source, Time)),
            ("no ports at all", 47, [0, 0], at(5, 0), at(4, 0), (Destination, Time)),
            // Address.
            ("same time", UDP, [123, 123], at(4, 0), at(4, 0), (Source, Address)),
        ];
        for (name, protocol, ports, source, destination, expected) in cases {
            let key = FlowKey {
                source: [1; 16],
                destination: [2; 16],
                source_port: ports[0],
                destination_port: ports[1],
                protocol: *protocol,
                ..FlowKey::default()
            };
            let sent = Pair {
                source: *source,
                destination: *destination,
            };
            assert_eq!(initiator(&key, &sent), *expected, "{name}");
        }
    }

    #[test]
    fn icmp_is_opened_by_the_end_that_asks_even_if_only_the_reply_was_seen() {
        let mut key = FlowKey {
            source_port: 8,
            protocol: ICMP,
            ..FlowKey::default()
        };
        let reply_only = Pair {
            source: SILENT,
            destination: at(1, 0),
        };
        assert_eq!(
            initiator(&key, &reply_only),
            (Side::Source, InitiatorBasis::IcmpType)
        );
        // Port unreachable: type 3, code 3.
        (key.source_port, key.destination_port) = (3, 3);
        let sent = Pair {
            source: at(1, 0),
            destination: SILENT,
        };
        assert_eq!(initiator(&key, &sent), (Side::Source, InitiatorBasis::Time));
        key.flags = KeyFlags(KeyFlags::FRAGMENT);
        (key.source_port, key.destination_port) = (0, 0);
        assert_eq!(
            initiator(&key, &reply_only),
            (Side::Destination, InitiatorBasis::Time)
        );
    }
}
