//! The contacts of a pair: when the newest were, how large, and what became of all.

use serde::{Deserialize, Serialize};

use crate::detect::table::Entry;

/// Newest starts that are kept.
pub(super) const STARTS: usize = 64;
/// Starts before which there is no rhythm: most pairs meet once or twice, and have little room.
const FEW: usize = 4;
/// Starts closer than this are one visit: parallel connections of one program.
const BURST_NS: u64 = 200_000_000;
pub(super) const HOUR_NS: u64 = 3_600_000_000_000;

/// What is noted of a contact.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// When it began.
    Opened(u64),
    Settled {
        failed: bool,
    },
    /// Bytes sent.
    Closed(u32),
}

/// A pair that has met up to [`FEW`] times.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Few {
    starts: [u64; FEW],
    sizes: [u32; FEW],
    failed: u32,
    accepted: u32,
    opened: u8,
    closed: u8,
}

impl Entry for Few {
    fn suspicion(&self) -> u32 {
        self.opened.into()
    }

    fn last_ns(&self) -> u64 {
        self.starts.into_iter().max().unwrap_or(0)
    }
}

impl Few {
    pub(super) fn new(start_ns: u64) -> Self {
        Self {
            starts: [start_ns, 0, 0, 0],
            opened: 1,
            ..Self::default()
        }
    }

    /// False if there is no more room.
    pub(super) fn note(&mut self, step: Step) -> bool {
        if usize::from(self.opened.max(self.closed)) >= FEW {
            return false;
        }
        match step {
            Step::Opened(start_ns) => {
                if let Some(place) = self.starts.get_mut(usize::from(self.opened)) {
                    *place = start_ns;
                }
                self.opened += 1;
            }
            Step::Settled { failed } => {
                let count = if failed {
                    &mut self.failed
                } else {
                    &mut self.accepted
                };
                *count = count.saturating_add(1);
            }
            Step::Closed(size) => {
                if let Some(place) = self.sizes.get_mut(usize::from(self.closed)) {
                    *place = size;
                }
                self.closed += 1;
            }
        }
        true
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Series {
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
    pub(super) count: u64,
    /// Of the newest.
    pub(super) starts: Ring<u64>,
    pub(super) sizes: Ring<u32>,
    pub(super) failed: u64,
    pub(super) accepted: u64,
    /// Hours since the first contact in which there was one; bit 63 is the 64th and all later ones.
    pub(super) hours: u64,
    /// Looked at again from this count on.
    pub(super) next_look: u64,
    /// The rhythm was good enough when it was last looked at.
    pub(super) regular: bool,
    /// The evidence that was told last: goes on until the rhythm is lost.
    pub(super) told: u32,
}

pub(super) const SERIES_BYTES: usize = STARTS * 12;

impl Entry for Series {
    fn suspicion(&self) -> u32 {
        u32::try_from(self.count.min(1000)).unwrap_or(0) + if self.regular { 1000 } else { 0 }
    }

    fn last_ns(&self) -> u64 {
        self.last_ns
    }
}

impl Series {
    pub(super) fn of(few: &Few) -> Self {
        let first_ns = few.starts.first().copied().unwrap_or(0);
        let mut series = Self {
            first_ns,
            last_ns: first_ns,
            failed: few.failed.into(),
            accepted: few.accepted.into(),
            ..Self::default()
        };
        for start_ns in few.starts.iter().take(few.opened.into()) {
            series.note(Step::Opened(*start_ns));
        }
        for size in few.sizes.iter().take(few.closed.into()) {
            series.note(Step::Closed(*size));
        }
        series
    }

    pub(super) fn note(&mut self, step: Step) {
        match step {
            Step::Opened(start_ns) => {
                self.count += 1;
                self.first_ns = self.first_ns.min(start_ns);
                self.last_ns = self.last_ns.max(start_ns);
                let hour = (start_ns.saturating_sub(self.first_ns) / HOUR_NS).min(63);
                self.hours |= 1 << hour;
                self.starts.push(start_ns);
            }
            Step::Settled { failed } => {
                self.failed += u64::from(failed);
                self.accepted += u64::from(!failed);
            }
            Step::Closed(size) => self.sizes.push(size),
        }
    }

    /// Gaps between visits in ascending order, and the last visit.
    pub(super) fn gaps(&self) -> Vec<u64> {
        let mut starts = self.starts.values().to_vec();
        starts.sort_unstable();
        let mut gaps = Vec::with_capacity(starts.len());
        let mut before = None;
        for start_ns in starts {
            match before {
                Some(before_ns) if start_ns.saturating_sub(before_ns) < BURST_NS => continue,
                Some(before_ns) => gaps.push(start_ns.saturating_sub(before_ns)),
                None => {}
            }
            before = Some(start_ns);
        }
        gaps.sort_unstable();
        gaps
    }
}

/// The newest of some values, up to [`STARTS`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Ring<T> {
    values: Vec<T>,
    /// Where the next goes once it is full.
    next: usize,
}

impl<T> Ring<T> {
    fn push(&mut self, value: T) {
        if self.values.len() < STARTS {
            self.values.push(value);
        } else if let Some(oldest) = self.values.get_mut(self.next) {
            *oldest = value;
            self.next = (self.next + 1) % STARTS;
        }
    }

    pub(super) fn values(&self) -> &[T] {
        &self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_keeps_the_newest() {
        for count in [0, 1, 3, 4, 5, 63, 64, 65, 200_u64] {
            let mut ring = Ring::default();
            (0..count).for_each(|value| ring.push(value));
            let mut kept = ring.values().to_vec();
            kept.sort_unstable();
            let newest: Vec<u64> = (count.saturating_sub(STARTS as u64)..count).collect();
            assert_eq!(kept, newest);
        }
    }
}
