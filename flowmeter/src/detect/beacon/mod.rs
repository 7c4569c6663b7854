//! `possible_beaconing`: contacts that come back like a clock, allowing for sleep, jitter and missed beats.
//!
//! Judged are the starts of connections, not slices: a long connection cut by the drain is no beacon. Order
//! statistics, because one night's sleep makes any mean and standard deviation worthless.

mod rhythm;
mod series;

use std::net::IpAddr;

use flowmeter_common::flow::protocol::{TCP, UDP};
use serde::{Deserialize, Serialize};

use super::{
    Confidence, Context, Count, Finding, Period, Tag,
    contact::{Contact, Event, Seen},
    episode::Subject,
    sketch::{Promotion, hash, linear},
    table::{Entry, Key as _, Table},
};
use crate::{config::detect::DetectorMode, enrich::Direction};
use rhythm::{Rhythm, spread};
use series::{Few, HOUR_NS, SERIES_BYTES, STARTS, Series, Step};

/// Forgotten after this long without a contact.
const KEEP_NS: u64 = 3 * 86_400_000_000_000;
/// An episode lasts until there was nothing for this long.
const QUIET_NS: u64 = 6 * HOUR_NS;
/// A rhythm that is kept for less time than this is that of one program's work, a page with its parts.
const SPAN_NS: u64 = 60_000_000_000;
/// Failed attempts before which a program may just be waiting for its server.
const DEAD_TRIES: u64 = 24;

/// Services that are periodic by their nature: time, addresses, discovery, routing, names in the neighbourhood.
const fn periodic(protocol: u8, port: u16) -> bool {
    matches!(
        (protocol, port),
        (UDP, 67 | 68 | 123 | 137 | 138 | 547 | 1900 | 3702 | 5353) | (TCP, 179)
    )
}

pub(super) type Pair = (IpAddr, IpAddr, u16, u8);

/// How many destinations a source was tested against: the more, the more look regular by chance.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Tested {
    /// One bit for each hash of a destination.
    destinations: u128,
    last_ns: u64,
}

impl Entry for Tested {
    fn suspicion(&self) -> u32 {
        self.destinations.count_ones()
    }

