//! A name for the responder's port: own names, then the original pipeline's, then IANA's.

use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};

use flowmeter_common::flow::protocol::{DCCP, ICMP, ICMPV6, SCTP, TCP, UDP, UDP_LITE};

use crate::flow::Slice;

/// The names of the original pipeline, which win over IANA's.
const ORIGINAL: &[(u16, &str)] = &[
    (22, "SSH"),
    (53, "DNS"),
    (80, "HTTP"),
    (443, "HTTPS"),
    (445, "SMB"),
    (1433, "MSSQL"),
    (3306, "MYSQL"),
    (3389, "RDP"),
    (5985, "WinRM HTTP"),
    (5986, "WinRM HTTPS"),
];

static IANA: LazyLock<HashMap<(u16, &'static str), &'static str>> = LazyLock::new(|| {
    include_str!("iana.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut columns = line.split('\t');
            Some((
                columns.next()?.parse::<u16>().ok()?,
                columns.next()?,
                columns.next()?,
            ))
        })
        .flat_map(|(port, name, transports)| transports.split(',').map(move |of| ((port, of), name)))
        .collect()
});

/// The names in force.
pub struct Services(BTreeMap<String, String>);

impl Services {
    /// `own`: `8443/tcp` to a name.
    pub fn new(own: &BTreeMap<String, String>) -> Self {
        Self(own.clone())
    }

    /// The service that the responder offers, `OTHER` if nobody named it.
    pub fn name(&self, slice: &Slice) -> &str {
        let transport = match slice.protocol {
            TCP => "tcp",
            UDP | UDP_LITE => "udp",
            SCTP => "sctp",
            DCCP => "dccp",
            ICMP | ICMPV6 => return "ICMP",
            _ => return "OTHER",
        };
        let port = slice.responder.port;
        if slice.fragment {
            return "OTHER";
        }
        if !self.0.is_empty()
            && let Some(name) = self.0.get(&format!("{port}/{transport}"))
        {
            return name;
        }
        if let Some((_, name)) = ORIGINAL.iter().find(|(known, _)| *known == port) {
            return name;
        }
        IANA.get(&(port, transport)).copied().unwrap_or("OTHER")
    }
}
