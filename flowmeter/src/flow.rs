//! What travels between the stages: flow records out of a capture, connection slices out of the tracker.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use flowmeter_common::{
    FlowCounters, FlowKey, InterfaceCounters, SpillCounters, SpillKey, Tunnel, uncounted::Count,
};

/// One direction of a flow, as counted since the last drain (IPFIX: flow record).
///
/// The times in `counters` are nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowRecord {
    pub key: FlowKey,
    pub counters: FlowCounters,
}

/// Everything that one drain of a capture yields.
#[derive(Debug, Default)]
pub struct Batch {
    pub records: Vec<FlowRecord>,
    pub interfaces: Vec<InterfaceBatch>,
    pub spill: Vec<(SpillKey, SpillCounters)>,
    /// Flows that surely find room in the flow map.
    pub map_capacity: u64,
    /// From the flip to the last entry read, and handed on.
    pub drain_ns: u64,
}

impl Batch {
    /// Empties it for the next drain; its memory stays.
    pub fn clear(&mut self) {
        self.records.clear();
        self.interfaces.clear();
        self.spill.clear();
        self.drain_ns = 0;
    }
}

/// What one interface saw in the time that a [`Batch`] covers, over all CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceBatch {
    pub ifindex: u32,
    pub counters: InterfaceCounters,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    pub ip: IpAddr,
    /// For ICMP the type (of the initiator's end) and the code (of the responder's).
    pub port: u16,
}

/// What tells which end opened a connection, the surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InitiatorBasis {
    /// The first packet of one side was a SYN, a SYN-ACK or a lone RST.
    TcpFlags,
    /// An ICMP type that is by definition a request or a reply.
    IcmpType,
    /// One port is well known and the other is not.
    Port,
    /// One side's first packet was earlier.
    Time,
    /// Both first packets carry the same time, or one file line holds both: the lower address stands first.
    Address,
}

impl InitiatorBasis {
    pub const ALL: [Self; 5] = [
        Self::TcpFlags,
        Self::IcmpType,
        Self::Port,
        Self::Time,
        Self::Address,
    ];

    /// The name that stands in events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TcpFlags => "tcp_flags",
            Self::IcmpType => "icmp_type",
            Self::Port => "port",
            Self::Time => "time",
            Self::Address => "address",
        }
    }

    /// How far to trust it.
    pub const fn confidence(self) -> &'static str {
        match self {
            Self::TcpFlags | Self::IcmpType => "high",
            Self::Port => "medium",
            Self::Time | Self::Address => "low",
        }
    }
}

/// What became of the attempt, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The responder took part: a handshake was completed, or a datagram was answered.
    Accepted,
    /// The responder answered with RST.
    Refused,
    /// No packet came back.
    Unanswered,
    /// SYN and SYN-ACK, never an ACK (TCP only).
    HalfOpen,
}

impl Outcome {
    pub const ALL: [Self; 4] = [Self::Accepted, Self::Refused, Self::Unanswered, Self::HalfOpen];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
            Self::HalfOpen => "half_open",
        }
    }
}

/// Why a connection's record ended (RFC 7012 and IPFIX flowEndReason, IE 136).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndReason {
    IdleTimeout = 1,
    ActiveTimeout = 2,
    EndOfFlowDetected = 3,
    ForcedEnd = 4,
    LackOfResources = 5,
}

impl EndReason {
    pub const ALL: [Self; 5] = [
        Self::IdleTimeout,
        Self::ActiveTimeout,
        Self::EndOfFlowDetected,
        Self::ForcedEnd,
        Self::LackOfResources,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::IdleTimeout => "idle timeout",
            Self::ActiveTimeout => "active timeout",
            Self::EndOfFlowDetected => "end of Flow detected",
            Self::ForcedEnd => "forced end",
            Self::LackOfResources => "lack of resources",
        }
    }
}

