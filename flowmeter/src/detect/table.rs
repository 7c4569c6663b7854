//! Bounded tables: who has to go when there is no more room does not depend on hashing.

use std::{
    hash::{BuildHasher as _, Hash},
    hint::black_box,
    net::IpAddr,
};

use hashbrown::{DefaultHashBuilder, HashTable};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a table keeps longest.
pub(super) trait Entry {
    /// The lowest goes first; of the same, the one that was seen longest ago, then the one with the lowest key.
    fn suspicion(&self) -> u32;
    /// When it was last touched, nanoseconds since the Unix epoch.
    fn last_ns(&self) -> u64;
}

/// What entries are found by, and how that is kept.
pub(super) trait Key: Copy {
    type Packed: Copy + Ord + Hash;

    fn packed(self) -> Self::Packed;
}

/// An address as two words, IPv4 as the mapped one (RFC 4291 section 2.5.5.2): hashed and compared at once, where
/// `IpAddr` goes by its kind and its octets.
pub(super) type Host = (u64, u64);

impl Key for IpAddr {
    type Packed = Host;

    #[expect(clippy::cast_possible_truncation, reason = "both halves are kept")]
    fn packed(self) -> Host {
        match self {
            Self::V4(ip) => (0, 0xffff_0000_0000 | u64::from(ip.to_bits())),
            Self::V6(ip) => ((ip.to_bits() >> 64) as u64, ip.to_bits() as u64),
        }
    }
}

macro_rules! packed_by_parts {
    ($(($($part:ident: $kind:ty),+);)+) => {$(
        impl Key for ($($kind),+) {
            type Packed = ($(<$kind as Key>::Packed),+);

            fn packed(self) -> Self::Packed {
                let ($($part),+) = self;
                ($($part.packed()),+)
            }
        }
    )+};
}

macro_rules! packed_as_it_is {
    ($($kind:ty),+) => {$(
        impl Key for $kind {
            type Packed = Self;

            fn packed(self) -> Self {
                self
            }
        }
    )+};
}

packed_as_it_is!(bool, u8, u16, u32, u64, super::episode::Subject);
packed_by_parts! {
    (a: IpAddr, b: bool);
    (a: IpAddr, b: u64);
    (a: IpAddr, b: IpAddr);
    (a: IpAddr, b: IpAddr, c: u16);
    (a: IpAddr, b: IpAddr, c: u16, d: u8);
    (a: IpAddr, b: u16, c: u8);
    (a: u16, b: u8);
}

/// Where an entry lies, most likely.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hint(u32);

/// Nowhere.
impl Default for Hint {
    fn default() -> Self {
        Self(u32::MAX)
    }
}

/// What the index takes for an entry: four bytes and one of control, seven of eight buckets in use, and a power of two of
/// them, which is just after it has doubled more than twice as many as are needed.
const INDEX_BYTES: usize = 12;

/// A map with room for a number of entries that memory gives it.
///
/// When it is full an eighth is evicted at once: one pass for many insertions. Entries lie one after another, in no
/// order: their room grows as they come, and to go through all is to read memory from end to end.
#[derive(Clone, Debug)]
pub(super) struct Table<K: Key, V> {
    entries: Vec<(K::Packed, V)>,
    /// Where each lies, by its key.
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    capacity: usize,
    evicted: u64,
}

impl<K: Key, V> Table<K, V> {
    fn with_capacity(capacity: usize) -> Self {
        Self {
            entries: Vec::new(),
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            // Places are numbers of 32 bits.
            capacity: capacity.clamp(64, 1 << 31),
            evicted: 0,
        }
    }

    fn find(&self, key: &K::Packed) -> Option<usize> {
        self.find_hashed(self.hasher.hash_one(key), key)
    }

    fn find_hashed(&self, hash: u64, key: &K::Packed) -> Option<usize> {
        let held = |place: &u32| {
            self.entries
                .get(*place as usize)
                .is_some_and(|(held, _)| held == key)
        };
        self.index.find(hash, held).map(|place| *place as usize)
    }

    /// Adds what is not there yet.
    fn insert(&mut self, hash: u64, key: K::Packed, value: V) -> usize {
        let place = self.entries.len();
        if place == self.entries.capacity() {
            // By half, but not beyond what there may be.
            let more = (place / 2).max(64);
            self.entries
                .reserve_exact(more.min(self.capacity.saturating_sub(place)).max(1));
        }
        self.entries.push((key, value));
        let Self { entries, hasher, .. } = self;
        let again = |place: &u32| {
            entries
                .get(*place as usize)
                .map_or(0, |(key, _)| hasher.hash_one(key))
        };
        self.index
            .insert_unique(hash, u32::try_from(place).unwrap_or(u32::MAX), again);
        place
    }

    /// Takes an entry out; the last one moves into its place.
    fn take(&mut self, place: usize) -> V {
        self.relocate(place, None);
        let last = self.entries.len() - 1;
        if place != last {
            self.relocate(last, Some(place));
        }
        self.entries.swap_remove(place).1
    }

