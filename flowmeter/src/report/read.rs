//! The lines of event files, one after the other, and what became of them.

use std::{
    fs::File,
    io::{self, Seek as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::event::{self, Event};
use crate::{
    capture::{
        input::{BytesRead, Input},
        log::lines::{LIMIT, Lines, Stop},
    },
    explain::{read::Shown, told::plain},
};

/// Of how many lines it is told one by one that they cannot be read; then only their number.
const TOLD: usize = 20;

/// Only events in this time are used, both ends included.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

impl Span {
    fn holds(self, time: Timestamp) -> bool {
        self.since.is_none_or(|since| since <= time) && self.until.is_none_or(|until| time <= until)
    }
}

/// What became of the lines: `read` is the sum of the others.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) read: u64,
    pub(super) flows: u64,
    pub(super) summaries: u64,
    pub(super) statistics: u64,
    pub(super) findings: u64,
    /// Empty lines and JSON that is no event of this program.
    pub(super) other: u64,
    pub(super) broken: u64,
    /// Events before `since` or after `until`.
    pub(super) outside: u64,
    /// The first lines that are broken: file, line, complaint.
    pub(super) complaints: Vec<String>,
    /// Files that end in the middle of something: what comes before was used.
    pub(super) cut: Vec<String>,
}

/// Event files that can be read more than once.
pub(super) struct Files {
    paths: Vec<PathBuf>,
    /// Standard input is there only once.
    spooled: Option<File>,
}

impl Files {
    /// # Errors
    /// Standard input cannot be kept in a temporary file.
    pub(super) fn new(paths: &[PathBuf], twice: bool) -> Result<Self> {
        let mut spooled = None;
        if twice && paths.iter().any(|path| path == Path::new("-")) {
            let mut file = tempfile::tempfile().context("creating a temporary file for standard input")?;
            io::copy(&mut io::stdin().lock(), &mut file)
                .context("keeping standard input in a temporary file")?;
            spooled = Some(file);
        }
        Ok(Self {
            paths: paths.to_vec(),
            spooled,
        })
    }

    /// Hands every event within `span` to `take`.
    ///
    /// # Errors
    /// A file that cannot be opened. What cannot be read further on is counted.
    pub(super) fn read(&self, span: Span, mut take: impl FnMut(Event<'_>)) -> Result<Counts> {
        let mut counts = Counts::default();
        for path in &self.paths {
            let input = self
                .open(path)
                .with_context(|| format!("cannot read {}", Shown(path)))?;
            let file = plain(&Shown(path).to_string());
            counts.read_file(&file, input, span, &mut take);
        }
        Ok(counts)
    }

    fn open(&self, path: &Path) -> io::Result<Input> {
        match &self.spooled {
            Some(file) if path == Path::new("-") => {
                let mut file = file.try_clone()?;
                file.rewind()?;
                Input::new(file)
            }
            _ => Input::open(path, BytesRead::default()),
        }
    }
}

impl Counts {
    fn read_file(&mut self, file: &str, input: Input, span: Span, take: &mut impl FnMut(Event<'_>)) {
        let mut lines = Lines::new(input);
        loop {
            let event = match lines.advance() {
                Ok(true) => event::read(lines.line()),
                Ok(false) => return,
                Err(Stop::TooLong) => Err(format!("more than {LIMIT} bytes long")),
                Err(Stop::Read(error)) => {
                    self.cut
                        .push(format!("{file}, after line {}: {error}", lines.number()));
                    return;
                }
            };
            self.read += 1;
            match event {
                Ok(event) => self.take(event, span, take),
                Err(complaint) => {
                    self.broken += 1;
                    if self.complaints.len() < TOLD {
                        self.complaints
                            .push(format!("{file}, line {}: {complaint}", lines.number()));
                    }
                }
            }
        }
    }

    fn take(&mut self, event: Event<'_>, span: Span, take: &mut impl FnMut(Event<'_>)) {
        let (time, count) = match &event {
            Event::Flow(flow) if flow.merged.is_some() => (flow.time, &mut self.summaries),
            Event::Flow(flow) => (flow.time, &mut self.flows),
            Event::Statistics(statistics) => (statistics.time, &mut self.statistics),
            Event::Finding(told) => (told.last_seen, &mut self.findings),
            Event::Other => {
                self.other += 1;
                return;
            }
        };
        if span.holds(time) {
            *count += 1;
            take(event);
        } else {
            self.outside += 1;
        }
    }
}
