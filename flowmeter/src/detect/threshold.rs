//! `mode = "threshold"`: the rules of the original pipeline, one fixed number each, for who wants exactly those.
//! They know no initiator, no outcome and no baseline; `docs/detection-quality.md` shows what that costs.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{
    Confidence, Context, Count, Finding, Tag,
    contact::{Contact, Event, Traffic},
    episode::Subject,
    table::{Entry, Table},
};
use crate::{
    config::{Detect, detect::DetectorMode},
    enrich::Direction,
};

const MINUTE_NS: u64 = 60_000_000_000;
const SCAN_PORTS: usize = 15;
const OUTBOUND_BYTES: u64 = 50_000_000;
const BEACON_CONTACTS: usize = 4;
/// Standard deviation over mean of the gaps.
const BEACON_VARIATION: f64 = 0.2;
const DNS_FLOWS: u32 = 100;
const DOS_PACKETS: u64 = 10_000;

/// What one address did in a minute.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Minute {
    number: u64,
    /// Ports it sent to, up to [`SCAN_PORTS`].
    ports: Vec<u16>,
    dns: u32,
    /// Packets sent to it.
    packets: u64,
}

impl Entry for Minute {
    fn suspicion(&self) -> u32 {
        u32::try_from(self.ports.len()).unwrap_or(0)
    }

    fn last_ns(&self) -> u64 {
        self.number
    }
}

/// The newest contacts of a pair.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Newest {
    starts: Vec<u64>,
}

impl Entry for Newest {
    fn suspicion(&self) -> u32 {
        u32::try_from(self.starts.len()).unwrap_or(0)
    }

    fn last_ns(&self) -> u64 {
        self.starts.last().copied().unwrap_or(0)
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Thresholds {
    minutes: Table<IpAddr, Minute>,
    pairs: Table<(IpAddr, IpAddr, u16), Newest>,
}

impl Thresholds {
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            minutes: Table::with_bytes(bytes / 2, 2 * SCAN_PORTS),
            pairs: Table::with_bytes(bytes / 2, 8 * BEACON_CONTACTS),
        }
    }

    pub(super) fn adopt(&mut self, other: Self) {
        self.minutes.adopt(other.minutes);
        self.pairs.adopt(other.pairs);
    }

    pub(super) fn usage(&self) -> (usize, usize, u64) {
        (
            self.minutes.len() + self.pairs.len(),
            self.minutes.capacity() + self.pairs.capacity(),
            self.minutes.evicted() + self.pairs.evicted(),
        )
    }

    pub(super) fn tick(&mut self, now_ns: u64) {
        let now = now_ns / MINUTE_NS;
        self.minutes.retain(|minute| minute.number + 10 > now);
        self.pairs
            .retain(|newest| newest.last_ns().saturating_add(1440 * MINUTE_NS) > now_ns);
    }

    pub(super) fn event(&mut self, now_ns: u64, event: &Event, contact: &Contact, context: &mut Context<'_>) {
        let settings = context.settings_of(contact);
        match event {
            Event::Opened => self.opened(now_ns, contact, settings, context),
            Event::Traffic(traffic) => self.traffic(now_ns, traffic, contact, settings, context),
            Event::Settled | Event::Closed => {}
        }
    }

    fn minute(&mut self, ip: IpAddr, time_ns: u64) -> &mut Minute {
        let minute = self.minutes.entry(ip, Minute::default);
        let number = time_ns / MINUTE_NS;
        if number > minute.number {
            *minute = Minute {
                number,
                ..Minute::default()
            };
        }
        minute
    }

