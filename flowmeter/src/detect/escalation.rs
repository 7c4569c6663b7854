//! `scan_escalation`: scans that add up: several of them, several victims or kinds, or a way in that was found.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{
    Confidence, Context, Count, Finding, SAMPLE, Tag,
    contact::{Contact, Event, Verdict},
    episode::{News, Subject},
    lateral::started_after_scan,
    scan::Scan,
    table::{Entry, Table},
};
use crate::config::detect::DetectorMode;

const DAY_NS: u64 = 86_400_000_000_000;
/// Packets either way from which a connection after a scan is more than part of it.
const SESSION: u32 = 5;

/// One source, or the subnet it is in.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Scanner {
    first_ns: u64,
    last_ns: u64,
    /// Episodes that began, by time.
    scans: Vec<(u64, IpAddr)>,
    kinds: u32,
}

impl Entry for Scanner {
    fn suspicion(&self) -> u32 {
        u32::try_from(self.scans.len()).unwrap_or(0)
    }

    fn last_ns(&self) -> u64 {
        self.last_ns
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Escalation {
    scanners: Table<(IpAddr, bool), Scanner>,
}

fn subnet(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            IpAddr::from([a, b, c, 0])
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}

impl Escalation {
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            scanners: Table::with_bytes(bytes, SAMPLE * size_of::<(u64, IpAddr)>()),
        }
    }

    pub(super) fn adopt(&mut self, other: Self) {
        self.scanners.adopt(other.scanners);
    }

    pub(super) fn usage(&self) -> (usize, usize, u64) {
        (
            self.scanners.len(),
            self.scanners.capacity(),
            self.scanners.evicted(),
        )
    }

    pub(super) fn tick(&mut self, now_ns: u64) {
        self.scanners
            .retain(|scanner| scanner.last_ns.saturating_add(DAY_NS) > now_ns);
    }

    /// Since when a source was told to scan, within the last day: whoever finds a way in comes back later.
    pub(super) fn since(&self, source: IpAddr, now_ns: u64) -> Option<u64> {
        let scanner = self.scanners.get(&(source, false))?;
        let times = scanner.scans.iter().map(|(time_ns, _)| *time_ns);
        times
            .filter(|time_ns| time_ns.saturating_add(DAY_NS) > now_ns)
            .min()
    }

    /// An episode of scanning began, or got a new kind of evidence.
    pub(super) fn news(&mut self, news: &News, victims: &[IpAddr], context: &mut Context<'_>) {
        let (Tag::PortScan, Some(source)) = (news.subject.tag, news.subject.source) else {
            return;
        };
        let settings = &context.settings.of(source).escalation;
        if settings.mode == DetectorMode::Off {
            return;
        }
        for (key, whole) in [((source, false), false), ((subnet(source), true), true)] {
            let scanner = self.scanners.entry(key, Scanner::default);
            scanner.last_ns = news.time_ns;
            scanner
                .scans
                .retain(|(time_ns, _)| time_ns.saturating_add(DAY_NS) > news.time_ns);
            scanner.first_ns = scanner
                .scans
                .first()
                .map_or(news.time_ns, |(time_ns, _)| *time_ns);
            // These kinds tell across ports, hosts, both and stealth apart.
            scanner.kinds |= news.dimensions & 0b1111;
            if news.start {
                if scanner.scans.len() >= SAMPLE {
                    scanner.scans.remove(0);
                }
                scanner.scans.push((news.time_ns, source));
            }
            let mut sources: Vec<IpAddr> = scanner.scans.iter().map(|(_, source)| *source).collect();
            sources.sort_unstable();
            sources.dedup();
            let several = scanner.scans.len() >= settings.scans as usize && (!whole || sources.len() > 1);
            let wide = settings.mode == DetectorMode::Full
                && !whole
                && victims.len() >= settings.victims as usize
                && scanner.kinds.count_ones() >= 2;
            if !(several || wide) {
                continue;
            }
            let magnitude = scanner.scans.len() as u64;
            let mut finding = Finding::new(Tag::Escalation, scanner.first_ns, news.time_ns);
            if several {
                finding.reason("several_scans", format!("{magnitude} scans within a day"));
            }
            if wide {
                finding.reason(
                    "fan_out",
                    format!("{} hosts were scanned in several ways", victims.len()),
                );
            }
            finding.counts = vec![
                Count::exact("scans", magnitude),
                Count::exact("sources", sources.len() as u64),
                Count::exact("victims", victims.len() as u64),
            ];
            finding.source = (!whole).then_some(source);
            finding.hosts = if whole {
                sources
            } else {
                victims.iter().take(SAMPLE).copied().collect()
            };
            finding.score = 75;
            finding.confidence = Confidence::High;
            finding.settings = vec![("detect.escalation.scans", settings.scans.to_string())];
            finding.message = if whole {
                format!("{magnitude} scans within a day came from the network of {source}.")
            } else if several {
                format!("{source} has scanned {magnitude} times within a day.")
            } else {
                format!("{source} scans {} hosts in several ways.", victims.len())
            };
            let kind = u8::from(whole);
            raise(
                finding,
                key.0,
                None,
                None,
                kind,
                magnitude,
                1,
                news.time_ns,
                context,
            );
        }
    }

