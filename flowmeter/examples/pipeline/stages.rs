//! The stages, each with a clock and a counter around it.

use std::{collections::BTreeMap, hint::black_box, ops::Range, time::Instant};

use anyhow::{Context as _, Result};
use flowmeter::{
    config::Config,
    detect::Engine,
    emit::{Budget, EventWriter},
    enrich::{Cast, Enriched, Enricher},
    flow::{Batch, Slice},
    pipeline::{InterfaceNames, Pipeline},
    track::Tracker,
};
use serde::Serialize;

use crate::counting::{Used, used};

/// What one stage took in one tick.
#[derive(Clone, Copy, Default, Serialize)]
pub(crate) struct Cost {
    cpu_ns: u64,
    allocations: u64,
    allocated_bytes: u64,
}

impl Cost {
    fn between(before: Used, after: Used) -> Self {
        Self {
            cpu_ns: u64::try_from(after.cpu.saturating_sub(before.cpu).as_nanos()).unwrap_or(u64::MAX),
            allocations: after.allocations - before.allocations,
            allocated_bytes: after.bytes - before.bytes,
        }
    }

    fn add(&mut self, other: Self) {
        self.cpu_ns += other.cpu_ns;
        self.allocations += other.allocations;
        self.allocated_bytes += other.allocated_bytes;
    }
}

/// What each stage took in one tick.
#[derive(Default)]
pub(crate) struct Tally(BTreeMap<&'static str, Cost>);

impl Tally {
    pub(crate) fn measure<T>(&mut self, stage: &'static str, work: impl FnOnce() -> T) -> T {
        let before = used();
        let result = work();
        let cost = Cost::between(before, used());
        self.0.entry(stage).or_default().add(cost);
        result
    }

    pub(crate) fn by_stage(tallies: &[Self]) -> BTreeMap<&'static str, Vec<Cost>> {
        let mut stages: BTreeMap<_, Vec<Cost>> = BTreeMap::new();
        for (stage, cost) in tallies.iter().flat_map(|tally| &tally.0) {
            stages.entry(*stage).or_default().push(*cost);
        }
        stages
    }
}

enum Work {
    Whole(Box<Pipeline>),
    Apart(Box<Apart>),
}

struct Apart {
    tracker: Tracker,
    enricher: Enricher,
    engine: Engine,
    budget: Budget,
    writer: EventWriter,
    slices: Vec<Slice>,
}

pub(crate) struct Stages {
    pub(crate) batch: Batch,
    pub(crate) slices: usize,
    pub(crate) findings: usize,
    names: InterfaceNames,
    work: Work,
}

/// Slices that are enriched before they are written: few enough to stay in the cache.
const CHUNK: usize = 256;

impl Stages {
    pub(crate) fn new(config: &Config, whole: bool) -> Result<Self> {
        let work = if whole {
            Work::Whole(Box::new(Pipeline::new(config)?))
        } else {
            Work::Apart(Box::new(Apart {
                tracker: Tracker::new(&config.track),
                enricher: Enricher::new(config)?,
                engine: Engine::new(config),
                budget: Budget::new(config),
                writer: EventWriter::open(config, Instant::now())?,
                slices: Vec::new(),
            }))
        };
        Ok(Self {
            batch: Batch::default(),
            slices: 0,
            findings: 0,
            names: InterfaceNames::from([(2, "eth0".to_owned())]),
            work,
        })
    }

    pub(crate) fn tick(&mut self, interval: Range<u64>, tally: &mut Tally) -> Result<()> {
        match &mut self.work {
            Work::Whole(pipeline) => tally
                .measure("pipeline", || {
                    pipeline.take(&mut self.batch);
                    pipeline.close_interval(interval, &self.names)
                })
                .context("writing events"),
            Work::Apart(stages) => {
                let (slices, findings) = stages.tick(&mut self.batch, interval.end, &self.names, tally)?;
                (self.slices, self.findings) = (slices, self.findings + findings);
                Ok(())
            }
        }
    }
}

impl Apart {
    fn tick(
        &mut self,
        batch: &mut Batch,
        end_ns: u64,
        names: &InterfaceNames,
        tally: &mut Tally,
    ) -> Result<(usize, usize)> {
        let Self {
            tracker,
            enricher,
            engine,
            budget,
            writer,
            slices,
        } = self;
        tally.measure("track", || {
            tracker.ingest(&batch.records, slices);
            tracker.close_interval(end_ns, slices);
        });
        batch.clear();
        let findings = tally.measure("detect", || {
            engine.feed(slices, |slice| {
                let (direction, cast) = enricher.perimeter(slice);
                (direction, cast == Cast::Unicast)
            });
            engine.advance(end_ns);
            engine.drain().len()
        });
        let count = slices.len();
        let now = Instant::now();
        tally.measure("budget", || {
            let summaries = budget.split(slices, enricher, 0).len();
            budget.queue(slices, summaries, now);
        });
        let (summaries, written) = budget.take(usize::MAX);
        let mut enriched: Vec<Enriched<'_>> = Vec::with_capacity(CHUNK);
        let name = names.get(&2).context("the interface")?;
        for chunk in written.chunks(CHUNK) {
            enriched.clear();
            tally.measure("enrich", || {
                enriched.extend(chunk.iter().map(|slice| black_box(enricher.enrich(slice))));
            });
            tally.measure("write", || {
                for (slice, enriched) in chunk.iter().zip(&enriched) {
                    writer.flow(slice, enriched, name);
                }
            });
        }
        tally.measure("write", || {
            for summary in summaries {
                writer.summary(summary, None, name);
            }
            writer.flush(now)
        })?;
        Ok((count, findings))
    }
}
