//! `possible_lateral_movement`: a new edge inside to a service by which hosts are administered, that was accepted.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{
    Confidence, Context, Count, Finding, SAMPLE, Tag,
    contact::{Contact, Event, Verdict},
    episode::Subject,
    escalation::Escalation,
    guess::Guessing,
    settings::nanoseconds,
    table::{Entry, Table},
};
use crate::{config::detect::DetectorMode, enrich::Direction};

const HOUR_NS: u64 = 3_600_000_000_000;
/// An edge that was not used for this long is new again.
const KEEP_NS: u64 = 30 * 24 * HOUR_NS;
/// Packets either way from which a session was more than a knock.
const SESSION: u32 = 4;
/// Known edges from which a host administers others.
const ADMIN_EDGES: u32 = 5;
/// A service that this many inside hosts use is one for everybody.
const COMMON: u32 = 5;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Edge {
    first_ns: u64,
    last_ns: u64,
    failed: u32,
    /// A session was seen.
    used: bool,
}

impl Entry for Edge {
    fn suspicion(&self) -> u32 {
        1 + u32::from(self.used)
    }

    fn last_ns(&self) -> u64 {
        self.last_ns
    }
}

/// A source that made new edges.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Mover {
    /// Newest first sessions: whom, where, when.
    recent: Vec<(IpAddr, u16, u64)>,
    /// Edges that were learned, not told.
    learned: u32,
    last_ns: u64,
}

impl Entry for Mover {
    fn suspicion(&self) -> u32 {
        u32::try_from(self.recent.len()).unwrap_or(0)
    }

    fn last_ns(&self) -> u64 {
        self.last_ns
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Lateral {
    edges: Table<(IpAddr, IpAddr, u16), Edge>,
    movers: Table<IpAddr, Mover>,
    /// The first slice's time: learning counts from there.
    began_ns: u64,
}

impl Lateral {
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            edges: Table::with_bytes(bytes / 4 * 3, 0),
            movers: Table::with_bytes(bytes / 4, SAMPLE * size_of::<(IpAddr, u16, u64)>()),
            began_ns: 0,
        }
    }

    pub(super) fn adopt(&mut self, other: Self) {
        self.edges.adopt(other.edges);
        self.movers.adopt(other.movers);
        self.began_ns = other.began_ns;
    }

    pub(super) fn usage(&self) -> (usize, usize, u64) {
        (
            self.edges.len() + self.movers.len(),
            self.edges.capacity() + self.movers.capacity(),
            self.edges.evicted() + self.movers.evicted(),
        )
    }

    pub(super) fn tick(&mut self, now_ns: u64) {
        self.edges
            .retain(|edge| edge.last_ns.saturating_add(KEEP_NS) > now_ns);
        self.movers
            .retain(|mover| mover.last_ns.saturating_add(KEEP_NS) > now_ns);
    }

    pub(super) fn event(
        &mut self,
        now_ns: u64,
        event: &Event,
        contact: &Contact,
        scans: &Escalation,
        context: &mut Context<'_>,
    ) {
        if self.began_ns == 0 {
            self.began_ns = now_ns.max(1);
        }
        let tells = match event {
            Event::Settled => contact.verdict.failed() && contact.asked(),
            Event::Traffic(_) => contact.verdict == Verdict::Accepted,
            Event::Opened | Event::Closed => false,
        };
        if !tells
            || contact.direction() != Direction::InternalToInternal
            || !contact.is_tcp()
            || !contact.unicast
        {
            return;
        }
        let settings = &context.settings_of(contact).lateral_movement;
        if settings.mode != DetectorMode::Full || !settings.ports.contains(&contact.port) {
            return;
        }
        let key = (contact.source, contact.target, contact.port);
        match event {
            Event::Settled => {
                let edge = self.edge(key, contact);
                edge.failed = edge.failed.saturating_add(1);
            }
            Event::Traffic(_) => {
                let session = contact.sent.packets >= SESSION && contact.received.packets >= SESSION;
                let edge = self.edge(key, contact);
                edge.last_ns = edge.last_ns.max(contact.last_ns);
                if session && !edge.used {
                    edge.used = true;
                    let failed = edge.failed;
                    self.new_edge(now_ns, contact, failed, scans, context);
                }
            }
            _ => {}
        }
    }

    fn edge(&mut self, key: (IpAddr, IpAddr, u16), contact: &Contact) -> &mut Edge {
        self.edges.entry(key, || Edge {
            first_ns: contact.start_ns,
            last_ns: contact.last_ns,
            failed: 0,
            used: false,
        })
    }

