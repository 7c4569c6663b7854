//! The flow table: slots in memory that the kernel programs and the agent share, and how many there are.

use bytemuck::{Pod, Zeroable};

use crate::{FlowCounters, FlowKey};

/// One flow in the table: a cache line that packets only read, and one that each of them writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(128))]
pub struct FlowSlot {
    /// [`FlowSlot::FREE`], [`FlowSlot::BUSY`], or a part of the key's hash.
    pub tag: u32,
    pub reserved: u32,
    pub key: FlowKey,
    pub reserved_too: u64,
    pub counters: FlowCounters,
}

impl FlowSlot {
    pub const FREE: u32 = 0;
    /// Being written by the CPU that was first.
    pub const BUSY: u32 = 1;
    /// Slots that a key may stand in, one after the other. Where all of them are taken it goes to a hash map.
    pub const WAYS: u32 = 6;
}

const _: () = assert!(size_of::<FlowSlot>() == 128);

/// What each of the two generations of the flow table has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSize {
    /// Flows that find room, whichever they are: a quarter more than were asked for, so that a burst finds room while the
    /// table is drained early. How many more do depends on their hashes.
    pub flows: u32,
    /// A multiple of [`TableSize::SLOTS`].
    pub slots: u32,
    /// Entries of the hash map for flows whose slots are all taken.
    pub overflow: u32,
}

impl TableSize {
    /// So that a generation starts at a page (of up to 64 KiB), and its bits at a word.
    pub const SLOTS: u32 = 512;

    /// For `flows`, up to 2^24.
    ///
    /// With half as many slots again as flows and six ways, 3.6 % of the flows overflow when as many are there as were
    /// asked for, and 10 % of these when there are a quarter more (simulated with random hashes; fewer ways or slots
    /// need more of the overflow, which costs more memory a flow than slots do).
    pub const fn of(flows: u32) -> Self {
        Self {
            flows: flows + flows / 4,
            slots: (flows + flows / 2).next_multiple_of(Self::SLOTS),
            overflow: flows / 8 + 256,
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    /// Hashes as good as random, from a fixed start.
    fn hashes() -> impl Iterator<Item = u64> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        core::iter::repeat_with(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state >> 16 & 0xffff_ffff
        })
    }

    #[test]
    fn a_quarter_more_flows_than_asked_for_find_room() {
        for asked in [1024, 1500, 10_000, 65_536, 1_000_000] {
            let size = TableSize::of(asked);
            let starts = u64::from(size.slots - FlowSlot::WAYS + 1);
            let mut taken = std::vec![false; size.slots as usize];
            let mut overflow = 0;
            for hash in hashes().take(size.flows as usize) {
                let start = (hash * starts >> 32) as usize;
                let free = (start..start + FlowSlot::WAYS as usize).find(|slot| !taken[*slot]);
                match free {
                    Some(slot) => taken[slot] = true,
                    None => overflow += 1,
                }
            }
            assert!(overflow <= size.overflow, "{asked}: {overflow} of {size:?}");
            assert!(overflow > 0, "{asked}: more slots than are needed");
        }
    }
}
