//! Who takes part: hosts of one inside network, and documentation addresses for everybody else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, anyhow, bail};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The network of the article that this follows. Taken if the configuration counts it as inside.
const INSIDE_V4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 56, 0), 24);
/// Its counterpart: unique local (RFC 4193), with 56 as global id.
const INSIDE_V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x56, 0, 0, 0, 0, 0, 0), 64);

const NETWORKS: u32 = 3;
/// TEST-NET-3, TEST-NET-2 and TEST-NET-1 of RFC 5737.
const OUTSIDE_V4: [Ipv4Net; NETWORKS as usize] = [
    Ipv4Net::new_assert(Ipv4Addr::new(203, 0, 113, 0), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(198, 51, 100, 0), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 0, 2, 0), 24),
];
/// RFC 3849.
const OUTSIDE_V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32);
/// Private networks of RFC 1918 and RFC 4193.
const PRIVATE_V4: [Ipv4Net; 3] = [
    Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16),
];
const PRIVATE_V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7);

/// Host numbers of an IPv4 network of 24 bits: what [`Site::inside`] and its likes take, 1 to 254.
const HOSTS: u32 = 254;

/// The addresses of a scenario. A host has the same number in IPv4 and IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// With room for at least 256 addresses.
    inside: IpNet,
}

impl Site {
    /// Takes its inside hosts from `internal`, the networks that the configuration counts as inside: from
    /// 192.168.56.0/24 (fd00:56::/64) if that is among them, else from the start of the first one that is large
    /// enough.
    ///
    /// # Errors
    /// If none is, or if a documentation network counts as inside: its hosts have to be outside.
    pub fn new(internal: &[IpNet], ipv6: bool) -> Result<Self> {
        let outside: Vec<IpNet> = if ipv6 {
            vec![OUTSIDE_V6.into()]
        } else {
            OUTSIDE_V4.map(IpNet::from).to_vec()
        };
        let overlaps = |a: &IpNet, b: &IpNet| a.contains(b) || b.contains(a);
        for net in internal {
            if let Some(outside) = outside.iter().find(|outside| overlaps(outside, net)) {
                bail!(
                    "{net} in networks.internal holds addresses of {outside}, which stand for the outside in every \
                     scenario; leave it out, for instance with --set networks.internal=192.168.56.0/24"
                );
            }
        }
        let (preferred, longest): (IpNet, u8) = if ipv6 {
            (INSIDE_V6.into(), 120)
        } else {
            (INSIDE_V4.into(), 24)
        };
        if internal.iter().any(|net| net.contains(&preferred)) {
            return Ok(Self { inside: preferred });
        }
        internal
            .iter()
            .find(|net| net.addr().is_ipv6() == ipv6 && net.prefix_len() <= longest)
            .map(|net| Self { inside: net.trunc() })
            .ok_or_else(|| {
                anyhow!(
                    "networks.internal has no {} network of /{longest} or larger for the hosts inside",
                    if ipv6 { "IPv6" } else { "IPv4" }
                )
            })
    }

    /// A host inside.
    pub fn inside(&self, host: u8) -> IpAddr {
        match self.inside {
            IpNet::V4(net) => v4(net, u32::from(host)),
            IpNet::V6(net) => v6(net, 0, u32::from(host)),
        }
    }

    /// A server or a client outside, in 203.0.113.0/24 (2001:db8::/48).
    pub fn outside(&self, host: u8) -> IpAddr {
        self.documentation(0, u32::from(host))
    }

    /// One of many addresses outside, spread over all of the documentation networks. IPv4 has 762 of them, then
    /// they come again.
    pub fn spoofed(&self, number: u32) -> IpAddr {
        match self.inside {
            IpNet::V4(_) => self.documentation(number % NETWORKS, 1 + number / NETWORKS % HOSTS),
            IpNet::V6(_) => self.documentation(number % NETWORKS, 1 + number),
        }
    }

    fn documentation(&self, network: u32, host: u32) -> IpAddr {
        match (self.inside, OUTSIDE_V4.get(network as usize)) {
            (IpNet::V4(_), Some(net)) => v4(*net, host),
            _ => v6(OUTSIDE_V6, network, host),
        }
    }
}