    fn new_edge(
        &mut self,
        now_ns: u64,
        contact: &Contact,
        failed: u32,
        scans: &Escalation,
        context: &mut Context<'_>,
    ) {
        let settings = &context.settings_of(contact).lateral_movement;
        let learned_ns = self
            .began_ns
            .saturating_add(nanoseconds(context.settings.base().learning));
        let mover = self.movers.entry(contact.source, Mover::default);
        mover.last_ns = mover.last_ns.max(now_ns);
        // What was under way when it was first met is as old as anything that was learned.
        if !contact.fresh() || contact.start_ns < learned_ns && learned_ns > self.began_ns {
            mover.learned = mover.learned.saturating_add(1);
            return;
        }
        if mover.recent.len() >= SAMPLE {
            mover.recent.remove(0);
        }
        mover
            .recent
            .push((contact.target, contact.port, contact.start_ns));
        let mut hosts: Vec<IpAddr> = mover
            .recent
            .iter()
            .filter(|(_, _, time_ns)| contact.start_ns.saturating_sub(*time_ns) <= HOUR_NS)
            .map(|(host, _, _)| *host)
            .collect();
        hosts.sort_unstable();
        hosts.dedup();
        let fan_out = hosts.len() >= settings.fan_out as usize;
        let admin = context.settings.admin_hosts.contains(contact.source) || mover.learned >= ADMIN_EDGES;
        let common = context
            .roles
            .clients(contact.target, contact.port, contact.protocol)
            >= COMMON;
        let scanned = started_after_scan(contact, scans, context);
        let guessed = failed >= 3;
        let configured_scanner = context.settings.scanners.contains(contact.source);
        let chained = scanned || guessed;
        if configured_scanner || ((admin || common) && !chained) {
            return;
        }
        let dimensions = 1 | u32::from(fan_out) << 1 | u32::from(scanned) << 2 | u32::from(guessed) << 3;
        let subject = Subject {
            tag: Tag::LateralMovement,
            source: Some(contact.source),
            target: None,
            port: None,
            kind: 0,
        };
        let magnitude = hosts.len() as u64;
        if !context.episodes.wants(&subject, magnitude, dimensions, now_ns) {
            return;
        }
        let first_ns = mover
            .recent
            .first()
            .map_or(contact.start_ns, |(_, _, time_ns)| *time_ns);
        let mut finding = Finding::new(Tag::LateralMovement, first_ns, contact.last_ns);
        finding.source = Some(contact.source);
        finding.destination = Some(contact.target);
        finding.port = Some(contact.port);
        finding.protocol = Some(contact.protocol);
        finding.reason(
            "new_admin_edge",
            format!(
                "first session from here to {} port {}",
                contact.target, contact.port
            ),
        );
        if fan_out {
            finding.reason("fan_out", format!("{magnitude} hosts within an hour"));
        }
        if scanned {
            finding.reason("after_finding", "the source was seen scanning".to_owned());
        }
        if guessed {
            finding.reason(
                "failures_then_success",
                format!("{failed} failed attempts before"),
            );
        }
        if !admin {
            finding.reason(
                "no_admin_host",
                "the source is not known to administer others".to_owned(),
            );
        }
        finding.counts = vec![
            Count::exact("hosts", magnitude),
            Count::exact("failed", failed.into()),
        ];
        finding.hosts = hosts;
        let (fan, chain) = (u32::from(fan_out), u32::from(scanned) + u32::from(guessed));
        finding.score = u8::try_from(45 + 20 * fan + 20 * chain).unwrap_or(100).min(100);
        finding.confidence = match fan + chain {
            0 => Confidence::Low,
            1 => Confidence::Medium,
            _ => Confidence::High,
        };
        finding.techniques = techniques(contact.port);
        finding.settings = vec![("detect.lateral_movement.fan_out", settings.fan_out.to_string())];
        finding.message = format!(
            "{} opened its first session to {} on port {}, which administers hosts.",
            contact.source, contact.target, contact.port
        );
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

pub(super) fn scan_of(source: IpAddr) -> Subject {
    Subject {
        tag: Tag::PortScan,
        source: Some(source),
        target: None,
        port: None,
        kind: 0,
    }
}

/// The source was told to scan before it opened this connection.
pub(super) fn started_after_scan(contact: &Contact, scans: &Escalation, context: &Context<'_>) -> bool {
    let running = context.episodes.since(&scan_of(contact.source));
    let since = running.or_else(|| scans.since(contact.source, contact.start_ns));
    since.is_some_and(|since_ns| contact.start_ns >= since_ns)
}

/// Tells that passwords are being guessed, inside or from outside.
pub(super) fn tell_guessing(
    tag: Tag,
    guessing: &Guessing,
    contact: &Contact,
    now_ns: u64,
    context: &mut Context<'_>,
) {
    let subject = Subject {
        tag,
        source: Some(contact.source),
        target: Some(contact.target),
        port: Some(contact.port),
        kind: 1,
    };
    if !context.episodes.wants(&subject, guessing.count, 1, now_ns) {
        return;
    }
    let mut finding = Finding::new(tag, guessing.first_ns, guessing.last_ns);
    finding.source = Some(contact.source);
    finding.destination = Some(contact.target);
    finding.port = Some(contact.port);
    finding.protocol = Some(contact.protocol);
    finding.reason(
        "brute_force",
        format!("{} short sessions at one login", guessing.count),
    );
    if guessing.uniform {
        finding.reason("same_size", "all about the same size".to_owned());
    }
    finding.counts = vec![Count::exact("sessions", guessing.count)];
    finding.score = if guessing.uniform { 80 } else { 65 };
    finding.confidence = if guessing.uniform {
        Confidence::High
    } else {
        Confidence::Medium
    };
    finding.techniques = vec!["T1110"];
    let settings = context.settings_of(contact);
    let (key, guesses) = if tag == Tag::LateralMovement {
        finding.techniques.extend(techniques(contact.port));
        (
            "detect.lateral_movement.guesses",
            settings.lateral_movement.guesses,
        )
    } else {
        finding.techniques.push("T1133");
        (
            "detect.external_inbound.guesses",
            settings.external_inbound.guesses,
        )
    };
    finding.settings = vec![(key, guesses.to_string())];
    finding.message = format!(
        "{} has opened {} short sessions to {} on port {}, as if to guess a password.",
        contact.source, guessing.count, contact.target, contact.port
    );
    context
        .episodes
        .raise(context.settings, subject, guessing.count, 1, 0, now_ns, finding);
}

/// T1021 and its variant for a service.
fn techniques(port: u16) -> Vec<&'static str> {
    match port {
        22 => vec!["T1021.004", "T1021"],
        139 | 445 => vec!["T1021.002", "T1021"],
        135 => vec!["T1021.003", "T1021"],
        3389 => vec!["T1021.001", "T1021"],
        5900 => vec!["T1021.005", "T1021"],
        5985 | 5986 => vec!["T1021.006", "T1021"],
        _ => vec!["T1021"],
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::wire::{Case, check},
        *,
    };

    const A: &str = "10.0.0.5";
    const B: &str = "10.0.0.9";

    #[test]
    fn cases() {
        check(
            Tag::LateralMovement,
            &[
                Case {
                    name: "a first session",
                    set: &[],
                    traffic: |wire| wire.session(0.0, A, B, 445, 30.0, 9000, 9000),
                    expected: Some("new_admin_edge"),
                },
                Case {
                    name: "the same while it is learned",
                    set: &["detect.learning=1d"],
                    traffic: |wire| wire.session(0.0, A, B, 445, 30.0, 9000, 9000),
                    expected: None,
                },
                Case {
                    name: "known from the time of learning",
                    set: &["detect.learning=1d"],
                    traffic: |wire| {
                        wire.session(0.0, A, B, 445, 30.0, 9000, 9000);
                        wire.session(200_000.0, A, B, 445, 30.0, 9000, 9000);
                    },
                    expected: None,
                },
                Case {
                    name: "new after the time of learning",
                    set: &["detect.learning=1d"],
                    traffic: |wire| {
                        wire.session(0.0, A, B, 445, 30.0, 9000, 9000);
                        wire.session(200_000.0, A, "10.0.0.77", 445, 30.0, 9000, 9000);
                    },
                    expected: Some("new_admin_edge"),
                },
                Case {
                    name: "refused",
                    set: &[],
                    traffic: |wire| wire.refused(0.0, A, B, 445),
                    expected: None,
                },
                Case {
                    name: "a host that administers others",
                    set: &["networks.admin_hosts=10.0.0.5"],
                    traffic: |wire| wire.session(0.0, A, B, 3389, 30.0, 9000, 9000),
                    expected: None,
                },
                Case {
                    name: "a file server that everybody uses",
                    set: &["detect.learning=1h"],
                    traffic: |wire| {
                        for n in 20..40 {
                            wire.session(f64::from(n), &format!("10.0.0.{n}"), B, 445, 30.0, 9000, 9000);
                        }
                        wire.session(9000.0, A, B, 445, 30.0, 9000, 9000);
                    },
                    expected: None,
                },
                Case {
                    name: "the web",
                    set: &[],
                    traffic: |wire| wire.session(0.0, A, B, 443, 30.0, 9000, 9000),
                    expected: None,
                },
                Case {
                    name: "from outside",
                    set: &[],
                    traffic: |wire| wire.session(0.0, "203.0.113.7", B, 445, 30.0, 9000, 9000),
                    expected: None,
                },
                Case {
                    name: "passwords are guessed",
                    set: &["networks.admin_hosts=10.0.0.5"],
                    traffic: |wire| {
                        (0..25).for_each(|n| wire.session(f64::from(n) * 2.0, A, B, 22, 1.5, 2000, 2200))
                    },
                    expected: Some("brute_force"),
                },
                Case {
                    name: "a web service is asked often",
                    set: &[],
                    traffic: |wire| {
                        (0..90).for_each(|n| wire.session(f64::from(n) * 0.5, A, B, 8080, 0.2, 700, 2200));
                    },
                    expected: None,
                },
            ],
        );
    }
}
