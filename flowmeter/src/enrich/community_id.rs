//! Community ID, version 1: the identifier under which Zeek, Suricata, Arkime and others know the same flow
//! (<https://github.com/corelight/community-id-spec>).

use std::net::IpAddr;

use flowmeter_common::flow::protocol;
use serde::{Serialize, Serializer};
use sha1::digest::generic_array::GenericArray;

use crate::flow::Endpoint;

/// `1:` and the base64 of a SHA-1.
pub const LENGTH: usize = 2 + 28;
const SEED: [u8; 2] = [0, 0];

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CommunityId([u8; LENGTH]);

impl CommunityId {
    /// The same for both orders of the ends. For ICMP and ICMPv6 `initiator.port` is the type and
    /// `responder.port` the code, as in a slice.
    pub fn new(protocol: u8, initiator: Endpoint, responder: Endpoint) -> Self {
        let (first, second) = ordered(protocol, initiator, responder);
        let mut message = Message::default();
        message.append(SEED);
        message.append_address(first.ip);
        message.append_address(second.ip);
        message.append([protocol, 0]);
        if has_ports(protocol) {
            message.append(first.port.to_be_bytes());
            message.append(second.port.to_be_bytes());
        }
        Self(encoded(message.sha1()))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The same; all of it is ASCII.
    pub const fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

impl std::fmt::Debug for CommunityId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for CommunityId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The protocols whose ports are part of the identifier; all others count by address and number alone.
const fn has_ports(protocol: u8) -> bool {
    matches!(
        protocol,
        protocol::TCP | protocol::UDP | protocol::SCTP | protocol::ICMP | protocol::ICMPV6
    )
}

/// The ends in the order in which they are hashed: the smaller address, then the smaller port first.
fn ordered(protocol: u8, mut initiator: Endpoint, mut responder: Endpoint) -> (Endpoint, Endpoint) {
    let counterpart = match protocol {
        protocol::ICMP => icmp_counterpart(initiator.port),
        protocol::ICMPV6 => icmpv6_counterpart(initiator.port),
        _ if has_ports(protocol) => Some(responder.port),
        _ => {
            (initiator.port, responder.port) = (0, 0);
            Some(0)
        }
    };
    // An ICMP message that has no counterpart is a flow of its own, in the order that it was sent.
    let Some(counterpart) = counterpart else {
        return (initiator, responder);
    };
    responder.port = counterpart;
    if (initiator.ip, initiator.port) <= (responder.ip, responder.port) {
        (initiator, responder)
    } else {
        (responder, initiator)
    }
}

/// The answer to a request and the reverse, as Zeek pairs them (and the specification after it).
const fn icmp_counterpart(kind: u16) -> Option<u16> {
    Some(match kind {
        0 => 8,
        8 => 0,
        9 => 10,
        10 => 9,
        13 => 14,
        14 => 13,
        15 => 16,
        16 => 15,
        17 => 18,
        18 => 17,
        _ => return None,
    })
}

const fn icmpv6_counterpart(kind: u16) -> Option<u16> {
    Some(match kind {
        128 => 129,
        129 => 128,
        130 => 131,
        131 => 130,
        133 => 134,
        134 => 133,
        135 => 136,
        136 => 135,
        139 => 140,
        140 => 139,
        144 => 145,
        145 => 144,
        _ => return None,
    })
}

/// What is hashed: 40 bytes at most, so that with its end it is one block of SHA-1.
#[derive(Default)]
struct Message {
    block: GenericArray<u8, sha1::digest::consts::U64>,
    length: usize,
}

impl Message {
    #[inline(always)]
    fn append<const N: usize>(&mut self, bytes: [u8; N]) {
        if let Some(place) = self
            .block
            .get_mut(self.length..)
            .and_then(<[u8]>::first_chunk_mut)
        {
            *place = bytes;
            self.length += N;
        }
    }

    #[inline(always)]
    fn append_address(&mut self, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) => self.append(ip.octets()),
            IpAddr::V6(ip) => self.append(ip.octets()),
        }
    }

