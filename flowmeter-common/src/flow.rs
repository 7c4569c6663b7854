//! The flow key and its counters (IPFIX, RFC 7011: "flow key", "flow record").

use bytemuck::{Pod, Zeroable};

/// TCP header flags as they stand in byte 13 of the header (RFC 9293 section 3.1).
pub mod tcp_flags {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
    pub const URG: u8 = 0x20;
    pub const ECE: u8 = 0x40;
    pub const CWR: u8 = 0x80;

    /// Names, in the order of the bits.
    pub const NAMES: [(u8, &str); 8] = [
        (FIN, "FIN"),
        (SYN, "SYN"),
        (RST, "RST"),
        (PSH, "PSH"),
        (ACK, "ACK"),
        (URG, "URG"),
        (ECE, "ECE"),
        (CWR, "CWR"),
    ];
}

/// IP protocol numbers that the meter treats by name (IANA "Assigned Internet Protocol Numbers").
pub mod protocol {
    pub const ICMP: u8 = 1;
    pub const IPV4: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const DCCP: u8 = 33;
    pub const IPV6: u8 = 41;
    pub const GRE: u8 = 47;
    pub const ICMPV6: u8 = 58;
    pub const SCTP: u8 = 132;
    pub const UDP_LITE: u8 = 136;
}

/// One bit set of the key: what tells two flows with the same 5-tuple apart besides VLAN and interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct KeyFlags(pub u8);

impl KeyFlags {
    /// A fragment after the first: its ports are 0 because it carries none.
    pub const FRAGMENT: u8 = 1 << 0;
    /// Seen leaving the interface (IPFIX flowDirection 1); clear: seen entering it.
    pub const EGRESS: u8 = 1 << 1;
    /// The packet is IPv6. Needed beside the addresses: an IPv6 packet may carry v4-mapped ones.
    pub const IPV6: u8 = 1 << 2;
    const TUNNEL_SHIFT: u8 = 4;

    #[inline(always)]
    pub const fn fragment(self) -> bool {
        self.0 & Self::FRAGMENT != 0
    }

    #[inline(always)]
    pub const fn egress(self) -> bool {
        self.0 & Self::EGRESS != 0
    }

    #[inline(always)]
    pub const fn ipv6(self) -> bool {
        self.0 & Self::IPV6 != 0
    }

    /// The tunnel that the counted packet was found in.
    #[inline(always)]
    pub const fn tunnel(self) -> Tunnel {
        match self.0 >> Self::TUNNEL_SHIFT {
            1 => Tunnel::Gre,
            2 => Tunnel::Vxlan,
            3 => Tunnel::Geneve,
            4 => Tunnel::GtpU,
            5 => Tunnel::IpInIp,
            _ => Tunnel::None,
        }
    }

    #[inline(always)]
    pub const fn with_tunnel(self, tunnel: Tunnel) -> Self {
        Self(self.0 & 0x0f | (tunnel as u8) << Self::TUNNEL_SHIFT)
    }
}

/// The innermost tunnel around a counted packet, with `tunnels = "inner"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Tunnel {
    #[default]
    None = 0,
    /// RFC 2784 and 2890, or version 1 of RFC 2637; the id is the key, 0 without one.
    Gre = 1,
    /// RFC 7348; the id is the VNI.
    Vxlan = 2,
    /// RFC 8926; the id is the VNI.
    Geneve = 3,
    /// 3GPP TS 29.281; the id is the TEID.
    GtpU = 4,
    /// RFC 2003, 4213; no id.
    IpInIp = 5,
}

impl Tunnel {
    pub const ALL: [Self; 6] = [
        Self::None,
        Self::Gre,
        Self::Vxlan,
        Self::Geneve,
        Self::GtpU,
        Self::IpInIp,
    ];

    /// The name that stands in events, empty for none.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gre => "gre",
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::GtpU => "gtp-u",
            Self::IpInIp => "ipip",
        }
    }
}

