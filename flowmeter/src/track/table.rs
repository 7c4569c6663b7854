//! Where connections live: slots that are reused, found by key.

use std::hash::{BuildHasher, Hasher};

use bytemuck::bytes_of;
use flowmeter_common::FlowKey;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::{
    connection::Connection,
    queue::{Queue, Queues},
};

/// The connections, each in a slot whose number stays the same while it lives.
///
/// Nothing that leaves the tracker depends on the hash, so its seed may be random.
#[derive(Debug)]
pub(super) struct Table {
    connections: Vec<Connection>,
    free: Vec<u32>,
    by_key: HashTable<u32>,
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
    pub(super) fn hash(&self, key: &FlowKey) -> u64 {
        hash(&self.hasher, key)
    }

    pub(super) fn find(&self, hash: u64, key: &FlowKey) -> Option<u32> {
        self.by_key
            .find(hash, |&slot| connection(&self.connections, slot).key == *key)
            .copied()
    }

    /// Adds a connection in no queue. Its key must not be in the table.
    pub(super) fn insert(&mut self, hash: u64, new: Connection) -> u32 {
        let slot = if let Some(slot) = self.free.pop() {
            *self.get_mut(slot) = new;
            slot
        } else {
            let slot = u32::try_from(self.connections.len()).unwrap_or(u32::MAX);
            self.connections.push(new);
            self.queues.add_slot();
            slot
        };
        let Self {
            connections,
            by_key,
            hasher,
            ..
        } = self;
        by_key.insert_unique(hash, slot, |&slot| {
            self::hash(hasher, &connection(connections, slot).key)
        });
        slot
    }

    /// Frees a slot that is in no queue.
    pub(super) fn remove(&mut self, slot: u32) {
        let hash = self.hash(&self.get(slot).key);
        if let Ok(found) = self.by_key.find_entry(hash, |&other| other == slot) {
            found.remove();
            self.free.push(slot);
        }
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

fn hash(hasher: &DefaultHashBuilder, key: &FlowKey) -> u64 {
    // One write of all 48 bytes; the derived Hash makes one for each field and array length.
    let mut state = hasher.build_hasher();
    state.write(bytes_of(key));
    state.finish()
}
