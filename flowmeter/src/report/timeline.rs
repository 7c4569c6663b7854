//! Volumes and findings by time, in as many buckets as a chart can show.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::model::Severity;

/// Buckets over the whole time, at most.
pub(super) const BUCKETS: i64 = 120;

/// Seconds; each divides the next, so that buckets can be put together.
const WIDTHS: [i64; 13] = [
    1, 5, 10, 30, 60, 300, 600, 1800, 3600, 10_800, 21_600, 43_200, 86_400,
];

/// What happened in one bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bucket {
    pub(super) bytes: u64,
    pub(super) packets: u64,
    /// Low, medium, high.
    pub(super) findings: [u64; 3],
}

impl Bucket {
    pub(super) fn add(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.packets = self.packets.saturating_add(other.packets);
        for (sum, more) in self.findings.iter_mut().zip(other.findings) {
            *sum = sum.saturating_add(more);
        }
    }

    pub(super) fn finding(severity: Severity) -> Self {
        let mut bucket = Self::default();
        if let Some(count) = bucket.findings.get_mut(severity as usize) {
            *count = 1;
        }
        bucket
    }
}

/// Buckets grow wider as the time does; their number stays bounded.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    width: i64,
    /// By their start, in widths since the Unix epoch.
    buckets: BTreeMap<i64, Bucket>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self {
            width: 1,
            buckets: BTreeMap::new(),
        }
    }
}

impl Timeline {
    pub(super) fn add(&mut self, time: Timestamp, what: Bucket) {
        let number = time.as_second().div_euclid(self.width);
        self.buckets.entry(number).or_default().add(what);
        while self.length() > BUCKETS {
            self.widen();
        }
    }

    fn length(&self) -> i64 {
        let (Some((first, _)), Some((last, _))) =
            (self.buckets.first_key_value(), self.buckets.last_key_value())
        else {
            return 0;
        };
        last - first + 1
    }

    fn widen(&mut self) {
        let wider = WIDTHS.into_iter().find(|width| *width > self.width);
        let wider = wider.unwrap_or(self.width * 10);
        for (number, bucket) in std::mem::take(&mut self.buckets) {
            let number = number * self.width;
            let into = self.buckets.entry(number.div_euclid(wider)).or_default();
            into.add(bucket);
        }
        self.width = wider;
    }

    /// Start (seconds since the Unix epoch), width (seconds) and every bucket, those without traffic too.
    pub(super) fn buckets(&self) -> (i64, i64, Vec<Bucket>) {
        let first = self.buckets.first_key_value().map_or(0, |(first, _)| *first);
        let buckets = (first..first + self.length())
            .map(|number| self.buckets.get(&number).copied().unwrap_or_default())
            .collect();
        (first * self.width, self.width, buckets)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn every_time_has_a_bucket_there_are_few_and_nothing_is_lost(
            times in vec(prop_oneof![0_i64..2_000_000_000, 1_700_000_000_i64..1_700_000_300, -300_000_000_000_i64..250_000_000_000], 1..50),
        ) {
            let mut timeline = Timeline::default();
            for second in &times {
                timeline.add(
                    Timestamp::from_second(*second).unwrap(),
                    Bucket { bytes: 7, packets: 1, findings: [0, 1, 0] },
                );
            }
            let (start, width, buckets) = timeline.buckets();
            prop_assert!(buckets.len() as i64 <= BUCKETS);
            for second in &times {
                let bucket = usize::try_from((second - start).div_euclid(width)).unwrap();
                prop_assert!(buckets[bucket].packets > 0);
            }
            let mut sum = Bucket::default();
            for bucket in &buckets {
                sum.add(*bucket);
            }
            let count = times.len() as u64;
            prop_assert_eq!(sum, Bucket { bytes: 7 * count, packets: count, findings: [0, count, 0] });
            prop_assert_eq!(start.rem_euclid(width), 0);
        }
    }
}
