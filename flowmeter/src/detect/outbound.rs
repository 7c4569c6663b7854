//! `high_outbound_bytes`: more sent outside than this host usually does, counted while it is being sent.

use std::{hint::black_box, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::{
    Baseline, Confidence, Context, Count, Finding, Tag,
    beacon::Beacons,
    contact::{Contact, Event, Traffic},
    episode::Subject,
    table::{Entry, Table},
};
use crate::{config::detect::DetectorMode, enrich::Direction};

const HOUR_NS: u64 = 3_600_000_000_000;
const DAY_NS: u64 = 24 * HOUR_NS;
/// The sliding hour is twelve of these.
const SLOT_NS: u64 = HOUR_NS / 12;
const SLOTS_OF_A_DAY: u32 = 24 * 12;
/// Hours of a host that its baseline is made of, and how many it takes.
const HOURS: usize = 48;
const LEAST_HOURS: usize = 12;

/// What one host sent to one outside network.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Volume {
    first_ns: u64,
    last_ns: u64,
    /// Since the epoch.
    slot: u32,
    /// On the day of `slot` and the day before: a slow trickle adds up.
    day_sent: [u64; 2],
    day_received: [u64; 2],
    /// Of those that lasted longer than a slot.
    lasting: Option<Box<Lasting>>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Lasting {
    hour: Hour,
    /// The most that was too much, today and on any day before.
    peak: u64,
    peak_before: u64,
}

/// Bytes sent and received in the newest twelve slots.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Hour {
    low: [[u32; 2]; 12],
    /// What 32 bits have no room for, which few need.
    high: Option<Box<[[u32; 2]; 12]>>,
}

impl Hour {
    fn clear(&mut self, place: usize) {
        for words in [Some(&mut self.low), self.high.as_deref_mut()] {
            if let Some(slot) = words.and_then(|words| words.get_mut(place)) {
                *slot = [0; 2];
            }
        }
    }

    fn add(&mut self, place: usize, bytes: [u64; 2]) {
        let Some(low) = self.low.get_mut(place) else {
            return;
        };
        let mut carry = [0; 2];
        for ((low, bytes), carry) in low.iter_mut().zip(bytes).zip(&mut carry) {
            let sum = bytes.saturating_add((*low).into());
            (*low, *carry) = (halves(sum).1, halves(sum).0);
        }
        if carry != [0; 2]
            && let Some(high) = self.high.get_or_insert_default().get_mut(place)
        {
            for (high, carry) in high.iter_mut().zip(carry) {
                *high = high.saturating_add(carry);
            }
        }
    }

    /// Sent and received.
    fn sums(&self) -> [u64; 2] {
        let sum = |words: &[[u32; 2]; 12], which: usize| -> u64 {
            words
                .iter()
                .filter_map(|slot| slot.get(which))
                .map(|word| u64::from(*word))
                .sum()
        };
        [0, 1].map(|which| {
            let high = self.high.as_deref().map_or(0, |high| sum(high, which));
            (high << 32).saturating_add(sum(&self.low, which))
        })
    }
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
    fn new(traffic: &Traffic) -> Self {
        Self {
            first_ns: traffic.first_ns,
            last_ns: traffic.last_ns,
            slot: slot(traffic.last_ns),
            day_sent: [traffic.sent.bytes, 0],
            day_received: [traffic.received.bytes, 0],
            lasting: None,
        }
    }

    fn add(&mut self, traffic: &Traffic) {
        self.last_ns = self.last_ns.max(traffic.last_ns);
        let slot = slot(traffic.last_ns);
        if slot != self.slot || self.lasting.is_some() {
            self.add_to_hour(slot, traffic);
        }
        self.day_sent[0] = self.day_sent[0].saturating_add(traffic.sent.bytes);
        self.day_received[0] = self.day_received[0].saturating_add(traffic.received.bytes);
    }

    fn add_to_hour(&mut self, slot: u32, traffic: &Traffic) {
        let before = self.slot;
        let days = (slot / SLOTS_OF_A_DAY).saturating_sub(before / SLOTS_OF_A_DAY);
        let lasting = self.lasting();
        if slot > before {
            (before + 1..=slot.min(before.saturating_add(12)))
                .for_each(|slot| lasting.hour.clear(place(slot)));
            if days > 0 {
                lasting.peak_before = lasting.peak_before.max(std::mem::take(&mut lasting.peak));
            }
        }
        if slot.saturating_add(12) > before {
            lasting
                .hour
                .add(place(slot), [traffic.sent.bytes, traffic.received.bytes]);
        }
        if days > 0 {
            let yesterday = |now: u64| if days == 1 { now } else { 0 };
            self.day_sent = [0, yesterday(self.day_sent[0])];
            self.day_received = [0, yesterday(self.day_received[0])];
        }
        self.slot = self.slot.max(slot);
    }