    fn opened(&mut self, now_ns: u64, contact: &Contact, settings: &Detect, context: &mut Context<'_>) {
        let by_threshold = |mode: DetectorMode| mode == DetectorMode::Threshold;
        let (source, target, port) = (Some(contact.source), Some(contact.target), Some(contact.port));
        let outward = contact.direction() == Direction::InternalToExternal;
        if by_threshold(settings.lateral_movement.mode)
            && contact.direction() == Direction::InternalToInternal
            && settings.lateral_movement.ports.contains(&contact.port)
        {
            tell(
                Tag::LateralMovement,
                source,
                target,
                port,
                1,
                contact,
                now_ns,
                context,
            );
        }
        if by_threshold(settings.external_inbound.mode)
            && contact.direction() == Direction::ExternalToInternal
            && settings.external_inbound.ports.contains(&contact.port)
        {
            tell(
                Tag::ExternalInbound,
                source,
                target,
                port,
                1,
                contact,
                now_ns,
                context,
            );
        }
        if by_threshold(settings.outbound_port.mode)
            && outward
            && (contact.is_tcp() || contact.is_udp())
            && !settings.outbound_port.usual_ports.contains(&contact.port)
        {
            tell(
                Tag::OutboundPort,
                source,
                target,
                port,
                1,
                contact,
                now_ns,
                context,
            );
        }
        if by_threshold(settings.dns.mode) && contact.is_udp() && contact.port == 53 {
            let minute = self.minute(contact.source, contact.start_ns);
            minute.dns += 1;
            if minute.dns >= DNS_FLOWS {
                let flows = minute.dns.into();
                tell(Tag::Dns, source, None, port, flows, contact, now_ns, context);
            }
        }
        if by_threshold(settings.beaconing.mode) {
            let key = (contact.source, contact.target, contact.port);
            let newest = self.pairs.entry(key, Newest::default);
            if newest.starts.len() >= BEACON_CONTACTS {
                newest.starts.remove(0);
            }
            newest.starts.push(contact.start_ns);
            if newest.starts.len() >= BEACON_CONTACTS && regular(&newest.starts) {
                tell(Tag::Beaconing, source, target, port, 4, contact, now_ns, context);
            }
        }
    }

    fn traffic(
        &mut self,
        now_ns: u64,
        traffic: &Traffic,
        contact: &Contact,
        settings: &Detect,
        context: &mut Context<'_>,
    ) {
        let by_threshold = |mode: DetectorMode| mode == DetectorMode::Threshold;
        let (source, target) = (Some(contact.source), Some(contact.target));
        if by_threshold(settings.port_scan.mode) {
            // A flow record has no initiator: whoever sends to a port has sent to it.
            let flows = [
                (contact.source, contact.target, contact.port, traffic.sent.packets),
                (
                    contact.target,
                    contact.source,
                    contact.source_port,
                    traffic.received.packets,
                ),
            ];
            for (sender, receiver, port, packets) in flows {
                if packets == 0 {
                    continue;
                }
                let minute = self.minute(sender, traffic.first_ns);
                if minute.ports.len() < SCAN_PORTS && !minute.ports.contains(&port) {
                    minute.ports.push(port);
                }
                if minute.ports.len() >= SCAN_PORTS {
                    let ports = minute.ports.len() as u64;
                    tell(
                        Tag::PortScan,
                        Some(sender),
                        Some(receiver),
                        None,
                        ports,
                        contact,
                        now_ns,
                        context,
                    );
                }
            }
        }
        if by_threshold(settings.outbound_bytes.mode)
            && contact.direction() == Direction::InternalToExternal
            && contact.sent.bytes >= OUTBOUND_BYTES
        {
            let bytes = contact.sent.bytes;
            tell(
                Tag::OutboundBytes,
                source,
                target,
                Some(contact.port),
                bytes,
                contact,
                now_ns,
                context,
            );
        }
        if by_threshold(settings.dos.mode) {
            for (receiver, packets) in [
                (contact.target, traffic.sent.packets),
                (contact.source, traffic.received.packets),
            ] {
                let minute = self.minute(receiver, traffic.last_ns);
                minute.packets = minute.packets.saturating_add(packets);
                if minute.packets >= DOS_PACKETS {
                    let packets = minute.packets;
                    tell(
                        Tag::Dos,
                        None,
                        Some(receiver),
                        None,
                        packets,
                        contact,
                        now_ns,
                        context,
                    );
                }
            }
        }
    }
}

fn regular(starts: &[u64]) -> bool {
    let mut sorted = starts.to_vec();
    sorted.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "gaps")]
    let gaps: Vec<f64> = sorted
        .iter()
        .zip(sorted.iter().skip(1))
        .map(|(before, after)| (after - before) as f64)
        .collect();
    #[expect(clippy::cast_precision_loss, reason = "three gaps")]
    let count = gaps.len().max(1) as f64;
    let mean = gaps.iter().sum::<f64>() / count;
    let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count;
    mean > 0.0 && variance.sqrt() / mean < BEACON_VARIATION
}

