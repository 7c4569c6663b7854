//! `possible_port_scan`: who tries many ports of a host, or many hosts on a port, and mostly fails.
//!
//! Counted are first contacts that an initiator tried, with what became of each, over 24 h: an answer to a client
//! is no scan whatever ports it goes to, and a scan of one port an hour is one.

mod pattern;
mod source;
mod told;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{
    Context, Tag,
    contact::{Contact, Event, Verdict},
    episode::Subject,
    settings::nanoseconds,
    sketch::Promotion,
    table::{Key as _, Table},
};
use crate::config::detect::DetectorMode;
use pattern::{DAY_NS, Pattern, caution};
use source::{ACCEPTED_PAIRS, FEW, Few, Kind, SOURCE_BYTES, Source, Target, note_open};
use told::finding;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Scan {
    few: Table<IpAddr, Few>,
    sources: Table<IpAddr, Source>,
    #[serde(skip)]
    promotion: Promotion,
}

impl Scan {
    pub(super) fn new(bytes: u64, seed: u64) -> Self {
        Self {
            few: Table::with_bytes(bytes / 8 * 3, 0),
            sources: Table::with_bytes(bytes / 2, SOURCE_BYTES),
            promotion: Promotion::with_bytes(bytes / 8, seed),
        }
    }

    pub(super) fn adopt(&mut self, other: Self) {
        self.few.adopt(other.few);
        self.sources.adopt(other.sources);
    }

    pub(super) fn usage(&self) -> (usize, usize, u64) {
        (
            self.few.len() + self.sources.len(),
            self.few.capacity() + self.sources.capacity(),
            self.few.evicted() + self.sources.evicted(),
        )
    }

    /// Reads what a new connection will ask for, so that it is in the cache by then.
    pub(super) fn touch(&self, source: IpAddr) {
        self.few.touch_key(&source);
        if self.few.crowded() {
            self.promotion.touch(&source.packed());
        }
    }

    pub(super) fn event(
        &mut self,
        time_ns: u64,
        event: &Event,
        contact: &Contact,
        context: &mut Context<'_>,
    ) {
        match event {
            Event::Settled => {}
            Event::Traffic(traffic) => {
                // Destination unreachable (RFC 792, RFC 4443): goes back to who tried.
                let unreachable = matches!((contact.protocol, contact.port), (1, 3) | (58, 1));
                if unreachable && let Some(source) = self.sources.get_mut(&contact.target) {
                    source.unreachable += traffic.sent.packets;
                }
                return;
            }
            Event::Opened | Event::Closed => return,
        }
        if !contact.unicast || context.settings.scanners.contains(contact.source) {
            return;
        }
        if context.settings_of(contact).port_scan.mode != DetectorMode::Full {
            return;
        }
        let kind = match contact.verdict {
            Verdict::Refused => Kind::Refused,
            Verdict::Unanswered => Kind::Unanswered,
            Verdict::Probe if contact.stealth() => Kind::Stealth,
            Verdict::Probe if contact.open() => Kind::HalfOpen,
            Verdict::Probe => Kind::AckProbe,
            Verdict::Accepted if contact.asked() => Kind::Accepted,
            _ => return,
        };
        let target = Target::of(contact, kind);
        if kind == Kind::Accepted && !contact.fresh() {
            // An answer that came late; or traffic that was under way, which is no first contact.
            if let Some(source) = self.sources.get_mut(&contact.source) {
                source.failed.retain(|known| !known.same(&target));
            }
            return;
        }
        if kind == Kind::Accepted {
            if let Some(source) = self.sources.get_mut(&contact.source) {
                if contact.is_tcp() {
                    note_open(&mut source.open_ports, contact.port);
                }
                source.add_accepted(target);
                if contact.is_echo() {
                    self.judge(contact, &target, time_ns, context);
                }
            } else if contact.is_echo() {
                self.add_few(target, contact);
            } else {
                let few = self.few.entry(contact.source, Few::default);
                few.last_ns = few.last_ns.max(target.time_ns);
                few.reached.add(&target);
                if few.tried {
                    for known in &mut few.failed {
                        if known.is_some_and(|known| known.same(&target)) {
                            *known = None;
                        }
                    }
                }
            }
            return;
        }
        if !contact.fresh() && kind != Kind::AckProbe {
            return;
        }
        let is_new = if let Some(source) = self.sources.get_mut(&contact.source) {
            if kind == Kind::HalfOpen {
                note_open(&mut source.open_ports, contact.port);
            }
            source.add_failed(target)
        } else {
            self.add_few(target, contact)
        };
        if is_new {
            self.judge(contact, &target, time_ns, context);
        }
    }

