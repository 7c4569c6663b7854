//! The kernel programs, loaded: sized and set up from the configuration.

use anyhow::{Context as _, Result, anyhow};
use aya::{
    Ebpf, EbpfLoader,
    maps::{LpmTrie, MapData, lpm_trie::Key},
};
use flowmeter_common::flow_map_entries;
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

/// Entries that each generation of the flow map has room for.
pub const fn map_entries(capture: &Capture) -> u32 {
    flow_map_entries(capture.max_flows)
}

/// Loads maps and programs; nothing is attached yet.
///
/// # Errors
/// The kernel lacks something, the process lacks a capability, or the verifier refuses a program.
pub fn load(capture: &Capture, features: &Features, log_level: log::LevelFilter) -> Result<Ebpf> {
    let entries = map_entries(capture);
    let filter_mode = match (capture.filter.allow.is_empty(), capture.filter.deny.is_empty()) {
        (true, true) => 0_u8,
        (true, false) => 1,
        (false, _) => 2,
    };
    let inner = u8::from(capture.tunnels == Tunnels::Inner);
    // Wakes the agent half-way between the flows that are asked for and the last one that fits.
    let fill_notice = u64::from(capture.max_flows).midpoint(u64::from(entries));
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
        .map_max_entries("FLOWS_0", entries)
        .map_max_entries("FLOWS_1", entries)
        .override_global("SAMPLING", &capture.sampling, true)
        .override_global("TUNNELS_INNER", &inner, true)
        .override_global("FILTER_MODE", &filter_mode, true)
        .override_global("FILL_NOTICE", &fill_notice, true)
        .override_global("COARSE_CLOCK", &coarse_clock, true)
        .override_global("AYA_LOG_LEVEL", &log_level, false)
        .load(OBJECT)
        .with_context(|| format!("loading the kernel programs and a flow map of twice {entries} entries"))?;
    fill_filter(&mut ebpf, &capture.filter)?;
    Ok(ebpf)
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