#[expect(
    clippy::too_many_arguments,
    reason = "a subject's parts and what goes with them"
)]
fn tell(
    tag: Tag,
    source: Option<IpAddr>,
    target: Option<IpAddr>,
    port: Option<u16>,
    magnitude: u64,
    contact: &Contact,
    now_ns: u64,
    context: &mut Context<'_>,
) {
    let subject = Subject {
        tag,
        source,
        // A scan is one whatever its target.
        target: target.filter(|_| tag != Tag::PortScan),
        port,
        kind: 0,
    };
    if !context.episodes.wants(&subject, magnitude, 1, now_ns) {
        return;
    }
    let mut finding = Finding::new(tag, contact.start_ns, contact.last_ns);
    (finding.source, finding.destination, finding.port) = (source, target, port);
    finding.protocol = Some(contact.protocol);
    finding.score = 50;
    finding.confidence = Confidence::Low;
    finding.reason("threshold", format!("{magnitude} is over the fixed threshold"));
    finding.counts = vec![Count::exact("magnitude", magnitude)];
    finding.techniques = match tag {
        Tag::PortScan => vec!["T1046"],
        Tag::OutboundBytes => vec!["T1048", "T1567"],
        Tag::Beaconing => vec!["T1071"],
        Tag::LateralMovement => vec!["T1021"],
        Tag::Dns => vec!["T1071.004"],
        Tag::ExternalInbound => vec!["T1133"],
        Tag::OutboundPort => vec!["T1571"],
        Tag::Dos => vec!["T1498"],
        Tag::Escalation | Tag::Overflow => Vec::new(),
    };
    let name = |ip: Option<IpAddr>| ip.map_or_else(|| "several hosts".to_owned(), |ip| ip.to_string());
    let port = port.map(|port| format!(" on port {port}")).unwrap_or_default();
    finding.message = format!(
        "{} to {}{port}: over a fixed threshold.",
        name(source),
        name(target)
    );
    context
        .episodes
        .raise(context.settings, subject, magnitude, 1, 0, now_ns, finding);
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
    fn each_rule_is_one_number() {
        let over = Some("threshold");
        check(
            Tag::PortScan,
            &[
                Case {
                    name: "15 ports in a minute",
                    set: &["detect.port_scan.mode=threshold"],
                    traffic: |wire| (0..15).for_each(|n| wire.unanswered(f64::from(n), A, OUT, 100 + n)),
                    expected: over,
                },
                Case {
                    name: "14 ports in a minute",
                    set: &["detect.port_scan.mode=threshold"],
                    traffic: |wire| (0..14).for_each(|n| wire.unanswered(f64::from(n), A, OUT, 100 + n)),
                    expected: None,
                },
            ],
        );
        check(
            Tag::OutboundBytes,
            &[Case {
                name: "50 MB",
                set: &["detect.outbound_bytes.mode=threshold"],
                traffic: |wire| wire.session(0.0, A, OUT, 443, 60.0, 51_000_000, 90_000_000),
                expected: over,
            }],
        );
        check(
            Tag::Beaconing,
            &[Case {
                name: "4 regular contacts",
                set: &["detect.beaconing.mode=threshold"],
                traffic: |wire| {
                    (0..4).for_each(|n| wire.session(f64::from(n) * 60.0, A, OUT, 443, 0.5, 500, 500))
                },
                expected: over,
            }],
        );
        check(
            Tag::Dns,
            &[Case {
                name: "100 queries in a minute",
                set: &["detect.dns.mode=threshold"],
                traffic: |wire| {
                    (0..100).for_each(|n| wire.udp(f64::from(n) * 0.5, A, OUT, 53, None, 60, 100))
                },
                expected: over,
            }],
        );
        check(
            Tag::Dos,
            &[Case {
                name: "10,000 packets in a minute",
                set: &["detect.dos.mode=threshold"],
                traffic: |wire| wire.burst(0.0, OUT, A, 9, 100, 10_000),
                expected: over,
            }],
        );
    }
}
