//! Which connection a flow key belongs to, and from which end of it the packets came.

use std::mem;

use bytemuck::bytes_of;
use flowmeter_common::{
    FlowKey, KeyFlags,
    flow::protocol::{ICMP, ICMPV6},
};

/// One end of a connection's key. For ICMP the source is the end that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
}

impl Side {
    pub(super) const BOTH: [Self; 2] = [Self::Source, Self::Destination];

    pub(super) const fn other(self) -> Self {
        match self {
            Self::Source => Self::Destination,
            Self::Destination => Self::Source,
        }
    }
}

/// One value for each end of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pair<T> {
    pub source: T,
    pub destination: T,
}

impl<T> Pair<T> {
    pub(super) const fn of(&self, side: Side) -> &T {
        match side {
            Side::Source => &self.source,
            Side::Destination => &self.destination,
        }
    }

    pub(super) const fn of_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Source => &mut self.source,
            Side::Destination => &mut self.destination,
        }
    }
}

/// What an ICMP type says about who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IcmpRole {
    Request,
    /// The answer to the request type inside.
    Reply(u16),
    /// Answered by no type of its own: errors, redirects and the like.
    OneWay,
}

/// None if the key is not ICMP's. A fragment after the first has no type: its zero is not an echo reply.
pub(super) fn icmp_role(key: &FlowKey) -> Option<IcmpRole> {
    if key.flags.fragment() {
        return None;
    }
    // The pairs of Community ID v1, so that a connection has one Community ID.
    let pairs: &[(u16, u16)] = match key.protocol {
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
    let role = pairs.iter().find_map(|&(request, reply)| match key.source_port {
        kind if kind == request => Some(IcmpRole::Request),
        kind if kind == reply => Some(IcmpRole::Reply(request)),
        _ => None,
    });
    Some(role.unwrap_or(IcmpRole::OneWay))
}

/// The key that both directions share, and the end of it that sent.
///
/// The lower address and port stand first; for ICMP the end that asks, with the request's type and the code.
/// The egress bit is cleared: the two directions of a connection cross an interface in opposite ways.
pub(super) fn connection_key(key: &FlowKey) -> (FlowKey, Side) {
    let mut shared = FlowKey {
        flags: KeyFlags(key.flags.0 & !KeyFlags::EGRESS),
        ..*key
    };
    let side = match icmp_role(key) {
        Some(IcmpRole::Request | IcmpRole::OneWay) => Side::Source,
        Some(IcmpRole::Reply(request)) => {
            shared.source_port = request;
            mem::swap(&mut shared.source, &mut shared.destination);
            Side::Destination
        }
        None if (key.source, key.source_port) <= (key.destination, key.destination_port) => Side::Source,
        None => {
            mem::swap(&mut shared.source, &mut shared.destination);
            mem::swap(&mut shared.source_port, &mut shared.destination_port);
            Side::Destination
        }
    };
    (shared, side)
}

/// The connection's identity from its key and start: the same on every run.
pub(super) fn connection_id(key: &FlowKey, start_ns: u64) -> u64 {
    // As MurmurHash3 ends: xor, multiply and shift, a word at a time; FNV-1a's bytes take five times as long.
    let mix = |hash: u64, word: u64| {
        let hash = (hash ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^ hash >> 32
    };
    let (words, _) = bytes_of(key).as_chunks();
    let hash = words
        .iter()
        .fold(start_ns, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    mix(hash, 0)
}

#[cfg(test)]
mod tests {
    use flowmeter_common::{Tunnel, flow::protocol::TCP};

    use super::*;

    fn key(protocol: u8, ends: [u8; 2], ports: [u16; 2]) -> FlowKey {
        FlowKey {
            source: [ends[0]; 16],
            destination: [ends[1]; 16],
            source_port: ports[0],
            destination_port: ports[1],
            protocol,
            ..FlowKey::default()
        }
    }

    #[test]
    fn both_directions_share_a_key_whatever_way_they_cross_the_interface() {
        let mut reply = key(TCP, [1, 2], [80, 4000]);
        reply.flags = KeyFlags(KeyFlags::EGRESS);
        let request = key(TCP, [2, 1], [4000, 80]);
        assert_eq!(
            connection_key(&reply),
            (reply_without_egress(&reply), Side::Source)
        );
        assert_eq!(
            connection_key(&request),
            (reply_without_egress(&reply), Side::Destination)
        );
    }

    fn reply_without_egress(key: &FlowKey) -> FlowKey {
        FlowKey {
            flags: KeyFlags(0),
            ..*key
        }
    }

    #[test]
    fn equal_addresses_are_ordered_by_port() {
        let low = key(TCP, [1, 1], [80, 4000]);
        let high = key(TCP, [1, 1], [4000, 80]);
        assert_eq!(connection_key(&low), (low, Side::Source));
        assert_eq!(connection_key(&high), (low, Side::Destination));
    }

    #[test]
    fn all_that_tells_observation_points_apart_tells_connections_apart() {
        let base = key(TCP, [1, 2], [4000, 80]);
        let others = [
            FlowKey { ifindex: 7, ..base },
            FlowKey { vlan_id: 7, ..base },
            FlowKey { tunnel_id: 7, ..base },
            FlowKey { protocol: 17, ..base },
            FlowKey {
                flags: KeyFlags(KeyFlags::FRAGMENT),
                ..base
            },
            FlowKey {
                flags: KeyFlags(KeyFlags::IPV6),
                ..base
            },
            FlowKey {
                flags: KeyFlags(0).with_tunnel(Tunnel::Vxlan),
                ..base
            },
        ];
        for other in others {
            assert_ne!(connection_key(&other).0, connection_key(&base).0, "{other:?}");
            assert_ne!(connection_id(&other, 5), connection_id(&base, 5), "{other:?}");
        }
    }

    #[test]
    fn icmp_requests_and_replies_pair_up_as_in_community_id() {
        let cases: &[(u8, &[(u16, u16)])] = &[
            (ICMP, &[(8, 0), (13, 14), (15, 16), (17, 18), (10, 9)]),
            (
                ICMPV6,
                &[
                    (128, 129),
                    (130, 131),
                    (133, 134),
                    (135, 136),
                    (139, 140),
                    (144, 145),
                ],
            ),
        ];
        for &(protocol, pairs) in cases {
            for &(request, reply) in pairs {
                // The asking end has the higher address: addresses must not decide.
                let asked = key(protocol, [2, 1], [request, 0]);
                let answered = key(protocol, [1, 2], [reply, 0]);
                assert_eq!(connection_key(&asked), (asked, Side::Source));
                assert_eq!(connection_key(&answered), (asked, Side::Destination));
                // The other end asking is another connection, as it is another Community ID.
                let asked_back = key(protocol, [1, 2], [request, 0]);
                assert_ne!(connection_key(&asked_back).0, asked);
            }
        }
    }

    #[test]
    fn other_icmp_types_stay_one_way() {
        for (there, back) in [
            (key(ICMP, [2, 1], [3, 1]), key(ICMP, [1, 2], [3, 1])),
            // Echo of ICMPv6 is no echo of ICMP.
            (key(ICMP, [2, 1], [128, 0]), key(ICMP, [1, 2], [129, 0])),
        ] {
            assert_eq!(connection_key(&there), (there, Side::Source));
            assert_eq!(connection_key(&back), (back, Side::Source));
        }
    }

    #[test]
    fn a_fragment_of_icmp_is_no_echo_reply() {
        let mut there = key(ICMP, [1, 2], [0, 0]);
        there.flags = KeyFlags(KeyFlags::FRAGMENT);
        let back = FlowKey {
            source: there.destination,
            destination: there.source,
            ..there
        };
        assert_eq!(icmp_role(&there), None);
        assert_eq!(connection_key(&there), (there, Side::Source));
        assert_eq!(connection_key(&back), (there, Side::Destination));
    }

    #[test]
    fn the_id_is_the_same_on_every_run_and_changes_with_the_start() {
        let base = key(TCP, [1, 2], [4000, 80]);
        assert_eq!(connection_id(&base, 5), 8_605_772_911_252_822_205);
        assert_ne!(connection_id(&base, 5), connection_id(&base, 6));
    }
}
