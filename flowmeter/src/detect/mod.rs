//! Anomalies in connections: slices in, findings out.
//!
//! Pure: no clock, no randomness, no I/O. Time is that of the packets. The same slices give the same findings
//! whatever order a batch has, and findings about the same hosts whatever the drain interval.
//!
//! A slice goes through [`contact`] (connections with an outcome) to the detectors, one file each. What they see
//! becomes an episode, which tells a start, updates and an end.

mod beacon;
mod contact;
mod dns;
mod dos;
mod episode;
mod escalation;
mod finding;
mod guess;
mod inbound;
mod lateral;
mod outbound;
mod ports;
#[cfg(test)]
mod properties;
mod roles;
mod scan;
mod settings;
mod sketch;
mod snapshot;
mod spill;
mod table;
mod threshold;
#[cfg(test)]
mod wire;

pub use episode::{REASONS, TECHNIQUES};
pub use finding::{Baseline, Confidence, Count, Finding, Period, Phase, Reason, SAMPLE, Tag, Visibility};
pub use snapshot::SnapshotError;

use std::ops::Range;

use flowmeter_common::{SpillCounters, SpillKey};
use serde::{Deserialize, Serialize};

use contact::{Contact, Contacts, Event, Seen, Verdict};
use episode::Episodes;
use outbound::Hints;
use roles::Roles;
use settings::Settings;
use table::Hint;

use crate::{
    config::{Config, Detect, detect::DetectorMode},
    enrich::Direction,
    flow::Slice,
};

/// What detectors share.
struct Context<'a> {
    settings: &'a Settings,
    roles: &'a Roles,
    episodes: &'a mut Episodes,
    one_sided: bool,
}

impl<'a> Context<'a> {
    /// The settings for the inside end of a connection, the initiator's if both are.
    fn settings_of(&self, contact: &Contact) -> &'a Detect {
        self.settings.of(if contact.source_inside() {
            contact.source
        } else {
            contact.target
        })
    }
}

/// How full a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub table: &'static str,
    pub used: usize,
    pub capacity: usize,
    /// Entries that had to make room since the state began.
    pub evicted: u64,
}

