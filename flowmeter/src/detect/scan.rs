//! `possible_port_scan`: who tries many ports of a host, or many hosts on a port, and mostly fails.
//!
//! Counted are first contacts that an initiator tried, with what became of each, over 24 h: an answer to a client
//! is no scan whatever ports it goes to, and a scan of one port an hour is one.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{
    Confidence, Context, Count, Finding, SAMPLE, Tag,
    contact::{Contact, Event, Verdict},
    episode::Subject,
    settings::nanoseconds,
    sketch::{Distinct, Promotion, hash},
    table::{Entry, Table},
};
use crate::config::detect::DetectorMode;

const HOUR_NS: u64 = 3_600_000_000_000;
const DAY_NS: u64 = 24 * HOUR_NS;

/// Kept exactly for one source; beyond, counts are estimates.
const FAILED: usize = 48;
const ACCEPTED: usize = 32;
/// Failed targets from which a source gets room for more.
const FEW: usize = 4;

/// Ports that file sharing peers try each other on, dead ones in plenty.
const PEER_PORTS: [u16; 14] = [
    411, 412, 1214, 4661, 4662, 4665, 4672, 6346, 6347, 6348, 6699, 6881, 6889, 51413,
];
/// Where a scan is after something.
const SENSITIVE_PORTS: [u16; 22] = [
    21, 22, 23, 25, 110, 111, 135, 137, 139, 161, 445, 512, 1433, 1521, 2323, 3306, 3389, 5432, 5555, 5900,
    6379, 8080,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    Refused,
    Unanswered,
    /// FIN, NULL, Xmas.
    Stealth,
    HalfOpen,
    AckProbe,
    Accepted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Target {
    ip: IpAddr,
    port: u16,
    protocol: u8,
    kind: Kind,
    time_ns: u64,
}

impl Target {
    fn of(contact: &Contact, kind: Kind) -> Self {
        // Traceroute counts up from 33434 (RFC 1393 section 2): one target, not many.
        let port = match contact.port {
            33_434..=33_534 if contact.is_udp() => 33_434,
            port => port,
        };
        Self {
            ip: contact.target,
            port,
            protocol: contact.protocol,
            kind,
            time_ns: contact.start_ns,
        }
    }

    fn same(&self, other: &Self) -> bool {
        (self.ip, self.port, self.protocol) == (other.ip, other.port, other.protocol)
    }

    fn same_service(&self, other: &Self) -> bool {
        (self.port, self.protocol) == (other.port, other.protocol)
    }

    /// A flag that no stack sends by itself is worth two.
    fn weight(&self) -> u32 {
        1 + u32::from(self.kind == Kind::Stealth)
    }
}

/// The services on which a source was answered most widely, and by how many hosts: a failure or two more are
/// nothing there.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Reached {
    /// Port, protocol, one bit for each hash of a host.
    services: [(u16, u8, u64); FEW],
}

impl Reached {
    fn add(&mut self, target: &Target) {
        let bit = 1 << (hash(3, &target.ip) % 64);
        let key = (target.port, target.protocol);
        let place = self
            .services
            .iter()
            .position(|(port, protocol, hosts)| (*port, *protocol) == key && *hosts != 0);
        let widths = self.services.iter().enumerate();
        let narrowest = widths.min_by_key(|(_, (_, _, hosts))| hosts.count_ones());
        let narrowest = narrowest.map(|(place, _)| place);
        if let Some(service) = place.or(narrowest).and_then(|place| self.services.get_mut(place)) {
            if (service.0, service.1) != key {
                *service = (key.0, key.1, 0);
            }
            service.2 |= bit;
        }
    }

    /// Hosts that answered on a service, about.
    fn hosts(&self, target: &Target) -> u32 {
        let service = self
            .services
            .iter()
            .find(|(port, protocol, _)| (*port, *protocol) == (target.port, target.protocol));
        service.map_or(0, |(_, _, hosts)| match hosts.count_zeros() {
            0 => 300,
            zeros => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "between 0 and 267"
                )]
                let count = (64.0 * (64.0 / f64::from(zeros)).ln()).round() as u32;
                count
            }
        })
    }
}

/// A source with little to its name so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Few {
    failed: [Option<Target>; FEW],
    reached: Reached,
    last_ns: u64,
}

impl Entry for Few {
    fn suspicion(&self) -> u32 {
        u32::try_from(self.failed.iter().flatten().count()).unwrap_or(0)
    }

