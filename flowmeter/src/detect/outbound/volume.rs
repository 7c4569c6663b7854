//! Bytes that were sent outside: by one host to one network, and by one host in an hour.

use serde::{Deserialize, Serialize};

use crate::detect::{contact::Traffic, table::Entry};

pub(super) const HOUR_NS: u64 = 3_600_000_000_000;

/// The sliding hour is twelve of these.
const SLOT_NS: u64 = HOUR_NS / 12;
const SLOTS_OF_A_DAY: u32 = 24 * 12;
/// Hours of a host that its baseline is made of, and how many it takes.
pub(super) const HOURS: usize = 48;
const LEAST_HOURS: usize = 12;

/// What one host sent to one outside network. What each slice changes stands side by side.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[repr(C)]
pub(super) struct Volume {
    pub(super) last_ns: u64,
    /// On the day of `slot` and the day before: a slow trickle adds up.
    pub(super) day_sent: [u64; 2],
    pub(super) day_received: [u64; 2],
    /// Bytes sent and received in the newest twelve slots.
    pub(super) hour: [[u32; 2]; 12],
    pub(super) first_ns: u64,
    /// What few have.
    pub(super) rare: Option<Box<Rare>>,
    /// Since the epoch.
    slot: u32,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Rare {
    /// Of the bytes in a slot, what 32 bits have no room for.
    high: [[u32; 2]; 12],
    /// The most that was too much, today and on any day before.
    pub(super) peak: u64,
    pub(super) peak_before: u64,
}

/// High and low.
#[expect(clippy::cast_possible_truncation, reason = "both halves are kept")]
const fn halves(sum: u64) -> (u32, u32) {
    ((sum >> 32) as u32, sum as u32)
}

impl Entry for Volume {
    fn suspicion(&self) -> u32 {
        u32::try_from(self.day_sent.iter().sum::<u64>() >> 20).unwrap_or(u32::MAX)
    }

    fn last_ns(&self) -> u64 {
        self.last_ns
    }
}

impl Volume {
    pub(super) fn new(first_ns: u64) -> Self {
        Self {
            first_ns,
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, traffic: &Traffic) {
        let time_ns = traffic.last_ns;
        self.last_ns = self.last_ns.max(time_ns);
        let slot = u32::try_from(time_ns / SLOT_NS).unwrap_or(u32::MAX);
        let place = |slot: u32| usize::try_from(slot % 12).unwrap_or(0);
        if slot > self.slot {
            (self.slot + 1..=slot.min(self.slot.saturating_add(12))).for_each(|slot| self.clear(place(slot)));
            let (day, before) = (slot / SLOTS_OF_A_DAY, self.slot / SLOTS_OF_A_DAY);
            if day > before {
                let yesterday = |now: u64| if day == before + 1 { now } else { 0 };
                self.day_sent = [0, yesterday(self.day_sent[0])];
                self.day_received = [0, yesterday(self.day_received[0])];
                if let Some(rare) = &mut self.rare {
                    rare.peak_before = rare.peak_before.max(std::mem::take(&mut rare.peak));
                }
            }
            self.slot = slot;
        }
        if slot.saturating_add(12) > self.slot {
            self.carry(place(slot), [traffic.sent.bytes, traffic.received.bytes]);
        }
        self.day_sent[0] = self.day_sent[0].saturating_add(traffic.sent.bytes);
        self.day_received[0] = self.day_received[0].saturating_add(traffic.received.bytes);
    }
}

/// The sliding hour.
impl Volume {
    fn clear(&mut self, place: usize) {
        let high = self.rare.as_deref_mut().map(|rare| &mut rare.high);
        for words in [Some(&mut self.hour), high] {
            if let Some(slot) = words.and_then(|words| words.get_mut(place)) {
                *slot = [0; 2];
            }
        }
    }

