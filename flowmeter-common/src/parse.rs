//! The one frame parser: frame bytes to a flow key and the lengths that are counted.
//!
//! The kernel programs, replay, the tests and the fuzzer all run this code. It is written so that the BPF
//! verifier can follow it: every walk has a fixed bound, every load checks its own range, nothing recurses.
//! What cannot be parsed is answered by a reason, never by a key that is only partly right.

#![expect(
    clippy::cast_possible_truncation,
    reason = "offsets are of headers, bounded far below 4 GiB"
)]

use crate::{
    flow::{FlowKey, KeyFlags, Tunnel, protocol},
    uncounted::Uncounted,
};

/// Bytes of one frame.
pub trait Frame {
    /// The `N` bytes at `offset`, or `None` where the frame (or what was captured of it) ends before. The
    /// parser asks for 2 and more: the BPF verifier does not learn from a check of one byte.
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;
}

impl Frame for [u8] {
    #[inline]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk().copied()
    }
}

/// What the first byte of a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Ethernet,
    /// A frame that starts at its EtherType-less IP header: tun, WireGuard, raw IP captures.
    Ip,
    /// A frame whose network header starts at an offset, with the EtherType known (Linux cooked captures).
    EtherType {
        ethertype: u16,
        offset: usize,
    },
}

/// Where the counted headers are and what they say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Packet {
    /// `ifindex` and the egress flag are left for the caller to fill in.
    pub key: FlowKey,
    /// Of the counted IP header.
    pub l3_offset: u32,
    /// Of the first byte after the transport header that was walked last; headers before it are repeated
    /// in each segment of a super-packet.
    pub payload_offset: u32,
    /// IP total length; 0 where the header does not tell (a jumbogram, or a super-packet over 64 KiB).
    pub l3_length: u32,
    /// 0 for anything but TCP.
    pub tcp_flags: u8,
}

/// A super-packet as the stack hands it over: several segments behind one set of headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gso {
    /// Segments, 0 where the driver left it to be computed.
    pub segments: u32,
    /// Payload bytes of a full segment; 0 for an ordinary packet.
    pub size: u32,
    /// Offset of the payload behind the headers that every segment repeats.
    pub payload_offset: u32,
}

/// What one frame adds to the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    pub packets: u32,
    pub l3_bytes: u64,
    pub wire_bytes: u64,
}

/// VLAN tags (802.1Q, 802.1ad) that are walked.
pub const MAX_VLAN_TAGS: usize = 4;
/// MPLS labels that are walked.
pub const MAX_MPLS_LABELS: usize = 6;
/// IPv6 extension headers that are walked.
pub const MAX_EXTENSION_HEADERS: usize = 8;
/// Tunnels that are walked with `tunnels = "inner"`.
pub const MAX_TUNNELS: usize = 3;
/// What Ethernet pads frames to, less the frame check sequence, with a VLAN tag (802.3 minFrameSize).
const SHORTEST_FRAME: u32 = 64;

mod ethertype {
    pub(super) const IPV4: u16 = 0x0800;
    pub(super) const TRANSPARENT_BRIDGING: u16 = 0x6558;
    pub(super) const VLAN: u16 = 0x8100;
    pub(super) const IPV6: u16 = 0x86dd;
    pub(super) const MPLS: u16 = 0x8847;
    pub(super) const MPLS_MULTICAST: u16 = 0x8848;
    pub(super) const PPPOE_SESSION: u16 = 0x8864;
    pub(super) const PPP: u16 = 0x880b;
    pub(super) const PROVIDER_BRIDGING: u16 = 0x88a8;
    /// The pre-standard QinQ tag that switches still write.
    pub(super) const QINQ_OLD: u16 = 0x9100;
}

