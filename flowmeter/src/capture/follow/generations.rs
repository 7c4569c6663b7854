//! The generations of a log that are followed: which files they are, and in which order they are read.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    LINE_LIMIT,
    generation::{Generation, Step},
    place::{Identity, Likeness, Place},
    siblings::{self, Sibling},
};
use crate::capture::problem::{Problem, What};

#[derive(Debug)]
pub(super) struct Generations {
    log: PathBuf,
    /// The oldest first.
    list: Vec<Generation>,
    /// True while there are files that may become, or turn out to be, generations.
    unsettled: bool,
    problems: Vec<Problem>,
}

impl Generations {
    /// Those of a log that was never followed: it is read from its start, what was rotated away before is taken as
    /// read. What may be a copy under way is left for [`Self::look`] to find.
    ///
    /// # Errors
    /// Those of listing and reading the files.
    pub(super) fn first(log: &Path) -> io::Result<Self> {
        let mut siblings = siblings::list(log)?;
        let current = siblings.pop_if(|newest| newest.path == log).map(Generation::from);
        let mut generations = Self::new(log);
        for sibling in siblings {
            let likeness = match &current {
                Some(current) => current.place.likeness(&current.file, &sibling.file)?,
                None => Likeness::Other,
            };
            if likeness == Likeness::Other {
                generations.list.push(Generation {
                    place: Place::end(&sibling.file)?,
                    ..sibling.into()
                });
            }
        }
        generations.list.extend(current);
        Ok(generations)
    }

    fn new(log: &Path) -> Self {
        Self {
            log: log.to_owned(),
            list: Vec::new(),
            unsettled: true,
            problems: Vec::new(),
        }
    }

    pub(super) fn places(&self) -> Vec<Place> {
        self.list
            .iter()
            .map(|generation| generation.place.clone())
            .collect()
    }

    pub(super) fn path(&self, index: usize) -> Option<&Path> {
        self.list.get(index).map(|generation| generation.path.as_path())
    }

    pub(super) fn take_problems(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.problems)
    }

    /// Those that the places belong to.
    ///
    /// # Errors
    /// Those of listing and reading the files.
    pub(super) fn resume(log: &Path, places: Vec<Place>) -> io::Result<Self> {
        let mut siblings = siblings::list(log)?;
        let mut generations = Self::new(log);
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
                    generations.list.push(Generation {
                        place,
                        ..sibling.into()
                    });
                }
                None if !complete => {
                    let what = What::Gone { unread };
                    generations.problems.push(problem(log, place.offset, what));
                }
                _ => {}
            }
        }
        Ok(generations)
    }

    /// Brings the list up to date, if the log is another file than before.
    ///
    /// # Errors
    /// Those of listing and reading the files; it can be called again.
    pub(super) fn look(&mut self) -> io::Result<()> {
        let current = match fs::metadata(&self.log) {
            Ok(meta) => Some(Identity::from(&meta)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let newest = self.list.last().map(|newest| newest.place.identity);
        if !self.unsettled && current.is_some() && current == newest {
            return Ok(());
        }
        // What is a copy is told by what the files hold now.
        let mut index = 0;
        while let Some(generation) = self.list.get(index) {
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
                if behind_known && newest.is_some_and(|newest| sibling.identity.born_ns >= newest.born_ns) {
                    // Renaming makes no file that is younger than a known one and behind it in name: this is the
                    // copy of a log of which nothing was read before it was cut.
                    self.problems.push(problem(&sibling.path, 0, What::CopyTruncated));
                }
                self.list.push(sibling.into());
            } else {
                unsettled = true;
            }
        }
        self.unsettled = unsettled;
        let rank = |identity| order.iter().position(|(other, _)| *other == identity);
        for generation in &mut self.list {
            if let Some((_, path)) = rank(generation.place.identity).and_then(|rank| order.get(rank)) {
                generation.path.clone_from(path);
            }
        }
        // What has left the folder is the oldest.
        self.list
            .sort_by_key(|generation| rank(generation.place.identity));
        Ok(())
    }

    fn is_known(&self, sibling: &Sibling) -> bool {
        self.list
            .iter()
            .any(|known| known.place.identity == sibling.identity)
    }

    /// What a file that is not known is to those that are.
    fn likeness(&self, sibling: &Sibling) -> io::Result<Likeness> {
        for known in &self.list {
            let likeness = known.place.likeness(&known.file, &sibling.file)?;
            if likeness != Likeness::Other {
                return Ok(likeness);
            }
        }
        Ok(Likeness::Other)
    }

    /// Reads lines into the buffer; tells of which generation they are and at which offset.
    ///
    /// # Errors
    /// Those of listing and reading the files; it can be called again.
    pub(super) fn read(&mut self, buffer: &mut Vec<u8>) -> io::Result<Option<(usize, u64)>> {
        let mut index = 0;
        loop {
            let Some(generation) = self.list.get_mut(index) else {
                self.let_go()?;
                return Ok(None);
            };
            match generation.read(buffer)? {
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
        let Some(truncated) = self.list.get(index) else {
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
        if let Some(truncated) = self.list.get_mut(index) {
            truncated.place = start;
        }
        if let Some(copy) = copy {
            self.list.insert(index, copy);
        }
        Ok(())
    }

    /// Forgets rotated files that are deleted, now that all of them is read that will ever be.
    fn let_go(&mut self) -> io::Result<()> {
        let mut index = 0;
        while index + 1 < self.list.len() {
            let Some(generation) = self.list.get(index) else {
                return Ok(());
            };
            if !generation.is_deleted()? {
                index += 1;
                continue;
            }
            let generation = self.list.remove(index);
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

fn problem(path: &Path, offset: u64, what: What) -> Problem {
    Problem {
        file: path.display().to_string(),
        offset,
        what,
    }
}
