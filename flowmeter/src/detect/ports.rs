//! `unusual_outbound_port`: accepted outside on a port that hardly anybody here uses, or that remote access tools
//! are known for.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{
    Confidence, Context, Count, Finding, Tag,
    contact::{Contact, Event, Verdict},
    episode::Subject,
    lateral::scan_of,
    settings::nanoseconds,
    sketch::{hash, linear},
    table::{Entry, Table},
};
use crate::{config::detect::DetectorMode, enrich::Direction};

/// How long a port's use is remembered.
const KEEP_NS: u64 = 7 * 86_400_000_000_000;
/// A port that was first used longer ago than this is no news, however few use it.
const NEW_NS: u64 = 86_400_000_000_000;
/// Slices of connections outside, the least that has to be known of a network before "rare" means anything.
const LEAST_SEEN: u64 = 20;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Use {
    /// One bit for each hash of an inside host.
    hosts: u64,
    first_ns: u64,
    last_ns: u64,
}

impl Entry for Use {
    fn suspicion(&self) -> u32 {
        self.hosts.count_ones()
    }

    fn last_ns(&self) -> u64 {
        self.last_ns
    }
}

/// A host that used rare ports: programs that share files use hundreds, and are one finding.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Stray {
    /// One bit for each hash of a port.
    ports: u128,
    last_ns: u64,
}

impl Entry for Stray {
    fn suspicion(&self) -> u32 {
        self.ports.count_ones()
    }

    fn last_ns(&self) -> u64 {
        self.last_ns
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ports {
    uses: Table<(u16, u8), Use>,
    strays: Table<IpAddr, Stray>,
    seen: u64,
    began_ns: u64,
}

impl Ports {
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            uses: Table::with_bytes(bytes / 4 * 3, 0),
            strays: Table::with_bytes(bytes / 4, 0),
            seen: 0,
            began_ns: 0,
        }
    }

    pub(super) fn adopt(&mut self, other: Self) {
        self.uses.adopt(other.uses);
        self.strays.adopt(other.strays);
        self.seen = other.seen;
        self.began_ns = other.began_ns;
    }

    pub(super) fn usage(&self) -> (usize, usize, u64) {
        (
            self.uses.len() + self.strays.len(),
            self.uses.capacity() + self.strays.capacity(),
            self.uses.evicted() + self.strays.evicted(),
        )
    }

    pub(super) fn tick(&mut self, now_ns: u64) {
        self.uses
            .retain(|used| used.last_ns.saturating_add(KEEP_NS) > now_ns);
        self.strays
            .retain(|stray| stray.last_ns.saturating_add(KEEP_NS) > now_ns);
    }

