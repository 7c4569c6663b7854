//! One finding as it stands in a line: the fields of the event file, of both schemas, or what Wazuh made of them
//! (every number a text, under `data`).

use std::{fmt, net::IpAddr, str::FromStr};

use jiff::Timestamp;
use serde_json::Value;

use crate::detect::{Phase, Tag};

/// A finding that was read back. Texts hold no control characters: they end up on a terminal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    /// What field names begin with where an analyst searches: `data.` in Wazuh 4's index.
    pub(crate) prefix: &'static str,
    pub(crate) tag: Tag,
    pub(crate) phase: Phase,
    pub(crate) episode: String,
    pub(crate) sequence: u64,
    pub(crate) first_seen: Timestamp,
    pub(crate) last_seen: Timestamp,
    pub(crate) message: String,
    pub(crate) score: Option<u64>,
    pub(crate) confidence: Option<String>,
    /// Identifier and words.
    pub(crate) reasons: Vec<(String, String)>,
    /// Name, value and, if it is an estimate, its standard error in per cent.
    pub(crate) counts: Vec<(String, u64, Option<u64>)>,
    pub(crate) ports: Vec<u16>,
    pub(crate) hosts: Vec<IpAddr>,
    pub(crate) open_ports: Vec<u16>,
    pub(crate) period: Option<Period>,
    pub(crate) baseline: Option<Baseline>,
    pub(crate) one_sided: bool,
    pub(crate) lost_packets: u64,
    /// `key = value`
    pub(crate) settings: Vec<String>,
    pub(crate) suppressed: u64,
    pub(crate) source: Option<IpAddr>,
    pub(crate) destination: Option<IpAddr>,
    pub(crate) port: Option<u16>,
    pub(crate) transport: Option<String>,
    pub(crate) techniques: Vec<String>,
    pub(crate) collector: Option<String>,
    /// Made up by `flowmeter generate`.
    pub(crate) synthetic: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Period {
    pub(crate) seconds: f64,
    pub(crate) jitter_seconds: f64,
    pub(crate) next: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Baseline {
    pub(crate) usual: f64,
    pub(crate) observed: f64,
    pub(crate) deviation: Option<f64>,
    pub(crate) unit: String,
}

/// What is wrong with a field.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    field: String,
    wrong: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.wrong)
    }
}

impl Told {
    /// The finding in an object, `None` if it holds none.
    pub(crate) fn find(value: &Value) -> Result<Option<Self>, Fault> {
        // A document copied out of the dashboard.
        let (value, path) = match value.get("_source") {
            Some(source) => (source, "_source."),
            None => (value, ""),
        };
        let (event, path) = match value.get("data") {
            Some(data) => (data, format!("{path}data.")),
            None => (value, path.to_owned()),
        };
        if event.get("anomaly").is_none_or(Value::is_null) {
            return Ok(None);
        }
        // Both schemas are searched by the names of ECS; only Wazuh 4 puts them under `data`.
        let ecs = event.get("netflow").is_none() && path.is_empty();
        Self::read(&Fields { event, path: &path }, if ecs { "" } else { "data." }).map(Some)
    }

    fn read(fields: &Fields<'_>, prefix: &'static str) -> Result<Self, Fault> {
        let tag = fields.required("anomaly.tags", |fields, name| {
            Ok(fields.list::<String>(name)?.into_iter().next())
        })?;
        let tag = Tag::from_name(&tag).ok_or_else(|| {
            fields.fault(
                "anomaly.tags",
                format!("names `{tag}`, which is no finding of this version"),
            )
        })?;
        let phase = fields.required("anomaly.phase", Fields::text)?;
        let phase = [Phase::Start, Phase::Update, Phase::End]
            .into_iter()
            .find(|known| known.name() == phase)
            .ok_or_else(|| {
                fields.fault("anomaly.phase", format!("is `{phase}`, not start, update or end"))
            })?;
        Ok(Self {
            prefix,
            tag,
            phase,
            episode: fields.required("anomaly.episode", Fields::text)?,
            sequence: fields.required("anomaly.sequence", Fields::whole)?,
            first_seen: fields.required("event.start", Fields::parsed)?,
            last_seen: fields.required("event.end", Fields::parsed)?,
            message: fields.required("message", Fields::text)?,
            score: fields.whole("anomaly.score")?,
            confidence: fields.text("anomaly.confidence")?,
            reasons: reasons(fields)?,
            counts: counts(fields)?,
            ports: fields.list("anomaly.ports")?,
            hosts: fields.list("anomaly.hosts")?,
            open_ports: fields.list("anomaly.open_ports")?,
            period: period(fields)?,
            baseline: baseline(fields)?,
            one_sided: fields.parsed("anomaly.visibility.one_sided")?.unwrap_or(false),
            lost_packets: fields.whole("anomaly.visibility.lost_packets")?.unwrap_or(0),
            settings: fields.list("anomaly.settings")?,
            suppressed: fields.whole("anomaly.suppressed")?.unwrap_or(0),
            source: fields.parsed("source.ip")?,
            destination: fields.parsed("destination.ip")?,
            port: fields.parsed("destination.port")?,
            transport: fields.text("network.transport")?,
            techniques: fields.list("threat.technique.id")?,
            collector: match fields.text("collector.name")? {
                None => fields.text("observer.name")?,
                collector => collector,
            },
            synthetic: fields.parsed("labels.synthetic")?.unwrap_or(false),
        })
    }
}

