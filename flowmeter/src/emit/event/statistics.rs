//! The statistics event: what one interface saw in one interval, and what became of it.

use std::{collections::BTreeMap, net::IpAddr};

use flowmeter_common::{Count, SpillCounters, SpillKey, Uncounted};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    EcsVersion, Encoder, Event, Interface, Named, Observer,
    value::{Counter, Duration, Milliseconds, Nanoseconds, ProtocolName, Words},
};
use crate::{
    config::Schema,
    detect::Usage,
    flow::{InterfaceStatistics, ip_address},
};

/// Spill entries that are listed, the largest first; the others are in `spill.entries` and in
/// `lost.map_full`.
const SPILL_LISTED: usize = 8;

/// What one interval was like for the whole agent, over all interfaces.
#[derive(Clone, Copy, Debug, Default)]
pub struct IntervalFacts<'a> {
    /// Entries read from the flow map, and how many it has room for.
    pub map_entries: u64,
    pub map_capacity: u64,
    /// Drains before the interval's end because the map was filling up.
    pub early_drains: u64,
    /// From the flip to the last entry read.
    pub drain_ns: u64,
    pub connections: u64,
    pub connections_capacity: u64,
    /// Connections ended early in this interval for lack of room.
    pub connections_evicted: u64,
    /// Entries of any interface; each event takes its own.
    pub spill: &'a [(SpillKey, SpillCounters)],
    /// How full the detectors' tables are.
    pub detect_tables: &'a [Usage],
    /// Findings that each entry of `detect.allow` kept back.
    pub allow_hits: &'a [u64],
}

/// What became of the lines, as the writer of the events tells it.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutputFacts<'a> {
    /// The event file.
    pub file: FileFacts<'a>,
    /// The file that takes every flow, if there is one.
    pub all_flows: Option<FileFacts<'a>>,
    /// Of this interface, since its last statistics event.
    pub withheld: Withheld,
}

/// What became of the lines of one file.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileFacts<'a> {
    /// Lines taken since the start, written or still waiting.
    pub lines: u64,
    /// Lines that were given up since the start, of all interfaces.
    pub withheld_lines: u64,
    /// Bytes that wait for the file to become writable.
    pub pending_bytes: u64,
    /// Failed attempts to write or rotate since the start.
    pub errors: u64,
    /// The last of them, if there was one since the last statistics event.
    pub last_error: Option<&'a str>,
}

/// Flow events and summaries that were counted as exported and never reached the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Withheld {
    /// Statistics events among them.
    pub lines: u64,
    pub packets: u64,
    pub wire_bytes: u64,
}

#[derive(Serialize)]
pub(super) struct StatisticsEvent<'a> {
    #[serde(rename = "@timestamp")]
    timestamp: Milliseconds,
    #[serde(skip_serializing_if = "Option::is_none")]
    netflow: Option<&'static str>,
    event: Event,
    #[serde(skip_serializing_if = "Option::is_none")]
    ecs: Option<EcsVersion>,
    #[serde(skip_serializing_if = "Option::is_none")]
    collector: Option<Named<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observer: Option<Observer<'a>>,
    flowmeter: Statistics<'a>,
}

#[derive(Serialize)]
struct Statistics<'a> {
    interface: Interface<'a>,
    seen: Amount,
    exported: Exported,
    summarised: Summarised,
    left_out: LeftOut,
    lost: Lost,
    filtered: Amount,
    sampled_out: Amount,
    withheld: WithheldPart,
    sampling: u32,
    map: Map,
    connections: Connections,
    output: Output<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    all_flows: Option<Output<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detect: Option<Detect<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spill: Option<Spill>,
}

#[derive(Serialize)]
struct Amount {
    packets: Counter,
    wire_bytes: Counter,
}

#[derive(Serialize)]
struct Exported {
    packets: Counter,
    wire_bytes: Counter,
    bytes: Counter,
    events: Counter,
}

#[derive(Serialize)]
struct Summarised {
    packets: Counter,
    wire_bytes: Counter,
    flows: Counter,
    events: Counter,
}

#[derive(Serialize)]
struct LeftOut {
    packets: Counter,
    wire_bytes: Counter,
    flows: Counter,
}

/// One term of the conservation law for each reason that is a loss, under the reason's name.
struct Lost([(Uncounted, Amount); Uncounted::COUNT]);