/// What makes a packet part of a flow, one direction.
///
/// 48 bytes, a multiple of 4, which the kernel's hash (`jhash2`) takes in whole words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct FlowKey {
    /// IPv4 addresses are v4-mapped (RFC 4291 section 2.5.5.2).
    pub source: [u8; 16],
    pub destination: [u8; 16],
    /// Host order. For ICMP and ICMPv6 the type; 0 where the protocol has no ports.
    pub source_port: u16,
    /// Host order. For ICMP and ICMPv6 the code; 0 where the protocol has no ports.
    pub destination_port: u16,
    pub protocol: u8,
    pub flags: KeyFlags,
    /// The outermost VLAN id, 0 without a tag (or with a priority tag).
    pub vlan_id: u16,
    /// The interface where the packet was seen (the observation point).
    pub ifindex: u32,
    /// VNI, TEID or GRE key of [`KeyFlags::tunnel`].
    pub tunnel_id: u32,
}

/// Counts of one flow key since the map was last drained.
///
/// 64 bytes: one cache line. Times are nanoseconds; of `CLOCK_MONOTONIC` as the kernel writes them, since
/// the Unix epoch once they have left the drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct FlowCounters {
    /// Packets on the wire: a GSO or GRO super-packet counts its segments.
    pub packets: u64,
    /// IP total lengths (IPFIX octetDeltaCount; what NetFlow, pmacct and Zeek count).
    pub l3_bytes: u64,
    /// Frame lengths from the L2 header on, without the frame check sequence.
    pub wire_bytes: u64,
    pub first_ns: u64,
    pub last_ns: u64,
    /// Packets with SYN and without ACK.
    pub syn: u32,
    /// Packets with SYN and ACK.
    pub syn_ack: u32,
    pub fin: u32,
    pub rst: u32,
    /// Union of the TCP flags of all packets; 32 bits wide because the BPF atomics are.
    pub tcp_flags: u32,
    /// TCP flags of the first packet: tells an initiator, a stealth scan and backscatter.
    pub first_tcp_flags: u8,
    pub reserved: [u8; 3],
}

/// 1 if all of `wanted` is set in `flags` and none of `unwanted`, else 0.
#[inline(always)]
pub const fn flag_count(flags: u8, wanted: u8, unwanted: u8) -> u32 {
    (flags & (wanted | unwanted) == wanted) as u32
}

impl FlowCounters {
    /// The counters after a first packet (or super-packet) at `now_ns`.
    #[inline(always)]
    pub const fn first(sizes: crate::Sizes, flags: u8, now_ns: u64) -> Self {
        use tcp_flags::{ACK, FIN, RST, SYN};
        Self {
            packets: sizes.packets as u64,
            l3_bytes: sizes.l3_bytes,
            wire_bytes: sizes.wire_bytes,
            first_ns: now_ns,
            last_ns: now_ns,
            syn: flag_count(flags, SYN, ACK),
            syn_ack: flag_count(flags, SYN | ACK, 0),
            fin: flag_count(flags, FIN, 0),
            rst: flag_count(flags, RST, 0),
            tcp_flags: flags as u32,
            first_tcp_flags: flags,
            reserved: [0; 3],
        }
    }

    /// Adds what was counted elsewhere for the same key. Commutative: the result does not depend on the
    /// order of packets, drains or files; of two first packets at the same time the lower flags value wins.
    pub fn merge(&mut self, other: &Self) {
        if other.packets == 0 {
            return;
        }
        if self.packets == 0 {
            *self = *other;
            return;
        }
        if (other.first_ns, other.first_tcp_flags) < (self.first_ns, self.first_tcp_flags) {
            self.first_ns = other.first_ns;
            self.first_tcp_flags = other.first_tcp_flags;
        }
        self.last_ns = self.last_ns.max(other.last_ns);
        self.packets = self.packets.saturating_add(other.packets);
        self.l3_bytes = self.l3_bytes.saturating_add(other.l3_bytes);
        self.wire_bytes = self.wire_bytes.saturating_add(other.wire_bytes);
        self.syn = self.syn.saturating_add(other.syn);
        self.syn_ack = self.syn_ack.saturating_add(other.syn_ack);
        self.fin = self.fin.saturating_add(other.fin);
        self.rst = self.rst.saturating_add(other.rst);
        self.tcp_flags |= other.tcp_flags;
    }
}

const _: () = assert!(size_of::<FlowKey>() == 48);
const _: () = assert!(size_of::<FlowCounters>() == 64);
