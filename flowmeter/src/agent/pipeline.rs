//! What happens to a batch, whatever it was captured by: track, enrich, emit.

use std::collections::BTreeMap;

use anyhow::Result;
use flowmeter_common::InterfaceCounters;

use super::meter::Meter;
use crate::{
    config::Config,
    emit::{
        event::{Encoder, IntervalFacts},
        file::EventFile,
    },
    enrich::Enricher,
    flow::{Batch, InterfaceStatistics, Slice},
    track::Tracker,
};

pub(super) struct Pipeline {
    tracker: Tracker,
    enricher: Enricher,
    encoder: Encoder,
    file: EventFile,
    batch: Batch,
    /// Slices of connections that ended between two closes.
    ended: Vec<Slice>,
    /// Since the last close, by interface.
    counters: BTreeMap<u32, InterfaceCounters>,
    facts: IntervalFacts,
    interval_start_ns: u64,
}

impl Pipeline {
    pub(super) fn new(config: &Config, now_ns: u64) -> Result<Self> {
        Ok(Self {
            tracker: Tracker::new(&config.track),
            enricher: Enricher::new(config),
            encoder: encoder(config),
            file: EventFile::open(&config.output, now_ns)?,
            batch: Batch::default(),
            ended: Vec::new(),
            counters: BTreeMap::new(),
            facts: IntervalFacts::default(),
            interval_start_ns: now_ns,
        })
    }

    pub(super) fn reconfigure(&mut self, config: &Config) {
        self.tracker.reconfigure(&config.track);
        self.enricher = Enricher::new(config);
        self.encoder = encoder(config);
        self.file.reconfigure(&config.output);
    }

    /// Drains the kernel into the connection table; as often as it likes to be drained.
    pub(super) fn drain(&mut self, meter: &mut Meter) -> Result<()> {
        meter.drain(&mut self.batch)?;
        self.tracker.ingest(&self.batch.records, &mut self.ended);
        for interface in &self.batch.interfaces {
            self.counters
                .entry(interface.ifindex)
                .or_default()
                .merge(&interface.counters);
        }
        self.facts.map_entries = self.facts.map_entries.max(self.batch.records.len() as u64);
        self.facts.map_capacity = self.batch.map_capacity;
        self.facts.drain_ns += self.batch.drain_ns;
        self.facts.drains += 1;
        self.batch.records.clear();
        self.batch.interfaces.clear();
        self.batch.spill.clear();
        self.batch.drain_ns = 0;
        Ok(())
    }

    pub(super) fn close_interval(&mut self, now_ns: u64, names: &BTreeMap<u32, String>) -> Result<()> {
        let slices = self.tracker.close_interval(now_ns);
        self.write(slices, now_ns, names)
    }

    /// The last interval: whatever is still running ends here.
    pub(super) fn finish(mut self, now_ns: u64, names: &BTreeMap<u32, String>) -> Result<()> {
        let slices = self.tracker.finish();
        self.write(slices, now_ns, names)
    }

    fn write(&mut self, slices: Vec<Slice>, now_ns: u64, names: &BTreeMap<u32, String>) -> Result<()> {
        let mut statistics: BTreeMap<u32, InterfaceStatistics> = std::mem::take(&mut self.counters)
            .into_iter()
            .map(|(ifindex, counters)| {
                (
                    ifindex,
                    InterfaceStatistics {
                        counters,
                        ..InterfaceStatistics::default()
                    },
                )
            })
            .collect();
        let mut lines = Vec::new();
        for slice in self.ended.drain(..).chain(slices) {
            let interface = names.get(&slice.ifindex).map_or("unknown", String::as_str);
            lines.clear();
            self.encoder
                .flow(&slice, &self.enricher.enrich(&slice), interface, &mut lines)?;
            self.file.append(&lines);
            let exported = statistics.entry(slice.ifindex).or_default();
            exported.exported.packets += slice.packets();
            exported.exported.wire_bytes += slice.wire_bytes();
            exported.exported_l3_bytes += slice.l3_bytes();
            exported.exported_slices += 1;
        }
        self.facts.track = self.tracker.statistics();
        self.facts.withheld_lines = self.file.withheld_lines();
        for (ifindex, mut statistics) in statistics {
            statistics.ifindex = ifindex;
            statistics.interface = names.get(&ifindex).map_or("unknown", String::as_str).to_owned();
            statistics.start_ns = self.interval_start_ns;
            statistics.end_ns = now_ns;
            lines.clear();
            self.encoder.statistics(&statistics, &self.facts, &mut lines)?;
            self.file.append(&lines);
        }
        self.interval_start_ns = now_ns;
        self.facts = IntervalFacts::default();
        self.file.flush(now_ns)
    }
}

fn encoder(config: &Config) -> Encoder {
    Encoder {
        collector: config.collector.name.clone(),
        schema: config.output.schema,
        sampling: config.capture.sampling,
    }
}
