//! What a report takes from a line of the event file; `docs/fields.md` says what each field means.

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr};

use jiff::Timestamp;
use serde::Deserialize;

use crate::{
    capture::log::Count,
    explain::told::{Told, plain},
};

/// Longest complaint that is kept about a line, in characters.
const COMPLAINT: usize = 160;

/// One line.
#[expect(
    clippy::large_enum_variant,
    reason = "most lines are flows, and one is held at a time"
)]
pub(super) enum Event<'a> {
    /// A flow event or, with `merged`, a summary.
    Flow(Flow<'a>),
    Statistics(Box<Statistics<'a>>),
    Finding(Box<Told>),
    /// An empty line, or JSON that is no event of this program.
    Other,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Volume {
    /// Flow events, those that summaries stand for among them.
    pub(super) records: u64,
    /// From the IP header on.
    pub(super) bytes: u64,
    pub(super) packets: u64,
}

impl Volume {
    pub(super) fn add(&mut self, other: Self) {
        self.records = self.records.saturating_add(other.records);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.packets = self.packets.saturating_add(other.packets);
    }
}

pub(super) struct Flow<'a> {
    pub(super) time: Timestamp,
    /// Of the connection, or of the first one that was merged.
    pub(super) start: Timestamp,
    pub(super) source: Option<IpAddr>,
    pub(super) destination: Option<IpAddr>,
    pub(super) port: Option<u16>,
    pub(super) sent: Volume,
    pub(super) received: Volume,
    pub(super) wire_bytes: u64,
    pub(super) direction: Cow<'a, str>,
    pub(super) transport: Option<Cow<'a, str>>,
    pub(super) service: Option<Cow<'a, str>>,
    /// Of one flow; a summary has several.
    pub(super) outcome: Option<Cow<'a, str>>,
    /// How many flow events a summary stands for.
    pub(super) merged: Option<u64>,
    pub(super) sampling: u32,
    pub(super) synthetic: bool,
    pub(super) interface: Cow<'a, str>,
    pub(super) collector: Cow<'a, str>,
}

impl Flow<'_> {
    /// Of both sides.
    pub(super) fn volume(&self) -> Volume {
        let mut volume = self.sent;
        volume.add(self.received);
        Volume {
            records: self.merged.unwrap_or(1),
            ..volume
        }
    }
}

pub(super) struct Statistics<'a> {
    pub(super) time: Timestamp,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) collector: Cow<'a, str>,
    pub(super) meter: Meter<'a>,
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(rename = "@timestamp")]
    timestamp: Option<Timestamp>,
    #[serde(borrow)]
    event: Option<RawEvent<'a>>,
    source: Option<Side>,
    destination: Option<Side>,
    #[serde(borrow)]
    flow: Option<FlowPart<'a>>,
    #[serde(borrow)]
    network: Option<Network<'a>>,
    #[serde(borrow)]
    service: Option<Named<'a>>,
    #[serde(borrow)]
    observer: Option<Observer<'a>>,
    #[serde(borrow)]
    collector: Option<Named<'a>>,
    labels: Option<Labels>,
    #[serde(borrow)]
    flowmeter: Option<Meter<'a>>,
}

#[derive(Deserialize)]
struct RawEvent<'a> {
    #[serde(borrow)]
    action: Option<Cow<'a, str>>,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
struct Side {
    ip: Option<IpAddr>,
    port: Option<u16>,
    /// Findings have none.
    bytes: Option<Count>,
    packets: Option<Count>,
}

#[derive(Deserialize)]
struct FlowPart<'a> {
    #[serde(borrow)]
    outcome: Option<Cow<'a, str>>,
    sampling: Option<u32>,
    merged: Option<Merged>,
}

#[derive(Deserialize)]
struct Merged {
    flows: Count,
}

#[derive(Deserialize)]
struct Network<'a> {
    wire_bytes: Option<Count>,
    #[serde(borrow)]
    direction: Option<Cow<'a, str>>,
    #[serde(borrow)]
    transport: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Labels {
    synthetic: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Observer<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    ingress: Option<Point<'a>>,
    #[serde(borrow)]
    egress: Option<Point<'a>>,
}

#[derive(Deserialize)]
struct Point<'a> {
    #[serde(borrow)]
    interface: Named<'a>,
}

/// `flowmeter.*`.
#[derive(Deserialize)]
pub(super) struct Meter<'a> {
    #[serde(borrow)]
    interface: Named<'a>,
    pub(super) seen: Amount,
    pub(super) exported: Amount,
    pub(super) summarised: Amount,
    pub(super) left_out: Amount,
    #[serde(borrow)]
    pub(super) lost: BTreeMap<Cow<'a, str>, Amount>,
    pub(super) filtered: Amount,
    pub(super) sampled_out: Amount,
    pub(super) withheld: Withheld,
    pub(super) sampling: u32,
    pub(super) map: Map,
    pub(super) connections: Connections,
    #[serde(borrow)]
    pub(super) output: Output<'a>,
}

