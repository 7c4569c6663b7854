//! The event file as the agent sees it: takes lines, writes them in large pieces, keeps them while the file
//! cannot be written, rotates it, and tells what it could not do.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileTypeExt,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use super::{buffer::Lines, regular::RegularFile, stream::Stream};
use crate::config::Output;

/// Bytes of one write: from here on the price of the system call no longer shows.
const WRITE_BYTES: usize = 128 << 10;
/// The Wazuh agent looks for a file's successor about once a minute; a generation that is younger when the
/// next rotation comes may be skipped.
const MIN_ROTATION: Duration = Duration::from_secs(64);
/// The Wazuh agent reads every 2 s, and closes a file that has a successor without reading it to its end: before a
/// rotation nothing is written for so long.
const REST: Duration = Duration::from_secs(5);
/// How long the descriptor of a rotated file is kept open.
const OLD_FILE: Duration = Duration::from_secs(5);

/// Standard output was closed by its reader; nothing more can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("standard output was closed by its reader")]
pub struct Closed;

/// What became of the lines since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileAccount {
    /// Lines taken, written or still waiting.
    pub lines: u64,
    /// Lines given up because the buffer was full.
    pub withheld_lines: u64,
    /// Failed attempts to write or to rotate.
    pub errors: u64,
    /// The last of them, until [`EventFile::take_error`].
    pub last_error: Option<String>,
}

#[derive(Debug)]
enum Sink {
    Regular(RegularFile),
    Stream(Stream),
}

/// See the module. Nothing here waits for more than a tenth of a second at a time, and nothing asks for the
/// time: `now` is the caller's.
#[derive(Debug)]
pub struct EventFile {
    sink: Sink,
    name: String,
    lines: Lines,
    retry_bytes: usize,
    rotation: Option<Rotation>,
    account: FileAccount,
    /// Something was written since the last flush.
    wrote: bool,
    /// Lines withheld when the present failure began, while there is one.
    failing_since: Option<u64>,
    closed: bool,
    /// Nothing is written before [`EventFile::release`].
    held: bool,
}

/// When and how a regular file is rotated.
#[derive(Debug)]
struct Rotation {
    bytes: u64,
    age: Duration,
    minimum: Duration,
    rest: Duration,
    keep: u32,
    /// Of the present file, or of the last failed attempt.
    started: Instant,
    /// When the file was written last, as far as a flush has told.
    written: Instant,
    resting: Resting,
    old: Option<(File, Instant)>,
}

/// What is done to a file before its rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resting {
    No,
    /// Lines are kept in memory until it has rested for `rest`.
    Kept,
    /// They were too many: it is rotated at once.
    Broken,
}

impl EventFile {
    /// Opens `output.path`, creating the file if it is missing; `-` is standard output.
    ///
    /// # Errors
    /// What is wrong with the path or with `output.mode`, and how to go on.
    pub fn open(output: &Output, now: Instant) -> anyhow::Result<Self> {
        let mode = output.mode_bits().with_context(|| {
            format!(
                "output.mode {:?} is not an octal mode such as \"0640\"",
                output.mode
            )
        })?;
        let path = output.path.as_path();
        let (sink, name, rotates) = if path == Path::new("-") {
            let stdout = Stream::stdout().context("opening standard output")?;
            (Sink::Stream(stdout), "standard output".to_owned(), false)
        } else {
            let (sink, rotates) = open_path(path, mode)?;
            (sink, path.display().to_string(), rotates)
        };
        Ok(Self {
            sink,
            name,
            lines: Lines::default(),
            retry_bytes: output.retry_buffer_bytes,
            rotation: rotates.then(|| Rotation {
                bytes: output.rotate_bytes,
                age: output.rotate_age,
                minimum: MIN_ROTATION,
                rest: REST,
                keep: output.keep,
                started: now,
                written: now,
                resting: Resting::No,
                old: None,
            }),
            account: FileAccount::default(),
            wrote: false,
            failing_since: None,
            closed: false,
            held: false,
        })
    }

