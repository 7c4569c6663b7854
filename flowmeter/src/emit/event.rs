//! The only place that knows field names.
//!
//! The conservation law can be checked from the file alone. For every statistics event:
//! `seen = exported + sum(lost) + filtered + sampled_out`, in packets and in wire bytes, and `exported` is the sum
//! over the flow events of the same interface since the statistics event before.

use std::collections::BTreeMap;

use flowmeter_common::{FlowCounters, Uncounted, flow::protocol, uncounted::Count};
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::{
    config::Schema,
    enrich::Enriched,
    flow::{InterfaceStatistics, Slice},
    track::TrackStatistics,
};

/// What stands in every event.
#[derive(Clone, Debug)]
pub struct Encoder {
    pub collector: String,
    pub schema: Schema,
    pub sampling: u32,
}

/// Interval-wide facts that each interface's statistics event repeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IntervalFacts {
    pub map_entries: u64,
    pub map_capacity: u64,
    pub drain_ns: u64,
    pub drains: u64,
    pub track: TrackStatistics,
    /// Lines that were given up because the file could not be written, since the start.
    pub withheld_lines: u64,
}

/// A counter. Wazuh turns integers of 2^31 and more into floats, so its schema writes those as text.
#[derive(Clone, Copy)]
struct Counter(u64, Schema);

impl Serialize for Counter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.1 {
            Schema::Wazuh4 if self.0 >= 1 << 31 => serializer.collect_str(&self.0),
            _ => serializer.serialize_u64(self.0),
        }
    }
}

struct Time(u64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = Timestamp::from_nanosecond(i128::from(self.0)).map_err(serde::ser::Error::custom)?;
        serializer.collect_str(&format_args!("{time:.9}"))
    }
}

/// TCP flags as the original pipeline writes them: names joined by commas.
struct Flags(u32);

impl Serialize for Flags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const NAMES: [&str; 8] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
        let set: Vec<_> = (0..8)
            .zip(NAMES)
            .filter(|(bit, _)| self.0 >> bit & 1 == 1)
            .map(|(_, name)| name)
            .collect();
        serializer.serialize_str(&set.join(","))
    }
}

#[derive(Serialize)]
struct Flow<'a> {
    #[serde(rename = "@timestamp")]
    timestamp: Time,
    netflow: &'static str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    statics: Option<Statics<'a>>,
    event: Event,
    collector: Named<'a>,
    observer: Observer<'a>,
    source: End,
    destination: End,
    flow: FlowPart<'a>,
    network: Network<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<Tcp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp: Option<Icmp>,
    service: Named<'a>,
}

/// Wazuh's static fields, which `same_srcip`, CDB lists, active response and GeoIP need.
#[derive(Serialize)]
struct Statics<'a> {
    srcip: String,
    dstip: String,
    srcport: u16,
    dstport: u16,
    protocol: &'a str,
}

#[derive(Serialize)]
struct Event {
    kind: &'static str,
    action: &'static str,
    #[serde(rename = "type")]
    kind_of: &'static str,
    category: &'static str,
    start: Time,
    end: Time,
    duration: Duration,
}

/// Seconds for Wazuh (as the original pipeline), nanoseconds in ECS.
#[derive(Serialize)]
#[serde(untagged)]
enum Duration {
    Seconds(f64),
    Nanoseconds(u64),
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct Observer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ingress: Option<Interface<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    egress: Option<Interface<'a>>,
}

#[derive(Serialize)]
struct Interface<'a> {
    interface: Named<'a>,
}

#[derive(Serialize)]
struct End {
    ip: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    bytes: Counter,
    packets: Counter,
    wire_bytes: Counter,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Time>,
}

#[derive(Serialize)]
struct FlowPart<'a> {
    protocol: &'a str,
    direction: &'static str,
    id: String,
    outcome: &'static str,
    initiator: Initiator,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    fragment: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel: Option<TunnelPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination_class: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sampling: Option<u32>,
}

#[derive(Serialize)]
struct Initiator {
    basis: &'static str,
    confidence: &'static str,
}

#[derive(Serialize)]
struct TunnelPart {
    kind: &'static str,
    id: Counter,
}

#[derive(Serialize)]
struct Network<'a> {
    bytes: Counter,
    packets: Counter,
    wire_bytes: Counter,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_estimated: Option<Counter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packets_estimated: Option<Counter>,
    community_id: &'a str,
    direction: &'static str,
    transport: String,
    iana_number: u8,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan: Option<Vlan>,
}

#[derive(Serialize)]
struct Vlan {
    id: u16,
}

#[derive(Serialize)]
struct Tcp {
    flags: Flags,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<TcpEnd>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<TcpEnd>,
}

#[derive(Serialize)]
struct TcpEnd {
    flags: Flags,
    first_flags: Flags,
    syn: u32,
    syn_ack: u32,
    fin: u32,
    rst: u32,
}

