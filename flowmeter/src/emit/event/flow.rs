//! The flow event: one connection's traffic in one interval.
//!
//! Every field of a [`Slice`] can be read back from it: `source` is the initiator and `destination` the
//! responder, times of each side are offsets from `event.start`, and what is left out was zero.

use std::net::IpAddr;

use flowmeter_common::{FlowCounters, Tunnel, flow::protocol};
use serde::Serialize;

use super::{
    EcsVersion, Encoder, Event, Labels, Named, Observer,
    value::{
        Counter, Duration, Id, Milliseconds, Nanoseconds, Offset, ProtocolName, TcpFlags, Transport, Words,
    },
};
use crate::{
    config::Schema,
    enrich::{Cast, CommunityId, Enriched},
    flow::Slice,
};

#[derive(Serialize)]
pub(super) struct FlowEvent<'a> {
    #[serde(rename = "@timestamp")]
    timestamp: Milliseconds,
    #[serde(skip_serializing_if = "Option::is_none")]
    netflow: Option<&'static str>,
    // Wazuh fills its static fields from these five only; `same_srcip`, CDB lists, active response and
    // GeoIP work on nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    srcip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    srcport: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dstip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dstport: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<ProtocolName>,
    event: Event,
    #[serde(skip_serializing_if = "Option::is_none")]
    ecs: Option<EcsVersion>,
    #[serde(skip_serializing_if = "Option::is_none")]
    collector: Option<Named<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Labels>,
    source: Side,
    destination: Side,
    flow: Flow,
    network: Network,
    service: Named<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<Tcp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp: Option<Icmp>,
    observer: Observer<'a>,
}

/// `source.*` and `destination.*`: one end and what it sent.
#[derive(Serialize)]
struct Side {
    ip: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    bytes: Counter,
    packets: Counter,
}

#[derive(Serialize)]
struct Flow {
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<ProtocolName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<&'static str>,
    id: Id,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cast: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fragment: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel: Option<TunnelPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sampling: Option<u32>,
    initiator: Party,
    #[serde(skip_serializing_if = "Option::is_none")]
    responder: Option<Party>,
}

#[derive(Serialize)]
struct TunnelPart {
    kind: &'static str,
    id: Counter,
}

/// `flow.initiator.*` and `flow.responder.*`: what detectors need to know of one side beyond its counts.
#[derive(Serialize)]
struct Party {
    #[serde(skip_serializing_if = "Option::is_none")]
    basis: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wire_bytes: Option<Counter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seconds: Option<Offset>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seconds: Option<Offset>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<PartyTcp>,
}

#[derive(Serialize)]
struct PartyTcp {
    first_flags: TcpFlags,
    flags: TcpFlags,
    syn: Counter,
    syn_ack: Counter,
    fin: Counter,
    rst: Counter,
}

#[derive(Serialize)]
struct Network {
    bytes: Counter,
    packets: Counter,
    wire_bytes: Counter,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_estimated: Option<Counter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packets_estimated: Option<Counter>,
    direction: &'static str,
    transport: Transport,
    iana_number: u8,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    community_id: Option<CommunityId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan: Option<Vlan>,
}

#[derive(Serialize)]
struct Vlan {
    id: u16,
}

#[derive(Serialize)]
struct Tcp {
    flags: TcpFlags,
}

#[derive(Serialize)]
struct Icmp {
    r#type: u16,
    code: u16,
}

impl<'a> FlowEvent<'a> {
    pub(super) fn new(
        encoder: &'a Encoder,
        slice: &Slice,
        enriched: &Enriched<'a>,
        interface: &'a str,
    ) -> Self {
        let (initiator, responder) = (slice.initiator, slice.responder);
        let ports = has_ports(slice).then_some((initiator.port, responder.port));
        let is_tcp = is_tcp(slice);
        let end_ns = slice.last_ns;
        Self {
            timestamp: Milliseconds(last_packet_ns(slice)),
            netflow: encoder.wazuh4("true"),
            srcip: encoder.wazuh4(initiator.ip),
            srcport: ports.and_then(|(port, _)| encoder.wazuh4(port)),
            dstip: encoder.wazuh4(responder.ip),
            dstport: ports.and_then(|(_, port)| encoder.wazuh4(port)),
            protocol: encoder.wazuh4(ProtocolName(slice.protocol)),
            event: Event {
                kind: "event",
                action: "network_flow",
                r#type: event_type(encoder.schema, slice),
                category: match encoder.schema {
                    Schema::Wazuh4 => Words::One("network_traffic"),
                    Schema::Ecs => Words::Many(&["network"]),
                },
                start: Nanoseconds(slice.start_ns),
                end: Nanoseconds(end_ns),
                duration: Duration::new(end_ns.saturating_sub(slice.start_ns), encoder.schema),
            },
            ecs: encoder.ecs_version(),
            collector: encoder.wazuh4(Named {
                name: &encoder.collector,
            }),
            labels: encoder.labels(),
            source: Side {
                ip: initiator.ip,
                port: ports.map(|(port, _)| port),
                bytes: encoder.counter(slice.forward.l3_bytes),
                packets: encoder.counter(slice.forward.packets),
            },
            destination: Side {
                ip: responder.ip,
                port: ports.map(|(_, port)| port),
                bytes: encoder.counter(slice.reverse.l3_bytes),
                packets: encoder.counter(slice.reverse.packets),
            },
            flow: Flow {
                protocol: encoder.wazuh4(ProtocolName(slice.protocol)),
                direction: encoder.wazuh4(enriched.direction.name()),
                id: Id(slice.id),
                outcome: slice.outcome.name(),
                end_reason: slice.end.map(|reason| reason.name()),
                cast: (enriched.cast != Cast::Unicast).then(|| enriched.cast.name()),
                fragment: slice.fragment.then_some(true),
                tunnel: (slice.tunnel != Tunnel::None).then(|| TunnelPart {
                    kind: slice.tunnel.name(),
                    id: encoder.counter(u64::from(slice.tunnel_id)),
                }),
                sampling: (encoder.sampling > 1).then_some(encoder.sampling),
                initiator: Party {
                    basis: Some(slice.basis.name()),
                    confidence: Some(slice.basis.confidence()),
                    ..Party::new(encoder, slice.start_ns, &slice.forward, is_tcp)
                },
                responder: (slice.reverse.packets > 0)
                    .then(|| Party::new(encoder, slice.start_ns, &slice.reverse, is_tcp)),
            },
            network: Network::new(encoder, slice, enriched),
            service: Named {
                name: enriched.service,
            },
            tcp: is_tcp.then(|| Tcp {
                flags: TcpFlags(low_byte(slice.forward.tcp_flags | slice.reverse.tcp_flags)),
            }),
            icmp: (is_icmp(slice.protocol) && !slice.fragment).then_some(Icmp {
                r#type: initiator.port,
                code: responder.port,
            }),
            observer: Observer::new(encoder, slice.ifindex, slice.initiator_egress, interface),
        }
    }
}

