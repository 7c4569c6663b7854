//! Who does what here: servers and how many use them, resolvers, proxies, hosts from which others are
//! administered, scanners; as configured, and as learned.

use std::net::IpAddr;

use flowmeter_common::flow::protocol::{TCP, UDP};
use serde::{Deserialize, Serialize};

use super::{
    contact::{Contact, Seen},
    settings::Settings,
    sketch::{hash, linear},
    table::{Entry, Table},
};

/// One service of one host.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Service {
    /// One bit for each hash of an inside client: linear counting up to some 400.
    clients: u128,
    first_ns: u64,
    last_ns: u64,
}

impl Service {
    fn clients(&self) -> u32 {
        linear(self.clients)
    }
}

impl Entry for Service {
    fn suspicion(&self) -> u32 {
        // The more clients, the more it is worth knowing.
        self.clients.count_ones()
    }

    fn last_ns(&self) -> u64 {
        self.last_ns
    }
}

/// Resolvers that many networks use on purpose, so that asking them tells little.
const PUBLIC_RESOLVERS: [&str; 16] = [
    "8.8.8.8",
    "8.8.4.4",
    "1.1.1.1",
    "1.0.0.1",
    "9.9.9.9",
    "149.112.112.112",
    "208.67.222.222",
    "208.67.220.220",
    "4.2.2.1",
    "4.2.2.2",
    "2001:4860:4860::8888",
    "2001:4860:4860::8844",
    "2606:4700:4700::1111",
    "2606:4700:4700::1001",
    "2620:fe::fe",
    "2620:119:35::35",
];

/// Clients from which a host with a service is what it looks like.
const LEARNED_CLIENTS: u32 = 3;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Roles {
    services: Table<(IpAddr, u16, u8), Service>,
}

impl Roles {
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

    /// Reads what a new connection will ask for, so that it is in the cache by then.
    pub(super) fn touch(&self, seen: &Seen) {
        self.services.touch_key(&(seen.target, seen.port, seen.protocol));
    }

    /// Learns from an accepted connection.
    pub(super) fn learn(&mut self, contact: &Contact) {
        if !contact.source_inside() || !contact.unicast {
            return;
        }
        let service = self
            .services
            .entry((contact.target, contact.port, contact.protocol), || Service {
                clients: 0,
                first_ns: contact.start_ns,
                last_ns: contact.start_ns,
            });
        service.clients |= 1 << (hash(2, &contact.source) % 128);
        service.last_ns = service.last_ns.max(contact.last_ns);
    }

    /// Inside hosts that use a service, about.
    pub(super) fn clients(&self, target: IpAddr, port: u16, protocol: u8) -> u32 {
        self.services
            .get(&(target, port, protocol))
            .map_or(0, Service::clients)
    }

    pub(super) fn resolver(&self, settings: &Settings, ip: IpAddr) -> bool {
        if settings.resolvers_given {
            return settings.resolvers.contains(ip);
        }
        [UDP, TCP]
            .iter()
            .any(|protocol| self.clients(ip, 53, *protocol) >= LEARNED_CLIENTS)
            || PUBLIC_RESOLVERS.iter().any(|known| known.parse() == Ok(ip))
    }

    pub(super) fn proxy(&self, settings: &Settings, ip: IpAddr) -> bool {
        settings.proxies.contains(ip)
            || [3128, 8080, 8118, 1080]
                .iter()
                .any(|port| self.clients(ip, *port, TCP) >= LEARNED_CLIENTS)
    }

    /// A host that asks many others on behalf of its clients: a scan's threshold does not fit it.
    pub(super) fn speaks_for_others(&self, settings: &Settings, ip: IpAddr) -> bool {
        self.proxy(settings, ip)
            || settings.resolvers.contains(ip)
            || self.clients(ip, 53, UDP) >= LEARNED_CLIENTS
    }
}
