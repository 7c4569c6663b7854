//! Names of IP protocol numbers (IANA "Assigned Internet Protocol Numbers").

/// The two spellings of one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolName {
    /// What people read: `TCP`, `ICMPV6`.
    pub display: &'static str,
    /// The registry's keyword in lower case, as ECS `network.transport` wants it: `tcp`, `ipv6-icmp`.
    pub keyword: &'static str,
}

/// `None` for the numbers that are hardly ever seen; they stand as a number in events.
pub const fn name(protocol: u8) -> Option<ProtocolName> {
    let (display, keyword) = match protocol {
        0 => ("HOPOPT", "hopopt"),
        1 => ("ICMP", "icmp"),
        2 => ("IGMP", "igmp"),
        4 => ("IPIP", "ipv4"),
        6 => ("TCP", "tcp"),
        8 => ("EGP", "egp"),
        9 => ("IGP", "igp"),
        17 => ("UDP", "udp"),
        33 => ("DCCP", "dccp"),
        41 => ("IPV6", "ipv6"),
        46 => ("RSVP", "rsvp"),
        47 => ("GRE", "gre"),
        50 => ("ESP", "esp"),
        51 => ("AH", "ah"),
        58 => ("ICMPV6", "ipv6-icmp"),
        59 => ("IPV6-NONXT", "ipv6-nonxt"),
        88 => ("EIGRP", "eigrp"),
        89 => ("OSPF", "ospfigp"),
        94 => ("IPIP", "ipip"),
        97 => ("ETHERIP", "etherip"),
        103 => ("PIM", "pim"),
        108 => ("IPCOMP", "ipcomp"),
        112 => ("VRRP", "vrrp"),
        115 => ("L2TP", "l2tp"),
        124 => ("ISIS", "isis over ipv4"),
        132 => ("SCTP", "sctp"),
        135 => ("MOBILITY", "mobility header"),
        136 => ("UDPLITE", "udplite"),
        137 => ("MPLS-IN-IP", "mpls-in-ip"),
        _ => return None,
    };
    Some(ProtocolName { display, keyword })
}
