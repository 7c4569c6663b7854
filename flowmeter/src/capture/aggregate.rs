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

    /// Adds to what an interface has seen, and to no flow.
    pub fn seen(&mut self, ifindex: u32, packets: u64, wire_bytes: u64) {
        let seen = Count { packets, wire_bytes };
        add(&mut self.interfaces.entry(ifindex).or_default().seen, seen);
    }

    /// Flows so far.
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    fn flow(&mut self, key: FlowKey, sizes: Sizes, tcp_flags: u8, time_ns: u64) {
        self.seen(key.ifindex, u64::from(sizes.packets), sizes.wire_bytes);
        let counters = FlowCounters::first(sizes, tcp_flags, time_ns);
        self.flows.entry(key).or_default().merge(&counters);
    }

    /// Hands over what was counted and starts anew. Records are in no order.
    pub fn take(&mut self) -> Batch {
        let records = self
            .flows
            .drain()
            .map(|(key, counters)| FlowRecord { key, counters })
            .collect();
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

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// TCP from 192.0.2.1 to .2 with the given source port and flags; `extra` bytes of payload.
    fn packet(port: u8, flags: u8, extra: u8) -> Vec<u8> {
        let mut packet = vec![
            0x45,
            0,
            0,
            40 + extra,
            0,
            0,
            0,
            0,
            64,
            6,
            0,
            0,
            192,
            0,
            2,
            1,
            192,
            0,
            2,
            2,
        ];
        packet.extend([
            0, port, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0,
        ]);
        packet.resize(40 + usize::from(extra), 0);
        packet
    }

    #[test]
    fn a_frame_is_in_a_flow_or_uncounted_for_one_reason() {
        let mut aggregate = Aggregate::new(Tunnels::Outer);
        let syn = packet(9, 2, 0);
        aggregate.frame(3, Link::Ip, &syn, 40, 1_000);
        aggregate.frame(3, Link::Ip, &packet(9, 0x12, 4), 44, 3_000);
        aggregate.frame(3, Link::Ip, &syn[..20], 40, 1_000);
        aggregate.frame(3, Link::Ip, &syn, 39, 1_000);
        aggregate.frame(4, Link::Ip, &[0, 0], 60, 1_000);
        let batch = aggregate.take();
        let [record] = batch.records.as_slice() else {
            panic!("{batch:?}")
        };
        assert_eq!(
            (
                record.key.ifindex,
                record.key.source_port,
                record.key.destination_port
            ),
            (3, 9, 80)
        );
        let expected = FlowCounters {
            packets: 2,
            l3_bytes: 84,
            wire_bytes: 84,
            first_ns: 1_000,
            last_ns: 3_000,
            syn: 1,
            syn_ack: 1,
            tcp_flags: 0x12,
            first_tcp_flags: 2,
            ..FlowCounters::default()
        };
        assert_eq!(record.counters, expected);
        let of = |ifindex: u32, reason: Option<Uncounted>| {
            let interface = batch
                .interfaces
                .iter()
                .find(|interface| interface.ifindex == ifindex)
                .unwrap();
            let count = reason.map_or(interface.counters.seen, |reason| {
                interface.counters.uncounted[reason as usize]
            });
            (count.packets, count.wire_bytes)
        };
        assert_eq!(of(3, None), (4, 84 + 40 + 39));
        assert_eq!(of(3, Some(Uncounted::Truncated)), (1, 40));
        assert_eq!(of(3, Some(Uncounted::Malformed)), (1, 39));
        assert_eq!(of(4, None), (1, 60));
        assert_eq!(of(4, Some(Uncounted::NotIp)), (1, 60));
        assert!(aggregate.take().interfaces.is_empty());
    }

    #[test]
    fn tunnels_are_entered_only_if_asked_for() {
        let inside = packet(9, 2, 0);
        let mut outside = vec![0x45, 0, 0, 60, 0, 0, 0, 0, 64, 4, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        outside.extend(&inside);
        let protocol = |tunnels| {
            let mut aggregate = Aggregate::new(tunnels);
            aggregate.frame(1, Link::Ip, &outside, 60, 1);
            aggregate
                .take()
                .records
                .first()
                .map(|record| (record.key.protocol, record.counters.l3_bytes))
        };
        assert_eq!(protocol(Tunnels::Outer), Some((4, 60)));
        assert_eq!(protocol(Tunnels::Inner), Some((6, 40)));
    }

    proptest! {
        #[test]
        fn the_order_of_packets_does_not_matter(
            packets in vec((1..4_u8, any::<u8>(), 0..20_u8, 1..6_u64), 1..40).prop_shuffle(),
            rotate in any::<prop::sample::Index>(),
        ) {
            let counted = |packets: &[(u8, u8, u8, u64)]| {
                let mut aggregate = Aggregate::new(Tunnels::Outer);
                for &(port, flags, extra, time_ns) in packets {
                    aggregate.frame(1, Link::Ip, &packet(port, flags, extra), 40 + u32::from(extra), time_ns);
                }
                let mut records = aggregate.take().records;
                records.sort_unstable_by_key(|record| record.key);
                records
            };
            let mut other = packets.clone();
            other.rotate_left(rotate.index(packets.len()));
            other.reverse();
            prop_assert_eq!(counted(&packets), counted(&other));
        }
    }
}