    /// Lets the index know that the entry at `from` goes, or where to.
    fn relocate(&mut self, from: usize, to: Option<usize>) {
        let Some((key, _)) = self.entries.get(from) else {
            return;
        };
        let here = |place: &u32| *place as usize == from;
        if let Ok(mut found) = self.index.find_entry(self.hasher.hash_one(key), here) {
            match to {
                Some(to) => *found.get_mut() = u32::try_from(to).unwrap_or(u32::MAX),
                None => drop(found.remove()),
            }
        }
    }
}

impl<K: Key, V: Entry> Table<K, V> {
    /// What an entry takes that has nothing on the heap besides.
    pub(super) const ENTRY_BYTES: usize = size_of::<(K::Packed, V)>() + INDEX_BYTES;

    /// `heap_bytes`: what an entry has on the heap besides.
    pub(super) fn with_bytes(bytes: u64, heap_bytes: usize) -> Self {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        Self::with_capacity(bytes / (Self::ENTRY_BYTES + heap_bytes))
    }

    /// Takes over what another table (of an older configuration, a snapshot) held, as far as there is room.
    pub(super) fn adopt(&mut self, other: Self) {
        *self = Self {
            capacity: self.capacity,
            ..other
        };
        while self.len() > self.capacity {
            self.evict();
        }
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        let place = self.find(&key.packed())?;
        self.entries.get(place).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = self.find(&key.packed())?;
        self.entries.get_mut(place).map(|(_, value)| value)
    }

    /// Where an entry lies, most likely: what the index alone tells, without a look at entries.
    pub(super) fn hint(&self, key: &K) -> Hint {
        let place = self.index.find(self.hasher.hash_one(key.packed()), |_| true);
        place.map_or_else(Hint::default, |place| Hint(*place))
    }

    /// Reads what lies there for nothing but to have it in the cache when it is asked for. `read` is what else than its
    /// key.
    pub(super) fn touch<T>(&self, hint: Hint, read: impl FnOnce(&V) -> T) {
        black_box(
            self.entries
                .get(hint.0 as usize)
                .map(|(key, value)| (*key, read(value))),
        );
    }

    /// Reads what is asked for by a key, so that it, or that it is not there, is in the cache by then.
    pub(super) fn touch_key(&self, key: &K) {
        self.touch(self.hint(key), V::last_ns);
    }

    /// As [`Table::get_mut`], from where it lies most likely.
    pub(super) fn get_mut_at(&mut self, hint: Hint, key: &K) -> Option<&mut V> {
        let packed = key.packed();
        let place = self.at(hint, &packed).or_else(|| self.find(&packed))?;
        self.entries.get_mut(place).map(|(_, value)| value)
    }

    fn at(&self, hint: Hint, key: &K::Packed) -> Option<usize> {
        let place = hint.0 as usize;
        self.entries
            .get(place)
            .is_some_and(|(held, _)| held == key)
            .then_some(place)
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.find(&key.packed()).is_some()
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.find(&key.packed())?;
        Some(self.take(place))
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// True if the next new entry would cost another its place, or soon will.
    pub(super) fn crowded(&self) -> bool {
        self.len() >= self.capacity / 4 * 3
    }

    pub(super) fn entry(&mut self, key: K, new: impl FnOnce() -> V) -> &mut V {
        self.entry_at(Hint::default(), key, new)
    }

    /// As [`Table::entry`], from where it lies most likely.
    #[expect(clippy::indexing_slicing, reason = "a place that was found or made is one")]
    pub(super) fn entry_at(&mut self, hint: Hint, key: K, new: impl FnOnce() -> V) -> &mut V {
        let key = key.packed();
        let place = match self.at(hint, &key) {
            Some(place) => place,
            None => {
                let hash = self.hasher.hash_one(key);
                self.find_hashed(hash, &key).unwrap_or_else(|| {
                    if self.len() >= self.capacity {
                        self.evict();
                    }
                    self.insert(hash, key, new())
                })
            }
        };
        &mut self.entries[place].1
    }

    /// Drops what does not hold any more.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&mut V) -> bool) {
        // From the end: what moves into a place has been looked at.
        for place in (0..self.len()).rev() {
            if self.entries.get_mut(place).is_some_and(|(_, value)| !keep(value)) {
                self.take(place);
            }
        }
    }

    /// The keys of entries for which something holds, in order.
    pub(super) fn keys_where(&self, mut holds: impl FnMut(&K::Packed, &V) -> bool) -> Vec<K::Packed> {
        let mut keys: Vec<K::Packed> = self
            .entries
            .iter()
            .filter(|(key, value)| holds(key, value))
            .map(|(key, _)| *key)
            .collect();
        keys.sort_unstable();
        keys
    }

