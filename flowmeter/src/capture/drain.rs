//! The exact drain: flip the generation, wait out the programs that are still running, read what is quiet.
//!
//! Whoever reads a map that programs are writing loses what they write after the read into an entry that is
//! then deleted. Between the flip and the read lies a grace period, so that never happens here.

use std::{collections::BTreeMap, os::fd::AsFd as _, time::Instant};

use anyhow::{Context as _, Result, anyhow};
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, PerCpuArray, PerCpuValues},
};
use flowmeter_common::{
    FlowCounters, FlowKey, InterfaceCounters, InterfaceSlot, SpillCounters, SpillKey, TableSize, Uncounted,
    uncounted::Count,
};
use nix::time::{ClockId, clock_gettime};

use crate::{
    capture::{
        bpf::{BatchReader, GracePeriod},
        slots,
    },
    flow::{Batch, FlowRecord, InterfaceBatch},
};

const BATCH_ENTRIES: usize = 4096;
/// Records that are handed on together: few enough to be in the cache still.
const RECORDS: usize = 256;

type InterfaceMap = PerCpuArray<MapData, [u8; size_of::<InterfaceSlot>()]>;
type SpillMap = HashMap<MapData, [u8; size_of::<SpillKey>()], [u8; size_of::<SpillCounters>()]>;

/// The reading side of the kernel's maps.
pub struct Drain {
    pages: MapData,
    used: MapData,
    overflow: [MapData; 2],
    size: TableSize,
    generation: Array<MapData, u32>,
    inserted: Array<MapData, u64>,
    interfaces: InterfaceMap,
    /// Where in that map each interface stands.
    places: BTreeMap<u32, u32>,
    spill: SpillMap,
    grace_period: GracePeriod,
    reader: BatchReader<FlowKey, FlowCounters>,
    /// Read and not handed on yet; kept for its memory.
    records: Vec<FlowRecord>,
    /// Generation that the programs write.
    live: u32,
    /// What the ever-growing counters were when they were last read, by interface and generation.
    before: BTreeMap<(u32, u32), InterfaceCounters>,
    /// Interfaces whose counters go once each generation has been drained, with the drains that are left.
    retired: BTreeMap<u32, u8>,
}

impl Drain {
    /// Takes the maps out of `ebpf`, whose flow table has `size`.
    ///
    /// # Errors
    /// The object lacks a map, or the kernel refuses the map of maps that grace periods need.
    pub fn new(ebpf: &mut Ebpf, size: TableSize) -> Result<Self> {
        let overflow = [data(ebpf, "OVERFLOW_0")?, data(ebpf, "OVERFLOW_1")?];
        let grace_period = GracePeriod::new(overflow[0].fd().as_fd())
            .context("making the map by which grace periods are waited for")?;
        let mut drain = Self {
            generation: Array::try_from(take(ebpf, "GENERATION")?)?,
            inserted: Array::try_from(take(ebpf, "INSERTED")?)?,
            interfaces: PerCpuArray::try_from(take(ebpf, "INTERFACES")?)?,
            places: BTreeMap::new(),
            spill: HashMap::try_from(take(ebpf, "SPILL")?)?,
            pages: data(ebpf, "PAGES")?,
            used: data(ebpf, "USED")?,
            overflow,
            size,
            grace_period,
            reader: BatchReader::new(BATCH_ENTRIES),
            records: Vec::with_capacity(RECORDS),
            live: 0,
            before: BTreeMap::new(),
            retired: BTreeMap::new(),
        };
        // Interface 0 catches packets of interfaces without an entry, so that none is lost without a count.
        drain.add_interface(0)?;
        Ok(drain)
    }

    /// Makes room for the counters of an interface; before anything is attached to it.
    ///
    /// # Errors
    /// Hundreds of interfaces are metered already and have taken its places, or what else the kernel answers.
    pub fn add_interface(&mut self, ifindex: u32) -> Result<()> {
        self.retired.remove(&ifindex);
        if self.places.contains_key(&ifindex) {
            return Ok(());
        }
        let free = |place: &u32| !self.places.values().any(|taken| taken == place);
        let place = InterfaceSlot::places(ifindex).find(free).with_context(|| {
            format!(
                "no room for the counters of interface {ifindex} beside those of {} others; meter fewer interfaces",
                self.places.len()
            )
        })?;
        self.set_slot(place, ifindex)
            .with_context(|| format!("making room for the counters of interface {ifindex}"))?;
        self.places.insert(ifindex, place);
        Ok(())
    }