/// UDP ports that tunnels are recognised by (IANA; 8472 is the Linux default for VXLAN).
mod udp_port {
    pub(super) const GTP_U: u16 = 2152;
    pub(super) const VXLAN: u16 = 4789;
    pub(super) const GENEVE: u16 = 6081;
    pub(super) const VXLAN_LINUX: u16 = 8472;
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
enum Version {
    #[default]
    V4 = 4,
    V6 = 6,
}

/// A position in the frame where an IP header starts, and the outermost VLAN id before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Network {
    offset: u32,
    vlan_id: u16,
    version: Version,
}

/// Parses `frame` into `packet`, of which all is written but `ifindex`.
///
/// With `inner`, tunnels (GRE, VXLAN, Geneve, GTP-U, IP in IP) are entered and the innermost IP header that
/// can be read is what is counted; where the inside is not IP or is cut, the outer flow is.
///
/// # Errors
/// The reason why the frame has no flow key. `packet` then holds nothing of use.
#[inline(always)]
pub fn parse<F: Frame + ?Sized>(
    frame: &F,
    link: Link,
    inner: bool,
    packet: &mut Packet,
) -> Result<(), Uncounted> {
    parse_outer(frame, link, packet)?;
    if inner {
        for _ in 0..MAX_TUNNELS {
            if !enter_tunnel(frame, packet) {
                break;
            }
        }
    }
    Ok(())
}

#[inline(always)]
fn parse_outer<F: Frame + ?Sized>(frame: &F, link: Link, packet: &mut Packet) -> Result<(), Uncounted> {
    let mut network = Network::default();
    find_network(frame, link, &mut network)?;
    parse_network(frame, &network, packet)
}

/// The first of the two steps of the outer part of [`parse`], which the kernel programs take one by one for
/// the verifier's sake: finds the IP header.
///
/// # Errors
/// As [`parse`].
#[inline(always)]
pub fn find_network<F: Frame + ?Sized>(
    frame: &F,
    link: Link,
    network: &mut Network,
) -> Result<(), Uncounted> {
    let mut vlan_id = 0;
    let (version, offset) = link_layer(frame, link, &mut vlan_id)?;
    network.offset = offset as u32;
    network.vlan_id = vlan_id;
    network.version = version;
    Ok(())
}

/// The second step: parses the IP header that was found and what follows it.
///
/// # Errors
/// As [`parse`].
#[inline(always)]
pub fn parse_network<F: Frame + ?Sized>(
    frame: &F,
    network: &Network,
    packet: &mut Packet,
) -> Result<(), Uncounted> {
    let offset = network.offset as usize;
    match network.version {
        Version::V4 => ipv4(frame, offset, packet)?,
        Version::V6 => ipv6(frame, offset, packet)?,
    }
    packet.key.vlan_id = network.vlan_id;
    packet.key.tunnel_id = 0;
    Ok(())
}

#[inline(always)]
fn be16<F: Frame + ?Sized>(frame: &F, offset: usize) -> Result<u16, Uncounted> {
    frame
        .load::<2>(offset)
        .map(u16::from_be_bytes)
        .ok_or(Uncounted::Truncated)
}

#[inline(always)]
fn link_layer<F: Frame + ?Sized>(
    frame: &F,
    link: Link,
    vlan_id: &mut u16,
) -> Result<(Version, usize), Uncounted> {
    let (mut ethertype, mut offset) = match link {
        Link::Ethernet => (be16(frame, 12)?, 14),
        Link::EtherType { ethertype, offset } => (ethertype, offset),
        Link::Ip => return by_version(frame, 0),
    };
    for _ in 0..MAX_VLAN_TAGS {
        if !is_vlan(ethertype) {
            break;
        }
        // IEEE 802.1Q clause 9.6: priority, drop eligible, 12 bits of VLAN id, then the next EtherType.
        let tag = frame.load::<4>(offset).ok_or(Uncounted::Truncated)?;
        if *vlan_id == 0 {
            *vlan_id = u16::from_be_bytes([tag[0], tag[1]]) & 0x0fff;
        }
        ethertype = u16::from_be_bytes([tag[2], tag[3]]);
        offset += 4;
    }
    if is_vlan(ethertype) {
        return Err(Uncounted::TooDeep);
    }
    match ethertype {
        ethertype::IPV4 => Ok((Version::V4, offset)),
        ethertype::IPV6 => Ok((Version::V6, offset)),
        ethertype::PPPOE_SESSION => {
            // RFC 2516 section 4: version and type 1, code 0 for session data, then the PPP protocol.
            let header = frame.load::<8>(offset).ok_or(Uncounted::Truncated)?;
            if header[0] != 0x11 {
                return Err(Uncounted::Malformed);
            }
            if header[1] != 0 {
                return Err(Uncounted::NotIp);
            }
            ppp(u16::from_be_bytes([header[6], header[7]]), offset + 8)
        }
        ethertype::MPLS | ethertype::MPLS_MULTICAST => mpls(frame, offset),
        _ => Err(Uncounted::NotIp),
    }
}

