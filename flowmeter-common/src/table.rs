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
    /// Slots of its page that a flow may stand in, one after the other. Where all of them are taken it goes to a hash map.
    pub const WAYS: u32 = 6;
}

/// Slots that fill a page of 4 KiB. Both directions of a connection have theirs in the same one: the processor looks up one
/// address for both, and the agent reads them shortly after each other.
pub type FlowPage = [FlowSlot; 32];

const _: () = assert!(size_of::<FlowPage>() == 4096);

/// What each of the two generations of the flow table has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSize {
    /// Flows that find room, whichever they are: a quarter more than were asked for, so that a burst finds room while the
    /// table is drained early. How many more do depends on their hashes.
    pub flows: u32,
    /// A multiple of 16: a generation starts at a page of the machine, which has up to 64 KiB.
    pub pages: u32,
    /// Entries of the hash map for flows whose slots are all taken.
    pub overflow: u32,
}

impl TableSize {
    /// For `flows`, up to 2^24.
    ///
    /// With half as many slots again as flows and six ways, 5 % of the flows overflow when as many are there as were
    /// asked for, and 10 % of these when there are a quarter more (simulated with random hashes). More slots would
    /// make packets cheaper, but take more memory than the overflow.
    pub const fn of(flows: u32) -> Self {
        Self {
            flows: flows + flows / 4,
            pages: (flows + flows / 2).div_ceil(32).next_multiple_of(16),
            overflow: flows / 7 + 256,
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    /// Random numbers from a fixed start (xorshift).
    fn random() -> impl Iterator<Item = u64> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        core::iter::repeat_with(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 16) & 0xffff_ffff
        })
    }

    #[test]
    fn a_quarter_more_flows_than_asked_for_find_room() {
        for asked in [1024, 1500, 10_000, 65_536, 1_000_000] {
            let size = TableSize::of(asked);
            let mut pages = std::vec![0_u32; size.pages as usize];
            let mut overflow = 0;
            let mut random = random();
            let mut next = || random.next().unwrap();
            for _connection in 0..size.flows.div_ceil(2) {
                let page = &mut pages[((next() * u64::from(size.pages)) >> 32) as usize];
                for _direction in 0..2 {
                    let first = u32::try_from(next()).unwrap();
                    let free = |bit: &u32| *page & (1 << bit) == 0;
                    match (0..FlowSlot::WAYS)
                        .map(|way| first.wrapping_add(way) % 32)
                        .find(free)
                    {
                        Some(bit) => *page |= 1 << bit,
                        None => overflow += 1,
                    }
                }
            }
            assert!(overflow <= size.overflow, "{asked}: {overflow} of {size:?}");
            assert!(overflow > 0, "{asked}: more slots than are needed");
        }
    }
}
