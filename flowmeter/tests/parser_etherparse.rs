//! The frame parser against an independent one, on generated and on damaged frames.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a wrong helper must fail its test"
)]

#[path = "support/frames.rs"]
mod frames;

use etherparse::{LinkExtSlice, NetSlice, SlicedPacket, TransportSlice};
use flowmeter_common::{FlowKey, Gso, Link, Packet, Sizes, Uncounted, parse};
use proptest::{collection::vec, prelude::*, sample::select};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// What both parsers can tell about a frame.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    source: [u8; 16],
    destination: [u8; 16],
    vlan_id: u16,
    l3_bytes: u64,
    /// `None` where etherparse stops before (it does not look into fragments, nor behind some headers).
    protocol: Option<u8>,
    /// Ports, or ICMP type and code; TCP flags.
    transport: Option<(u16, u16, u8)>,
}

fn mapped(address: [u8; 4]) -> [u8; 16] {
    let mut all = [0; 16];
    all[10..12].fill(0xff);
    all[12..].copy_from_slice(&address);
    all
}

/// `None` for what is not IP.
fn theirs(sliced: &SlicedPacket) -> Option<Told> {
    let tags = sliced.link_exts.iter().filter_map(|extension| match extension {
        LinkExtSlice::Vlan(tag) => Some(tag.vlan_identifier().value()),
        LinkExtSlice::Macsec(_) => None,
    });
    let (source, destination, l3_bytes, payload) = match sliced.net.as_ref()? {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            let length = u64::from(header.total_len());
            (
                mapped(header.source()),
                mapped(header.destination()),
                length,
                ip.payload(),
            )
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            let length = u64::from(header.payload_length()) + 40;
            (header.source(), header.destination(), length, ip.payload())
        }
        NetSlice::Arp(_) => return None,
    };
    // The authentication header in IPv4 is walked by etherparse and a protocol of its own here; the last
    // three are walked here and not by etherparse.
    let walked_apart = matches!(sliced.net, Some(NetSlice::Ipv4(ref ip)) if ip.extensions().auth.is_some())
        || matches!(payload.ip_number.0, 135 | 139 | 140);
    let transport = sliced.transport.as_ref().map(|transport| match transport {
        TransportSlice::Tcp(tcp) => (tcp.source_port(), tcp.destination_port(), tcp.slice()[13]),
        TransportSlice::Udp(udp) => (udp.source_port(), udp.destination_port(), 0),
        TransportSlice::Icmpv4(icmp) => (icmp.type_u8().into(), icmp.code_u8().into(), 0),
        TransportSlice::Icmpv6(icmp) => (icmp.type_u8().into(), icmp.code_u8().into(), 0),
        TransportSlice::Igmp(_) => (0, 0, 0),
    });
    Some(Told {
        source,
        destination,
        vlan_id: tags.into_iter().find(|&id| id != 0).unwrap_or(0),
        l3_bytes,
        protocol: (!walked_apart && !payload.fragmented).then_some(payload.ip_number.0),
        transport: if walked_apart { None } else { transport },
    })
}

fn answer(frame: &[u8]) -> Result<(FlowKey, u8, Sizes), Uncounted> {
    let mut packet = Packet::default();
    parse(frame, Link::Ethernet, false, &mut packet)?;
    let sizes = packet.sizes(u32::try_from(frame.len()).unwrap(), 0, Gso::default())?;
    Ok((packet.key, packet.tcp_flags, sizes))
}

/// Ours, told as far as `theirs` is.
fn ours(answer: (FlowKey, u8, Sizes), theirs: &Told) -> Told {
    let (key, flags, sizes) = answer;
    Told {
        source: key.source,
        destination: key.destination,
        vlan_id: key.vlan_id,
        l3_bytes: sizes.l3_bytes,
        protocol: theirs.protocol.map(|_| key.protocol),
        transport: theirs
            .transport
            .map(|_| (key.source_port, key.destination_port, flags)),
    }
}

#[derive(Clone, Debug)]
struct Shape {
    tags: Vec<(u16, u16)>,
    ipv6: bool,
    source: [u8; 16],
    destination: [u8; 16],
    ipv4_options: usize,
    /// Hop-by-hop first, then these (routing, authentication, destination options).
    hop_by_hop: bool,
    extensions: Vec<(u8, u8)>,
    /// Offset in units of 8 bytes, more to come.
    fragment: Option<(u16, bool)>,
    protocol: u8,
    ports: (u16, u16),
    flags: u8,
    payload: usize,
    padding: usize,
}

