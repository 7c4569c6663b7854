//! Merging flows that find no line of their own into summaries.

use std::{cmp::Reverse, net::IpAddr, ops::Range};

use crate::{
    emit::event::has_ports,
    enrich::{Direction, Enricher},
    flow::{Outcome, Slice},
};

/// Flows of one interval that were merged, added up. What is `None` differs between them, or none of them has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowSummary {
    pub ifindex: u32,
    /// As [`Slice::initiator_egress`].
    pub initiator_egress: bool,
    pub direction: Direction,
    pub source: Option<IpAddr>,
    pub destination: Option<IpAddr>,
    pub protocol: Option<u8>,
    /// The responder's.
    pub port: Option<u16>,
    pub flows: u64,
    /// How many different ones there are: initiators, responders, protocols with their ports.
    pub sources: u64,
    pub destinations: u64,
    pub services: u64,
    /// Flows by outcome, in the order of [`Outcome::ALL`].
    pub outcomes: [u64; Outcome::ALL.len()],
    /// First and last packet in the interval, of flows without any the connection's last; nanoseconds since the
    /// Unix epoch.
    pub first_ns: u64,
    pub last_ns: u64,
    /// What the initiators sent.
    pub forward: Volume,
    /// What the responders sent.
    pub reverse: Volume,
    pub wire_bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    pub packets: u64,
    pub l3_bytes: u64,
}

impl FlowSummary {
    pub fn packets(&self) -> u64 {
        self.forward.packets.saturating_add(self.reverse.packets)
    }

    pub fn l3_bytes(&self) -> u64 {
        self.forward.l3_bytes.saturating_add(self.reverse.l3_bytes)
    }
}

/// What flows are merged by, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// The same initiator, responder and service: a client that connects again and again.
    Conversation,
    /// The same initiator: a scan.
    Source,
    /// The same responder: a flood from many sources.
    Destination,
    /// The rest, in one line for each interface and direction.
    Point,
}

type Point = (u32, bool, Direction);
type Service = (u8, Option<u16>);
/// What is the same in all flows that are merged, and nothing else.
type Key = (Point, Option<IpAddr>, Option<IpAddr>, Option<Service>);

#[derive(Clone, Copy, Debug)]
struct Item {
    point: Point,
    source: IpAddr,
    destination: IpAddr,
    service: Service,
    /// Place among the slices.
    index: usize,
    taken: bool,
}

impl Item {
    fn key(&self, by: By) -> Key {
        let (source, destination) = (Some(self.source), Some(self.destination));
        match by {
            By::Conversation => (self.point, source, destination, Some(self.service)),
            By::Source => (self.point, source, None, None),
            By::Destination => (self.point, None, destination, None),
            By::Point => (self.point, None, None, None),
        }
    }
}

/// Merges flows; its memory is used again.
#[derive(Debug, Default)]
pub(super) struct Merger {
    items: Vec<Item>,
    groups: Vec<Range<usize>>,
    addresses: Vec<IpAddr>,
    services: Vec<Service>,
}

impl Merger {
    /// Merges all of `slices` into `lines` summaries, appended to `out`: a third of them the largest groups of each
    /// kind but the last, by flows, and what is left of the lines for [`By::Point`]. That takes more if there are more
    /// interfaces and directions than lines.
    pub(super) fn merge(
        &mut self,
        slices: &[Slice],
        enricher: &Enricher,
        lines: usize,
        out: &mut Vec<FlowSummary>,
    ) {
        self.items.clear();
        self.items
            .extend(slices.iter().enumerate().map(|(index, slice)| Item {
                point: (slice.ifindex, slice.initiator_egress, enricher.perimeter(slice).0),
                source: slice.initiator.ip,
                destination: slice.responder.ip,
                service: (slice.protocol, has_ports(slice).then_some(slice.responder.port)),
                index,
                taken: false,
            }));
        self.group(By::Point, 1);
        let lines_each = lines.saturating_sub(self.groups.len()) / 3;
        for by in [By::Conversation, By::Source, By::Destination] {
            self.group(by, 2);
            self.groups
                .sort_unstable_by_key(|group| (Reverse(group.len()), group.start));
            self.groups.truncate(lines_each);
            self.take(slices, out);
        }
        self.group(By::Point, 1);
        self.take(slices, out);
    }

    /// Finds the groups of `least` flows and more.
    fn group(&mut self, by: By, least: usize) {
        self.items.sort_unstable_by_key(|item| (item.key(by), item.index));
        self.groups.clear();
        let mut start = 0;
        for group in self.items.chunk_by(|a, b| a.key(by) == b.key(by)) {
            let end = start + group.len();
            if group.len() >= least {
                self.groups.push(start..end);
            }
            start = end;
        }
    }

    fn take(&mut self, slices: &[Slice], out: &mut Vec<FlowSummary>) {
        for group in self.groups.drain(..) {
            let items = self.items.get_mut(group).unwrap_or_default();
            for item in items.iter_mut() {
                item.taken = true;
            }
            out.extend(summary(items, slices, &mut self.addresses, &mut self.services));
        }
        self.items.retain(|item| !item.taken);
    }
}

/// `None` for no items.
fn summary(
    items: &[Item],
    slices: &[Slice],
    addresses: &mut Vec<IpAddr>,
    services: &mut Vec<Service>,
) -> Option<FlowSummary> {
    let (ifindex, initiator_egress, direction) = items.first()?.point;
    let (source, sources) = distinct(addresses, items.iter().map(|item| item.source));
    let (destination, destinations) = distinct(addresses, items.iter().map(|item| item.destination));
    let (service, service_count) = distinct(services, items.iter().map(|item| item.service));
    let first = items.first()?.service.0;
    let protocol = items.iter().all(|item| item.service.0 == first).then_some(first);
    let mut summary = FlowSummary {
        ifindex,
        initiator_egress,
        direction,
        source,
        destination,
        protocol,
        port: service.and_then(|(_, port)| port),
        flows: items.len() as u64,
        sources,
        destinations,
        services: service_count,
        outcomes: [0; Outcome::ALL.len()],
        first_ns: u64::MAX,
        last_ns: 0,
        forward: Volume::default(),
        reverse: Volume::default(),
        wire_bytes: 0,
    };
    for slice in items.iter().filter_map(|item| slices.get(item.index)) {
        for (sum, sent) in [
            (&mut summary.forward, &slice.forward),
            (&mut summary.reverse, &slice.reverse),
        ] {
            sum.packets += sent.packets;
            sum.l3_bytes += sent.l3_bytes;
            if sent.packets > 0 {
                summary.first_ns = summary.first_ns.min(sent.first_ns);
                summary.last_ns = summary.last_ns.max(sent.last_ns);
            }
        }
        if slice.packets() == 0 {
            summary.first_ns = summary.first_ns.min(slice.last_ns);
            summary.last_ns = summary.last_ns.max(slice.last_ns);
        }
        summary.wire_bytes += slice.wire_bytes();
        for (count, _) in summary
            .outcomes
            .iter_mut()
            .zip(Outcome::ALL)
            .filter(|(_, outcome)| *outcome == slice.outcome)
        {
            *count += 1;
        }
    }
    Some(summary)
}

/// The one value that all have, if there is but one, and how many different ones there are.
fn distinct<T: Ord + Copy>(scratch: &mut Vec<T>, values: impl Iterator<Item = T>) -> (Option<T>, u64) {
    scratch.clear();
    scratch.extend(values);
    scratch.sort_unstable();
    scratch.dedup();
    let only = match scratch.as_slice() {
        [only] => Some(*only),
        _ => None,
    };
    (only, scratch.len() as u64)
}
