//! The two namespaces, and what joins them.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    namespace::{Namespace, ip},
    process,
};

/// Both ends of the veth pair are called so, each in its namespace.
pub(crate) const INTERFACE: &str = "eth0";
/// What the agent takes for inside.
pub(crate) const INTERNAL: &str = "10.20.0.0/16,fd00:20::/64";

// Inside is private, outside are documentation addresses (RFC 5737, RFC 3849) and, so that internal traffic
// is shown too, one more private pair.
pub(crate) const INSIDE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 20, 0, 2));
pub(crate) const INSIDE_V4_FOR_NEIGHBOUR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 20, 0, 3));
pub(crate) const OUTSIDE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 5));
pub(crate) const NEIGHBOUR_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 20, 0, 7));
pub(crate) const INSIDE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 2));
pub(crate) const OUTSIDE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 5));

pub(crate) const INSIDE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub(crate) const OUTSIDE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 5];

/// The agent's side and the other one. Removed when dropped, unless kept.
pub(crate) struct Network {
    pub(crate) inside: Namespace,
    pub(crate) outside: Namespace,
}

impl Network {
    pub(crate) fn new() -> Result<Self> {
        let id = std::process::id();
        let network = Self {
            inside: Namespace::new(format!("flowmeter-demo-{id}-inside"))?,
            outside: Namespace::new(format!("flowmeter-demo-{id}-outside"))?,
        };
        network.connect()?;
        Ok(network)
    }

    fn connect(&self) -> Result<()> {
        let (inside, outside) = (&self.inside, &self.outside);
        ip(&format!(
            "link add {INTERFACE} netns {} address {} type veth peer name {INTERFACE} netns {} address {}",
            inside.name,
            mac(INSIDE_MAC),
            outside.name,
            mac(OUTSIDE_MAC)
        ))?;
        for namespace in [inside, outside] {
            // One packet, one frame: the interface's own counters are then the packets on the wire.
            namespace.run(&format!("ethtool -K {INTERFACE} tso off gso off gro off"))?;
            // No link-local address, so no chatter about it.
            namespace.ip(&format!("link set {INTERFACE} addrgenmode none"))?;
            namespace.ip("link set lo up")?;
            namespace.ip(&format!("link set {INTERFACE} up"))?;
        }
        addresses(inside, &[INSIDE_V4, INSIDE_V4_FOR_NEIGHBOUR, INSIDE_V6])?;
        addresses(outside, &[OUTSIDE_V4, NEIGHBOUR_V4, OUTSIDE_V6])?;
        route(inside, OUTSIDE_V4, INSIDE_V4)?;
        route(inside, OUTSIDE_V6, INSIDE_V6)?;
        route(inside, NEIGHBOUR_V4, INSIDE_V4_FOR_NEIGHBOUR)?;
        route(outside, INSIDE_V4, OUTSIDE_V4)?;
        route(outside, INSIDE_V6, OUTSIDE_V6)?;
        route(outside, INSIDE_V4_FOR_NEIGHBOUR, NEIGHBOUR_V4)
    }

    /// Packets that the inner interface has received and sent, as the kernel's driver counts them.
    pub(crate) fn counters(&self) -> Result<u64> {
        let mut show = Command::new("ip");
        show.args([
            "-n",
            &self.inside.name,
            "-j",
            "-s",
            "link",
            "show",
            "dev",
            INTERFACE,
        ]);
        let text = process::output(&mut show)?;
        let links: serde_json::Value = serde_json::from_str(&text).context("reading interface counters")?;
        let count = |side: &str| links.pointer(&format!("/0/stats64/{side}/packets"))?.as_u64();
        count("rx")
            .zip(count("tx"))
            .map(|(received, sent)| received + sent)
            .with_context(|| format!("ip tells no packet counters of {INTERFACE}"))
    }

    pub(crate) fn keep(&mut self) {
        self.inside.keep();
        self.outside.keep();
    }
}

fn addresses(namespace: &Namespace, addresses: &[IpAddr]) -> Result<()> {
    for address in addresses {
        let how = if address.is_ipv6() { "/128 nodad" } else { "/32" };
        namespace.ip(&format!("address add {address}{how} dev {INTERFACE}"))?;
    }
    Ok(())
}

fn route(namespace: &Namespace, to: IpAddr, from: IpAddr) -> Result<()> {
    namespace.ip(&format!("route add {to} dev {INTERFACE} src {from}"))
}

fn mac(address: [u8; 6]) -> String {
    address.map(|byte| format!("{byte:02x}")).join(":")
}