    fn last_ns(&self) -> u64 {
        self.last_ns
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Source {
    first_ns: u64,
    last_ns: u64,
    failed: Vec<Target>,
    reached: Reached,
    /// A ring once it is full.
    accepted: Vec<Target>,
    next_accepted: usize,
    /// All failed: pairs, hosts, ports; all accepted pairs.
    wide: [Distinct; 4],
    /// ICMP "unreachable" that came back.
    unreachable: u64,
    open_ports: Vec<u16>,
}

const PAIRS: usize = 0;
const HOSTS: usize = 1;
const PORTS: usize = 2;
const ACCEPTED_PAIRS: usize = 3;

/// What a source has on the heap at most.
const SOURCE_BYTES: usize = (FAILED + ACCEPTED) * size_of::<Target>() + 4 * Distinct::BYTES + 64;

impl Entry for Source {
    fn suspicion(&self) -> u32 {
        u32::try_from(self.failed.len()).unwrap_or(u32::MAX)
    }

    fn last_ns(&self) -> u64 {
        self.last_ns
    }
}

impl Source {
    fn new(first_ns: u64) -> Self {
        Self {
            first_ns,
            last_ns: first_ns,
            failed: Vec::new(),
            reached: Reached::default(),
            accepted: Vec::new(),
            next_accepted: 0,
            wide: [Distinct::new(), Distinct::new(), Distinct::new(), Distinct::new()],
            unreachable: 0,
            open_ports: Vec::new(),
        }
    }

    fn wide_add(&mut self, which: usize, hash: u64) {
        if let Some(distinct) = self.wide.get_mut(which) {
            distinct.add(hash);
        }
    }

    fn wide_count(&self, which: usize) -> u64 {
        self.wide.get(which).map_or(0, Distinct::count)
    }

    /// False if the target is none that is new.
    fn add_failed(&mut self, target: Target) -> bool {
        self.last_ns = self.last_ns.max(target.time_ns);
        if self.accepted.iter().any(|known| known.same(&target)) {
            return false;
        }
        if let Some(known) = self.failed.iter_mut().find(|known| known.same(&target)) {
            known.time_ns = known.time_ns.max(target.time_ns);
            return false;
        }
        self.wide_add(PAIRS, hash(3, &(target.ip, target.port, target.protocol)));
        self.wide_add(HOSTS, hash(3, &target.ip));
        self.wide_add(PORTS, hash(3, &(target.port, target.protocol)));
        if self.failed.len() >= FAILED {
            let oldest = self
                .failed
                .iter()
                .enumerate()
                .min_by_key(|(_, known)| known.time_ns);
            if let Some((oldest, _)) = oldest {
                self.failed.swap_remove(oldest);
            }
        }
        self.failed.push(target);
        true
    }

    fn add_accepted(&mut self, target: Target) {
        self.last_ns = self.last_ns.max(target.time_ns);
        self.failed.retain(|known| !known.same(&target));
        self.reached.add(&target);
        if self.accepted.iter().any(|known| known.same(&target)) {
            return;
        }
        self.wide_add(
            ACCEPTED_PAIRS,
            hash(3, &(target.ip, target.port, target.protocol)),
        );
        if self.accepted.len() < ACCEPTED {
            self.accepted.push(target);
        } else if let Some(place) = self.accepted.get_mut(self.next_accepted) {
            *place = target;
            self.next_accepted = (self.next_accepted + 1) % ACCEPTED;
        }
    }

    /// Distinct failed pairs, and the error of that in per cent.
    fn failed_pairs(&self) -> (u64, u8) {
        if self.failed.len() < FAILED {
            (self.failed.len() as u64, 0)
        } else {
            (self.wide_count(PAIRS).max(FAILED as u64), Distinct::ERROR_PERCENT)
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Scan {
    few: Table<IpAddr, Few>,
    sources: Table<IpAddr, Source>,
    #[serde(skip, default = "no_promotion")]
    promotion: Promotion,
    seed: u64,
}

fn no_promotion() -> Promotion {
    Promotion::with_bytes(0)
}

impl Scan {
    pub(super) fn new(bytes: u64, seed: u64) -> Self {
        Self {
            few: Table::with_bytes(bytes / 8 * 3, 0),
            sources: Table::with_bytes(bytes / 2, SOURCE_BYTES),
            promotion: Promotion::with_bytes(bytes / 8),
            seed,
        }
    }

    pub(super) fn adopt(&mut self, other: Self) {
        self.few.adopt(other.few);
        self.sources.adopt(other.sources);
        self.seed = other.seed;
    }

    pub(super) fn usage(&self) -> (usize, usize, u64) {
        (
            self.few.len() + self.sources.len(),
            self.few.capacity() + self.sources.capacity(),
            self.few.evicted() + self.sources.evicted(),
        )
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
            Verdict::Probe if contact.open => Kind::HalfOpen,
            Verdict::Probe => Kind::AckProbe,
            Verdict::Accepted if contact.asked() => Kind::Accepted,
            _ => return,
        };
        let target = Target::of(contact, kind);
        if kind == Kind::Accepted && !contact.fresh {
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
                for known in &mut few.failed {
                    if known.is_some_and(|known| known.same(&target)) {
                        *known = None;
                    }
                }
            }
            return;
        }
        if !contact.fresh && kind != Kind::AckProbe {
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
            && !self.promotion.meet(hash(self.seed, &contact.source))
        {
            return false;
        }
        let few = self.few.entry(contact.source, Few::default);
        few.last_ns = few.last_ns.max(target.time_ns);
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
            pattern.hosts >= 3 && pattern.hosts + pattern.port_accepted >= least && {
                pattern.hosts * 100 >= percent / 2 * (pattern.hosts + pattern.port_accepted)
            }
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
        self.few
            .retain(|_, few| few.last_ns.saturating_add(DAY_NS) > now_ns);
        self.sources.retain(|_, source| {
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

fn note_open(ports: &mut Vec<u16>, port: u16) {
    if ports.len() < SAMPLE && !ports.contains(&port) {
        ports.push(port);
    }
}

/// What the newest failed target is part of.
#[derive(Debug, Default)]
struct Pattern {
    /// Failed ports of its host within the window, and within 24 h; stealth weighs double.
    ports: u32,
    ports_day: u32,
    /// Failed hosts on its port, the same.
    hosts: u32,
    hosts_day: u32,
    host_accepted: u32,
    port_accepted: u32,
    /// Of all that is kept, on well-known ports.
    pairs: u32,
    hosts_all: u32,
    stealth: u32,
    half_open: u32,
    ack: u32,
    refused: u32,
    unanswered: u32,
    fast: bool,
}

impl Pattern {
    fn of(source: &Source, target: &Target, window_ns: u64) -> Self {
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
fn caution(contact: &Contact, pattern: &Pattern, context: &Context<'_>) -> u32 {
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

fn finding(
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
    let mut sample: Vec<&super::scan::Target> = source.failed.iter().collect();
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
