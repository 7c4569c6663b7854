//! Files to batches: several sources merged by time and cut into intervals of event time.
//!
//! Intervals start at multiples of their length since the Unix epoch, so that they do not depend on which
//! files are read together.

mod captured;
mod file;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, binary_heap::PeekMut},
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

pub use captured::CaptureSource;
pub use file::{FileSource, Reader};
use indexmap::IndexSet;

use super::{aggregate::Aggregate, problem::Problem};
use crate::{config::Tunnels, flow::Batch};

/// A file that is read item by item, a frame or a line.
pub trait Source {
    /// Goes to the next item and returns its time in nanoseconds since the Unix epoch, `None` at the end.
    ///
    /// # Errors
    /// What is wrong at this place. Calling again goes on with what can still be read, and ends.
    fn advance(&mut self) -> Result<Option<u64>, Problem>;

    /// Adds the item that was gone to, and returns what is to be told about it.
    fn count(&mut self, into: &mut Aggregate, interfaces: &mut Interfaces) -> Option<Problem>;
}

/// The observation points of a replay. The same name in two files is the same interface.
#[derive(Debug, Default)]
pub struct Interfaces {
    names: IndexSet<String>,
}

impl Interfaces {
    /// The index that stands in flow keys, from 1 on.
    pub fn ifindex(&mut self, name: &str) -> u32 {
        let index = self
            .names
            .get_index_of(name)
            .unwrap_or_else(|| self.names.insert_full(name.to_owned()).0);
        u32::try_from(index + 1).unwrap_or(u32::MAX)
    }

    /// Empty for an index that was never handed out.
    pub fn name(&self, ifindex: u32) -> &str {
        let index = (ifindex as usize).checked_sub(1);
        index
            .and_then(|index| self.names.get_index(index))
            .map_or("", String::as_str)
    }

    /// Index and name of each, in the order in which they were met.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &str)> {
        (1..).zip(self.names.iter().map(String::as_str))
    }
}

/// What was seen from `start_ns` to just before `end_ns`.
#[derive(Debug)]
pub struct Interval {
    pub start_ns: u64,
    pub end_ns: u64,
    pub batch: Batch,
    /// Items that were more than one interval late; they are counted here, with the time that they carry.
    pub late_items: u64,
}

/// Sources merged by time, handed out interval by interval.
///
/// An item may be up to one interval late without being counted in another interval than its own. Intervals
/// in which nothing was seen are left out.
pub struct Replay {
    sources: Vec<Box<dyn Source>>,
    /// The times of the sources' current items, the earliest first; of two the same, the earlier source's.
    next: BinaryHeap<Reverse<(u64, usize)>>,
    interval_ns: u64,
    until_ns: u64,
    left_out: u64,
    tunnels: Tunnels,
    /// By number, counted from the epoch: the latest seen and the one before.
    open: BTreeMap<u64, Open>,
    interfaces: Interfaces,
    problems: Vec<Problem>,
}

#[derive(Default)]
struct Open {
    aggregate: Aggregate,
    late_items: u64,
}

impl Replay {
    pub fn new(sources: Vec<Box<dyn Source>>, interval: Duration, tunnels: Tunnels) -> Self {
        let mut replay = Self {
            sources,
            next: BinaryHeap::new(),
            interval_ns: u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1),
            until_ns: u64::MAX,
            left_out: 0,
            tunnels,
            open: BTreeMap::new(),
            interfaces: Interfaces::default(),
            problems: Vec::new(),
        };
        for (index, source) in replay.sources.iter_mut().enumerate() {
            if let Some(time_ns) = advance(source.as_mut(), &mut replay.problems) {
                replay.next.push(Reverse((time_ns, index)));
            }
        }
        replay
    }

    /// Leaves out what is as late as this or later, nanoseconds since the Unix epoch.
    pub fn until(&mut self, until_ns: u64) {
        self.until_ns = until_ns;
    }

    /// Items that were left out so far.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The next interval in which something was seen, `None` at the end. Starts only ever grow.
    pub fn next_interval(&mut self) -> Option<Interval> {
        loop {
            let latest = self.open.last_key_value().map(|(&number, _)| number);
            if let Some(latest) = latest
                && let Some(first) = self.open.first_entry()
                && (*first.key() + 1 < latest || self.next.is_empty())
            {
                let (number, open) = first.remove_entry();
                return Some(self.close(number, open));
            }
            if !self.step() {
                return None;
            }
        }
    }

    /// Counts items until another interval is reached or nothing is left; false if nothing was.
    fn step(&mut self) -> bool {
        let Some(&Reverse((time_ns, _))) = self.next.peek() else {
            return false;
        };
        if time_ns >= self.until_ns {
            self.leave_out();
            return true;
        }
        let latest = self.open.last_key_value().map_or(0, |(&number, _)| number);
        let wanted = time_ns / self.interval_ns;
        let number = wanted.max(latest.saturating_sub(1));
        let open = self.open.entry(number).or_insert_with(|| Open {
            aggregate: Aggregate::new(self.tunnels),
            late_items: 0,
        });
        while let Some(mut top) = self.next.peek_mut() {
            let Reverse((time_ns, index)) = *top;
            if time_ns / self.interval_ns != wanted || time_ns >= self.until_ns {
                break;
            }
            let Some(source) = self.sources.get_mut(index) else {
                PeekMut::pop(top);
                continue;
            };
            open.late_items += u64::from(wanted < number);
            self.problems
                .extend(source.count(&mut open.aggregate, &mut self.interfaces));
            match advance(source.as_mut(), &mut self.problems) {
                Some(time_ns) => *top = Reverse((time_ns, index)),
                None => {
                    PeekMut::pop(top);
                }
            }
        }
        true
    }

    /// Goes past the earliest item.
    fn leave_out(&mut self) {
        let Some(mut top) = self.next.peek_mut() else {
            return;
        };
        let Reverse((_, index)) = *top;
        self.left_out += 1;
        let next = self
            .sources
            .get_mut(index)
            .and_then(|source| advance(source.as_mut(), &mut self.problems));
        match next {
            Some(time_ns) => *top = Reverse((time_ns, index)),
            None => {
                PeekMut::pop(top);
            }
        }
    }

    fn close(&self, number: u64, mut open: Open) -> Interval {
        let start_ns = number * self.interval_ns;
        Interval {
            start_ns,
            end_ns: start_ns.saturating_add(self.interval_ns),
            batch: open.aggregate.take(),
            late_items: open.late_items,
        }
    }

    /// The observation points that were met so far.
    pub fn interfaces(&self) -> &Interfaces {
        &self.interfaces
    }

    /// What was wrong with the files since the last call.
    pub fn take_problems(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.problems)
    }
}

fn advance(source: &mut dyn Source, problems: &mut Vec<Problem>) -> Option<u64> {
    loop {
        match source.advance() {
            Ok(time) => return time,
            Err(problem) => problems.push(problem),
        }
    }
}

/// The files that `path` stands for: itself, or, for a directory, every file below it in the order of their
/// names. Links to directories are not followed further down.
///
/// # Errors
/// Those of reading a directory.
pub fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut found = Vec::new();
    for entry in entries {
        let kind = entry.file_type()?;
        if kind.is_dir() {
            found.extend(files(&entry.path())?);
        } else if entry.path().is_file() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
