//! The flow table (events call it the flow map): where a flow's counters are. A packet of a known flow reads one cache
//! line and writes its neighbour; a hash map would have it read a bucket and an entry of three lines.
//!
//! Slots are only taken, never freed, while programs write a generation; the agent frees them all once it has read
//! them, after a grace period. Two CPUs that meet the first two packets of a flow at the same moment may both give it
//! a slot: then its counts stand in two parts, and whoever reads adds them up.

use aya_ebpf::{bindings::BPF_NOEXIST, maps::HashMap};
use flowmeter_common::{FlowCounters, FlowKey, FlowPage, FlowSlot, KeyFlags};

use crate::{
    atomic::{claim_u32, or_u64, publish_u32},
    maps::{GENERATION_PAGES, HASH, OVERFLOW_0, OVERFLOW_1, PAGES, USED},
};

pub(crate) const EEXIST: i32 = -17;
pub(crate) const E2BIG: i32 = -7;

/// Where a key stands: its page (upper half), and the tag that marks its slot, whose highest bits say where in the page it
/// is looked for first. One word, since a function of a BPF program takes five at most.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Place(u64);

impl Place {
    /// By a hash whose secrets are drawn when the programs are loaded, so that nobody outside can choose keys that meet.
    /// It is made of NH (RFC 4418 section 5.2.2): of each end, again of the two halves of that, and of what is left;
    /// the sum of the three is the same for both directions and gives the page. The tag is of the source's end too.
    #[inline(always)]
    pub(crate) fn of(generation: u32, key: &FlowKey) -> Self {
        let [
            source_high,
            source_low,
            destination_high,
            destination_low,
            ports,
            interface,
        ] = *words(key);
        let source = end(source_high, source_low, ports & 0xffff);
        let destination = end(destination_high, destination_low, ports >> 16 & 0xffff);
        let rest = nh(ports >> 32 & !EGRESS, 3).wrapping_add(nh(interface, 4));
        let sum = source.wrapping_add(destination).wrapping_add(rest);
        // Multiplying by an odd number spreads the sum over the upper half (Knuth, TAOCP 3, 6.4).
        let hash = (sum ^ sum >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let pages = u64::from(GENERATION_PAGES.load());
        let page = u64::from(generation) * pages + (((hash >> 32) * pages) >> 32);
        // Neither free nor busy.
        let tag = (hash as u32 ^ source as u32) | 2;
        Self(page << 32 | u64::from(tag))
    }

    #[inline(always)]
    fn page(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline(always)]
    fn tag(self) -> u32 {
        self.0 as u32
    }

    #[inline(always)]
    fn index(self, way: u32) -> u32 {
        (self.tag() >> 27).wrapping_add(way) % SLOTS
    }
}

const SLOTS: u32 = size_of::<FlowPage>() as u32 / size_of::<FlowSlot>() as u32;

/// The bit of [`KeyFlags::EGRESS`] in what [`Place::of`] calls the rest: the directions of a connection differ in it.
const EGRESS: u64 = (KeyFlags::EGRESS as u64) << 8;

/// The sum of an address's words and a port under three secrets, and that under a fourth: without the second step, ends
/// whose addresses add up to the same would meet.
#[inline(always)]
fn end(high: u64, low: u64, port: u64) -> u64 {
    nh(nh(high, 0).wrapping_add(nh(low, 1)).wrapping_add(nh(port, 2)), 5)
}

/// One step of NH: both halves of a word, each with a secret added, multiplied.
#[inline(always)]
fn nh(word: u64, secret: usize) -> u64 {
    let secret = HASH[secret].load();
    let low = (word as u32).wrapping_add(secret as u32);
    let high = ((word >> 32) as u32).wrapping_add((secret >> 32) as u32);
    u64::from(low) * u64::from(high)
}

/// The counters of a key that is in the table.
#[inline(always)]
pub(crate) fn find(generation: u32, place: Place, key: &FlowKey) -> Option<*mut FlowCounters> {
    let page = PAGES.get_ptr_mut(place.page())?;
    for way in 0..FlowSlot::WAYS {
        let slot = slot(page, place.index(way));
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
    let (Some(page), Some(used)) = (PAGES.get_ptr_mut(place.page()), USED.get_ptr_mut(place.page())) else {
        return overflow(generation).insert(key, first, u64::from(BPF_NOEXIST));
    };
    for way in 0..FlowSlot::WAYS {
        let index = place.index(way);
        let slot = slot(page, index);
        // SAFETY: a live map value, aligned.
        let tag = unsafe { claim_u32(&raw mut (*slot).tag, FlowSlot::FREE, FlowSlot::BUSY) };
        if tag == FlowSlot::FREE {
            // SAFETY: whoever changes the tag from free to busy owns the rest of the slot until it gives the tag. Giving it
            // is a full barrier: whoever sees the tag sees the rest. The bit is of a live map value, aligned.
            unsafe {
                (*slot).key = *key;
                (*slot).counters = *first;
                publish_u32(&raw mut (*slot).tag, place.tag());
                or_u64(used, 1 << index);
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
fn slot(page: *mut FlowPage, index: u32) -> *mut FlowSlot {
    // SAFETY: within the page, of which `index` is a remainder.
    unsafe { page.cast::<FlowSlot>().add(index as usize) }
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
