//! Flow records as a drain gives them: connections in no order, the same on every run.

use flowmeter::flow::FlowRecord;
use flowmeter_common::{
    FlowCounters, FlowKey, KeyFlags, Sizes,
    flow::{
        protocol::TCP,
        tcp_flags::{ACK, FIN, PSH, SYN},
    },
};

pub(crate) const EPOCH_NS: u64 = 1_777_203_920_000_000_000;
pub(crate) const TICK_NS: u64 = 10_000_000_000;

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// The same answered TCP connections in each tick, two records each
    Steady,
    /// Answered TCP connections that begin and end within their tick, two records each
    New,
    /// One SYN each from addresses that never come again, to one server
    Flood,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::New => "new",
            Self::Flood => "flood",
        }
    }
}

pub(crate) struct Traffic {
    kind: Kind,
    flows: u32,
    start_ns: u64,
}

/// A scrambled number (SplitMix64), the same for the same number.
const fn scrambled(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

const fn mapped([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

impl Traffic {
    pub(crate) const fn new(kind: Kind, flows: u32, start_ns: u64) -> Self {
        Self {
            kind,
            flows,
            start_ns,
        }
    }

    /// The records of a tick.
    pub(crate) fn fill(&mut self, tick: u64, records: &mut Vec<FlowRecord>) {
        records.clear();
        let start_ns = self.start_ns + tick * TICK_NS;
        match self.kind {
            Kind::Flood => (0..u64::from(self.flows)).for_each(|number| {
                records.push(syn(scrambled(tick * u64::from(self.flows) + number), start_ns));
            }),
            Kind::Steady | Kind::New => (0..u64::from(self.flows / 2)).for_each(|number| {
                let ticks = if self.kind == Kind::New { tick } else { 0 };
                let first = self.kind == Kind::New || tick == 0;
                let salt = scrambled(ticks * u64::from(self.flows) + number);
                records.extend(answered(number, salt, start_ns, first, self.kind == Kind::New));
            }),
        }
        // The order of a hash is no order, neither that of time nor that of addresses; but the directions of a connection
        // come together, since the kernel's table keeps them in one page.
        let directions = if self.kind == Kind::Flood { 1 } else { 2 };
        let connections = records.len() / directions;
        for at in (1..connections).rev() {
            let with = usize::try_from(scrambled(at as u64) % (at as u64 + 1)).unwrap_or(0);
            for direction in 0..directions {
                records.swap(at * directions + direction, with * directions + direction);
            }
        }
    }
}

fn sent(packets: u32, bytes: u64, flags: u8, first_flags: u8, first_ns: u64, last_ns: u64) -> FlowCounters {
    let sizes = Sizes {
        packets,
        l3_bytes: bytes,
        wire_bytes: bytes + 14 * u64::from(packets),
    };
    FlowCounters {
        last_ns,
        first_tcp_flags: first_flags,
        fin: u32::from(flags & FIN != 0),
        syn: u32::from(first_flags == SYN),
        syn_ack: u32::from(first_flags == SYN | ACK),
        ..FlowCounters::first(sizes, flags, first_ns)
    }
}

/// 10,000 inside hosts as clients of 5,000 servers, most of them outside.
fn answered(number: u64, salt: u64, start_ns: u64, first: bool, last: bool) -> [FlowRecord; 2] {
    let [a, b, c, d, e, f, ..] = salt.to_le_bytes();
    let client = u16::try_from(number % 10_000).unwrap_or(0).to_be_bytes();
    let server = u16::from_le_bytes([a, b]) % 5_000;
    let [high, low] = server.to_be_bytes();
    let inside = server.is_multiple_of(5);
    let key = FlowKey {
        source: mapped([10, 1, client[0], client[1]]),
        destination: mapped(if inside {
            [10, 2, high, low]
        } else {
            [198, 18, high, low]
        }),
        source_port: 1024 + u16::from_le_bytes([c, d]) % 60_000,
        destination_port: match e % 8 {
            0 => 80,
            1 => 22,
            2 => 445,
            3 => 8443,
            _ => 443,
        },
        protocol: TCP,
        flags: KeyFlags(0),
        vlan_id: 0,
        ifindex: 2,
        tunnel_id: 0,
    };
    let back = FlowKey {
        source: key.destination,
        destination: key.source,
        source_port: key.destination_port,
        destination_port: key.source_port,
        flags: KeyFlags(KeyFlags::EGRESS),
        ..key
    };
    let first_ns = start_ns + salt % (TICK_NS / 2);
    let last_ns = first_ns + u64::from(f) * 1_000_000 + 40_000;
    let with = |flags: u8, opening: u8| {
        let closing = if last { FIN } else { 0 };
        (
            flags | closing | if first { opening } else { 0 },
            if first { opening } else { flags },
        )
    };
    let (flags, first_flags) = with(ACK | PSH, SYN);
    let (back_flags, back_first) = with(ACK | PSH, SYN | ACK);
    let packets = 6 + u32::from(f) % 40;
    [
        FlowRecord {
            key,
            counters: sent(
                packets,
                u64::from(packets) * 211,
                flags,
                first_flags,
                first_ns,
                last_ns,
            ),
        },
        FlowRecord {
            key: back,
            counters: sent(
                packets + 2,
                u64::from(packets) * 1307,
                back_flags,
                back_first,
                first_ns + 20_000,
                last_ns + 20_000,
            ),
        },
    ]
}

fn syn(salt: u64, start_ns: u64) -> FlowRecord {
    let [a, b, c, d, e, f, ..] = salt.to_le_bytes();
    let first_ns = start_ns + salt % (TICK_NS - 1_000_000_000);
    FlowRecord {
        key: FlowKey {
            source: mapped([32 + a % 64, b, c, d]),
            destination: mapped([10, 0, 0, 80]),
            source_port: 1024 + u16::from_le_bytes([e, f]) % 60_000,
            destination_port: 80,
            protocol: TCP,
            flags: KeyFlags(0),
            vlan_id: 0,
            ifindex: 2,
            tunnel_id: 0,
        },
        counters: sent(1, 40, SYN, SYN, first_ns, first_ns),
    }
}
