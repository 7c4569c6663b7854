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
mod place;
mod siblings;
mod state;
mod watch;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use self::{
    generation::{Generation, Step},
    place::{Identity, Likeness, Place},
    siblings::Sibling,
    state::{Prepared, StateFile},
    watch::Watch,
};
use super::problem::{Problem, What};

/// Longest line in bytes, without its end.
pub const LINE_LIMIT: usize = 1 << 20;

/// See the module.
#[derive(Debug)]
pub struct Follower {
    log: PathBuf,
    state: StateFile,
    /// The oldest first.
    generations: Vec<Generation>,
    /// True while there are files that may become, or turn out to be, generations.
    unsettled: bool,
    /// `None` until the first commit.
    committed: Option<Vec<Place>>,
    step: Option<EventFile>,
    unfinished: Vec<u8>,
    buffer: Vec<u8>,
    problems: Vec<Problem>,
    watch: Option<Watch>,
}

/// The event file of the step that is under way, if it is still there.
type EventFile = Option<File>;

/// Whole lines of one generation of the log.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a> {
    /// The name under which the generation was found last.
    pub path: &'a Path,
    /// Of the first line in the file, bytes.
    pub offset: u64,
    bytes: &'a [u8],
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
        let (state, restored) = StateFile::open(state, &log)?;
        let mut follower = Self {
            log,
            state,
            generations: Vec::new(),
            unsettled: true,
            committed: None,
            step: None,
            unfinished: Vec::new(),
            buffer: Vec::new(),
            problems: Vec::new(),
            watch: None,
        };
        let shown = follower.log.display().to_string();
        let siblings = siblings::list(&follower.log).with_context(|| format!("following {shown}"))?;
        if let Some((restored, events)) = restored {
            let places = match restored.prepared {
                Some(prepared) => follower.resume_step(prepared, &events)?,
                None => restored.committed.clone(),
            };
            follower.committed = Some(restored.committed);
            follower
                .resume(places, siblings)
                .with_context(|| format!("following {shown}"))?;
        } else {
            follower.generations =
                first_generations(&follower.log, siblings).with_context(|| format!("following {shown}"))?;
            // A rotation before the first commit must not change what is to be read.
            follower.commit().with_context(|| format!("following {shown}"))?;
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
        self.look()?;
        let read = self.read()?;
        Ok(read.and_then(|(index, offset)| {
            Some(Lines {
                path: &self.generations.get(index)?.path,
                offset,
                bytes: &self.buffer,
            })
        }))
    }

    /// What went wrong since the last call, above all what is lost. Told before a commit, it is told for certain.
    pub fn take_problems(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.problems)
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
        let prepared = Prepared::new(self.places(), &event_file, &file)
            .with_context(|| format!("looking at event file {shown}"))?;
        self.state
            .write(
                self.committed.as_deref().unwrap_or_default(),
                Some(&prepared),
                events,
            )
            .with_context(|| format!("writing the state of following {}", self.log.display()))?;
        self.step = Some(Some(file));
        Ok(())
    }

    /// Ends a step: the events of all lines that were handed out are written.
    ///
    /// # Errors
    /// Those of syncing the event file and of writing the state; the step can be committed again.
    pub fn commit(&mut self) -> io::Result<()> {
        if let Some(Some(file)) = &self.step {
            file.sync_all()?;
        }
        let places = self.places();
        if self.step.is_some() || self.committed.as_ref() != Some(&places) {
            self.state.write(&places, None, &[])?;
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

    fn places(&self) -> Vec<Place> {
        self.generations
            .iter()
            .map(|generation| generation.place.clone())
            .collect()
    }

    /// Finds out what is missing of a step that a run before this one did not finish.
    fn resume_step(&mut self, prepared: Prepared, events: &[u8]) -> Result<Vec<Place>> {
        let event_file = prepared.event_file.display();
        self.unfinished = events::missing(&prepared, events)
            .with_context(|| format!("looking for the last events in {event_file}"))?
            .to_vec();
        log::info!(
            "finishing the last step: {} of {} bytes of events are missing in {event_file}",
            self.unfinished.len(),
            events.len(),
        );
        self.step = Some(File::open(&prepared.event_file).ok());
        Ok(prepared.places)
    }

    /// Finds the files that the places belong to.
    fn resume(&mut self, places: Vec<Place>, mut siblings: Vec<Sibling>) -> io::Result<()> {
        let newest = places.len().saturating_sub(1);
        for (index, place) in places.into_iter().enumerate() {
            let found = siblings
                .iter()
                .position(|sibling| sibling.identity == place.identity)
                .map(|found| siblings.swap_remove(found));
            let unread = place.length.saturating_sub(place.offset);
            let complete = index != newest && unread == 0;
            match found {
                // Of a file that was read to its end and removed, another one may have the inode now.
                Some(sibling) if !complete || place.holds(&sibling.file)? => {
                    self.generations.push(Generation {
                        place,
                        ..sibling.into()
                    });
                }
                None if !complete => {
                    let what = What::Gone { unread };
                    self.problems.push(problem(&self.log, place.offset, what));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Brings the list of generations up to date, if the log is another file than before.
    fn look(&mut self) -> io::Result<()> {
        let current = match fs::metadata(&self.log) {
            Ok(meta) => Some(Identity::from(&meta)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let newest = self.generations.last().map(|newest| newest.place.identity);
        if !self.unsettled && current.is_some() && current == newest {
            return Ok(());
        }
        // What is a copy is told by what the files hold now.
        let mut index = 0;
        while let Some(generation) = self.generations.get(index) {
            if generation.place.holds(&generation.file)? {
                index += 1;
            } else {
                self.truncated(index)?;
            }
        }
        self.unsettled = true;
        let mut unsettled = false;
        let mut order = Vec::new();
        let mut behind_known = false;
        // The log first, for the others may be copies of it.
        for sibling in siblings::list(&self.log)?.into_iter().rev() {
            order.insert(0, (sibling.identity, sibling.path.clone()));
            if self.is_known(&sibling) {
                behind_known = true;
                continue;
            }
            if sibling.path == self.log || self.likeness(&sibling)? == Likeness::Other {
                if behind_known {
                    // Renaming makes no new file older than a known one: this is the copy of a log of which
                    // nothing was read before it was cut.
                    self.problems.push(problem(&sibling.path, 0, What::CopyTruncated));
                }
                self.generations.push(sibling.into());
            } else {
                unsettled = true;
            }
        }
        self.unsettled = unsettled;
        let rank = |identity| order.iter().position(|(other, _)| *other == identity);
        for generation in &mut self.generations {
            if let Some((_, path)) = rank(generation.place.identity).and_then(|rank| order.get(rank)) {
                generation.path.clone_from(path);
            }
        }
        // What has left the folder is the oldest.
        self.generations
            .sort_by_key(|generation| rank(generation.place.identity));
        Ok(())
    }

    fn is_known(&self, sibling: &Sibling) -> bool {
        self.generations
            .iter()
            .any(|known| known.place.identity == sibling.identity)
    }

    /// What a file that is not known is to those that are.
    fn likeness(&self, sibling: &Sibling) -> io::Result<Likeness> {
        for known in &self.generations {
            let likeness = known.place.likeness(&known.file, &sibling.file)?;
            if likeness != Likeness::Other {
                return Ok(likeness);
            }
        }
        Ok(Likeness::Other)
    }

    /// Reads lines into the buffer; tells of which generation they are and at which offset.
    fn read(&mut self) -> io::Result<Option<(usize, u64)>> {
        let mut index = 0;
        loop {
            let Some(generation) = self.generations.get_mut(index) else {
                self.let_go()?;
                return Ok(None);
            };
            match generation.read(&mut self.buffer)? {
                Step::Lines(offset) => return Ok(Some((index, offset))),
                Step::Nothing => index += 1,
                Step::TooLong(offset) => {
                    let what = What::LineTooLong { limit: LINE_LIMIT };
                    self.problems.push(problem(&generation.path, offset, what));
                }
                Step::Truncated => self.truncated(index)?,
            }
        }
    }

    /// Starts a generation anew that holds something else than what was read of it, and goes on with the rest of
    /// what was read in the copy of it, if one was made.
    fn truncated(&mut self, index: usize) -> io::Result<()> {
        let siblings = siblings::list(&self.log)?;
        let Some(truncated) = self.generations.get(index) else {
            return Ok(());
        };
        let start = Place::start(truncated.place.identity);
        let mut copy = None;
        for sibling in siblings {
            if sibling.path != self.log
                && !self.is_known(&sibling)
                && truncated.place.likeness(&truncated.file, &sibling.file)? == Likeness::Copy
                // The next copy may be under way.
                && start.likeness(&truncated.file, &sibling.file)? == Likeness::Other
            {
                let place = if sibling.file.metadata()?.len() < truncated.place.offset {
                    Place::end(&sibling.file)?
                } else {
                    truncated.place.in_copy(sibling.identity)
                };
                copy = Some(Generation {
                    place,
                    ..sibling.into()
                });
                break;
            }
        }
        let what = match copy {
            Some(_) => What::CopyTruncated,
            None => What::Truncated {
                unread: truncated.unread(),
            },
        };
        self.problems
            .push(problem(&truncated.path, truncated.place.offset, what));
        if let Some(truncated) = self.generations.get_mut(index) {
            truncated.place = start;
        }
        if let Some(copy) = copy {
            self.generations.insert(index, copy);
        }
        Ok(())
    }

    /// Forgets rotated files that are deleted, now that all of them is read that will ever be.
    fn let_go(&mut self) -> io::Result<()> {
        let mut index = 0;
        while index + 1 < self.generations.len() {
            let Some(generation) = self.generations.get(index) else {
                return Ok(());
            };
            if !generation.is_deleted()? {
                index += 1;
                continue;
            }
            let generation = self.generations.remove(index);
            let unread = generation.unread();
            if unread > 0 {
                let what = What::Gone { unread };
                self.problems
                    .push(problem(&generation.path, generation.place.offset, what));
            }
        }
        Ok(())
    }
}

impl From<Sibling> for Generation {
    /// Read from its start.
    fn from(sibling: Sibling) -> Self {
        Self {
            path: sibling.path,
            place: Place::start(sibling.identity),
            file: sibling.file,
        }
    }
}

/// The log is read from its start; what was rotated away before is taken as read. What may be a copy under way
/// is left for [`Follower::look`] to find.
fn first_generations(log: &Path, mut siblings: Vec<Sibling>) -> io::Result<Vec<Generation>> {
    let current = siblings.pop_if(|newest| newest.path == log).map(Generation::from);
    let mut generations = Vec::new();
    for sibling in siblings {
        let likeness = match &current {
            Some(current) => current.place.likeness(&current.file, &sibling.file)?,
            None => Likeness::Other,
        };
        if likeness == Likeness::Other {
            generations.push(Generation {
                place: Place::end(&sibling.file)?,
                ..sibling.into()
            });
        }
    }
    generations.extend(current);
    Ok(generations)
}

fn problem(path: &Path, offset: u64, what: What) -> Problem {
    Problem {
        file: path.display().to_string(),
        offset,
        what,
    }
}

#[cfg(test)]
mod tests;
