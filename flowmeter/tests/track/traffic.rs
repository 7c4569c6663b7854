//! Packets and intervals for the tests, in seconds after the epoch.

use std::net::IpAddr;

use flowmeter::{
    config,
    flow::{FlowRecord, Slice},
    track::Tracker,
};
use flowmeter_common::{
    FlowCounters, FlowKey, KeyFlags, Sizes,
    flow::protocol::{TCP, UDP},
};

pub(crate) const SECOND: u64 = 1_000_000_000;

pub(crate) const fn seconds(seconds: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small positive test times"
    )]
    let nanoseconds = (seconds * 1e9) as u64;
    nanoseconds
}

/// One direction of a connection.
#[derive(Clone, Copy)]
pub(crate) struct Way(pub(crate) FlowKey);

impl Way {
    pub(crate) fn tcp(from: (u8, u16), to: (u8, u16)) -> Self {
        Self::new(TCP, from, to)
    }

    pub(crate) fn udp(from: (u8, u16), to: (u8, u16)) -> Self {
        Self::new(UDP, from, to)
    }

    pub(crate) fn new(protocol: u8, (from, from_port): (u8, u16), (to, to_port): (u8, u16)) -> Self {
        Self(FlowKey {
            source: address(from),
            destination: address(to),
            source_port: from_port,
            destination_port: to_port,
            protocol,
            ifindex: 2,
            ..FlowKey::default()
        })
    }

    pub(crate) fn back(self) -> Self {
        Self(FlowKey {
            source: self.0.destination,
            destination: self.0.source,
            source_port: self.0.destination_port,
            destination_port: self.0.source_port,
            ..self.0
        })
    }

    pub(crate) fn egress(self) -> Self {
        Self(FlowKey {
            flags: KeyFlags(self.0.flags.0 | KeyFlags::EGRESS),
            ..self.0
        })
    }

    /// One packet of 100 bytes.
    pub(crate) fn packet(self, at: f64, flags: u8) -> FlowRecord {
        self.packets(&[(at, flags)])
    }

    /// A record of packets of 100 bytes.
    pub(crate) fn packets(self, packets: &[(f64, u8)]) -> FlowRecord {
        let mut counters = FlowCounters::default();
        for &(at, flags) in packets {
            let sizes = Sizes {
                packets: 1,
                l3_bytes: 100,
                wire_bytes: 114,
            };
            counters.merge(&FlowCounters::first(sizes, flags, seconds(at)));
        }
        FlowRecord {
            key: self.0,
            counters,
        }
    }
}

/// 10.0.0.`last`, v4-mapped.
fn address(last: u8) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, last]
}

pub(crate) fn ip(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

/// The defaults (TCP idle 300 s, other 60 s, active 3600 s), with room for so many connections.
pub(crate) fn tracker(max_connections: usize) -> Tracker {
    Tracker::new(&config::Track {
        max_connections,
        ..config::Track::default()
    })
}

/// Takes in the records and closes the interval.
pub(crate) fn interval(tracker: &mut Tracker, records: &[FlowRecord], close: f64) -> Vec<Slice> {
    let mut slices = Vec::new();
    tracker.ingest(records, &mut slices);
    assert!(slices.is_empty(), "nothing is evicted here");
    tracker.close_interval(seconds(close), &mut slices);
    slices
}

/// What [`interval`] wrote, if it was one slice.
pub(crate) fn one(tracker: &mut Tracker, records: &[FlowRecord], close: f64) -> Slice {
    let slices = interval(tracker, records, close);
    let [slice] = slices.as_slice() else {
        panic!("one slice expected: {slices:#?}")
    };
    slice.clone()
}

/// Closes an interval without traffic.
pub(crate) fn quiet(tracker: &mut Tracker, close: f64) -> Vec<Slice> {
    interval(tracker, &[], close)
}
