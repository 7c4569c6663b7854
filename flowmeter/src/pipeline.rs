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
    config::{Config, Flows},
    detect::Engine,
    emit::{Budget, Closed, EventWriter, FileAccount, IntervalFacts, Summary},
    enrich::{Cast, Enricher},
    flow::{Batch, FlowRecord, InterfaceStatistics, Slice},
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
    budget: Budget,
    /// Of the interval that runs: ends of evicted connections while it runs, all of it when it closes.
    slices: Vec<Slice>,
    counters: BTreeMap<u32, InterfaceCounters>,
    spill: Vec<(SpillKey, SpillCounters)>,
    facts: IntervalFacts<'static>,
    batches: u64,
    /// Records of the batch that is being taken.
    records: u64,
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
            budget: Budget::new(config),
            slices: Vec::new(),
            counters: BTreeMap::new(),
            spill: Vec::new(),
            facts: IntervalFacts::default(),
            batches: 0,
            records: 0,
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

    /// Spreads the lines of an interval over the time until the next one ends, if they are under a budget: from now on
    /// [`Pipeline::pace`] has to be called.
    pub const fn spread(&mut self) {
        self.budget.pace(true);
    }

    /// When [`Pipeline::pace`] has lines to write; `None` while there are none.
    pub fn next_lines(&self) -> Option<Instant> {
        self.budget.next()
    }

    /// Writes the lines that are due.
    ///
    /// # Errors
    /// As [`Pipeline::close_interval`].
    pub fn pace(&mut self, now: Instant, names: &InterfaceNames) -> Result<(), Closed> {
        let due = self.budget.due(now);
        self.write_waiting(due, names);
        self.writer.flush(now)
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
        self.budget.reconfigure(config);
        if let Some(engine) = &mut self.engine {
            engine.reconfigure(config);
        }
        Ok(())
    }

    /// Takes records of the batch that [`Pipeline::take`] is called with next.
    pub fn take_records(&mut self, records: &[FlowRecord]) {
        self.records += records.len() as u64;
        self.tracker.ingest(records, &mut self.slices);
    }

    /// Takes what was captured since the last batch, as many batches an interval as come; leaves `batch` empty.
    pub fn take(&mut self, batch: &mut Batch) {
        self.take_records(&batch.records);
        for interface in &batch.interfaces {
            self.counters
                .entry(interface.ifindex)
                .or_default()
                .merge(&interface.counters);
        }
        self.spill.append(&mut batch.spill);
        self.facts.map_entries = self.facts.map_entries.max(std::mem::take(&mut self.records));
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
        self.budget.pace(false);
        self.write(interval, names)?;
        self.save();
        Ok((self.writer.finish()?, self.summary))
    }

    fn write(&mut self, interval: Range<u64>, names: &InterfaceNames) -> Result<(), Closed> {
        let now = Instant::now();
        // Of the interval before, where it had no time: they take up room in this one.
        let mut lines = self.budget.waiting();
        self.write_waiting(lines, names);
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
        lines += self.detect(interval.clone(), &statistics);
        self.add_up(&mut statistics, names);
        if self.budget.flows() == Flows::FindingsOnly {
            self.slices.clear();
        }
        if !self.synthetic {
            lines += statistics.len();
        }
        for summary in self.budget.split(&mut self.slices, &self.enricher, lines) {
            let exported = statistics.entry(summary.ifindex).or_default();
            exported.summarised.packets += summary.packets();
            exported.summarised.wire_bytes += summary.wire_bytes;
            exported.summarised_slices += summary.flows;
            exported.summaries += 1;
        }
        self.write_statistics(interval, statistics, names);
        self.budget.queue(&mut self.slices, lines, now);
        let due = self.budget.due(now);
        self.write_waiting(due, names);
        self.budget.give_back(&mut self.slices);
        self.writer.flush(now)
    }

    /// Looks for anomalies and writes what was found; answers with the number of lines.
    fn detect(&mut self, interval: Range<u64>, statistics: &BTreeMap<u32, InterfaceStatistics>) -> usize {
        let Some(engine) = &mut self.engine else {
            return 0;
        };
        for counted in statistics.values() {
            engine.note_loss(lost(&counted.counters));
        }
        engine.feed(&self.slices, |slice| {
            let (direction, cast) = self.enricher.perimeter(slice);
            (direction, cast == Cast::Unicast)
        });
        engine.advance(interval.end);
        engine.note_spill(&self.spill, interval);
        let findings = engine.drain();
        for finding in &findings {
            self.writer.finding(finding);
            if let Some(summary) = &mut self.summary {
                summary.add_finding(finding);
            }
        }
        findings.len()
    }

    /// Adds the slices to the statistics of their interfaces, and to whatever else takes every one.
    fn add_up(&mut self, statistics: &mut BTreeMap<u32, InterfaceStatistics>, names: &InterfaceNames) {
        let enriched_here = self.summary.is_some() || self.writer.takes_all_flows();
        for slice in &self.slices {
            if enriched_here {
                let enriched = self.enricher.enrich(slice);
                if let Some(summary) = &mut self.summary {
                    summary.add(slice, &enriched);
                }
                self.writer.any_flow(slice, &enriched, name(names, slice.ifindex));
            }
            let interface = statistics.entry(slice.ifindex).or_default();
            if self.budget.flows() == Flows::FindingsOnly {
                interface.left_out.packets += slice.packets();
                interface.left_out.wire_bytes += slice.wire_bytes();
                interface.left_out_slices += 1;
            } else {
                interface.exported.packets += slice.packets();
                interface.exported.wire_bytes += slice.wire_bytes();
                interface.exported_l3_bytes += slice.l3_bytes();
                interface.exported_slices += 1;
            }
        }
    }

    fn write_statistics(
        &mut self,
        interval: Range<u64>,
        statistics: BTreeMap<u32, InterfaceStatistics>,
        names: &InterfaceNames,
    ) {
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
        for (ifindex, mut statistics) in statistics {
            statistics.ifindex = ifindex;
            name(names, ifindex).clone_into(&mut statistics.interface);
            statistics.start_ns = interval.start;
            statistics.end_ns = interval.end;
            if !self.synthetic {
                self.writer.statistics(&statistics, &facts);
            }
            if let Some(summary) = &mut self.summary {
                summary.add_counters(&statistics.counters);
            }
        }
        self.evicted_before = tracked.evicted;
        self.facts = IntervalFacts::default();
        self.spill.clear();
        self.batches = 0;
    }

    /// Writes up to `lines` of the lines that wait.
    fn write_waiting(&mut self, lines: usize, names: &InterfaceNames) {
        let (summaries, slices) = self.budget.take(lines);
        for summary in summaries {
            let service = summary.protocol.zip(summary.port);
            let service = service.map(|(protocol, port)| self.enricher.service(protocol, port));
            self.writer
                .summary(summary, service, name(names, summary.ifindex));
        }
        for slice in slices {
            let enriched = self.enricher.enrich(slice);
            self.writer.flow(slice, &enriched, name(names, slice.ifindex));
        }
    }
}

fn name(names: &InterfaceNames, ifindex: u32) -> &str {
    names.get(&ifindex).map_or("unknown", String::as_str)
}

fn lost(counters: &InterfaceCounters) -> u64 {
    Uncounted::ALL
        .into_iter()
        .filter(|reason| reason.is_loss())
        .map(|reason| counters.get(reason).packets)
        .sum()
}