    /// True once the source has its full state.
    fn add_few(&mut self, target: Target, contact: &Contact) -> bool {
        if self.few.crowded()
            && !self.few.contains(&contact.source)
            && !self.promotion.meet(&contact.source.packed())
        {
            return false;
        }
        let few = self.few.entry(contact.source, Few::default);
        few.last_ns = few.last_ns.max(target.time_ns);
        few.tried = true;
        if few.failed.iter().flatten().any(|known| known.same(&target)) {
            return false;
        }
        if let Some(place) = few.failed.iter_mut().find(|place| place.is_none()) {
            *place = Some(target);
            if few.failed.iter().any(Option::is_none) {
                return false;
            }
        }
        let Some(few) = self.few.remove(&contact.source) else {
            return false;
        };
        let first_ns = few.failed.iter().flatten().map(|known| known.time_ns).min();
        let source = self
            .sources
            .entry(contact.source, || Source::new(first_ns.unwrap_or(target.time_ns)));
        source.reached = few.reached;
        for known in few.failed.into_iter().flatten() {
            if known.kind == Kind::HalfOpen {
                note_open(&mut source.open_ports, known.port);
            }
            if known.kind == Kind::Accepted {
                source.add_accepted(known);
            } else {
                source.add_failed(known);
            }
        }
        true
    }

    fn judge(&mut self, contact: &Contact, target: &Target, now_ns: u64, context: &mut Context<'_>) {
        let Some(source) = self.sources.get(&contact.source) else {
            return;
        };
        let settings = &context.settings_of(contact).port_scan;
        let mut pattern = Pattern::of(source, target, nanoseconds(settings.window));
        let caution = caution(contact, &pattern, context);
        let least = settings.targets.saturating_mul(caution);
        let slow = settings
            .slow_targets
            .max(settings.targets)
            .saturating_mul(caution);
        let percent = settings.failure_percent;
        let fails = |failed: u32, accepted: u32| failed * 100 >= percent * (failed + accepted);
        let vertical = fails(pattern.ports_day, pattern.host_accepted)
            && (pattern.ports >= least || pattern.ports_day >= slow);
        let horizontal = if contact.is_echo() {
            // Whoever looks for hosts finds some: what gives it away is that it does not know which there are.
            let looks_around = |failed: u32, least: u32| {
                let all = failed + pattern.port_accepted;
                failed >= 3 && all >= least && failed * 100 >= percent / 2 * all
            };
            looks_around(pattern.hosts, least) || looks_around(pattern.hosts_day, slow)
        } else {
            fails(pattern.hosts_day, pattern.port_accepted)
                && (pattern.hosts >= least || pattern.hosts_day >= slow)
        };
        let mixed = pattern.pairs >= slow.saturating_mul(3) && pattern.hosts_all > 1 && {
            let accepted = u32::try_from(source.wide_count(ACCEPTED_PAIRS)).unwrap_or(u32::MAX);
            let failed = u32::try_from(source.failed_pairs().0).unwrap_or(u32::MAX / 200);
            fails(failed.min(1 << 20), accepted.min(1 << 20))
        };
        if !(vertical || horizontal || mixed) {
            return;
        }
        pattern.fast = (vertical && pattern.ports >= least) || (horizontal && pattern.hosts >= least);
        let mut dimensions = u32::from(vertical) | u32::from(horizontal) << 1 | u32::from(mixed) << 2;
        dimensions |= u32::from(pattern.stealth > 0) << 3 | u32::from(contact.is_udp()) << 4;
        dimensions |= u32::from(!pattern.fast) << 5;
        let subject = Subject {
            tag: Tag::PortScan,
            source: Some(contact.source),
            target: None,
            port: None,
            kind: 0,
        };
        let (pairs, error_percent) = source.failed_pairs();
        if !context.episodes.wants(&subject, pairs, dimensions, now_ns) {
            return;
        }
        let finding = finding(
            contact,
            source,
            &pattern,
            (vertical, horizontal),
            (pairs, error_percent),
            least,
        );
        let span_ns = source.last_ns.saturating_sub(source.first_ns);
        let quiet_ns = (span_ns / pairs.max(1)).saturating_mul(6).min(DAY_NS);
        context.episodes.raise(
            context.settings,
            subject,
            pairs,
            dimensions,
            quiet_ns,
            now_ns,
            finding,
        );
    }