    /// What it has once it lasts: all so far was in one slot.
    fn lasting(&mut self) -> &mut Lasting {
        let (slot, bytes) = (self.slot, [self.day_sent[0], self.day_received[0]]);
        self.lasting.get_or_insert_with(|| {
            let mut lasting = Lasting::default();
            lasting.hour.add(place(slot), bytes);
            Box::new(lasting)
        })
    }
}

fn slot(time_ns: u64) -> u32 {
    u32::try_from(time_ns / SLOT_NS).unwrap_or(u32::MAX)
}

fn place(slot: u32) -> usize {
    usize::try_from(slot % 12).unwrap_or(0)
}

/// What one host sends outside in an hour.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Usual {
    hour: u64,
    now: u64,
    hours: Vec<u64>,
    next: u8,
    last_ns: u64,
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
    fn add(&mut self, traffic: &Traffic) {
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
    fn spread(&self) -> Option<(u64, u64)> {
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

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Outbound {
    volumes: Table<(IpAddr, IpAddr), Volume>,
    hosts: Table<IpAddr, Usual>,
}

/// An outside network: services spread over neighbouring addresses.
pub(super) fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            IpAddr::from([a, b, c, 0])
        }
        IpAddr::V6(ip) => {
            let [a, b, c, ..] = ip.segments();
            IpAddr::from([a, b, c, 0, 0, 0, 0, 0])
        }
    }
}

