//! The event budget: which flows get a line of their own where there are more than the reader can carry, and when
//! each line is written.
//!
//! The Wazuh agent carries some hundred events a second and loses the end of a burst. So an interval has a number of
//! lines: what findings and statistics leave is for flows, the largest first, and a part of it for summaries of the
//! others. The lines are written over the time until the next interval's, under a token bucket.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

use super::merge::{FlowSummary, Merger};
use crate::{
    config::{Config, Flows},
    enrich::Enricher,
    flow::Slice,
};

/// Of the lines for flows, one in this many is for summaries.
const SUMMARIES: usize = 4;
/// Lines are written in this many steps an interval, and at least once a second.
const STEPS: u32 = 10;
const LONGEST_STEP: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Budget {
    flows: Flows,
    lines_per_second: u32,
    interval: Duration,
    /// Whoever ends intervals also calls for the lines in between.
    paced: bool,
    largest: Largest,
    merger: Merger,
    waiting: Waiting,
}

/// Lines of an interval that are not written yet. Its memory is used again.
#[derive(Debug, Default)]
struct Waiting {
    summaries: Vec<FlowSummary>,
    slices: Vec<Slice>,
    written_summaries: usize,
    written_slices: usize,
    /// When the interval before ended, and the lines that were written since.
    pace: Option<Pace>,
}

#[derive(Clone, Copy, Debug)]
struct Pace {
    opened: Instant,
    written: usize,
    next: Instant,
}

impl Budget {
    pub fn new(config: &Config) -> Self {
        Self {
            flows: config.output.flows,
            lines_per_second: config.output.lines_per_second,
            interval: config.capture.interval,
            paced: false,
            largest: Largest::default(),
            merger: Merger::default(),
            waiting: Waiting::default(),
        }
    }

    /// Takes over a changed configuration, from the next interval on.
    pub fn reconfigure(&mut self, config: &Config) {
        self.flows = config.output.flows;
        self.lines_per_second = config.output.lines_per_second;
        self.interval = config.capture.interval;
    }

    /// From now on lines wait until [`Budget::due`] lets them go; `false`: they are due at once.
    pub const fn pace(&mut self, paced: bool) {
        self.paced = paced;
    }

    pub const fn flows(&self) -> Flows {
        self.flows
    }

    /// Takes out of `slices` what finds no line of its own, and merges it into the summaries that are returned.
    /// `told`: lines that the interval needs besides. Nothing may wait.
    pub fn split(&mut self, slices: &mut Vec<Slice>, enricher: &Enricher, told: usize) -> &[FlowSummary] {
        self.waiting.summaries.clear();
        let lines = self.lines().saturating_sub(told);
        if self.flows == Flows::Budget && slices.len() > lines {
            let summaries = lines / SUMMARIES;
            let kept = lines - summaries;
            self.largest.move_to_front(slices, kept);
            let merged = slices.get(kept..).unwrap_or_default();
            self.merger
                .merge(merged, enricher, summaries, &mut self.waiting.summaries);
            slices.truncate(kept);
            slices.sort_unstable_by_key(rank);
        }
        &self.waiting.summaries
    }

    /// Lines of an interval.
    fn lines(&self) -> usize {
        let lines = u128::from(self.lines_per_second) * self.interval.as_nanos() / 1_000_000_000;
        usize::try_from(lines).unwrap_or(usize::MAX)
    }

    /// Takes the slices that are left, to be written after the summaries of [`Budget::split`]; leaves `slices` empty.
    /// `told`: lines of the interval that are written already.
    pub fn queue(&mut self, slices: &mut Vec<Slice>, told: usize, now: Instant) {
        let waiting = &mut self.waiting;
        waiting.slices.clear();
        if self.flows == Flows::Budget {
            // Few: the room for all of an interval's stays where it is.
            waiting.slices.append(slices);
        } else {
            std::mem::swap(&mut waiting.slices, slices);
        }
        waiting.written_summaries = 0;
        waiting.written_slices = 0;
        waiting.pace = (self.paced && self.flows == Flows::Budget).then_some(Pace {
            opened: now,
            written: told,
            next: now,
        });
    }