#[inline(always)]
fn is_vlan(ethertype: u16) -> bool {
    matches!(
        ethertype,
        ethertype::VLAN | ethertype::PROVIDER_BRIDGING | ethertype::QINQ_OLD
    )
}

/// The network layer behind a PPP protocol number (IANA "PPP DLL Protocol Numbers").
#[inline(always)]
fn ppp(ppp_protocol: u16, offset: usize) -> Result<(Version, usize), Uncounted> {
    match ppp_protocol {
        0x0021 => Ok((Version::V4, offset)),
        0x0057 => Ok((Version::V6, offset)),
        _ => Err(Uncounted::NotIp),
    }
}

#[inline(always)]
fn mpls<F: Frame + ?Sized>(frame: &F, mut offset: usize) -> Result<(Version, usize), Uncounted> {
    for _ in 0..MAX_MPLS_LABELS {
        // RFC 3032 section 2.1: bit 8 of the third byte marks the bottom of the stack.
        let entry = frame.load::<4>(offset).ok_or(Uncounted::Truncated)?;
        offset += 4;
        if entry[2] & 1 != 0 {
            return by_version(frame, offset);
        }
    }
    Err(Uncounted::TooDeep)
}

/// Tells IPv4 from IPv6 by the first nibble where nothing else does; anything else (a pseudowire control
/// word, RFC 4385) is not IP.
#[inline(always)]
fn by_version<F: Frame + ?Sized>(frame: &F, offset: usize) -> Result<(Version, usize), Uncounted> {
    let [first, _] = frame.load::<2>(offset).ok_or(Uncounted::Truncated)?;
    match first >> 4 {
        4 => Ok((Version::V4, offset)),
        6 => Ok((Version::V6, offset)),
        _ => Err(Uncounted::NotIp),
    }
}

/// RFC 791 section 3.1.
#[inline(always)]
fn ipv4<F: Frame + ?Sized>(frame: &F, offset: usize, packet: &mut Packet) -> Result<(), Uncounted> {
    let [version_ihl, _, l0, l1, _, _, f0, f1] = frame.load::<8>(offset).ok_or(Uncounted::Truncated)?;
    let header_length = usize::from(version_ihl & 0x0f) * 4;
    if version_ihl >> 4 != 4 || header_length < 20 {
        return Err(Uncounted::Malformed);
    }
    let total_length = u16::from_be_bytes([l0, l1]);
    if total_length != 0 && usize::from(total_length) < header_length {
        return Err(Uncounted::Malformed);
    }
    let [_, protocol] = frame.load::<2>(offset + 8).ok_or(Uncounted::Truncated)?;
    let key = &mut packet.key;
    key.source = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
    key.destination = key.source;
    key.source[12..].copy_from_slice(&frame.load::<4>(offset + 12).ok_or(Uncounted::Truncated)?);
    key.destination[12..].copy_from_slice(&frame.load::<4>(offset + 16).ok_or(Uncounted::Truncated)?);
    key.protocol = protocol;
    key.flags = KeyFlags(0);
    packet.l3_offset = offset as u32;
    packet.l3_length = u32::from(total_length);
    let fragment = u16::from_be_bytes([f0, f1]);
    let later_fragment = fragment & 0x1fff != 0;
    let first_of_several = fragment & 0x2000 != 0;
    transport(
        frame,
        offset + header_length,
        later_fragment,
        first_of_several,
        packet,
    )
}

