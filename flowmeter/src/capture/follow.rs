//! Follows a log that another program writes, by whole lines, across rotation and across its own death.
//!
//! Each generation of the log is known by device, inode and the bytes around the place that was reached, so that
//! a file is recognised under another name and a truncated one is not taken for what it was. Generations stay
//! followed for as long as they exist beside the log: a writer may still finish its lines in a renamed file.
//!
//! **Rotation by rename** loses nothing and repeats nothing, whatever happens while nobody reads, as long as the
//! rotated files are kept uncompressed until they were read. **Copy and truncate** loses the lines that are written
//! between the copy and the cut, **truncation** all that was not read: both are told as [`Problem`]s, and so is a
//! rotated file that is gone too early.
//!
//! # A step
//! Lines, events and place move on together, if the caller takes these steps in order:
//!
//! 1. [`Follower::poll`] until nothing comes, or as much as is wanted at once.
//! 2. Make all events of these lines; nothing may stay behind in memory that is to become an event later.
//! 3. [`Follower::prepare`]: the events and the places are on disk, beside each other.
//! 4. Write the same events to the event file.
//! 5. [`Follower::commit`]: syncs the event file, and the step is over.
//!
//! Killed before 3, the lines come again and no event of them was written. Killed between 3 and 5, the next start
//! finds out what of the events is in the event file and hands out the rest ([`Follower::unfinished_events`]).
//! So each line's events are in the event file once, as whole lines, also after a loss of power; where the kill cut
//! a write, the piece of a line may stand before the whole one. What is no file that can be read again (standard
//! output, a pipe) goes without step 3: killed between 4 and 5, the events of that one step come twice.

mod events;
mod generation;
mod generations;
mod place;
pub(crate) mod siblings;
mod state;
mod watch;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use self::{
    generations::Generations,
    place::Place,
    state::{Prepared, StateFile},
    watch::Watch,
};
use super::problem::Problem;

/// Longest line in bytes, without its end.
pub const LINE_LIMIT: usize = 1 << 20;

/// See the module.
#[derive(Debug)]
pub struct Follower {
    log: PathBuf,
    state: StateFile,
    generations: Generations,
    /// `None` until the first commit.
    committed: Option<Vec<Place>>,
    step: Option<Step>,
    unfinished: Vec<u8>,
    buffer: Vec<u8>,
    watch: Option<Watch>,
}

/// A step that is prepared.
#[derive(Debug)]
struct Step {
    places: Vec<Place>,
    /// `None` if it is gone since an earlier run.
    event_file: Option<File>,
}

/// Whole lines of one generation of the log.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a> {
    /// The name under which the generation was found last.
    pub path: &'a Path,
    /// Of the first line in the file, bytes.
    pub offset: u64,
    /// Whole lines, each with its LF.
    pub bytes: &'a [u8],
}

impl<'a> Lines<'a> {
    /// Each line without its LF, and its offset in the file.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &'a [u8])> + use<'a> {
        let mut next = self.offset;
        self.bytes
            .split_inclusive(|&byte| byte == b'\n')
            .map(move |line| {
                let offset = next;
                next += line.len() as u64;
                (offset, line.strip_suffix(b"\n").unwrap_or(line))
            })
    }
}

impl Follower {
    /// Follows `log` from where `state` says, at the first start from the start of the file. Older generations that
    /// are there at the first start are left alone. `log` need not exist yet.
    ///
    /// # Errors
    /// A folder or a state that cannot be used, and how to go on.
    pub fn open(log: &Path, state: &Path) -> Result<Self> {
        let log = std::path::absolute(log).with_context(|| format!("following {}", log.display()))?;
        let (state, kept) = StateFile::open(state, &log)?;
        let following = || format!("following {}", log.display());
        let first = kept.is_none();
        let mut step = None;
        let mut unfinished = Vec::new();
        let (generations, committed) = if let Some(kept) = kept {
            if let Some(prepared) = kept.prepared {
                unfinished = still_missing(&prepared, &kept.events)?;
                step = Some(Step {
                    event_file: File::open(&prepared.event_file).ok(),
                    places: prepared.places,
                });
            }
            let places = step.as_ref().map_or(&kept.committed, |step| &step.places);
            let generations = Generations::resume(&log, places.clone()).with_context(following)?;
            (generations, Some(kept.committed))
        } else {
            (Generations::first(&log).with_context(following)?, None)
        };
        let mut follower = Self {
            log,
            state,
            generations,
            committed,
            step,
            unfinished,
            buffer: Vec::new(),
            watch: None,
        };
        if first {
            // A rotation before the first commit must not change what is to be read.
            follower.commit()?;
        }
        Ok(follower)
    }

