//! `high_outbound_bytes`: more sent outside than this host usually does, counted while it is being sent.

mod volume;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{
    Baseline, Confidence, Context, Count, Finding, Tag,
    beacon::Beacons,
    contact::{Contact, Event},
    episode::Subject,
    table::{Hint, Key as _, Table},
};
use crate::{config::detect::DetectorMode, enrich::Direction};
use volume::{HOUR_NS, HOURS, Usual, Volume};

const DAY_NS: u64 = 24 * HOUR_NS;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Outbound {
    /// By host and outside network.
    volumes: Table<(IpAddr, u64), Volume>,
    hosts: Table<IpAddr, Usual>,
    /// Of what is asked for next.
    #[serde(skip)]
    next: Hints,
}

/// Where that lies, most likely, which a slice of traffic asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hints {
    host: Hint,
    volume: Hint,
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

/// A network in one word. The upper half of a /48 ends with 16 bits of nothing, the lower half is empty; a /24 is told
/// by the lowest bit.
fn word(network: IpAddr) -> u64 {
    let (high, low) = network.packed();
    high | low | u64::from(network.is_ipv4())
}

impl Outbound {
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            volumes: Table::with_bytes(bytes / 7 * 6, 0),
            hosts: Table::with_bytes(bytes / 7, 8 * HOURS),
            next: Hints::default(),
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

    /// Where that lies which a slice of traffic will ask for.
    pub(super) fn hints(&self, source: IpAddr, target: IpAddr) -> Hints {
        Hints {
            host: self.hosts.hint(&source),
            volume: self.volumes.hint(&(source, word(network(target)))),
        }
    }

    /// Reads it, so that it is in the cache by then.
    pub(super) fn touch(&self, hints: Hints) {
        self.hosts.touch(hints.host, |usual| (usual.hour, usual.last_ns));
        self.volumes
            .touch(hints.volume, |volume| (volume.last_ns, volume.hour));
    }

    /// It is asked for next.
    pub(super) fn expect(&mut self, hints: Hints) {
        self.next = hints;
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
        let usual = self
            .hosts
            .entry_at(self.next.host, contact.source, Usual::default);
        usual.add(traffic);
        let network = network(contact.target);
        let key = (contact.source, word(network));
        let volume = self
            .volumes
            .entry_at(self.next.volume, key, || Volume::new(traffic.first_ns));
        volume.add(traffic);
        let day: u64 = volume.day_sent.iter().sum();
        // An hour's bytes are among those of its days.
        if day < settings.hour_bytes.min(settings.day_bytes) {
            return;
        }
        let [hour, hour_received] = volume.sums();
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
        let rare = volume.rare.get_or_insert_default();
        rare.peak = rare.peak.max(magnitude);
        // What went there on a day before was told then: a backup every night is one finding, unless it doubles. The
        // sum of a day is that of two.
        let known = hour < rare.peak_before.saturating_mul(2) && day < rare.peak_before.saturating_mul(3);
        let subject = Subject {
            tag: Tag::OutboundBytes,
            source: Some(contact.source),
            target: Some(network),
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
