//! The flow table: where a flow's counters are. A packet of a known flow reads one cache line and writes its
//! neighbour; a hash map would have it read a bucket and an entry of three lines.
//!
//! Slots are only taken, never freed, while programs write a generation; the agent frees them all once it has read
//! them, after a grace period. Two CPUs that meet the first two packets of a flow at the same moment may both give it a slot:
//! then its counts stand in two parts, and whoever reads adds them up.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    maps::HashMap,
};
use flowmeter_common::{FlowCounters, FlowKey, FlowSlot};

use crate::{
    atomic::{claim_u32, or_u64, publish_u32},
    maps::{GENERATION_SLOTS, HASH, OVERFLOW_0, OVERFLOW_1, SLOTS, USED},
};

pub(crate) const EEXIST: i32 = -17;
pub(crate) const E2BIG: i32 = -7;

/// Where a key stands: its first slot (upper half), and the tag that marks the slot as its own. One word, since a function
/// of a BPF program takes five at most.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Place(u64);

impl Place {
    /// By a hash whose secrets are drawn when the programs are loaded, so that nobody outside can choose keys that meet:
    /// NH (RFC 4418 section 5.2.2), under which two keys meet with a probability of 2^-32 whatever they are, then a
    /// multiplication by a secret odd number, whose high bits are even for any input (Dietzfelbinger et al., "A
    /// reliable randomized algorithm for the closest-pair problem", 1997).
    #[inline(always)]
    pub(crate) fn of(generation: u32, key: &FlowKey) -> Self {
        let [secrets @ .., multiplier] = &HASH;
        let mut sum = 0_u64;
        for (word, secret) in words(key).iter().zip(secrets) {
            let secret = secret.load();
            let low = (*word as u32).wrapping_add(secret as u32);
            let high = ((*word >> 32) as u32).wrapping_add((secret >> 32) as u32);
            sum = sum.wrapping_add(u64::from(low) * u64::from(high));
        }
        let hash = (sum ^ sum >> 32).wrapping_mul(multiplier.load() | 1);
        let slots = GENERATION_SLOTS.load();
        let starts = u64::from(slots) - u64::from(FlowSlot::WAYS - 1);
        let first = u64::from(generation) * u64::from(slots) + ((hash >> 32) * starts >> 32);
        // The tag is neither free nor busy.
        Self(first << 32 | hash & 0xffff_ffff | 2)
    }

    #[inline(always)]
    fn slot(self, way: u32) -> u32 {
        (self.0 >> 32) as u32 + way
    }

    #[inline(always)]
    fn tag(self) -> u32 {
        self.0 as u32
    }
}

/// The counters of a key that is in the table.
#[inline(always)]
pub(crate) fn find(generation: u32, place: Place, key: &FlowKey) -> Option<*mut FlowCounters> {
    for way in 0..FlowSlot::WAYS {
        let slot = SLOTS.get_ptr_mut(place.slot(way))?;
        // SAFETY: a live map value; what a tag stands for was written before it.
        let tag = unsafe { core::ptr::read_volatile(&raw const (*slot).tag) };
        if tag == place.tag() && same(slot, key) {
            // SAFETY: a place in a live map value.
            return Some(unsafe { &raw mut (*slot).counters });
        }
        if tag == FlowSlot::FREE {
            return None;
        }
    }
    overflow(generation).get_ptr_mut(key)
}

/// Puts a key into the table that was not there.
///
/// # Errors
/// [`EEXIST`]: another CPU was first. [`E2BIG`]: the key's slots and the overflow are full. Others: as the kernel says.
#[inline(always)]
pub(crate) fn insert(generation: u32, place: Place, key: &FlowKey, first: &FlowCounters) -> Result<(), i32> {
    for way in 0..FlowSlot::WAYS {
        let index = place.slot(way);
        let Some(slot) = SLOTS.get_ptr_mut(index) else {
            break;
        };
        // SAFETY: a live map value, aligned.
        let tag = unsafe { claim_u32(&raw mut (*slot).tag, FlowSlot::FREE, FlowSlot::BUSY) };
        if tag == FlowSlot::FREE {
            // SAFETY: whoever changes the tag from free to busy owns the rest of the slot until it gives the tag.
            // Giving it is a full barrier: whoever sees the tag sees the rest.
            unsafe {
                (*slot).key = *key;
                (*slot).counters = *first;
                publish_u32(&raw mut (*slot).tag, place.tag());
            }
            if let Some(bits) = USED.get_ptr_mut(index / u64::BITS) {
                // SAFETY: a live map value, aligned.
                unsafe { or_u64(bits, 1 << (index % u64::BITS)) };
            }
            return Ok(());
        }
        if tag == place.tag() && same(slot, key) {
            return Err(EEXIST);
        }
        // What is busy may become this very key.
    }
    overflow(generation).insert(key, first, u64::from(BPF_NOEXIST))
}

#[inline(always)]
fn overflow(generation: u32) -> &'static HashMap<FlowKey, FlowCounters> {
    if generation == 0 { &OVERFLOW_0 } else { &OVERFLOW_1 }
}

#[inline(always)]
fn words(key: &FlowKey) -> &[u64; 6] {
    const _: () = assert!(size_of::<FlowKey>() == 48);
    // SAFETY: 48 bytes of plain data. They lie at a multiple of 8 in the slot and in the scratch value.
    unsafe { &*(&raw const *key).cast() }
}

#[inline(always)]
fn same(slot: *const FlowSlot, key: &FlowKey) -> bool {
    // SAFETY: a live map value whose key was given before its tag and does not change any more.
    let there = words(unsafe { &(*slot).key });
    there.iter().zip(words(key)).all(|(there, here)| there == here)
}
