//! Files to batches: several sources merged by time and cut into intervals of event time.
//!
//! Intervals start at multiples of their length since the Unix epoch, so that they do not depend on which
//! files are read together. An item belongs to the interval of its last packet. What an interval holds does
//! not depend on the order of its items, and neither do the numbers of the interfaces.
//!
//! Captures are as good as sorted, so an interval is handed out as soon as the next but one has begun. Logs
//! are not: a line is written when its connection has ended, some are sorted by start, others by nothing.
//! As long as one is read, intervals are kept open until they hold [`MAX_OPEN_FLOWS`] together; then the
//! earliest goes. So a log of up to that many flows comes out exactly, whatever its order, and memory is
//! bounded for a larger one.

mod captured;
mod file;
mod interfaces;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, binary_heap::PeekMut, btree_map::Entry},
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytemuck::bytes_of;
pub use captured::CaptureSource;
pub use file::{FileSource, Reader};
use flowmeter_common::{FlowCounters, FlowKey};
pub use interfaces::Interfaces;

use super::{aggregate::Aggregate, log::LineCounts, problem::Problem};
use crate::{
    config::Tunnels,
    flow::{Batch, FlowRecord, Slice},
};

/// How many flow records and slices may wait for their interval to be complete, about 150 bytes each.
pub const MAX_OPEN_FLOWS: usize = 1 << 20;
/// An interval takes as much memory as this many flows, beside those that are in it.
const FLOWS_PER_INTERVAL: usize = 16;
/// Records of an interval are added up when there are this many, and whenever they have doubled.
const ADD_UP_AT: usize = 1 << 16;

/// A file that is read item by item, a frame or a line.
pub trait Source {
    /// Goes to the next item and returns its time in nanoseconds since the Unix epoch, `None` at the end.
    ///
    /// # Errors
    /// What is wrong at this place. Calling again goes on with what can still be read, and ends.
    fn advance(&mut self) -> Result<Option<u64>, Problem>;

    /// Adds the item that was gone to, and returns what is to be told about it.
    fn count(&mut self, into: &mut Gathered, interfaces: &mut Interfaces) -> Option<Problem>;

    /// False if a later item may be of any earlier time. Known once the first item was gone to.
    fn sorted(&self) -> bool {
        true
    }

    /// What became of the lines so far, if it is a log.
    fn lines(&self) -> LineCounts {
        LineCounts::default()
    }
}

/// What the items of one interval add up to.
#[derive(Debug, Default)]
pub struct Gathered {
    pub flows: Aggregate,
    /// What another meter has counted, to be added up at the end: most flows stand in a log once, and then
    /// sorting is cheaper than looking each up.
    records: Vec<FlowRecord>,
    /// When they are added up before the end: a log may tell of the same flow any number of times.
    add_up_at: usize,
    /// What has been through a tracker already.
    slices: Vec<Slice>,
    synthetic: bool,
}

impl Gathered {
    pub fn new(tunnels: Tunnels) -> Self {
        Self {
            flows: Aggregate::new(tunnels),
            add_up_at: ADD_UP_AT,
            ..Self::default()
        }
    }

    /// Adds what another meter has counted. It counts as seen.
    pub fn record(&mut self, record: &FlowRecord) {
        let FlowCounters {
            packets, wire_bytes, ..
        } = record.counters;
        self.flows.seen(record.key.ifindex, packets, wire_bytes);
        self.records.push(*record);
        if self.records.len() >= self.add_up_at {
            add_up(&mut self.records);
            self.add_up_at = ADD_UP_AT.max(2 * self.records.len());
        }
    }

    /// Adds a connection's traffic as another meter has written it. It counts as seen. `synthetic` if it was
    /// made up.
    pub fn slice(&mut self, slice: Slice, synthetic: bool) {
        self.synthetic |= synthetic;
        self.flows
            .seen(slice.ifindex, slice.packets(), slice.wire_bytes());
        self.slices.push(slice);
    }

    /// In flows, about.
    fn size(&self) -> usize {
        FLOWS_PER_INTERVAL + self.flows.len() + self.records.len() + self.slices.len()
    }

    /// Everything of the interval, in no order.
    fn take(self) -> (Batch, Vec<Slice>) {
        let mut flows = self.flows;
        let mut batch = flows.take();
        if batch.records.is_empty() {
            batch.records = self.records;
        } else {
            batch.records.extend(self.records);
        }
        (batch, self.slices)
    }
}

/// Sorts by key, and adds up what has the same.
fn add_up(records: &mut Vec<FlowRecord>) {
    // The addresses are compared as numbers first, which is the same order in less time.
    let order = |record: &FlowRecord| {
        let FlowKey {
            source, destination, ..
        } = record.key;
        (u128::from_be_bytes(source), u128::from_be_bytes(destination))
    };
    records.sort_unstable_by(|a, b| order(a).cmp(&order(b)).then_with(|| a.key.cmp(&b.key)));
    records.dedup_by(|record, kept| {
        let same = record.key == kept.key;
        if same {
            kept.counters.merge(&record.counters);
        }
        same
    });
}

/// What was seen from `start_ns` to just before `end_ns`.
#[derive(Debug)]
pub struct Interval {
    pub start_ns: u64,
    pub end_ns: u64,
    pub batch: Batch,
    /// Out of event files: the tracker has nothing to do for these. By start.
    pub slices: Vec<Slice>,
    /// True if some of `slices` were made up, and marked so.
    pub synthetic: bool,
    /// Items whose interval was handed out already; they are counted here, with the time that they carry.
    pub late_items: u64,
}

