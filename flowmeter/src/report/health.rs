//! How well the meter did, out of its statistics events: what it saw and what became of it, and when it was silent.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::event::{Amount, Flow, Statistics};
use crate::explain::told::plain;

/// Interfaces of all collectors that are kept apart.
const INTERFACES: usize = 256;
/// Reasons of loss that are kept apart, far more than there are.
const REASONS: usize = 32;
/// Spans of time without a gap that are kept apart, of one interface.
const SPANS: usize = 10_000;

/// By collector and interface.
#[derive(Default)]
pub(super) struct Health {
    pub(super) interfaces: BTreeMap<(String, String), Interface>,
    /// Statistics events of interfaces that found no room.
    pub(super) beyond: u64,
    /// The last failure to write that an event tells.
    pub(super) last_error: Option<String>,
}

/// Sums of one interface.
#[derive(Default)]
pub(super) struct Interface {
    pub(super) events: u64,
    pub(super) seen: Amount,
    pub(super) exported: Amount,
    pub(super) summarised: Amount,
    pub(super) left_out: Amount,
    pub(super) lost: BTreeMap<String, Amount>,
    pub(super) filtered: Amount,
    pub(super) sampled_out: Amount,
    pub(super) withheld: Amount,
    pub(super) withheld_lines: u64,
    /// What the flow events and summaries that were read hold.
    pub(super) in_lines: Amount,
    pub(super) early_drains: u64,
    pub(super) evicted: u64,
    /// How full the flow map was at most, in per cent.
    pub(super) map_percent: u64,
    pub(super) coverage: Coverage,
}

impl Health {
    pub(super) fn statistics(&mut self, statistics: &Statistics<'_>) {
        let meter = &statistics.meter;
        if let Some(error) = &meter.output.last_error {
            self.last_error = Some(plain(error));
        }
        let Some(interface) = self.interface(&statistics.collector, meter.interface()) else {
            self.beyond += 1;
            return;
        };
        interface.events += 1;
        for (sum, more) in [
            (&mut interface.seen, meter.seen),
            (&mut interface.exported, meter.exported),
            (&mut interface.summarised, meter.summarised),
            (&mut interface.left_out, meter.left_out),
            (&mut interface.filtered, meter.filtered),
            (&mut interface.sampled_out, meter.sampled_out),
            (&mut interface.withheld, meter.withheld.amount),
        ] {
            sum.add(more);
        }
        for (reason, amount) in &meter.lost {
            let room = interface.lost.len() < REASONS;
            let reason = if room { plain(reason) } else { "other".to_owned() };
            interface.lost.entry(reason).or_default().add(*amount);
        }
        for (sum, more) in [
            (&mut interface.withheld_lines, meter.withheld.lines.0),
            (&mut interface.early_drains, meter.map.early_drains.0),
            (&mut interface.evicted, meter.connections.evicted.0),
        ] {
            *sum = sum.saturating_add(more);
        }
        let percent = meter
            .map
            .entries
            .0
            .saturating_mul(100)
            .checked_div(meter.map.capacity.0);
        interface.map_percent = interface.map_percent.max(percent.unwrap_or(0));
        interface.coverage.add(statistics.start, statistics.end);
    }

    pub(super) fn flow(&mut self, flow: &Flow<'_>) {
        if let Some(interface) = self.interface(&flow.collector, &flow.interface) {
            interface.in_lines.add(Amount {
                packets: flow.volume().packets,
                wire_bytes: flow.wire_bytes,
            });
        }
    }

    fn interface(&mut self, collector: &str, interface: &str) -> Option<&mut Interface> {
        let key = (plain(collector), plain(interface));
        let room = self.interfaces.len() < INTERFACES;
        if room || self.interfaces.contains_key(&key) {
            return Some(self.interfaces.entry(key).or_default());
        }
        None
    }

    /// Those that told anything of themselves; made-up and merely replayed flows have no meter.
    pub(super) fn metered(&self) -> impl Iterator<Item = (&(String, String), &Interface)> {
        self.interfaces
            .iter()
            .filter(|(_, interface)| interface.events > 0)
    }

    pub(super) fn sum(&self, of: impl Fn(&Interface) -> Amount) -> Amount {
        let mut sum = Amount::default();
        for (_, interface) in self.metered() {
            sum.add(of(interface));
        }
        sum
    }
}

impl Interface {
    pub(super) fn lost(&self) -> Amount {
        let mut sum = Amount::default();
        for amount in self.lost.values() {
            sum.add(*amount);
        }
        sum
    }

    /// What the terms of the conservation law add up to; `seen` if it holds.
    pub(super) fn accounted(&self) -> Amount {
        let mut sum = self.exported;
        for term in [self.left_out, self.lost(), self.filtered, self.sampled_out] {
            sum.add(term);
        }
        sum
    }

    /// Packets that the lines should hold.
    pub(super) const fn expected_in_lines(&self) -> u64 {
        self.exported.packets.saturating_sub(self.withheld.packets)
    }
}

/// Which times the intervals cover, whatever their order.
#[derive(Default)]
pub(super) struct Coverage {
    /// End by start; apart from each other.
    spans: BTreeMap<Timestamp, Timestamp>,
    /// Intervals that lie, in part, where another one was.
    pub(super) doubled: u64,
    /// Intervals that found no room: gaps around them are not looked for.
    pub(super) beyond: u64,
}

/// A time that no interval covers.
pub(super) type Gap = (Timestamp, Timestamp);

impl Coverage {
    fn add(&mut self, start: Timestamp, end: Timestamp) {
        if end <= start {
            return;
        }
        let (mut from, mut until) = (start, end);
        let mut doubled = false;
        // What touches it: at most what begins before its end, from the last one backwards.
        while let Some((&other_from, &other_until)) = self.spans.range(..=until).next_back() {
            if other_until < from {
                break;
            }
            doubled |= other_from < end && start < other_until;
            from = from.min(other_from);
            until = until.max(other_until);
            self.spans.remove(&other_from);
        }
        self.doubled += u64::from(doubled);
        if self.spans.len() < SPANS {
            self.spans.insert(from, until);
        } else {
            self.beyond += 1;
        }
    }

    /// In their order.
    pub(super) fn gaps(&self) -> impl Iterator<Item = Gap> {
        let next = self.spans.keys().skip(1);
        self.spans.values().zip(next).map(|(end, start)| (*end, *start))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    proptest! {
        #[test]
        fn gaps_are_what_no_interval_covers_in_whatever_order_they_come(
            intervals in proptest::collection::vec((0_usize..90, 1_usize..12), 1..25),
        ) {
            let mut coverage = Coverage::default();
            let mut covered = [false; 110];
            let mut doubled = 0;
            for (start, length) in &intervals {
                let range = *start..start + length;
                doubled += u64::from(covered[range.clone()].contains(&true));
                covered[range].fill(true);
                coverage.add(at(*start as i64), at((start + length) as i64));
            }
            let first = covered.iter().position(|covered| *covered).unwrap();
            let last = covered.iter().rposition(|covered| *covered).unwrap();
            let mut told = [true; 110];
            for (from, until) in coverage.gaps() {
                for second in from.as_second()..until.as_second() {
                    told[usize::try_from(second).unwrap()] = false;
                }
            }
            prop_assert_eq!(&told[first..=last], &covered[first..=last]);
            prop_assert_eq!(coverage.doubled, doubled);
        }
    }
}