    pub(super) fn tick(&mut self, now_ns: u64) {
        self.few.retain(|few| few.last_ns.saturating_add(DAY_NS) > now_ns);
        self.sources.retain(|source| {
            source
                .failed
                .retain(|known| known.time_ns.saturating_add(DAY_NS) > now_ns);
            source.last_ns.saturating_add(DAY_NS) > now_ns
        });
    }

    /// Hosts that a source has tried, as far as they are kept.
    pub(super) fn victims(&self, source: Option<IpAddr>) -> Vec<IpAddr> {
        let source = source.and_then(|source| self.sources.get(&source));
        let mut hosts: Vec<IpAddr> = source
            .map(|source| source.failed.iter().map(|known| known.ip).collect())
            .unwrap_or_default();
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    /// True if the source has tried others of the target's ports in vain, or the port on other hosts.
    pub(super) fn tried(&self, contact: &Contact) -> bool {
        let source = self.sources.get(&contact.source);
        source.is_some_and(|source| {
            let related = |known: &&Target| known.ip == contact.target || known.port == contact.port;
            source.failed.iter().filter(related).count() >= FEW
        })
    }
}

#[cfg(test)]
mod tests {
    use flowmeter_common::flow::tcp_flags::{ACK, FIN, RST, SYN};

    use super::{
        super::wire::{Case, check},
        *,
    };

    const A: &str = "10.0.0.5";
    const B: &str = "10.0.0.9";