impl Meter<'_> {
    pub(super) fn interface(&self) -> &str {
        &self.interface.name
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(from = "RawAmount")]
pub(super) struct Amount {
    pub(super) packets: u64,
    pub(super) wire_bytes: u64,
}

#[derive(Deserialize)]
struct RawAmount {
    packets: Count,
    wire_bytes: Count,
}

impl From<RawAmount> for Amount {
    fn from(raw: RawAmount) -> Self {
        Self {
            packets: raw.packets.0,
            wire_bytes: raw.wire_bytes.0,
        }
    }
}

impl Amount {
    pub(super) fn add(&mut self, other: Self) {
        self.packets = self.packets.saturating_add(other.packets);
        self.wire_bytes = self.wire_bytes.saturating_add(other.wire_bytes);
    }
}

#[derive(Deserialize)]
pub(super) struct Withheld {
    pub(super) lines: Count,
    #[serde(flatten)]
    pub(super) amount: Amount,
}

#[derive(Deserialize)]
pub(super) struct Map {
    pub(super) entries: Count,
    pub(super) capacity: Count,
    pub(super) early_drains: Count,
}

#[derive(Deserialize)]
pub(super) struct Connections {
    pub(super) evicted: Count,
}

#[derive(Deserialize)]
pub(super) struct Output<'a> {
    #[serde(borrow)]
    pub(super) last_error: Option<Cow<'a, str>>,
}

/// # Errors
/// What is wrong with the line, without control characters.
pub(super) fn read(line: &[u8]) -> Result<Event<'_>, String> {
    if line.trim_ascii().is_empty() {
        return Ok(Event::Other);
    }
    let raw: Raw<'_> = serde_json::from_slice(line).map_err(|error| complaint(&error))?;
    let action = raw.event.as_ref().and_then(|event| event.action.as_deref());
    match action.unwrap_or_default() {
        "network_flow" | "network_flow_summary" => raw.flow().map(Event::Flow),
        "statistics" => raw.statistics().map(|read| Event::Statistics(Box::new(read))),
        "anomaly_detected" => {
            let value = serde_json::from_slice(line).map_err(|error| complaint(&error))?;
            match Told::find(&value).map_err(|fault| shortened(&fault.to_string()))? {
                Some(told) => Ok(Event::Finding(Box::new(told))),
                None => Err(missing("anomaly")),
            }
        }
        _ => Ok(Event::Other),
    }
}

fn missing(field: &str) -> String {
    format!("{field} is missing")
}

/// The parser says "line 1" of every line.
fn complaint(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line 1 column").next().unwrap_or_default();
    format!("{}, in column {}", shortened(text), error.column())
}

fn shortened(text: &str) -> String {
    let plain = plain(text);
    match plain.char_indices().nth(COMPLAINT) {
        Some((end, _)) => format!("{} ...", plain.get(..end).unwrap_or_default()),
        None => plain,
    }
}

