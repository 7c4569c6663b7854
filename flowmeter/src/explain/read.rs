//! Findings out of a file: lines of the event file, of Wazuh's alerts, or documents from its index.

use std::{
    cell::Cell,
    fmt,
    io::{self, BufRead as _, BufReader, Read},
    path::Path,
    rc::Rc,
};

use anyhow::{Context as _, Result, anyhow};
use serde_json::{Deserializer, Value};

use super::told::Told;
use crate::capture::input::{BytesRead, Input};

/// The findings of a file, and what else was in it.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) told: Vec<Told>,
    /// JSON objects that hold no finding.
    pub(super) others: u64,
}

impl Findings {
    /// Adds those of a file, or of standard input for `-`; what comes before an error is kept.
    ///
    /// # Errors
    /// A file that cannot be read, text that is not JSON, a finding with a field that is missing or wrong: with
    /// the line where it stands.
    pub(super) fn read(&mut self, path: &Path) -> Result<()> {
        let shown = Shown(path);
        let input =
            Input::open(path, BytesRead::default()).with_context(|| format!("cannot read {shown}"))?;
        self.read_from(input, path)
    }

    /// The same of what is open already; `path` is what it is called.
    ///
    /// # Errors
    /// As [`Findings::read`].
    pub(super) fn read_from(&mut self, input: impl Read, path: &Path) -> Result<()> {
        let shown = Shown(path);
        let place = Rc::new(Place::default());
        let counted = Counted {
            inner: BufReader::new(input),
            place: Rc::clone(&place),
        };
        let mut values = Deserializer::from_reader(counted).into_iter::<Value>();
        loop {
            place.begun.set(None);
            let Some(value) = values.next() else {
                return Ok(());
            };
            let begun = place.begun.get().unwrap_or_default();
            let value = match value {
                Ok(value) => value,
                Err(error) if error.is_io() => {
                    return Err(io::Error::from(error)).with_context(|| format!("cannot read {shown}"));
                }
                Err(error) if error.is_eof() => {
                    return Err(anyhow!(
                        "{shown}:{begun}: the JSON object that begins here is cut"
                    ));
                }
                Err(error) => {
                    return Err(anyhow!(
                        "{shown}:{}: no JSON, from column {} on",
                        error.line(),
                        error.column()
                    ));
                }
            };
            if !value.is_object() {
                return Err(anyhow!("{shown}:{begun}: no JSON object"));
            }
            match Told::find(&value).map_err(|fault| anyhow!("{shown}:{begun}: {fault}"))? {
                Some(told) => self.told.push(told),
                None => self.others += 1,
            }
        }
    }
}

/// A file's name as people read it.
pub(crate) struct Shown<'a>(pub(crate) &'a Path);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == Path::new("-") {
            f.write_str("standard input")
        } else {
            self.0.display().fmt(f)
        }
    }
}

/// Lines, from 1 on.
#[derive(Debug, Default)]
struct Place {
    /// Line feeds so far.
    feeds: Cell<u64>,
    /// Where the first byte that is no white space stands, since this was last unset.
    begun: Cell<Option<u64>>,
}

/// Counts lines as they are taken; the parser takes single bytes, so that this is where it is.
struct Counted<R> {
    inner: BufReader<R>,
    place: Rc<Place>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let buffer = self.inner.fill_buf()?;
        let (Some(byte), Some(place)) = (buffer.first().copied(), into.first_mut()) else {
            return Ok(0);
        };
        *place = byte;
        self.inner.consume(1);
        let Place { feeds, begun } = &*self.place;
        if byte == b'\n' {
            feeds.set(feeds.get() + 1);
        } else if begun.get().is_none() && !byte.is_ascii_whitespace() {
            begun.set(Some(feeds.get() + 1));
        }
        Ok(1)
    }
}
