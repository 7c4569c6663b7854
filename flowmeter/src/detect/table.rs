//! Bounded tables: who has to go when there is no more room does not depend on hashing.

use std::{cmp::Ordering, hash::Hash, hint::black_box, net::IpAddr};

use hashbrown::HashMap;
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
    (a: IpAddr, b: IpAddr);
    (a: IpAddr, b: IpAddr, c: u16);
    (a: IpAddr, b: IpAddr, c: u16, d: u8);
    (a: IpAddr, b: u16, c: u8);
    (a: u16, b: u8);
}

/// A map with room for a number of entries that memory gives it.
///
/// When it is full an eighth is evicted at once: one pass for many insertions.
#[derive(Clone, Debug)]
pub(super) struct Table<K: Key, V> {
    map: HashMap<K::Packed, V>,
    capacity: usize,
    evicted: u64,
}

impl<K: Key, V: Entry> Table<K, V> {
    /// `heap_bytes`: what an entry has on the heap besides.
    pub(super) fn with_bytes(bytes: u64, heap_bytes: usize) -> Self {
        // hashbrown: one control byte a bucket, seven of eight buckets in use, a power of two of them.
        let entry = (size_of::<(K::Packed, V)>() + 1) * 8 / 7 + heap_bytes;
        let capacity = usize::try_from(bytes).unwrap_or(usize::MAX) / entry.max(1);
        Self {
            map: HashMap::new(),
            capacity: capacity.max(64),
            evicted: 0,
        }
    }

    /// Takes over what another table (of an older configuration, a snapshot) held, as far as there is room.
    pub(super) fn adopt(&mut self, other: Self) {
        self.evicted = other.evicted;
        self.map = other.map;
        while self.map.len() > self.capacity {
            self.evict();
        }
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.map.get(&key.packed())
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.map.get_mut(&key.packed())
    }

    /// Reads an entry for nothing but to have it in the cache when it is asked for.
    pub(super) fn touch(&self, key: &K) {
        black_box(self.get(key).map(V::last_ns));
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.map.contains_key(&key.packed())
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        self.map.remove(&key.packed())
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// True if the next new entry would cost another its place, or soon will.
    pub(super) fn crowded(&self) -> bool {
        self.map.len() >= self.capacity / 4 * 3
    }

    pub(super) fn entry(&mut self, key: K, new: impl FnOnce() -> V) -> &mut V {
        let key = key.packed();
        if self.map.len() >= self.capacity && !self.map.contains_key(&key) {
            self.evict();
        }
        self.map.entry(key).or_insert_with(new)
    }

    /// Drops what does not hold any more.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&mut V) -> bool) {
        self.map.retain(|_, value| keep(value));
    }

    /// The keys of entries for which something holds, in order.
    pub(super) fn keys_where(&self, mut holds: impl FnMut(&K::Packed, &V) -> bool) -> Vec<K::Packed> {
        let mut keys: Vec<K::Packed> = self
            .map
            .iter()
            .filter(|(key, value)| holds(key, value))
            .map(|(key, _)| *key)
            .collect();
        keys.sort_unstable();
        keys
    }

    /// Drops an eighth: by rank, and where ranks are the same by key.
    fn evict(&mut self) {
        let going = (self.map.len() / 8).max(1).min(self.map.len());
        let Some(last) = going.checked_sub(1) else {
            return;
        };
        let rank = |value: &V| (value.suspicion(), value.last_ns());
        let ranks: Vec<(u32, u64)> = self.map.values().map(rank).collect();
        let (lower, limit) = {
            let mut ranks = ranks.clone();
            let (lower, &mut limit, _) = ranks.select_nth_unstable(last);
            (lower.iter().filter(|rank| **rank < limit).count(), limit)
        };
        let mut draws: Vec<K::Packed> = Vec::new();
        // In the same order as before: what stays is not looked at again.
        let mut ranks = ranks.into_iter();
        self.map.retain(
            |key, _| match ranks.next().map_or(Ordering::Greater, |rank| rank.cmp(&limit)) {
                Ordering::Less => false,
                Ordering::Equal => {
                    draws.push(*key);
                    true
                }
                Ordering::Greater => true,
            },
        );
        let mut drawn = going - lower;
        if drawn < draws.len() {
            draws.select_nth_unstable(drawn);
        } else {
            drawn = draws.len();
        }
        for key in draws.iter().take(drawn) {
            self.map.remove(key);
        }
        self.evicted += going as u64;
    }
}

/// A snapshot holds entries in the order of their keys, so that the same state is the same bytes.
impl<K: Key<Packed: Serialize>, V: Serialize> Serialize for Table<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entries: Vec<(&K::Packed, &V)> = self.map.iter().collect();
        entries.sort_unstable_by_key(|(key, _)| **key);
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
        Ok(Self {
            capacity: usize::MAX,
            map: entries.into_iter().collect(),
            evicted,
        })
    }
}

#[cfg(test)]
mod tests {
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
}
