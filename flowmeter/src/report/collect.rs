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

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use serde_json::{Value, json};

    use super::*;
    use crate::report::event;

    const FLOW: &str = include_str!("../../../samples/flow-tcp.json");
    const SUMMARY: &str = include_str!("../../../samples/flow-summary.json");

    #[derive(Clone, Debug)]
    struct Written {
        summary: bool,
        host: Option<u8>,
        second: u8,
        sent: (u64, u64),
        received: (u64, u64),
        records: u64,
        direction: usize,
    }

    fn written() -> impl Strategy<Value = Written> {
        let amount = || (0_u64..1 << 40, 0_u64..1 << 33);
        let place = (any::<bool>(), proptest::option::of(0_u8..9), 0_u8..60, 0_usize..4);
        (place, amount(), amount(), 1_u64..1 << 33).prop_map(|(place, sent, received, records)| {
            let (summary, host, second, direction) = place;
            Written {
                summary,
                host: if summary { host } else { host.or(Some(0)) },
                second,
                sent,
                received,
                records: if summary { records } else { 1 },
                direction,
            }
        })
    }

    impl Written {
        /// Large numbers are texts, as the schema for Wazuh 4 has them.
        fn line(&self) -> Vec<u8> {
            let mut event: Value = serde_json::from_str(if self.summary { SUMMARY } else { FLOW }).unwrap();
            let count = |number: u64| {
                if number >= 1 << 31 {
                    json!(number.to_string())
                } else {
                    json!(number)
                }
            };
            event["@timestamp"] = json!(format!("2026-04-26T11:45:{:02}.000Z", self.second));
            for (side, (bytes, packets)) in [("source", self.sent), ("destination", self.received)] {
                event[side]["bytes"] = count(bytes);
                event[side]["packets"] = count(packets);
                event[side].as_object_mut().unwrap().remove("ip");
                if let Some(host) = self.host {
                    event[side]["ip"] = json!(format!("10.0.0.{host}"));
                }
            }
            if self.summary {
                event["flow"]["merged"]["flows"] = count(self.records);
            }
            let directions = ["internal", "outbound", "inbound", "external"];
            event["network"]["direction"] = json!(directions[self.direction]);
            event.to_string().into_bytes()
        }

        fn volume(&self) -> Volume {
            Volume {
                records: self.records,
                bytes: self.sent.0 + self.received.0,
                packets: self.sent.1 + self.received.1,
            }
        }
    }

    fn sum<'a>(written: impl Iterator<Item = &'a Written>) -> Volume {
        written.fold(Volume::default(), |mut sum, one| {
            sum.add(one.volume());
            sum
        })
    }

    /// All rows of a table, those for the others and for several too.
    fn total<K: Clone + Eq + std::hash::Hash + Ord>(top: &Top<K>) -> Volume {
        let ranking = top.largest(3);
        let mut sum = ranking.others;
        sum.add(ranking.several);
        for (_, row) in ranking.rows {
            sum.add(row);
        }
        sum
    }

    proptest! {
        #[test]
        fn every_sum_is_that_of_the_events(all in vec(written(), 0..40)) {
            let mut collected = Collected::default();
            for one in &all {
                collected.take(event::read(&one.line()).unwrap());
            }
            let expected = sum(all.iter());
            prop_assert_eq!(collected.total, expected);
            prop_assert_eq!(collected.summarised, sum(all.iter().filter(|one| one.summary)));
            for table in [
                total(&collected.sources),
                total(&collected.destinations),
                total(&collected.services),
                total(&collected.protocols),
                total(&collected.directions),
            ] {
                prop_assert_eq!(table, expected);
            }
            let (_, _, buckets) = collected.timeline.buckets();
            prop_assert_eq!(buckets.iter().map(|bucket| bucket.bytes).sum::<u64>(), expected.bytes);
            prop_assert_eq!(buckets.iter().map(|bucket| bucket.packets).sum::<u64>(), expected.packets);
            for (ip, row) in collected.sources.largest(100).rows {
                let host = |one: &&Written| one.host.is_some_and(|host| ip == IpAddr::from([10, 0, 0, host]));
                prop_assert_eq!(row, sum(all.iter().filter(host)));
            }
            let in_lines: u64 = collected.health.interfaces.values().map(|one| one.in_lines.packets).sum();
            prop_assert_eq!(in_lines, expected.packets);
        }
    }
}