impl<'a> Raw<'a> {
    fn flow(self) -> Result<Flow<'a>, String> {
        let time = self.timestamp.ok_or_else(|| missing("@timestamp"))?;
        let flow = self.flow.ok_or_else(|| missing("flow"))?;
        let network = self.network.ok_or_else(|| missing("network"))?;
        let summary = self.event.as_ref().and_then(|event| event.action.as_deref());
        let summary = summary == Some("network_flow_summary");
        if summary && flow.merged.is_none() {
            return Err(missing("flow.merged.flows"));
        }
        let [source, destination] = [("source", self.source), ("destination", self.destination)]
            .map(|(name, side)| side.ok_or_else(|| missing(name)));
        let (source, destination) = (source?, destination?);
        let sent = |name: &str, side: &Side| {
            Ok::<_, String>(Volume {
                records: 0,
                bytes: side.bytes.ok_or_else(|| missing(&format!("{name}.bytes")))?.0,
                packets: side.packets.ok_or_else(|| missing(&format!("{name}.packets")))?.0,
            })
        };
        if !summary && (source.ip.is_none() || destination.ip.is_none()) {
            return Err(missing("source.ip or destination.ip"));
        }
        let (name, interface) = match self.observer {
            Some(observer) => (observer.name, observer.egress.or(observer.ingress)),
            None => (None, None),
        };
        Ok(Flow {
            time,
            start: self.event.and_then(|event| event.start).unwrap_or(time),
            source: source.ip,
            destination: destination.ip,
            port: destination.port,
            sent: sent("source", &source)?,
            received: sent("destination", &destination)?,
            wire_bytes: network.wire_bytes.ok_or_else(|| missing("network.wire_bytes"))?.0,
            direction: network.direction.ok_or_else(|| missing("network.direction"))?,
            transport: network.transport,
            service: self.service.map(|service| service.name),
            outcome: flow.outcome,
            merged: flow.merged.map(|merged| merged.flows.0),
            sampling: flow.sampling.unwrap_or(1),
            synthetic: self.labels.is_some_and(|labels| labels.synthetic.is_some()),
            interface: interface.map(|point| point.interface.name).unwrap_or_default(),
            collector: self
                .collector
                .map(|named| named.name)
                .or(name)
                .unwrap_or_default(),
        })
    }

    fn statistics(self) -> Result<Statistics<'a>, String> {
        let time = self.timestamp.ok_or_else(|| missing("@timestamp"))?;
        let event = self.event.ok_or_else(|| missing("event"))?;
        let name = self.observer.and_then(|observer| observer.name);
        Ok(Statistics {
            time,
            start: event.start.ok_or_else(|| missing("event.start"))?,
            end: event.end.ok_or_else(|| missing("event.end"))?,
            collector: self
                .collector
                .map(|named| named.name)
                .or(name)
                .unwrap_or_default(),
            meter: self.flowmeter.ok_or_else(|| missing("flowmeter"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLES: [(&str, &[u8]); 8] = [
        ("flow", include_bytes!("../../../samples/flow-tcp.json")),
        ("flow", include_bytes!("../../../samples/flow-tcp.ecs.json")),
        ("summary", include_bytes!("../../../samples/flow-summary.json")),
        (
            "summary",
            include_bytes!("../../../samples/flow-summary.ecs.json"),
        ),
        ("statistics", include_bytes!("../../../samples/statistics.json")),
        (
            "statistics",
            include_bytes!("../../../samples/statistics.ecs.json"),
        ),
        ("finding", include_bytes!("../../../samples/finding.json")),
        ("finding", include_bytes!("../../../samples/finding.ecs.json")),
    ];

    #[test]
    fn every_kind_of_event_is_read_in_both_schemas() {
        for (kind, line) in SAMPLES {
            match (kind, read(line)) {
                ("flow", Ok(Event::Flow(flow))) => {
                    assert_eq!(flow.volume().bytes, 5_461_766_916);
                    assert_eq!((flow.volume().records, flow.merged), (1, None));
                    assert_eq!((&*flow.direction, flow.port), ("outbound", Some(443)));
                    assert_eq!(
                        (&*flow.collector, &*flow.interface),
                        ("lab-collector-01", "enp1s0")
                    );
                }
                ("summary", Ok(Event::Flow(flow))) => {
                    assert_eq!((flow.volume().records, flow.volume().packets), (5000, 5500));
                    assert_eq!(flow.destination, None);
                    assert_eq!(&*flow.collector, "lab-collector-01");
                }
                ("statistics", Ok(Event::Statistics(statistics))) => {
                    assert_eq!(statistics.meter.seen.packets, 111_555);
                    assert_eq!(statistics.meter.withheld.amount.packets, 410);
                    assert_eq!(statistics.meter.lost["map_full"].packets, 2500);
                    assert_eq!(&*statistics.collector, "lab-collector-01");
                }
                ("finding", Ok(Event::Finding(told))) => assert_eq!(told.score, Some(65)),
                (kind, Err(error)) => panic!("{kind}: {error}"),
                (kind, Ok(_)) => panic!("{kind} was read as something else"),
            }
        }
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said_in_one_short_line() {
        let long = format!(r#"{{"@timestamp":"{}"}}"#, "\\u001b[31m".repeat(4096));
        for (line, complaint) in [
            ("{", "EOF while parsing an object, in column 1"),
            (r#"{"event":{"action":"network_flow"}}"#, "@timestamp is missing"),
            (r#"{"event":{"action":"anomaly_detected"}}"#, "anomaly is missing"),
            (long.as_str(), "invalid"),
        ] {
            let Err(told) = read(line.as_bytes()) else {
                panic!("{line} was read");
            };
            assert!(told.contains(complaint), "{told}");
            assert!(told.chars().count() < 2 * COMPLAINT && !told.chars().any(char::is_control));
        }
        assert!(matches!(read(b" "), Ok(Event::Other)));
        assert!(matches!(read(b"{\"a\":1}"), Ok(Event::Other)));
    }
}
