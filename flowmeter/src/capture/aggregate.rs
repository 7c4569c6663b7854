//! Frames to flow records, as the kernel's programs and their maps make them.

use std::collections::BTreeMap;

use flowmeter_common::{
    FlowCounters, FlowKey, Gso, InterfaceCounters, Link, Packet, Sizes, Uncounted, parse, uncounted::Count,
};
use hashbrown::HashMap;

use crate::{
    config::Tunnels,
    flow::{Batch, FlowRecord, InterfaceBatch},
};

/// What was counted since the last [`Self::take`]: the user-space twin of the kernel's flow map and
/// per-interface counters. Times are nanoseconds since the Unix epoch.
///
/// It does not depend on the order of what is added. It has room for any number of flows, so nothing is
/// ever counted as [`Uncounted::MapFull`].
#[derive(Debug, Default)]
pub struct Aggregate {
    flows: HashMap<FlowKey, FlowCounters>,
    interfaces: BTreeMap<u32, InterfaceCounters>,
    tunnels: Tunnels,
}

impl Aggregate {
    pub fn new(tunnels: Tunnels) -> Self {
        Self {
            tunnels,
            ..Self::default()
        }
    }

    /// Adds a frame of `original_length` bytes, of which `data` was captured.
    ///
    /// As in the kernel, a frame is seen, and then either in a flow or uncounted for one reason.
    pub fn frame(&mut self, ifindex: u32, link: Link, data: &[u8], original_length: u32, time_ns: u64) {
        let mut packet = Packet::default();
        let sizes = parse(data, link, self.tunnels == Tunnels::Inner, &mut packet)
            .and_then(|()| packet.sizes(original_length, 0, Gso::default()));
        match sizes {
            Ok(sizes) => {
                packet.key.ifindex = ifindex;
                self.flow(packet.key, sizes, packet.tcp_flags, time_ns);
            }
            Err(reason) => self.uncounted(ifindex, reason, original_length),
        }
    }

    /// Adds a frame that is in no flow.
    pub fn uncounted(&mut self, ifindex: u32, reason: Uncounted, original_length: u32) {
        let counters = self.interfaces.entry(ifindex).or_default();
        let frame = Count {
            packets: 1,
            wire_bytes: u64::from(original_length),
        };
        add(&mut counters.seen, frame);
        if let Some(count) = counters.uncounted.get_mut(reason as usize) {
            add(count, frame);
        }
    }

    /// Adds what another meter has counted.
    pub fn record(&mut self, record: &FlowRecord) {
        let FlowRecord { key, counters } = record;
        let seen = Count {
            packets: counters.packets,
            wire_bytes: counters.wire_bytes,
        };
        add(&mut self.interfaces.entry(key.ifindex).or_default().seen, seen);
        self.flows.entry(*key).or_default().merge(counters);
    }

    fn flow(&mut self, key: FlowKey, sizes: Sizes, tcp_flags: u8, time_ns: u64) {
        let seen = Count {
            packets: u64::from(sizes.packets),
            wire_bytes: sizes.wire_bytes,
        };
        add(&mut self.interfaces.entry(key.ifindex).or_default().seen, seen);
        let counters = FlowCounters::first(sizes, tcp_flags, time_ns);
        self.flows.entry(key).or_default().merge(&counters);
    }

    /// Hands over what was counted, sorted by key, and starts anew.
    pub fn take(&mut self) -> Batch {
        let mut records: Vec<_> = self
            .flows
            .drain()
            .map(|(key, counters)| FlowRecord { key, counters })
            .collect();
        records.sort_unstable_by_key(|record| record.key);
        let interfaces = std::mem::take(&mut self.interfaces)
            .into_iter()
            .map(|(ifindex, counters)| InterfaceBatch { ifindex, counters })
            .collect();
        Batch {
            records,
            interfaces,
            ..Batch::default()
        }
    }
}

fn add(to: &mut Count, count: Count) {
    to.packets = to.packets.saturating_add(count.packets);
    to.wire_bytes = to.wire_bytes.saturating_add(count.wire_bytes);
}
