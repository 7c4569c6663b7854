//! The kernel's flow map, filled from here in place of the programs.

use anyhow::{Context as _, Result};
use aya::maps::{HashMap, Map, MapData, loaded_maps};
use flowmeter::{
    capture::{drain::Drain, features::Features, programs},
    config::Config,
    flow::FlowRecord,
};
use flowmeter_common::{FlowCounters, FlowKey};
use nix::time::{ClockId, clock_gettime};

type Flows = HashMap<MapData, [u8; size_of::<FlowKey>()], [u8; size_of::<FlowCounters>()]>;

pub(crate) struct Kernel {
    pub(crate) drain: Drain,
    flows: [Flows; 2],
    live: usize,
    /// The maps are in the kernel as long as it lives.
    _programs: aya::Ebpf,
}

impl Kernel {
    pub(crate) fn new(config: &Config) -> Result<Self> {
        let mut ebpf = programs::load(&config.capture, &Features::probe()?, log::LevelFilter::Off)?;
        let drain = Drain::new(&mut ebpf, programs::map_entries(&config.capture))?;
        Ok(Self {
            drain,
            flows: [newest("FLOWS_0")?, newest("FLOWS_1")?],
            live: 0,
            _programs: ebpf,
        })
    }

    /// Puts records into the generation that the next drain reads.
    pub(crate) fn fill(&mut self, records: &[FlowRecord]) -> Result<()> {
        let map = self.flows.get_mut(self.live).context("two generations")?;
        for record in records {
            map.insert(
                bytemuck::cast::<_, [u8; size_of::<FlowKey>()]>(record.key),
                bytemuck::cast::<_, [u8; size_of::<FlowCounters>()]>(record.counters),
                0,
            )
            .context("filling the flow map")?;
        }
        self.live ^= 1;
        Ok(())
    }
}

/// The map that was made last under a name: this process's.
fn newest(name: &str) -> Result<Flows> {
    let mut id = None;
    for info in loaded_maps() {
        let info = info.context("listing the kernel's maps")?;
        if info.name_as_str() == Some(name) {
            id = id.max(Some(info.id()));
        }
    }
    let data = MapData::from_id(id.with_context(|| format!("no map {name}"))?)?;
    Ok(HashMap::try_from(Map::HashMap(data))?)
}

pub(crate) fn monotonic_ns() -> Result<u64> {
    clock(ClockId::CLOCK_MONOTONIC)
}

/// What a drain adds to the times in the map.
pub(crate) fn epoch_offset_ns() -> Result<u64> {
    Ok(clock(ClockId::CLOCK_REALTIME)?.saturating_sub(monotonic_ns()?))
}

fn clock(clock: ClockId) -> Result<u64> {
    let time = clock_gettime(clock).context("reading the clock")?;
    Ok(u64::try_from(std::time::Duration::from(time).as_nanos())?)
}
