//! Packets as Ethernet frames, with right lengths and checksums.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use flowmeter_common::flow::protocol;

use super::packets::{Packet, TcpHeader};

/// No frame is longer: an IP packet of 1,500 bytes.
pub const MAX_BYTES: usize = 14 + 1500;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const IPV4_HEADER_BYTES: u16 = 20;
const UDP_HEADER_BYTES: u16 = 8;
const TCP_HEADER_BYTES: u16 = 20;
const TTL: u8 = 64;
const DONT_FRAGMENT: u16 = 0x4000;
const WINDOW: u16 = 64240;

/// Length of the frame that [`write`] makes of a packet.
pub fn length(packet: &Packet) -> usize {
    let ip_header = if packet.source.is_ipv4() { 20 } else { 40 };
    14 + ip_header + usize::from(transport_bytes(packet))
}

fn transport_bytes(packet: &Packet) -> u16 {
    let header = if packet.tcp.is_some() {
        TCP_HEADER_BYTES
    } else {
        UDP_HEADER_BYTES
    };
    header + packet.payload.length()
}

/// Puts the packet's frame into `frame`, without padding and frame check sequence.
///
/// Each host has a locally administered MAC address of its own, made from its IP address, so that no real host
/// takes the frames.
pub fn write(packet: &Packet, frame: &mut Vec<u8>) {
    let transport_length = transport_bytes(packet);
    let number = match packet.tcp {
        Some(_) => protocol::TCP,
        None => protocol::UDP,
    };
    frame.clear();
    frame.extend(mac(packet.destination.ip()));
    frame.extend(mac(packet.source.ip()));
    let addresses = match (packet.source, packet.destination) {
        (SocketAddr::V4(source), SocketAddr::V4(destination)) => {
            let (source, destination) = (*source.ip(), *destination.ip());
            ipv4(source, destination, number, transport_length, frame);
            sum(&source.octets()) + sum(&destination.octets())
        }
        (source, destination) => {
            let (source, destination) = (as_v6(source.ip()), as_v6(destination.ip()));
            ipv6(source, destination, number, transport_length, frame);
            sum(&source.octets()) + sum(&destination.octets())
        }
    };
    let pseudo_header = addresses + u64::from(number) + u64::from(transport_length);
    let start = frame.len();
    for port in [packet.source.port(), packet.destination.port()] {
        frame.extend(port.to_be_bytes());
    }
    let checksum_at = match packet.tcp {
        Some(header) => {
            tcp(header, frame);
            start + 16
        }
        None => {
            frame.extend(transport_length.to_be_bytes());
            frame.extend([0; 2]);
            start + 6
        }
    };
    packet.payload.write(frame);
    let transport = frame.get(start..).unwrap_or_default();
    let checksum = match checksum(pseudo_header + sum(transport)) {
        // Zero would mean none (RFC 768).
        0 if packet.tcp.is_none() => 0xffff,
        checksum => checksum,
    };
    put(frame, checksum_at, checksum);
}

fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload_length: u16, frame: &mut Vec<u8>) {
    frame.extend(ETHERTYPE_IPV4.to_be_bytes());
    let start = frame.len();
    frame.extend([0x45, 0]);
    // Length; identification, which does not matter for what is never cut (RFC 6864 section 4.1).
    for word in [IPV4_HEADER_BYTES + payload_length, 0, DONT_FRAGMENT] {
        frame.extend(word.to_be_bytes());
    }
    frame.extend([TTL, protocol, 0, 0]);
    frame.extend(source.octets());
    frame.extend(destination.octets());
    let checksum = checksum(sum(frame.get(start..).unwrap_or_default()));
    put(frame, start + 10, checksum);
}

fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, payload_length: u16, frame: &mut Vec<u8>) {
    frame.extend(ETHERTYPE_IPV6.to_be_bytes());
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(payload_length.to_be_bytes());
    frame.extend([protocol, TTL]);
    frame.extend(source.octets());
    frame.extend(destination.octets());
}

fn as_v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// All behind the ports.
fn tcp(header: TcpHeader, frame: &mut Vec<u8>) {
    /// In words of four bytes, in the upper half of its byte.
    const DATA_OFFSET: u8 = 5 << 4;
    frame.extend(header.sequence.to_be_bytes());
    frame.extend(header.acknowledgement.to_be_bytes());
    frame.extend([DATA_OFFSET, header.flags]);
    // Window, checksum, urgent pointer.
    for word in [WINDOW, 0, 0] {
        frame.extend(word.to_be_bytes());
    }
}

/// 02:00 and the last four bytes of the IP address.
fn mac(ip: IpAddr) -> [u8; 6] {
    let [.., a, b, c, d] = as_v6(ip).octets();
    [0x02, 0, a, b, c, d]
}

/// The sum of 16-bit words (RFC 1071); a last byte stands for a word with a zero.
fn sum(bytes: &[u8]) -> u64 {
    let (words, last) = bytes.as_chunks();
    let words: u64 = words
        .iter()
        .map(|word| u64::from(u16::from_be_bytes(*word)))
        .sum();
    words + last.first().map_or(0, |last| u64::from(*last) << 8)
}

