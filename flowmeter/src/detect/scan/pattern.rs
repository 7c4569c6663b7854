//! What the newest failed target is part of, and how much of it is needed.

use super::source::{ACCEPTED, ACCEPTED_PAIRS, Kind, Source, Target};
use crate::detect::{Context, contact::Contact};

pub(super) const DAY_NS: u64 = 24 * 3_600_000_000_000;

/// Ports that file sharing peers try each other on, dead ones in plenty.
const PEER_PORTS: [u16; 14] = [
    411, 412, 1214, 4661, 4662, 4665, 4672, 6346, 6347, 6348, 6699, 6881, 6889, 51413,
];
/// Where a scan is after something.
pub(super) const SENSITIVE_PORTS: [u16; 22] = [
    21, 22, 23, 25, 110, 111, 135, 137, 139, 161, 445, 512, 1433, 1521, 2323, 3306, 3389, 5432, 5555, 5900,
    6379, 8080,
];

/// What the newest failed target is part of.
#[derive(Debug, Default)]
pub(super) struct Pattern {
    /// Failed ports of its host within the window, and within 24 h; stealth weighs double.
    pub(super) ports: u32,
    pub(super) ports_day: u32,
    /// Failed hosts on its port, the same.
    pub(super) hosts: u32,
    pub(super) hosts_day: u32,
    pub(super) host_accepted: u32,
    pub(super) port_accepted: u32,
    /// Of all that is kept, on well-known ports.
    pub(super) pairs: u32,
    pub(super) hosts_all: u32,
    pub(super) stealth: u32,
    pub(super) half_open: u32,
    pub(super) ack: u32,
    pub(super) refused: u32,
    pub(super) unanswered: u32,
    pub(super) fast: bool,
}

impl Pattern {
    pub(super) fn of(source: &Source, target: &Target, window_ns: u64) -> Self {
        let mut pattern = Self::default();
        let now_ns = target.time_ns;
        let mut other_hosts = false;
        for known in &source.failed {
            let age_ns = now_ns.abs_diff(known.time_ns);
            if age_ns > DAY_NS {
                continue;
            }
            let recent = age_ns <= window_ns;
            let weight = known.weight();
            if known.ip == target.ip {
                pattern.ports_day += weight;
                pattern.ports += if recent { weight } else { 0 };
            } else {
                other_hosts = true;
            }
            if known.same_service(target) {
                pattern.hosts_day += weight;
                pattern.hosts += if recent { weight } else { 0 };
            }
            pattern.pairs += u32::from(known.port < 1024 || SENSITIVE_PORTS.contains(&known.port));
            match known.kind {
                Kind::Refused => pattern.refused += 1,
                Kind::Unanswered => pattern.unanswered += 1,
                Kind::Stealth => pattern.stealth += 1,
                Kind::HalfOpen => pattern.half_open += 1,
                Kind::AckProbe => pattern.ack += 1,
                Kind::Accepted => {}
            }
        }
        pattern.hosts_all = 1 + u32::from(other_hosts);
        for known in &source.accepted {
            pattern.host_accepted += u32::from(known.ip == target.ip);
            pattern.port_accepted += u32::from(known.same_service(target));
        }
        let reached = source.reached.hosts(target);
        // More than is kept exactly: in proportion.
        let accepted = source.wide_count(ACCEPTED_PAIRS);
        if accepted > ACCEPTED as u64 {
            let scale = |count: u32| {
                u32::try_from(u64::from(count) * accepted / ACCEPTED as u64).unwrap_or(u32::MAX / 200)
            };
            pattern.port_accepted = scale(pattern.port_accepted).min(1 << 20);
            pattern.host_accepted = scale(pattern.host_accepted).min(1 << 20);
        }
        pattern.port_accepted = pattern.port_accepted.max(reached);
        pattern
    }
}

/// How much more it takes than usual, as a factor.
pub(super) fn caution(contact: &Contact, pattern: &Pattern, context: &Context<'_>) -> u32 {
    let mut factor = 1;
    if context.roles.speaks_for_others(context.settings, contact.source) {
        factor *= 4;
    }
    let across_hosts = pattern.hosts_day >= pattern.ports_day;
    if across_hosts && PEER_PORTS.contains(&contact.port) {
        factor *= 10;
    } else if across_hosts && contact.is_udp() && context.one_sided {
        // Answers are out of sight.
        factor *= 10;
    } else if across_hosts
        && matches!(contact.port, 80 | 443)
        && !contact.target_inside()
        && pattern.refused == 0
        && pattern.port_accepted == 0
    {
        // Nothing gets through at all: a link that is down, or an address family that leads nowhere.
        factor *= 3;
    } else if across_hosts
        && contact.is_udp()
        && !(SENSITIVE_PORTS.contains(&contact.port) || contact.port < 1024)
    {
        factor *= 4;
    }
    factor
}