/// All detectors and what they remember.
#[derive(Debug)]
pub struct Engine {
    /// Of a batch, when each slice is looked at, and where it lies; kept for its memory.
    order: Vec<(u64, u32)>,
    ahead: Vec<Ahead>,
    contacts: Contacts,
    watch: Watch,
    watermark_ns: u64,
    next_tick_ns: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Detectors {
    scan: scan::Scan,
    dos: dos::Dos,
    beacons: beacon::Beacons,
    outbound: outbound::Outbound,
    dns: dns::Dns,
    lateral: lateral::Lateral,
    guess: guess::Guess,
    inbound: inbound::Inbound,
    ports: ports::Ports,
    escalation: escalation::Escalation,
    thresholds: threshold::Thresholds,
}

impl Detectors {
    fn event(&mut self, now_ns: u64, event: &Event, contact: &Contact, context: &mut Context<'_>) {
        self.scan.event(now_ns, event, contact, context);
        self.dos.event(now_ns, event, contact, context);
        self.beacons.event(now_ns, event, contact, context);
        if contact.port == 53 {
            self.dns.event(now_ns, event, contact, &self.beacons, context);
        }
        match contact.direction() {
            Direction::InternalToExternal => {
                if let Event::Traffic(_) = event {
                    self.outbound
                        .event(now_ns, event, contact, &self.beacons, context);
                    self.ports.event(now_ns, event, contact, context);
                }
            }
            Direction::InternalToInternal => {
                self.lateral
                    .event(now_ns, event, contact, &self.escalation, context);
                let settings = &context.settings.of(contact.source).lateral_movement;
                self.guessed(
                    settings.mode,
                    settings.guesses,
                    Tag::LateralMovement,
                    now_ns,
                    event,
                    contact,
                    context,
                );
            }
            Direction::ExternalToInternal => {
                self.inbound.event(now_ns, event, contact, context);
                let settings = &context.settings.of(contact.target).external_inbound;
                self.guessed(
                    settings.mode,
                    settings.guesses,
                    Tag::ExternalInbound,
                    now_ns,
                    event,
                    contact,
                    context,
                );
            }
            Direction::ExternalToExternal => {}
        }
        if context.settings.any_threshold {
            self.thresholds.event(now_ns, event, contact, context);
        }
        self.escalation.event(now_ns, event, contact, &self.scan, context);
        if context.episodes.news.is_empty() {
            return;
        }
        for news in std::mem::take(&mut context.episodes.news) {
            let victims = self.scan.victims(news.subject.source);
            self.escalation.news(&news, &victims, context);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one step of the above")]
    fn guessed(
        &mut self,
        mode: DetectorMode,
        least: u32,
        tag: Tag,
        now_ns: u64,
        event: &Event,
        contact: &Contact,
        context: &mut Context<'_>,
    ) {
        if let Event::Closed = event
            && mode == DetectorMode::Full
            && contact.unicast
            && let Some(guessing) = self.guess.closed(contact, least)
        {
            lateral::tell_guessing(tag, &guessing, contact, now_ns, context);
        }
    }

    fn adopt(&mut self, other: Self) {
        self.scan.adopt(other.scan);
        self.dos.adopt(other.dos);
        self.beacons.adopt(other.beacons);
        self.outbound.adopt(other.outbound);
        self.dns.adopt(other.dns);
        self.lateral.adopt(other.lateral);
        self.guess.adopt(other.guess);
        self.inbound.adopt(other.inbound);
        self.ports.adopt(other.ports);
        self.escalation.adopt(other.escalation);
        self.thresholds.adopt(other.thresholds);
    }

    fn tick(&mut self, now_ns: u64) {
        self.scan.tick(now_ns);
        self.dos.tick(now_ns);
        self.beacons.tick(now_ns);
        self.outbound.tick(now_ns);
        self.dns.tick(now_ns);
        self.lateral.tick(now_ns);
        self.guess.tick(now_ns);
        self.inbound.tick(now_ns);
        self.ports.tick(now_ns);
        self.escalation.tick(now_ns);
        self.thresholds.tick(now_ns);
    }
}

/// Who is told what happens to connections.
#[derive(Debug)]
struct Watch {
    settings: Settings,
    roles: Roles,
    episodes: Episodes,
    detectors: Detectors,
}

impl Watch {
    fn event(&mut self, time_ns: u64, event: &Event, contact: &Contact, one_sided: bool) {
        self.episodes.visibility.one_sided = one_sided;
        // Where intervals without traffic are left out, time passes here.
        self.episodes.tick(&self.settings, time_ns);
        if matches!(event, Event::Settled) && contact.verdict == Verdict::Accepted {
            self.roles.learn(contact);
        }
        let mut context = Context {
            settings: &self.settings,
            roles: &self.roles,
            episodes: &mut self.episodes,
            one_sided,
        };
        self.detectors.event(time_ns, event, contact, &mut context);
    }

    /// Where that lies which most slices ask for.
    fn hints(&self, seen: &Seen) -> Hints {
        match seen.direction() {
            Direction::InternalToExternal => self.detectors.outbound.hints(seen.source, seen.target),
            _ => Hints::default(),
        }
    }

    /// Reads what a new connection asks for, so that it is in the cache by then.
    fn touch_new(&self, seen: &Seen) {
        self.roles.touch(seen);
        self.detectors.scan.touch(seen.source);
        self.detectors.dos.touch(seen.target);
        if seen.direction() == Direction::InternalToExternal {
            self.detectors.beacons.touch(seen);
        }
    }
}

/// What is looked at next, and where that lies which it will ask for.
#[derive(Debug)]
struct Ahead {
    seen: Seen,
    contact: Hint,
    traffic: Hints,
}

impl Ahead {
    fn new(seen: Seen) -> Self {
        Self {
            seen,
            contact: Hint::default(),
            traffic: Hints::default(),
        }
    }
}

/// Slices that are looked ahead at: what they will ask for is read for all of them before the first is decided, so that
/// the waits for memory overlap.
const AHEAD: usize = 32;

/// How often state that has expired is looked for.
const TICK_NS: u64 = 600_000_000_000;

impl Engine {
    pub fn new(config: &Config) -> Self {
        Self::with_seed(config, 0)
    }

    /// `seed` keeps an attacker from choosing addresses that collide; findings depend on it only where a table is
    /// full.
    pub fn with_seed(config: &Config, seed: u64) -> Self {
        let share = |per_mille: u64| config.detect.memory_bytes / 1000 * per_mille;
        Self {
            order: Vec::new(),
            ahead: Vec::with_capacity(AHEAD),
            contacts: Contacts::new(share(330)),
            watch: Watch {
                settings: Settings::new(config),
                roles: Roles::new(share(34)),
                episodes: Episodes::new(share(24)),
                detectors: Detectors {
                    scan: scan::Scan::new(share(124), seed),
                    dos: dos::Dos::new(share(85)),
                    beacons: beacon::Beacons::new(share(90), seed),
                    outbound: outbound::Outbound::new(share(240)),
                    dns: dns::Dns::new(share(12)),
                    lateral: lateral::Lateral::new(share(27)),
                    guess: guess::Guess::new(share(9)),
                    inbound: inbound::Inbound::new(share(3)),
                    ports: ports::Ports::new(share(3)),
                    escalation: escalation::Escalation::new(share(9)),
                    thresholds: threshold::Thresholds::new(share(3)),
                },
            },
            watermark_ns: 0,
            next_tick_ns: 0,
        }
    }

    /// Takes over changed settings. What is remembered stays, as far as there is room; the hits of the allow-list
    /// start anew.
    pub fn reconfigure(&mut self, config: &Config) {
        let old = std::mem::replace(self, Self::new(config));
        self.contacts.adopt(old.contacts);
        self.watch.roles.adopt(old.watch.roles);
        self.watch.episodes.visibility = old.watch.episodes.visibility;
        self.watch
            .episodes
            .findings
            .clone_from(&old.watch.episodes.findings);
        self.watch.episodes.adopt(old.watch.episodes);
        self.watch.episodes.allow_hits.clear();
        self.watch.detectors.adopt(old.watch.detectors);
        self.watermark_ns = old.watermark_ns;
        self.next_tick_ns = old.next_tick_ns;
    }

    /// Takes a batch of slices, whatever order they are in. `perimeter` tells the direction of one, and whether its
    /// responder is a single host: no multicast or broadcast address.
    pub fn feed(&mut self, slices: &[Slice], perimeter: impl Fn(&Slice) -> (Direction, bool)) {
        // Sorted are small keys, not the slices themselves.
        self.order.clear();
        self.order.extend(
            (0..)
                .zip(slices)
                // Fragments after the first have no ports: they would be contacts on port 0.
                .filter(|(_, slice)| !slice.fragment)
                .map(|(index, slice): (u32, &Slice)| (contact::time_ns(slice), index)),
        );
        let slice = |index: u32| slices.get(index as usize);
        self.order.sort_unstable_by_key(|(time_ns, _)| *time_ns);
        for same in self
            .order
            .chunk_by_mut(|(one_ns, _), (other_ns, _)| one_ns == other_ns)
        {
            same.sort_unstable_by_key(|(_, index)| slice(*index).map(contact::order));
        }
        let Self {
            order,
            ahead,
            contacts,
            watch,
            ..
        } = self;
        for indices in order.chunks(AHEAD) {
            ahead.clear();
            ahead.extend(indices.iter().filter_map(|(_, index)| {
                let slice = slice(*index)?;
                let (direction, unicast) = perimeter(slice);
                Some(Ahead::new(Seen::new(slice, direction, unicast)))
            }));
            for next in &mut *ahead {
                next.contact = contacts.hint(&next.seen);
                next.traffic = watch.hints(&next.seen);
            }
            for next in &*ahead {
                contacts.touch(next.contact);
                watch.detectors.outbound.touch(next.traffic);
                if next.seen.begins() {
                    watch.touch_new(&next.seen);
                }
            }
            for next in &*ahead {
                watch.detectors.outbound.expect(next.traffic);
                contacts.take(
                    &next.seen,
                    next.contact,
                    &mut |time_ns, event, contact, one_sided| {
                        watch.event(time_ns, &event, contact, one_sided);
                    },
                );
            }
        }
    }

    /// Packets that were not counted since the last [`Engine::drain`], told in findings.
    pub fn note_loss(&mut self, packets: u64) {
        self.watch.episodes.visibility.lost_packets += packets;
    }

    /// What found no room in the flow map in an interval, given in nanoseconds since the Unix epoch: a flood is told
    /// from it.
    pub fn note_spill(&mut self, entries: &[(SpillKey, SpillCounters)], interval: Range<u64>) {
        if entries.is_empty() {
            return;
        }
        // Not what the last connection was.
        self.watch.episodes.visibility.one_sided = false;
        let mut context = Context {
            settings: &self.watch.settings,
            roles: &self.watch.roles,
            episodes: &mut self.watch.episodes,
            one_sided: false,
        };
        spill::tell(
            entries,
            (interval.start, interval.end),
            contact::is_host,
            &mut context,
        );
    }

    /// Everything up to `watermark_ns` was fed.
    pub fn advance(&mut self, watermark_ns: u64) {
        let Self { contacts, watch, .. } = self;
        self.watermark_ns = self.watermark_ns.max(watermark_ns);
        contacts.pass(self.watermark_ns, &mut |time_ns, event, contact, one_sided| {
            watch.event(time_ns, &event, contact, one_sided);
        });
        self.watch.episodes.tick(&self.watch.settings, self.watermark_ns);
        if self.watermark_ns >= self.next_tick_ns {
            self.next_tick_ns = self.watermark_ns.saturating_add(TICK_NS);
            self.contacts.tick();
            self.watch.detectors.tick(self.watermark_ns);
        }
    }

    /// The findings since the last call, in the order in which they were made.
    pub fn drain(&mut self) -> Vec<Finding> {
        self.watch.episodes.visibility.lost_packets = 0;
        std::mem::take(&mut self.watch.episodes.findings)
    }

    /// How full the tables are, for the statistics event.
    pub fn usage(&self) -> Vec<Usage> {
        [
            ("contacts", self.contacts.usage()),
            ("roles", self.watch.roles.usage()),
            ("episodes", self.watch.episodes.usage()),
            ("possible_port_scan", self.watch.detectors.scan.usage()),
            ("possible_dos", self.watch.detectors.dos.usage()),
            ("possible_beaconing", self.watch.detectors.beacons.usage()),
            ("high_outbound_bytes", self.watch.detectors.outbound.usage()),
            ("suspicious_dns_flow", self.watch.detectors.dns.usage()),
            ("possible_lateral_movement", self.watch.detectors.lateral.usage()),
            ("brute_force", self.watch.detectors.guess.usage()),
            ("external_inbound_sensitive", self.watch.detectors.inbound.usage()),
            ("unusual_outbound_port", self.watch.detectors.ports.usage()),
            ("scan_escalation", self.watch.detectors.escalation.usage()),
            ("thresholds", self.watch.detectors.thresholds.usage()),
        ]
        .map(|(table, (used, capacity, evicted))| Usage {
            table,
            used,
            capacity,
            evicted,
        })
        .to_vec()
    }

    /// How often each entry of `detect.allow` kept a finding back, in the order of the list.
    pub fn allow_hits(&self) -> &[u64] {
        &self.watch.episodes.allow_hits
    }
}
