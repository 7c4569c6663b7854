//! Inside and outside: which way a connection crosses the perimeter.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

/// Which ends of a connection are inside, the initiator's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    InternalToInternal,
    InternalToExternal,
    ExternalToInternal,
    ExternalToExternal,
}

impl Direction {
    pub const ALL: [Self; 4] = [
        Self::InternalToInternal,
        Self::InternalToExternal,
        Self::ExternalToInternal,
        Self::ExternalToExternal,
    ];

    const fn new(initiator_inside: bool, responder_inside: bool) -> Self {
        match (initiator_inside, responder_inside) {
            (true, true) => Self::InternalToInternal,
            (true, false) => Self::InternalToExternal,
            (false, true) => Self::ExternalToInternal,
            (false, false) => Self::ExternalToExternal,
        }
    }

    /// The name that stands in events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InternalToInternal => "internal_to_internal",
            Self::InternalToExternal => "internal_to_external",
            Self::ExternalToInternal => "external_to_internal",
            Self::ExternalToExternal => "external_to_external",
        }
    }

    /// The value of ECS `network.direction`, seen from the perimeter.
    pub const fn ecs_name(self) -> &'static str {
        match self {
            Self::InternalToInternal => "internal",
            Self::InternalToExternal => "outbound",
            Self::ExternalToInternal => "inbound",
            Self::ExternalToExternal => "external",
        }
    }
}

/// How many hosts an address stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cast {
    Unicast,
    Multicast,
    Broadcast,
}

impl Cast {
    pub const ALL: [Self; 3] = [Self::Unicast, Self::Multicast, Self::Broadcast];

    /// The name that stands in events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unicast => "unicast",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
        }
    }
}

/// The networks that count as inside.
///
/// Prefixes are merged into sorted, disjoint ranges, so a lookup is one binary search however many
/// overlapping prefixes are configured.
#[derive(Debug, Default)]
pub struct Networks {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
    /// Last addresses of the configured IPv4 networks that have one for broadcast, sorted.
    directed_broadcast: Vec<Ipv4Addr>,
}

impl Networks {
    pub fn new(internal: &[IpNet]) -> Self {
        let mut networks = Self::default();
        for net in internal {
            match net {
                IpNet::V4(net) => {
                    networks
                        .v4
                        .push((net.network().to_bits(), net.broadcast().to_bits()));
                    // A /31 has two hosts and no broadcast address (RFC 3021), a /32 is one host.
                    if net.prefix_len() <= 30 {
                        networks.directed_broadcast.push(net.broadcast());
                    }
                }
                IpNet::V6(net) => networks
                    .v6
                    .push((net.network().to_bits(), net.broadcast().to_bits())),
            }
        }
        networks.v4 = merged(networks.v4);
        networks.v6 = merged(networks.v6);
        networks.directed_broadcast.sort_unstable();
        networks
    }

    /// True for an address in one of the configured networks.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => in_ranges(&self.v4, ip.to_bits()),
            IpAddr::V6(ip) => in_ranges(&self.v6, ip.to_bits()),
        }
    }

    pub fn direction(&self, initiator: IpAddr, responder: IpAddr) -> Direction {
        let inside = |ip| self.contains(ip) || stays_inside(ip);
        Direction::new(inside(initiator), inside(responder))
    }

    pub fn cast(&self, ip: IpAddr) -> Cast {
        match ip {
            _ if ip.is_multicast() => Cast::Multicast,
            IpAddr::V4(ip) if ip.is_broadcast() || self.directed_broadcast.binary_search(&ip).is_ok() => {
                Cast::Broadcast
            }
            _ => Cast::Unicast,
        }
    }
}

/// Addresses that no router carries across a perimeter, whatever is configured: unspecified (a DHCP
/// client's source), loopback, the limited broadcast, and multicast of local or administrative scope.
/// Without this every mDNS query would look like outbound traffic.
fn stays_inside(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [first, second, third, _] = ip.octets();
            ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_broadcast()
                // Local network control block (RFC 5771 section 4), administratively scoped (RFC 2365).
                || (first, second, third) == (224, 0, 0)
                || first == 239
        }
        IpAddr::V6(ip) => {
            // RFC 7346: scopes up to organization-local (8); 0xe is global.
            let [first, scope, ..] = ip.octets();
            ip.is_unspecified() || ip.is_loopback() || (first == 0xff && scope & 0x0f <= 8)
        }
    }
}

