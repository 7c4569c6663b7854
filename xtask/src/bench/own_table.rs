//! Reading the own table (flowmeter-ebpf/src/bench/own_table) through memory that kernel and user space share.

use std::{num::NonZeroUsize, ptr::NonNull};

use anyhow::{Context, Result};
use aya::maps::MapData;
use flowmeter_common::{FlowCounters, FlowKey};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// As `Slot` in flowmeter-ebpf/src/bench/own_table/maps.rs.
#[derive(Clone, Copy)]
#[repr(C, align(128))]
struct Slot {
    tag: u32,
    reserved: u32,
    key: FlowKey,
    counters: FlowCounters,
}

/// Slots for `entries` flows in each generation, and those that overflow.
pub(super) fn sizes(entries: u32) -> (u32, u32) {
    (entries.next_power_of_two(), (entries / 8).max(1024))
}

/// Hands every flow to `each` and frees its slot. Programs must not be writing.
pub(super) fn take_all(
    map: &MapData,
    slots: u32,
    mut each: impl FnMut(&FlowKey, &FlowCounters),
) -> Result<()> {
    let length = NonZeroUsize::new(slots as usize * size_of::<Slot>()).context("no slots")?;
    // SAFETY: a new mapping of an array map, whose length this is.
    let start = unsafe {
        mmap(
            None,
            length,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            MapFlags::MAP_SHARED,
            map.fd(),
            0,
        )
    }
    .context("mapping the table")?;
    let table: NonNull<Slot> = start.cast();
    for index in 0..slots as usize {
        // SAFETY: within the mapping.
        let mut slot = unsafe { table.add(index) };
        // SAFETY: mappings are aligned to pages, and nobody else writes now.
        let slot = unsafe { slot.as_mut() };
        if slot.tag != 0 {
            each(&slot.key, &slot.counters);
            slot.tag = 0;
        }
    }
    // SAFETY: the whole of the mapping, into which nothing points any more.
    unsafe { munmap(start, length.get()) }.context("unmapping the table")
}