impl Serialize for Lost {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (reason, amount) in self.0.iter().filter(|(reason, _)| reason.is_loss()) {
            map.serialize_entry(reason.name(), amount)?;
        }
        map.end()
    }
}

#[derive(Serialize)]
struct WithheldPart {
    lines: Counter,
    packets: Counter,
    wire_bytes: Counter,
}

#[derive(Serialize)]
struct Map {
    entries: Counter,
    capacity: Counter,
    early_drains: Counter,
    drain_seconds: f64,
}

#[derive(Serialize)]
struct Connections {
    tracked: Counter,
    capacity: Counter,
    evicted: Counter,
}

#[derive(Serialize)]
struct Output<'a> {
    lines: Counter,
    withheld_lines: Counter,
    pending_bytes: Counter,
    errors: Counter,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<&'a str>,
}

/// What detection remembers.
#[derive(Serialize)]
struct Detect<'a> {
    tables: Tables<'a>,
    #[serde(skip_serializing_if = "<[u64]>::is_empty")]
    allow_hits: &'a [u64],
}

/// Under each table's name.
struct Tables<'a>(&'a [Usage]);

impl Serialize for Tables<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|usage| (usage.table, TableUse::from(usage))))
    }
}

#[derive(Serialize)]
struct TableUse {
    used: usize,
    capacity: usize,
    evicted: u64,
}

impl From<&Usage> for TableUse {
    fn from(usage: &Usage) -> Self {
        Self {
            used: usage.used,
            capacity: usage.capacity,
            evicted: usage.evicted,
        }
    }
}

#[derive(Serialize)]
struct Spill {
    entries: Counter,
    top: Vec<SpillEntry>,
}

#[derive(Serialize)]
struct SpillEntry {
    source: Prefix,
    protocol: ProtocolName,
    packets: Counter,
    bytes: Counter,
    syn: Counter,
    destination: IpAddr,
    destination_port: u16,
}

/// An address and its prefix length, as in `203.0.113.0/24`.
struct Prefix(IpAddr);

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // What `SpillKey::prefix` leaves of an address.
        let length = if self.0.is_ipv4() { 24 } else { 48 };
        serializer.collect_str(&format_args!("{}/{length}", self.0))
    }
}

impl<'a> StatisticsEvent<'a> {
    pub(super) fn new(
        encoder: &'a Encoder,
        interface: &'a InterfaceStatistics,
        facts: &IntervalFacts<'a>,
        output: &OutputFacts<'a>,
    ) -> Self {
        Self {
            timestamp: Milliseconds(interface.end_ns),
            netflow: encoder.wazuh4("true"),
            event: Event {
                kind: "metric",
                action: "statistics",
                r#type: match encoder.schema {
                    Schema::Wazuh4 => Words::One("network"),
                    Schema::Ecs => Words::Many(&["info"]),
                },
                category: match encoder.schema {
                    Schema::Wazuh4 => Words::One("network_traffic"),
                    Schema::Ecs => Words::Many(&["network"]),
                },
                start: Nanoseconds(interface.start_ns),
                end: Nanoseconds(interface.end_ns),
                duration: Duration::new(
                    interface.end_ns.saturating_sub(interface.start_ns),
                    encoder.schema,
                ),
            },
            ecs: encoder.ecs_version(),
            collector: encoder.wazuh4(Named {
                name: &encoder.collector,
            }),
            observer: encoder.ecs_only(Observer {
                name: Some(&encoder.collector),
                ingress: None,
                egress: None,
            }),
            flowmeter: Statistics::new(encoder, interface, facts, output),
        }
    }
}

