//! Merging flows that find no line of their own into summaries.

use std::net::IpAddr;

use crate::{
    emit::{
        event::has_ports,
        groups::{Group, Groups},
    },
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
    /// Of no flow yet.
    fn new((ifindex, initiator_egress, direction): Point) -> Self {
        Self {
            ifindex,
            initiator_egress,
            direction,
            source: None,
            destination: None,
            protocol: None,
            port: None,
            flows: 0,
            sources: 0,
            destinations: 0,
            services: 0,
            outcomes: [0; Outcome::ALL.len()],
            first_ns: u64::MAX,
            last_ns: 0,
            forward: Volume::default(),
            reverse: Volume::default(),
            wire_bytes: 0,
        }
    }

    fn add(&mut self, slice: &Slice) {
        self.flows += 1;
        for (sum, sent) in [
            (&mut self.forward, &slice.forward),
            (&mut self.reverse, &slice.reverse),
        ] {
            sum.packets += sent.packets;
            sum.l3_bytes += sent.l3_bytes;
            if sent.packets > 0 {
                self.first_ns = self.first_ns.min(sent.first_ns);
                self.last_ns = self.last_ns.max(sent.last_ns);
            }
        }
        if slice.packets() == 0 {
            self.first_ns = self.first_ns.min(slice.last_ns);
            self.last_ns = self.last_ns.max(slice.last_ns);
        }
        self.wire_bytes += slice.wire_bytes();
        for (count, outcome) in self.outcomes.iter_mut().zip(Outcome::ALL) {
            *count += u64::from(outcome == slice.outcome);
        }
    }

    pub fn packets(&self) -> u64 {
        self.forward.packets.saturating_add(self.reverse.packets)
    }

    pub fn l3_bytes(&self) -> u64 {
        self.forward.l3_bytes.saturating_add(self.reverse.l3_bytes)
    }
}

type Point = (u32, bool, Direction);
/// Protocol, whether it has ports, and the responder's: one number, so that it sorts in this order.
type Service = u32;
/// An initiator or responder where it was seen: the number of the point, and the address.
type End = (u32, IpAddr);
/// The numbers of initiator and responder, and the service.
type Conversation = (u32, u32, Service);

/// Merges flows; its memory is used again.
#[derive(Debug, Default)]
pub(super) struct Merger {
    points: Groups<Point>,
    sources: Groups<End>,
    destinations: Groups<End>,
    conversations: Groups<Conversation>,
    /// Of each slice, the number of its conversation.
    numbers: Vec<u32>,
    /// What is sorted: groups by flows, then what is different in each line.
    pairs: Vec<(u32, u32)>,
}

impl Merger {
    /// Merges all of `slices` into `lines` summaries, appended to `out`. A third of them each are for the largest
    /// groups, by flows, of
    /// - the same initiator, responder and service: a client that connects again and again,
    /// - the same initiator, of what is left: a scan,
    /// - the same responder, of what is left then: a flood from many sources,
    ///
    /// and what is left of the lines for the rest, in one for each interface and direction. That takes more if there
    /// are more of these than lines. Neither what is in them nor their order depends on the order of `slices`.
    pub(super) fn merge(
        &mut self,
        slices: &[Slice],
        enricher: &Enricher,
        lines: usize,
        out: &mut Vec<FlowSummary>,
    ) {
        self.number(slices, enricher);
        let lines_each = lines.saturating_sub(self.points.groups.len()) / 3;
        self.give_lines(lines_each);
        let first = out.len();
        self.describe(out);
        let conversations = self.numbers.iter().map(|number| self.conversations.line(*number));
        for (slice, line) in slices.iter().zip(conversations) {
            if let Some(summary) = line.and_then(|line| out.get_mut(first + line.get() as usize - 1)) {
                summary.add(slice);
            }
        }
    }

    fn number(&mut self, slices: &[Slice], enricher: &Enricher) {
        self.points.clear();
        self.sources.clear();
        self.destinations.clear();
        self.conversations.clear();
        self.numbers.clear();
        self.numbers.extend(slices.iter().map(|slice| {
            let direction = enricher.perimeter(slice).0;
            let point = self
                .points
                .add((slice.ifindex, slice.initiator_egress, direction));
            self.conversations.add((
                self.sources.add((point, slice.initiator.ip)),
                self.destinations.add((point, slice.responder.ip)),
                service(slice),
            ))
        }));
    }

