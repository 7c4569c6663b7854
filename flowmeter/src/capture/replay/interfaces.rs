//! The names of observation points, and their numbers.

use std::collections::HashMap;

use indexmap::IndexSet;

use crate::flow::{Batch, Slice};

/// As many names are told apart; what comes after them has one in common, so that no file takes all memory.
const MOST_NAMES: usize = 65_536;
const OTHERS: &str = "others";

/// The observation points of a replay. The same name in two files is the same interface.
#[derive(Debug, Default)]
pub struct Interfaces {
    names: IndexSet<String>,
}

impl Interfaces {
    /// The index that stands in flow keys, from 1 on.
    pub fn ifindex(&mut self, name: &str) -> u32 {
        let index = self.names.get_index_of(name).unwrap_or_else(|| {
            let full = self.names.len() >= MOST_NAMES;
            self.names
                .insert_full(if full { OTHERS } else { name }.to_owned())
                .0
        });
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

    /// Gives what an interval holds these numbers, in place of those of `met`: new ones in the order of their
    /// names, so that it does not matter what was met first.
    pub(super) fn settle(&mut self, met: &Self, batch: &mut Batch, slices: &mut [Slice]) {
        let mut names: Vec<_> = batch
            .interfaces
            .iter()
            .map(|interface| (met.name(interface.ifindex), interface.ifindex))
            .collect();
        names.sort_unstable();
        let numbers: HashMap<u32, u32> = names
            .into_iter()
            .map(|(name, number)| (number, self.ifindex(name)))
            .collect();
        if numbers.iter().all(|(met, number)| met == number) {
            return;
        }
        let settled = |number: &mut u32| *number = numbers.get(number).copied().unwrap_or(*number);
        batch
            .interfaces
            .iter_mut()
            .for_each(|interface| settled(&mut interface.ifindex));
        batch
            .interfaces
            .sort_unstable_by_key(|interface| interface.ifindex);
        batch
            .records
            .iter_mut()
            .for_each(|record| settled(&mut record.key.ifindex));
        slices.iter_mut().for_each(|slice| settled(&mut slice.ifindex));
    }
}