    /// Drops an eighth: by rank, and where ranks are the same by key.
    pub(super) fn evict(&mut self) {
        let going = (self.len() / 8).max(1).min(self.len());
        let Some(last) = going.checked_sub(1) else {
            return;
        };
        let mut ranks: Vec<(u32, u32, u64)> = (0..)
            .zip(&self.entries)
            .map(|(place, (_, value))| (value.suspicion(), place, value.last_ns()))
            .collect();
        let key = |place: u32| self.entries.get(place as usize).map(|(key, _)| key);
        ranks.select_nth_unstable_by(last, |(suspicion, place, last_ns), (than, other, other_ns)| {
            (suspicion, last_ns)
                .cmp(&(than, other_ns))
                .then_with(|| key(*place).cmp(&key(*other)))
        });
        let mut places: Vec<u32> = ranks.iter().take(going).map(|(_, place, _)| *place).collect();
        // From the end: what moves into a place stays.
        places.sort_unstable();
        for place in places.into_iter().rev() {
            self.take(place as usize);
        }
        self.evicted += going as u64;
    }
}

/// A snapshot holds entries in the order of their keys, so that the same state is the same bytes.
impl<K: Key<Packed: Serialize>, V: Serialize> Serialize for Table<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entries: Vec<&(K::Packed, V)> = self.entries.iter().collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        (self.evicted, entries).serialize(serializer)
    }
}

/// Read without bounds; [`Table::adopt`] puts it where they hold.
impl<'de, K, V> Deserialize<'de> for Table<K, V>
where
    K: Key<Packed: Deserialize<'de>>,
    V: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (evicted, entries) = <(u64, Vec<(K::Packed, V)>)>::deserialize(deserializer)?;
        let mut table = Self::with_capacity(usize::MAX);
        table.evicted = evicted;
        for (key, value) in entries {
            let hash = table.hasher.hash_one(key);
            if table.find_hashed(hash, &key).is_none() {
                table.insert(hash, key, value);
            }
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl Entry for (u32, u64) {
        fn suspicion(&self) -> u32 {
            self.0
        }
        fn last_ns(&self) -> u64 {
            self.1
        }
    }

    #[test]
    fn the_least_suspicious_then_the_oldest_then_the_lowest_goes() {
        let mut table: Table<u32, (u32, u64)> = Table::with_bytes(0, 0);
        assert_eq!(table.capacity(), 64);
        for key in 0..64 {
            table.entry(key, || (u32::from(key >= 60), u64::from(key / 2)));
        }
        table.entry(1000, || (0, 0));
        assert_eq!(table.evicted(), 8);
        assert_eq!(table.keys_where(|key, _| *key < 10), [8, 9]);
        assert!(table.contains(&60) && table.contains(&1000));
    }

    #[test]
    fn what_is_evicted_is_the_same_whatever_the_order_of_insertion() {
        let fill = |keys: &mut dyn Iterator<Item = u32>| {
            let mut table: Table<u32, (u32, u64)> = Table::with_bytes(0, 0);
            for key in keys {
                table.entry(key, || (key % 5, u64::from(key % 7)));
            }
            table.entry(5000, || (9, 9));
            table.keys_where(|_, _| true)
        };
        assert_eq!(fill(&mut (0..64)), fill(&mut (0..64).rev()));
    }

    /// What a map of the standard library would do.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Enter(u8),
        Remove(u8),
        /// Keeps the multiples of this.
        Retain(u8),
        Find(u8),
    }

    proptest! {
        #[test]
        fn entries_are_found_wherever_they_have_moved(steps in prop::collection::vec(
            prop_oneof![
                6 => any::<u8>().prop_map(|key| Step::Enter(key % 60)),
                3 => any::<u8>().prop_map(|key| Step::Remove(key % 60)),
                1 => (2..5_u8).prop_map(Step::Retain),
                2 => any::<u8>().prop_map(|key| Step::Find(key % 60)),
            ],
            0..400,
        )) {
            let mut table: Table<u8, (u32, u64)> = Table::with_bytes(0, 0);
            let mut model: BTreeMap<u8, (u32, u64)> = BTreeMap::new();
            let mut hints: BTreeMap<u8, Hint> = BTreeMap::new();
            for (step, number) in steps.into_iter().zip(0..) {
                match step {
                    Step::Enter(key) => {
                        let (held, expected) = (
                            table.entry_at(hints.get(&key).copied().unwrap_or_default(), key, || (number, 0)),
                            model.entry(key).or_insert((number, 0)),
                        );
                        held.1 += 1;
                        expected.1 += 1;
                        prop_assert_eq!(held, expected);
                        hints.insert(key, table.hint(&key));
                    }
                    Step::Remove(key) => prop_assert_eq!(table.remove(&key), model.remove(&key)),
                    Step::Retain(factor) => {
                        let keep = |value: &(u32, u64)| value.0.is_multiple_of(u32::from(factor));
                        table.retain(|value| keep(value));
                        model.retain(|_, value| keep(value));
                    }
                    Step::Find(key) => {
                        prop_assert_eq!(table.get(&key), model.get(&key));
                        let hint = hints.get(&key).copied().unwrap_or_default();
                        prop_assert_eq!(table.get_mut_at(hint, &key), model.get_mut(&key));
                    }
                }
                prop_assert_eq!(table.len(), model.len());
            }
            let all: Vec<u8> = table.keys_where(|_, _| true);
            prop_assert_eq!(all, model.into_keys().collect::<Vec<_>>());
        }
    }
}