prop_compose! {
    fn shape()(
        tags in vec((select(vec![0x8100_u16, 0x88a8, 0x9100]), 0..4096_u16), 0..=3),
        ipv6 in any::<bool>(),
        source in any::<[u8; 16]>(),
        destination in any::<[u8; 16]>(),
        ipv4_options in 0..=10_usize,
        hop_by_hop in any::<bool>(),
        extensions in vec((select(vec![43_u8, 51, 60]), 0..4_u8), 0..=4),
        fragment in proptest::option::weighted(0.3, (prop_oneof![Just(0_u16), 1..8190_u16], any::<bool>())),
        protocol in select(vec![TCP, UDP, 1, 58, 2, 50, 89, 47]),
        ports in any::<(u16, u16)>(),
        flags in any::<u8>(),
        payload in 0..80_usize,
        padding in prop_oneof![Just(0_usize), 1..40_usize],
    ) -> Shape {
        Shape {
            tags, ipv6, source, destination, ipv4_options, hop_by_hop, extensions, fragment, protocol, ports,
            flags, payload, padding,
        }
    }
}

impl Shape {
    fn frame(&self) -> Vec<u8> {
        let data = vec![0xa5; self.payload];
        let [source, destination] = [self.ports.0, self.ports.1];
        let packet = match self.protocol {
            TCP => frames::tcp(source, destination, self.flags, &data),
            UDP => frames::udp(source, destination, &data),
            // Types whose meaning asks for no more than 8 bytes.
            1 => [frames::icmp(3, source.to_be_bytes()[0]), data].concat(),
            58 => [frames::icmp(1, source.to_be_bytes()[0]), data].concat(),
            2 => [vec![0x16, 0, 0, 0, 224, 0, 0, 1], data].concat(),
            _ => data,
        };
        let (ethertype, packet) = if self.ipv6 {
            (0x86dd, self.ipv6(packet))
        } else {
            (0x0800, self.ipv4(&packet))
        };
        let (ethertype, mut packet) = self
            .tags
            .iter()
            .rev()
            .fold((ethertype, packet), |(next, payload), tag| {
                (tag.0, frames::tag(tag.1, next, &payload))
            });
        packet.extend(vec![0x5a; self.padding]);
        frames::ethernet(ethertype, &packet)
    }

    fn ipv4(&self, payload: &[u8]) -> Vec<u8> {
        let [source, destination] = [self.source, self.destination].map(|a| *a.first_chunk::<4>().unwrap());
        let options = vec![1; self.ipv4_options * 4];
        let mut packet = frames::ipv4_options(self.protocol, &options, payload);
        packet[12..16].copy_from_slice(&source);
        packet[16..20].copy_from_slice(&destination);
        if let Some((offset, more)) = self.fragment {
            let field = offset | if more { 0x2000 } else { 0 };
            packet[6..8].copy_from_slice(&field.to_be_bytes());
        }
        packet
    }

    fn ipv6(&self, payload: Vec<u8>) -> Vec<u8> {
        let mut chain = (self.protocol, payload);
        if let Some((offset, more)) = self.fragment {
            chain = (44, frames::ipv6_fragment(chain.0, offset * 8, more, &chain.1));
        }
        for &(kind, more) in self.extensions.iter().rev() {
            let packet = if kind == 51 {
                // RFC 4302 section 2.2: at least 12 bytes, told in 4-byte words less 2.
                let body = vec![0; 10 + usize::from(more) * 4];
                [&[chain.0, 1 + more], body.as_slice(), &chain.1].concat()
            } else {
                frames::extension(chain.0, more, &chain.1)
            };
            chain = (kind, packet);
        }
        if self.hop_by_hop {
            chain = (0, frames::extension(chain.0, 0, &chain.1));
        }
        frames::ipv6_from(self.source, self.destination, chain.0, &chain.1)
    }

