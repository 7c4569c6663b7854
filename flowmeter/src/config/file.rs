//! The configuration file: its text, where in it each key stands, and errors that point there.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    ops::Range,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use toml::{Table, de::DeTable};

use super::{
    Config,
    form::plain,
    keys::{Keys, join},
};

/// Longer than any configuration; keeps a mistaken path, such as a disk, from filling the memory.
const MAX_BYTES: u64 = 1 << 20;

/// A file that holds nothing but known keys with values of the right type.
pub(super) struct File {
    path: PathBuf,
    text: String,
    pub(super) table: Table,
    values: BTreeMap<String, Range<usize>>,
}

impl File {
    /// `None` if there is no such file.
    pub(super) fn read(path: &Path, keys: &Keys) -> Result<Option<Self>> {
        let mut bytes = Vec::new();
        let read = fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read configuration {}", path.display()));
            }
        }
        if bytes.len() as u64 > MAX_BYTES {
            bail!("configuration {} is longer than 1 MiB", path.display());
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let line = error
                .as_bytes()
                .iter()
                .take(valid)
                .filter(|&&byte| byte == b'\n')
                .count()
                + 1;
            anyhow!(
                "configuration {} is not UTF-8 text in line {line}",
                path.display()
            )
        })?;
        Self::parse(path, text, keys).map(Some)
    }

    fn parse(path: &Path, text: String, keys: &Keys) -> Result<Self> {
        let mut file = Self {
            path: path.to_owned(),
            text,
            table: Table::new(),
            values: BTreeMap::new(),
        };
        let mut places = Places {
            keys,
            values: BTreeMap::new(),
            wrong: None,
        };
        match DeTable::parse(&file.text) {
            Ok(table) => places.walk("", table.get_ref()),
            Err(error) => return Err(file.error(error.span(), &plain(&error))),
        }
        if let Some((place, message)) = places.wrong {
            return Err(file.error(Some(place), &message));
        }
        file.values = places.values;
        if let Err(error) = toml::from_str::<Config>(&file.text) {
            let message = match error.span().and_then(|place| file.key_at(place.start)) {
                Some(key) => format!("{key}: {}", plain(&error)),
                None => plain(&error),
            };
            return Err(file.error(error.span(), &message));
        }
        file.table = toml::from_str(&file.text).map_err(|error| file.error(error.span(), &plain(&error)))?;
        Ok(file)
    }

    /// The keys that it sets.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    pub(super) fn holds(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    fn key_at(&self, offset: usize) -> Option<&str> {
        let mut values = self.values.iter();
        values
            .find(|(_, place)| place.contains(&offset))
            .map(|(key, _)| key.as_str())
    }

    /// `path:line`, where the value of `key` stands.
    pub(super) fn place(&self, key: &str) -> String {
        match self.values.get(key) {
            Some(place) => format!("{}:{}", self.path.display(), self.position(place.start).0),
            None => self.path.display().to_string(),
        }
    }

    /// What is wrong with the value of `key`.
    pub(super) fn value_error(&self, key: &str, message: &str) -> anyhow::Error {
        self.error(self.values.get(key).cloned(), message)
    }

    /// The message, then the line that it is about, as the compiler and the toml crate show it.
    fn error(&self, place: Option<Range<usize>>, message: &str) -> anyhow::Error {
        let path = self.path.display();
        let Some(place) = place else {
            return anyhow!("{path}: {message}");
        };
        let (line, column) = self.position(place.start);
        let content = self.text.split('\n').nth(line - 1).unwrap_or_default().trim_end();
        let gutter = " ".repeat(line.to_string().len());
        // Tabs stay, so that the mark stands under what it marks.
        let indent: String = content
            .chars()
            .take(column - 1)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let marked = self
            .text
            .get(place)
            .unwrap_or_default()
            .lines()
            .next()
            .unwrap_or_default();
        let mark = "^".repeat(marked.chars().count().max(1));
        anyhow!(
            "{path}:{line}:{column}: {message}\n{gutter} |\n{line} | {content}\n{gutter} | {indent}{mark}"
        )
    }

    /// Line and column in characters, from 1.
    fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }
}

/// Where the values stand, and the first thing that is not what we know.
struct Places<'a> {
    keys: &'a Keys,
    values: BTreeMap<String, Range<usize>>,
    wrong: Option<(Range<usize>, String)>,
}

impl Places<'_> {
    fn walk(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = join(prefix, name.get_ref());
            if self.keys.is_value(&key) {
                self.values.insert(key, value.span());
            } else if !self.keys.is_table(&key) {
                let closest = match value.get_ref().is_table() {
                    true => self.keys.closest_table(&key),
                    false => self.keys.closest(&key),
                };
                self.found(
                    name.span(),
                    format!("unknown key `{key}`; did you mean `{closest}`?"),
                );
            } else if let Some(inner) = value.get_ref().as_table() {
                self.walk(&key, inner);
            } else {
                self.found(value.span(), format!("{key}: expected a table, written [{key}]"));
            }
        }
    }

    fn found(&mut self, place: Range<usize>, message: String) {
        let first = self
            .wrong
            .as_ref()
            .is_none_or(|(other, _)| place.start < other.start);
        if first {
            self.wrong = Some((place, message));
        }
    }
}
