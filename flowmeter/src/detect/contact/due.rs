//! What time alone makes happen, in its order.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use serde::{Deserialize, Serialize};

/// Keys by when something is due for them. Nearly all come in the order of time; the others are few.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Due {
    ordered: VecDeque<(u64, u64)>,
    late: BinaryHeap<Reverse<(u64, u64)>>,
}

impl Due {
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