    /// Each conversation gets the number of its line.
    fn give_lines(&mut self, lines_each: usize) {
        let Self {
            points,
            sources,
            destinations,
            conversations,
            pairs,
            ..
        } = self;
        let point_of = |(point, _): End| points.key(point);
        let mut lines = 0;
        conversations.choose(
            lines_each,
            |(source, destination, service)| {
                let (source, destination) = (sources.key(source), destinations.key(destination));
                let ip = |end: Option<End>| end.map(|(_, ip)| ip);
                (source.map(point_of), ip(source), ip(destination), service)
            },
            &mut lines,
            pairs,
        );
        for group in &conversations.groups {
            let (source, destination, _) = group.key;
            if group.line.is_some() {
                sources.take(source, group.flows);
                destinations.take(destination, group.flows);
            }
        }
        sources.choose(lines_each, |end| (point_of(end), end.1), &mut lines, pairs);
        for group in &mut conversations.groups {
            let (source, destination, _) = group.key;
            if group.line.is_none() {
                group.line = sources.line(source);
                if group.line.is_some() {
                    destinations.take(destination, group.flows);
                }
            }
        }
        destinations.choose(lines_each, |end| (point_of(end), end.1), &mut lines, pairs);
        let point_of = |source| sources.key(source).map_or(u32::MAX, |(point, _)| point);
        for group in &mut conversations.groups {
            let (source, destination, _) = group.key;
            group.line = group.line.or_else(|| destinations.line(destination));
            if group.line.is_some() {
                points.take(point_of(source), group.flows);
            }
        }
        points.list(1, pairs);
        pairs.sort_unstable_by_key(|(number, _)| points.key(*number));
        points.give_lines(&mut lines, pairs);
        for group in &mut conversations.groups {
            let (source, ..) = group.key;
            group.line = group.line.or_else(|| points.line(point_of(source)));
        }
    }

    /// Appends the summaries of all lines, without any flow.
    fn describe(&mut self, out: &mut Vec<FlowSummary>) {
        let first = out.len();
        let Self {
            points,
            sources,
            destinations,
            conversations,
            pairs,
            ..
        } = self;
        different(pairs, &conversations.groups, |(source, ..)| source);
        out.extend(pairs.chunk_by(same_line).filter_map(|line| {
            let (point, ip) = sources.key(line.first()?.1)?;
            let mut summary = FlowSummary::new(points.key(point)?);
            summary.source = (line.len() == 1).then_some(ip);
            summary.sources = line.len() as u64;
            Some(summary)
        }));
        let summaries = out.get_mut(first..).unwrap_or_default();
        different(pairs, &conversations.groups, |(_, destination, _)| destination);
        for (summary, line) in summaries.iter_mut().zip(pairs.chunk_by(same_line)) {
            if let [(_, only)] = line {
                summary.destination = destinations.key(*only).map(|(_, ip)| ip);
            }
            summary.destinations = line.len() as u64;
        }
        different(pairs, &conversations.groups, |(.., service)| service);
        for (summary, line) in summaries.iter_mut().zip(pairs.chunk_by(same_line)) {
            if let [(_, only)] = line {
                summary.port = port_of(*only);
            }
            // Sorted by protocol.
            if let ([(_, first), ..], [.., (_, last)]) = (line, line) {
                summary.protocol = (protocol_of(*first) == protocol_of(*last)).then_some(protocol_of(*first));
            }
            summary.services = line.len() as u64;
        }
    }
}

/// What is different in each line, sorted by line.
fn different(
    out: &mut Vec<(u32, u32)>,
    conversations: &[Group<Conversation>],
    what: impl Fn(Conversation) -> u32,
) {
    out.clear();
    out.extend(
        conversations
            .iter()
            .filter_map(|group| Some((group.line?.get(), what(group.key)))),
    );
    out.sort_unstable();
    out.dedup();
}

fn same_line((line, _): &(u32, u32), (other, _): &(u32, u32)) -> bool {
    line == other
}

const fn service(slice: &Slice) -> Service {
    let [high, low] = slice.responder.port.to_be_bytes();
    u32::from_be_bytes(if has_ports(slice) {
        [slice.protocol, 1, high, low]
    } else {
        [slice.protocol, 0, 0, 0]
    })
}

const fn protocol_of(service: Service) -> u8 {
    service.to_be_bytes()[0]
}

fn port_of(service: Service) -> Option<u16> {
    let [_, has_ports, high, low] = service.to_be_bytes();
    (has_ports == 1).then_some(u16::from_be_bytes([high, low]))
}

#[cfg(test)]
mod tests {
    use std::{
        cmp::Reverse,
        collections::{BTreeMap, BTreeSet},
    };