#[derive(Serialize)]
struct Icmp {
    #[serde(rename = "type")]
    kind: u16,
    code: u16,
}

fn protocol_name(number: u8) -> String {
    match number {
        protocol::ICMP => "ICMP".to_owned(),
        protocol::TCP => "TCP".to_owned(),
        protocol::UDP => "UDP".to_owned(),
        protocol::DCCP => "DCCP".to_owned(),
        protocol::GRE => "GRE".to_owned(),
        protocol::ICMPV6 => "ICMPv6".to_owned(),
        protocol::SCTP => "SCTP".to_owned(),
        protocol::UDP_LITE => "UDPLite".to_owned(),
        50 => "ESP".to_owned(),
        51 => "AH".to_owned(),
        2 => "IGMP".to_owned(),
        89 => "OSPF".to_owned(),
        number => number.to_string(),
    }
}

impl Encoder {
    /// One flow event, with its line feed. `interface` is the name of the observation point.
    ///
    /// # Errors
    /// A time that no calendar holds.
    pub fn flow(
        &self,
        slice: &Slice,
        enriched: &Enriched<'_>,
        interface: &str,
        line: &mut Vec<u8>,
    ) -> anyhow::Result<()> {
        let schema = self.schema;
        let counter = |value| Counter(value, schema);
        let protocol = protocol_name(slice.protocol);
        let icmp = matches!(slice.protocol, protocol::ICMP | protocol::ICMPV6) && !slice.fragment;
        let tcp = slice.protocol == protocol::TCP && !slice.fragment;
        let port = |port| (!icmp).then_some(port);
        let end = |ip: std::net::IpAddr, at: Option<u16>, counters: &FlowCounters| End {
            ip: ip.to_string(),
            port: at,
            bytes: counter(counters.l3_bytes),
            packets: counter(counters.packets),
            wire_bytes: counter(counters.wire_bytes),
            first: (counters.packets > 0).then_some(Time(counters.first_ns)),
            last: (counters.packets > 0).then_some(Time(counters.last_ns)),
        };
        let tcp_end = |counters: &FlowCounters| {
            (counters.packets > 0).then_some(TcpEnd {
                flags: Flags(counters.tcp_flags),
                first_flags: Flags(u32::from(counters.first_tcp_flags)),
                syn: counters.syn,
                syn_ack: counters.syn_ack,
                fin: counters.fin,
                rst: counters.rst,
            })
        };
        let there = || {
            Some(Interface {
                interface: Named { name: interface },
            })
        };
        let sampled = self.sampling > 1;
        let scaled = |value: u64| sampled.then_some(counter(value.saturating_mul(u64::from(self.sampling))));
        let duration_ns = slice.last_ns.saturating_sub(slice.start_ns);
        let event = Flow {
            timestamp: Time(slice.last_ns),
            netflow: "true",
            statics: (schema == Schema::Wazuh4).then(|| Statics {
                srcip: slice.initiator.ip.to_string(),
                dstip: slice.responder.ip.to_string(),
                srcport: slice.initiator.port,
                dstport: slice.responder.port,
                protocol: &protocol,
            }),
            event: Event {
                kind: "event",
                action: "network_flow",
                kind_of: if schema == Schema::Wazuh4 {
                    "network"
                } else {
                    "connection"
                },
                category: if schema == Schema::Wazuh4 {
                    "network_traffic"
                } else {
                    "network"
                },
                start: Time(slice.start_ns),
                end: Time(slice.last_ns),
                duration: self.duration(duration_ns),
            },
            collector: Named {
                name: &self.collector,
            },
            observer: Observer {
                ingress: if slice.initiator_egress { None } else { there() },
                egress: if slice.initiator_egress { there() } else { None },
            },
            source: end(slice.initiator.ip, port(slice.initiator.port), &slice.forward),
            destination: end(slice.responder.ip, port(slice.responder.port), &slice.reverse),
            flow: FlowPart {
                protocol: &protocol,
                direction: enriched.direction.name(),
                id: format!("{:016x}", slice.id),
                outcome: slice.outcome.name(),
                initiator: Initiator {
                    basis: slice.basis.name(),
                    confidence: slice.basis.confidence(),
                },
                end_reason: slice.end.map(crate::flow::EndReason::name),
                fragment: slice.fragment,
                tunnel: (slice.tunnel != flowmeter_common::Tunnel::None).then(|| TunnelPart {
                    kind: slice.tunnel.name(),
                    id: counter(u64::from(slice.tunnel_id)),
                }),
                destination_class: enriched.destination_class,
                sampling: sampled.then_some(self.sampling),
            },
            network: Network {
                bytes: counter(slice.l3_bytes()),
                packets: counter(slice.packets()),
                wire_bytes: counter(slice.wire_bytes()),
                bytes_estimated: scaled(slice.l3_bytes()),
                packets_estimated: scaled(slice.packets()),
                community_id: &enriched.community_id,
                direction: enriched.direction.ecs(),
                transport: protocol.to_lowercase(),
                iana_number: slice.protocol,
                kind: if slice.ipv6 { "ipv6" } else { "ipv4" },
                vlan: (slice.vlan_id != 0).then_some(Vlan { id: slice.vlan_id }),
            },
            tcp: tcp.then(|| Tcp {
                flags: Flags(slice.forward.tcp_flags | slice.reverse.tcp_flags),
                source: tcp_end(&slice.forward),
                destination: tcp_end(&slice.reverse),
            }),
            icmp: icmp.then_some(Icmp {
                kind: slice.initiator.port,
                code: slice.responder.port,
            }),
            service: Named {
                name: enriched.service,
            },
        };
        write_line(&event, line)
    }