    /// Takes over how the file is rotated and how much may wait for it; path and mode stay.
    pub fn reconfigure(&mut self, output: &Output) {
        self.retry_bytes = output.retry_buffer_bytes;
        if let Some(rotation) = &mut self.rotation {
            rotation.bytes = output.rotate_bytes;
            rotation.age = output.rotate_age;
            rotation.keep = output.keep;
        }
    }

    /// Takes the line that `encode` appends (without its end). Writes when enough has come together.
    ///
    /// False if the line is withheld: while the file cannot be written, lines are kept up to
    /// `output.retry_buffer_bytes`; the first ones survive, since they may hold what explains the rest.
    pub fn line(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<()>) -> bool {
        self.take(|lines| lines.push(encode))
    }

    /// As [`EventFile::line`], for a line that `write` writes into the room it is given, and tells the length of; if it
    /// tells none, `encode` is asked.
    pub fn line_into<const N: usize>(
        &mut self,
        write: impl FnOnce(&mut [u8; N]) -> Option<usize>,
        encode: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<()>,
    ) -> bool {
        self.take(|lines| {
            if lines.push_into(write) {
                Ok(())
            } else {
                lines.push(encode)
            }
        })
    }

    fn take(&mut self, push: impl FnOnce(&mut Lines) -> serde_json::Result<()>) -> bool {
        let before = self.lines.pending();
        if let Err(error) = push(&mut self.lines) {
            self.account.withheld_lines += 1;
            self.tell(&format!("cannot encode an event: {error}"));
            return false;
        }
        if self.failing_since.is_some() && self.lines.pending() > self.retry_bytes {
            self.lines.pop(self.lines.pending() - before);
            self.account.withheld_lines += 1;
            return false;
        }
        self.account.lines += 1;
        if !self.held && self.failing_since.is_none() && self.lines.pending() >= WRITE_BYTES {
            match &mut self.rotation {
                Some(rotation) if rotation.resting == Resting::Kept => {
                    if self.lines.pending() >= self.retry_bytes {
                        rotation.resting = Resting::Broken;
                        self.write();
                    }
                }
                _ => self.write(),
            }
        }
        true
    }

    /// Counts a line that is not even tried: what explains it is withheld.
    pub fn withhold(&mut self) {
        self.account.withheld_lines += 1;
    }

    /// Rotates if it is time, then writes what waits. What cannot be written stays for the next call, and so does what
    /// comes while the file rests before its rotation.
    ///
    /// # Errors
    /// Only if standard output has lost its reader: the agent has nothing left to do.
    pub fn flush(&mut self, now: Instant) -> Result<(), Closed> {
        if self.held {
            return Ok(());
        }
        if self.failing_since.is_none() {
            self.rotate_if_due(now);
        }
        let resting = self
            .rotation
            .as_ref()
            .is_some_and(|rotation| rotation.resting == Resting::Kept);
        if !resting {
            self.write();
        }
        self.note_written(now);
        if self.closed { Err(Closed) } else { Ok(()) }
    }

    /// Keeps all lines in memory, to be looked at before they are written.
    pub fn hold(&mut self) {
        self.held = true;
    }

    /// The lines that wait to be written.
    pub fn pending(&self) -> &[u8] {
        self.lines.chunk(usize::MAX)
    }

    /// Flushes what was held; what comes next is held again.
    ///
    /// # Errors
    /// As [`EventFile::flush`].
    pub fn release(&mut self, now: Instant) -> Result<(), Closed> {
        self.held = false;
        let result = self.flush(now);
        self.held = true;
        result
    }

    /// A last attempt to write; tells what became of all lines.
    ///
    /// # Errors
    /// How many lines are lost, and why.
    pub fn finish(mut self) -> anyhow::Result<FileAccount> {
        self.write();
        ensure!(
            self.lines.pending() == 0,
            "{} lines could not be written to {}: {}",
            self.lines.pending_lines(),
            self.name,
            self.account.last_error.unwrap_or_default(),
        );
        Ok(self.account)
    }

    pub fn account(&self) -> &FileAccount {
        &self.account
    }

    /// The last error, once.
    pub fn take_error(&mut self) -> Option<String> {
        self.account.last_error.take()
    }

    /// Bytes that wait to be written.
    pub fn pending_bytes(&self) -> usize {
        self.lines.pending()
    }

