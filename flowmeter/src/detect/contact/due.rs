//! What time alone makes happen, in its order.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use serde::{Deserialize, Serialize};

/// So few that their room is kept.
const SPARE: usize = 1024;

/// Keys by when something is due for them. Nearly all come in the order of time; the others are few.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Due {
    ordered: VecDeque<(u64, u64)>,
    late: BinaryHeap<Reverse<(u64, u64)>>,
}

impl Due {
    /// What those that wait take at most: both grow by doubling.
    pub(super) fn bytes(&self) -> usize {
        (self.ordered.len() + self.late.len()) * 2 * size_of::<(u64, u64)>()
    }

    /// Drops the keys that nothing is due for any more.
    pub(super) fn retain(&mut self, keep: impl Fn(u64) -> bool) {
        self.ordered.retain(|(_, key)| keep(*key));
        self.late.retain(|Reverse((_, key))| keep(*key));
    }

    /// Gives back what a storm took, where three quarters are empty.
    pub(super) fn shrink(&mut self) {
        let (ordered, late) = (self.ordered.len(), self.late.len());
        if self.ordered.capacity() / 4 > ordered.max(SPARE) {
            self.ordered.shrink_to(2 * ordered);
        }
        if self.late.capacity() / 4 > late.max(SPARE) {
            self.late.shrink_to(2 * late);
        }
    }

    pub(super) fn push(&mut self, due_ns: u64, key: u64) {
        match self.ordered.back() {
            Some((last_ns, _)) if due_ns < *last_ns => self.late.push(Reverse((due_ns, key))),
            _ => self.ordered.push_back((due_ns, key)),
        }
    }

    /// The next that is due by `now_ns`.
    pub(super) fn pop(&mut self, now_ns: u64) -> Option<(u64, u64)> {
        let ordered = self.ordered.front().copied();
        let late = self.late.peek().map(|Reverse(late)| *late);
        match (ordered, late) {
            (Some(first), Some(late)) if late < first => {
                (late.0 <= now_ns).then(|| self.late.pop()).map(|_| late)
            }
            (Some(first), _) => (first.0 <= now_ns).then(|| self.ordered.pop_front()).flatten(),
            (None, Some(late)) => (late.0 <= now_ns).then(|| self.late.pop()).map(|_| late),
            (None, None) => None,
        }
    }
}
