//! The event file, read back.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use anyhow::{Context, Result};
use serde_json::Value;

/// Where the agent writes what the demo reads.
mod field {
    pub(super) const ACTION: &str = "/event/action";
    pub(super) const STATISTICS: &str = "statistics";
    pub(super) const FINDING: &str = "anomaly_detected";
    pub(super) const SEEN: &str = "/flowmeter/seen/packets";
    pub(super) const EXPORTED: &str = "/flowmeter/exported/packets";
    /// An object of reason: counts.
    pub(super) const LOST: &str = "/flowmeter/lost";
}

#[derive(Debug, Default)]
pub(super) struct Events {
    pub(super) lines: Vec<String>,
    pub(super) conversations: Vec<Conversation>,
    pub(super) statistics: Statistics,
}

/// All events of one connection, added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Conversation {
    pub(super) protocol: String,
    pub(super) source: End,
    pub(super) destination: End,
    pub(super) vlan: String,
    pub(super) service: String,
    pub(super) outcome: String,
    pub(super) direction: String,
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

/// An address and, for protocols that have them, a port.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct End {
    pub(super) ip: String,
    pub(super) port: Option<String>,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.port {
            Some(port) if self.ip.contains(':') => write!(f, "[{}]:{port}", self.ip),
            Some(port) => write!(f, "{}:{port}", self.ip),
            None => f.write_str(&self.ip),
        }
    }
}

/// All statistics events, added up.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Statistics {
    pub(super) seen: u64,
    pub(super) exported: u64,
    pub(super) lost: BTreeMap<String, u64>,
}

impl Events {
    pub(super) fn read(file: &Path) -> Result<Self> {
        match fs::read_to_string(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            text => {
                let text = text.with_context(|| format!("reading {}", file.display()))?;
                Self::parse(&text).with_context(|| format!("reading {}", file.display()))
            }
        }
    }

    fn parse(text: &str) -> Result<Self> {
        let mut events = Self::default();
        let mut places = BTreeMap::new();
        // What has no line feed yet is still being written.
        let whole = text
            .rfind('\n')
            .map_or("", |end| text.get(..end).unwrap_or_default());
        for (index, line) in whole.lines().enumerate() {
            let event: Value = serde_json::from_str(line).with_context(|| format!("line {}", index + 1))?;
            events.lines.push(line.to_owned());
            match text_at(&event, field::ACTION).as_str() {
                field::STATISTICS => {
                    events.statistics.add(&event);
                    continue;
                }
                field::FINDING => continue,
                _ => {}
            }
            let new = Conversation::new(&event);
            let key = (
                new.protocol.clone(),
                new.source.clone(),
                new.destination.clone(),
                new.vlan.clone(),
            );
            let place = *places.entry(key).or_insert(events.conversations.len());
            match events.conversations.get_mut(place) {
                Some(conversation) => conversation.add(new),
                None => events.conversations.push(new),
            }
        }
        Ok(events)
    }

    /// Everything that was seen was exported or counted as lost, and the flows hold what was exported.
    pub(super) fn conserved(&self) -> bool {
        let Statistics { seen, exported, lost } = &self.statistics;
        let flows: u64 = self
            .conversations
            .iter()
            .map(|conversation| conversation.packets)
            .sum();
        *seen > 0 && *seen == exported + lost.values().sum::<u64>() && flows == *exported
    }
}

impl Conversation {
    fn new(event: &Value) -> Self {
        let end = |side: &str| End {
            ip: text_at(event, &format!("/{side}/ip")),
            port: event.pointer(&format!("/{side}/port")).map(plain),
        };
        Self {
            protocol: text_at(event, "/flow/protocol"),
            source: end("source"),
            destination: end("destination"),
            vlan: text_at(event, "/network/vlan/id"),
            service: text_at(event, "/service/name"),
            outcome: text_at(event, "/flow/outcome"),
            direction: text_at(event, "/flow/direction"),
            packets: number_at(event, "/network/packets"),
            bytes: number_at(event, "/network/bytes"),
        }
    }