    /// Gives a slot to an interface, with all counters 0. No program may be counting in it.
    fn set_slot(&mut self, place: u32, ifindex: u32) -> Result<()> {
        let cpus = aya::util::nr_cpus().map_err(|(file, error)| anyhow!("reading {file}: {error}"))?;
        let slot = bytemuck::cast(InterfaceSlot {
            ifindex,
            ..InterfaceSlot::default()
        });
        let values = PerCpuValues::try_from(vec![slot; cpus])?;
        Ok(self.interfaces.set(place, values, 0)?)
    }

    /// Gives up the counters of an interface from which everything was detached, after the next two drains: a
    /// program that was running then may still write to either generation, until the grace period of the first.
    pub fn retire_interface(&mut self, ifindex: u32) {
        if self.places.contains_key(&ifindex) {
            self.retired.insert(ifindex, 2);
        }
    }

    fn remove_retired(&mut self) {
        let mut due = Vec::new();
        self.retired.retain(|&ifindex, drains| {
            *drains -= 1;
            if *drains == 0 {
                due.push(ifindex);
            }
            *drains > 0
        });
        for ifindex in due {
            let Some(place) = self.places.remove(&ifindex) else {
                continue;
            };
            for generation in [0, 1] {
                self.before.remove(&(ifindex, generation));
            }
            if let Err(error) = self.set_slot(place, 0) {
                log::warn!("removing the counters of interface {ifindex}: {error:#}");
            }
        }
    }

    /// Waits until no program is running that was running before; after detaching, so that all that programs
    /// have counted is in the next drain.
    ///
    /// # Errors
    /// What the kernel answers; programs may be running then.
    pub fn settle(&self) -> Result<()> {
        self.grace_period
            .wait()
            .context("waiting for running programs to end")
    }

    /// Everything counted since the last drain.
    ///
    /// # Errors
    /// As [`Drain::drain_to`].
    pub fn drain(&mut self, batch: &mut Batch) -> Result<()> {
        let mut records = std::mem::take(&mut batch.records);
        let drained = self.drain_to(batch, |read| records.extend_from_slice(read));
        batch.records = records;
        drained
    }

    /// The same, but the flow records go to `take` as they are read: at no time are all of them in memory.
    ///
    /// # Errors
    /// What the kernel answers. Nothing is lost then: what was not read is in the map at the next drain but
    /// one.
    pub fn drain_to(&mut self, batch: &mut Batch, take: impl FnMut(&[FlowRecord])) -> Result<()> {
        let started = Instant::now();
        let retired = self.live;
        self.generation
            .set(0, retired ^ 1, 0)
            .context("switching the generation of the flow map")?;
        self.live = retired ^ 1;
        self.settle()?;

        let map_full = self.read_interfaces(retired, batch)?;
        self.read_flows(retired, take)?;
        if map_full {
            self.read_spill(retired, batch)?;
        }
        self.inserted
            .set(retired, 0, 0)
            .context("resetting the count of new flows")?;
        self.remove_retired();
        batch.map_capacity = u64::from(self.size.flows);
        batch.drain_ns += u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Ok(())
    }

    fn read_flows(&mut self, generation: u32, mut take: impl FnMut(&[FlowRecord])) -> Result<()> {
        let offset_ns = monotonic_to_epoch_ns()?;
        let records = &mut self.records;
        let mut hand_on = |key: &FlowKey, counters: &FlowCounters| {
            let mut counters = *counters;
            counters.first_ns = counters.first_ns.saturating_add(offset_ns);
            counters.last_ns = counters.last_ns.saturating_add(offset_ns);
            records.push(FlowRecord { key: *key, counters });
            if records.len() == RECORDS {
                take(records);
                records.clear();
            }
        };
        let read = slots::take_all(
            self.pages.fd().as_fd(),
            self.used.fd().as_fd(),
            generation,
            self.size.pages,
            |slot| hand_on(&slot.key, &slot.counters),
        )
        .context("reading the slots of the flow table");
        let [even, odd] = &self.overflow;
        let overflow = if generation == 0 { even } else { odd };
        let read = read.and_then(|()| {
            let overflow = self.reader.take_all(overflow.fd().as_fd(), hand_on);
            overflow.context("reading the overflow of the flow table")
        });
        // Also of those that were read before an error: they are no longer in the table.
        take(records);
        records.clear();
        read
    }