    fn note_written(&mut self, now: Instant) {
        if std::mem::take(&mut self.wrote)
            && let Some(rotation) = &mut self.rotation
        {
            rotation.written = now;
        }
    }

    fn write(&mut self) {
        if self.closed || self.lines.pending() == 0 {
            return;
        }
        self.wrote = true;
        let result = match &mut self.sink {
            Sink::Regular(file) => file.write(&mut self.lines, WRITE_BYTES),
            Sink::Stream(stream) => stream.write(&mut self.lines, WRITE_BYTES),
        };
        self.lines.compact(2 * WRITE_BYTES);
        match result {
            Ok(()) => self.recovered(),
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &io::Error) {
        self.account.errors += 1;
        self.account.last_error = Some(error.to_string());
        let stdout = matches!(&self.sink, Sink::Stream(stream) if stream.is_stdout());
        self.closed = stdout && error.kind() == io::ErrorKind::BrokenPipe;
        if self.failing_since.is_none() && !self.closed {
            self.failing_since = Some(self.account.withheld_lines);
            log::warn!(
                "cannot write to {}: {error}; up to {} bytes of events are kept in memory and tried again",
                self.name,
                self.retry_bytes,
            );
        }
    }

    fn recovered(&mut self) {
        if let Some(withheld_before) = self.failing_since.take() {
            let withheld = self.account.withheld_lines - withheld_before;
            log::warn!("writing to {} again; {withheld} lines were withheld", self.name);
        }
    }

    fn rotate_if_due(&mut self, now: Instant) {
        let (Sink::Regular(file), Some(rotation)) = (&mut self.sink, &mut self.rotation) else {
            return;
        };
        rotation
            .old
            .take_if(|(_, since)| now.duration_since(*since) >= OLD_FILE);
        let written = if self.wrote { now } else { rotation.written };
        let age = now.duration_since(rotation.started);
        let size = file.size().unwrap_or_default();
        if size == 0 || age < rotation.minimum || (size < rotation.bytes && age < rotation.age) {
            return;
        }
        if rotation.resting != Resting::Broken && now.duration_since(written) < rotation.rest {
            rotation.resting = Resting::Kept;
            return;
        }
        rotation.resting = Resting::No;
        // Also after a failure: the next attempt comes after the minimum time, not at every flush.
        rotation.started = now;
        match file.rotate(rotation.keep) {
            Ok(old) => rotation.old = old.map(|old| (old, now)),
            Err(error) => self.tell(&format!("cannot rotate {}: {error}", self.name)),
        }
    }

    fn tell(&mut self, error: &str) {
        log::warn!("{error}");
        self.account.errors += 1;
        self.account.last_error = Some(error.to_owned());
    }
}

/// The sink for a path, and whether it is one that is rotated.
fn open_path(path: &Path, mode: u32) -> anyhow::Result<(Sink, bool)> {
    let shown = path.display();
    let existing = fs::metadata(path).ok();
    let kind = existing.as_ref().map(fs::Metadata::file_type);
    ensure!(
        !kind.is_some_and(|kind| kind.is_dir()),
        "opening event file {shown}: it is a folder; give the path of a file in output.path",
    );
    if let Some(kind) = kind
        && (kind.is_fifo() || kind.is_char_device())
    {
        let stream = Stream::open(path).with_context(|| {
            let hint = if kind.is_fifo() {
                " (a named pipe needs a reader first)"
            } else {
                ""
            };
            format!("opening event file {shown}{hint}")
        })?;
        return Ok((Sink::Stream(stream), false));
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        ensure!(
            parent.is_dir(),
            "opening event file {shown}: folder {} does not exist; create it or change output.path",
            parent.display(),
        );
    }
    let file = RegularFile::open(path, mode).with_context(|| {
        format!("opening event file {shown}; make it writable for this user or change output.path")
    })?;
    // Behind a symbolic link (/dev/stdout) a rename would replace the link, not the file.
    let linked = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink());
    if linked {
        log::info!("{shown} is a symbolic link; it is not rotated");
    }
    Ok((Sink::Regular(file), !linked))
}

#[cfg(test)]
mod tests;
