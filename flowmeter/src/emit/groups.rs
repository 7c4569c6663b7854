//! Flows counted by what they have in common, for those that are merged.

use std::{
    hash::{BuildHasher as _, Hash},
    num::NonZeroU32,
};

use hashbrown::{DefaultHashBuilder, HashTable};

/// What has the same key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group<K> {
    pub(super) key: K,
    /// Those that have no line yet.
    pub(super) flows: u32,
    pub(super) line: Option<Line>,
}

/// Place among the lines of the interval, from 1.
pub(super) type Line = NonZeroU32;

/// Groups by key. Each has a number, in the order of their first flows. An index map would keep the hashes too: a third
/// more memory where a million flows have nothing in common.
#[derive(Debug)]
pub(super) struct Groups<K> {
    pub(super) groups: Vec<Group<K>>,
    numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl<K> Default for Groups<K> {
    fn default() -> Self {
        Self {
            groups: Vec::new(),
            numbers: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        }
    }
}

impl<K: Copy + Hash + Eq> Groups<K> {
    pub(super) fn clear(&mut self) {
        self.groups.clear();
        self.numbers.clear();
    }

    /// Adds a flow to the group of a key, and answers with its number.
    pub(super) fn add(&mut self, key: K) -> u32 {
        let Self {
            groups,
            numbers,
            hasher,
        } = self;
        let group = |number: u32| groups.get(number as usize);
        let number = *numbers
            .entry(
                hasher.hash_one(key),
                |number| group(*number).is_some_and(|group| group.key == key),
                |number| group(*number).map_or(0, |group| hasher.hash_one(group.key)),
            )
            // A flow takes more than a byte: there is no memory for so many.
            .or_insert_with(|| u32::try_from(groups.len()).unwrap_or(u32::MAX))
            .get();
        match groups.get_mut(number as usize) {
            Some(group) => group.flows += 1,
            None => groups.push(Group {
                key,
                flows: 1,
                line: None,
            }),
        }
        number
    }

    pub(super) fn key(&self, number: u32) -> Option<K> {
        self.groups.get(number as usize).map(|group| group.key)
    }

    pub(super) fn line(&self, number: u32) -> Option<Line> {
        self.groups.get(number as usize).and_then(|group| group.line)
    }

    /// Flows of a group that have found a line with another one.
    pub(super) fn take(&mut self, number: u32, flows: u32) {
        if let Some(group) = self.groups.get_mut(number as usize) {
            group.flows -= flows;
        }
    }

    /// The numbers of groups of `least` flows and more, and their flows.
    pub(super) fn list(&self, least: u32, numbers: &mut Vec<(u32, u32)>) {
        numbers.clear();
        let flows = (0..).zip(self.groups.iter().map(|group| group.flows));
        numbers.extend(flows.filter(|(_, flows)| *flows >= least));
    }

    /// Gives a line each to the largest `most` groups of two flows and more; of the same size, the first in `order`.
    pub(super) fn choose<O: Ord>(
        &mut self,
        most: usize,
        order: impl Fn(K) -> O,
        lines: &mut u32,
        numbers: &mut Vec<(u32, u32)>,
    ) {
        self.list(2, numbers);
        let before = |(a, flows): &(u32, u32), (b, others): &(u32, u32)| {
            let order = |number| self.key(number).map(&order);
            others.cmp(flows).then_with(|| order(*a).cmp(&order(*b)))
        };
        if most < numbers.len() {
            numbers.select_nth_unstable_by(most, before);
            numbers.truncate(most);
        }
        numbers.sort_unstable_by(before);
        self.give_lines(lines, numbers);
    }

    /// Gives a line each to groups, after the `lines` that there are.
    pub(super) fn give_lines(&mut self, lines: &mut u32, numbers: &[(u32, u32)]) {
        for (number, _) in numbers {
            if let Some(group) = self.groups.get_mut(*number as usize) {
                *lines += 1;
                group.line = NonZeroU32::new(*lines);
            }
        }
    }
}
