//! The lines that are copied, sorted by what they are, and where each stood.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Seek as _, Write},
    path::Path,
};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    Source,
    archive::Archive,
    event::{Event, Kind},
    scope::Scope,
    source::Line,
};

pub(super) const FINDINGS: &str = "findings.jsonl";
pub(super) const RELATED: &str = "related-findings.jsonl";
pub(super) const FLOWS: &str = "flows.jsonl";
pub(super) const SUMMARIES: &str = "summaries.jsonl";
pub(super) const STATISTICS: &str = "statistics.jsonl";
pub(super) const NOT_UNDERSTOOD: &str = "not-understood.txt";
const MANIFEST: &str = "manifest.jsonl";

/// Name and what it holds, in the order of the archive.
pub(super) const ALL: [(&str, &str); 6] = [
    (FINDINGS, "the finding: start, updates and end of its episode"),
    (RELATED, "other findings of the time that name one of the hosts"),
    (FLOWS, "flows of the time with one of the hosts at either end"),
    (
        SUMMARIES,
        "summaries of the time: flows over the line budget, merged; flows of the hosts may be among them",
    ),
    (
        STATISTICS,
        "the meter's statistics of the time: what was counted, and what was lost",
    ),
    (
        NOT_UNDERSTOOD,
        "lines of the time that are no event of this version, such as cut or damaged ones",
    ),
];

/// Kept in files without a name, so that any number of lines fits and nothing is left behind.
#[derive(Debug)]
pub(super) struct Parts {
    parts: Vec<(&'static str, BufWriter<File>, u64)>,
    manifest: BufWriter<File>,
}

#[derive(Serialize)]
struct Place<'a> {
    file: &'a str,
    line: u64,
    source: &'a str,
    source_line: u64,
    offset: u64,
    length: u64,
}

impl Parts {
    pub(super) fn new(directory: &Path) -> Result<Self> {
        let file = || {
            tempfile::tempfile_in(directory)
                .map(BufWriter::new)
                .with_context(|| writing(directory))
        };
        let mut parts = Vec::new();
        for (name, _) in ALL {
            parts.push((name, file()?, 0));
        }
        Ok(Self {
            parts,
            manifest: file()?,
        })
    }

    /// Reads a file for the second time, and takes what belongs to the evidence.
    pub(super) fn copy(&mut self, scope: &Scope, source: &mut Source) -> Result<()> {
        // What is no event has no time of its own: it counts for that of the line before it.
        let mut near = source.first;
        let path = source.path.clone();
        source.read(|line, bytes, event| {
            if let Some(event) = event {
                near = Some(event.time);
            }
            match (bytes, part(scope, event, near)) {
                (Some(bytes), Some(part)) => self
                    .add(part, line, bytes, &path)
                    .with_context(|| format!("cannot copy line {} of {path}", line.number)),
                _ => Ok(()),
            }
        })
    }

    fn add(&mut self, name: &'static str, line: Line<'_>, bytes: &[u8], source: &str) -> Result<()> {
        let Some((_, file, lines)) = self.parts.iter_mut().find(|(part, ..)| *part == name) else {
            return Ok(());
        };
        *lines += 1;
        let place = Place {
            file: name,
            line: *lines,
            source,
            source_line: line.number,
            offset: line.offset,
            length: line.length,
        };
        file.write_all(bytes)?;
        if !bytes.ends_with(b"\n") {
            // The last line of a file that is cut: the next one must not become part of it.
            file.write_all(b"\n")?;
        }
        serde_json::to_writer(&mut self.manifest, &place)?;
        self.manifest.write_all(b"\n")?;
        Ok(())
    }

    pub(super) fn lines_of(&self, name: &str) -> u64 {
        let part = self.parts.iter().find(|(part, ..)| *part == name);
        part.map_or(0, |(_, _, lines)| *lines)
    }

    pub(super) fn counts(&self) -> Vec<(&'static str, u64)> {
        self.parts
            .iter()
            .map(|(name, _, lines)| (*name, *lines))
            .collect()
    }

    /// The lines of the finding.
    pub(super) fn findings(&mut self) -> Result<BufReader<File>> {
        let (_, file, _) = self
            .parts
            .iter_mut()
            .find(|(name, ..)| *name == FINDINGS)
            .context("no part for findings")?;
        Ok(BufReader::new(read_again(file)?))
    }

    pub(super) fn store(self, archive: &mut Archive) -> Result<()> {
        for (name, mut file, _) in self.parts {
            archive.file(name, read_again(&mut file)?)?;
        }
        let mut manifest = self.manifest;
        archive.file(MANIFEST, read_again(&mut manifest)?)
    }
}

fn part(scope: &Scope, event: Option<&Event>, near: Option<Timestamp>) -> Option<&'static str> {
    let Some(event) = event else {
        return near
            .is_some_and(|near| scope.holds(near))
            .then_some(NOT_UNDERSTOOD);
    };
    if let Kind::Finding(finding) = &event.kind
        && scope.is_about(event, finding)
    {
        return Some(FINDINGS);
    }
    if !scope.holds(event.time) {
        return None;
    }
    match event.kind {
        Kind::Finding(_) => scope.concerns(event).then_some(RELATED),
        Kind::Flow => scope.concerns(event).then_some(FLOWS),
        Kind::Summary => Some(SUMMARIES),
        Kind::Statistics => Some(STATISTICS),
    }
}

fn read_again(file: &mut BufWriter<File>) -> Result<File> {
    file.flush().context("writing a temporary file")?;
    let mut file = file.get_ref().try_clone()?;
    file.rewind()?;
    Ok(file)
}

fn writing(directory: &Path) -> String {
    format!("cannot write to {}", directory.display())
}

impl Source {
    /// Gives every line to `take`, with its bytes unless it is too long, and the event that it is. Counts anew.
    ///
    /// # Errors
    /// Those of `take`; damage of the file is kept in it.
    pub(super) fn read(
        &mut self,
        mut take: impl FnMut(Line<'_>, Option<&[u8]>, Option<&Event>) -> Result<()>,
    ) -> Result<()> {
        (self.lines, self.not_understood, self.too_long) = (0, 0, 0);
        let mut lines = match self.file.lines() {
            Ok(lines) => lines,
            Err(error) => {
                self.damage = Some(error.to_string());
                return Ok(());
            }
        };
        loop {
            let line = match lines.next() {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.damage = Some(error.to_string());
                    return Ok(());
                }
            };
            self.lines += 1;
            let event = line.bytes.and_then(Event::parse);
            match (&event, line.bytes) {
                (Some(event), _) => {
                    self.first = Some(self.first.map_or(event.time, |first| first.min(event.time)));
                    self.last = Some(self.last.map_or(event.time, |last| last.max(event.time)));
                }
                (None, Some(_)) => self.not_understood += 1,
                (None, None) => self.too_long += 1,
            }
            take(line, line.bytes, event.as_ref())?;
        }
    }
}
