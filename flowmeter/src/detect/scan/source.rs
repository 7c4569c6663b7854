//! What is kept of a source: what it tried, what became of it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::detect::{
    SAMPLE,
    contact::Contact,
    sketch::{Distinct, hash},
    table::Entry,
};

/// Kept exactly for one source; beyond, counts are estimates.
pub(super) const FAILED: usize = 48;
pub(super) const ACCEPTED: usize = 32;
/// Failed targets from which a source gets room for more.
pub(super) const FEW: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    Refused,
    Unanswered,
    /// FIN, NULL, Xmas.
    Stealth,
    HalfOpen,
    AckProbe,
    Accepted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Target {
    pub(super) ip: IpAddr,
    pub(super) port: u16,
    pub(super) protocol: u8,
    pub(super) kind: Kind,
    pub(super) time_ns: u64,
}

impl Target {
    pub(super) fn of(contact: &Contact, kind: Kind) -> Self {
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

    pub(super) fn same(&self, other: &Self) -> bool {
        (self.ip, self.port, self.protocol) == (other.ip, other.port, other.protocol)
    }

    pub(super) fn same_service(&self, other: &Self) -> bool {
        (self.port, self.protocol) == (other.port, other.protocol)
    }

    /// A flag that no stack sends by itself is worth two.
    pub(super) fn weight(&self) -> u32 {
        1 + u32::from(self.kind == Kind::Stealth)
    }
}

/// The services on which a source was answered most widely, and by how many hosts: a failure or two more are
/// nothing there.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Reached {
    /// Port, protocol, one bit for each hash of a host.
    pub(super) services: [(u16, u8, u64); FEW],
}

impl Reached {
    pub(super) fn add(&mut self, target: &Target) {
        let bit = 1 << (hash(3, &target.ip) % 64);
        let key = (target.port, target.protocol);
        let place = self
            .services
            .iter()
            .position(|(port, protocol, hosts)| (*port, *protocol) == key && *hosts != 0);
        let place = place.or_else(|| {
            let widths = self.services.iter().enumerate();
            let narrowest = widths.min_by_key(|(_, (_, _, hosts))| hosts.count_ones());
            narrowest.map(|(place, _)| place)
        });
        if let Some(service) = place.and_then(|place| self.services.get_mut(place)) {
            if (service.0, service.1) != key {
                *service = (key.0, key.1, 0);
            }
            service.2 |= bit;
        }
    }

    /// Hosts that answered on a service, about.
    pub(super) fn hosts(&self, target: &Target) -> u32 {
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

/// A source with little to its name so far. What each answered contact changes stands side by side.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[repr(C)]
pub(super) struct Few {
    pub(super) last_ns: u64,
    pub(super) reached: Reached,
    /// There may be some.
    pub(super) tried: bool,
    pub(super) failed: [Option<Target>; FEW],
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
pub(super) struct Source {
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
    pub(super) failed: Vec<Target>,
    pub(super) reached: Reached,
    /// A ring once it is full.
    pub(super) accepted: Vec<Target>,
    pub(super) next_accepted: usize,
    /// All failed: pairs, hosts, ports; all accepted pairs.
    pub(super) wide: [Distinct; 4],
    /// ICMP "unreachable" that came back.
    pub(super) unreachable: u64,
    pub(super) open_ports: Vec<u16>,
}

pub(super) const PAIRS: usize = 0;
pub(super) const HOSTS: usize = 1;
pub(super) const PORTS: usize = 2;
pub(super) const ACCEPTED_PAIRS: usize = 3;

/// What a source has on the heap at most.
pub(super) const SOURCE_BYTES: usize = (FAILED + ACCEPTED) * size_of::<Target>() + 4 * Distinct::BYTES + 64;

impl Entry for Source {
    fn suspicion(&self) -> u32 {
        u32::try_from(self.failed.len()).unwrap_or(u32::MAX)
    }

    fn last_ns(&self) -> u64 {
        self.last_ns
    }
}

impl Source {
    pub(super) fn new(first_ns: u64) -> Self {
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

    pub(super) fn wide_add(&mut self, which: usize, hash: u64) {
        if let Some(distinct) = self.wide.get_mut(which) {
            distinct.add(hash);
        }
    }

    pub(super) fn wide_count(&self, which: usize) -> u64 {
        self.wide.get(which).map_or(0, Distinct::count)
    }

    /// False if the target is none that is new.
    pub(super) fn add_failed(&mut self, target: Target) -> bool {
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

    pub(super) fn add_accepted(&mut self, target: Target) {
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
    pub(super) fn failed_pairs(&self) -> (u64, u8) {
        if self.failed.len() < FAILED {
            (self.failed.len() as u64, 0)
        } else {
            (self.wide_count(PAIRS).max(FAILED as u64), Distinct::ERROR_PERCENT)
        }
    }
}

pub(super) fn note_open(ports: &mut Vec<u16>, port: u16) {
    if ports.len() < SAMPLE && !ports.contains(&port) {
        ports.push(port);
    }
}