fn reasons(fields: &Fields<'_>) -> Result<Vec<(String, String)>, Fault> {
    let ids: Vec<String> = fields.list("anomaly.reasons")?;
    let words: Vec<String> = fields.list("anomaly.explanation")?;
    if ids.len() != words.len() {
        let wrong = format!("has {} entries, anomaly.reasons {}", words.len(), ids.len());
        return Err(fields.fault("anomaly.explanation", wrong));
    }
    Ok(ids.into_iter().zip(words).collect())
}

fn counts(fields: &Fields<'_>) -> Result<Vec<(String, u64, Option<u64>)>, Fault> {
    let Some(value) = fields.value("anomaly.counts") else {
        return Ok(Vec::new());
    };
    let Some(counts) = value.as_object() else {
        return Err(fields.fault("anomaly.counts", "is no object".to_owned()));
    };
    counts
        .keys()
        .map(|name| {
            let value = fields.required(&format!("anomaly.counts.{name}"), Fields::whole)?;
            let error = fields.whole(&format!("anomaly.counts_error_percent.{name}"))?;
            Ok((plain(name), value, error))
        })
        .collect()
}

fn period(fields: &Fields<'_>) -> Result<Option<Period>, Fault> {
    let Some(seconds) = fields.parsed("anomaly.period.seconds")? else {
        return Ok(None);
    };
    Ok(Some(Period {
        seconds,
        jitter_seconds: fields.required("anomaly.period.jitter_seconds", Fields::parsed)?,
        next: fields.required("anomaly.period.next", Fields::parsed)?,
    }))
}

fn baseline(fields: &Fields<'_>) -> Result<Option<Baseline>, Fault> {
    let Some(observed) = fields.parsed("anomaly.baseline.observed")? else {
        return Ok(None);
    };
    Ok(Some(Baseline {
        usual: fields.required("anomaly.baseline.usual", Fields::parsed)?,
        observed,
        deviation: fields.parsed("anomaly.baseline.deviation")?,
        unit: fields.required("anomaly.baseline.unit", Fields::text)?,
    }))
}

/// An event whose fields are asked for by dotted name.
struct Fields<'a> {
    event: &'a Value,
    /// Where it stands in the line, for messages.
    path: &'a str,
}

impl Fields<'_> {
    fn value(&self, name: &str) -> Option<&Value> {
        let value = name
            .split('.')
            .try_fold(self.event, |value, part| value.get(part))?;
        (!value.is_null()).then_some(value)
    }

    fn fault(&self, name: &str, wrong: String) -> Fault {
        Fault {
            field: format!("{}{name}", self.path),
            wrong,
        }
    }

    fn required<T>(
        &self,
        name: &str,
        read: impl Fn(&Self, &str) -> Result<Option<T>, Fault>,
    ) -> Result<T, Fault> {
        read(self, name)?.ok_or_else(|| self.fault(name, "is missing".to_owned()))
    }

    fn text(&self, name: &str) -> Result<Option<String>, Fault> {
        self.value(name).map(|value| self.scalar(name, value)).transpose()
    }

    /// A number, truth value or text, as text.
    fn scalar(&self, name: &str, value: &Value) -> Result<String, Fault> {
        match value {
            Value::String(text) => Ok(plain(text)),
            Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                Err(self.fault(name, "is no single value".to_owned()))
            }
        }
    }

    fn parsed<T: FromStr + Named>(&self, name: &str) -> Result<Option<T>, Fault> {
        self.text(name)?.map(|text| self.parse(name, &text)).transpose()
    }

    fn parse<T: FromStr + Named>(&self, name: &str, text: &str) -> Result<T, Fault> {
        text.parse()
            .map_err(|_| self.fault(name, format!("is `{text}`, not {}", T::NAME)))
    }

    /// Wazuh's decoder writes a number of 2^31 and more with six decimals.
    fn whole(&self, name: &str) -> Result<Option<u64>, Fault> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let digits = match text.split_once('.') {
            Some((digits, zeros)) if zeros.bytes().all(|byte| byte == b'0') => digits,
            _ => &text,
        };
        self.parse(name, digits).map(Some)
    }

    /// A list; a single value is a list of one, and so may a text be that holds a list.
    fn list<T: FromStr + Named>(&self, name: &str) -> Result<Vec<T>, Fault> {
        let Some(value) = self.value(name) else {
            return Ok(Vec::new());
        };
        let nested = value
            .as_str()
            .filter(|text| text.starts_with('['))
            .and_then(|text| serde_json::from_str(text).ok());
        let value = nested.as_ref().unwrap_or(value);
        let entry = |entry| self.scalar(name, entry).and_then(|text| self.parse(name, &text));
        match value {
            Value::Array(entries) => entries.iter().map(entry).collect(),
            single => Ok(vec![entry(single)?]),
        }
    }
}