    #[test]
    fn cases() {
        check(
            Tag::PortScan,
            &[
                Case {
                    name: "ports of one host, refused",
                    set: &[],
                    traffic: |wire| (0..10).for_each(|n| wire.refused(f64::from(n), A, B, 100 + n)),
                    expected: Some("vertical_scan"),
                },
                Case {
                    name: "one fewer",
                    set: &[],
                    traffic: |wire| (0..9).for_each(|n| wire.refused(f64::from(n), A, B, 100 + n)),
                    expected: None,
                },
                Case {
                    name: "as many as the setting says",
                    set: &["detect.port_scan.targets=20"],
                    traffic: |wire| (0..19).for_each(|n| wire.refused(f64::from(n), A, B, 100 + n)),
                    expected: None,
                },
                Case {
                    name: "a group of networks has its own setting",
                    set: &[
                        "detect.groups=[{networks=[\"10.0.0.0/24\"], port_scan={targets=30, slow_targets=30}}]",
                    ],
                    traffic: |wire| (0..29).for_each(|n| wire.refused(f64::from(n), A, B, 100 + n)),
                    expected: None,
                },
                Case {
                    name: "a port every hour",
                    set: &[],
                    traffic: |wire| {
                        (0..16).for_each(|n| wire.unanswered(f64::from(n) * 3600.0, A, B, 100 + n))
                    },
                    expected: Some("vertical_scan"),
                },
                Case {
                    name: "hosts on one port",
                    set: &[],
                    traffic: |wire| {
                        (1..=10).for_each(|n| wire.unanswered(f64::from(n), A, &format!("10.0.1.{n}"), 445));
                    },
                    expected: Some("horizontal_scan"),
                },
                Case {
                    name: "hosts that mostly answer",
                    set: &[],
                    traffic: |wire| {
                        for n in 1..=12 {
                            wire.unanswered(f64::from(n), A, &format!("10.0.1.{n}"), 445);
                            wire.session(f64::from(n), A, &format!("10.0.2.{n}"), 445, 1.0, 500, 500);
                            wire.session(f64::from(n), A, &format!("10.0.3.{n}"), 445, 1.0, 500, 500);
                        }
                    },
                    expected: None,
                },
                Case {
                    name: "FIN probes count double",
                    set: &[],
                    traffic: |wire| (0..5).for_each(|n| wire.tcp(f64::from(n), A, B, 100 + n, FIN, None)),
                    expected: Some("vertical_scan"),
                },
                Case {
                    name: "bare ACKs that are reset",
                    set: &[],
                    traffic: |wire| {
                        (0..10).for_each(|n| wire.tcp(f64::from(n), A, B, 100 + n, ACK, Some(RST)))
                    },
                    expected: Some("vertical_scan"),
                },
                Case {
                    name: "bare ACKs without an answer: traffic under way",
                    set: &[],
                    traffic: |wire| (0..40).for_each(|n| wire.tcp(f64::from(n), A, B, 100 + n, ACK, None)),
                    expected: None,
                },
                Case {
                    name: "a server answers many ports of a client",
                    set: &[],
                    traffic: |wire| {
                        (0..200)
                            .for_each(|n| wire.udp(f64::from(n) * 0.1, B, A, 53, Some(20_000 + n), 60, 120));
                    },
                    expected: None,
                },
                Case {
                    name: "backscatter: resets of what was never sent from here",
                    set: &[],
                    traffic: |wire| {
                        for n in 0..50 {
                            wire.answer(f64::from(n), "203.0.113.7", 80, &format!("10.0.1.{n}"), 6);
                        }
                    },
                    expected: None,
                },
                Case {
                    name: "echo requests all over",
                    set: &[],
                    traffic: |wire| {
                        (1..=12).for_each(|n| {
                            wire.echo(f64::from(n) * 0.1, A, &format!("10.0.1.{n}"), n % 2 == 0)
                        });
                    },
                    expected: Some("icmp_sweep"),
                },
                Case {
                    name: "echo requests all over, one every quarter of an hour",
                    set: &[],
                    traffic: |wire| {
                        for n in 1..=40 {
                            wire.echo(f64::from(n) * 900.0, A, &format!("10.0.1.{n}"), n % 3 != 0);
                        }
                    },
                    expected: Some("icmp_sweep"),
                },
                Case {
                    name: "a monitor pings what is there",
                    set: &[],
                    traffic: |wire| {
                        (1..=40)
                            .for_each(|n| wire.echo(f64::from(n) * 0.1, A, &format!("10.0.1.{n}"), n != 7));
                    },
                    expected: None,
                },
                Case {
                    name: "a dead host, again and again",
                    set: &[],
                    traffic: |wire| (0..100).for_each(|n| wire.refused(f64::from(n), A, B, 445)),
                    expected: None,
                },
                Case {
                    name: "traceroute",
                    set: &[],
                    traffic: |wire| {
                        for n in 0..60 {
                            wire.udp(f64::from(n), A, "203.0.113.7", 33_434 + n, None, 60, 0);
                        }
                    },
                    expected: None,
                },
                Case {
                    name: "peers of a file sharing program",
                    set: &[],
                    traffic: |wire| {
                        (1..=40)
                            .for_each(|n| wire.unanswered(f64::from(n), A, &format!("203.0.113.{n}"), 6346));
                    },
                    expected: None,
                },
                Case {
                    name: "the link is down",
                    set: &[],
                    traffic: |wire| {
                        (1..=20)
                            .for_each(|n| wire.unanswered(f64::from(n), A, &format!("203.0.113.{n}"), 443));
                    },
                    expected: None,
                },
                Case {
                    name: "multicast",
                    set: &[],
                    traffic: |wire| {
                        (0..40).for_each(|n| wire.udp(f64::from(n), A, "239.1.2.3", 1000 + n, None, 60, 0));
                    },
                    expected: None,
                },
                Case {
                    name: "a scanner that is meant to",
                    set: &["networks.scanners=10.0.0.5"],
                    traffic: |wire| (0..50).for_each(|n| wire.refused(f64::from(n), A, B, 100 + n)),
                    expected: None,
                },
                Case {
                    name: "on the allow-list",
                    set: &["detect.allow=[{findings=[\"possible_port_scan\"], source=[\"10.0.0.0/28\"]}]"],
                    traffic: |wire| (0..50).for_each(|n| wire.refused(f64::from(n), A, B, 100 + n)),
                    expected: None,
                },
                Case {
                    name: "on an allow-list that has ended",
                    set: &["detect.allow=[{source=[\"10.0.0.0/28\"], until=\"2023-12-31\"}]"],
                    traffic: |wire| (0..50).for_each(|n| wire.refused(f64::from(n), A, B, 100 + n)),
                    expected: Some("vertical_scan"),
                },
                Case {
                    name: "off",
                    set: &["detect.port_scan.mode=off"],
                    traffic: |wire| (0..50).for_each(|n| wire.refused(f64::from(n), A, B, 100 + n)),
                    expected: None,
                },
                Case {
                    name: "half-open, as nmap does where a port is open",
                    set: &[],
                    traffic: |wire| {
                        for n in 0..10 {
                            wire.tcp(f64::from(n), A, B, 100 + n, SYN, Some(SYN | ACK));
                        }
                    },
                    expected: Some("vertical_scan"),
                },
            ],
        );
    }
}