impl Outbound {
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            volumes: Table::with_bytes(bytes / 3 * 2, size_of::<Lasting>() + 8),
            hosts: Table::with_bytes(bytes / 3, 8 * HOURS),
        }
    }

    pub(super) fn adopt(&mut self, other: Self) {
        self.volumes.adopt(other.volumes);
        self.hosts.adopt(other.hosts);
    }

    pub(super) fn usage(&self) -> (usize, usize, u64) {
        (
            self.volumes.len() + self.hosts.len(),
            self.volumes.capacity() + self.hosts.capacity(),
            self.volumes.evicted() + self.hosts.evicted(),
        )
    }

    /// Reads what a slice of traffic will ask for, so that it is in the cache by then.
    pub(super) fn touch(&self, source: IpAddr, target: IpAddr) {
        self.hosts.touch(&source);
        if let Some(volume) = self.volumes.get(&(source, network(target))) {
            black_box((
                volume.day_received,
                volume.lasting.as_ref().map(|lasting| lasting.hour.low),
            ));
        }
    }

    pub(super) fn tick(&mut self, now_ns: u64) {
        self.volumes
            .retain(|volume| volume.last_ns.saturating_add(2 * DAY_NS) > now_ns);
        self.hosts
            .retain(|usual| usual.last_ns.saturating_add(7 * DAY_NS) > now_ns);
    }

    pub(super) fn event(
        &mut self,
        now_ns: u64,
        event: &Event,
        contact: &Contact,
        beacons: &Beacons,
        context: &mut Context<'_>,
    ) {
        let Event::Traffic(traffic) = event else {
            return;
        };
        if contact.direction() != Direction::InternalToExternal || !contact.unicast {
            return;
        }
        let settings = &context.settings.of(contact.source).outbound_bytes;
        if settings.mode != DetectorMode::Full {
            return;
        }
        let usual = self.hosts.entry(contact.source, Usual::default);
        usual.add(traffic);
        let key = (contact.source, network(contact.target));
        let mut met = true;
        let volume = self.volumes.entry(key, || {
            met = false;
            Volume::new(traffic)
        });
        if met {
            volume.add(traffic);
        }
        let day: u64 = volume.day_sent.iter().sum();
        // An hour's bytes are among those of its days.
        if day < settings.hour_bytes.min(settings.day_bytes) {
            return;
        }
        let lasting = volume.lasting();
        let [hour, hour_received] = lasting.hour.sums();
        let peak_before = lasting.peak_before;
        let day_received: u64 = volume.day_received.iter().sum();
        let ratio = u64::from(settings.ratio);
        let by_hour = hour >= settings.hour_bytes && hour >= ratio.saturating_mul(hour_received);
        let by_day = day >= settings.day_bytes
            && day >= ratio.saturating_mul(day_received)
            && volume.last_ns.saturating_sub(volume.first_ns) <= 2 * DAY_NS;
        if !(by_hour || by_day) {
            return;
        }
        let spread = usual.spread();
        let limit = spread.map(|(median, mad)| {
            // A host that is always silent has a deviation of nothing: a tenth of the setting at least.
            median.saturating_add(
                mad.max(settings.hour_bytes / 10)
                    .saturating_mul(settings.deviations.into()),
            )
        });
        let over = limit.is_none_or(|limit| usual.now >= limit || by_day);
        if !over {
            return;
        }
        let beaconing = beacons.regular(&(contact.source, contact.target, contact.port, contact.protocol));
        let magnitude = if by_hour { hour } else { day };
        let lasting = volume.lasting();
        lasting.peak = lasting.peak.max(magnitude);
        // What went there on a day before was told then: a backup every night is one finding, unless it doubles. The
        // sum of a day is that of two.
        let known = hour < peak_before.saturating_mul(2) && day < peak_before.saturating_mul(3);
        let subject = Subject {
            tag: Tag::OutboundBytes,
            source: Some(contact.source),
            target: Some(key.1),
            port: None,
            kind: 0,
        };
        if known && context.episodes.since(&subject).is_none() {
            return;
        }
        let dimensions = u32::from(by_hour) | u32::from(by_day) << 1 | u32::from(beaconing) << 2;
        if !context.episodes.wants(&subject, magnitude, dimensions, now_ns) {
            return;
        }
        let mut finding = Finding::new(Tag::OutboundBytes, volume.first_ns, volume.last_ns);
        finding.source = Some(contact.source);
        finding.destination = Some(contact.target);
        finding.port = Some(contact.port);
        finding.protocol = Some(contact.protocol);
        let megabytes = magnitude / 1_000_000;
        if by_hour {
            finding.reason("hour_volume", format!("{} MB within an hour", hour / 1_000_000));
        }
        if by_day {
            finding.reason("day_volume", format!("{} MB within two days", day / 1_000_000));
        }
        let received = if by_hour { hour_received } else { day_received };
        finding.reason(
            "sent_received_ratio",
            format!(
                "{} bytes sent for each byte received",
                magnitude / received.max(1)
            ),
        );
        if limit.is_some() {
            finding.reason("over_baseline", "far over the host's usual hour".to_owned());
        }
        if volume.last_ns.saturating_sub(volume.first_ns) <= DAY_NS {
            finding.reason("new_destination", "first seen within a day".to_owned());
        }
        if beaconing {
            finding.reason(
                "beaconing",
                "the same host is called at regular intervals".to_owned(),
            );
        }
        finding.counts = vec![
            Count::exact("bytes_sent", magnitude),
            Count::exact("bytes_received", received),
        ];
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        if let Some((median, mad)) = spread {
            let (usual_bytes, observed) = (median as f64, usual.now as f64);
            finding.baseline = Some(Baseline {
                usual: usual_bytes,
                observed,
                deviation: (observed - usual_bytes) / (mad as f64).max(1.0),
                unit: "bytes/h",
            });
        }
        let times = magnitude / settings.hour_bytes.max(1);
        let base = if limit.is_some() { 60 } else { 50 };
        finding.score = u8::try_from((base + 8 * times.checked_ilog2().unwrap_or(0)).min(100)).unwrap_or(100);
        finding.confidence = if limit.is_some() {
            Confidence::Medium
        } else {
            Confidence::Low
        };
        finding.techniques = if beaconing {
            vec!["T1041", "T1048"]
        } else if matches!(contact.port, 80 | 443) {
            vec!["T1567", "T1048"]
        } else {
            vec!["T1048", "T1567"]
        };
        finding.settings = vec![
            (
                "detect.outbound_bytes.hour_bytes",
                settings.hour_bytes.to_string(),
            ),
            ("detect.outbound_bytes.ratio", settings.ratio.to_string()),
        ];
        finding.message = format!("{} sent {megabytes} MB to {}.", contact.source, contact.target);
        context.episodes.raise(
            context.settings,
            subject,
            magnitude,
            dimensions,
            HOUR_NS,
            now_ns,
            finding,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::wire::{Case, check},
        *,
    };

    const A: &str = "10.0.0.5";
    const OUT: &str = "203.0.113.7";

    #[test]
    fn cases() {
        check(
            Tag::OutboundBytes,
            &[
                Case {
                    name: "an upload",
                    set: &[],
                    traffic: |wire| wire.session(0.0, A, OUT, 443, 300.0, 150_000_000, 2_000_000),
                    expected: Some("hour_volume"),
                },
                Case {
                    name: "an upload over neighbouring addresses",
                    set: &[],
                    traffic: |wire| {
                        for n in 1..=10 {
                            wire.session(
                                f64::from(n) * 20.0,
                                A,
                                &format!("203.0.113.{n}"),
                                443,
                                10.0,
                                15_000_000,
                                9_000,
                            );
                        }
                    },
                    expected: Some("hour_volume"),
                },
                Case {
                    name: "a download",
                    set: &[],
                    traffic: |wire| wire.session(0.0, A, OUT, 443, 300.0, 150_000_000, 900_000_000),
                    expected: None,
                },
                Case {
                    name: "inside",
                    set: &[],
                    traffic: |wire| wire.session(0.0, A, "10.9.9.9", 443, 300.0, 900_000_000, 2_000_000),
                    expected: None,
                },
                Case {
                    name: "what outsiders fetch from here",
                    set: &[],
                    traffic: |wire| wire.session(0.0, OUT, A, 443, 300.0, 900_000, 900_000_000),
                    expected: None,
                },
                Case {
                    name: "a trickle all day",
                    set: &[],
                    traffic: |wire| {
                        (0..48).for_each(|n| {
                            wire.session(f64::from(n) * 1800.0, A, OUT, 443, 60.0, 8_000_000, 20_000)
                        });
                    },
                    expected: Some("day_volume"),
                },
                Case {
                    name: "a backup every night is told once",
                    set: &[],
                    traffic: |wire| {
                        (0..5).for_each(|n| {
                            wire.session(
                                f64::from(n) * 86_400.0 + 1.0,
                                A,
                                OUT,
                                443,
                                900.0,
                                400_000_000,
                                20_000,
                            )
                        });
                    },
                    expected: Some("hour_volume"),
                },
                Case {
                    name: "a backup that always does that",
                    set: &["detect.outbound_bytes.day_bytes=1000000000000"],
                    traffic: |wire| {
                        // Until there are enough hours to know better, it is told: not looked at here.
                        for hour in 0..72 {
                            let bytes = if hour < 30 { 90_000_000 } else { 130_000_000 };
                            wire.session(f64::from(hour) * 3600.0 + 1.0, A, OUT, 443, 600.0, bytes, 20_000);
                        }
                    },
                    expected: None,
                },
            ],
        );
    }

    #[test]
    fn more_than_32_bits_in_an_hour_are_added_up_exactly_and_forgotten_with_their_slots() {
        let mut volume = None;
        let mut send = |minute: u64, bytes: u64| {
            let sum = |bytes| super::super::contact::Sum { packets: 1, bytes };
            let time_ns = 500_000 * HOUR_NS + minute * 60_000_000_000;
            let traffic = Traffic {
                sent: sum(bytes),
                received: sum(7),
                first_ns: time_ns,
                last_ns: time_ns,
            };
            match &mut volume {
                None => volume = Some(Volume::new(&traffic)),
                Some(volume) => volume.add(&traffic),
            }
            volume.clone().unwrap().lasting().hour.sums()
        };
        assert_eq!(send(1, 4_294_967_295), [4_294_967_295, 7]);
        assert_eq!(send(2, 4_294_967_295), [8_589_934_590, 14]);
        assert_eq!(send(31, 30_000_000_001), [38_589_934_591, 21]);
        assert_eq!(send(61, 5), [30_000_000_006, 14]);
        assert_eq!(send(300, 1), [1, 7]);
    }

    #[test]
    fn a_running_upload_is_told_while_it_runs() {
        use super::super::wire::{Wire, config};
        let mut wire = Wire::new();
        wire.session(0.0, A, OUT, 443, 6.0 * 3600.0, 3_000_000_000, 1_000_000);
        let findings = wire.findings(&config(&[]));
        let first = findings
            .iter()
            .find(|finding| finding.tag == Tag::OutboundBytes)
            .unwrap();
        assert!(first.last_seen_ns - first.first_seen_ns < HOUR_NS, "{first:#?}");
    }
}