    fn duration(&self, nanoseconds: u64) -> Duration {
        match self.schema {
            Schema::Wazuh4 => Duration::Seconds(std::time::Duration::from_nanos(nanoseconds).as_secs_f64()),
            Schema::Ecs => Duration::Nanoseconds(nanoseconds),
        }
    }

    /// One statistics event, with its line feed.
    ///
    /// # Errors
    /// A time that no calendar holds.
    pub fn statistics(
        &self,
        statistics: &InterfaceStatistics,
        facts: &IntervalFacts,
        line: &mut Vec<u8>,
    ) -> anyhow::Result<()> {
        let counter = |value| Counter(value, self.schema);
        let both = |count: Count| Both {
            packets: counter(count.packets),
            wire_bytes: counter(count.wire_bytes),
        };
        let counters = &statistics.counters;
        let losses = || Uncounted::ALL.into_iter().filter(|reason| reason.is_loss());
        let event = Statistics {
            timestamp: Time(statistics.end_ns),
            netflow: "true",
            event: Event {
                kind: "metric",
                action: "statistics",
                kind_of: "info",
                category: "network",
                start: Time(statistics.start_ns),
                end: Time(statistics.end_ns),
                duration: self.duration(statistics.end_ns.saturating_sub(statistics.start_ns)),
            },
            collector: Named {
                name: &self.collector,
            },
            flowmeter: Meter {
                interface: Named {
                    name: &statistics.interface,
                },
                seen: both(counters.seen),
                exported: Exported {
                    packets: counter(statistics.exported.packets),
                    wire_bytes: counter(statistics.exported.wire_bytes),
                    bytes: counter(statistics.exported_l3_bytes),
                    events: counter(statistics.exported_slices),
                },
                lost: losses()
                    .map(|reason| (reason.name(), counter(counters.get(reason).packets)))
                    .collect(),
                lost_wire_bytes: losses()
                    .map(|reason| (reason.name(), counter(counters.get(reason).wire_bytes)))
                    .collect(),
                filtered: both(counters.get(Uncounted::Filtered)),
                sampled_out: both(counters.get(Uncounted::SampledOut)),
                sampling: self.sampling,
                map: Map {
                    entries: counter(facts.map_entries),
                    capacity: counter(facts.map_capacity),
                },
                drain: Drain {
                    duration_us: counter(facts.drain_ns / 1000),
                    count: counter(facts.drains),
                },
                track: Track {
                    connections: counter(facts.track.connections),
                    capacity: counter(facts.track.capacity),
                    evicted: counter(facts.track.evicted),
                },
                withheld: Withheld {
                    lines: counter(facts.withheld_lines),
                },
            },
        };
        write_line(&event, line)
    }
}

#[derive(Serialize)]
struct Statistics<'a> {
    #[serde(rename = "@timestamp")]
    timestamp: Time,
    netflow: &'static str,
    event: Event,
    collector: Named<'a>,
    flowmeter: Meter<'a>,
}

#[derive(Serialize)]
struct Meter<'a> {
    interface: Named<'a>,
    seen: Both,
    exported: Exported,
    lost: BTreeMap<&'static str, Counter>,
    lost_wire_bytes: BTreeMap<&'static str, Counter>,
    filtered: Both,
    sampled_out: Both,
    sampling: u32,
    map: Map,
    drain: Drain,
    track: Track,
    withheld: Withheld,
}

#[derive(Serialize)]
struct Both {
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
struct Map {
    entries: Counter,
    capacity: Counter,
}

#[derive(Serialize)]
struct Drain {
    duration_us: Counter,
    count: Counter,
}

#[derive(Serialize)]
struct Track {
    connections: Counter,
    capacity: Counter,
    evicted: Counter,
}

#[derive(Serialize)]
struct Withheld {
    lines: Counter,
}

fn write_line(event: &impl Serialize, line: &mut Vec<u8>) -> anyhow::Result<()> {
    let start = line.len();
    if let Err(error) = serde_json::to_writer(&mut *line, event) {
        // Half an event must not stand before the next.
        line.truncate(start);
        return Err(error.into());
    }
    line.push(b'\n');
    Ok(())
}