    /// Gives the room that [`Budget::queue`] took back to `slices`, which must be empty, once none waits.
    pub fn give_back(&mut self, slices: &mut Vec<Slice>) {
        if self.waiting() == 0 && self.flows != Flows::Budget {
            self.waiting.slices.clear();
            self.waiting.written_slices = 0;
            std::mem::swap(&mut self.waiting.slices, slices);
        }
    }

    /// How many of the lines that wait may be written now.
    pub fn due(&mut self, now: Instant) -> usize {
        let step = self.step();
        let Some(pace) = &mut self.waiting.pace else {
            return self.waiting();
        };
        pace.next = now + step;
        let elapsed = now.saturating_duration_since(pace.opened) + step;
        let allowed = u128::from(self.lines_per_second) * elapsed.as_nanos() / 1_000_000_000;
        usize::try_from(allowed)
            .unwrap_or(usize::MAX)
            .saturating_sub(pace.written)
    }

    /// When lines are due next; `None` while none waits.
    pub fn next(&self) -> Option<Instant> {
        let pace = self.waiting.pace?;
        (self.waiting() > 0).then_some(pace.next)
    }

    fn step(&self) -> Duration {
        (self.interval / STEPS).min(LONGEST_STEP)
    }

    /// Lines that wait.
    pub const fn waiting(&self) -> usize {
        let waiting = &self.waiting;
        waiting.summaries.len() + waiting.slices.len() - waiting.written_summaries - waiting.written_slices
    }

    /// The next of the lines that wait, up to `lines` of them; they no longer do.
    pub fn take(&mut self, lines: usize) -> (&[FlowSummary], &[Slice]) {
        let waiting = &mut self.waiting;
        let summaries = waiting
            .summaries
            .get(waiting.written_summaries..)
            .unwrap_or_default();
        let summaries = summaries.get(..lines).unwrap_or(summaries);
        let slices = waiting.slices.get(waiting.written_slices..).unwrap_or_default();
        let slices = slices.get(..lines - summaries.len()).unwrap_or(slices);
        waiting.written_summaries += summaries.len();
        waiting.written_slices += slices.len();
        if let Some(pace) = &mut waiting.pace {
            pace.written += summaries.len() + slices.len();
        }
        (summaries, slices)
    }
}

/// Finds the slices that rank first; its memory is used again.
#[derive(Debug, Default)]
struct Largest {
    /// Those so far, with their places, the last of them on top.
    heap: BinaryHeap<(Rank, usize)>,
    places: Vec<usize>,
}

impl Largest {
    /// Slices are large: they are looked at in one pass, and only those that rank first are moved.
    fn move_to_front(&mut self, slices: &mut [Slice], kept: usize) {
        self.heap.clear();
        for (place, slice) in slices.iter().enumerate() {
            let rank = rank(slice);
            if self.heap.len() < kept {
                self.heap.push((rank, place));
            } else if let Some(mut last) = self.heap.peek_mut()
                && rank < last.0
            {
                *last = (rank, place);
            }
        }
        self.places.clear();
        self.places.extend(self.heap.drain().map(|(_, place)| place));
        self.places.sort_unstable();
        // In ascending order a slice never goes backwards, and none that is still to be moved is moved away.
        for (front, place) in self.places.iter().enumerate() {
            slices.swap(front, *place);
        }
    }
}

type Rank = (Reverse<u64>, u64, u64, u32, u64);

/// The largest first; what else is in it makes the order the same each time.
fn rank(slice: &Slice) -> Rank {
    (
        Reverse(slice.l3_bytes()),
        slice.start_ns,
        slice.id,
        slice.ifindex,
        slice.last_ns,
    )
}
