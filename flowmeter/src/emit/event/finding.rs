//! The finding event: one start, update or end of an episode, with all of its evidence.
//!
//! `source` is the acting side and `destination` its target, each one address or absent: what acted or was hit
//! in numbers stands in `anomaly.hosts`, as a sample, and in `anomaly.counts`.

use std::net::IpAddr;

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    EcsVersion, Encoder, Event, Labels, Named, Observer,
    value::{Counter, Duration, Id, Milliseconds, Nanoseconds, ProtocolName, Seconds, Transport, Words},
};
use crate::{
    config::Schema,
    detect::{Baseline, Count, Finding, Reason},
};

#[derive(Serialize)]
pub(super) struct FindingEvent<'a> {
    #[serde(rename = "@timestamp")]
    timestamp: Milliseconds,
    #[serde(skip_serializing_if = "Option::is_none")]
    netflow: Option<&'static str>,
    anomaly: Anomaly<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    srcip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dstip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dstport: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<ProtocolName>,
    event: Event,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ecs: Option<EcsVersion>,
    #[serde(skip_serializing_if = "Option::is_none")]
    collector: Option<Named<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Labels>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Side>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<Side>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<Network>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threat: Option<Threat<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observer: Option<Observer<'a>>,
}

#[derive(Serialize)]
struct Anomaly<'a> {
    tags: [&'static str; 1],
    phase: &'static str,
    episode: Id,
    sequence: u32,
    score: u8,
    confidence: &'static str,
    reasons: Vec<&'static str>,
    explanation: Vec<&'a str>,
    #[serde(skip_serializing_if = "Counts::is_empty")]
    counts: Counts<'a>,
    #[serde(skip_serializing_if = "Errors::is_empty")]
    counts_error_percent: Errors<'a>,
    #[serde(skip_serializing_if = "<[u16]>::is_empty")]
    ports: &'a [u16],
    #[serde(skip_serializing_if = "<[IpAddr]>::is_empty")]
    hosts: &'a [IpAddr],
    #[serde(skip_serializing_if = "<[u16]>::is_empty")]
    open_ports: &'a [u16],
    #[serde(skip_serializing_if = "Option::is_none")]
    period: Option<Period>,
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline: Option<BaselinePart>,
    visibility: Visibility,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    settings: Vec<String>,
    suppressed: Counter,
}

/// Name and value of each number that was counted.
struct Counts<'a>(&'a [Count], Schema);

/// Name and standard error in per cent of those that are no exact counts.
struct Errors<'a>(&'a [Count]);

impl Counts<'_> {
    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Errors<'_> {
    fn is_empty(&self) -> bool {
        self.0.iter().all(|count| count.error_percent == 0)
    }
}

impl Serialize for Counts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for count in self.0 {
            map.serialize_entry(count.name, &Counter::new(count.value, self.1))?;
        }
        map.end()
    }
}

impl Serialize for Errors<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for count in self.0.iter().filter(|count| count.error_percent > 0) {
            map.serialize_entry(count.name, &count.error_percent)?;
        }
        map.end()
    }
}

#[derive(Serialize)]
struct Period {
    seconds: Seconds,
    jitter_seconds: Seconds,
    next: Milliseconds,
}

#[derive(Serialize)]
struct BaselinePart {
    usual: f64,
    observed: f64,
    /// Left out where nothing is usual yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    deviation: Option<f64>,
    unit: &'static str,
}

#[derive(Serialize)]
struct Visibility {
    one_sided: bool,
    lost_packets: Counter,
}

/// `source.*` and `destination.*`.
#[derive(Serialize)]
struct Side {
    ip: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
}

#[derive(Serialize)]
struct Network {
    transport: Transport,
    iana_number: u8,
}

#[derive(Serialize)]
struct Threat<'a> {
    framework: &'static str,
    technique: Technique<'a>,
}

#[derive(Serialize)]
struct Technique<'a> {
    id: &'a [&'static str],
}

