//! The contacts of a pair: when the newest were, how large, and what became of all.

use serde::{Deserialize, Serialize};

use crate::detect::table::Entry;

/// Newest starts that are kept.
pub(super) const STARTS: usize = 64;
/// Starts before which there is no rhythm: most pairs meet once or twice, and have little room.
pub(super) const FEW: usize = 4;
/// Starts closer than this are one visit: parallel connections of one program.
const BURST_NS: u64 = 200_000_000;
pub(super) const HOUR_NS: u64 = 3_600_000_000_000;

#[derive(Clone, Debug, Serialize, Deserialize)]
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
    pub(super) fn new(start_ns: u64) -> Self {
        Self {
            first_ns: start_ns,
            last_ns: start_ns,
            count: 0,
            starts: Ring::default(),
            sizes: Ring::default(),
            failed: 0,
            accepted: 0,
            hours: 0,
            next_look: 0,
            regular: false,
            told: 0,
        }
    }

    /// The next contact takes more room than the first few.
    pub(super) fn full(&self) -> bool {
        self.starts.values().len().max(self.sizes.values().len()) >= FEW
    }

    pub(super) fn add(&mut self, start_ns: u64) {
        self.count += 1;
        self.first_ns = self.first_ns.min(start_ns);
        self.last_ns = self.last_ns.max(start_ns);
        let hour = (start_ns.saturating_sub(self.first_ns) / HOUR_NS).min(63);
        self.hours |= 1 << hour;
        self.starts.push(start_ns);
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

/// The newest of some values, up to [`STARTS`]. The first [`FEW`] take no memory of their own.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Ring<T> {
    few: [T; FEW],
    many: Vec<T>,
    /// Where the next goes.
    next: u8,
    count: u8,
}

impl<T: Copy + Default> Ring<T> {
    pub(super) fn push(&mut self, value: T) {
        let place = usize::from(self.next);
        if let Some(free) = self.few.get_mut(place)
            && self.many.is_empty()
        {
            *free = value;
        } else {
            if self.many.is_empty() {
                self.many.extend(self.few);
            }
            match self.many.get_mut(place) {
                Some(oldest) => *oldest = value,
                None => self.many.push(value),
            }
        }
        self.next = (self.next + 1) % 64;
        self.count = (self.count + 1).min(64);
    }

    pub(super) fn values(&self) -> &[T] {
        let few = if self.many.is_empty() {
            &self.few[..]
        } else {
            &self.many
        };
        few.get(..usize::from(self.count)).unwrap_or(few)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_keeps_the_newest_whether_few_or_many() {
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
