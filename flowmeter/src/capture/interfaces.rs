//! The host's network interfaces, as the kernel describes them, and which of them are metered.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use futures_util::TryStreamExt as _;
use globset::{Glob, GlobSet, GlobSetBuilder};
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp,
};
use rtnetlink::Handle;

use crate::config::Capture;

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    pub index: u32,
    pub name: String,
    pub up: bool,
    pub loopback: bool,
    /// Frames start with an Ethernet header; otherwise with the IP header (tun, WireGuard, PPP).
    pub ethernet: bool,
    /// What the kernel calls the kind of a virtual link: `veth`, `bridge`, `vlan`, `tun`, ...
    pub kind: Option<String>,
    /// The driver of a link with a device behind it (PCI, virtio, USB).
    pub driver: Option<String>,
    /// The bond, bridge or team that this is a port of.
    pub controller: Option<u32>,
    /// The link that this one stands on, in the same namespace (the NIC under a VLAN).
    pub lower: Option<u32>,
    /// Id of the program in the XDP slot.
    pub xdp_program: Option<u32>,
}

/// Lists the interfaces of this network namespace, by index.
///
/// # Errors
/// The kernel does not answer the netlink request.
pub async fn list(handle: &Handle) -> Result<Vec<Interface>> {
    let mut interfaces: Vec<Interface> = handle
        .link()
        .get()
        .execute()
        .map_ok(|message| describe(&message))
        .try_collect()
        .await
        .context("listing network interfaces")?;
    interfaces.sort_by_key(|interface| interface.index);
    Ok(interfaces)
}

fn describe(message: &LinkMessage) -> Interface {
    let flags = message.header.flags;
    let mut interface = Interface {
        index: message.header.index,
        up: flags.contains(LinkFlags::Up),
        loopback: flags.contains(LinkFlags::Loopback),
        ethernet: matches!(
            message.header.link_layer_type,
            LinkLayerType::Ether | LinkLayerType::Loopback
        ),
        ..Interface::default()
    };
    let mut lower_elsewhere = false;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name.clone_from(name),
            LinkAttribute::Controller(index) => interface.controller = Some(*index),
            LinkAttribute::Link(index) if *index != 0 => interface.lower = Some(*index),
            // The index is one of another namespace (the peer of a veth pair).
            LinkAttribute::LinkNetNsId(_) => lower_elsewhere = true,
            LinkAttribute::Xdp(parts) => {
                interface.xdp_program = parts.iter().find_map(|part| match part {
                    LinkXdp::ProgId(id) if *id != 0 => Some(*id),
                    _ => None,
                });
            }
            LinkAttribute::LinkInfo(parts) => {
                interface.kind = parts.iter().find_map(|part| match part {
                    LinkInfo::Kind(kind) => Some(kind_name(kind)),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    if lower_elsewhere {
        interface.lower = None;
    }
    interface.driver = driver(&interface.name);
    interface
}

fn kind_name(kind: &InfoKind) -> String {
    kind.to_string()
}

/// The driver behind an interface with a device of its own; sysfs is mounted wherever programs can be
/// attached, and a link without it is treated as virtual.
fn driver(name: &str) -> Option<String> {
    let link = fs::read_link(Path::new("/sys/class/net").join(name).join("device/driver")).ok()?;
    Some(link.file_name()?.to_string_lossy().into_owned())
}

/// Why an interface is not metered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Skipped {
    NotAskedFor,
    Excluded,
    Down,
    Loopback,
    /// Its packets are seen on the named interface too.
    PortOf(String),
    /// Its packets are seen on the named interface below it too.
    StackedOn(String),
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotAskedFor => f.write_str("not asked for"),
            Self::Excluded => f.write_str("excluded by capture.exclude"),
            Self::Down => f.write_str("down"),
            Self::Loopback => f.write_str("loopback passes every packet twice; name it to meter it"),
            Self::PortOf(upper) => write!(f, "port of {upper}, which is metered"),
            Self::StackedOn(lower) => write!(f, "stands on {lower}, which is metered"),
        }
    }
}

/// Names and globs as `capture.interfaces`, `capture.exclude` and `capture.drop_after_count` hold them.
pub struct Patterns(GlobSet);

impl Patterns {
    /// # Errors
    /// A pattern is not a valid glob.
    pub fn new(patterns: &[String]) -> Result<Self> {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            set.add(
                Glob::new(pattern).with_context(|| format!("reading the interface pattern {pattern:?}"))?,
            );
        }
        Ok(Self(set.build()?))
    }

    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

/// Which of `patterns` are of no interface.
///
/// # Errors
/// A pattern is not a valid glob.
pub fn unmatched<'a>(interfaces: &[Interface], patterns: &'a [String]) -> Result<Vec<&'a str>> {
    let mut unmatched = Vec::new();
    for pattern in patterns {
        let one = Patterns::new(std::slice::from_ref(pattern))?;
        if !interfaces.iter().any(|interface| one.matches(&interface.name)) {
            unmatched.push(pattern.as_str());
        }
    }
    Ok(unmatched)
}

