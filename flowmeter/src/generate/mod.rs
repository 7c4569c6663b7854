//! Traffic that detectors are meant to find, made up without a network: for trying rules, dashboards and
//! detectors.
//!
//! A [`Scenario`] is a list of conversations. Everything follows from its packets: frames for captures and
//! interfaces, and flow events through the same parser, aggregation and connection table as a capture's. No
//! scenario says what it is; finding that out is the detectors' work. The same arguments make the same bytes.

pub mod conversation;
pub mod frame;
pub mod packets;
pub mod payload;
pub mod pcap;
mod scenarios;
pub mod send;
pub mod site;
pub mod source;

use std::{iter, time::Duration};

use conversation::Conversation;
use packets::Packets;
use site::Site;

/// A pattern of traffic.
#[derive(Debug)]
pub struct Scenario {
    pub name: &'static str,
    /// What its detector calls it; taken as a name too.
    pub tag: &'static str,
    /// The Wazuh rule for that tag.
    pub rule: u32,
    /// Who does what.
    pub what: &'static str,
    /// What is scaled, in the plural: "ports".
    pub unit: &'static str,
    /// How many of them without `--count`.
    pub count: u32,
    conversations: fn(&Site, u32) -> Vec<Conversation>,
}

/// In the order of their rules.
pub const SCENARIOS: [Scenario; 9] = [
    scenarios::port_scan::SCENARIO,
    scenarios::high_outbound::SCENARIO,
    scenarios::beaconing::SCENARIO,
    scenarios::lateral_movement::SCENARIO,
    scenarios::dns::SCENARIO,
    scenarios::external_inbound::SCENARIO,
    scenarios::unusual_port::SCENARIO,
    scenarios::dos::SCENARIO,
    scenarios::scan_escalation::SCENARIO,
];

/// Stands for all of them together.
pub const ALL: &str = "all";

/// What `--count` takes: no scan has more ports.
pub const COUNTS: std::ops::RangeInclusive<i64> = 1..=65_535;

/// The scenarios of a name or tag, all nine for [`ALL`]; none if the name is unknown.
pub fn scenarios(name: &str) -> Vec<&'static Scenario> {
    SCENARIOS
        .iter()
        .filter(|scenario| [ALL, scenario.name, scenario.tag].contains(&name))
        .collect()
}

/// The conversations of `scenarios`, all beginning at the same time. Each scenario has hosts of its own, so
/// that none changes what another one looks like.
pub fn conversations(scenarios: &[&Scenario], site: &Site, count: Option<u32>) -> Vec<Conversation> {
    scenarios
        .iter()
        .flat_map(|scenario| (scenario.conversations)(site, count.unwrap_or(scenario.count)))
        .collect()
}

/// What is about to be made, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    pub packets: u64,
    /// Whole frames, without frame check sequence.
    pub wire_bytes: u64,
    /// From the first packet to the last.
    pub lasting: Duration,
}

/// Counts without making a frame.
pub fn extent(conversations: &[Conversation]) -> Extent {
    let mut extent = Extent::default();
    for packet in Packets::new(conversations.to_vec()) {
        extent.packets += 1;
        extent.wire_bytes += frame::length(&packet) as u64;
        extent.lasting = packet.after;
    }
    extent
}

/// For the help: what there is, what finds it, how large it is.
pub fn table() -> String {
    let line = |name, tag, rule: &str, count: &str| format!("  {name:<17} {tag:<27} {rule:<7} {count}\n");
    let rows = SCENARIOS.iter().map(|scenario| {
        let count = format!("{} {}", scenario.count, scenario.unit);
        line(scenario.name, scenario.tag, &scenario.rule.to_string(), &count)
    });
    iter::once(line("scenario", "tag", "rule", "--count"))
        .chain(rows)
        .collect()
}

/// For the help: what happens in each scenario.
pub fn descriptions() -> String {
    SCENARIOS
        .iter()
        .map(|scenario| format!("  {:<17} {}\n", scenario.name, scenario.what))
        .collect()
}

/// Numbers without a pattern, always the same ones (splitmix64).
fn noise(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Up to `most`, without a pattern.
fn jitter(seed: u32, most: Duration) -> Duration {
    let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(noise(seed.into()) % most.saturating_add(1))
}

/// The client port of the `number`-th connection, from the dynamic ones (RFC 6335 section 6).
fn client_port(number: u32) -> u16 {
    49152 | (number & 0x3fff) as u16
}
