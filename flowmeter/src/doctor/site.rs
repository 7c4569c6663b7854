//! What several checks look at: the configuration, the kernel's answers, the interfaces and their addresses.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use futures_util::TryStreamExt as _;
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};

use crate::{
    capture::{
        features::Features,
        interfaces::{self, Interface, Skipped},
    },
    config::Config,
};

pub(super) struct Site<'a> {
    pub(super) config: &'a Config,
    pub(super) features: Result<Features>,
    pub(super) links: Result<Links>,
}

/// The interfaces of this network namespace.
pub(super) struct Links {
    pub(super) interfaces: Vec<Interface>,
    /// For each interface why it is not metered.
    skipped: Vec<Option<Skipped>>,
    /// Index of the interface, and an address on it, less link-local ones.
    pub(super) addresses: Vec<(u32, IpAddr)>,
}

impl<'a> Site<'a> {
    pub(super) fn look(config: &'a Config) -> Self {
        Self {
            config,
            features: Features::probe(),
            links: links(config),
        }
    }
}

impl Links {
    pub(super) fn metered(&self) -> impl Iterator<Item = &Interface> {
        let pairs = self.interfaces.iter().zip(&self.skipped);
        pairs.filter_map(|(interface, skipped)| skipped.is_none().then_some(interface))
    }
}

fn links(config: &Config) -> Result<Links> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (interfaces, addresses) = runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().context("opening a netlink socket")?;
        tokio::spawn(connection);
        let interfaces = interfaces::list(&handle).await?;
        let messages: Vec<AddressMessage> = handle
            .address()
            .get()
            .execute()
            .try_collect()
            .await
            .context("listing addresses")?;
        anyhow::Ok((interfaces, messages.iter().filter_map(address).collect()))
    })?;
    let skipped = interfaces::select(&interfaces, &config.capture)?;
    Ok(Links {
        interfaces,
        skipped,
        addresses,
    })
}

fn address(message: &AddressMessage) -> Option<(u32, IpAddr)> {
    if !matches!(message.header.scope, AddressScope::Universe | AddressScope::Site) {
        return None;
    }
    // Of a point-to-point link `Address` is the other end's, and `Local` is ours (rtnetlink(7)).
    let of = |attribute: &AddressAttribute| match attribute {
        AddressAttribute::Local(ip) => Some((true, *ip)),
        AddressAttribute::Address(ip) => Some((false, *ip)),
        _ => None,
    };
    let found = message
        .attributes
        .iter()
        .filter_map(of)
        .max_by_key(|(local, _)| *local);
    found.map(|(_, ip)| (message.header.index, ip))
}