    pub(super) fn event(&mut self, now_ns: u64, event: &Event, contact: &Contact, context: &mut Context<'_>) {
        if self.began_ns == 0 {
            self.began_ns = now_ns.max(1);
        }
        if !matches!(event, Event::Traffic(_))
            || contact.direction() != Direction::InternalToExternal
            || !contact.is_tcp()
            || !contact.unicast
            || !contact.fresh()
            || contact.verdict != Verdict::Accepted
            || !contact.asked()
        {
            return;
        }
        self.seen = self.seen.saturating_add(1);
        let settings = &context.settings.of(contact.source).outbound_port;
        if settings.mode != DetectorMode::Full
            || contact.sent.packets < 3
            || contact.received.packets < 2
            || settings.usual_ports.contains(&contact.port)
        {
            return;
        }
        let learning = nanoseconds(context.settings.base().learning);
        let learned_ns = self.began_ns.saturating_add(learning);
        let known = learning > 0 && self.seen >= LEAST_SEEN && contact.start_ns >= learned_ns;
        let used = self.uses.entry((contact.port, contact.protocol), || Use {
            first_ns: contact.start_ns,
            ..Use::default()
        });
        used.first_ns = used.first_ns.min(contact.start_ns);
        used.hosts |= 1 << (hash(6, &contact.source) % 64);
        used.last_ns = used.last_ns.max(contact.last_ns);
        let hosts = used.hosts.count_ones();
        let bad = settings.bad_ports.contains(&contact.port);
        let new = used.first_ns >= learned_ns && contact.start_ns - used.first_ns < NEW_NS;
        let rare = known && new && hosts < settings.hosts;
        // A scan that found something open is told as what it is.
        if !(bad || rare) || context.episodes.since(&scan_of(contact.source)).is_some() {
            return;
        }
        let ports = if bad {
            1
        } else {
            let stray = self.strays.entry(contact.source, Stray::default);
            stray.ports |= 1 << (hash(6, &contact.port) % 128);
            stray.last_ns = stray.last_ns.max(contact.last_ns);
            linear(stray.ports)
        };
        let subject = Subject {
            tag: Tag::OutboundPort,
            source: Some(contact.source),
            target: None,
            port: bad.then_some(contact.port),
            kind: 0,
        };
        let dimensions = 1 | u32::from(bad) << 1;
        if !context.episodes.wants(&subject, ports.into(), dimensions, now_ns) {
            return;
        }
        let mut finding = Finding::new(Tag::OutboundPort, contact.start_ns, contact.last_ns);
        finding.source = Some(contact.source);
        finding.destination = Some(contact.target);
        finding.port = Some(contact.port);
        finding.protocol = Some(contact.protocol);
        if bad {
            finding.reason(
                "bad_port",
                format!("port {} is a default of remote access tools", contact.port),
            );
        }
        if rare {
            finding.reason(
                "rare_port",
                format!("{hosts} inside hosts used port {} within 7 days", contact.port),
            );
        }
        finding.counts = vec![
            Count::exact("hosts_on_port", hosts.into()),
            Count::exact("rare_ports", ports.into()),
            Count::exact("bytes_sent", contact.sent.bytes),
        ];
        finding.score = if bad { 65 } else { 45 };
        finding.confidence = if bad { Confidence::Medium } else { Confidence::Low };
        finding.techniques = vec!["T1571"];
        finding.settings = vec![if bad {
            ("detect.outbound_port.bad_ports", contact.port.to_string())
        } else {
            ("detect.outbound_port.hosts", settings.hosts.to_string())
        }];
        finding.message = format!(
            "{} talks to {} outside on the unusual port {}.",
            contact.source, contact.target, contact.port
        );
        context.episodes.raise(
            context.settings,
            subject,
            ports.into(),
            dimensions,
            if bad { 3_600_000_000_000 } else { NEW_NS },
            now_ns,
            finding,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::wire::{Case, Wire, check},
        *,
    };

    const A: &str = "10.0.0.5";
    const OUT: &str = "203.0.113.7";

    /// A network that has shown what it does, for a day and more.
    fn ordinary(wire: &mut Wire) {
        for n in 0..8_u16 {
            for host in 1..=4 {
                let at = f64::from(n) * 3000.0 + f64::from(host);
                wire.session(at, &format!("10.0.0.{host}"), OUT, 9000 + n, 3.0, 900, 900);
            }
        }
    }

    #[test]
    fn cases() {
        check(
            Tag::OutboundPort,
            &[
                Case {
                    name: "a port of remote access tools",
                    set: &[],
                    traffic: |wire| wire.session(0.0, A, OUT, 4444, 30.0, 9000, 9000),
                    expected: Some("bad_port"),
                },
                Case {
                    name: "it did not answer",
                    set: &[],
                    traffic: |wire| wire.refused(0.0, A, OUT, 4444),
                    expected: None,
                },
                Case {
                    name: "a port that nobody uses, once that is known",
                    set: &["detect.learning=1d"],
                    traffic: |wire| {
                        ordinary(wire);
                        wire.session(100_000.0, A, OUT, 7777, 30.0, 9000, 9000);
                    },
                    expected: Some("rare_port"),
                },
                Case {
                    name: "hundreds of such ports are one finding",
                    set: &["detect.learning=1d"],
                    traffic: |wire| {
                        ordinary(wire);
                        for n in 0..200 {
                            let at = 100_000.0 + f64::from(n) * 60.0;
                            wire.session(at, A, OUT, 10_000 + n, 30.0, 9000, 9000);
                        }
                    },
                    expected: Some("rare_port"),
                },
                Case {
                    name: "one host's own port, day after day",
                    set: &["detect.learning=1d"],
                    traffic: |wire| {
                        ordinary(wire);
                        for day in 0..5 {
                            wire.session(f64::from(day) * 86_400.0 + 50.0, A, OUT, 7777, 30.0, 9000, 9000);
                        }
                    },
                    expected: None,
                },
                Case {
                    name: "nothing is known yet",
                    set: &["detect.learning=1d"],
                    traffic: |wire| {
                        ordinary(wire);
                        wire.session(80_000.0, A, OUT, 7777, 30.0, 9000, 9000);
                    },
                    expected: None,
                },
                Case {
                    name: "others use it",
                    set: &["detect.learning=1d"],
                    traffic: |wire| {
                        ordinary(wire);
                        wire.session(100_000.0, A, OUT, 9003, 30.0, 9000, 9000);
                    },
                    expected: None,
                },
                Case {
                    name: "inside",
                    set: &[],
                    traffic: |wire| wire.session(0.0, A, "10.0.0.9", 4444, 30.0, 9000, 9000),
                    expected: None,
                },
            ],
        );
    }
}