/// RFC 8200 sections 3 and 4.
#[inline(always)]
fn ipv6<F: Frame + ?Sized>(frame: &F, offset: usize, packet: &mut Packet) -> Result<(), Uncounted> {
    let [version, _, _, _, l0, l1, mut next, _] = frame.load::<8>(offset).ok_or(Uncounted::Truncated)?;
    if version >> 4 != 6 {
        return Err(Uncounted::Malformed);
    }
    let payload_length = u16::from_be_bytes([l0, l1]);
    packet.key.source = frame.load::<16>(offset + 8).ok_or(Uncounted::Truncated)?;
    packet.key.destination = frame.load::<16>(offset + 24).ok_or(Uncounted::Truncated)?;
    packet.key.flags = KeyFlags(KeyFlags::IPV6);
    packet.l3_offset = offset as u32;
    // A payload length of 0 is a jumbogram's (RFC 2675 section 3) or a super-packet's; in front of anything
    // else there is no payload, and what follows is padding.
    packet.l3_length = if payload_length == 0 && matches!(next, HOP_BY_HOP | protocol::TCP | protocol::UDP) {
        0
    } else {
        u32::from(payload_length) + 40
    };
    // Behind the packet there may be padding: a next header read from it would be a wrong one.
    let end = packet.l3_end();
    let mut at = offset + 40;
    let mut later_fragment = false;
    let mut first_of_several = false;
    for _ in 0..MAX_EXTENSION_HEADERS {
        if later_fragment || !is_extension(next) {
            break;
        }
        let header = frame.load::<4>(at).ok_or(Uncounted::Truncated)?;
        if next == FRAGMENT_HEADER {
            let fragment = u16::from_be_bytes([header[2], header[3]]);
            later_fragment = fragment & 0xfff8 != 0;
            first_of_several = fragment & 1 != 0;
            at += 8;
        } else if next == AUTHENTICATION_HEADER {
            // RFC 4302 section 2.2: in 4-byte words, less 2.
            at += (usize::from(header[1]) + 2) * 4;
        } else {
            at += (usize::from(header[1]) + 1) * 8;
        }
        if at as u32 > end {
            return Err(Uncounted::Truncated);
        }
        next = header[0];
    }
    if !later_fragment && is_extension(next) {
        return Err(Uncounted::TooDeep);
    }
    packet.key.protocol = next;
    transport(frame, at, later_fragment, first_of_several, packet)
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT_HEADER: u8 = 44;
const AUTHENTICATION_HEADER: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;
const HIP: u8 = 139;
const SHIM6: u8 = 140;

/// The headers that are walked (IANA "IPv6 Extension Header Types"). ESP is not: what follows it is opaque.
#[inline(always)]
fn is_extension(next: u8) -> bool {
    matches!(
        next,
        HOP_BY_HOP
            | ROUTING
            | FRAGMENT_HEADER
            | AUTHENTICATION_HEADER
            | DESTINATION_OPTIONS
            | MOBILITY
            | HIP
            | SHIM6
    )
}

/// Fills in ports (or ICMP type and code) and TCP flags from the transport header at `offset`.
#[inline(always)]
fn transport<F: Frame + ?Sized>(
    frame: &F,
    offset: usize,
    later_fragment: bool,
    first_of_several: bool,
    packet: &mut Packet,
) -> Result<(), Uncounted> {
    packet.key.source_port = 0;
    packet.key.destination_port = 0;
    packet.tcp_flags = 0;
    packet.payload_offset = offset as u32;
    if later_fragment {
        packet.key.flags = KeyFlags(packet.key.flags.0 | KeyFlags::FRAGMENT);
        return Ok(());
    }
    // The same for a port.
    let end = packet.l3_end();
    let header_within = |length: u32| offset as u32 + length <= end;
    match packet.key.protocol {
        protocol::TCP => {
            ports(frame, offset, header_within(4), packet)?;
            if header_within(14) {
                // RFC 9293 section 3.1: data offset in 4-byte words, then the flags.
                let [data_offset, flags] = frame.load::<2>(offset + 12).ok_or(Uncounted::Truncated)?;
                packet.tcp_flags = flags;
                // Ports and flags stand before the options, so a lying data offset makes no key wrong; and a
                // flood of such segments must still be seen where it goes.
                let header_length = u32::from(data_offset >> 4) * 4;
                packet.payload_offset += if header_length < 20 { 20 } else { header_length };
            } else if !first_of_several {
                return Err(Uncounted::Truncated);
            }
        }
        protocol::UDP | protocol::UDP_LITE => {
            ports(frame, offset, header_within(4), packet)?;
            packet.payload_offset += 8;
        }
        protocol::SCTP | protocol::DCCP => {
            ports(frame, offset, header_within(4), packet)?;
            packet.payload_offset += 12;
        }
        protocol::ICMP | protocol::ICMPV6 => {
            if !header_within(2) {
                return Err(Uncounted::Truncated);
            }
            let [kind, code] = frame.load::<2>(offset).ok_or(Uncounted::Truncated)?;
            packet.key.source_port = u16::from(kind);
            packet.key.destination_port = u16::from(code);
        }
        _ => {}
    }
    Ok(())
}

#[inline(always)]
fn ports<F: Frame + ?Sized>(
    frame: &F,
    offset: usize,
    within: bool,
    packet: &mut Packet,
) -> Result<(), Uncounted> {
    if !within {
        return Err(Uncounted::Truncated);
    }
    let [s0, s1, d0, d1] = frame.load::<4>(offset).ok_or(Uncounted::Truncated)?;
    packet.key.source_port = u16::from_be_bytes([s0, s1]);
    packet.key.destination_port = u16::from_be_bytes([d0, d1]);
    Ok(())
}

/// Replaces `packet` by what is one tunnel further inside; false where there is none that can be read.
#[inline(always)]
fn enter_tunnel<F: Frame + ?Sized>(frame: &F, packet: &mut Packet) -> bool {
    let mut inside = Inside::default();
    let mut candidate = Packet::default();
    find_tunnel(frame, packet, &mut inside)
        && parse_outer(frame, inside.link(), &mut candidate).is_ok()
        && adopt(packet, &candidate, &inside)
}

/// What a tunnel header leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Inside {
    id: u32,
    offset: u32,
    ethertype: u16,
    tunnel: Tunnel,
}