impl<'a> Statistics<'a> {
    fn new(
        encoder: &Encoder,
        interface: &'a InterfaceStatistics,
        facts: &IntervalFacts<'a>,
        output: &OutputFacts<'a>,
    ) -> Self {
        let count = |value| encoder.counter(value);
        let amount = |value: Count| Amount {
            packets: count(value.packets),
            wire_bytes: count(value.wire_bytes),
        };
        let uncounted = |reason: Uncounted| {
            let value = interface.counters.uncounted.get(reason as usize);
            amount(value.copied().unwrap_or_default())
        };
        Self {
            interface: Interface {
                id: count(u64::from(interface.ifindex)),
                name: &interface.interface,
            },
            seen: amount(interface.counters.seen),
            exported: Exported {
                packets: count(interface.exported.packets),
                wire_bytes: count(interface.exported.wire_bytes),
                bytes: count(interface.exported_l3_bytes),
                events: count(
                    interface
                        .exported_slices
                        .saturating_sub(interface.summarised_slices)
                        .saturating_add(interface.summaries),
                ),
            },
            summarised: Summarised {
                packets: count(interface.summarised.packets),
                wire_bytes: count(interface.summarised.wire_bytes),
                flows: count(interface.summarised_slices),
                events: count(interface.summaries),
            },
            left_out: LeftOut {
                packets: count(interface.left_out.packets),
                wire_bytes: count(interface.left_out.wire_bytes),
                flows: count(interface.left_out_slices),
            },
            lost: Lost(Uncounted::ALL.map(|reason| (reason, uncounted(reason)))),
            filtered: uncounted(Uncounted::Filtered),
            sampled_out: uncounted(Uncounted::SampledOut),
            withheld: WithheldPart {
                lines: count(output.withheld.lines),
                packets: count(output.withheld.packets),
                wire_bytes: count(output.withheld.wire_bytes),
            },
            sampling: encoder.sampling,
            map: Map {
                entries: count(facts.map_entries),
                capacity: count(facts.map_capacity),
                early_drains: count(facts.early_drains),
                drain_seconds: facts.drain_ns as f64 / 1e9,
            },
            connections: Connections {
                tracked: count(facts.connections),
                capacity: count(facts.connections_capacity),
                evicted: count(facts.connections_evicted),
            },
            detect: (!facts.detect_tables.is_empty()).then_some(Detect {
                tables: Tables(facts.detect_tables),
                allow_hits: facts.allow_hits,
            }),
            output: Output::new(encoder, &output.file),
            all_flows: output.all_flows.as_ref().map(|file| Output::new(encoder, file)),
            spill: Spill::new(encoder, interface.ifindex, facts.spill),
        }
    }
}

impl<'a> Output<'a> {
    fn new(encoder: &Encoder, file: &FileFacts<'a>) -> Self {
        Self {
            lines: encoder.counter(file.lines),
            withheld_lines: encoder.counter(file.withheld_lines),
            pending_bytes: encoder.counter(file.pending_bytes),
            errors: encoder.counter(file.errors),
            last_error: file.last_error,
        }
    }
}

impl Spill {
    fn new(encoder: &Encoder, ifindex: u32, entries: &[(SpillKey, SpillCounters)]) -> Option<Self> {
        // Several drains of one interval, each with a generation of its own, may hold the same prefix.
        let mut merged: BTreeMap<SpillKey, SpillCounters> = BTreeMap::new();
        for (key, counters) in entries.iter().filter(|(key, _)| key.ifindex == ifindex) {
            merged
                .entry(SpillKey {
                    generation: 0,
                    ..*key
                })
                .and_modify(|sum| {
                    sum.packets += counters.packets;
                    sum.l3_bytes += counters.l3_bytes;
                    sum.syn += counters.syn;
                })
                .or_insert(*counters);
        }
        let entries = merged.len() as u64;
        // The key decides between equals, so that the same input writes the same line.
        let mut largest: Vec<_> = merged.into_iter().collect();
        largest.sort_by(|(a_key, a), (b_key, b)| b.packets.cmp(&a.packets).then(a_key.cmp(b_key)));
        largest.truncate(SPILL_LISTED);
        (entries > 0).then(|| Self {
            entries: encoder.counter(entries),
            top: largest
                .iter()
                .map(|(key, counters)| SpillEntry::new(encoder, key, counters))
                .collect(),
        })
    }
}

impl SpillEntry {
    fn new(encoder: &Encoder, key: &SpillKey, counters: &SpillCounters) -> Self {
        let ipv6 = key.ipv6 != 0;
        Self {
            source: Prefix(ip_address(key.source_prefix, ipv6)),
            protocol: ProtocolName(key.protocol),
            packets: encoder.counter(counters.packets),
            bytes: encoder.counter(counters.l3_bytes),
            syn: encoder.counter(counters.syn),
            destination: ip_address(counters.destination, ipv6),
            destination_port: counters.destination_port,
        }
    }
}
