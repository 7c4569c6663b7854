//! The layers: defaults, then the file, then the environment, then `--set`, then the other options.
//!
//! The file is read strictly by itself first, so that its errors have a line and a column. What lies above it
//! is then put on top one value at a time; an error belongs to the value that was put last, and is told with
//! the name of where it came from.

use std::{collections::BTreeMap, ffi::OsString, fmt, path::PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use toml::{Table, Value};

use super::{
    Config, Problem,
    file::File,
    form::plain,
    keys::{self, Keys},
};

/// Read if no file is named; it may be missing.
pub const DEFAULT_FILE: &str = "/etc/flowmeter/flowmeter.toml";

const PREFIX: &str = "FLOWMETER_";

/// The name that the pmacct pipeline used; `FLOWMETER_NETWORKS_INTERNAL` wins over it.
const INTERNAL_NETWORKS: (&str, &str) = ("INTERNAL_NETWORKS", "networks.internal");

/// Variables with our prefix that are not configuration: the log level (an option of its own), and two that the
/// tests use.
const NOT_CONFIGURATION: [&str; 3] = ["FLOWMETER_LOG", "FLOWMETER_DATA", "FLOWMETER_BLESS"];

/// Where a configuration is read from; kept, so that it can be read again.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A file that must exist; without one, [`DEFAULT_FILE`] if it exists.
    pub file: Option<PathBuf>,
    pub environment: Vec<(OsString, OsString)>,
    /// `KEY=VALUE`, in order; the last one of a key wins.
    pub set: Vec<String>,
    /// From options of their own; they win over everything.
    pub options: Vec<Override>,
}

/// One value from an option of its own.
#[derive(Clone, Debug)]
pub struct Override {
    /// As written on the command line: `--interval`.
    pub option: &'static str,
    /// As written in the file: `capture.interval`.
    pub key: &'static str,
    pub value: Value,
}

/// A configuration that was checked, and where it came from.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// What was taken otherwise than it was written: to be told as warnings.
    pub notes: Vec<String>,
    origins: BTreeMap<String, Origin>,
}

/// What set a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `path:line`
    File(String),
    Environment(String),
    /// `--set`, or an option of its own.
    CommandLine(String),
    HostName,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(place) => f.write_str(place),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::CommandLine(option) => f.write_str(option),
            Self::HostName => f.write_str("host name"),
        }
    }
}

impl Loaded {
    /// Every key whose value is not the default, with its value and what set it.
    ///
    /// # Errors
    /// If a value cannot be written as TOML, such as a path that is not UTF-8.
    pub fn differences(&self) -> Result<Vec<(String, Value, Option<&Origin>)>> {
        let defaults = keys::flatten(&Config::default())?;
        let values = keys::flatten(&self.config)?;
        let changed = values
            .into_iter()
            .filter(|(key, value)| defaults.get(key) != Some(value));
        Ok(changed
            .map(|(key, value)| {
                let origin = self.origins.get(&key);
                (key, value, origin)
            })
            .collect())
    }
}

/// Reads, checks and completes the configuration.
///
/// # Errors
/// Anything that is not understood, is out of range or contradicts itself, with the file, line and column, the
/// variable or the option that it stands in.
pub fn load(sources: &Sources) -> Result<Loaded> {
    let keys = Keys::known()?;
    let file = match &sources.file {
        None => File::read(DEFAULT_FILE.as_ref(), &keys)?,
        Some(path) => Some(
            File::read(path, &keys)?
                .ok_or_else(|| anyhow!("cannot read configuration {}: no such file", path.display()))?,
        ),
    };
    let mut layers = Layers::over(file.as_ref())?;
    for (name, value) in environment(&sources.environment, &keys)? {
        layers.put(
            &name.key,
            keys.value(&name.key, value),
            Origin::Environment(name.variable),
        )?;
    }
    for assignment in &sources.set {
        let (key, value) = assignment
            .split_once('=')
            .ok_or_else(|| anyhow!("--set {assignment}: expected KEY=VALUE, such as capture.interval=5s"))?;
        let key = keys::path(key.trim()).join(".");
        if !keys.is_value(&key) {
            bail!("--set {key}: unknown key; did you mean `{}`?", keys.closest(&key));
        }
        let value = keys.value(&key, value.trim());
        let origin = Origin::CommandLine(format!("--set {key}"));
        layers.put(&key, value, origin)?;
    }
    for Override { option, key, value } in &sources.options {
        layers.put(key, value.clone(), Origin::CommandLine((*option).to_owned()))?;
    }
    layers.finish(file.as_ref(), sources.file.clone())
}