    fn add(&mut self, later: Self) {
        let (packets, bytes) = (self.packets + later.packets, self.bytes + later.bytes);
        // The later event knows more, of the outcome above all.
        *self = Self {
            packets,
            bytes,
            ..later
        };
    }
}

impl Statistics {
    fn add(&mut self, event: &Value) {
        self.seen += number_at(event, field::SEEN);
        self.exported += number_at(event, field::EXPORTED);
        let reasons = event.pointer(field::LOST).and_then(Value::as_object);
        for (reason, lost) in reasons.into_iter().flatten() {
            *self.lost.entry(reason.clone()).or_default() += number_at(lost, "/packets");
        }
    }
}

pub(super) fn text_at(event: &Value, pointer: &str) -> String {
    event.pointer(pointer).map(plain).unwrap_or_default()
}

fn number_at(event: &Value, pointer: &str) -> u64 {
    event.pointer(pointer).map(number).unwrap_or_default()
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Great numbers are written as text, since Wazuh's engine would round them.
fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .or_else(|| value.as_str()?.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOW: &str = r#"{"source":{"ip":"203.0.113.5","port":50000},"destination":{"ip":"10.20.0.2","port":443},"flow":{"protocol":"TCP","direction":"external_to_internal","outcome":"OUTCOME"},"network":{"packets":3,"bytes":"180"},"service":{"name":"HTTPS"}}"#;
    const STATISTICS: &str = r#"{"event":{"action":"statistics"},"flowmeter":{"seen":{"packets":7},"exported":{"packets":6},"lost":{"not_ip":{"packets":1}}}}"#;

    fn file() -> String {
        let (first, second) = (
            FLOW.replace("OUTCOME", "half-open"),
            FLOW.replace("OUTCOME", "accepted"),
        );
        format!("{first}\n{second}\n{STATISTICS}\n")
    }

    #[test]
    fn events_of_one_connection_are_added_up_and_the_last_outcome_stands() {
        let events = Events::parse(&file()).unwrap();
        assert_eq!(events.conversations.len(), 1);
        let conversation = &events.conversations[0];
        assert_eq!(conversation.source.to_string(), "203.0.113.5:50000");
        assert_eq!(conversation.outcome, "accepted");
        assert_eq!((conversation.packets, conversation.bytes), (6, 360));
    }

    #[test]
    fn what_was_seen_must_be_exported_or_lost() {
        assert!(Events::parse(&file()).unwrap().conserved());
        let wrong = file().replace(r#""not_ip":{"packets":1}"#, r#""not_ip":{"packets":2}"#);
        assert!(!Events::parse(&wrong).unwrap().conserved());
        assert!(!Events::parse("").unwrap().conserved());
    }

    #[test]
    fn a_finding_is_no_conversation() {
        let finding = r#"{"event":{"action":"anomaly_detected"},"anomaly":{},"source":{"ip":"10.20.0.2"}}"#;
        let events = Events::parse(&format!("{finding}\n{}", file())).unwrap();
        assert_eq!((events.lines.len(), events.conversations.len()), (4, 1));
        assert!(events.conserved());
    }

    #[test]
    fn a_line_that_is_still_being_written_waits() {
        let text = file() + r#"{"source":"#;
        assert_eq!(Events::parse(&text).unwrap().lines.len(), 3);
    }

    #[test]
    fn an_address_without_a_port_stands_alone() {
        let event =
            serde_json::json!({"source": {"ip": "fd00::2"}, "destination": {"ip": "fd00::3", "port": 53}});
        let conversation = Conversation::new(&event);
        assert_eq!(conversation.source.to_string(), "fd00::2");
        assert_eq!(conversation.destination.to_string(), "[fd00::3]:53");
    }
}