    fn last_ns(&self) -> u64 {
        self.last_ns
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Beacons {
    few: Table<Pair, Few>,
    pairs: Table<Pair, Series>,
    sources: Table<IpAddr, Tested>,
    /// Pairs that met once while there was hardly any room.
    #[serde(skip)]
    promotion: Promotion,
}

impl Beacons {
    pub(super) fn new(bytes: u64, seed: u64) -> Self {
        Self {
            few: Table::with_bytes(bytes / 4, 0),
            pairs: Table::with_bytes(bytes / 2, SERIES_BYTES),
            sources: Table::with_bytes(bytes / 8, 0),
            promotion: Promotion::with_bytes(bytes / 8, seed),
        }
    }

    pub(super) fn adopt(&mut self, other: Self) {
        self.few.adopt(other.few);
        self.pairs.adopt(other.pairs);
        self.sources.adopt(other.sources);
    }

    pub(super) fn usage(&self) -> (usize, usize, u64) {
        (
            self.few.len() + self.pairs.len(),
            self.few.capacity() + self.pairs.capacity(),
            self.few.evicted() + self.pairs.evicted(),
        )
    }

    /// Notes something of a pair that was met before, and gives it more room if it needs that. False if it was not met.
    fn note(&mut self, pair: &Pair, step: Step) -> bool {
        if let Some(few) = self.few.get_mut(pair) {
            if few.note(step) {
                return true;
            }
            let series = Series::of(few);
            self.few.remove(pair);
            self.pairs.entry(*pair, || series);
        }
        self.pairs.get_mut(pair).map(|series| series.note(step)).is_some()
    }

    /// True if the contacts of a pair have a beacon's rhythm.
    pub(super) fn regular(&self, pair: &Pair) -> bool {
        self.pairs.get(pair).is_some_and(|series| series.regular)
    }

    /// Reads what a new connection will ask for, so that it is in the cache by then.
    pub(super) fn touch(&self, seen: &Seen) {
        self.sources.touch_key(&seen.source);
        let pair = (seen.source, seen.target, seen.port, seen.protocol);
        self.few.touch_key(&pair);
        if self.few.crowded() {
            self.promotion.touch(&pair.packed());
        }
    }

    pub(super) fn tick(&mut self, now_ns: u64) {
        self.few
            .retain(|few| few.last_ns().saturating_add(KEEP_NS) > now_ns);
        self.pairs
            .retain(|series| series.last_ns.saturating_add(KEEP_NS) > now_ns);
        self.sources
            .retain(|tested| tested.last_ns.saturating_add(KEEP_NS) > now_ns);
    }

    pub(super) fn event(
        &mut self,
        time_ns: u64,
        event: &Event,
        contact: &Contact,
        context: &mut Context<'_>,
    ) {
        if matches!(event, Event::Traffic(_))
            || !contact.unicast
            || !(contact.is_tcp() || contact.is_udp())
            || contact.direction() == Direction::ExternalToExternal
        {
            return;
        }
        let settings = &context.settings_of(contact).beaconing;
        // Inside, regular is what most things are; DNS is looked at for its own detector.
        let watched = contact.direction() == Direction::InternalToExternal
            || contact.direction() == Direction::InternalToInternal
                && (settings.internal || contact.port == 53);
        if settings.mode != DetectorMode::Full || !watched || periodic(contact.protocol, contact.port) {
            return;
        }
        let pair = (contact.source, contact.target, contact.port, contact.protocol);
        match event {
            Event::Opened if contact.fresh() || !contact.asked() => {
                let tested = self.sources.entry(contact.source, Tested::default);
                tested.destinations |= 1 << (hash(7, &contact.target) % 128);
                tested.last_ns = tested.last_ns.max(contact.start_ns);
                if self.note(&pair, Step::Opened(contact.start_ns)) {
                    self.again(pair, contact, time_ns, context);
                } else if !self.few.crowded() || self.promotion.meet(&pair.packed()) {
                    self.few.entry(pair, || Few::new(contact.start_ns));
                }
            }
            Event::Settled => {
                let failed = contact.verdict.failed();
                self.note(&pair, Step::Settled { failed });
            }
            Event::Closed => {
                let size = u32::try_from(contact.sent.bytes).unwrap_or(u32::MAX);
                self.note(&pair, Step::Closed(size));
            }
            _ => {}
        }
    }

    /// Another contact of a pair: goes on with what was told, and looks whether there is more to tell.
    fn again(&mut self, pair: Pair, contact: &Contact, now_ns: u64, context: &mut Context<'_>) {
        // A few have no rhythm.
        let Some(series) = self.pairs.get_mut(&pair) else {
            return;
        };
        if series.told != 0
            && context
                .episodes
                .wants(&subject_of(contact), series.count, series.told, now_ns)
        {
            series.next_look = 0;
        }
        let contacts = context.settings_of(contact).beaconing.contacts;
        if series.count >= series.next_look.max(contacts.into()) {
            self.look(pair, contact, now_ns, context);
        }
    }

    fn look(&mut self, pair: Pair, contact: &Contact, now_ns: u64, context: &mut Context<'_>) {
        let tested = self.sources.get(&contact.source);
        let tested = tested.map_or(1, |tested| linear(tested.destinations));
        let Some(series) = self.pairs.get_mut(&pair) else {
            return;
        };
        series.next_look = series.count + (series.count / 4).clamp(1, 200);
        // One in so many pairs looks regular by chance: the more are tested, the longer each has to be.
        let doublings = u64::from((tested / 16).max(1).ilog2());
        let settings = &context.settings_of(contact).beaconing;
        if series.count < u64::from(settings.contacts) + 2 * doublings {
            return;
        }
        let Some(rhythm) = Rhythm::of(&series.gaps()) else {
            (series.regular, series.told) = (false, 0);
            return;
        };
        let mut sizes: Vec<u64> = series
            .sizes
            .values()
            .iter()
            .map(|size| u64::from(*size))
            .collect();
        sizes.sort_unstable();
        let (size, size_mad) = spread(&sizes);
        let same_size = sizes.len() >= 4 && size_mad * 10 <= size;
        let failed = series.failed * 5 >= (series.failed + series.accepted) * 4 && series.failed >= 4;
        // Half of that on the beat at least; or as many as are kept, for rhythms of less than a second.
        let short = series.last_ns.saturating_sub(series.first_ns) < SPAN_NS
            || rhythm.lasting_ns < SPAN_NS / 2 && series.starts.values().len() < STARTS;
        if failed && series.count < DEAD_TRIES || short {
            return;
        }
        let clients = context
            .roles
            .clients(contact.target, contact.port, contact.protocol);
        let limit = u64::from(settings.jitter_percent) * if failed { 2 } else { 1 };
        // Once told it may sway a little: else one beacon would end and start again.
        series.regular = rhythm.jitter <= if series.told != 0 { limit * 2 } else { limit };
        if !series.regular {
            series.told = 0;
        }
        // Clockwork counts most; what else a beacon is, less.
        let score = {
            let steady = 40 * limit.saturating_sub(rhythm.jitter) / limit.max(1);
            let tight = if rhythm.jitter <= 5 { 10 } else { 0 };
            let lattice = 20 * rhythm.on_lattice / 100;
            let symmetric = 10 * (100 - rhythm.skew.min(100)) / 100;
            let length = u64::from((series.count / 8).max(1).ilog2()) * 5;
            let hours = u64::from(series.hours.count_ones().saturating_sub(1)) * 3;
            let chance = doublings * 3;
            // Whatever the rhythm: what many call is told only where `score` was lowered.
            let ordinary = if clients >= settings.prevalence { 45 } else { 0 };
            (steady
                + tight
                + lattice
                + symmetric
                + if same_size { 15 } else { 0 }
                + length.min(15)
                + hours.min(12))
            .min(100)
            .saturating_sub(rhythm.stray / 8 + ordinary + chance)
        };
        let known_resolver = contact.port == 53 && context.roles.resolver(context.settings, contact.target);
        let inside = contact.direction() == Direction::InternalToInternal && !settings.internal;
        // A resolver asks the one above it whenever it is asked itself.
        let proxy = context.roles.proxy(context.settings, contact.source)
            || contact.port == 53 && context.roles.speaks_for_others(context.settings, contact.source);
        if !series.regular || score < u64::from(settings.score) || known_resolver || inside || proxy {
            return;
        }
        let dimensions = 1 | u32::from(failed) << 1;
        let subject = subject_of(contact);
        series.told = dimensions;
        if !context.episodes.wants(&subject, series.count, dimensions, now_ns) {
            return;
        }
        let mut finding = Finding::new(Tag::Beaconing, series.first_ns, series.last_ns);
        finding.source = Some(contact.source);
        finding.destination = Some(contact.target);
        finding.port = Some(contact.port);
        finding.protocol = Some(contact.protocol);
        finding.score = u8::try_from(score.min(100)).unwrap_or(100);
        finding.confidence = match score {
            85.. => Confidence::High,
            70.. => Confidence::Medium,
            _ => Confidence::Low,
        };
        let period = seconds(rhythm.median_ns);
        if failed {
            finding.reason(
                "dead_host_retry",
                format!(
                    "{} of {} attempts failed: it keeps calling a host that does not answer",
                    series.failed, series.count
                ),
            );
        }
        finding.reason(
            "regular_gaps",
            format!("every {period}, jitter {} %", rhythm.jitter),
        );
        if rhythm.missed > 0 {
            finding.reason(
                "missed_beats",
                format!("{} gaps are several periods long", rhythm.missed),
            );
        }
        if same_size {
            finding.reason("same_size", format!("{size} bytes sent each time"));
        }
        let hours = series.hours.count_ones();
        if hours >= 3 {
            finding.reason("many_hours", format!("in {hours} hours"));
        }
        if series.count >= 64 {
            finding.reason("long_series", format!("{} contacts", series.count));
        }
        if clients <= 1 {
            finding.reason("rare_destination", "no other inside host uses it".to_owned());
        }
        finding.counts = vec![
            Count::exact("contacts", series.count),
            Count::exact("failed", series.failed),
            Count::exact("clients", clients.into()),
        ];
        finding.period = Some(Period {
            period_ns: rhythm.median_ns,
            jitter_ns: rhythm.mad_ns,
            next_ns: series.last_ns.saturating_add(rhythm.median_ns),
        });
        finding.techniques = match contact.port {
            53 => vec!["T1071.004", "T1071"],
            80 | 443 | 8080 | 8443 => vec!["T1071.001", "T1071"],
            _ => vec!["T1071", "T1571"],
        };
        finding.settings = vec![
            (
                "detect.beaconing.jitter_percent",
                settings.jitter_percent.to_string(),
            ),
            ("detect.beaconing.score", settings.score.to_string()),
        ];
        finding.message = format!(
            "{} has contacted {} on port {} {} times, about every {period}.",
            contact.source, contact.target, contact.port, series.count
        );
        // A laptop that sleeps is no second beacon.
        let quiet_ns = rhythm.median_ns.saturating_mul(8).max(QUIET_NS);
        context.episodes.raise(
            context.settings,
            subject,
            series.count,
            dimensions,
            quiet_ns,
            now_ns,
            finding,
        );
    }
}

fn subject_of(contact: &Contact) -> Subject {
    Subject {
        tag: Tag::Beaconing,
        source: Some(contact.source),
        target: Some(contact.target),
        port: Some(contact.port),
        kind: contact.protocol,
    }
}

/// A duration for people.
fn seconds(ns: u64) -> String {
    match ns / 1_000_000 {
        ms @ ..10_000 => format!("{}.{:02} s", ms / 1000, ms % 1000 / 10),
        ms @ ..600_000 => format!("{} s", ms / 1000),
        ms => format!("{} min", ms / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::wire::{Case, check},
        *,
    };

    const A: &str = "10.0.0.5";
    const C2: &str = "203.0.113.7";

    /// The same numbers every time, evenly spread from -1 to 1.
    fn wobble(n: u32) -> f64 {
        f64::from((n * 7919 + 13) % 1000) / 500.0 - 1.0
    }

    #[test]
    fn cases() {
        check(
            Tag::Beaconing,
            &[
                Case {
                    name: "a minute's beat",
                    set: &[],
                    traffic: |wire| {
                        (0..12).for_each(|n| wire.session(f64::from(n) * 60.0, A, C2, 443, 0.2, 500, 900));
                    },
                    expected: Some("regular_gaps"),
                },
                Case {
                    name: "20 % jitter, a night's sleep, missed beats",
                    set: &[],
                    traffic: |wire| {
                        for n in 0..80 {
                            if n % 9 == 4 {
                                continue;
                            }
                            let night = if n > 40 { 20_000.0 } else { 0.0 };
                            let at = 100.0 + f64::from(n) * 60.0 + 12.0 * wobble(n) + night;
                            wire.session(at, A, C2, 443, 0.2, 500, 900);
                        }
                    },
                    expected: Some("regular_gaps"),
                },
                Case {
                    name: "too few",
                    set: &[],
                    traffic: |wire| {
                        (0..7).for_each(|n| wire.session(f64::from(n) * 60.0, A, C2, 443, 0.2, 500, 900));
                    },
                    expected: None,
                },
                Case {
                    name: "one long connection in many slices",
                    set: &[],
                    traffic: |wire| wire.session(0.0, A, C2, 443, 7000.0, 50_000, 50_000),
                    expected: None,
                },
                Case {
                    name: "a person",
                    set: &[],
                    traffic: |wire| {
                        let mut at = 0.0;
                        for n in 0..80 {
                            at += 20.0 + 400.0 * (wobble(n) + 1.0) * (wobble(n * 3 + 1) + 1.0);
                            wire.session(at, A, C2, 443, 2.0, 500 + u64::from(n * 37 % 900), 9000);
                        }
                    },
                    expected: None,
                },
                Case {
                    name: "pages with their parts",
                    set: &[],
                    traffic: |wire| {
                        for page in 0..4 {
                            for part in 0..3 {
                                let at = f64::from(page) * 700.0 + f64::from(part) * 1.5;
                                wire.session(at, A, C2, 443, 1.0, 900, 20_000);
                            }
                        }
                    },
                    expected: None,
                },
                Case {
                    name: "among more strangers than there is room for",
                    set: &["detect.memory_bytes=4194304"],
                    traffic: |wire| {
                        for n in 0..14_u16 {
                            for stranger in 0..2_000_u16 {
                                let at = f64::from(n) * 60.0 + f64::from(stranger) * 0.01;
                                let to = format!("198.51.{}.{}", stranger / 200, stranger % 200);
                                wire.udp(at, &format!("10.1.0.{n}"), &to, 9000, None, 60, 0);
                            }
                            wire.session(f64::from(n) * 60.0 + 30.0, A, C2, 443, 0.2, 500, 900);
                        }
                    },
                    expected: Some("regular_gaps"),
                },
                Case {
                    name: "a resolver and the one above it",
                    set: &["networks.resolvers=10.0.0.5"],
                    traffic: |wire| {
                        (0..40).for_each(|n| wire.udp(f64::from(n) * 60.0, A, C2, 53, None, 70, 140));
                    },
                    expected: None,
                },
                Case {
                    name: "inside",
                    set: &[],
                    traffic: |wire| {
                        (0..30).for_each(|n| {
                            wire.session(f64::from(n) * 60.0, A, "10.0.0.9", 443, 0.2, 500, 900)
                        });
                    },
                    expected: None,
                },
                Case {
                    name: "inside, where that is asked for",
                    set: &["detect.beaconing.internal=true"],
                    traffic: |wire| {
                        (0..30).for_each(|n| {
                            wire.session(f64::from(n) * 60.0, A, "10.0.0.9", 443, 0.2, 500, 900)
                        });
                    },
                    expected: Some("regular_gaps"),
                },
                Case {
                    name: "time",
                    set: &[],
                    traffic: |wire| {
                        (0..60).for_each(|n| wire.udp(f64::from(n) * 64.0, A, C2, 123, None, 76, 76));
                    },
                    expected: None,
                },
                Case {
                    name: "a service that everybody here uses",
                    set: &[],
                    traffic: |wire| {
                        for host in 1..=12 {
                            for n in 0..12 {
                                let at = f64::from(n) * 60.0 + f64::from(host);
                                wire.session(at, &format!("10.0.0.{host}"), C2, 443, 0.2, 500, 900);
                            }
                        }
                    },
                    expected: None,
                },
                Case {
                    name: "it calls a dead host",
                    set: &[],
                    traffic: |wire| (0..40).for_each(|n| wire.refused(f64::from(n) * 5.0, A, C2, 5888)),
                    expected: Some("dead_host_retry"),
                },
            ],
        );
    }
}
