//! Names of IP protocols, as logs have them.

use super::number::small;

/// pmacct's names (`_protocols` in its pmacct-data.h, version 1.7.9) and the other spellings that are in use.
const NAMES: [(&[u8], u8); 50] = [
    (b"icmp", 1),
    (b"igmp", 2),
    (b"ggp", 3),
    (b"ipencap", 4),
    (b"ipv4", 4),
    (b"tcp", 6),
    (b"egp", 8),
    (b"igp", 9),
    (b"udp", 17),
    (b"mux", 18),
    (b"dccp", 33),
    (b"ipv6", 41),
    (b"ipv6-route", 43),
    (b"ipv6-frag", 44),
    (b"rsvp", 46),
    (b"gre", 47),
    (b"esp", 50),
    (b"ah", 51),
    (b"mobile", 55),
    (b"tlsp", 56),
    (b"ipv6-icmp", 58),
    (b"icmp6", 58),
    (b"icmpv6", 58),
    (b"ipv6-nonxt", 59),
    (b"ipv6-opts", 60),
    (b"iso-ip", 80),
    (b"vines", 83),
    (b"eigrp", 88),
    (b"ospf", 89),
    (b"ospfigp", 89),
    (b"larp", 91),
    (b"ax.25", 93),
    (b"ipip", 94),
    (b"etherip", 97),
    (b"encap", 98),
    (b"pnni", 102),
    (b"pim", 103),
    (b"ipcomp", 108),
    (b"ipx-in-ip", 111),
    (b"vrrp", 112),
    (b"l2tp", 115),
    (b"isis", 124),
    (b"sctp", 132),
    (b"fc", 133),
    (b"udplite", 136),
    (b"mpls-in-ip", 137),
    (b"ethernet", 143),
    (b"hopopt", 0),
    (b"ip", 0),
    // What pmacct's protos_file leaves out.
    (b"others", UNKNOWN),
];

/// IANA's "Reserved": a protocol that a log does not tell.
pub(super) const UNKNOWN: u8 = 255;

/// The number of a protocol that is written by name or by number.
#[inline]
pub(super) fn number(text: &[u8]) -> Option<u8> {
    match text {
        b"tcp" => Some(6),
        b"udp" => Some(17),
        _ => small(text).or_else(|| {
            NAMES
                .iter()
                .find_map(|(name, number)| name.eq_ignore_ascii_case(text).then_some(*number))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_by_name_and_by_number() {
        for (text, expected) in [
            ("tcp", Some(6)),
            ("TCP", Some(6)),
            ("IPcomp", Some(108)),
            ("ipv6-icmp", Some(58)),
            ("0", Some(0)),
            ("253", Some(253)),
            ("256", None),
            ("", None),
            ("tcpx", None),
        ] {
            assert_eq!(number(text.as_bytes()), expected, "{text}");
        }
    }
}