/// One connection's traffic in one interval (biflow, RFC 5103): the unit of detection and of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Where it was seen.
    pub ifindex: u32,
    pub vlan_id: u16,
    pub tunnel: Tunnel,
    pub tunnel_id: u32,
    /// Fragments after the first, which have no ports.
    pub fragment: bool,
    pub ipv6: bool,
    pub protocol: u8,
    pub initiator: Endpoint,
    pub responder: Endpoint,
    pub basis: InitiatorBasis,
    pub outcome: Outcome,
    /// Same for every slice of a connection, different for any other: from the key and the start.
    pub id: u64,
    /// First packet of the connection, nanoseconds since the Unix epoch.
    pub start_ns: u64,
    /// Last packet of the connection so far. Never before `start_ns`.
    pub last_ns: u64,
    /// True if the initiator's packets were seen leaving the interface.
    pub initiator_egress: bool,
    /// What the initiator sent in this interval; all zero if nothing.
    pub forward: FlowCounters,
    /// What the responder sent in this interval; all zero if nothing.
    pub reverse: FlowCounters,
    /// Set in the last slice of a connection only.
    pub end: Option<EndReason>,
}

/// Nothing between nobody: for what is filled in later.
impl Default for Slice {
    fn default() -> Self {
        let nowhere = Endpoint {
            ip: Ipv4Addr::UNSPECIFIED.into(),
            port: 0,
        };
        Self {
            ifindex: 0,
            vlan_id: 0,
            tunnel: Tunnel::None,
            tunnel_id: 0,
            fragment: false,
            ipv6: false,
            protocol: 0,
            initiator: nowhere,
            responder: nowhere,
            basis: InitiatorBasis::Address,
            outcome: Outcome::Unanswered,
            id: 0,
            start_ns: 0,
            last_ns: 0,
            initiator_egress: false,
            forward: FlowCounters::default(),
            reverse: FlowCounters::default(),
            end: None,
        }
    }
}

impl Slice {
    pub fn packets(&self) -> u64 {
        self.forward.packets.saturating_add(self.reverse.packets)
    }

    pub fn l3_bytes(&self) -> u64 {
        self.forward.l3_bytes.saturating_add(self.reverse.l3_bytes)
    }

    pub fn wire_bytes(&self) -> u64 {
        self.forward.wire_bytes.saturating_add(self.reverse.wire_bytes)
    }
}

/// One interface's account of one interval: what it saw, what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceStatistics {
    pub ifindex: u32,
    pub interface: String,
    pub start_ns: u64,
    pub end_ns: u64,
    pub counters: InterfaceCounters,
    /// Sum over the slices that are in events of this interface.
    pub exported: Count,
    pub exported_l3_bytes: u64,
    pub exported_slices: u64,
    /// The part of them that is in summaries.
    pub summarised: Count,
    pub summarised_slices: u64,
    pub summaries: u64,
    /// Sum over the slices that are in no event: only findings are wanted.
    pub left_out: Count,
    pub left_out_slices: u64,
}

impl InterfaceStatistics {
    /// Adds those of a later interval of the same interface.
    pub fn merge(&mut self, later: &Self) {
        self.end_ns = later.end_ns;
        self.interface.clone_from(&later.interface);
        self.counters.merge(&later.counters);
        for (sum, count) in [
            (&mut self.exported, later.exported),
            (&mut self.summarised, later.summarised),
            (&mut self.left_out, later.left_out),
        ] {
            sum.packets += count.packets;
            sum.wire_bytes += count.wire_bytes;
        }
        self.exported_l3_bytes += later.exported_l3_bytes;
        self.exported_slices += later.exported_slices;
        self.summarised_slices += later.summarised_slices;
        self.summaries += later.summaries;
        self.left_out_slices += later.left_out_slices;
    }
}

/// An address as the flow key holds it, to what people read.
pub fn ip_address(address: [u8; 16], ipv6: bool) -> IpAddr {
    if ipv6 {
        IpAddr::V6(Ipv6Addr::from(address))
    } else {
        let [.., a, b, c, d] = address;
        IpAddr::from([a, b, c, d])
    }
}
