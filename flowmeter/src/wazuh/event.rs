//! What Wazuh's decoders make of one line: fields by dotted name, every value a text.
//!
//! Source: `readJSON` and `fillData` of `src/analysisd/decoders/plugins/json_decoder.c`, Wazuh 4.14.7.

use serde_json::Value;

/// Longest line that an agent sends.
pub const MAX_LINE: usize = 65_278;
/// `decoder_order_size`: fields beyond are dropped.
pub const MAX_FIELDS: usize = 256;

/// Top-level names that fill fields of their own. A rule names them by their own tags, never in `<field>`.
pub const STATIC: [&str; 14] = [
    "srcip",
    "dstip",
    "srcport",
    "dstport",
    "protocol",
    "action",
    "srcuser",
    "dstuser",
    "id",
    "status",
    "url",
    "data",
    "extra_data",
    "systemname",
];

/// A decoded event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// `json` or `ossec`; none if no decoder takes the line that the rules here could ask for.
    pub decoder: Option<&'static str>,
    pub log: String,
    fields: Vec<(String, String)>,
    statics: Vec<(&'static str, String)>,
    /// Fields that found no room.
    pub dropped: usize,
}

impl Event {
    /// Decodes one line as it stands in a file, or as a command's output is sent.
    pub fn decode(line: &str) -> Self {
        let mut event = Self {
            log: line.to_owned(),
            ..Self::default()
        };
        let object = line
            .strip_prefix('{')
            .is_some_and(|rest| rest.trim_start().starts_with('"'));
        if object {
            // A line that only looks like JSON is still the json decoder's; it has no fields then.
            event.decoder = Some("json");
            if let Ok(value) = serde_json::from_str(line) {
                event.read("", &value);
            }
        } else if line.starts_with("ossec: ") {
            event.decoder = Some("ossec");
        }
        event
    }

    /// The value of a field that rules ask for by `<field name>`. Names match in any case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The value of one of [`STATIC`].
    pub fn static_field(&self, name: &str) -> Option<&str> {
        self.statics
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.as_str())
    }

    /// What `$(name)` in a description stands for.
    pub fn any_field(&self, name: &str) -> Option<&str> {
        self.static_field(name).or_else(|| self.field(name))
    }

    /// Names of all fields but the static ones.
    pub fn field_names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_str())
    }

    fn read(&mut self, name: &str, value: &Value) {
        match value {
            Value::Object(members) => {
                for (key, value) in members {
                    if name.is_empty() {
                        self.read(key, value);
                    } else {
                        self.read(&format!("{name}.{key}"), value);
                    }
                }
            }
            Value::Array(_) => self.put(name, array(value)),
            Value::String(text) => self.put(name, text.clone()),
            Value::Number(number) => self.put(name, number_text(number)),
            Value::Bool(value) => self.put(name, value.to_string()),
            Value::Null => self.put(name, "null".to_owned()),
        }
    }

    fn put(&mut self, name: &str, value: String) {
        if let Some(known) = STATIC.iter().find(|known| **known == name) {
            self.statics.push((known, value));
        } else if self.fields.len() < MAX_FIELDS {
            self.fields.push((name.to_owned(), value));
        } else {
            self.dropped += 1;
        }
    }
}

/// cJSON keeps an `int` beside the `double`; where they differ the value is printed with six decimals.
fn number_text(number: &serde_json::Number) -> String {
    let value = number.as_f64().unwrap_or_default();
    if value.fract() == 0.0 && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&value) {
        format!("{value:.0}")
    } else {
        format!("{value:.6}")
    }
}

/// As cJSON prints it: a space behind each comma. (Objects in it would be spread over lines; no rule reads those.)
fn array(value: &Value) -> String {
    match value {
        Value::Array(entries) => {
            let entries: Vec<_> = entries.iter().map(array).collect();
            format!("[{}]", entries.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_flatten_to_dotted_names_and_values_become_text() {
        let event = Event::decode(
            r#"{"netflow":"true","srcip":"10.0.0.1","source":{"ip":"10.0.0.1","bytes":5368709120,"port":22},
               "event":{"duration":0.023,"whole":45.0},"anomaly":{"tags":["a","b"],"ports":[1,2]},"on":true}"#,
        );
        assert_eq!(event.decoder, Some("json"));
        for (name, value) in [
            ("netflow", "true"),
            ("source.ip", "10.0.0.1"),
            ("source.bytes", "5368709120.000000"),
            ("SOURCE.PORT", "22"),
            ("event.duration", "0.023000"),
            ("event.whole", "45"),
            ("anomaly.tags", r#"["a", "b"]"#),
            ("anomaly.ports", "[1, 2]"),
            ("on", "true"),
        ] {
            assert_eq!(event.field(name), Some(value), "{name}");
        }
        assert_eq!(event.static_field("srcip"), Some("10.0.0.1"));
        assert_eq!(event.field("srcip"), None, "a static field is none for <field>");
    }

    #[test]
    fn a_field_too_many_is_dropped() {
        let members: Vec<_> = (0..300).map(|i| format!("\"f{i}\":{i}")).collect();
        let event = Event::decode(&format!("{{{}}}", members.join(",")));
        assert_eq!((event.field("f255"), event.field("f256")), (Some("255"), None));
        assert_eq!(event.dropped, 44);
    }

    #[test]
    fn other_lines_have_no_fields() {
        assert_eq!(Event::decode("{ \"cut").decoder, Some("json"));
        assert_eq!(Event::decode("[1]").decoder, None);
        assert_eq!(Event::decode("ossec: output: 'x':\n1").decoder, Some("ossec"));
    }
}