impl Party {
    fn new(encoder: &Encoder, start_ns: u64, counters: &FlowCounters, is_tcp: bool) -> Self {
        let sent = counters.packets > 0;
        let counter = |value: u32| encoder.counter(u64::from(value));
        Self {
            basis: None,
            confidence: None,
            wire_bytes: sent.then(|| encoder.counter(counters.wire_bytes)),
            first_seconds: sent.then(|| Offset::new(start_ns, counters.first_ns)),
            last_seconds: sent.then(|| Offset::new(start_ns, counters.last_ns)),
            tcp: (sent && is_tcp).then(|| PartyTcp {
                first_flags: TcpFlags(counters.first_tcp_flags),
                flags: TcpFlags(low_byte(counters.tcp_flags)),
                syn: counter(counters.syn),
                syn_ack: counter(counters.syn_ack),
                fin: counter(counters.fin),
                rst: counter(counters.rst),
            }),
        }
    }
}

impl Network {
    fn new(encoder: &Encoder, slice: &Slice, enriched: &Enriched<'_>) -> Self {
        Self {
            bytes: encoder.counter(slice.l3_bytes()),
            packets: encoder.counter(slice.packets()),
            wire_bytes: encoder.counter(slice.wire_bytes()),
            bytes_estimated: encoder.estimated(slice.l3_bytes()),
            packets_estimated: encoder.estimated(slice.packets()),
            direction: enriched.direction.ecs_name(),
            transport: Transport(slice.protocol),
            iana_number: slice.protocol,
            r#type: if slice.ipv6 { "ipv6" } else { "ipv4" },
            community_id: enriched.community_id,
            vlan: (slice.vlan_id != 0).then_some(Vlan { id: slice.vlan_id }),
        }
    }
}

/// The slice's last packet, or the connection's where the slice has none.
pub(super) fn last_packet_ns(slice: &Slice) -> u64 {
    match slice.forward.last_ns.max(slice.reverse.last_ns) {
        0 => slice.last_ns,
        last_ns => last_ns,
    }
}

pub(super) const fn is_icmp(number: u8) -> bool {
    matches!(number, protocol::ICMP | protocol::ICMPV6)
}

/// TCP whose header was there to be read.
pub(super) const fn is_tcp(slice: &Slice) -> bool {
    slice.protocol == protocol::TCP && !slice.fragment
}

/// Ports are left out where the packets carry none; 0 is a port where they do.
pub(in crate::emit) const fn has_ports(slice: &Slice) -> bool {
    matches!(
        slice.protocol,
        protocol::TCP | protocol::UDP | protocol::DCCP | protocol::SCTP | protocol::UDP_LITE
    ) && !slice.fragment
}

pub(super) const fn low_byte(flags: u32) -> u8 {
    flags.to_le_bytes()[0]
}

/// ECS tells the first and the last event of a connection apart by type.
pub(super) fn event_type(schema: Schema, slice: &Slice) -> Words {
    let first_of = |counters: &FlowCounters| counters.packets > 0 && counters.first_ns == slice.start_ns;
    let starts = first_of(&slice.forward) || first_of(&slice.reverse);
    match (schema, starts, slice.end.is_some()) {
        (Schema::Wazuh4, ..) => Words::One("network"),
        (Schema::Ecs, true, true) => Words::Many(&["connection", "start", "end"]),
        (Schema::Ecs, true, false) => Words::Many(&["connection", "start"]),
        (Schema::Ecs, false, true) => Words::Many(&["connection", "end"]),
        (Schema::Ecs, false, false) => Words::Many(&["connection"]),
    }
}