impl<'a> FindingEvent<'a> {
    pub(super) fn new(encoder: &'a Encoder, finding: &'a Finding) -> Self {
        let port = finding.destination.and(finding.port);
        Self {
            timestamp: Milliseconds(finding.last_seen_ns),
            netflow: encoder.wazuh4("true"),
            anomaly: Anomaly::new(encoder, finding),
            srcip: finding.source.and_then(|ip| encoder.wazuh4(ip)),
            dstip: finding.destination.and_then(|ip| encoder.wazuh4(ip)),
            dstport: port.and_then(|port| encoder.wazuh4(port)),
            protocol: finding
                .protocol
                .and_then(|number| encoder.wazuh4(ProtocolName(number))),
            event: Event {
                kind: "alert",
                action: "anomaly_detected",
                r#type: match encoder.schema {
                    Schema::Wazuh4 => Words::One("network"),
                    Schema::Ecs => Words::Many(&["info"]),
                },
                category: match encoder.schema {
                    Schema::Wazuh4 => Words::One("network_traffic"),
                    Schema::Ecs => Words::Many(&["network", "intrusion_detection"]),
                },
                start: Nanoseconds(finding.first_seen_ns),
                end: Nanoseconds(finding.last_seen_ns),
                duration: Duration::new(
                    finding.last_seen_ns.saturating_sub(finding.first_seen_ns),
                    encoder.schema,
                ),
            },
            message: &finding.message,
            ecs: encoder.ecs_version(),
            collector: encoder.wazuh4(Named {
                name: &encoder.collector,
            }),
            labels: encoder.labels(),
            source: finding.source.map(|ip| Side { ip, port: None }),
            destination: finding.destination.map(|ip| Side { ip, port }),
            network: finding.protocol.map(|number| Network {
                transport: Transport(number),
                iana_number: number,
            }),
            threat: (!finding.techniques.is_empty()).then(|| Threat {
                framework: "MITRE ATT&CK",
                technique: Technique {
                    id: &finding.techniques,
                },
            }),
            observer: encoder.ecs_only(Observer {
                name: Some(&encoder.collector),
                ingress: None,
                egress: None,
            }),
        }
    }
}

impl<'a> Anomaly<'a> {
    fn new(encoder: &Encoder, finding: &'a Finding) -> Self {
        Self {
            tags: [finding.tag.name()],
            phase: finding.phase.name(),
            episode: Id(finding.episode),
            sequence: finding.sequence,
            score: finding.score,
            confidence: finding.confidence.name(),
            reasons: finding.reasons.iter().map(|reason| reason.id).collect(),
            explanation: finding
                .reasons
                .iter()
                .map(|Reason { words, .. }| words.as_str())
                .collect(),
            counts: Counts(&finding.counts, encoder.schema),
            counts_error_percent: Errors(&finding.counts),
            ports: &finding.ports,
            hosts: &finding.hosts,
            open_ports: &finding.open_ports,
            period: finding.period.map(|period| Period {
                seconds: Seconds(period.period_ns),
                jitter_seconds: Seconds(period.jitter_ns),
                next: Milliseconds(period.next_ns),
            }),
            baseline: finding.baseline.map(BaselinePart::from),
            visibility: Visibility {
                one_sided: finding.visibility.one_sided,
                lost_packets: encoder.counter(finding.visibility.lost_packets),
            },
            settings: finding
                .settings
                .iter()
                .map(|(key, value)| format!("{key} = {value}"))
                .collect(),
            suppressed: encoder.counter(finding.suppressed),
        }
    }
}

impl From<Baseline> for BaselinePart {
    fn from(baseline: Baseline) -> Self {
        Self {
            usual: baseline.usual,
            observed: baseline.observed,
            deviation: baseline.deviation.is_finite().then_some(baseline.deviation),
            unit: baseline.unit,
        }
    }
}
