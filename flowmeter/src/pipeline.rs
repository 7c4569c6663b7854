//! What happens to a batch, whatever it was captured by: track, enrich, detect, emit.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use flowmeter_common::{InterfaceCounters, SpillCounters, SpillKey, Uncounted};

use crate::{
    config::Config,
    detect::Engine,
    emit::{Closed, EventWriter, FileAccount, IntervalFacts, Summary},
    enrich::{Cast, Enricher},
    flow::{Batch, InterfaceStatistics, Slice},
    state,
    track::Tracker,
};

/// Names of interfaces by index, for the events.
pub type InterfaceNames = BTreeMap<u32, String>;

/// How often the detectors' state is saved while running.
const SAVE_EVERY: Duration = Duration::from_secs(300);

pub struct Pipeline {
    tracker: Tracker,
    enricher: Enricher,
    /// `None`: findings are not wanted.
    engine: Option<Engine>,
    /// Where the engine's memory is kept over restarts, and when it was saved last.
    memory: Option<(PathBuf, Instant)>,
    writer: EventWriter,
    /// Of the interval that runs: ends of evicted connections while it runs, all of it when it closes.
    slices: Vec<Slice>,
    counters: BTreeMap<u32, InterfaceCounters>,
    spill: Vec<(SpillKey, SpillCounters)>,
    facts: IntervalFacts<'static>,
    batches: u64,
    evicted_before: u64,
    summary: Option<Summary>,
    synthetic: bool,
}

impl Pipeline {
    /// # Errors
    /// A service name that cannot be understood; an event file that cannot be opened.
    pub fn new(config: &Config) -> Result<Self> {
        Ok(Self {
            tracker: Tracker::new(&config.track),
            enricher: Enricher::new(config)?,
            engine: Some(Engine::new(config)),
            memory: None,
            writer: EventWriter::open(config, Instant::now())?,
            slices: Vec::new(),
            counters: BTreeMap::new(),
            spill: Vec::new(),
            facts: IntervalFacts::default(),
            batches: 0,
            evicted_before: 0,
            summary: None,
            synthetic: false,
        })
    }

    /// Also adds everything up, for [`Pipeline::finish`] to hand out.
    pub fn summarise(&mut self) {
        self.summary = Some(Summary::default());
    }

    /// Goes on with what the detectors had learned when `path` was saved, and saves it there from now on. A state that
    /// cannot be used is told and set aside.
    ///
    /// # Errors
    /// A file that is there and cannot be read, or not be set aside.
    pub fn remember(&mut self, path: &Path) -> Result<()> {
        let Some(engine) = &mut self.engine else {
            return Ok(());
        };
        match state::load(path)? {
            None => log::info!("no state in {} yet: detection starts to learn", path.display()),
            Some(bytes) => {
                if let Err(error) = engine.restore(&bytes) {
                    let aside = state::set_aside(path)
                        .with_context(|| format!("setting {} aside, which {error}", path.display()))?;
                    log::warn!(
                        "{} {error}; it is now {}, and detection starts to learn anew",
                        path.display(),
                        aside.display()
                    );
                }
            }
        }
        self.memory = Some((path.to_owned(), Instant::now()));
        Ok(())
    }

    /// Keeps the events of closed intervals in memory, for whoever has to know them before they are written.
    pub fn hold(&mut self) {
        self.writer.hold();
    }

    /// What writes the events, for whoever holds them.
    pub fn writer(&mut self) -> &mut EventWriter {
        &mut self.writer
    }

    fn save(&mut self) {
        let (Some(engine), Some((path, saved))) = (&self.engine, &mut self.memory) else {
            return;
        };
        *saved = Instant::now();
        if let Err(error) = state::save(path, &engine.snapshot()) {
            log::error!("{error:#}; what was learned since the last time is lost at a restart");
        }
    }

    /// Leaves the search for anomalies out.
    pub fn without_findings(&mut self) {
        self.engine = None;
    }

    /// From now on the traffic is made up: every event says so, and no interface has statistics.
    pub fn mark_synthetic(&mut self) {
        self.synthetic = true;
        self.writer.mark_synthetic();
    }

    /// Takes over what can change while running: all but the path of the event file.
    ///
    /// # Errors
    /// As [`Pipeline::new`]; nothing has changed then.
    pub fn reconfigure(&mut self, config: &Config) -> Result<()> {
        self.enricher = Enricher::new(config)?;
        self.tracker.reconfigure(&config.track);
        self.writer.reconfigure(config);
        if let Some(engine) = &mut self.engine {
            let learned = engine.snapshot();
            *engine = Engine::new(config);
            engine
                .restore(&learned)
                .context("taking over what detection has learned")?;
        }
        Ok(())
    }

