//! The kernel programs, loaded: sized and set up from the configuration.

use std::hash::BuildHasher as _;

use anyhow::{Context as _, Result, anyhow};
use aya::{
    Ebpf, EbpfLoader,
    maps::{LpmTrie, MapData, lpm_trie::Key},
};
use flowmeter_common::TableSize;
use ipnet::IpNet;

use crate::{
    capture::features::Features,
    config::{Capture, Filter, Tunnels},
};

/// The object that `cargo xtask build-ebpf` makes.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("FLOWMETER_BPF_OBJECT"));

/// Values in the kernel's `FILTER` map.
const ALLOW: u8 = 1;
const DENY: u8 = 2;

/// The flow table that is asked for.
pub const fn table_size(capture: &Capture) -> TableSize {
    TableSize::of(capture.max_flows)
}

/// Loads maps and programs; nothing is attached yet.
///
/// # Errors
/// The kernel lacks something, the process lacks a capability, or the verifier refuses a program.
pub fn load(capture: &Capture, features: &Features, log_level: log::LevelFilter) -> Result<Ebpf> {
    let table = table_size(capture);
    let filter_mode = match (capture.filter.allow.is_empty(), capture.filter.deny.is_empty()) {
        (true, true) => 0_u8,
        (true, false) => 1,
        (false, _) => 2,
    };
    let inner = u8::from(capture.tunnels == Tunnels::Inner);
    // Wakes the agent half-way between the flows that are asked for and the last one that fits.
    let fill_notice = u64::from(capture.max_flows).midpoint(u64::from(table.flows));
    let coarse_clock = u8::from(features.coarse_clock);
    // aya-log numbers its levels from error (1) to trace (5); programs log at trace only.
    let log_level = if log_level == log::LevelFilter::Trace {
        5_u8
    } else {
        0
    };
    let mut ebpf = EbpfLoader::new()
        // The programs need no relocation against kernel types.
        .btf(None)
        .map_max_entries("PAGES", 2 * table.pages)
        .map_max_entries("USED", 2 * table.pages)
        .map_max_entries("OVERFLOW_0", table.overflow)
        .map_max_entries("OVERFLOW_1", table.overflow)
        .override_global("GENERATION_PAGES", &table.pages, true)
        .override_global("HASH", &random(), true)
        .override_global("SAMPLING", &capture.sampling, true)
        .override_global("TUNNELS_INNER", &inner, true)
        .override_global("FILTER_MODE", &filter_mode, true)
        .override_global("FILL_NOTICE", &fill_notice, true)
        .override_global("COARSE_CLOCK", &coarse_clock, true)
        .override_global("AYA_LOG_LEVEL", &log_level, false)
        .load(OBJECT)
        .with_context(|| {
            format!(
                "loading the kernel programs and a flow table for twice {} flows",
                table.flows
            )
        })?;
    fill_filter(&mut ebpf, &capture.filter)?;
    Ok(ebpf)
}

/// Drawn anew for each load: the standard library takes its hash keys from the operating system.
fn random() -> [u64; 6] {
    let keyed = std::hash::RandomState::new();
    std::array::from_fn(|word| keyed.hash_one(word))
}

fn fill_filter(ebpf: &mut Ebpf, filter: &Filter) -> Result<()> {
    let map = ebpf
        .map_mut("FILTER")
        .ok_or_else(|| anyhow!("map FILTER is not in the object"))?;
    let mut trie = LpmTrie::<&mut MapData, [u8; 16], u8>::try_from(map)?;
    for (nets, action) in [(&filter.allow, ALLOW), (&filter.deny, DENY)] {
        for net in nets {
            let (prefix, address) = mapped(net);
            trie.insert(&Key::new(prefix, address), action, 0)
                .with_context(|| format!("adding {net} to the kernel's filter"))?;
        }
    }
    Ok(())
}

/// A prefix over 16-byte addresses, IPv4 v4-mapped as in the flow key.
fn mapped(net: &IpNet) -> (u32, [u8; 16]) {
    match net {
        IpNet::V4(net) => (
            u32::from(net.prefix_len()) + 96,
            net.network().to_ipv6_mapped().octets(),
        ),
        IpNet::V6(net) => (u32::from(net.prefix_len()), net.network().octets()),
    }
}