    /// True if any packet found no room in the flow map.
    fn read_interfaces(&mut self, generation: u32, batch: &mut Batch) -> Result<bool> {
        let mut map_full = false;
        for (&ifindex, place) in &self.places {
            let per_cpu = self
                .interfaces
                .get(place, 0)
                .with_context(|| format!("reading the counters of interface {ifindex}"))?;
            let mut now = InterfaceCounters::default();
            for cpu in per_cpu.iter() {
                let slot: InterfaceSlot = bytemuck::pod_read_unaligned(cpu);
                if let Some(counters) = slot.generations.get(generation as usize) {
                    now.merge(counters);
                }
            }
            let before = self.before.entry((ifindex, generation)).or_default();
            let counters = difference(&now, before);
            *before = now;
            map_full |= counters.get(Uncounted::MapFull).packets > 0;
            if ifindex != 0 || counters.seen.packets > 0 {
                merge_interface(&mut batch.interfaces, InterfaceBatch { ifindex, counters });
            }
        }
        Ok(map_full)
    }

    fn read_spill(&mut self, generation: u32, batch: &mut Batch) -> Result<()> {
        // Keys first: deleting while walking would start the walk again.
        let keys: Vec<_> = self
            .spill
            .keys()
            .filter_map(|key| key.ok())
            .map(|bytes| bytemuck::pod_read_unaligned::<SpillKey>(&bytes))
            .filter(|key| key.generation == generation)
            .collect();
        for key in keys {
            let bytes: [u8; size_of::<SpillKey>()] = bytemuck::cast(key);
            let counters = self.spill.get(&bytes, 0).context("reading the spill map")?;
            batch.spill.push((key, bytemuck::pod_read_unaligned(&counters)));
            self.spill.remove(&bytes).context("emptying the spill map")?;
        }
        Ok(())
    }
}

fn take(ebpf: &mut Ebpf, name: &str) -> Result<aya::maps::Map> {
    ebpf.take_map(name)
        .ok_or_else(|| anyhow!("map {name} is not in the object"))
}

fn data(ebpf: &mut Ebpf, name: &str) -> Result<MapData> {
    use aya::maps::Map;
    match take(ebpf, name)? {
        Map::HashMap(data) | Map::Array(data) => Ok(data),
        other => Err(anyhow!(
            "map {name} is neither a hash map nor an array but {other:?}"
        )),
    }
}

fn difference(now: &InterfaceCounters, before: &InterfaceCounters) -> InterfaceCounters {
    let less = |now: Count, before: Count| Count {
        packets: now.packets - before.packets,
        wire_bytes: now.wire_bytes - before.wire_bytes,
    };
    let mut result = *now;
    result.seen = less(now.seen, before.seen);
    for (result, before) in result.uncounted.iter_mut().zip(before.uncounted) {
        *result = less(*result, before);
    }
    result
}

/// An early drain and the one at the end of the interval may share a batch.
fn merge_interface(interfaces: &mut Vec<InterfaceBatch>, other: InterfaceBatch) {
    match interfaces.iter_mut().find(|known| known.ifindex == other.ifindex) {
        Some(known) => known.counters.merge(&other.counters),
        None => interfaces.push(other),
    }
}

/// What to add to a `CLOCK_MONOTONIC` time to get nanoseconds since the Unix epoch. Taken anew for each
/// drain, so that a corrected system clock is followed.
fn monotonic_to_epoch_ns() -> Result<u64> {
    let nanoseconds = |clock| -> Result<i64> {
        let time = clock_gettime(clock).context("reading the clock")?;
        Ok(time.tv_sec() * 1_000_000_000 + time.tv_nsec())
    };
    let epoch = nanoseconds(ClockId::CLOCK_REALTIME)?;
    let monotonic = nanoseconds(ClockId::CLOCK_MONOTONIC)?;
    Ok(u64::try_from(epoch - monotonic).unwrap_or(0))
}