    fn carry(&mut self, place: usize, bytes: [u64; 2]) {
        let Some(low) = self.hour.get_mut(place) else {
            return;
        };
        let mut carry = [0; 2];
        for ((low, bytes), carry) in low.iter_mut().zip(bytes).zip(&mut carry) {
            let sum = bytes.saturating_add((*low).into());
            (*low, *carry) = (halves(sum).1, halves(sum).0);
        }
        if carry != [0; 2]
            && let Some(high) = self.rare.get_or_insert_default().high.get_mut(place)
        {
            for (high, carry) in high.iter_mut().zip(carry) {
                *high = high.saturating_add(carry);
            }
        }
    }

    /// Bytes sent and received within it.
    pub(super) fn sums(&self) -> [u64; 2] {
        let sum = |words: &[[u32; 2]; 12], which: usize| -> u64 {
            words
                .iter()
                .filter_map(|slot| slot.get(which))
                .map(|word| u64::from(*word))
                .sum()
        };
        [0, 1].map(|which| {
            let high = self.rare.as_deref().map_or(0, |rare| sum(&rare.high, which));
            (high << 32).saturating_add(sum(&self.hour, which))
        })
    }
}

/// What one host sends outside in an hour.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Usual {
    pub(super) hour: u64,
    pub(super) now: u64,
    hours: Vec<u64>,
    next: u8,
    pub(super) last_ns: u64,
}

impl Entry for Usual {
    fn suspicion(&self) -> u32 {
        u32::try_from(self.hours.len()).unwrap_or(0)
    }

    fn last_ns(&self) -> u64 {
        self.last_ns
    }
}

impl Usual {
    pub(super) fn add(&mut self, traffic: &Traffic) {
        let hour = traffic.last_ns / HOUR_NS;
        self.last_ns = self.last_ns.max(traffic.last_ns);
        if hour > self.hour {
            if self.hour > 0 {
                self.push(self.now);
                for _ in self.hour + 1..hour.min(self.hour + 1 + HOURS as u64) {
                    self.push(0);
                }
            }
            self.hour = hour;
            self.now = 0;
        }
        self.now = self.now.saturating_add(traffic.sent.bytes);
    }

    fn push(&mut self, bytes: u64) {
        if self.hours.len() < HOURS {
            self.hours.push(bytes);
        } else if let Some(place) = self.hours.get_mut(usize::from(self.next)) {
            *place = bytes;
        }
        self.next = (self.next + 1) % 48;
    }

    /// Median and median absolute deviation of the hours that are over.
    pub(super) fn spread(&self) -> Option<(u64, u64)> {
        if self.hours.len() < LEAST_HOURS {
            return None;
        }
        let middle = |values: &mut Vec<u64>| {
            values.sort_unstable();
            values.get(values.len() / 2).copied().unwrap_or(0)
        };
        let mut hours = self.hours.clone();
        let median = middle(&mut hours);
        let mut off: Vec<u64> = hours.iter().map(|bytes| bytes.abs_diff(median)).collect();
        Some((median, middle(&mut off)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::contact::Sum;

    #[test]
    fn more_than_32_bits_in_an_hour_are_added_up_exactly_and_forgotten_with_their_slots() {
        let mut volume = Volume::default();
        let mut send = |minute: u64, bytes: u64| {
            let sum = |bytes| Sum { packets: 1, bytes };
            let time_ns = 500_000 * HOUR_NS + minute * 60_000_000_000;
            volume.add(&Traffic {
                sent: sum(bytes),
                received: sum(7),
                first_ns: time_ns,
                last_ns: time_ns,
            });
            volume.sums()
        };
        assert_eq!(send(1, 4_294_967_295), [4_294_967_295, 7]);
        assert_eq!(send(2, 4_294_967_295), [8_589_934_590, 14]);
        assert_eq!(send(31, 30_000_000_001), [38_589_934_591, 21]);
        assert_eq!(send(61, 5), [30_000_000_006, 14]);
        assert_eq!(send(300, 1), [1, 7]);
    }
}