    /// Events of a step that an earlier run prepared and did not write, in whole lines; once. They are to be written
    /// to the event file and committed before the first step is prepared.
    pub fn unfinished_events(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.unfinished)
    }

    /// The next lines, at most about a mebibyte of one generation. `None` if there are no more for now; then
    /// [`Self::changed`] waits for more.
    ///
    /// # Errors
    /// Those of listing and reading files. Nothing is lost: the next call begins where this one did.
    pub fn poll(&mut self) -> io::Result<Option<Lines<'_>>> {
        self.generations.look()?;
        let read = self.generations.read(&mut self.buffer)?;
        Ok(read.and_then(|(index, offset)| {
            Some(Lines {
                path: self.generations.path(index)?,
                offset,
                bytes: &self.buffer,
            })
        }))
    }

    /// What went wrong since the last call, above all what is lost. Told before a commit, it is told for certain.
    pub fn take_problems(&mut self) -> Vec<Problem> {
        self.generations.take_problems()
    }

    /// Keeps `events` (whole lines) and the places reached, so that a restart can finish the step. `event_file` is
    /// the existing regular file that they are appended to next.
    ///
    /// # Errors
    /// Those of writing the state, and a step that is not committed yet. The events must not be written then.
    pub fn prepare(&mut self, events: &[u8], event_file: &Path) -> Result<()> {
        ensure!(self.step.is_none(), "the step before is not committed");
        let event_file = std::path::absolute(event_file)?;
        let shown = event_file.display();
        let file = File::open(&event_file).with_context(|| format!("opening event file {shown}"))?;
        let prepared = Prepared::new(self.generations.places(), &event_file, &file)
            .with_context(|| format!("looking at event file {shown}"))?;
        self.write_state(|state, committed| state.write(committed, Some(&prepared), events))?;
        self.step = Some(Step {
            places: prepared.places,
            event_file: Some(file),
        });
        Ok(())
    }

    /// Ends a step. With [`Self::prepare`] it is what was handed out before that, else all that was handed out.
    ///
    /// # Errors
    /// Those of syncing the event file and of writing the state; the step can be committed again.
    pub fn commit(&mut self) -> Result<()> {
        let places = match &self.step {
            Some(step) => {
                if let Some(event_file) = &step.event_file {
                    event_file.sync_all().context("syncing the event file")?;
                }
                step.places.clone()
            }
            None => self.generations.places(),
        };
        if self.step.is_some() || self.committed.as_ref() != Some(&places) {
            self.write_state(|state, _| state.write(&places, None, &[]))?;
            self.committed = Some(places);
            self.step = None;
        }
        Ok(())
    }

    /// Waits until there may be more to read. Returns at least every two seconds, for what is not told (network file
    /// systems). Needs a tokio runtime with I/O and time; nothing is lost if it is cancelled.
    pub async fn changed(&mut self) {
        match &mut self.watch {
            Some(watch) => watch.changed().await,
            // What changed before is not told any more.
            None => self.watch = Some(Watch::new(&self.log)),
        }
    }

    fn write_state(&self, write: impl FnOnce(&StateFile, &[Place]) -> io::Result<()>) -> Result<()> {
        write(&self.state, self.committed.as_deref().unwrap_or_default())
            .with_context(|| format!("writing the state of following {}", self.log.display()))
    }
}

/// What the event file lacks of a step that an earlier run did not finish.
fn still_missing(prepared: &Prepared, events: &[u8]) -> Result<Vec<u8>> {
    let event_file = prepared.event_file.display();
    let missing = events::missing(prepared, events)
        .with_context(|| format!("looking for the last events in {event_file}"))?;
    log::info!(
        "finishing the last step: {} of {} bytes of events are missing in {event_file}",
        missing.len(),
        events.len(),
    );
    Ok(missing.to_vec())
}

#[cfg(test)]
mod tests;