impl Inside {
    /// Where the inner packet starts.
    #[inline(always)]
    pub fn link(&self) -> Link {
        Link::EtherType {
            ethertype: self.ethertype,
            offset: self.offset as usize,
        }
    }
}

/// The first of the three steps into a tunnel, which [`parse`] takes in one go and the kernel programs one by
/// one, for the verifier's sake: looks behind `packet` for a tunnel header.
#[inline(always)]
pub fn find_tunnel<F: Frame + ?Sized>(frame: &F, packet: &Packet, inside: &mut Inside) -> bool {
    if packet.key.flags.fragment() {
        return false;
    }
    match tunnel(frame, packet) {
        Some(found) => {
            *inside = found;
            true
        }
        None => false,
    }
}

/// The last step, after `candidate` was parsed at [`Inside::link`]: takes it, unless it ends behind what
/// carries it (a first fragment's, padding, or a lie).
#[inline(always)]
pub fn adopt(packet: &mut Packet, candidate: &Packet, inside: &Inside) -> bool {
    if candidate.l3_end() > packet.l3_end() {
        return false;
    }
    let vlan_id = packet.key.vlan_id;
    *packet = *candidate;
    packet.key.vlan_id = vlan_id;
    packet.key.flags = candidate.key.flags.with_tunnel(inside.tunnel);
    packet.key.tunnel_id = inside.id;
    true
}