/// Sorts inclusive ranges and joins those that overlap or are contained in another.
fn merged<T: Ord + Copy>(mut ranges: Vec<(T, T)>) -> Vec<(T, T)> {
    ranges.sort_unstable();
    let mut out: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (start, end) in ranges {
        match out.last_mut() {
            Some((_, last_end)) if start <= *last_end => *last_end = end.max(*last_end),
            _ => out.push((start, end)),
        }
    }
    out
}

fn in_ranges<T: Ord + Copy>(ranges: &[(T, T)], value: T) -> bool {
    let after = ranges.partition_point(|&(start, _)| start <= value);
    ranges
        .get(..after)
        .and_then(<[_]>::last)
        .is_some_and(|&(_, end)| value <= end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Config;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn default_networks() -> Networks {
        Networks::new(&Config::default().networks.internal)
    }

    #[test]
    fn each_combination_of_inside_and_outside_has_its_direction() {
        let networks = default_networks();
        let (a, b, out) = (ip("192.168.56.10"), ip("10.1.2.3"), ip("203.0.113.99"));
        for (from, to, name, ecs) in [
            (a, b, "internal_to_internal", "internal"),
            (a, out, "internal_to_external", "outbound"),
            (out, a, "external_to_internal", "inbound"),
            (out, ip("8.8.8.8"), "external_to_external", "external"),
            (ip("fd00::1"), ip("fe80::1"), "internal_to_internal", "internal"),
            (
                ip("fd00::1"),
                ip("2001:db8::1"),
                "internal_to_external",
                "outbound",
            ),
        ] {
            let direction = networks.direction(from, to);
            assert_eq!(
                (direction.name(), direction.ecs_name()),
                (name, ecs),
                "{from} to {to}"
            );
        }
    }

    #[test]
    fn what_no_router_forwards_is_inside() {
        let networks = default_networks();
        let host = ip("192.168.56.10");
        for (to, inside) in [
            ("255.255.255.255", true),
            ("224.0.0.251", true),
            ("239.255.255.250", true),
            ("ff02::fb", true),
            ("ff05::1:3", true),
            ("224.0.1.1", false),
            ("232.1.1.1", false),
            ("ff0e::101", false),
        ] {
            let direction = networks.direction(host, ip(to));
            assert_eq!(direction == Direction::InternalToInternal, inside, "{to}");
        }
        let dhcp = networks.direction(ip("0.0.0.0"), ip("255.255.255.255"));
        assert_eq!(dhcp, Direction::InternalToInternal);
    }

    #[test]
    fn multicast_and_broadcast_are_told_from_unicast() {
        let networks = Networks::new(&[
            "192.168.56.0/24".parse().unwrap(),
            "10.0.0.4/31".parse().unwrap(),
            "10.0.0.9/32".parse().unwrap(),
        ]);
        for (address, cast) in [
            ("224.0.0.1", "multicast"),
            ("ff02::1", "multicast"),
            ("255.255.255.255", "broadcast"),
            ("192.168.56.255", "broadcast"),
            ("192.168.57.255", "unicast"),
            ("10.0.0.5", "unicast"),
            ("10.0.0.9", "unicast"),
            ("2001:db8::ffff", "unicast"),
        ] {
            assert_eq!(networks.cast(ip(address)).name(), cast, "{address}");
        }
    }

    proptest! {
        #[test]
        fn lookup_agrees_with_asking_every_prefix(
            prefixes in proptest::collection::vec((any::<[u8; 2]>(), 0u8..=32), 0..12),
            probes in proptest::collection::vec(any::<[u8; 4]>(), 32),
        ) {
            // Few first octets, so that prefixes nest and touch.
            let nets: Vec<IpNet> = prefixes
                .iter()
                .map(|([a, b], length)| IpNet::new(IpAddr::from([a & 3, *b, 0, 0]), *length).unwrap())
                .collect();
            let networks = Networks::new(&nets);
            let edges = nets.iter().flat_map(|net| [net.network(), net.broadcast()]);
            for probe in probes.iter().map(|[a, b, c, d]| IpAddr::from([a & 3, *b, *c, *d])).chain(edges) {
                let expected = nets.iter().any(|net| net.contains(&probe));
                prop_assert_eq!(networks.contains(probe), expected, "{}", probe);
            }
        }
    }
}
