//! Community ID v1 with seed 0: one id for a connection in every tool
//! (<https://github.com/corelight/community-id-spec>).

use std::net::IpAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flowmeter_common::flow::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};
use sha1::{Digest as _, Sha1};

use crate::flow::Slice;

/// The id of a slice's connection.
pub fn of(slice: &Slice) -> String {
    let (source, destination) = (slice.initiator, slice.responder);
    let ports = match slice.protocol {
        // Fragments after the first have no ports to take part.
        _ if slice.fragment => None,
        TCP | UDP | SCTP => Some((source.port, destination.port, false)),
        ICMP | ICMPV6 => Some(icmp(slice.protocol, source.port, destination.port)),
        _ => None,
    };
    id(source.ip, destination.ip, slice.protocol, ports)
}

/// Type and code become ports; a type with a counterpart takes that in place of the code, one without makes
/// the flow one-way, so that the ends are not put in order.
fn icmp(protocol: u8, kind: u16, code: u16) -> (u16, u16, bool) {
    let pairs: &[(u16, u16)] = match protocol {
        ICMP => &[(8, 0), (13, 14), (10, 9), (15, 16), (17, 18)],
        _ => &[
            (128, 129),
            (133, 134),
            (135, 136),
            (130, 131),
            (139, 140),
            (144, 145),
        ],
    };
    pairs
        .iter()
        .find_map(|&(a, b)| {
            if kind == a {
                Some(b)
            } else {
                (kind == b).then_some(a)
            }
        })
        .map_or((kind, code, true), |counterpart| (kind, counterpart, false))
}

fn id(source: IpAddr, destination: IpAddr, protocol: u8, ports: Option<(u16, u16, bool)>) -> String {
    let bytes = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let mut low = (bytes(source), ports.map_or(0, |ports| ports.0));
    let mut high = (bytes(destination), ports.map_or(0, |ports| ports.1));
    if !ports.is_some_and(|ports| ports.2) && high < low {
        std::mem::swap(&mut low, &mut high);
    }
    let mut hash = Sha1::new();
    hash.update(0_u16.to_be_bytes());
    hash.update(&low.0);
    hash.update(&high.0);
    hash.update([protocol, 0]);
    if ports.is_some() {
        hash.update(low.1.to_be_bytes());
        hash.update(high.1.to_be_bytes());
    }
    format!("1:{}", STANDARD.encode(hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published with the specification (baseline_deflt.json).
    #[test]
    fn published_vectors() {
        let cases = [
            (
                "128.232.110.120",
                "66.35.250.204",
                TCP,
                34855,
                80,
                "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
            ),
            (
                "192.168.1.52",
                "8.8.8.8",
                UDP,
                54585,
                53,
                "1:d/FP5EW3wiY1vCndhwleRRKHowQ=",
            ),
            (
                "192.168.0.89",
                "192.168.0.1",
                ICMP,
                8,
                0,
                "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=",
            ),
        ];
        for (source, destination, protocol, a, b, expected) in cases {
            let ports = if protocol == ICMP {
                icmp(protocol, a, b)
            } else {
                (a, b, false)
            };
            let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
            assert_eq!(id(source, destination, protocol, Some(ports)), expected);
            if protocol != ICMP {
                let back = Some((b, a, false));
                assert_eq!(id(destination, source, protocol, back), expected, "the way back");
            }
        }
    }
}
