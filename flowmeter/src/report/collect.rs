//! Sums over the events of a report, in one pass and in bounded memory.

use std::{collections::BTreeSet, net::IpAddr};

use jiff::Timestamp;

use super::{
    event::{Event, Flow, Volume},
    health::Health,
    model::Severity,
    read::Counts,
    timeline::{Bucket, Timeline},
    top::Top,
};
use crate::explain::told::{Told, plain};

/// Addresses of which at least so many are summed exactly.
pub(super) const ADDRESSES: usize = 50_000;
/// Names of services, protocols and directions.
const NAMES: usize = 5_000;
/// Findings that are kept whole.
pub(super) const FINDINGS: usize = 20_000;
/// Names of collectors that are listed.
const COLLECTORS: usize = 16;

pub(super) struct Collected {
    pub(super) counts: Counts,
    /// First and last event.
    pub(super) span: Option<(Timestamp, Timestamp)>,
    pub(super) total: Volume,
    /// The part of it that stands in summaries.
    pub(super) summarised: Volume,
    pub(super) sources: Top<IpAddr>,
    pub(super) destinations: Top<IpAddr>,
    pub(super) services: Top<String>,
    pub(super) protocols: Top<String>,
    pub(super) directions: Top<String>,
    pub(super) timeline: Timeline,
    pub(super) findings: Vec<Told>,
    /// Findings for which there was no room; they stand in the timeline.
    pub(super) findings_beyond: u64,
    pub(super) health: Health,
    pub(super) collectors: BTreeSet<String>,
    /// Flows and findings that were made up.
    pub(super) synthetic: u64,
    /// The highest rate, one packet of so many.
    pub(super) sampling: u32,
}

impl Default for Collected {
    fn default() -> Self {
        Self {
            counts: Counts::default(),
            span: None,
            total: Volume::default(),
            summarised: Volume::default(),
            sources: Top::new(ADDRESSES),
            destinations: Top::new(ADDRESSES),
            services: Top::new(NAMES),
            protocols: Top::new(NAMES),
            directions: Top::new(NAMES),
            timeline: Timeline::default(),
            findings: Vec::new(),
            findings_beyond: 0,
            health: Health::default(),
            collectors: BTreeSet::new(),
            synthetic: 0,
            sampling: 1,
        }
    }
}

impl Collected {
    pub(super) fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Flow(flow) => self.flow(&flow),
            Event::Statistics(statistics) => {
                self.seen(statistics.time);
                self.collector(&statistics.collector);
                self.sampling = self.sampling.max(statistics.meter.sampling);
                self.health.statistics(&statistics);
            }
            Event::Finding(told) => self.finding(*told),
            Event::Other => {}
        }
    }

    fn flow(&mut self, flow: &Flow<'_>) {
        let volume = flow.volume();
        self.seen(flow.time);
        self.total.add(volume);
        if flow.merged.is_some() {
            self.summarised.add(volume);
        }
        self.sources.add(flow.source.as_ref(), volume);
        self.destinations.add(flow.destination.as_ref(), volume);
        self.services.add(flow.service.as_deref(), volume);
        self.protocols.add(flow.transport.as_deref(), volume);
        self.directions.add(Some(&*flow.direction), volume);
        let bucket = Bucket {
            bytes: volume.bytes,
            packets: volume.packets,
            ..Bucket::default()
        };
        self.timeline.add(flow.time, bucket);
        self.collector(&flow.collector);
        self.sampling = self.sampling.max(flow.sampling);
        self.synthetic += u64::from(flow.synthetic);
        self.health.flow(flow);
    }

    fn finding(&mut self, told: Told) {
        self.seen(told.last_seen);
        // An end is nothing new.
        if told.phase != crate::detect::Phase::End {
            let severity = Severity::of(told.score);
            self.timeline.add(told.last_seen, Bucket::finding(severity));
        }
        if let Some(collector) = &told.collector {
            self.collector(collector);
        }
        self.synthetic += u64::from(told.synthetic);
        if self.findings.len() < FINDINGS {
            self.findings.push(told);
        } else {
            self.findings_beyond += 1;
        }
    }

    fn seen(&mut self, time: Timestamp) {
        let (first, last) = self.span.unwrap_or((time, time));
        self.span = Some((first.min(time), last.max(time)));
    }

    fn collector(&mut self, name: &str) {
        if self.collectors.len() < COLLECTORS && !self.collectors.contains(name) {
            self.collectors.insert(plain(name));
        }
    }
}