/// Sources merged by time, handed out interval by interval.
///
/// An item of a capture may be up to one interval late without being counted in another interval than its
/// own. Intervals in which nothing was seen are left out.
pub struct Replay {
    sources: Vec<Box<dyn Source>>,
    /// The times of the sources' current items, the earliest first; of two the same, the earlier source's.
    next: BinaryHeap<Reverse<(u64, usize)>>,
    interval_ns: u64,
    until_ns: u64,
    left_out: u64,
    tunnels: Tunnels,
    /// By number, counted from the epoch.
    open: BTreeMap<u64, Open>,
    /// The length of all of `open` together.
    open_flows: usize,
    max_open_flows: usize,
    /// Intervals below were handed out.
    floor: u64,
    /// The latest interval of a sorted source.
    latest: u64,
    /// Sources that are being read and not sorted.
    unsorted: usize,
    /// By the numbers that sources know interfaces by, in the order in which they were met.
    met: Interfaces,
    /// By the numbers that are handed out.
    interfaces: Interfaces,
    problems: Vec<Problem>,
}

#[derive(Default)]
struct Open {
    gathered: Gathered,
    late_items: u64,
}

impl Replay {
    pub fn new(sources: Vec<Box<dyn Source>>, interval: Duration, tunnels: Tunnels) -> Self {
        let mut replay = Self {
            sources: Vec::new(),
            next: BinaryHeap::new(),
            interval_ns: u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1),
            until_ns: u64::MAX,
            left_out: 0,
            tunnels,
            open: BTreeMap::new(),
            open_flows: 0,
            max_open_flows: MAX_OPEN_FLOWS,
            floor: 0,
            latest: 0,
            unsorted: 0,
            met: Interfaces::default(),
            interfaces: Interfaces::default(),
            problems: Vec::new(),
        };
        for source in sources {
            replay.add(source);
        }
        replay
    }

    /// Drops the sources, once all have ended.
    pub fn clear(&mut self) {
        if self.next.is_empty() {
            self.sources.clear();
        }
    }

    /// Reads another source too.
    pub fn add(&mut self, mut source: Box<dyn Source>) {
        if let Some(time_ns) = advance(source.as_mut(), &mut self.problems) {
            self.next.push(Reverse((time_ns, self.sources.len())));
            self.unsorted += usize::from(!source.sorted());
        }
        self.sources.push(source);
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
            if let Some(first) = self.open.first_entry()
                && (self.next.is_empty()
                    || if self.unsorted > 0 {
                        self.open_flows > self.max_open_flows
                    } else {
                        *first.key() + 1 < self.latest
                    })
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
        let wanted = time_ns / self.interval_ns;
        let number = if self.unsorted > 0 {
            wanted.max(self.floor)
        } else {
            wanted.max(self.floor).max(self.latest.saturating_sub(1))
        };
        let mut before = 0;
        let open = match self.open.entry(number) {
            Entry::Occupied(open) => {
                before = open.get().gathered.size();
                open.into_mut()
            }
            Entry::Vacant(none) => none.insert(Open {
                gathered: Gathered::new(self.tunnels),
                late_items: 0,
            }),
        };
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
            if source.sorted() {
                self.latest = self.latest.max(number);
            }
            self.problems
                .extend(source.count(&mut open.gathered, &mut self.met));
            let unsorted = !source.sorted();
            match advance(source.as_mut(), &mut self.problems) {
                Some(time_ns) => *top = Reverse((time_ns, index)),
                None => {
                    PeekMut::pop(top);
                    self.unsorted -= usize::from(unsorted);
                }
            }
        }
        self.open_flows = self.open_flows + open.gathered.size() - before;
        true
    }

    /// Goes past the earliest item.
    fn leave_out(&mut self) {
        let Some(mut top) = self.next.peek_mut() else {
            return;
        };
        let Reverse((_, index)) = *top;
        self.left_out += 1;
        let Some(source) = self.sources.get_mut(index) else {
            PeekMut::pop(top);
            return;
        };
        let unsorted = !source.sorted();
        match advance(source.as_mut(), &mut self.problems) {
            Some(time_ns) => *top = Reverse((time_ns, index)),
            None => {
                PeekMut::pop(top);
                self.unsorted -= usize::from(unsorted);
            }
        }
    }

    fn close(&mut self, number: u64, open: Open) -> Interval {
        self.open_flows -= open.gathered.size();
        self.floor = number + 1;
        let synthetic = open.gathered.synthetic;
        let (mut batch, mut slices) = open.gathered.take();
        self.interfaces.settle(&self.met, &mut batch, &mut slices);
        add_up(&mut batch.records);
        slices.sort_unstable_by(|a, b| sort_key(a).cmp(&sort_key(b)));
        let start_ns = number.saturating_mul(self.interval_ns);
        Interval {
            start_ns,
            end_ns: start_ns.saturating_add(self.interval_ns),
            batch,
            slices,
            synthetic,
            late_items: open.late_items,
        }
    }

    /// What became of the lines of all logs so far.
    pub fn lines(&self) -> LineCounts {
        self.sources.iter().map(|source| source.lines()).sum()
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

/// Tells any two slices apart that differ in their events; the end of a connection comes last.
fn sort_key(slice: &Slice) -> impl Ord + '_ {
    let id = (slice.start_ns, slice.id, slice.last_ns, slice.end.is_some());
    let ends = (slice.ifindex, slice.protocol, slice.initiator, slice.responder);
    let counters = (bytes_of(&slice.forward), bytes_of(&slice.reverse));
    (id, ends, counters, slice.outcome, slice.basis, slice.end)
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