#[inline(always)]
fn tunnel<F: Frame + ?Sized>(frame: &F, packet: &Packet) -> Option<Inside> {
    let payload = packet.payload_offset as usize;
    let inside = |tunnel, id, ethertype, offset| {
        // An Ethernet frame inside starts with its own header; anything else goes by EtherType.
        let (ethertype, offset) = if ethertype == ethertype::TRANSPARENT_BRIDGING {
            (frame.load::<2>(offset + 12).map(u16::from_be_bytes)?, offset + 14)
        } else {
            (ethertype, offset)
        };
        Some(Inside {
            tunnel,
            id,
            ethertype,
            offset: offset as u32,
        })
    };
    match packet.key.protocol {
        protocol::IPV4 => inside(Tunnel::IpInIp, 0, ethertype::IPV4, payload),
        protocol::IPV6 => inside(Tunnel::IpInIp, 0, ethertype::IPV6, payload),
        protocol::GRE => {
            let [flags, version, t0, t1] = frame.load::<4>(payload)?;
            let ethertype = u16::from_be_bytes([t0, t1]);
            let checksum = usize::from(flags & 0x80 != 0) * 4;
            let has_key = flags & 0x20 != 0;
            let sequence = usize::from(flags & 0x10 != 0) * 4;
            match version & 0x07 {
                // RFC 1701's source routes are of any length, and long out of use (RFC 2784 section 2.3).
                _ if flags & 0x40 != 0 => None,
                // RFC 2890 section 2: checksum, key, sequence number, each present by its flag.
                0 => {
                    let key_at = payload + 4 + checksum;
                    let id = if has_key {
                        u32::from_be_bytes(frame.load::<4>(key_at)?)
                    } else {
                        0
                    };
                    inside(
                        Tunnel::Gre,
                        id,
                        ethertype,
                        key_at + usize::from(has_key) * 4 + sequence,
                    )
                }
                // RFC 2637 section 4.1 (PPTP): key of payload length and call id, then PPP.
                1 if ethertype == ethertype::PPP => {
                    let [_, _, c0, c1] = frame.load::<4>(payload + 4)?;
                    let acknowledgement = usize::from(version & 0x80 != 0) * 4;
                    let mut at = payload + 8 + sequence + acknowledgement;
                    if frame.load::<2>(at)? == [0xff, 0x03] {
                        at += 2;
                    }
                    let ethertype = match u16::from_be_bytes(frame.load::<2>(at)?) {
                        0x0021 => ethertype::IPV4,
                        0x0057 => ethertype::IPV6,
                        _ => return None,
                    };
                    inside(
                        Tunnel::Gre,
                        u32::from(u16::from_be_bytes([c0, c1])),
                        ethertype,
                        at + 2,
                    )
                }
                _ => None,
            }
        }
        protocol::UDP => match packet.key.destination_port {
            udp_port::VXLAN | udp_port::VXLAN_LINUX => {
                // RFC 7348 section 5: the I flag says that the VNI is valid.
                let [flags, _, _, _, v0, v1, v2, _] = frame.load::<8>(payload)?;
                if flags & 0x08 == 0 {
                    return None;
                }
                inside(
                    Tunnel::Vxlan,
                    u32::from_be_bytes([0, v0, v1, v2]),
                    ethertype::TRANSPARENT_BRIDGING,
                    payload + 8,
                )
            }
            udp_port::GENEVE => {
                // RFC 8926 section 3.4: version 0, options in 4-byte words.
                let [version_length, _, t0, t1, v0, v1, v2, _] = frame.load::<8>(payload)?;
                if version_length >> 6 != 0 {
                    return None;
                }
                let options = usize::from(version_length & 0x3f) * 4;
                inside(
                    Tunnel::Geneve,
                    u32::from_be_bytes([0, v0, v1, v2]),
                    u16::from_be_bytes([t0, t1]),
                    payload + 8 + options,
                )
            }
            udp_port::GTP_U => gtp_u(frame, payload),
            _ => None,
        },
        _ => None,
    }
}

