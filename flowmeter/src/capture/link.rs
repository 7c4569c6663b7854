//! Link types of capture files (https://www.tcpdump.org/linktypes.html), brought down to what the frame
//! parser takes.

use flowmeter_common::{Frame as _, Link, Uncounted};

/// How the frames of an interface start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Ethernet,
    Ip,
    /// Linux cooked capture: the EtherType stands at `ethertype_at`, the packet starts at `offset`.
    Cooked {
        ethertype_at: usize,
        offset: usize,
    },
    /// BSD loopback: an address family of the capturing machine, in either byte order.
    Loopback,
    Ppp,
    /// PPP over Ethernet, starting at the PPPoE header.
    PppOverEthernet,
}

impl Framing {
    /// `None` for a link type whose frames cannot be read.
    pub const fn from_link_type(link_type: u16) -> Option<Self> {
        Some(match link_type {
            1 => Self::Ethernet,
            // LINKTYPE_RAW, DLT_RAW of OpenBSD and of everyone else, LINKTYPE_IPV4, LINKTYPE_IPV6.
            101 | 14 | 12 | 228 | 229 => Self::Ip,
            113 => Self::Cooked {
                ethertype_at: 14,
                offset: 16,
            },
            276 => Self::Cooked {
                ethertype_at: 0,
                offset: 20,
            },
            0 | 108 => Self::Loopback,
            9 | 50 => Self::Ppp,
            51 => Self::PppOverEthernet,
            // Cisco HDLC: address, control, EtherType.
            104 => Self::Cooked {
                ethertype_at: 2,
                offset: 4,
            },
            _ => return None,
        })
    }

    /// What the parser needs to know to go on.
    ///
    /// # Errors
    /// The reason why the frame has no flow key.
    pub fn link(self, frame: &[u8]) -> Result<Link, Uncounted> {
        match self {
            Self::Ethernet => Ok(Link::Ethernet),
            Self::Ip => Ok(Link::Ip),
            Self::Cooked { ethertype_at, offset } => {
                let ethertype = u16::from_be_bytes(load(frame, ethertype_at)?);
                Ok(Link::EtherType { ethertype, offset })
            }
            Self::Loopback => {
                let family = u32::from_le_bytes(load(frame, 0)?);
                let family = if family > 0xffff {
                    family.swap_bytes()
                } else {
                    family
                };
                let ethertype = match family {
                    2 => IPV4,
                    // Linux, NetBSD and OpenBSD, FreeBSD, Darwin.
                    10 | 24 | 28 | 30 => IPV6,
                    _ => return Err(Uncounted::NotIp),
                };
                Ok(Link::EtherType { ethertype, offset: 4 })
            }
            Self::Ppp => ppp(frame),
            Self::PppOverEthernet => Ok(Link::EtherType {
                ethertype: PPPOE_SESSION,
                offset: 0,
            }),
        }
    }
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const MPLS: u16 = 0x8847;
const PPPOE_SESSION: u16 = 0x8864;

fn load<const N: usize>(frame: &[u8], offset: usize) -> Result<[u8; N], Uncounted> {
    frame.load(offset).ok_or(Uncounted::Truncated)
}

/// RFC 1662 section 3.1: address and control, which may be compressed away; then the protocol, of one byte
/// if that is odd. An address of 0x0f or 0x8f instead is Cisco's HDLC (RFC 1547 section 4.3.1).
fn ppp(frame: &[u8]) -> Result<Link, Uncounted> {
    let start: [u8; 2] = load(frame, 0)?;
    let at = match start {
        [0xff, 0x03] => 2,
        [0x0f | 0x8f, _] => {
            let ethertype = u16::from_be_bytes(load(frame, 2)?);
            return Ok(Link::EtherType { ethertype, offset: 4 });
        }
        _ => 0,
    };
    let [first] = load(frame, at)?;
    let (protocol, offset) = if first & 1 == 1 {
        (u16::from(first), at + 1)
    } else {
        (u16::from_be_bytes(load(frame, at)?), at + 2)
    };
    let ethertype = match protocol {
        0x0021 => IPV4,
        0x0057 => IPV6,
        0x0281 | 0x0283 => MPLS,
        _ => return Err(Uncounted::NotIp),
    };
    Ok(Link::EtherType { ethertype, offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(link_type: u16, frame: &[u8]) -> Result<(u16, usize), Uncounted> {
        match Framing::from_link_type(link_type).unwrap().link(frame)? {
            Link::EtherType { ethertype, offset } => Ok((ethertype, offset)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn loopback_families_of_every_system_in_both_byte_orders() {
        assert_eq!(link(0, &[2, 0, 0, 0]), Ok((IPV4, 4)));
        assert_eq!(link(108, &[0, 0, 0, 2]), Ok((IPV4, 4)));
        for family in [10, 24, 28, 30] {
            assert_eq!(link(0, &[family, 0, 0, 0]), Ok((IPV6, 4)));
            assert_eq!(link(0, &[0, 0, 0, family]), Ok((IPV6, 4)));
        }
        assert_eq!(link(0, &[7, 0, 0, 0]), Err(Uncounted::NotIp));
        assert_eq!(link(0, &[2, 0, 0]), Err(Uncounted::Truncated));
    }

    #[test]
    fn ppp_with_and_without_its_compressions() {
        assert_eq!(link(9, &[0xff, 3, 0, 0x21]), Ok((IPV4, 4)));
        assert_eq!(link(9, &[0xff, 3, 0x57]), Ok((IPV6, 3)));
        assert_eq!(link(9, &[0, 0x57]), Ok((IPV6, 2)));
        assert_eq!(link(9, &[0x21, 0x45]), Ok((IPV4, 1)));
        assert_eq!(link(9, &[0xff, 3, 2, 0x81]), Ok((MPLS, 4)));
        assert_eq!(link(50, &[0x0f, 0, 8, 0]), Ok((IPV4, 4)));
        assert_eq!(link(9, &[0xff, 3, 0xc0, 0x21]), Err(Uncounted::NotIp));
        assert_eq!(link(9, &[0xff]), Err(Uncounted::Truncated));
    }

    #[test]
    fn cooked_captures() {
        let mut frame = [0; 20];
        frame[14] = 8;
        assert_eq!(link(113, &frame), Ok((IPV4, 16)));
        frame[..2].copy_from_slice(&[0x86, 0xdd]);
        assert_eq!(link(276, &frame), Ok((IPV6, 20)));
        assert_eq!(link(113, &frame[..15]), Err(Uncounted::Truncated));
        assert_eq!(Framing::from_link_type(105), None);
    }
}
