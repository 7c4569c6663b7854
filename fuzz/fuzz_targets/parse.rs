//! The frame parser on hostile bytes: no panic, offsets within bounds, no key out of what lies behind the
//! IP packet, no overflow in what is counted.
#![no_main]

use flowmeter_common::{Gso, Link, Packet, Tunnel, parse};
use libfuzzer_sys::fuzz_target;

#[path = "../seeds.rs"]
mod seeds;

/// An IPv6 extension header of the greatest length, then the longest transport header.
const LONGEST_HEADERS: usize = 256 * 8 + 60;

fuzz_target!(init: seeds::write(seeds::frames), |data: &[u8]| {
    // What is beside the frame comes first: the kind of link, then the numbers of a super-packet.
    let Some((&[kind, offset, segments, size, tag_length], frame)) = data.split_first_chunk::<5>() else {
        return;
    };
    let link = match kind & 3 {
        0 | 1 => Link::Ethernet,
        2 => Link::Ip,
        _ => {
            let Some((ethertype, _)) = frame.split_first_chunk::<2>() else {
                return;
            };
            Link::EtherType {
                ethertype: u16::from_be_bytes(*ethertype),
                offset: usize::from(offset),
            }
        }
    };
    let inner = kind & 4 != 0;
    let mut packet = Packet::default();
    let parsed = parse(frame, link, inner, &mut packet);
    let mut again = Packet::default();
    assert_eq!(parse(frame, link, inner, &mut again), parsed, "the same bytes, another answer");
    if parsed.is_err() {
        return;
    }
    assert_eq!(packet, again, "the same bytes, another packet");
    well_formed(&packet, frame.len(), inner);
    ends_with_its_packet(frame, link, inner, &packet);
    let gso = Gso {
        // Small and great ones alike.
        segments: u32::from(segments).pow(4),
        size: u32::from(size).pow(4),
        payload_offset: packet.payload_offset,
    };
    sizes(&packet, frame.len(), u32::from(tag_length), gso);
});

fn well_formed(packet: &Packet, length: usize, inner: bool) {
    let key = packet.key;
    let (l3, payload) = (packet.l3_offset as usize, packet.payload_offset as usize);
    let header = if key.flags.ipv6() { 40 } else { 20 };
    assert!(l3 + header <= length, "the IP header runs past the frame");
    assert!(l3 + header <= payload, "the payload begins inside the IP header");
    assert!(payload <= length + LONGEST_HEADERS, "the payload begins nowhere");
    assert!(packet.l3_length == 0 || packet.l3_length as usize >= header);
    assert!(key.vlan_id < 4096);
    assert_eq!(key.ifindex, 0, "the caller's");
    assert!(!key.flags.egress(), "the caller's");
    if key.flags.fragment() {
        assert_eq!(
            (key.source_port, key.destination_port, packet.tcp_flags),
            (0, 0, 0)
        );
    }
    if key.flags.tunnel() == Tunnel::None {
        assert_eq!(key.tunnel_id, 0);
    } else {
        assert!(inner, "a tunnel was entered that nobody asked for");
    }
    if !key.flags.ipv6() {
        assert_eq!(key.source[..12], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
    }
}

/// Padding behind the IP packet is no part of it: without it the answer is the same.
fn ends_with_its_packet(frame: &[u8], link: Link, inner: bool, packet: &Packet) {
    // Of a tunnel only the outer packet's end is known here.
    if inner || packet.l3_length == 0 {
        return;
    }
    if let Some(unpadded) = frame.get(..(packet.l3_offset + packet.l3_length) as usize) {
        let mut same = Packet::default();
        assert_eq!(
            parse(unpadded, link, inner, &mut same),
            Ok(()),
            "only its padding made it a packet"
        );
        assert_eq!(&same, packet, "its padding made it another packet");
    }
}

fn sizes(packet: &Packet, length: usize, tag_length: u32, gso: Gso) {
    // A frame may be longer than what was captured of it.
    for length in [length as u32, length as u32 + 1500, u32::MAX] {
        if let Ok(sizes) = packet.sizes(length, tag_length, Gso::default()) {
            assert_eq!(sizes.packets, 1);
            assert!(sizes.l3_bytes <= u64::from(length));
            assert_eq!(sizes.wire_bytes, u64::from(length) + u64::from(tag_length));
        }
        if let Ok(sizes) = packet.sizes(length, tag_length, gso) {
            assert!(sizes.packets >= 1);
            assert!(sizes.l3_bytes <= sizes.wire_bytes);
        }
    }
}