    /// The end is a bit, and in the last eight bytes the length in bits (FIPS 180-4, section 5.1.1).
    #[inline(always)]
    fn sha1(mut self) -> [u32; 5] {
        let bits = 8 * self.length as u64;
        self.append([0x80]);
        if let Some(end) = self.block.last_chunk_mut() {
            *end = bits.to_be_bytes();
        }
        // FIPS 180-4, section 5.3.1.
        let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
        sha1::compress(&mut state, &[self.block]);
        state
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Version and base64 of a hash.
#[inline(always)]
fn encoded([a, b, c, d, e]: [u32; 5]) -> [u8; LENGTH] {
    let mut text = *b"1:###########################=";
    // Ten digits of six bits in each 60, which begin where the ones before have ended.
    let [a, b, c, d, e] = [a, b, c, d, e].map(u64::from);
    let parts = [
        a << 28 | b >> 4,
        (b & 0xf) << 56 | c << 24 | d >> 8,
        (d & 0xff) << 52 | e << 20,
    ];
    let digits = text.get_mut(2..LENGTH - 1).unwrap_or_default();
    for (digits, part) in digits.chunks_mut(10).zip(parts) {
        for (at, digit) in digits.iter_mut().enumerate() {
            let [value, ..] = (part >> (54 - 6 * at) & 63).to_le_bytes();
            *digit = BASE64.get(usize::from(value)).copied().unwrap_or_default();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(protocol: u8, from: (&str, u16), to: (&str, u16)) -> String {
        let end = |(ip, port): (&str, u16)| Endpoint {
            ip: ip.parse().unwrap(),
            port,
        };
        CommunityId::new(protocol, end(from), end(to)).as_str().to_owned()
    }

    /// `baseline/baseline_deflt.json` of corelight/community-id-spec and the unit tests of
    /// corelight/pycommunityid. For ICMP the "ports" are type and code.
    #[test]
    fn published_vectors() {
        let vectors = [
            (
                6,
                ("128.232.110.120", 34855),
                ("66.35.250.204", 80),
                "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
            ),
            (
                6,
                ("66.35.250.204", 80),
                ("128.232.110.120", 34855),
                "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
            ),
            (
                6,
                ("10.0.0.1", 10),
                ("10.0.0.2", 11569),
                "1:SXBGMX1lBOwhhoDrZynfROxnhnM=",
            ),
            (
                6,
                ("2001:470:e5bf:dead:4957:2174:e82c:4887", 63943),
                ("2607:f8b0:400c:c03::1a", 25),
                "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=",
            ),
            (
                6,
                ("2607:f8b0:400c:c03::1a", 25),
                ("2001:470:e5bf:dead:4957:2174:e82c:4887", 63943),
                "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=",
            ),
            (
                17,
                ("192.168.1.52", 54585),
                ("8.8.8.8", 53),
                "1:d/FP5EW3wiY1vCndhwleRRKHowQ=",
            ),
            (
                17,
                ("8.8.8.8", 53),
                ("192.168.1.52", 54585),
                "1:d/FP5EW3wiY1vCndhwleRRKHowQ=",
            ),
            (
                132,
                ("192.168.170.8", 7),
                ("192.168.170.56", 7),
                "1:MP2EtRCAUIZvTw6MxJHLV7N7JDs=",
            ),
            (
                132,
                ("192.168.170.56", 7),
                ("192.168.170.8", 7),
                "1:MP2EtRCAUIZvTw6MxJHLV7N7JDs=",
            ),
            (
                132,
                ("192.168.170.8", 7),
                ("192.168.170.56", 80),
                "1:jQgCxbku+pNGw8WPbEc/TS/uTpQ=",
            ),
            (
                132,
                ("192.168.170.56", 80),
                ("192.168.170.8", 7),
                "1:jQgCxbku+pNGw8WPbEc/TS/uTpQ=",
            ),
            (
                1,
                ("192.168.0.89", 8),
                ("192.168.0.1", 0),
                "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=",
            ),
            (
                1,
                ("192.168.0.1", 0),
                ("192.168.0.89", 8),
                "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=",
            ),
            (
                1,
                ("192.168.0.1", 0),
                ("192.168.0.89", 20),
                "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=",
            ),
            (
                1,
                ("192.168.0.89", 20),
                ("192.168.0.1", 0),
                "1:3o2RFccXzUgjl7zDpqmY7yJi8rI=",
            ),
            (
                1,
                ("192.168.0.89", 20),
                ("192.168.0.1", 1),
                "1:tz/fHIDUHs19NkixVVoOZywde+I=",
            ),
            (
                1,
                ("10.0.0.1", 11),
                ("10.0.0.2", 0),
                "1:YHxtAirCG//0OzkcVAukqKQN9xM=",
            ),
            (
                58,
                ("fe80::200:86ff:fe05:80da", 135),
                ("fe80::260:97ff:fe07:69ea", 0),
                "1:dGHyGvjMfljg6Bppwm3bg0LO8TY=",
            ),
            (
                58,
                ("fe80::260:97ff:fe07:69ea", 136),
                ("fe80::200:86ff:fe05:80da", 0),
                "1:dGHyGvjMfljg6Bppwm3bg0LO8TY=",
            ),
            (
                58,
                ("fe80::260:97ff:fe07:69ea", 135),
                ("fe80::200:86ff:fe05:80da", 136),
                "1:zavyT/cezQr1fmImYCwYnMXbgck=",
            ),
            (
                58,
                ("3ffe:507:0:1:200:86ff:fe05:80da", 128),
                ("3ffe:501:0:1001::2", 129),
                "1:+TW+HtLHvV1xnGhV1lv7XoJrqQg=",
            ),
            (
                58,
                ("fe80::200:86ff:fe05:80da", 133),
                ("ff02::2", 134),
                "1:hO+sN4H+MG5MY/8hIrXPqc4ZQz0=",
            ),
            (
                58,
                ("fe80::260:97ff:fe07:69ea", 134),
                ("ff02::1", 133),
                "1:pkvHqCL88/tg1k4cPigmZXUtL00=",
            ),
            (
                58,
                ("3ffe:501:1800:2345::2", 3),
                ("3ffe:507:0:1:200:86ff:fe05:80da", 0),
                "1:2ObVBgIn28oZvibYZhZMBgh7WdQ=",
            ),
            (
                58,
                ("3ffe:501:410:0:2c0:dfff:fe47:33e", 1),
                ("3ffe:507:0:1:200:86ff:fe05:80da", 4),
                "1:hLZd0XGWojozrvxqE0dWB1iM6R0=",
            ),
            (
                58,
                ("3ffe:507:0:1:260:97ff:fe07:69ea", 3),
                ("3ffe:507:0:1:200:86ff:fe05:80da", 0),
                "1:NdobDX8PQNJbAyfkWxhtL2Pqp5w=",
            ),
            (
                58,
                ("3ffe:507:0:1:200:86ff:fe05:80da", 3),
                ("3ffe:507:0:1:260:97ff:fe07:69ea", 0),
                "1:/OGBt9BN1ofenrmSPWYicpij2Vc=",
            ),
            (
                46,
                ("10.1.12.1", 0),
                ("10.1.12.2", 0),
                "1:KHlLkgoJW7ifUTyTSgyVfkFHzKw=",
            ),
            (
                46,
                ("10.1.24.4", 0),
                ("10.1.12.1", 0),
                "1:/nQI4Rh/TtY3mf0R2gJFBkVlgS4=",
            ),
        ];
        for (protocol, from, to, expected) in vectors {
            assert_eq!(
                id(protocol, from, to),
                expected,
                "protocol {protocol}, {from:?} to {to:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn both_directions_of_a_tcp_connection_have_one_identifier(
            a: [u8; 4], b: [u8; 4], ports: (u16, u16),
        ) {
            let a = Endpoint { ip: a.into(), port: ports.0 };
            let b = Endpoint { ip: b.into(), port: ports.1 };
            prop_assert_eq!(CommunityId::new(6, a, b), CommunityId::new(6, b, a));
            prop_assert_eq!(CommunityId::new(6, a, b).as_str().len(), 30);
        }
    }
}
