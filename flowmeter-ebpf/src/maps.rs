//! What the programs share with the agent. Sizes and settings given here are placeholders: the agent sets
//! them before it loads the programs, and the verifier then prunes what is switched off.

use aya_ebpf::{
    Global,
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, HashMap, LpmTrie, PerCpuArray, RingBuf},
};
use flowmeter_common::{FlowCounters, FlowKey, FlowPage, InterfaceSlot, SpillCounters, SpillKey};

/// The flow table ([`crate::table`]): the pages of the first generation, then those of the second. Programs count into
/// one while the agent, in whose memory they lie too, reads the other; between the two lies a grace period, so that no
/// program still holds a pointer into what is being read.
#[map]
pub(crate) static PAGES: Array<FlowPage> = Array::with_max_entries(2 * 16, BPF_F_MMAPABLE);

/// A bit for each slot of a page that was taken, so that the agent need not look at all of them. (An element of
/// an array takes 8 bytes at least.)
#[map]
pub(crate) static USED: Array<u64> = Array::with_max_entries(2 * 16, BPF_F_MMAPABLE);

/// Flows whose slots are all taken, in each generation.
#[map]
pub(crate) static OVERFLOW_0: HashMap<FlowKey, FlowCounters> = HashMap::with_max_entries(256, 0);
#[map]
pub(crate) static OVERFLOW_1: HashMap<FlowKey, FlowCounters> = HashMap::with_max_entries(256, 0);

/// Pages in each generation.
#[unsafe(no_mangle)]
pub(crate) static GENERATION_PAGES: Global<u32> = Global::new(16);

/// What the table's hash is keyed by; the agent draws it at random.
#[unsafe(no_mangle)]
pub(crate) static HASH: [Global<u64>; 6] = [const { Global::new(0x9e37_79b9_7f4a_7c15) }; 6];

/// Which of the two is written now: 0 or 1.
#[map]
pub(crate) static GENERATION: Array<u32> = Array::with_max_entries(1, 0);

/// New keys in each generation, so that the agent can be woken before the map is full.
#[map]
pub(crate) static INSERTED: Array<u64> = Array::with_max_entries(2, 0);

/// Wakes the agent: one generation number a notice.
#[map]
pub(crate) static NOTICES: RingBuf = RingBuf::with_byte_size(4096, 0);

/// What each interface saw and what was not counted. The agent gives an interface a slot before it attaches to it;
/// slot 0 counts for those that have none.
#[map]
pub(crate) static INTERFACES: PerCpuArray<InterfaceSlot> =
    PerCpuArray::with_max_entries(InterfaceSlot::COUNT, 0);

#[map]
pub(crate) static SCRATCH: PerCpuArray<crate::account::Scratch> = PerCpuArray::with_max_entries(1, 0);

#[map]
pub(crate) static SPILL: HashMap<SpillKey, SpillCounters> = HashMap::with_max_entries(8192, 0);

/// Prefixes of `capture.filter`: [`ALLOW`] or [`DENY`].
#[map]
pub(crate) static FILTER: LpmTrie<[u8; 16], u8> = LpmTrie::with_max_entries(4096, 0);
pub(crate) const ALLOW: u8 = 1;
pub(crate) const DENY: u8 = 2;

/// 0: no filter. 1: only `deny` is given. 2: `allow` is given too.
#[unsafe(no_mangle)]
pub(crate) static FILTER_MODE: Global<u8> = Global::new(0);

/// One packet in this many is counted.
#[unsafe(no_mangle)]
pub(crate) static SAMPLING: Global<u32> = Global::new(1);

/// 1: `tunnels = "inner"`.
#[unsafe(no_mangle)]
pub(crate) static TUNNELS_INNER: Global<u8> = Global::new(0);

/// New keys in one generation at which the agent is woken.
#[unsafe(no_mangle)]
pub(crate) static FILL_NOTICE: Global<u64> = Global::new(u64::MAX);

/// 1: the kernel has `bpf_ktime_get_coarse_ns` (5.11), which costs a third of the exact clock.
#[unsafe(no_mangle)]
pub(crate) static COARSE_CLOCK: Global<u8> = Global::new(1);
