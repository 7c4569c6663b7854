//! `suspicious_dns_flow`: DNS that carries something else than names. Volume alone tells nothing; any two of
//! several signs do.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{
    Confidence, Context, Count, Finding, Tag,
    beacon::Beacons,
    contact::{Contact, Event, Verdict},
    episode::Subject,
    table::{Entry, Table},
};
use crate::config::detect::DetectorMode;

const HOUR_NS: u64 = 3_600_000_000_000;
const KEEP_NS: u64 = 2 * 24 * HOUR_NS;
/// Queries before which nothing is said.
const LEAST: u64 = 30;
/// A socket that is used for longer than this is one that is kept.
const LONG_NS: u64 = 600_000_000_000;
/// Hours of a pair that its usual is known from, and how many times as much is over it.
const USUAL_HOURS: u32 = 6;
const OVER_USUAL: u64 = 10;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Asking {
    first_ns: u64,
    last_ns: u64,
    queries: u64,
    bytes: u64,
    answer_bytes: u64,
    sockets: u64,
    /// Most queries on one socket, and the longest time on one.
    socket_queries: u64,
    socket_ns: u64,
    /// By hour since the epoch, newest 64 in the low bits.
    hours: u64,
    hour: u64,
    /// Queries and their bytes in the newest hour and the one before: a tunnel among years of names has to be seen.
    recent: [(u64, u64); 2],
    /// Queries an hour, usually: moving average over some 16 hours, times 16; and the hours it is made of.
    usual: u64,
    usual_hours: u32,
    next_look: u64,
    /// The signs that were told last.
    told: u32,
}

impl Asking {
    /// Moves on to an hour since the epoch.
    fn turn(&mut self, hour: u64) {
        if hour <= self.hour {
            return;
        }
        let passed = hour - self.hour;
        let now = self.recent[0];
        self.recent = [(0, 0), if passed == 1 { now } else { (0, 0) }];
        self.usual = if self.usual_hours == 0 {
            now.0 * 16
        } else {
            (self.usual * 15 + now.0 * 16) / 16
        };
        // Hours without a query count as such.
        for _ in 1..passed.min(64) {
            self.usual = self.usual * 15 / 16;
        }
        self.usual_hours = self
            .usual_hours
            .saturating_add(u32::try_from(passed).unwrap_or(u32::MAX));
        self.hours = self
            .hours
            .checked_shl(u32::try_from(passed).unwrap_or(64))
            .unwrap_or(0);
        self.hour = hour;
    }

    /// Queries of the last one to two hours, and their mean length.
    fn newest(&self) -> (u64, u64) {
        let [(now, now_bytes), (before, before_bytes)] = self.recent;
        let queries = now + before;
        (queries, (now_bytes + before_bytes) / queries.max(1))
    }

    fn over_usual(&self) -> bool {
        let usual = (self.usual / 16).max(LEAST);
        self.usual_hours >= USUAL_HOURS && self.recent[0].0 >= usual * OVER_USUAL
    }
}

/// A host that has asked a known resolver.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Served {
    last_ns: u64,
}

impl Entry for Served {
    fn suspicion(&self) -> u32 {
        0
    }

    fn last_ns(&self) -> u64 {
        self.last_ns
    }
}

impl Entry for Asking {
    fn suspicion(&self) -> u32 {
        u32::try_from(self.queries.min(1_000_000)).unwrap_or(0)
    }

    fn last_ns(&self) -> u64 {
        self.last_ns
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Dns {
    pairs: Table<(IpAddr, IpAddr), Asking>,
    served: Table<IpAddr, Served>,
}

impl Dns {
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            pairs: Table::with_bytes(bytes / 4 * 3, 0),
            served: Table::with_bytes(bytes / 4, 0),
        }
    }

    pub(super) fn adopt(&mut self, other: Self) {
        self.pairs.adopt(other.pairs);
        self.served.adopt(other.served);
    }

    pub(super) fn usage(&self) -> (usize, usize, u64) {
        (
            self.pairs.len() + self.served.len(),
            self.pairs.capacity() + self.served.capacity(),
            self.pairs.evicted() + self.served.evicted(),
        )
    }

    pub(super) fn tick(&mut self, now_ns: u64) {
        self.pairs
            .retain(|asking| asking.last_ns.saturating_add(KEEP_NS) > now_ns);
        self.served
            .retain(|served| served.last_ns.saturating_add(KEEP_NS) > now_ns);
    }

