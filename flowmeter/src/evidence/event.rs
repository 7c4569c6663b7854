//! What has to be known of a line to tell whether it belongs to the evidence.

use std::{borrow::Cow, net::IpAddr};

use jiff::Timestamp;
use serde::Deserialize;

/// One line of an event file, of either schema.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// `@timestamp`
    pub(super) time: Timestamp,
    pub(super) kind: Kind,
    /// `source.ip` and `destination.ip`, where they are given.
    pub(super) ends: [Option<IpAddr>; 2],
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Finding(Finding),
    Flow,
    Summary,
    Statistics,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) episode: String,
    pub(super) first_seen: Timestamp,
    pub(super) last_seen: Timestamp,
    /// A sample of the hosts on a side that has several.
    pub(super) hosts: Vec<IpAddr>,
}

impl Event {
    /// `None` for what is no event that this version knows.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let Raw {
            time,
            event,
            source,
            destination,
            anomaly,
        } = serde_json::from_slice(line).ok()?;
        let kind = match (event.action.as_ref(), anomaly) {
            ("network_flow", None) => Kind::Flow,
            ("network_flow_summary", None) => Kind::Summary,
            ("statistics", None) => Kind::Statistics,
            ("anomaly_detected", Some(anomaly)) => Kind::Finding(Finding {
                episode: anomaly.episode.into_owned(),
                first_seen: event.start?.parse().ok()?,
                last_seen: event.end?.parse().ok()?,
                hosts: anomaly.hosts,
            }),
            _ => return None,
        };
        Some(Self {
            time: time.parse().ok()?,
            kind,
            ends: [source.ip, destination.ip],
        })
    }
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(rename = "@timestamp", borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    event: RawEvent<'a>,
    #[serde(default)]
    source: RawEnd,
    #[serde(default)]
    destination: RawEnd,
    #[serde(borrow)]
    anomaly: Option<RawAnomaly<'a>>,
}

#[derive(Deserialize)]
struct RawEvent<'a> {
    #[serde(borrow)]
    action: Cow<'a, str>,
    #[serde(borrow)]
    start: Option<Cow<'a, str>>,
    #[serde(borrow)]
    end: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
struct RawEnd {
    ip: Option<IpAddr>,
}

#[derive(Deserialize)]
struct RawAnomaly<'a> {
    #[serde(borrow)]
    episode: Cow<'a, str>,
    #[serde(default)]
    hosts: Vec<IpAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_schemas_are_read_and_nothing_else() {
        let cases: [(&[u8], &str, usize); 6] = [
            (include_bytes!("../../../samples/flow-tcp.json"), "Flow", 2),
            (include_bytes!("../../../samples/flow-dns.ecs.json"), "Flow", 2),
            (include_bytes!("../../../samples/flow-summary.json"), "Summary", 1),
            (
                include_bytes!("../../../samples/statistics.ecs.json"),
                "Statistics",
                0,
            ),
            (include_bytes!("../../../samples/finding.json"), "Finding", 1),
            (include_bytes!("../../../samples/finding.ecs.json"), "Finding", 1),
        ];
        for (line, kind, ends) in cases {
            let event = Event::parse(line).unwrap();
            assert!(format!("{:?}", event.kind).starts_with(kind), "{event:?}");
            assert!(event.ends.iter().flatten().count() >= ends, "{event:?}");
        }
        for line in [
            &b""[..],
            b"{}",
            b"null",
            b"\xff\xfe",
            br#"{"@timestamp":"2026-01-05T08:00:00Z","event":{"action":"other"}}"#,
            br#"{"@timestamp":"yesterday","event":{"action":"network_flow"}}"#,
            br#"{"@timestamp":"2026-01-05T08:00:00Z","event":{"action":"network_flow"},"source":{"ip":7}}"#,
            br#"{"@timestamp":"2026-01-05T08:00:00Z","event":{"action":"anomaly_detected"},"anomaly":{}}"#,
        ] {
            assert_eq!(Event::parse(line), None, "{}", String::from_utf8_lossy(line));
        }
    }
}