/// What a value should have been, for messages.
trait Named {
    const NAME: &str;
}

impl Named for u64 {
    const NAME: &str = "a whole number";
}

impl Named for u16 {
    const NAME: &str = "a whole number up to 65535";
}

impl Named for f64 {
    const NAME: &str = "a number";
}

impl Named for bool {
    const NAME: &str = "true or false";
}

impl Named for IpAddr {
    const NAME: &str = "an IP address";
}

impl Named for Timestamp {
    const NAME: &str = "a time such as 2026-04-26T12:00:00Z";
}

impl Named for String {
    const NAME: &str = "a text";
}

/// Without control characters, and without those that change the order of others on the screen: whoever wrote the
/// file does not write to the terminal.
pub(crate) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || reorders(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Marks, embeddings, overrides and isolates of the bidirectional algorithm (UAX 9, section 2).
const fn reorders(character: char) -> bool {
    matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const EVENT: &str = include_str!("../../../samples/finding.json");
    const ECS: &str = include_str!("../../../samples/finding.ecs.json");

    fn event(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    /// Pointers to every value of an event.
    fn places(value: &Value, here: &str, places: &mut Vec<String>) {
        places.push(here.to_owned());
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    self::places(value, &format!("{here}/{name}"), places);
                }
            }
            Value::Array(entries) => {
                for (index, value) in entries.iter().enumerate() {
                    self::places(value, &format!("{here}/{index}"), places);
                }
            }
            _ => {}
        }
    }

    fn anything() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "\\[[0-9,\"]*\\]?".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::hash_map("[a-z.]{0,6}", inner, 0..4)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_value_in_any_place_is_read_or_its_field_is_named(
            text in prop_oneof![Just(EVENT), Just(ECS)],
            place in any::<proptest::sample::Index>(),
            value in anything(),
        ) {
            let mut event = event(text);
            let mut all = Vec::new();
            places(&event, "", &mut all);
            let place: &String = place.get(&all);
            *event.pointer_mut(place).unwrap() = value;
            match Told::find(&event) {
                Ok(None) => prop_assert!(event.get("anomaly").is_none_or(Value::is_null)),
                Ok(Some(told)) => {
                    let texts = [&told.message, &told.episode].into_iter().chain(&told.settings);
                    for text in texts.chain(told.reasons.iter().flat_map(|(id, words)| [id, words])) {
                        prop_assert!(!text.chars().any(char::is_control));
                    }
                }
                Err(fault) => prop_assert!(!fault.field.is_empty()),
            }
        }
    }

    #[test]
    fn wazuhs_numbers_are_whole_numbers() {
        for (value, expected) in [
            (json!(29), 29),
            (json!("29"), 29),
            (json!("5368709120.000000"), 5_368_709_120),
            (json!("18446744073709551615"), u64::MAX),
        ] {
            let event = json!({"n": value});
            let fields = Fields {
                event: &event,
                path: "",
            };
            assert_eq!(fields.whole("n"), Ok(Some(expected)));
        }
    }

    #[test]
    fn a_list_may_stand_in_a_text_or_be_a_single_value() {
        for value in [json!([1, "2"]), json!("[1, 2]")] {
            let event = json!({"n": value});
            let fields = Fields {
                event: &event,
                path: "",
            };
            assert_eq!(fields.list::<u16>("n"), Ok(vec![1, 2]));
        }
        let event = json!({"n": "7"});
        let fields = Fields {
            event: &event,
            path: "",
        };
        assert_eq!(fields.list::<u16>("n"), Ok(vec![7]));
    }
}
