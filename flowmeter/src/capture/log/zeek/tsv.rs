//! Lines of columns, as their header names them.

use memchr::memchr_iter;

use super::{Field, connection::Connection};
use crate::capture::log::Fault;

/// What the headers say. Files that were put together have several; each holds for the lines behind it.
pub(super) struct Columns {
    separator: u8,
    /// What stands for a field that is not set, and for one that is empty.
    unset: Vec<u8>,
    empty: Vec<u8>,
    fields: Vec<Option<Field>>,
    /// False for a log of another kind than connections.
    connections: bool,
}

impl Default for Columns {
    fn default() -> Self {
        Self {
            separator: b'\t',
            unset: b"-".to_vec(),
            empty: b"(empty)".to_vec(),
            fields: Vec::new(),
            connections: true,
        }
    }
}

impl Columns {
    /// Takes a line that starts with `#`.
    pub(super) fn header(&mut self, line: &[u8]) {
        if let Some(separator) = line.strip_prefix(b"#separator ") {
            // The only header whose own separator is a space.
            let fresh = Self::default();
            *self = Self {
                separator: unescaped(separator.trim_ascii_end()),
                ..fresh
            };
            return;
        }
        let mut parts = line.split(|&byte| byte == self.separator);
        match parts.next() {
            Some(b"#unset_field") => self.unset = parts.next().unwrap_or_default().to_vec(),
            Some(b"#empty_field") => self.empty = parts.next().unwrap_or_default().to_vec(),
            Some(b"#fields") => {
                self.fields = parts.map(|name| Field::of(name.trim_ascii_end())).collect();
                self.connections = [Field::Originator, Field::Protocol, Field::State]
                    .iter()
                    .all(|needed| self.fields.contains(&Some(*needed)));
            }
            _ => {}
        }
    }

    /// None for a line of a log of another kind.
    pub(super) fn connection<'a>(&self, line: &'a [u8]) -> Result<Option<Connection<'a>>, Fault> {
        if self.fields.is_empty() {
            return Err(Fault::NoHeader);
        }
        if !self.connections {
            return Ok(None);
        }
        let mut connection = Connection::default();
        let mut start = 0;
        let mut found = 0;
        let mut fields = self.fields.iter();
        for end in memchr_iter(self.separator, line).chain([line.len()]) {
            found += 1;
            if let Some(Some(field)) = fields.next()
                && let Some(text) = line.get(start..end)
                && text != self.unset
                && text != self.empty
            {
                connection.set(*field, text);
            }
            start = end + 1;
        }
        let expected = self.fields.len();
        if found < expected {
            return Err(Fault::Columns { found, expected });
        }
        Ok(Some(connection))
    }
}

/// `\x09` or the byte itself.
fn unescaped(text: &[u8]) -> u8 {
    let hex = text
        .strip_prefix(b"\\x")
        .and_then(|hex| std::str::from_utf8(hex).ok())
        .and_then(|hex| u8::from_str_radix(hex, 16).ok());
    hex.or_else(|| text.first().copied()).unwrap_or(b'\t')
}
