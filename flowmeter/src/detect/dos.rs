//! `possible_dos`: a host that more is thrown at than it can answer, by signature.
//!
//! What tells a flood from a busy server is who sends and what became of it: thousands of sources where a busy
//! server has dozens, and handshakes that nobody finishes.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{
    Baseline, Confidence, Context, Count, Finding, SAMPLE, Tag,
    contact::{Contact, Event, Verdict},
    episode::Subject,
    sketch::{Distinct, hash},
    table::{Entry, Table},
};
use crate::config::detect::DetectorMode;

/// Windows are aligned to the epoch, so that they are the same for any drain interval.
const WINDOW_NS: u64 = 10_000_000_000;
/// Contacts in a window from which distinct ends are counted.
const BUSY: u32 = 24;
const KEEP_NS: u64 = 86_400_000_000_000;

/// What came to (or, unasked, came back to) a host in one window.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Window {
    number: u64,
    contacts: u32,
    unfinished: u32,
    unasked: u32,
    /// Lone segments of connections that there are not.
    stray: u32,
    /// Packets of contacts that were hardly answered.
    packets: u64,
    first_ns: u64,
    last_ns: u64,
    /// Distinct other ends, and ports of the unfinished or unasked.
    ends: Option<Box<(Distinct, Distinct)>>,
    sample: Vec<IpAddr>,
    port: u16,
    protocol: u8,
}

const WINDOW_BYTES: usize = 2 * Distinct::BYTES + 2 * size_of::<Distinct>() + SAMPLE * size_of::<IpAddr>();

#[derive(Clone, Debug, Serialize, Deserialize)]
#[repr(C)]
struct Victim {
    last_ns: u64,
    /// The newest window and the one before: outcomes come late.
    windows: [Window; 2],
    /// Contacts a window, usually: moving average over some 5 min, times 256.
    usual: u64,
    /// Windows that it is made of.
    windows_known: u32,
}

impl Entry for Victim {
    fn suspicion(&self) -> u32 {
        self.windows
            .iter()
            .map(|window| window.contacts)
            .max()
            .unwrap_or(0)
    }

    fn last_ns(&self) -> u64 {
        self.last_ns
    }
}

impl Victim {
    fn new() -> Self {
        Self {
            last_ns: 0,
            windows: Default::default(),
            usual: 0,
            windows_known: 0,
        }
    }

    fn window(&mut self, time_ns: u64) -> &mut Window {
        let number = time_ns / WINDOW_NS;
        self.last_ns = self.last_ns.max(time_ns);
        let [newest, before] = &mut self.windows;
        if number > newest.number {
            let finished = std::mem::take(newest);
            if finished.contacts > 0 {
                // 1/32 of the new value: some 5 min of traffic.
                let sum = self.usual * 31 + u64::from(finished.contacts) * 256;
                self.usual = if self.windows_known == 0 {
                    u64::from(finished.contacts) * 256
                } else {
                    sum / 32
                };
                self.windows_known = self.windows_known.saturating_add(1);
            }
            *before = finished;
            newest.number = number;
            newest.first_ns = time_ns;
            newest.last_ns = time_ns;
        }
        let window = if number >= newest.number { newest } else { before };
        window.first_ns = window.first_ns.min(time_ns);
        window.last_ns = window.last_ns.max(time_ns);
        window
    }
}

impl Window {
    fn note_end(&mut self, end: IpAddr, port: u16, protocol: u8) {
        if self.sample.len() < SAMPLE && !self.sample.contains(&end) {
            self.sample.push(end);
        }
        if self.contacts < BUSY {
            return;
        }
        (self.port, self.protocol) = (port, protocol);
        let ends = self
            .ends
            .get_or_insert_with(|| Box::new((Distinct::new(), Distinct::new())));
        ends.0.add(hash(5, &end));
        ends.1.add(hash(5, &port));
    }

    fn distinct(&self) -> (u64, u64) {
        self.ends.as_ref().map_or((self.sample.len() as u64, 1), |ends| {
            (ends.0.count(), ends.1.count())
        })
    }
}