fn v4(net: Ipv4Net, host: u32) -> IpAddr {
    Ipv4Addr::from_bits(net.network().to_bits() | host).into()
}

/// The host in the `subnet`-th /48 of a network.
fn v6(net: Ipv6Net, subnet: u32, host: u32) -> IpAddr {
    Ipv6Addr::from_bits(net.network().to_bits() | u128::from(subnet) << 80 | u128::from(host)).into()
}

/// True for private and documentation addresses: nobody's on the Internet.
pub fn is_harmless(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => OUTSIDE_V4.iter().chain(&PRIVATE_V4).any(|net| net.contains(&ip)),
        IpAddr::V6(ip) => OUTSIDE_V6.contains(&ip) || PRIVATE_V6.contains(&ip),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn internal(nets: &[&str]) -> Vec<IpNet> {
        nets.iter().map(|net| net.parse().unwrap()).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn by_default_the_inside_is_the_articles_network() {
        let default = Config::default().networks.internal;
        let site = Site::new(&default, false).unwrap();
        assert_eq!(site.inside(10), ip("192.168.56.10"));
        assert_eq!(site.outside(99), ip("203.0.113.99"));
        let site = Site::new(&default, true).unwrap();
        assert_eq!(site.inside(10), ip("fd00:56::a"));
        assert_eq!(site.outside(99), ip("2001:db8::63"));
    }

    #[test]
    fn a_configured_network_is_the_inside() {
        let nets = internal(&["fd12:3456::/32", "10.1.2.0/25", "10.20.0.0/16", "172.16.0.0/12"]);
        assert_eq!(Site::new(&nets, false).unwrap().inside(7), ip("10.20.0.7"));
        assert_eq!(Site::new(&nets, true).unwrap().inside(7), ip("fd12:3456::7"));
        let nets = internal(&["10.0.0.0/8", "192.168.0.0/16"]);
        assert_eq!(Site::new(&nets, false).unwrap().inside(7), ip("192.168.56.7"));
    }

    #[test]
    fn what_cannot_be_inside_or_outside_is_told() {
        for (nets, ipv6, told) in [
            (&["10.0.0.0/25"][..], false, "no IPv4 network of /24 or larger"),
            (&["10.0.0.0/8"], true, "no IPv6 network of /120 or larger"),
            (
                &["10.0.0.0/8", "203.0.113.64/26"],
                false,
                "203.0.113.64/26 in networks.internal",
            ),
            (&["0.0.0.0/0"], false, "0.0.0.0/0 in networks.internal"),
            (&["2001:db8:5::/48"], true, "2001:db8:5::/48 in networks.internal"),
        ] {
            let error = Site::new(&internal(nets), ipv6).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        // The other family does not matter.
        assert!(Site::new(&internal(&["10.0.0.0/8", "2001:db8::/32"]), false).is_ok());
    }

    #[test]
    fn spoofed_addresses_are_all_that_there_are() {
        let default = Config::default().networks.internal;
        for (ipv6, expected) in [(false, 762), (true, 5000)] {
            let site = Site::new(&default, ipv6).unwrap();
            let all: std::collections::BTreeSet<_> = (0..5000).map(|n| site.spoofed(n)).collect();
            assert_eq!(all.len(), expected);
            assert!(all.iter().all(|ip| is_harmless(*ip)));
        }
        let site = Site::new(&default, false).unwrap();
        assert!(
            (0..5000)
                .all(|n| !matches!(site.spoofed(n), IpAddr::V4(ip) if [0, 255].contains(&ip.octets()[3])))
        );
    }

    #[test]
    fn only_private_and_documentation_addresses_are_harmless() {
        for harmless in [
            "10.0.0.0",
            "10.255.255.255",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "192.0.2.1",
            "198.51.100.255",
            "203.0.113.0",
            "2001:db8:ffff::1",
            "fc00::1",
            "fdff::1",
        ] {
            assert!(is_harmless(ip(harmless)), "{harmless}");
        }
        for other in [
            "9.255.255.255",
            "11.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "192.0.3.0",
            "203.0.112.255",
            "8.8.8.8",
            "127.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "0.0.0.0",
            "2001:db9::1",
            "fe80::1",
            "::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(!is_harmless(ip(other)), "{other}");
        }
    }
}