    use flowmeter_common::{FlowCounters, Tunnel};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        config::Config,
        flow::{Endpoint, InitiatorBasis},
    };

    /// What is the same in all flows of a line, and nothing else, in the order of the lines.
    type Key = (
        (u32, bool, Direction),
        Option<IpAddr>,
        Option<IpAddr>,
        Option<(u8, Option<u16>)>,
    );

    fn service_of(slice: &Slice) -> (u8, Option<u16>) {
        (slice.protocol, has_ports(slice).then_some(slice.responder.port))
    }

    fn only<T: Copy + Ord>(set: &BTreeSet<T>) -> Option<T> {
        set.first().copied().filter(|_| set.len() == 1)
    }

    /// The definition, step by step.
    fn expected(slices: &[Slice], enricher: &Enricher, lines: usize) -> Vec<FlowSummary> {
        let point = |slice: &Slice| (slice.ifindex, slice.initiator_egress, enricher.perimeter(slice).0);
        let keys: [&dyn Fn(&Slice) -> Key; 4] = [
            &|slice| {
                (
                    point(slice),
                    Some(slice.initiator.ip),
                    Some(slice.responder.ip),
                    Some(service_of(slice)),
                )
            },
            &|slice| (point(slice), Some(slice.initiator.ip), None, None),
            &|slice| (point(slice), None, Some(slice.responder.ip), None),
            &|slice| (point(slice), None, None, None),
        ];
        let points = slices.iter().map(point).collect::<BTreeSet<_>>().len();
        let lines_each = lines.saturating_sub(points) / 3;
        let mut left: Vec<&Slice> = slices.iter().collect();
        let mut summaries = Vec::new();
        for (step, key) in keys.into_iter().enumerate() {
            let mut groups: BTreeMap<Key, Vec<&Slice>> = BTreeMap::new();
            for slice in &left {
                groups.entry(key(slice)).or_default().push(slice);
            }
            let mut groups: Vec<_> = groups.into_iter().collect();
            if step < 3 {
                groups.retain(|(_, group)| group.len() >= 2);
                groups.sort_by_key(|(_, group)| Reverse(group.len()));
                groups.truncate(lines_each);
            }
            left.retain(|slice| !groups.iter().any(|(chosen, _)| *chosen == key(slice)));
            for ((point, ..), group) in groups {
                let mut summary = FlowSummary::new(point);
                group.iter().for_each(|slice| summary.add(slice));
                let sources: BTreeSet<_> = group.iter().map(|slice| slice.initiator.ip).collect();
                let destinations: BTreeSet<_> = group.iter().map(|slice| slice.responder.ip).collect();
                let services: BTreeSet<_> = group.iter().map(|slice| service_of(slice)).collect();
                let protocols: BTreeSet<_> = group.iter().map(|slice| slice.protocol).collect();
                summary.source = only(&sources);
                summary.destination = only(&destinations);
                summary.protocol = only(&protocols);
                summary.port = only(&services).and_then(|(_, port)| port);
                summary.sources = sources.len() as u64;
                summary.destinations = destinations.len() as u64;
                summary.services = services.len() as u64;
                summaries.push(summary);
            }
        }
        summaries
    }

    fn slices() -> impl Strategy<Value = Vec<Slice>> {
        let slice = (
            1..3_u32,
            any::<bool>(),
            0..6_u8,
            0..6_u8,
            0..3_u16,
            0..4_usize,
            0..5_u64,
        );
        let slice = slice.prop_map(
            |(ifindex, initiator_egress, from, to, port, kind, packets)| Slice {
                ifindex,
                initiator_egress,
                vlan_id: 0,
                tunnel: Tunnel::default(),
                tunnel_id: 0,
                fragment: kind == 3,
                ipv6: false,
                protocol: [1, 6, 17, 17][kind],
                initiator: Endpoint {
                    ip: IpAddr::from([[10, 0, 0, from], [192, 0, 2, from]][usize::from(from % 2)]),
                    port: 40_000,
                },
                responder: Endpoint {
                    ip: IpAddr::from([10, 0, 1, to]),
                    port,
                },
                basis: InitiatorBasis::Port,
                outcome: Outcome::ALL[kind],
                id: 0,
                start_ns: 5,
                last_ns: 5 + packets,
                forward: FlowCounters {
                    packets,
                    l3_bytes: packets * 100,
                    wire_bytes: packets * 114,
                    first_ns: 5,
                    last_ns: 5 + packets,
                    ..FlowCounters::default()
                },
                reverse: FlowCounters::default(),
                end: None,
            },
        );
        prop::collection::vec(slice, 0..120)
    }

    proptest! {
        #[test]
        fn summaries_are_those_of_the_definition_in_whatever_order_the_flows_come(
            (slices, shuffled) in slices().prop_flat_map(|slices| {
                let shuffled = Just(slices.clone()).prop_shuffle();
                (Just(slices), shuffled)
            }),
            others in slices(),
            lines in 0..40_usize,
        ) {
            let enricher = Enricher::new(&Config::default()).unwrap();
            let mut merger = Merger::default();
            let mut merge = |slices: &[Slice]| {
                let mut out = Vec::new();
                merger.merge(slices, &enricher, lines, &mut out);
                out
            };
            // Nothing of an interval is left for the next.
            merge(&others);
            let merged = merge(&slices);
            prop_assert_eq!(&merged, &expected(&slices, &enricher, lines));
            prop_assert_eq!(&merged, &merge(&shuffled));
        }
    }
}
