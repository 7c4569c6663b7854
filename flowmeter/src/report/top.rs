//! The largest of any number of rows, in bounded memory.

use std::{borrow::Borrow, cmp::Reverse, hash::Hash};

use hashbrown::HashMap;

use super::event::Volume;

/// Rows of which the largest are wanted. Up to twice its room of different rows everything is exact; when there are
/// more, the smaller ones are let go and what they held is kept as a sum, so that nothing is missing in the total.
/// A row that comes back after that begins anew: it may lack up to [`Ranking::lacking`] bytes.
pub(super) struct Top<K> {
    room: usize,
    rows: HashMap<K, Volume>,
    /// What has no row of its own: summaries over several.
    several: Volume,
    gone: Volume,
    gone_rows: u64,
    lacking: u64,
}

/// The rows of a [`Top`], the largest first; everything adds up to what was put in.
pub(super) struct Ranking<K> {
    pub(super) rows: Vec<(K, Volume)>,
    /// Rows that are not in `rows`, at most: one that was let go twice is counted twice.
    pub(super) other_rows: u64,
    pub(super) others: Volume,
    pub(super) several: Volume,
    /// Up to so many different rows everything is exact.
    pub(super) exact_rows: usize,
    /// How many bytes a row may lack; 0: exact.
    pub(super) lacking: u64,
}

impl<K: Clone + Eq + Hash + Ord> Top<K> {
    pub(super) fn new(room: usize) -> Self {
        Self {
            room,
            rows: HashMap::new(),
            several: Volume::default(),
            gone: Volume::default(),
            gone_rows: 0,
            lacking: 0,
        }
    }

    /// `None`: of several rows together.
    pub(super) fn add<Q>(&mut self, key: Option<&Q>, volume: Volume)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        let Some(key) = key else {
            return self.several.add(volume);
        };
        if let Some(row) = self.rows.get_mut(key) {
            return row.add(volume);
        }
        self.rows.insert(key.to_owned(), volume);
        if self.rows.len() > 2 * self.room {
            self.let_go();
        }
    }

    fn let_go(&mut self) {
        let mut rows: Vec<_> = self.rows.drain().collect();
        rows.sort_unstable_by(order);
        let gone = rows.split_off(self.room.min(rows.len()));
        self.rows.extend(rows);
        let largest = gone.first().map_or(0, |(_, volume)| volume.bytes);
        self.lacking = self.lacking.saturating_add(largest);
        self.gone_rows += gone.len() as u64;
        for (_, volume) in gone {
            self.gone.add(volume);
        }
    }

    /// The `count` largest.
    pub(super) fn largest(&self, count: usize) -> Ranking<K> {
        let mut rows: Vec<_> = self.rows.iter().map(|(key, row)| (key.clone(), *row)).collect();
        rows.sort_unstable_by(order);
        let cut = rows.split_off(count.min(rows.len()));
        let mut others = self.gone;
        for (_, volume) in &cut {
            others.add(*volume);
        }
        Ranking {
            rows,
            other_rows: self.gone_rows + cut.len() as u64,
            others,
            several: self.several,
            exact_rows: 2 * self.room,
            lacking: self.lacking,
        }
    }
}

fn order<K: Ord>(one: &(K, Volume), other: &(K, Volume)) -> std::cmp::Ordering {
    (Reverse(one.1.bytes), &one.0).cmp(&(Reverse(other.1.bytes), &other.0))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn bytes(bytes: u64) -> Volume {
        Volume {
            records: 1,
            bytes,
            packets: 2,
        }
    }

    proptest! {
        #[test]
        fn nothing_is_missing_in_the_sum_and_no_row_lacks_more_than_is_said(
            items in vec((proptest::option::weighted(0.9, 0_u8..60), 0_u64..1000), 0..600),
            room in 1_usize..40,
            count in 0_usize..50,
        ) {
            let mut top = Top::<u8>::new(room);
            let mut exact = HashMap::<u8, u64>::new();
            for (key, size) in &items {
                top.add(key.as_ref(), bytes(*size));
                if let Some(key) = key {
                    *exact.entry(*key).or_default() += size;
                }
            }
            prop_assert!(top.rows.len() <= 2 * room);
            let ranking = top.largest(count);
            let mut sum = ranking.others;
            sum.add(ranking.several);
            for (key, row) in &ranking.rows {
                sum.add(*row);
                let missing = exact[key].checked_sub(row.bytes);
                prop_assert!(missing.is_some_and(|missing| missing <= ranking.lacking));
            }
            let all: u64 = items.iter().map(|(_, size)| size).sum();
            prop_assert_eq!(sum, Volume { records: items.len() as u64, bytes: all, packets: 2 * items.len() as u64 });
            prop_assert!(ranking.rows.is_sorted_by_key(|(key, row)| (Reverse(row.bytes), *key)));
            if exact.len() <= 2 * room {
                prop_assert_eq!(ranking.lacking, 0);
            }
        }
    }
}
