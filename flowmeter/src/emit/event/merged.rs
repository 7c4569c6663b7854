//! The summary event: flows of one interval that were merged, so that the sums of a file stay those of what was
//! counted.

use std::net::IpAddr;

use serde::Serialize;

use super::{
    EcsVersion, Encoder, Event, Labels, Named, Observer,
    value::{Counter, Duration, Milliseconds, Nanoseconds, ProtocolName, Transport, Words},
};
use crate::{
    config::Schema,
    emit::merge::{FlowSummary, Volume},
};

#[derive(Serialize)]
pub(super) struct SummaryEvent<'a> {
    #[serde(rename = "@timestamp")]
    timestamp: Milliseconds,
    #[serde(skip_serializing_if = "Option::is_none")]
    netflow: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    srcip: Option<IpAddr>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<Named<'a>>,
    observer: Observer<'a>,
}

#[derive(Serialize)]
struct Side {
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    sampling: Option<u32>,
    merged: Merged,
}

/// `flow.merged.*`: how many, and of what.
#[derive(Serialize)]
struct Merged {
    flows: Counter,
    sources: Counter,
    destinations: Counter,
    services: Counter,
    accepted: Counter,
    refused: Counter,
    unanswered: Counter,
    half_open: Counter,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<Transport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iana_number: Option<u8>,
}

impl<'a> SummaryEvent<'a> {
    pub(super) fn new(
        encoder: &'a Encoder,
        summary: &FlowSummary,
        service: Option<&'a str>,
        interface: &'a str,
    ) -> Self {
        let protocol = summary.protocol.map(ProtocolName);
        let counter = |value| encoder.counter(value);
        let side = |ip, port, sent: Volume| Side {
            ip,
            port,
            bytes: counter(sent.l3_bytes),
            packets: counter(sent.packets),
        };
        Self {
            timestamp: Milliseconds(summary.last_ns),
            netflow: encoder.wazuh4("true"),
            srcip: summary.source.and_then(|ip| encoder.wazuh4(ip)),
            dstip: summary.destination.and_then(|ip| encoder.wazuh4(ip)),
            dstport: summary.port.and_then(|port| encoder.wazuh4(port)),
            protocol: protocol.and_then(|name| encoder.wazuh4(name)),
            event: Event {
                kind: "event",
                action: "network_flow_summary",
                r#type: match encoder.schema {
                    Schema::Wazuh4 => Words::One("network"),
                    Schema::Ecs => Words::Many(&["connection"]),
                },
                category: match encoder.schema {
                    Schema::Wazuh4 => Words::One("network_traffic"),
                    Schema::Ecs => Words::Many(&["network"]),
                },
                start: Nanoseconds(summary.first_ns),
                end: Nanoseconds(summary.last_ns),
                duration: Duration::new(summary.last_ns.saturating_sub(summary.first_ns), encoder.schema),
            },
            ecs: encoder.ecs_version(),
            collector: encoder.wazuh4(Named {
                name: &encoder.collector,
            }),
            labels: encoder.labels(),
            source: side(summary.source, None, summary.forward),
            destination: side(summary.destination, summary.port, summary.reverse),
            flow: Flow {
                protocol: protocol.and_then(|name| encoder.wazuh4(name)),
                direction: encoder.wazuh4(summary.direction.name()),
                sampling: (encoder.sampling > 1).then_some(encoder.sampling),
                merged: Merged::new(encoder, summary),
            },
            network: Network {
                bytes: counter(summary.l3_bytes()),
                packets: counter(summary.packets()),
                wire_bytes: counter(summary.wire_bytes),
                bytes_estimated: encoder.estimated(summary.l3_bytes()),
                packets_estimated: encoder.estimated(summary.packets()),
                direction: summary.direction.ecs_name(),
                transport: summary.protocol.map(Transport),
                iana_number: summary.protocol,
            },
            service: service.map(|name| Named { name }),
            observer: Observer::new(encoder, summary.ifindex, summary.initiator_egress, interface),
        }
    }
}

impl Merged {
    fn new(encoder: &Encoder, summary: &FlowSummary) -> Self {
        let counter = |value| encoder.counter(value);
        let [accepted, refused, unanswered, half_open] = summary.outcomes.map(counter);
        Self {
            flows: counter(summary.flows),
            sources: counter(summary.sources),
            destinations: counter(summary.destinations),
            services: counter(summary.services),
            accepted,
            refused,
            unanswered,
            half_open,
        }
    }
}
