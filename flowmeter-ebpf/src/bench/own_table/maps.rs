//! The agent's maps, with the two generations of the flow map as arrays that user space maps into its memory.

#[path = "../../maps.rs"]
#[expect(dead_code, reason = "its flow maps are the ones that are replaced")]
mod shipped;

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xchg};

use aya_ebpf::{
    Global,
    macros::map,
    maps::{Array, HashMap},
};
use flowmeter_common::{FlowCounters, FlowKey};

pub(crate) use shipped::{
    ALLOW, COARSE_CLOCK, DENY, FILL_NOTICE, FILTER, FILTER_MODE, GENERATION, INSERTED, INTERFACES, NOTICES,
    SAMPLING, SCRATCH, SPILL, TUNNELS_INNER,
};

/// Two neighbouring cache lines hold all that a packet touches.
#[derive(Clone, Copy)]
#[repr(C, align(128))]
pub(crate) struct Slot {
    /// [`FREE`], [`BUSY`], or a part of the hash.
    tag: u32,
    reserved: u32,
    key: FlowKey,
    counters: FlowCounters,
}

const FREE: u32 = 0;
/// Being written by the CPU that was first.
const BUSY: u32 = 1;
/// Slots that a key may stand in, one after the other.
const WAYS: u32 = 4;
const BPF_F_MMAPABLE: u32 = 1 << 10;
const EEXIST: i32 = -17;

#[map]
static SLOTS_0: Array<Slot> = Array::with_max_entries(1024, BPF_F_MMAPABLE);
#[map]
static SLOTS_1: Array<Slot> = Array::with_max_entries(1024, BPF_F_MMAPABLE);
/// Keys whose slots were all taken.
#[map]
static OVERFLOW_0: HashMap<FlowKey, FlowCounters> = HashMap::with_max_entries(1024, 0);
#[map]
static OVERFLOW_1: HashMap<FlowKey, FlowCounters> = HashMap::with_max_entries(1024, 0);

/// Slots, a power of two, less 1.
#[unsafe(no_mangle)]
static SLOTS_MASK: Global<u32> = Global::new(1023);
/// Random, so that nobody outside can choose keys that meet.
#[unsafe(no_mangle)]
static SEED: Global<u64> = Global::new(0x9e37_79b9_7f4a_7c15);

pub(crate) static FLOWS_0: Table = Table { first: true };
pub(crate) static FLOWS_1: Table = Table { first: false };

pub(crate) struct Table {
    first: bool,
}

impl Table {
    #[inline(always)]
    fn slot(&self, index: u32) -> Option<*mut Slot> {
        let slots = if self.first { &SLOTS_0 } else { &SLOTS_1 };
        slots.get_ptr_mut(index & SLOTS_MASK.load())
    }

    #[inline(always)]
    fn overflow(&self) -> &HashMap<FlowKey, FlowCounters> {
        if self.first { &OVERFLOW_0 } else { &OVERFLOW_1 }
    }

    #[inline(always)]
    pub(crate) fn get_ptr_mut(&self, key: &FlowKey) -> Option<*mut FlowCounters> {
        let (start, tag) = hash(key);
        for way in 0..WAYS {
            let slot = self.slot(start.wrapping_add(way))?;
            // SAFETY: a live map value; the tag is read once, and what it stands for was written before it.
            let found = unsafe { core::ptr::read_volatile(&raw const (*slot).tag) };
            if found == tag && same(slot, key) {
                // SAFETY: as above; a place in it.
                return Some(unsafe { &raw mut (*slot).counters });
            }
            if found == FREE {
                return None;
            }
        }
        self.overflow().get_ptr_mut(key)
    }

    #[inline(always)]
    pub(crate) fn insert(&self, key: &FlowKey, first: FlowCounters, flags: u64) -> Result<(), i32> {
        let (start, tag) = hash(key);
        for way in 0..WAYS {
            let Some(slot) = self.slot(start.wrapping_add(way)) else {
                return Err(EEXIST);
            };
            // SAFETY: a live map value; whoever changes the tag from free to busy owns the rest of the slot until it
            // publishes the key.
            let (before, _) = unsafe {
                atomic_cxchg::<u32, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(
                    &raw mut (*slot).tag,
                    FREE,
                    BUSY,
                )
            };
            if before == FREE {
                // SAFETY: as above. The exchange is a full barrier: whoever sees the tag sees the key.
                unsafe {
                    (*slot).key = *key;
                    (*slot).counters = first;
                    let _ = atomic_xchg::<u32, { AtomicOrdering::SeqCst }>(&raw mut (*slot).tag, tag);
                }
                return Ok(());
            }
            if before == tag && same(slot, key) {
                return Err(EEXIST);
            }
            // Busy: it may become this very key. Then the key stands twice, and the reader adds the two.
        }
        self.overflow().insert(key, first, flags)
    }
}

#[inline(always)]
fn words(key: &FlowKey) -> &[u64; 6] {
    const _: () = assert!(size_of::<FlowKey>() == 48);
    // SAFETY: 48 bytes of plain data; they lie aligned in the scratch value and in the slot.
    unsafe { &*(&raw const *key).cast() }
}

#[inline(always)]
fn same(slot: *const Slot, key: &FlowKey) -> bool {
    // SAFETY: a live map value whose key was published and does not change any more.
    let (there, here) = (words(unsafe { &(*slot).key }), words(key));
    there[0] == here[0]
        && there[1] == here[1]
        && there[2] == here[2]
        && there[3] == here[3]
        && there[4] == here[4]
        && there[5] == here[5]
}

/// Where the first slot is, and the tag.
#[inline(always)]
fn hash(key: &FlowKey) -> (u32, u32) {
    let mut hash = SEED.load();
    for word in words(key) {
        hash = (hash ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 32;
    }
    (hash as u32, (hash >> 32) as u32 | 2)
}