    /// Takes what was captured since the last batch, as many batches an interval as come; leaves `batch` empty.
    pub fn take(&mut self, batch: &mut Batch) {
        self.tracker.ingest(&batch.records, &mut self.slices);
        for interface in &batch.interfaces {
            self.counters
                .entry(interface.ifindex)
                .or_default()
                .merge(&interface.counters);
        }
        self.spill.append(&mut batch.spill);
        self.facts.map_entries = self.facts.map_entries.max(batch.records.len() as u64);
        self.facts.map_capacity = batch.map_capacity;
        self.facts.drain_ns += batch.drain_ns;
        self.batches += 1;
        batch.clear();
    }

    /// Takes slices that another meter has written; leaves `slices` empty. Their packets are counted in batches.
    pub fn take_slices(&mut self, slices: &mut Vec<Slice>) {
        self.slices.append(slices);
    }

    /// Ends an interval, from its start to just before its end in nanoseconds since the Unix epoch, and writes its
    /// events.
    ///
    /// # Errors
    /// Standard output has lost its reader. A file that cannot be written is no error but is told in the events.
    pub fn close_interval(&mut self, interval: Range<u64>, names: &InterfaceNames) -> Result<(), Closed> {
        self.tracker.close_interval(interval.end, &mut self.slices);
        self.write(interval, names)?;
        if self
            .memory
            .as_ref()
            .is_some_and(|(_, saved)| saved.elapsed() >= SAVE_EVERY)
        {
            self.save();
        }
        Ok(())
    }

    /// The last interval: whatever is still running ends here. Tells what became of all lines, and the summary if
    /// one was wanted.
    ///
    /// # Errors
    /// As [`Pipeline::close_interval`], and lines that wait for a file that cannot be written.
    pub fn finish(
        mut self,
        interval: Range<u64>,
        names: &InterfaceNames,
    ) -> Result<(FileAccount, Option<Summary>)> {
        self.tracker.finish(interval.end, &mut self.slices);
        self.write(interval, names)?;
        self.save();
        Ok((self.writer.finish()?, self.summary))
    }

    fn write(&mut self, interval: Range<u64>, names: &InterfaceNames) -> Result<(), Closed> {
        let name = |ifindex: u32| names.get(&ifindex).map_or("unknown", String::as_str);
        let mut statistics: BTreeMap<u32, InterfaceStatistics> = std::mem::take(&mut self.counters)
            .into_iter()
            .map(|(ifindex, counters)| {
                let counted = InterfaceStatistics {
                    counters,
                    ..InterfaceStatistics::default()
                };
                (ifindex, counted)
            })
            .collect();
        if let Some(engine) = &mut self.engine {
            for slice in &self.slices {
                let (direction, cast) = self.enricher.perimeter(slice);
                engine.feed(slice, direction, cast == Cast::Unicast);
            }
            for counted in statistics.values() {
                engine.note_loss(lost(&counted.counters));
            }
            engine.advance(interval.end);
            for finding in engine.drain() {
                self.writer.finding(&finding);
                if let Some(summary) = &mut self.summary {
                    summary.add_finding(&finding);
                }
            }
        }
        for slice in self.slices.drain(..) {
            let enriched = self.enricher.enrich(&slice);
            self.writer.flow(&slice, &enriched, name(slice.ifindex));
            if let Some(summary) = &mut self.summary {
                summary.add(&slice, &enriched);
            }
            let exported = statistics.entry(slice.ifindex).or_default();
            exported.exported.packets += slice.packets();
            exported.exported.wire_bytes += slice.wire_bytes();
            exported.exported_l3_bytes += slice.l3_bytes();
            exported.exported_slices += 1;
        }
        let tracked = self.tracker.statistics();
        let tables = self.engine.as_ref().map(Engine::usage).unwrap_or_default();
        let facts = IntervalFacts {
            early_drains: self.batches.saturating_sub(1),
            connections: tracked.connections as u64,
            connections_capacity: tracked.capacity as u64,
            connections_evicted: tracked.evicted - self.evicted_before,
            spill: &self.spill,
            detect_tables: &tables,
            allow_hits: self.engine.as_ref().map_or(&[], Engine::allow_hits),
            ..self.facts
        };
        for (ifindex, statistics) in &mut statistics {
            statistics.ifindex = *ifindex;
            name(*ifindex).clone_into(&mut statistics.interface);
            statistics.start_ns = interval.start;
            statistics.end_ns = interval.end;
            if !self.synthetic {
                self.writer.statistics(statistics, &facts);
            }
            if let Some(summary) = &mut self.summary {
                summary.add_counters(&statistics.counters);
            }
        }
        self.evicted_before = tracked.evicted;
        self.facts = IntervalFacts::default();
        self.spill.clear();
        self.batches = 0;
        self.writer.flush(Instant::now())
    }
}

fn lost(counters: &InterfaceCounters) -> u64 {
    Uncounted::ALL
        .into_iter()
        .filter(|reason| reason.is_loss())
        .map(|reason| counters.get(reason).packets)
        .sum()
}