    /// The fragment mark, and ports or type and code with TCP flags, as they were written into the frame.
    fn written(&self) -> (bool, (u16, u16, u8)) {
        if self.fragment.is_some_and(|(offset, _)| offset != 0) {
            return (true, (0, 0, 0));
        }
        let code = u16::from(self.ports.0.to_be_bytes()[0]);
        let transport = match self.protocol {
            TCP => (self.ports.0, self.ports.1, self.flags),
            UDP => (self.ports.0, self.ports.1, 0),
            1 => (3, code, 0),
            58 => (1, code, 0),
            _ => (0, 0, 0),
        };
        (false, transport)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn generated_frames_are_read_alike(shape in shape()) {
        let frame = shape.frame();
        let told = theirs(&SlicedPacket::from_ethernet(&frame).unwrap()).unwrap();
        let answer = answer(&frame).unwrap();
        let (key, flags, sizes) = answer;
        prop_assert_eq!(ours(answer, &told), told);
        let (fragment, transport) = shape.written();
        prop_assert_eq!((key.source_port, key.destination_port, flags), transport);
        prop_assert_eq!((key.flags.fragment(), key.flags.ipv6()), (fragment, shape.ipv6));
        prop_assert_eq!(key.protocol, shape.protocol);
        prop_assert_eq!(sizes.wire_bytes, u64::try_from(frame.len()).unwrap());
        prop_assert_eq!(sizes.packets, 1);
    }

    /// Of a frame that was cut while it was captured.
    #[test]
    fn a_cut_frame_has_the_same_key_or_none(shape in shape()) {
        let frame = shape.frame();
        let (key, flags, _) = answer(&frame).unwrap();
        for length in 0..frame.len() {
            let mut packet = Packet::default();
            if parse(&frame[..length], Link::Ethernet, false, &mut packet).is_ok() {
                prop_assert_eq!((packet.key, packet.tcp_flags), (key, flags), "cut at {}", length);
            }
        }
    }

    /// Damaged frames: where both parsers read one, they read the same.
    #[test]
    fn damaged_frames_are_read_alike_or_not_at_all(
        shape in shape(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        let mut frame = shape.frame();
        for (place, byte) in damage {
            // Rather in the headers than behind them.
            let end = frame.len().min(90);
            frame[place.index(end)] = byte;
        }
        if cuts {
            frame.truncate(cut.index(frame.len()));
        }
        let mut packet = Packet::default();
        let _ = parse(frame.as_slice(), Link::Ethernet, true, &mut packet);
        if let Ok(answer) = answer(&frame)
            && let Ok(sliced) = SlicedPacket::from_ethernet(&frame)
            && let Some(told) = theirs(&sliced)
            && !matches!(sliced.net, Some(NetSlice::Ipv4(ref ip)) if ip.header().total_len() == 0)
            && !matches!(sliced.net, Some(NetSlice::Ipv6(ref ip)) if ip.header().payload_length() == 0)
        {
            prop_assert_eq!(ours(answer, &told), told);
        }
    }

    /// Anything at all, in every framing, with tunnels entered: an answer and no panic.
    #[test]
    fn no_bytes_panic(frame in vec(any::<u8>(), 0..200), ethertype: u16, offset in 0..220_usize, inner: bool) {
        for link in [Link::Ethernet, Link::Ip, Link::EtherType { ethertype, offset }] {
            let mut packet = Packet::default();
            if parse(frame.as_slice(), link, inner, &mut packet).is_ok() {
                let _ = packet.sizes(u32::try_from(frame.len()).unwrap(), 4, Gso::default());
            }
        }
    }

    /// Damaged tunnels: never a panic, and cut ones are counted inside, outside, or not at all.
    #[test]
    fn cut_tunnels_fall_back_to_a_carrier(number: prop::sample::Index, cut: prop::sample::Index) {
        let cases: Vec<_> = frames::cases().into_iter().filter(|case| case.inner && case.expect.is_ok()).collect();
        let case = &cases[number.index(cases.len())];
        let frame = &case.frame[..cut.index(case.frame.len() + 1)];
        let mut cut = Packet::default();
        if parse(frame, case.link, true, &mut cut).is_ok() {
            let mut outer = Packet::default();
            parse(case.frame.as_slice(), case.link, false, &mut outer).unwrap();
            let carried = cut.key.flags.tunnel() != flowmeter_common::Tunnel::None;
            prop_assert!(carried || cut.key == outer.key, "{}: {:?}", case.name, cut.key);
        }
    }
}
