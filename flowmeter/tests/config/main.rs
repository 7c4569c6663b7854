//! The configuration as its callers see it: layers, ranges, hostile input, and the texts that must not drift from
//! the code.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the lints' exception for tests does not reach their helper functions"
)]

mod documents;
mod hostile;
mod layers;
mod ranges;

use std::{ffi::OsString, io::Write};

use flowmeter::config::{Config, Loaded, Sources, load};
use tempfile::NamedTempFile;
use toml::{Table, Value};

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

fn from_text(text: &str) -> anyhow::Result<Loaded> {
    let file = file(text);
    load(&Sources {
        file: Some(file.path().to_owned()),
        ..Sources::default()
    })
}

fn set(assignments: &[&str]) -> anyhow::Result<Loaded> {
    let file = file("");
    load(&Sources {
        file: Some(file.path().to_owned()),
        set: assignments.iter().map(|&text| text.to_owned()).collect(),
        ..Sources::default()
    })
}

/// Dotted keys of the values in a table.
fn keys(table: &Table) -> Vec<String> {
    let mut keys = Vec::new();
    for (name, value) in table {
        match value {
            Value::Table(inner) => keys.extend(self::keys(inner).iter().map(|key| format!("{name}.{key}"))),
            _ => keys.push(name.clone()),
        }
    }
    keys.sort_unstable();
    keys
}

fn default_keys() -> Vec<String> {
    keys(&Table::try_from(Config::default()).unwrap())
}
