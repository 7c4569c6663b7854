//! `external_inbound_sensitive`: a service that should not be reached from outside was.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{
    Confidence, Context, Count, Finding, Tag,
    contact::{Contact, Event, Verdict},
    episode::Subject,
    sketch::hash,
    table::{Entry, Table},
};
use crate::{config::detect::DetectorMode, enrich::Direction};

const KEEP_NS: u64 = 7 * 86_400_000_000_000;

/// One inside service, seen from outside.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Exposed {
    attempts: u64,
    accepted: u64,
    /// One bit for each hash of an outside address.
    sources: u64,
    first_ns: u64,
    last_ns: u64,
}

impl Entry for Exposed {
    fn suspicion(&self) -> u32 {
        u32::try_from(self.accepted.min(1000)).unwrap_or(0) * 2 + u32::from(self.attempts > 0)
    }

    fn last_ns(&self) -> u64 {
        self.last_ns
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Inbound {
    services: Table<(IpAddr, u16, u8), Exposed>,
}

impl Inbound {
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            services: Table::with_bytes(bytes, 0),
        }
    }

    pub(super) fn adopt(&mut self, other: Self) {
        self.services.adopt(other.services);
    }

    pub(super) fn usage(&self) -> (usize, usize, u64) {
        (
            self.services.len(),
            self.services.capacity(),
            self.services.evicted(),
        )
    }

    pub(super) fn tick(&mut self, now_ns: u64) {
        self.services
            .retain(|exposed| exposed.last_ns.saturating_add(KEEP_NS) > now_ns);
    }

    pub(super) fn event(&mut self, now_ns: u64, event: &Event, contact: &Contact, context: &mut Context<'_>) {
        // A flood is mostly events that say nothing here: before the list of ports is gone through.
        let tells = match event {
            Event::Settled => contact.asked(),
            Event::Traffic(_) => contact.verdict == Verdict::Accepted && contact.asked(),
            Event::Opened | Event::Closed => false,
        };
        if !tells
            || contact.direction() != Direction::ExternalToInternal
            || !contact.unicast
            || !(contact.is_tcp() || contact.is_udp())
        {
            return;
        }
        let settings = &context.settings.of(contact.target).external_inbound;
        if settings.mode != DetectorMode::Full
            || !settings.ports.contains(&contact.port)
            || !contact.sure()
            || context.settings.servers.contains(contact.target)
        {
            return;
        }
        let key = (contact.target, contact.port, contact.protocol);
        match event {
            Event::Settled => {
                let exposed = self.services.entry(key, || Exposed {
                    first_ns: contact.start_ns,
                    ..Exposed::default()
                });
                exposed.attempts += 1;
                exposed.last_ns = exposed.last_ns.max(contact.start_ns);
                exposed.sources |= 1 << (hash(4, &contact.source) % 64);
            }
            // An answer with something in it: more than a handshake.
            Event::Traffic(_) => {
                let talked = contact.is_udp() || contact.sent.packets >= 3 && contact.received.packets >= 2;
                if !talked {
                    return;
                }
                let exposed = self.services.entry(key, Exposed::default);
                exposed.accepted += 1;
                exposed.last_ns = exposed.last_ns.max(contact.last_ns);
                let (accepted, attempts, sources) =
                    (exposed.accepted, exposed.attempts, exposed.sources.count_ones());
                let subject = Subject {
                    tag: Tag::ExternalInbound,
                    source: None,
                    target: Some(contact.target),
                    port: Some(contact.port),
                    kind: 0,
                };
                // Sources double, not slices: a busy service is exposed once.
                if !context.episodes.wants(&subject, sources.into(), 1, now_ns) {
                    return;
                }
                let mut finding = Finding::new(Tag::ExternalInbound, contact.start_ns, contact.last_ns);
                finding.source = Some(contact.source);
                finding.destination = Some(contact.target);
                finding.port = Some(contact.port);
                finding.protocol = Some(contact.protocol);
                finding.reason(
                    "exposed_service",
                    format!("port {} answered someone outside", contact.port),
                );
                finding.counts = vec![
                    Count::exact("attempts", attempts),
                    Count::exact("accepted", accepted),
                    Count::exact("sources", sources.into()),
                ];
                finding.score = 60 + u8::try_from(sources.min(8) * 2).unwrap_or(0);
                finding.confidence = Confidence::High;
                finding.techniques = match contact.port {
                    22 | 3389 | 5900 | 5985 | 5986 | 23 => vec!["T1133"],
                    _ => vec!["T1190", "T1133"],
                };
                finding.settings = vec![("detect.external_inbound.ports", contact.port.to_string())];
                finding.message = format!(
                    "{} reached port {} of {} from outside.",
                    contact.source, contact.port, contact.target
                );
                context.episodes.raise(
                    context.settings,
                    subject,
                    sources.into(),
                    1,
                    3_600_000_000_000,
                    now_ns,
                    finding,
                );
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::wire::{Case, check},
        *,
    };

    const OUT: &str = "203.0.113.7";
    const B: &str = "10.0.0.9";

    #[test]
    fn cases() {
        check(
            Tag::ExternalInbound,
            &[
                Case {
                    name: "a session from outside",
                    set: &[],
                    traffic: |wire| wire.session(0.0, OUT, B, 3389, 30.0, 9000, 9000),
                    expected: Some("exposed_service"),
                },
                Case {
                    name: "one of many, all at one service",
                    set: &[],
                    traffic: |wire| {
                        for n in 1..=30 {
                            wire.session(f64::from(n), &format!("203.0.113.{n}"), B, 22, 3.0, 2000, 2000);
                        }
                    },
                    expected: Some("exposed_service"),
                },
                Case {
                    name: "attempts that fail",
                    set: &[],
                    traffic: |wire| {
                        (1..=30).for_each(|n| wire.refused(f64::from(n), &format!("203.0.113.{n}"), B, 22));
                    },
                    expected: None,
                },
                Case {
                    name: "a server that is meant for outsiders",
                    set: &["networks.servers=10.0.0.9"],
                    traffic: |wire| wire.session(0.0, OUT, B, 22, 30.0, 9000, 9000),
                    expected: None,
                },
                Case {
                    name: "the web",
                    set: &[],
                    traffic: |wire| wire.session(0.0, OUT, B, 443, 30.0, 9000, 9000),
                    expected: None,
                },
                Case {
                    name: "guessing at a port that is not listed",
                    set: &["detect.external_inbound.ports=[3389]"],
                    traffic: |wire| {
                        (0..30).for_each(|n| wire.session(f64::from(n) * 2.0, OUT, B, 21, 1.5, 700, 700))
                    },
                    expected: Some("brute_force"),
                },
            ],
        );
    }
}
