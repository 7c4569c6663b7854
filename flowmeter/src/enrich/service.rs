//! Service names by the responder's port.

use flowmeter_common::flow::protocol;
use hashbrown::HashMap;

use crate::config;

/// The name of a port that has none.
pub const OTHER: &str = "OTHER";

/// The names that the dashboards and rules of the original pipeline use, for TCP and UDP.
const FIRST_NAMES: [(u16, &str); 10] = [
    (22, "SSH"),
    (53, "DNS"),
    (80, "HTTP"),
    (443, "HTTPS"),
    (445, "SMB"),
    (1433, "Microsoft SQL Server"),
    (3306, "MySQL"),
    (3389, "RDP"),
    (5985, "WinRM HTTP"),
    (5986, "WinRM HTTPS"),
];

const IANA: &str = include_str!("iana.tsv");

/// Names longer than this many bytes are refused: an event must stay well under 8 KiB.
const MAX_NAME_BYTES: usize = 64;

/// A port and its transport protocol, written `8443/tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServicePort {
    pub port: u16,
    pub protocol: u8,
}

/// An entry of the `services` table that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadService {
    #[error("`{}` is not a port and its protocol, such as \"8443/tcp\" (tcp, udp, sctp, dccp)", .0.escape_debug())]
    Port(String),
    #[error("`{}` is not a name of 1 to {MAX_NAME_BYTES} bytes", .0.escape_debug())]
    Name(String),
}

impl ServicePort {
    /// The port of an entry of the `services` table, whose name is checked too.
    ///
    /// # Errors
    /// What is wrong with either.
    pub fn named(port: &str, name: &str) -> Result<Self, BadService> {
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
            return Err(BadService::Name(name.to_owned()));
        }
        let parsed = port.split_once('/').and_then(|(number, transport)| {
            Some(Self {
                port: number.parse().ok()?,
                protocol: transport_number(transport)?,
            })
        });
        parsed.ok_or_else(|| BadService::Port(port.to_owned()))
    }
}

fn transport_number(name: &str) -> Option<u8> {
    match name {
        "tcp" => Some(protocol::TCP),
        "udp" => Some(protocol::UDP),
        "sctp" => Some(protocol::SCTP),
        "dccp" => Some(protocol::DCCP),
        _ => None,
    }
}

/// Port names: those of the configuration first, then the original pipeline's, then IANA's.
#[derive(Debug)]
pub struct Services {
    names: HashMap<ServicePort, Box<str>>,
}

impl Services {
    /// # Errors
    /// The first entry of the configuration that cannot be used.
    pub fn new(own: &config::Services) -> Result<Self, BadService> {
        let mut names = HashMap::new();
        for (port, name) in iana() {
            names.insert(port, name.into());
        }
        for (port, name) in FIRST_NAMES {
            for protocol in [protocol::TCP, protocol::UDP] {
                names.insert(ServicePort { port, protocol }, name.into());
            }
        }
        for (key, name) in &own.names {
            names.insert(ServicePort::named(key, name)?, name.as_str().into());
        }
        Ok(Self { names })
    }

    /// The name of a responder's port, `ICMP` for ICMP and ICMPv6, [`OTHER`] for what has none.
    pub fn name(&self, protocol: u8, port: u16) -> &str {
        let protocol = match protocol {
            protocol::ICMP | protocol::ICMPV6 => return "ICMP",
            // UDP-Lite uses the port numbers of UDP (RFC 3828 section 6).
            protocol::UDP_LITE => protocol::UDP,
            other => other,
        };
        self.names
            .get(&ServicePort { port, protocol })
            .map_or(OTHER, AsRef::as_ref)
    }
}

/// The lines of the table; a test proves that every line is one of them.
fn iana() -> impl Iterator<Item = (ServicePort, &'static str)> {
    IANA.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut columns = line.split('\t');
            let port: u16 = columns.next()?.parse().ok()?;
            Some((port, columns.next()?, columns.next()?))
        })
        .flat_map(|(port, name, transports)| {
            transports
                .split(',')
                .filter_map(transport_number)
                .map(move |protocol| (ServicePort { port, protocol }, name))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: u8 = protocol::TCP;
    const UDP: u8 = protocol::UDP;

    fn own(entries: &[(&str, &str)]) -> Result<Services, BadService> {
        let names = entries
            .iter()
            .map(|(key, name)| ((*key).to_owned(), (*name).to_owned()))
            .collect();
        Services::new(&config::Services { names })
    }

    #[test]
    fn own_names_come_before_the_article_s_and_those_before_iana_s() {
        let services = own(&[("443/tcp", "Shop"), ("40000/udp", "Game")]).unwrap();
        for (protocol, port, name) in [
            (TCP, 443, "Shop"),
            (UDP, 443, "HTTPS"),
            (UDP, 40000, "Game"),
            (TCP, 445, "SMB"),
            (TCP, 5985, "WinRM HTTP"),
            (UDP, 53, "DNS"),
            (UDP, 123, "NTP"),
            (TCP, 5432, "POSTGRESQL"),
            (protocol::UDP_LITE, 53, "DNS"),
            (protocol::ICMP, 0, "ICMP"),
            (protocol::ICMPV6, 128, "ICMP"),
            (TCP, 47775, "OTHER"),
            (protocol::GRE, 0, "OTHER"),
        ] {
            assert_eq!(services.name(protocol, port), name, "{protocol} {port}");
        }
    }

    #[test]
    fn a_wrong_entry_is_named_with_what_is_right() {
        for key in ["443", "443/icmp", "70000/tcp", "/tcp", "https/tcp", ""] {
            let error = own(&[(key, "X")]).unwrap_err();
            assert_eq!(error, BadService::Port(key.to_owned()));
            assert!(error.to_string().contains("such as \"8443/tcp\""), "{error}");
        }
        let long = "x".repeat(65);
        for name in ["", long.as_str()] {
            assert_eq!(
                own(&[("80/tcp", name)]).unwrap_err(),
                BadService::Name(name.to_owned())
            );
        }
    }

    #[test]
    fn every_line_of_the_iana_table_is_used_once() {
        let expected: usize = IANA
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split('\t').nth(2).unwrap().split(',').count())
            .sum();
        let ports: std::collections::BTreeSet<ServicePort> = iana().map(|(port, _)| port).collect();
        assert_eq!(iana().count(), expected);
        assert_eq!(ports.len(), expected, "no port has two names");
        assert!(expected > 1_500);
        assert!(iana().all(|(_, name)| !name.is_empty() && name.len() <= MAX_NAME_BYTES));
    }
}