    pub(super) fn event(
        &mut self,
        now_ns: u64,
        event: &Event,
        contact: &Contact,
        beacons: &Beacons,
        context: &mut Context<'_>,
    ) {
        if contact.port != 53
            || !(contact.is_udp() || contact.is_tcp())
            || !contact.source_inside()
            || !contact.unicast
            || contact.verdict == Verdict::Pending
        {
            return;
        }
        let Event::Traffic(traffic) = event else {
            return;
        };
        let settings = &context.settings.of(contact.source).dns;
        if settings.mode != DetectorMode::Full {
            return;
        }
        let unknown = !context.roles.resolver(context.settings, contact.target);
        if !unknown {
            let served = self.served.entry(contact.source, Served::default);
            served.last_ns = served.last_ns.max(traffic.last_ns);
        }
        let asking = self.pairs.entry((contact.source, contact.target), || Asking {
            first_ns: contact.start_ns,
            hour: contact.start_ns / HOUR_NS,
            ..Asking::default()
        });
        asking.first_ns = asking.first_ns.min(contact.start_ns);
        asking.last_ns = asking.last_ns.max(traffic.last_ns);
        asking.answer_bytes += traffic.received.bytes;
        asking.turn(traffic.last_ns / HOUR_NS);
        asking.hours |= 1;
        // Segments are no queries; a connection that stays and talks is one all the same.
        let parts = if contact.is_udp() { 1 } else { 2 };
        let (queries, bytes) = (traffic.sent.packets / parts, traffic.sent.bytes / parts);
        asking.queries += queries;
        asking.bytes += bytes;
        asking.recent[0].0 += queries;
        asking.recent[0].1 += bytes;
        let socket_packets = u64::from(contact.sent.packets);
        asking.socket_queries = asking.socket_queries.max(socket_packets / parts);
        if contact.is_udp() {
            // This slice is the socket's first.
            asking.sockets += u64::from(socket_packets == traffic.sent.packets);
        }
        asking.socket_ns = asking
            .socket_ns
            .max(contact.last_ns.saturating_sub(contact.start_ns));
        if asking.told != 0 {
            let (queries, told) = (asking.queries, asking.told);
            if context
                .episodes
                .wants(&subject_of(contact), queries, told, now_ns)
            {
                asking.next_look = 0;
            }
        }
        if asking.queries < asking.next_look.max(LEAST) {
            return;
        }
        let (newest, mean) = asking.newest();
        // A quarter more of what came lately: what came before it is no reason to look away.
        asking.next_look = asking.queries + newest.min(asking.queries) / 4;
        let pair = (contact.source, contact.target, 53, contact.protocol);
        let hours = (asking.hours & 0x00ff_ffff).count_ones();
        let large = newest >= LEAST && mean >= settings.query_bytes.into();
        let volume = asking.over_usual();
        let busy = asking.socket_queries >= settings.socket_queries.into();
        let long = asking.socket_ns >= LONG_NS && asking.socket_queries >= LEAST;
        let steady = hours >= settings.hours;
        let beaconing = beacons.regular(&pair);
        let signs = u32::from(unknown)
            + u32::from(large)
            + u32::from(busy || long)
            + u32::from(steady)
            + u32::from(beaconing)
            + u32::from(volume);
        // A resolver that others use as well is asked at all hours, and by a forwarder on one socket.
        // Where none are configured, one that only this host uses is its own, polled and asked at all hours; unless
        // it has another that is known.
        let past_its_own = self.served.contains(&contact.source);
        let tells = busy || long || steady && past_its_own || context.settings.resolvers_given;
        let substance = signs >= 2 && (large || unknown && tells);
        if !substance || context.roles.speaks_for_others(context.settings, contact.source) && !large {
            return;
        }
        let subject = subject_of(contact);
        let dimensions = u32::from(unknown)
            | u32::from(large) << 1
            | u32::from(busy || long) << 2
            | u32::from(steady) << 3
            | u32::from(beaconing) << 4
            | u32::from(volume) << 5;
        asking.told = dimensions;
        if !context
            .episodes
            .wants(&subject, asking.queries, dimensions, now_ns)
        {
            return;
        }
        let mut finding = Finding::new(Tag::Dns, asking.first_ns, asking.last_ns);
        finding.source = Some(contact.source);
        finding.destination = Some(contact.target);
        finding.port = Some(53);
        finding.protocol = Some(contact.protocol);
        if large {
            finding.reason("large_queries", format!("{mean} bytes a query on average"));
        }
        if busy {
            finding.reason(
                "busy_socket",
                format!("{} queries on one socket", asking.socket_queries),
            );
        }
        if long {
            finding.reason(
                "long_socket",
                format!("one socket for {} s", asking.socket_ns / 1_000_000_000),
            );
        }
        if beaconing {
            finding.reason("beaconing", "at regular intervals".to_owned());
        }
        if volume {
            finding.reason(
                "query_volume",
                format!(
                    "{} queries within the hour, far over what is usual",
                    asking.recent[0].0
                ),
            );
        }
        if steady {
            finding.reason("steady_hours", format!("in {hours} of the last 24 hours"));
        }
        if unknown {
            finding.reason(
                "unknown_resolver",
                format!("{} is no known resolver", contact.target),
            );
        }
        finding.counts = vec![
            Count::exact("queries", asking.queries),
            Count::exact("bytes_sent", asking.bytes),
            Count::exact("bytes_received", asking.answer_bytes),
            Count::exact("sockets", asking.sockets),
        ];
        finding.score = u8::try_from(30 + 15 * signs).unwrap_or(100).min(100);
        finding.confidence = match signs {
            ..=2 => Confidence::Low,
            3 => Confidence::Medium,
            _ => Confidence::High,
        };
        finding.techniques = if large || busy {
            vec!["T1071.004", "T1572"]
        } else {
            vec!["T1071.004"]
        };
        finding.settings = vec![
            ("detect.dns.query_bytes", settings.query_bytes.to_string()),
            ("detect.dns.socket_queries", settings.socket_queries.to_string()),
            ("detect.dns.hours", settings.hours.to_string()),
        ];
        finding.message = format!(
            "{} sent {} DNS queries of {mean} bytes to {}.",
            contact.source, asking.queries, contact.target
        );
        context.episodes.raise(
            context.settings,
            subject,
            asking.queries,
            dimensions,
            HOUR_NS,
            now_ns,
            finding,
        );
    }
}