    /// A connection to what was scanned, now or within a day.
    pub(super) fn event(
        &mut self,
        now_ns: u64,
        event: &Event,
        contact: &Contact,
        scan: &Scan,
        context: &mut Context<'_>,
    ) {
        if !matches!(event, Event::Traffic(_))
            || contact.verdict != Verdict::Accepted
            || !contact.is_tcp()
            || contact.sent.packets < SESSION
            || contact.received.packets < SESSION
            || !started_after_scan(contact, self, context)
            || !scan.tried(contact)
        {
            return;
        }
        if context.settings_of(contact).escalation.mode != DetectorMode::Full {
            return;
        }
        let mut finding = Finding::new(Tag::Escalation, contact.start_ns, contact.last_ns);
        finding.reason(
            "scan_then_connect",
            format!("a session to port {} after the scan", contact.port),
        );
        finding.counts = vec![
            Count::exact("bytes_sent", contact.sent.bytes),
            Count::exact("bytes_received", contact.received.bytes),
        ];
        finding.source = Some(contact.source);
        finding.destination = Some(contact.target);
        finding.port = Some(contact.port);
        finding.protocol = Some(contact.protocol);
        finding.open_ports = vec![contact.port];
        finding.score = 85;
        finding.confidence = Confidence::High;
        finding.settings = vec![("detect.escalation.mode", "full".to_owned())];
        finding.message = format!(
            "{} opened a session to {} on port {} after scanning it.",
            contact.source, contact.target, contact.port
        );
        let port = Some(contact.port);
        raise(
            finding,
            contact.source,
            Some(contact.target),
            port,
            2,
            1,
            1,
            now_ns,
            context,
        );
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "a subject's parts and what goes with them"
)]
fn raise(
    mut finding: Finding,
    source: IpAddr,
    target: Option<IpAddr>,
    port: Option<u16>,
    kind: u8,
    magnitude: u64,
    dimensions: u32,
    now_ns: u64,
    context: &mut Context<'_>,
) {
    let subject = Subject {
        tag: Tag::Escalation,
        source: Some(source),
        target,
        port,
        kind,
    };
    if !context.episodes.wants(&subject, magnitude, dimensions, now_ns) {
        return;
    }
    finding.techniques = vec!["T1046", "T1595"];
    context.episodes.raise(
        context.settings,
        subject,
        magnitude,
        dimensions,
        3_600_000_000_000,
        now_ns,
        finding,
    );
}

#[cfg(test)]
mod tests {
    use super::{
        super::wire::{Case, check},
        *,
    };

    const A: &str = "10.0.0.5";

    #[test]
    fn cases() {
        check(
            Tag::Escalation,
            &[
                Case {
                    name: "three scans in a day",
                    set: &[],
                    traffic: |wire| {
                        for round in 0..3 {
                            let base = f64::from(round) * 20_000.0;
                            for n in 0..12 {
                                wire.refused(base + f64::from(n), A, &format!("10.0.1.{round}"), 100 + n);
                            }
                        }
                    },
                    expected: Some("several_scans"),
                },
                Case {
                    name: "one scan",
                    set: &[],
                    traffic: |wire| (0..12).for_each(|n| wire.refused(f64::from(n), A, "10.0.1.1", 100 + n)),
                    expected: None,
                },
                Case {
                    name: "a session to what the scan found",
                    set: &[],
                    traffic: |wire| {
                        (0..12).for_each(|n| wire.refused(f64::from(n), A, "10.0.1.1", 100 + n));
                        wire.session(60.0, A, "10.0.1.1", 8080, 20.0, 9000, 9000);
                    },
                    expected: Some("scan_then_connect"),
                },
                Case {
                    name: "neighbours scan, one after the other",
                    set: &[],
                    traffic: |wire| {
                        for host in 1..=3 {
                            for n in 0..12 {
                                let from = format!("203.0.113.{host}");
                                wire.refused(
                                    f64::from(host) * 100.0 + f64::from(n),
                                    &from,
                                    "10.0.1.1",
                                    100 + n,
                                );
                            }
                        }
                    },
                    expected: Some("several_scans"),
                },
                Case {
                    name: "a session without a scan",
                    set: &[],
                    traffic: |wire| wire.session(60.0, A, "10.0.1.1", 8080, 20.0, 9000, 9000),
                    expected: None,
                },
            ],
        );
    }
}
