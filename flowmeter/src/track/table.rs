//! Where connections live: slots that are reused, found by key.

use std::{
    hash::{BuildHasher, Hasher},
    hint::black_box,
};

use bytemuck::bytes_of;
use flowmeter_common::FlowKey;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::{
    connection::Connection,
    queue::{Queue, Queues},
};

/// What is found by key. With the hash in it neither growing nor looking past a stranger reads connections.
#[derive(Clone, Copy, Debug)]
struct Place {
    slot: u32,
    hash: KeyHash,
}

/// A key's hash in as much room as a slot has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyHash(u32);

impl KeyHash {
    /// Spread over all bits: the table takes its position from the low ones and a tag from the high ones.
    const fn spread(self) -> u64 {
        (self.0 as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// The connections, each in a slot whose number stays the same while it lives.
///
/// Nothing that leaves the tracker depends on the hash, so its seed may be random.
#[derive(Debug)]
pub(super) struct Table {
    connections: Vec<Connection>,
    free: Vec<u32>,
    by_key: HashTable<Place>,
    hasher: DefaultHashBuilder,
    pub(super) queues: Queues,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            connections: Vec::new(),
            free: Vec::new(),
            by_key: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            queues: Queues::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// To be handed to [`Table::find`] and [`Table::insert`] with the same key.
    pub(super) fn hash(&self, key: &FlowKey) -> KeyHash {
        // One write of all 48 bytes; the derived Hash makes one for each field and array length.
        let mut state = self.hasher.build_hasher();
        state.write(bytes_of(key));
        let [high, low] = [state.finish() >> 32, state.finish() & 0xffff_ffff];
        KeyHash(u32::try_from(high ^ low).unwrap_or(0))
    }

    pub(super) fn find(&self, hash: KeyHash, key: &FlowKey) -> Option<u32> {
        self.by_key
            .find(hash.spread(), |place| {
                place.hash == hash && connection(&self.connections, place.slot).key == *key
            })
            .map(|place| place.slot)
    }

    /// Adds a connection in no queue. Its key must not be in the table.
    pub(super) fn insert(&mut self, hash: KeyHash, new: Connection) -> u32 {
        let slot = if let Some(slot) = self.free.pop() {
            *self.get_mut(slot) = new;
            slot
        } else {
            let slot = u32::try_from(self.connections.len()).unwrap_or(u32::MAX);
            self.connections.push(new);
            self.queues.add_slot();
            slot
        };
        self.by_key
            .insert_unique(hash.spread(), Place { slot, hash }, |place| place.hash.spread());
        slot
    }

    /// Frees a slot that is in no queue.
    pub(super) fn remove(&mut self, slot: u32) {
        let hash = self.get(slot).hash;
        if let Ok(found) = self.by_key.find_entry(hash.spread(), |place| place.slot == slot) {
            found.remove();
            self.get_mut(slot).live = false;
            self.free.push(slot);
        }
    }

    /// Reads what removing a connection and those behind it in its queue will ask for, so that these waits overlap.
    pub(super) fn touch(&self, slot: u32, count: usize) {
        let queue = std::iter::successors(Some(slot), |slot| self.queues.after(*slot));
        for slot in queue.take(count) {
            let hash = self.get(slot).hash;
            black_box(self.by_key.find(hash.spread(), |place| place.slot == slot));
        }
    }

    /// False if the slot has been freed, or is another connection's by now.
    pub(super) fn holds(&self, slot: u32, key: &FlowKey) -> bool {
        let connection = self.get(slot);
        connection.live && connection.key == *key
    }

    pub(super) fn get(&self, slot: u32) -> &Connection {
        connection(&self.connections, slot)
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "slots come from insert alone and stay in range"
    )]
    pub(super) fn get_mut(&mut self, slot: u32) -> &mut Connection {
        &mut self.connections[slot as usize]
    }

    /// The connection that has been quiet the longest in a queue, with its slot.
    pub(super) fn front(&self, queue: Queue) -> Option<(u32, &Connection)> {
        let slot = self.queues.front(queue)?;
        Some((slot, self.get(slot)))
    }
}

#[expect(
    clippy::indexing_slicing,
    reason = "slots come from insert alone and stay in range"
)]
fn connection(connections: &[Connection], slot: u32) -> &Connection {
    &connections[slot as usize]
}