fn subject_of(contact: &Contact) -> Subject {
    Subject {
        tag: Tag::Dns,
        source: Some(contact.source),
        target: Some(contact.target),
        port: Some(53),
        kind: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::wire::{Case, check},
        *,
    };

    const A: &str = "10.0.0.5";
    const RESOLVER: &str = "10.0.0.53";

    #[test]
    fn cases() {
        check(
            Tag::Dns,
            &[
                Case {
                    name: "large queries on one socket",
                    set: &[],
                    traffic: |wire| {
                        (0..300).for_each(|n| {
                            wire.udp(f64::from(n) * 0.1, A, "198.51.100.7", 53, Some(5353), 140, 200)
                        });
                    },
                    expected: Some("large_queries"),
                },
                Case {
                    name: "the same through the configured resolver",
                    set: &["networks.resolvers=10.0.0.53"],
                    traffic: |wire| {
                        (0..300).for_each(|n| {
                            wire.udp(f64::from(n) * 0.1, A, RESOLVER, 53, Some(5353), 140, 200)
                        });
                    },
                    expected: Some("large_queries"),
                },
                Case {
                    name: "a slow beacon past the configured resolver",
                    set: &["networks.resolvers=10.0.0.53"],
                    traffic: |wire| {
                        for n in 0..200_u32 {
                            let at = f64::from(n) * 90.0 + f64::from(n * 37 % 11);
                            wire.udp(at, A, "198.51.100.7", 53, None, 68, 140);
                        }
                    },
                    expected: Some("beaconing"),
                },
                Case {
                    name: "many names, each on its own socket",
                    set: &["networks.resolvers=10.0.0.53"],
                    traffic: |wire| {
                        for n in 0..3000_u32 {
                            wire.udp(
                                f64::from(n) * 0.15,
                                A,
                                RESOLVER,
                                53,
                                None,
                                60 + u64::from(n % 20),
                                140,
                            );
                        }
                    },
                    expected: None,
                },
                Case {
                    name: "a program polls the only resolver there is",
                    set: &[],
                    traffic: |wire| {
                        (0..100).for_each(|n| wire.udp(f64::from(n) * 120.0, A, RESOLVER, 53, None, 60, 140));
                    },
                    expected: None,
                },
                Case {
                    name: "a forwarder keeps one socket",
                    set: &["networks.resolvers=10.0.0.53,198.51.100.7"],
                    traffic: |wire| {
                        for n in 0..2000_u32 {
                            wire.udp(f64::from(n), RESOLVER, "198.51.100.7", 53, Some(5353), 66, 140);
                        }
                    },
                    expected: None,
                },
                Case {
                    name: "a few",
                    set: &["networks.resolvers=10.0.0.53"],
                    traffic: |wire| {
                        (0..20).for_each(|n| {
                            wire.udp(f64::from(n), A, "198.51.100.7", 53, Some(5353), 200, 140)
                        });
                    },
                    expected: None,
                },
            ],
        );
    }
}