struct Layers {
    table: Table,
    config: Config,
    origins: BTreeMap<String, Origin>,
}

impl Layers {
    fn over(file: Option<&File>) -> Result<Self> {
        let table = file.map(|file| file.table.clone()).unwrap_or_default();
        let config = Config::deserialize(table.clone())?;
        Ok(Self {
            table,
            config,
            origins: BTreeMap::new(),
        })
    }

    fn put(&mut self, key: &str, value: Value, origin: Origin) -> Result<()> {
        let mut path = keys::path(key);
        let name = path.pop().unwrap_or_default();
        let mut table = &mut self.table;
        for part in path {
            let inner = table.entry(part).or_insert_with(|| Value::Table(Table::new()));
            // The file was read strictly: a table is a table.
            table = inner
                .as_table_mut()
                .with_context(|| format!("{origin}: {key}: `{part}` is not a table"))?;
        }
        table.insert(name.to_owned(), value);
        self.config = Config::deserialize(self.table.clone())
            .map_err(|error| anyhow!("{}: {}", told(&origin, key), plain(&error)))?;
        self.origins.insert(key.to_owned(), origin);
        Ok(())
    }

    fn finish(self, file: Option<&File>, named: Option<PathBuf>) -> Result<Loaded> {
        let Self {
            mut config,
            mut origins,
            ..
        } = self;
        let notes = config.normalise();
        config.check().map_err(|problem: Problem| {
            let key = &problem.key;
            match (origins.get(key), file) {
                (Some(origin), _) => anyhow!("{}: {}", told(origin, key), problem.message),
                (None, Some(file)) if file.holds(key) => file.value_error(key, &problem.to_string()),
                _ => anyhow!(problem),
            }
        })?;
        if config.collector.name.is_empty() {
            let name = nix::unistd::gethostname().context("cannot read the host name")?;
            config.collector.name = name.to_string_lossy().into_owned();
            origins.insert("collector.name".to_owned(), Origin::HostName);
            if config.collector.name.is_empty() {
                bail!("this host has no name: set `collector.name`");
            }
        }
        if let Some(file) = file {
            for key in file.keys() {
                let place = || Origin::File(file.place(key));
                origins.entry(key.to_owned()).or_insert_with(place);
            }
        }
        let file = file.map(|_| named.unwrap_or_else(|| PathBuf::from(DEFAULT_FILE)));
        Ok(Loaded {
            config,
            file,
            notes,
            origins,
        })
    }
}

/// The origin, and the key unless the origin names it already.
fn told(origin: &Origin, key: &str) -> String {
    match origin {
        Origin::CommandLine(option) if option.ends_with(key) => option.clone(),
        _ => format!("{origin}: {key}"),
    }
}

struct Variable {
    variable: String,
    key: String,
}

/// The variables that set something, the old name first.
fn environment<'a>(variables: &'a [(OsString, OsString)], keys: &Keys) -> Result<Vec<(Variable, &'a str)>> {
    let known: BTreeMap<String, &str> = keys.names().map(|key| (variable(key), key)).collect();
    let mut found = Vec::new();
    for (name, value) in variables {
        // A name that is not UTF-8 is none of ours.
        let Some(name) = name.to_str() else { continue };
        let key = match known.get(name) {
            Some(key) => key,
            None if name == INTERNAL_NETWORKS.0 => INTERNAL_NETWORKS.1,
            None if NOT_CONFIGURATION.contains(&name) || !name.starts_with(PREFIX) => continue,
            None => {
                let closest = keys::closest(name, known.keys().map(String::as_str));
                bail!("environment variable {name} is not known; did you mean {closest}?");
            }
        };
        let value = value
            .to_str()
            .with_context(|| format!("environment variable {name} is not UTF-8 text"))?;
        // An empty variable is an unset one, as everywhere in POSIX.
        if !value.is_empty() {
            found.push((
                Variable {
                    variable: name.to_owned(),
                    key: key.to_owned(),
                },
                value,
            ));
        }
    }
    found.sort_by_key(|(variable, _)| (variable.variable != INTERNAL_NETWORKS.0, variable.key.clone()));
    Ok(found)
}

/// `capture.interval` to `FLOWMETER_CAPTURE_INTERVAL`.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "_"))
}