/// 3GPP TS 29.281 section 5: only G-PDUs (message type 255) carry a user packet.
#[inline(always)]
fn gtp_u<F: Frame + ?Sized>(frame: &F, payload: usize) -> Option<Inside> {
    let [flags, kind, _, _, i0, i1, i2, i3] = frame.load::<8>(payload)?;
    if flags & 0xf0 != 0x30 || kind != 0xff {
        return None;
    }
    let mut at = payload + 8;
    if flags & 0x07 != 0 {
        let [_, _, _, mut next] = frame.load::<4>(at)?;
        at += 4;
        // Extension headers: a length in 4-byte words first, the next type last.
        for _ in 0..4 {
            if next == 0 {
                break;
            }
            let [length, _] = frame.load::<2>(at)?;
            if length == 0 {
                return None;
            }
            // The type of what follows is the last byte of the last word.
            at += usize::from(length - 1) * 4;
            [_, _, _, next] = frame.load::<4>(at)?;
            at += 4;
        }
        if next != 0 {
            return None;
        }
    }
    let [first, _] = frame.load::<2>(at)?;
    let ethertype = match first >> 4 {
        4 => ethertype::IPV4,
        6 => ethertype::IPV6,
        _ => return None,
    };
    let id = u32::from_be_bytes([i0, i1, i2, i3]);
    Some(Inside {
        tunnel: Tunnel::GtpU,
        id,
        ethertype,
        offset: at as u32,
    })
}

impl Packet {
    /// Where the counted IP packet ends in the frame; no bound where the header does not tell.
    #[inline(always)]
    fn l3_end(&self) -> u32 {
        if self.l3_length == 0 {
            u32::MAX
        } else {
            self.l3_offset + self.l3_length
        }
    }

    /// What the frame adds to its flow's counters.
    ///
    /// `frame_length` is the length on L2 without the frame check sequence (of the super-packet, with
    /// `gso`), `tag_length` that of a VLAN tag that the frame had on the wire but that is not in its bytes.
    ///
    /// # Errors
    /// [`Uncounted::Malformed`] where the IP total length runs past the end of an ordinary frame, or is 0 in
    /// one that is as short as a padded frame: its end cannot be told, and a port may be padding.
    #[inline(always)]
    pub fn sizes(&self, frame_length: u32, tag_length: u32, gso: Gso) -> Result<Sizes, Uncounted> {
        let l3_available = frame_length.saturating_sub(self.l3_offset);
        let segments = gso.count(frame_length);
        if segments > 1 {
            // The IP total length of a super-packet may be 0 or of one segment: only the frame tells.
            let repeated = u64::from(segments - 1);
            let l3_headers = gso.payload_offset.saturating_sub(self.l3_offset);
            return Ok(Sizes {
                packets: segments,
                l3_bytes: u64::from(l3_available) + repeated * u64::from(l3_headers),
                wire_bytes: u64::from(frame_length)
                    + repeated * u64::from(gso.payload_offset)
                    + u64::from(segments) * u64::from(tag_length),
            });
        }
        if self.l3_length > l3_available || (self.l3_length == 0 && frame_length <= SHORTEST_FRAME) {
            return Err(Uncounted::Malformed);
        }
        let l3_bytes = if self.l3_length == 0 {
            l3_available
        } else {
            self.l3_length
        };
        Ok(Sizes {
            packets: 1,
            l3_bytes: u64::from(l3_bytes),
            wire_bytes: u64::from(frame_length) + u64::from(tag_length),
        })
    }
}

impl Gso {
    /// Packets that the super-packet stands for, 1 for an ordinary packet.
    #[inline(always)]
    pub fn count(&self, frame_length: u32) -> u32 {
        if self.size == 0 {
            return 1;
        }
        if self.segments > 0 {
            return self.segments;
        }
        // tun and virtio hand over packets whose segments were not counted yet (SKB_GSO_DODGY).
        let payload = frame_length.saturating_sub(self.payload_offset);
        if payload == 0 {
            1
        } else {
            payload.div_ceil(self.size)
        }
    }
}