/// Decides for each interface, in order, whether it is metered.
///
/// Without names in the configuration a packet is counted once: ports of a bond or bridge are left to the
/// upper device, VLANs and macvlans to the device below. Tunnels (VXLAN, WireGuard, tun) are metered beside
/// the device that carries them: what is inside is another packet.
///
/// # Errors
/// A pattern is not a valid glob.
pub fn select(interfaces: &[Interface], capture: &Capture) -> Result<Vec<Option<Skipped>>> {
    let wanted = Patterns::new(&capture.interfaces)?;
    let exclude = Patterns::new(&capture.exclude)?;
    let basic = |interface: &Interface| {
        if exclude.matches(&interface.name) {
            Some(Skipped::Excluded)
        } else if !capture.interfaces.is_empty() {
            (!wanted.matches(&interface.name)).then_some(Skipped::NotAskedFor)
        } else if interface.loopback {
            Some(Skipped::Loopback)
        } else if !interface.up {
            Some(Skipped::Down)
        } else {
            None
        }
    };
    let metered = |index: Option<u32>| {
        interfaces
            .iter()
            .find(|other| Some(other.index) == index && basic(other).is_none())
    };
    Ok(interfaces
        .iter()
        .map(|interface| {
            if let Some(skipped) = basic(interface) {
                return Some(skipped);
            }
            if !capture.interfaces.is_empty() {
                return None;
            }
            if let Some(upper) = metered(interface.controller) {
                return Some(Skipped::PortOf(upper.name.clone()));
            }
            let shares_packets = matches!(
                interface.kind.as_deref(),
                Some("vlan" | "macvlan" | "macvtap" | "ipvlan" | "ipvtap")
            );
            if let Some(lower) = metered(interface.lower).filter(|_| shares_packets) {
                return Some(Skipped::StackedOn(lower.name.clone()));
            }
            None
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(index: u32, name: &str) -> Interface {
        Interface {
            index,
            name: name.to_owned(),
            up: true,
            ethernet: true,
            ..Interface::default()
        }
    }

    fn skipped(interfaces: &[Interface], wanted: &[&str], exclude: &[&str]) -> Vec<Option<Skipped>> {
        let capture = Capture {
            interfaces: wanted.iter().map(|&name| name.to_owned()).collect(),
            exclude: exclude.iter().map(|&name| name.to_owned()).collect(),
            ..Capture::default()
        };
        select(interfaces, &capture).unwrap()
    }

    #[test]
    fn default_set_counts_each_packet_once() {
        let host = [
            Interface {
                loopback: true,
                ..interface(1, "lo")
            },
            Interface {
                controller: Some(4),
                ..interface(2, "eth0")
            },
            Interface {
                controller: Some(4),
                ..interface(3, "eth1")
            },
            Interface {
                kind: Some("bond".into()),
                ..interface(4, "bond0")
            },
            Interface {
                kind: Some("vlan".into()),
                lower: Some(4),
                ..interface(5, "bond0.10")
            },
            Interface {
                kind: Some("vxlan".into()),
                lower: Some(4),
                ..interface(6, "vxlan0")
            },
            Interface {
                up: false,
                ..interface(7, "eth2")
            },
        ];
        assert_eq!(
            skipped(&host, &[], &[]),
            [
                Some(Skipped::Loopback),
                Some(Skipped::PortOf("bond0".into())),
                Some(Skipped::PortOf("bond0".into())),
                None,
                Some(Skipped::StackedOn("bond0".into())),
                None,
                Some(Skipped::Down),
            ]
        );
    }

    #[test]
    fn patterns_without_an_interface_are_found() {
        let patterns = ["eth*", "nope0", "lo"].map(str::to_owned);
        let host = [interface(1, "lo"), interface(2, "eth0")];
        assert_eq!(unmatched(&host, &patterns).unwrap(), ["nope0"]);
    }

    #[test]
    fn ports_are_metered_where_their_upper_device_is_not() {
        let host = [
            Interface {
                controller: Some(2),
                ..interface(1, "eth0")
            },
            Interface {
                kind: Some("bridge".into()),
                ..interface(2, "br0")
            },
        ];
        assert_eq!(skipped(&host, &[], &["br*"]), [None, Some(Skipped::Excluded)]);
    }

    #[test]
    fn names_and_globs_are_taken_as_they_stand() {
        let host = [
            Interface {
                loopback: true,
                ..interface(1, "lo")
            },
            Interface {
                controller: Some(3),
                ..interface(2, "eth0")
            },
            Interface {
                up: false,
                ..interface(3, "br0")
            },
        ];
        assert_eq!(
            skipped(&host, &["lo", "eth*"], &[]),
            [None, None, Some(Skipped::NotAskedFor)]
        );
    }
}
