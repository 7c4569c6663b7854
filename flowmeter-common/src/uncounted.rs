//! Packets that did not reach a flow, each with its reason: the other side of the conservation law
//! (seen = counted in flows + not counted by reason).

use bytemuck::{Pod, Zeroable};

/// Why a packet is in no flow. The discriminant is the index into [`InterfaceCounters::uncounted`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Uncounted {
    /// Neither IPv4 nor IPv6: ARP, LLDP, spanning tree, ...
    NotIp = 0,
    /// A header runs past the end of the frame (or of its captured part) or of the IP total length.
    Truncated = 1,
    /// A header contradicts itself: wrong version, header longer than the packet, length beyond the frame.
    Malformed = 2,
    /// More VLAN tags, MPLS labels or IPv6 extension headers than are walked.
    TooDeep = 3,
    /// The flow map had no room for a new key.
    MapFull = 4,
    /// The flow map refused a new key for another reason.
    InsertFailed = 5,
    /// Left out by `capture.filter`, as asked for.
    Filtered = 6,
    /// Left out by 1-in-N sampling, as asked for.
    SampledOut = 7,
}

impl Uncounted {
    pub const COUNT: usize = 8;

    pub const ALL: [Self; Self::COUNT] = [
        Self::NotIp,
        Self::Truncated,
        Self::Malformed,
        Self::TooDeep,
        Self::MapFull,
        Self::InsertFailed,
        Self::Filtered,
        Self::SampledOut,
    ];

    /// The name that stands in events and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotIp => "not_ip",
            Self::Truncated => "truncated",
            Self::Malformed => "malformed",
            Self::TooDeep => "too_deep",
            Self::MapFull => "map_full",
            Self::InsertFailed => "insert_failed",
            Self::Filtered => "filtered",
            Self::SampledOut => "sampled_out",
        }
    }

    /// False for what the operator asked to leave out.
    pub const fn is_loss(self) -> bool {
        !matches!(self, Self::Filtered | Self::SampledOut)
    }
}

/// Packets (segments, for super-packets) and frame bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Count {
    pub packets: u64,
    pub wire_bytes: u64,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.packets = self.packets.saturating_add(other.packets);
        self.wire_bytes = self.wire_bytes.saturating_add(other.wire_bytes);
    }
}

/// What one CPU saw on one interface in one map generation. Only ever grows; readers take differences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct InterfaceCounters {
    pub seen: Count,
    pub uncounted: [Count; Uncounted::COUNT],
}

/// The counters of one interface, apart for the two map generations, so that what a generation's flows add up to can
/// be compared with what the interface saw, to the packet. In the map of all interfaces it stands at one of the
/// [`places`](Self::places) that its index gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct InterfaceSlot {
    /// 0: the slot is free, but for slot 0, which counts for interfaces that have none.
    pub ifindex: u32,
    pub reserved: u32,
    pub generations: [InterfaceCounters; 2],
}

impl InterfaceSlot {
    /// Slots in the map: a power of two, and as many interfaces as can be metered at most.
    pub const COUNT: u32 = 1024;
    /// Kernel indexes are mostly consecutive numbers, so that an interface mostly gets its first place.
    pub const PLACES: u32 = 8;

    /// Where an interface may stand: a place is found without a hash, and in mostly one look.
    #[inline(always)]
    pub fn places(ifindex: u32) -> impl Iterator<Item = u32> {
        (0..Self::PLACES).map(move |place| ifindex.wrapping_add(place) % Self::COUNT)
    }
}

impl InterfaceCounters {
    /// Adds what another CPU, or another drain, counted.
    pub fn merge(&mut self, other: &Self) {
        self.seen.add(other.seen);
        for (sum, other) in self.uncounted.iter_mut().zip(other.uncounted) {
            sum.add(other);
        }
    }

    /// What was not counted for `reason`.
    pub fn get(&self, reason: Uncounted) -> Count {
        self.uncounted.get(reason as usize).copied().unwrap_or_default()
    }
}

/// Where packets that found no room in the flow map are told apart: by source prefix (IPv4 /24, IPv6 /48)
/// and protocol. A flood or a scan is what fills a map, and must still be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct SpillKey {
    pub source_prefix: [u8; 16],
    pub ifindex: u32,
    pub generation: u32,
    pub protocol: u8,
    pub ipv6: u8,
    pub reserved: [u8; 2],
}

/// A view into [`Uncounted::MapFull`], not a term of the conservation law.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct SpillCounters {
    pub packets: u64,
    pub l3_bytes: u64,
    /// Packets with SYN and without ACK.
    pub syn: u64,
    /// Destination of the first spilled packet, as an example.
    pub destination: [u8; 16],
    pub destination_port: u16,
    pub reserved: [u8; 6],
}

impl SpillKey {
    /// The prefix that a source address is counted under.
    #[inline(always)]
    pub fn prefix(mut source: [u8; 16], ipv6: bool) -> [u8; 16] {
        let network = if ipv6 { 6 } else { 15 };
        for (index, byte) in source.iter_mut().enumerate() {
            if index >= network {
                *byte = 0;
            }
        }
        source
    }
}

const _: () = assert!(size_of::<InterfaceCounters>() == 16 * (1 + Uncounted::COUNT));
const _: () = assert!(size_of::<InterfaceSlot>() == 8 + 2 * size_of::<InterfaceCounters>());
const _: () = assert!(InterfaceSlot::COUNT.is_power_of_two());
const _: () = assert!(size_of::<SpillKey>() == 28);
const _: () = assert!(size_of::<SpillCounters>() == 48);