fn checksum(mut sum: u64) -> u16 {
    loop {
        match u16::try_from(sum) {
            Ok(sum) => return !sum,
            Err(_) => sum = (sum >> 16) + (sum & 0xffff),
        }
    }
}

fn put(frame: &mut [u8], at: usize, word: u16) {
    if let Some(place) = frame.get_mut(at..at + 2) {
        place.copy_from_slice(&word.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use etherparse::{SlicedPacket, TransportSlice};
    use flowmeter_common::flow::tcp_flags::{ACK, PSH};
    use proptest::prelude::*;

    use super::*;
    use crate::generate::payload::{Payload, SEGMENT_BYTES};

    fn addresses() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
        prop_oneof![
            any::<([u8; 4], u16, [u8; 4], u16)>().prop_map(|(a, p, b, q)| ((a, p).into(), (b, q).into())),
            any::<([u8; 16], u16, [u8; 16], u16)>().prop_map(|(a, p, b, q)| ((a, p).into(), (b, q).into())),
        ]
    }

    proptest! {
        /// Another implementation reads back what was written, and finds the checksums right.
        #[test]
        fn frames_are_what_their_packets_say(
            (source, destination) in addresses(),
            payload in prop_oneof![
                (0..=SEGMENT_BYTES).prop_map(Payload::Text),
                any::<u32>().prop_map(Payload::DnsQuery),
                any::<u32>().prop_map(Payload::DnsAnswer),
            ],
            numbers in proptest::option::of(any::<(u32, u32)>()),
        ) {
            let tcp = numbers.map(|(sequence, acknowledgement)| TcpHeader {
                sequence,
                acknowledgement,
                flags: PSH | ACK,
            });
            let packet = Packet { after: Duration::ZERO, source, destination, tcp, payload };
            let mut frame = vec![1, 2, 3];
            write(&packet, &mut frame);
            prop_assert_eq!(frame.len(), length(&packet));
            prop_assert!(frame.len() <= MAX_BYTES);

            let sliced = SlicedPacket::from_ethernet(&frame).unwrap();
            let net = sliced.net.unwrap();
            let (from, to, protocol) = match &net {
                etherparse::NetSlice::Ipv4(ip) => {
                    let header = ip.header();
                    prop_assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
                    prop_assert_eq!(usize::from(header.total_len()), frame.len() - 14);
                    (header.source_addr().into(), header.destination_addr().into(), header.protocol().0)
                }
                etherparse::NetSlice::Ipv6(ip) => {
                    let header = ip.header();
                    prop_assert_eq!(usize::from(header.payload_length()), frame.len() - 54);
                    let (from, to) = (header.source_addr(), header.destination_addr());
                    (IpAddr::from(from), IpAddr::from(to), header.next_header().0)
                }
                other => panic!("{other:?}"),
            };
            prop_assert_eq!((from, to), (source.ip(), destination.ip()));
            let mut expected = Vec::new();
            payload.write(&mut expected);
            let correct = match sliced.transport.unwrap() {
                TransportSlice::Tcp(slice) => {
                    let header = slice.to_header();
                    let written = tcp.unwrap();
                    prop_assert_eq!(protocol, 6);
                    prop_assert_eq!((header.source_port, header.destination_port), (source.port(), destination.port()));
                    prop_assert_eq!(
                        (header.sequence_number, header.acknowledgment_number),
                        (written.sequence, written.acknowledgement)
                    );
                    prop_assert!(header.psh && header.ack && !header.syn && !header.fin && !header.rst);
                    prop_assert_eq!(slice.payload(), expected.as_slice());
                    match (from, to) {
                        (IpAddr::V4(a), IpAddr::V4(b)) => {
                            slice.calc_checksum_ipv4(a.octets(), b.octets()).unwrap() == header.checksum
                        }
                        (IpAddr::V6(a), IpAddr::V6(b)) => {
                            slice.calc_checksum_ipv6(a.octets(), b.octets()).unwrap() == header.checksum
                        }
                        _ => false,
                    }
                }
                TransportSlice::Udp(slice) => {
                    let header = slice.to_header();
                    prop_assert_eq!(protocol, 17);
                    prop_assert_eq!((header.source_port, header.destination_port), (source.port(), destination.port()));
                    prop_assert_eq!(usize::from(header.length), 8 + expected.len());
                    prop_assert_eq!(slice.payload(), expected.as_slice());
                    let calculated = match (from, to) {
                        (IpAddr::V4(a), IpAddr::V4(b)) => header.calc_checksum_ipv4_raw(a.octets(), b.octets(), &expected),
                        (IpAddr::V6(a), IpAddr::V6(b)) => header.calc_checksum_ipv6_raw(a.octets(), b.octets(), &expected),
                        _ => panic!("one family"),
                    };
                    calculated.unwrap() == header.checksum
                }
                other => panic!("{other:?}"),
            };
            prop_assert!(correct);
        }
    }
}
