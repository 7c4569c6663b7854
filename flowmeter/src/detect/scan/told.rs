//! A scan in words.

use std::net::IpAddr;

use super::{
    pattern::{Pattern, SENSITIVE_PORTS},
    source::{HOSTS, PORTS, Source, Target},
};
use crate::detect::{Confidence, Count, Finding, SAMPLE, Tag, contact::Contact};

pub(super) fn finding(
    contact: &Contact,
    source: &Source,
    pattern: &Pattern,
    (vertical, horizontal): (bool, bool),
    (pairs, error_percent): (u64, u8),
    least: u32,
) -> Finding {
    let mut finding = Finding::new(Tag::PortScan, source.first_ns, source.last_ns);
    let vertical = vertical && (!horizontal || pattern.ports >= pattern.hosts);
    let who = contact.source;
    finding.source = Some(who);
    finding.protocol = Some(contact.protocol);
    let exact = |name, value| Count::exact(name, value);
    let about = |name, value| Count {
        name,
        value,
        error_percent,
        method: if error_percent == 0 {
            "exact"
        } else {
            "hyperloglog"
        },
    };
    let (hosts, ports) = if error_percent == 0 {
        let mut hosts: Vec<IpAddr> = source.failed.iter().map(|known| known.ip).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let mut ports: Vec<u16> = source.failed.iter().map(|known| known.port).collect();
        ports.sort_unstable();
        ports.dedup();
        (hosts.len() as u64, ports.len() as u64)
    } else {
        (source.wide_count(HOSTS), source.wide_count(PORTS))
    };
    finding.counts = vec![
        about("failed_targets", pairs),
        about("hosts", hosts),
        about("ports", ports),
        exact("refused", pattern.refused.into()),
        exact("unanswered", pattern.unanswered.into()),
        exact(
            "probes",
            (pattern.stealth + pattern.half_open + pattern.ack).into(),
        ),
    ];
    let mut sample: Vec<&Target> = source.failed.iter().collect();
    sample.sort_unstable_by_key(|known| (known.port, known.ip));
    for known in sample {
        if finding.ports.len() < SAMPLE && !finding.ports.contains(&known.port) {
            finding.ports.push(known.port);
        }
        if finding.hosts.len() < SAMPLE && !finding.hosts.contains(&known.ip) {
            finding.hosts.push(known.ip);
        }
    }
    finding.hosts.sort_unstable();
    finding.open_ports.clone_from(&source.open_ports);
    finding.open_ports.sort_unstable();
    let what = if contact.is_echo() {
        finding.port = Some(contact.port);
        finding.reason(
            "icmp_sweep",
            format!(
                "{} hosts did not answer an echo request, {} did",
                pattern.hosts, pattern.port_accepted
            ),
        );
        format!(
            "looked for hosts by ICMP echo, {} of which did not answer",
            pattern.hosts
        )
    } else if vertical {
        finding.destination = Some(contact.target);
        finding.reason(
            "vertical_scan",
            format!("{} ports of one host failed", pattern.ports_day),
        );
        format!("tried {ports} ports of {} in vain", contact.target)
    } else if horizontal {
        finding.port = Some(contact.port);
        if hosts == 1 {
            finding.destination = Some(contact.target);
        }
        finding.reason(
            "horizontal_scan",
            format!("{} hosts failed on port {}", pattern.hosts_day, contact.port),
        );
        format!("tried {hosts} hosts on port {} in vain", contact.port)
    } else {
        finding.reason(
            "distributed_targets",
            format!("{pairs} pairs of host and port failed"),
        );
        format!("tried {pairs} pairs of host and port in vain")
    };
    if !pattern.fast {
        finding.reason("slow_scan", "spread over hours".to_owned());
    }
    if pattern.stealth > 0 {
        finding.reason(
            "stealth_flags",
            format!("{} probes with flags that open no connection", pattern.stealth),
        );
    }
    if pattern.half_open > 0 {
        finding.reason(
            "half_open",
            format!("{} handshakes left half open", pattern.half_open),
        );
    }
    if pattern.ack > 0 {
        finding.reason("ack_probes", format!("{} bare ACKs were reset", pattern.ack));
    }
    if contact.is_udp() {
        finding.reason("udp_scan", "UDP".to_owned());
    }
    if source.unreachable > 0 {
        finding.reason(
            "icmp_unreachable",
            format!("{} ICMP messages said unreachable", source.unreachable),
        );
    }
    let sensitive = finding
        .ports
        .iter()
        .filter(|port| SENSITIVE_PORTS.contains(port))
        .count();
    if sensitive > 0 {
        finding.reason(
            "sensitive_ports",
            format!("{sensitive} of the ports in the sample are sensitive"),
        );
    }
    let proven = pattern.refused + pattern.stealth + pattern.half_open + pattern.ack;
    let strong = u64::from(least) * 3 <= pairs;
    finding.confidence = match (proven >= pattern.unanswered || source.unreachable > 0, strong) {
        (true, _) => Confidence::High,
        (false, true) => Confidence::Medium,
        (false, false) => Confidence::Low,
    };
    let doublings = (pairs / u64::from(least).max(1))
        .checked_ilog2()
        .unwrap_or(0)
        .min(4);
    let mut score = 50 + 6 * doublings;
    score += if pattern.stealth > 0 { 15 } else { 0 };
    score += if sensitive > 0 { 5 } else { 0 };
    score += if finding.confidence == Confidence::High {
        10
    } else {
        0
    };
    finding.score = u8::try_from(score.min(100)).unwrap_or(100);
    finding.techniques = if contact.source_inside() {
        vec!["T1046"]
    } else if vertical {
        vec!["T1595", "T1595.002"]
    } else {
        vec!["T1595", "T1595.001"]
    };
    finding.settings = vec![("detect.port_scan.targets", least.to_string())];
    finding.message = format!("{who} {what}.");
    finding
}
