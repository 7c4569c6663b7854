//! The kernel's flow table, filled from here in place of the programs.

use anyhow::{Context as _, Result};
use aya::maps::{Array, Map, MapData, loaded_maps};
use flowmeter::{
    capture::{drain::Drain, features::Features, programs},
    config::Config,
    flow::FlowRecord,
};
use flowmeter_common::{FlowPage, FlowSlot, TableSize};
use nix::time::{ClockId, clock_gettime};

pub(crate) struct Kernel {
    pub(crate) drain: Drain,
    pages: Array<MapData, [u8; size_of::<FlowPage>()]>,
    used: Array<MapData, u64>,
    size: TableSize,
    live: u32,
    /// The maps are in the kernel as long as it lives.
    _programs: aya::Ebpf,
}

impl Kernel {
    pub(crate) fn new(config: &Config) -> Result<Self> {
        let mut ebpf = programs::load(&config.capture, &Features::probe()?, log::LevelFilter::Off)?;
        let size = programs::table_size(&config.capture);
        Ok(Self {
            drain: Drain::new(&mut ebpf, size)?,
            pages: Array::try_from(newest("PAGES")?)?,
            used: Array::try_from(newest("USED")?)?,
            size,
            live: 0,
            _programs: ebpf,
        })
    }

    /// Puts records into the generation that the next drain reads, over all of its pages and in that order.
    pub(crate) fn fill(&mut self, records: &[FlowRecord]) -> Result<()> {
        let first = self.live * self.size.pages;
        let each = records.len().div_ceil(self.size.pages as usize);
        for (number, records) in (first..).zip(records.chunks(each.max(1))) {
            let mut page = FlowPage::default();
            let mut used = 0_u64;
            anyhow::ensure!(records.len() <= page.len(), "no room for {each} flows a page");
            for (slot, record) in page.iter_mut().zip(records) {
                *slot = FlowSlot {
                    tag: u32::MAX,
                    key: record.key,
                    counters: record.counters,
                    ..FlowSlot::default()
                };
                used = used << 1 | 1;
            }
            let page: [u8; size_of::<FlowPage>()] = bytemuck::cast(page);
            self.pages
                .set(number, page, 0)
                .context("filling the flow table")?;
            self.used.set(number, used, 0).context("filling the flow table")?;
        }
        self.live ^= 1;
        Ok(())
    }
}

/// The map that was made last under a name: this process's.
fn newest(name: &str) -> Result<Map> {
    let mut id = None;
    for info in loaded_maps() {
        let info = info.context("listing the kernel's maps")?;
        if info.name_as_str() == Some(name) {
            id = id.max(Some(info.id()));
        }
    }
    Ok(Map::Array(MapData::from_id(
        id.with_context(|| format!("no map {name}"))?,
    )?))
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
