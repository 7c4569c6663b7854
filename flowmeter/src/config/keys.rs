//! The set of keys, taken from the serialised default: nothing here has to be kept in step by hand.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::Config;

/// The one table whose keys are the operator's own: ports.
const SERVICES: &str = "services";

/// Every key with its default value, and every table.
pub(super) struct Keys {
    values: BTreeMap<String, Value>,
    tables: Vec<String>,
}

impl Keys {
    pub(super) fn known() -> Result<Self, toml::ser::Error> {
        let mut keys = Self {
            values: BTreeMap::new(),
            tables: Vec::new(),
        };
        keys.add("", Table::try_from(Config::default())?);
        Ok(keys)
    }

    fn add(&mut self, prefix: &str, table: Table) {
        for (name, value) in table {
            let key = join(prefix, &name);
            match value {
                Value::Table(table) => {
                    self.tables.push(key.clone());
                    self.add(&key, table);
                }
                value => {
                    self.values.insert(key, value);
                }
            }
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    pub(super) fn is_table(&self, key: &str) -> bool {
        self.tables.iter().any(|table| table == key)
    }

    pub(super) fn is_value(&self, key: &str) -> bool {
        self.values.contains_key(key) || service_port(key).is_some()
    }

    /// A value as written on a command line or in a variable: text where the default is text, a comma list
    /// (or a TOML array) where it is a list, else what TOML makes of it.
    pub(super) fn value(&self, key: &str, text: &str) -> Value {
        let as_toml = || text.parse::<Value>().ok();
        match self.values.get(key) {
            None | Some(Value::String(_)) => as_toml()
                .filter(Value::is_str)
                .unwrap_or_else(|| Value::String(text.to_owned())),
            Some(Value::Array(_)) => as_toml().filter(Value::is_array).unwrap_or_else(|| {
                let elements = text
                    .split(',')
                    .map(str::trim)
                    .filter(|element| !element.is_empty());
                Value::Array(
                    elements
                        .map(|element| Value::String(element.to_owned()))
                        .collect(),
                )
            }),
            Some(_) => as_toml().unwrap_or_else(|| Value::String(text.to_owned())),
        }
    }

    /// The known key that looks most like `unknown`; a name without its table finds the key in it.
    pub(super) fn closest(&self, unknown: &str) -> &str {
        closest(unknown, self.names())
    }

    pub(super) fn closest_table(&self, unknown: &str) -> &str {
        closest(unknown, self.tables.iter().map(String::as_str))
    }
}

/// The candidate most like `unknown`, compared whole and by its last part.
pub(super) fn closest<'a>(unknown: &str, candidates: impl Iterator<Item = &'a str>) -> &'a str {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let likeness = |candidate: &str| {
        let whole = strsim::normalized_damerau_levenshtein(unknown, candidate);
        let end = strsim::normalized_damerau_levenshtein(&last(unknown), &last(candidate));
        whole.max(0.95 * end)
    };
    candidates
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
        .unwrap_or_default()
}

/// The names on the way to a key; the port of `services.8443/tcp` is one name whatever it holds.
pub(super) fn path(key: &str) -> Vec<&str> {
    match service_port(key) {
        Some(port) => vec![SERVICES, port],
        None => key.split('.').collect(),
    }
}

fn service_port(key: &str) -> Option<&str> {
    let port = key.strip_prefix(SERVICES)?.strip_prefix('.')?;
    let unquoted = port.strip_prefix('"').and_then(|port| port.strip_suffix('"'));
    Some(unquoted.unwrap_or(port))
}

pub(super) fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}.{name}")
    }
}

/// Every value of a configuration by its dotted key.
pub(super) fn flatten(config: &Config) -> Result<BTreeMap<String, Value>, toml::ser::Error> {
    let mut keys = Keys {
        values: BTreeMap::new(),
        tables: Vec::new(),
    };
    keys.add("", Table::try_from(config)?);
    Ok(keys.values)
}