/// Connections that one source keeps open to one service.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Held {
    open: u32,
    first_ns: u64,
    last_ns: u64,
}

impl Entry for Held {
    fn suspicion(&self) -> u32 {
        self.open
    }

    fn last_ns(&self) -> u64 {
        self.last_ns
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flood {
    Syn = 1,
    Sources = 2,
    Reflection = 3,
    Packets = 4,
    Exhaustion = 5,
    Stray = 6,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Dos {
    victims: Table<IpAddr, Victim>,
    held: Table<(IpAddr, IpAddr, u16), Held>,
}

impl Dos {
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            victims: Table::with_bytes(bytes / 4 * 3, WINDOW_BYTES),
            held: Table::with_bytes(bytes / 4, 0),
        }
    }

    pub(super) fn adopt(&mut self, other: Self) {
        self.victims.adopt(other.victims);
        self.held.adopt(other.held);
    }

    pub(super) fn usage(&self) -> (usize, usize, u64) {
        (
            self.victims.len() + self.held.len(),
            self.victims.capacity() + self.held.capacity(),
            self.victims.evicted() + self.held.evicted(),
        )
    }

    /// Reads what a new connection will ask for, so that it is in the cache by then.
    pub(super) fn touch(&self, target: IpAddr) {
        self.victims.touch_key(&target);
    }

    pub(super) fn tick(&mut self, now_ns: u64) {
        self.victims
            .retain(|victim| victim.last_ns.saturating_add(KEEP_NS) > now_ns);
        self.held
            .retain(|held| held.open > 0 && held.last_ns.saturating_add(KEEP_NS) > now_ns);
    }

    pub(super) fn event(&mut self, now_ns: u64, event: &Event, contact: &Contact, context: &mut Context<'_>) {
        // A flood is mostly events that say nothing here: before settings are looked up.
        let tells = match event {
            Event::Opened => false,
            Event::Traffic(traffic) => traffic.sent.packets >= 1000,
            Event::Settled | Event::Closed => true,
        };
        if !tells {
            return;
        }
        let settings = &context.settings_of(contact).dos;
        if !contact.unicast || settings.mode != DetectorMode::Full {
            return;
        }
        match event {
            Event::Settled if contact.asked() => self.settled(now_ns, contact, context),
            Event::Settled if contact.is_tcp() || contact.is_udp() => self.unasked(now_ns, contact, context),
            Event::Traffic(traffic) if !contact.is_tcp() || contact.verdict != Verdict::Accepted => {
                let (sent, received) = (traffic.sent.packets, traffic.received.packets);
                if received * 10 > sent {
                    return;
                }
                // A slice's packets lie anywhere between its first and last: spread evenly.
                let windows = traffic.last_ns.saturating_sub(traffic.first_ns) / WINDOW_NS + 1;
                let victim = self.victims.entry(contact.target, Victim::new);
                let window = victim.window(traffic.last_ns);
                window.packets += sent / windows;
                if window.packets >= settings.packets {
                    window.note_end(contact.source, contact.port, contact.protocol);
                    self.tell(
                        Flood::Packets,
                        contact.target,
                        traffic.last_ns,
                        now_ns,
                        contact,
                        context,
                    );
                }
            }
            Event::Closed
                if contact.is_tcp() && contact.target_inside() && contact.verdict == Verdict::Accepted =>
            {
                if let Some(held) = self.held.get_mut(&(contact.source, contact.target, contact.port)) {
                    held.open = held.open.saturating_sub(1);
                }
            }
            _ => {}
        }
    }

    fn settled(&mut self, now_ns: u64, contact: &Contact, context: &mut Context<'_>) {
        let settings = &context.settings_of(contact).dos;
        let failed = contact.verdict.failed();
        if contact.is_tcp() && !contact.fresh() && contact.verdict != Verdict::Accepted {
            self.stray(now_ns, contact, context);
            return;
        }
        if !contact.fresh() || !(failed || contact.verdict == Verdict::Accepted) {
            return;
        }
        let victim = self.victims.entry(contact.target, Victim::new);
        let window = victim.window(contact.start_ns);
        window.contacts = window.contacts.saturating_add(1);
        if failed {
            window.unfinished = window.unfinished.saturating_add(1);
            window.note_end(contact.source, contact.port, contact.protocol);
        }
        if window.unfinished >= settings.unfinished
            && window.unfinished.is_multiple_of(64)
            && window.unfinished * 5 >= window.contacts * 4
        {
            let (sources, ports) = window.distinct();
            let unfinished = u64::from(window.unfinished);
            // A scan tries many ports once and comes from one source.
            if sources * 2 >= unfinished && unfinished >= u64::from(settings.sources) {
                self.tell(
                    Flood::Sources,
                    contact.target,
                    contact.start_ns,
                    now_ns,
                    contact,
                    context,
                );
            } else if ports * 8 <= unfinished && contact.is_tcp() {
                self.tell(
                    Flood::Syn,
                    contact.target,
                    contact.start_ns,
                    now_ns,
                    contact,
                    context,
                );
            }
        }
        if contact.is_tcp()
            && contact.target_inside()
            && contact.verdict == Verdict::Accepted
            && !contact.ended()
        {
            let held = self
                .held
                .entry((contact.source, contact.target, contact.port), Held::default);
            if held.open == 0 {
                held.first_ns = contact.start_ns;
            }
            held.open += 1;
            held.last_ns = held.last_ns.max(contact.start_ns);
            if held.open >= settings.unfinished && held.open.is_multiple_of(64) {
                self.tell(
                    Flood::Exhaustion,
                    contact.target,
                    contact.start_ns,
                    now_ns,
                    contact,
                    context,
                );
            }
        }
    }

    /// A segment or two of no connection: dropped or reset. Where only one direction is in sight, every connection
    /// that is under way looks so.
    fn stray(&mut self, now_ns: u64, contact: &Contact, context: &mut Context<'_>) {
        let settings = &context.settings_of(contact).dos;
        if context.one_sided || contact.sent.packets > 2 || contact.received.packets > 2 {
            return;
        }
        let victim = self.victims.entry(contact.target, Victim::new);
        let window = victim.window(contact.start_ns);
        window.contacts = window.contacts.saturating_add(1);
        window.stray = window.stray.saturating_add(1);
        window.note_end(contact.source, contact.port, contact.protocol);
        if window.stray >= settings.sources
            && window.stray.is_multiple_of(64)
            && window.stray * 5 >= window.contacts * 4
            && window.distinct().0 >= u64::from(settings.sources)
        {
            self.tell(
                Flood::Stray,
                contact.target,
                contact.start_ns,
                now_ns,
                contact,
                context,
            );
        }
    }

    /// Answers to what was not asked: the contact's source is who suffers.
    fn unasked(&mut self, now_ns: u64, contact: &Contact, context: &mut Context<'_>) {
        let settings = &context.settings_of(contact).dos;
        let victim = self.victims.entry(contact.source, Victim::new);
        let window = victim.window(contact.start_ns);
        window.contacts = window.contacts.saturating_add(1);
        window.unasked = window.unasked.saturating_add(1);
        window.note_end(contact.target, contact.port, contact.protocol);
        if window.unasked >= settings.sources
            && window.unasked.is_multiple_of(64)
            && window.unasked * 5 >= window.contacts * 4
            && window.distinct().0 >= u64::from(settings.sources)
        {
            self.tell(
                Flood::Reflection,
                contact.source,
                contact.start_ns,
                now_ns,
                contact,
                context,
            );
        }
    }

    fn tell(
        &mut self,
        flood: Flood,
        target: IpAddr,
        time_ns: u64,
        now_ns: u64,
        contact: &Contact,
        context: &mut Context<'_>,
    ) {
        let settings = &context.settings_of(contact).dos;
        let Some(victim) = self.victims.get_mut(&target) else {
            return;
        };
        let (usual, windows_known) = (victim.usual, victim.windows_known);
        let window = victim.window(time_ns);
        let (ends, ports) = window.distinct();
        let (value, unit, name) = match flood {
            Flood::Syn | Flood::Sources => (u64::from(window.unfinished), "connections/10s", "unfinished"),
            Flood::Reflection => (u64::from(window.unasked), "connections/10s", "unasked_answers"),
            Flood::Stray => (u64::from(window.stray), "connections/10s", "stray_segments"),
            Flood::Packets => (window.packets, "packets/10s", "unanswered_packets"),
            Flood::Exhaustion => {
                let held = self.held.get(&(contact.source, target, contact.port));
                (
                    held.map_or(0, |held| held.open.into()),
                    "connections",
                    "open_connections",
                )
            }
        };
        // What this host has always had is no flood. Some 5 min have to be known for that.
        let known = windows_known >= 30
            && matches!(
                flood,
                Flood::Syn | Flood::Sources | Flood::Reflection | Flood::Stray
            );
        if known && value * 256 < usual * u64::from(settings.times) {
            return;
        }
        let subject = Subject {
            tag: Tag::Dos,
            source: None,
            target: Some(target),
            port: None,
            kind: flood as u8,
        };
        if !context.episodes.wants(&subject, value, 1, now_ns) {
            return;
        }
        let mut finding = Finding::new(Tag::Dos, window.first_ns, window.last_ns);
        finding.destination = Some(target);
        finding.protocol = Some(contact.protocol);
        let estimated = window.ends.is_some();
        finding.counts = vec![
            Count::exact(name, value),
            Count {
                name: "distinct_sources",
                value: ends,
                error_percent: if estimated { Distinct::ERROR_PERCENT } else { 0 },
                method: if estimated { "hyperloglog" } else { "exact" },
            },
        ];
        finding.hosts.clone_from(&window.sample);
        finding.hosts.sort_unstable();
        if ends <= 1 {
            finding.source = Some(contact.source);
        }
        let (words, message, techniques): (_, _, &[&'static str]) = match flood {
            Flood::Syn => {
                finding.port = (ports <= 2).then_some(contact.port);
                (
                    (
                        "syn_flood",
                        format!("{value} connections to few ports that were never finished"),
                    ),
                    format!("{target} got {value} connection attempts within 10 s that nobody finished"),
                    &["T1498.001", "T1498"],
                )
            }
            Flood::Sources => {
                finding.port = (ports <= 2).then_some(contact.port);
                (
                    (
                        "many_sources",
                        format!("about {ends} sources, of which a busy server has some dozens"),
                    ),
                    format!(
                        "{target} got {value} attempts from about {ends} sources within 10 s, nearly none answered"
                    ),
                    &["T1498.001", "T1498"],
                )
            }
            Flood::Reflection => (
                (
                    "reflection",
                    format!("answers from about {ends} hosts that were not asked"),
                ),
                format!("{target} got answers from about {ends} hosts within 10 s that it had not asked"),
                &["T1498.002", "T1498"],
            ),
            Flood::Stray => (
                (
                    "stray_segments",
                    format!("{value} lone segments of no connection from about {ends} sources"),
                ),
                format!(
                    "{target} got {value} TCP segments of no connection from about {ends} sources within 10 s"
                ),
                &["T1498.001", "T1498"],
            ),
            Flood::Packets => (
                (
                    "packet_flood",
                    format!("{value} packets within 10 s, hardly any answered"),
                ),
                format!("{target} got {value} packets within 10 s that it hardly answered"),
                &["T1498.001", "T1498"],
            ),
            Flood::Exhaustion => {
                finding.source = Some(contact.source);
                finding.port = Some(contact.port);
                (
                    (
                        "connection_exhaustion",
                        format!("{value} connections are held open"),
                    ),
                    format!(
                        "{} holds {value} connections to {target} port {} open",
                        contact.source, contact.port
                    ),
                    &["T1498"],
                )
            }
        };
        finding.reason(words.0, words.1);
        finding.techniques = techniques.to_vec();
        finding.message = message + ".";
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let (observed, usual) = (value as f64, usual as f64 / 256.0);
        finding.baseline = Some(Baseline {
            usual: if known { usual } else { 0.0 },
            observed,
            deviation: if known {
                observed / usual.max(1.0)
            } else {
                f64::INFINITY
            },
            unit,
        });
        let over = match flood {
            Flood::Packets => value / settings.packets.max(1),
            _ => value / u64::from(settings.unfinished).max(1),
        };
        finding.score = u8::try_from((60 + 10 * over.checked_ilog2().unwrap_or(0)).min(100)).unwrap_or(100);
        finding.confidence = if known || over >= 4 {
            Confidence::High
        } else {
            Confidence::Medium
        };
        finding.settings = vec![
            ("detect.dos.unfinished", settings.unfinished.to_string()),
            ("detect.dos.sources", settings.sources.to_string()),
        ];
        context
            .episodes
            .raise(context.settings, subject, value, 1, 0, now_ns, finding);
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::wire::{Case, check},
        *,
    };
    use flowmeter_common::flow::tcp_flags::{ACK, RST};

    const VICTIM: &str = "10.0.0.9";

    fn outside(n: u16) -> String {
        format!("203.{}.{}.7", n / 200, n % 200)
    }

    #[test]
    fn cases() {
        check(
            Tag::Dos,
            &[
                Case {
                    name: "SYNs of one source to one port",
                    set: &[],
                    traffic: |wire| {
                        (0..600)
                            .for_each(|n| wire.unanswered(f64::from(n) * 0.01, "203.0.113.7", VICTIM, 80));
                    },
                    expected: Some("syn_flood"),
                },
                Case {
                    name: "SYNs of many sources",
                    set: &[],
                    traffic: |wire| {
                        (0..900_u16)
                            .for_each(|n| wire.unanswered(f64::from(n) * 0.01, &outside(n), VICTIM, 80));
                    },
                    expected: Some("many_sources"),
                },
                Case {
                    name: "a scan of many ports",
                    set: &[],
                    traffic: |wire| {
                        (1..900_u16)
                            .for_each(|n| wire.refused(f64::from(n) * 0.01, "203.0.113.7", VICTIM, n));
                    },
                    expected: None,
                },
                Case {
                    name: "a busy server",
                    set: &[],
                    traffic: |wire| {
                        for n in 0..900_u16 {
                            wire.session(f64::from(n) * 0.01, &outside(n), VICTIM, 80, 0.1, 400, 400);
                        }
                    },
                    expected: None,
                },
                Case {
                    name: "answers that nobody asked for",
                    set: &[],
                    traffic: |wire| {
                        (0..900_u16)
                            .for_each(|n| wire.answer(f64::from(n) * 0.01, &outside(n), 123, VICTIM, 17));
                    },
                    expected: Some("reflection"),
                },
                Case {
                    name: "bare ACKs from everywhere, reset",
                    set: &[],
                    traffic: |wire| {
                        (0..900_u16).for_each(|n| {
                            let answer = Some(RST);
                            wire.tcp(f64::from(n) * 0.01, &outside(n), VICTIM, 443, ACK, answer);
                        });
                    },
                    expected: Some("stray_segments"),
                },
                Case {
                    name: "packets, packets",
                    set: &[],
                    traffic: |wire| {
                        (0..10).for_each(|n| {
                            wire.burst(f64::from(n) * 0.5, "203.0.113.7", VICTIM, 9, 60, 20_000)
                        });
                    },
                    expected: Some("packet_flood"),
                },
                Case {
                    name: "broadcast is no victim",
                    set: &[],
                    traffic: |wire| {
                        (0..900_u16).for_each(|n| {
                            wire.udp(
                                f64::from(n) * 0.01,
                                &format!("10.1.{}.{}", n / 200, n % 200),
                                "255.255.255.255",
                                67,
                                None,
                                300,
                                0,
                            );
                        });
                    },
                    expected: None,
                },
                Case {
                    name: "connections that are opened and held",
                    set: &[],
                    traffic: |wire| {
                        (0..600).for_each(|n| {
                            wire.session(f64::from(n) * 0.1, "203.0.113.7", VICTIM, 80, 200.0, 300, 300);
                        });
                    },
                    expected: Some("connection_exhaustion"),
                },
            ],
        );
    }
}
