//! Floods that fill the flow map: what found no room there, by source network and protocol (see `SpillKey`).
//!
//! No connections are known of it, only how much came from which networks, and where the first packet of each went.
//! That is enough to tell a flood and its victim. A scan that fills a map was told by the flows that found room.

use std::{collections::BTreeMap, net::IpAddr};

use flowmeter_common::{SpillCounters, SpillKey, flow::protocol::TCP};

use super::{Confidence, Context, Count, Finding, SAMPLE, Tag, episode::Subject};
use crate::config::detect::DetectorMode;

/// What the settings count within.
const WINDOW_NS: u64 = 10_000_000_000;
/// Networks from which the victim is more than one packet's destination by chance.
const NETWORKS: usize = 16;
/// Tells these episodes from those of `dos`.
const KIND: u8 = 7;

#[derive(Default)]
struct Spilled {
    networks: Vec<IpAddr>,
    packets: u64,
    syn: u64,
    tcp: bool,
}

/// Tells victims of what was spilled within an interval.
pub(super) fn tell(
    entries: &[(SpillKey, SpillCounters)],
    (start_ns, end_ns): (u64, u64),
    usable: impl Fn(IpAddr) -> bool,
    context: &mut Context<'_>,
) {
    let mut victims: BTreeMap<IpAddr, Spilled> = BTreeMap::new();
    for (key, counters) in entries {
        let ip = |octets: [u8; 16]| match key.ipv6 {
            0 => IpAddr::from(octets).to_canonical(),
            _ => IpAddr::from(octets),
        };
        let spilled = victims.entry(ip(counters.destination)).or_default();
        spilled.networks.push(ip(key.source_prefix));
        spilled.packets = spilled.packets.saturating_add(counters.packets);
        spilled.syn = spilled.syn.saturating_add(counters.syn);
        spilled.tcp |= key.protocol == TCP;
    }
    let lasting_ns = end_ns.saturating_sub(start_ns).max(WINDOW_NS);
    let rate = |count: u64| u128::from(count) * u128::from(WINDOW_NS) / u128::from(lasting_ns);
    for (victim, mut spilled) in victims {
        let settings = &context.settings.of(victim).dos;
        spilled.networks.sort_unstable();
        spilled.networks.dedup();
        let much = rate(spilled.syn) >= settings.unfinished.into()
            || rate(spilled.packets) >= settings.packets.into();
        if settings.mode != DetectorMode::Full
            || !much
            || spilled.networks.len() < NETWORKS
            || !usable(victim)
        {
            continue;
        }
        let subject = Subject {
            tag: Tag::Dos,
            source: None,
            target: Some(victim),
            port: None,
            kind: KIND,
        };
        if !context.episodes.wants(&subject, spilled.packets, 1, end_ns) {
            continue;
        }
        let mut finding = Finding::new(Tag::Dos, start_ns, end_ns);
        finding.destination = Some(victim);
        finding.protocol = spilled.tcp.then_some(TCP);
        let networks = spilled.networks.len();
        finding.reason(
            "flow_map_full",
            format!(
                "{} packets, {} of them SYNs, from {networks} networks found no room in the flow map",
                spilled.packets, spilled.syn
            ),
        );
        finding.counts = vec![
            Count::exact("spilled_packets", spilled.packets),
            Count::exact("spilled_syns", spilled.syn),
            Count::exact("source_networks", networks as u64),
        ];
        finding.hosts = spilled.networks.iter().take(SAMPLE).copied().collect();
        finding.score = 75;
        finding.confidence = Confidence::Medium;
        finding.techniques = vec!["T1498.001", "T1498"];
        finding.settings = vec![
            ("detect.dos.unfinished", settings.unfinished.to_string()),
            ("detect.dos.packets", settings.packets.to_string()),
        ];
        finding.message = format!(
            "{victim} got packets from {networks} networks or more that found no room in the flow map: a flood fills it."
        );
        let magnitude = spilled.packets;
        context
            .episodes
            .raise(context.settings, subject, magnitude, 1, 0, end_ns, finding);
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Engine, Phase, wire::config},
        *,
    };

    const NOW_NS: u64 = 1_704_067_200_000_000_000;

    /// From so many networks so many SYNs each, to one host.
    fn spilled(networks: u8, syn: u64, victim: &str) -> Vec<(SpillKey, SpillCounters)> {
        let octets = |text: &str| {
            text.parse::<std::net::Ipv4Addr>()
                .unwrap()
                .to_ipv6_mapped()
                .octets()
        };
        (0..networks)
            .map(|n| {
                let key = SpillKey {
                    source_prefix: octets(&format!("198.51.{n}.0")),
                    protocol: TCP,
                    ..SpillKey::default()
                };
                let counters = SpillCounters {
                    packets: syn,
                    syn,
                    destination: octets(victim),
                    ..SpillCounters::default()
                };
                (key, counters)
            })
            .collect()
    }

    fn told(entries: &[(SpillKey, SpillCounters)], seconds: u64) -> Vec<Finding> {
        let mut engine = Engine::new(&config(&[]));
        engine.note_loss(5000);
        engine.advance(NOW_NS);
        engine.note_spill(entries, NOW_NS - seconds * 1_000_000_000..NOW_NS);
        engine.drain()
    }

    #[test]
    fn a_flood_that_fills_the_map_is_told() {
        let findings = told(&spilled(100, 50, "10.0.0.9"), 10);
        let [finding] = &findings[..] else {
            panic!("{findings:#?}");
        };
        assert_eq!((finding.tag, finding.phase), (Tag::Dos, Phase::Start));
        assert_eq!(finding.destination, Some("10.0.0.9".parse().unwrap()));
        assert_eq!(finding.reasons[0].id, "flow_map_full");
        assert_eq!(finding.counts[1], Count::exact("spilled_syns", 5000));
        assert_eq!(finding.visibility.lost_packets, 5000);
    }

    #[test]
    fn what_is_no_flood_is_not_told() {
        // Few SYNs, the same many over a longer interval, one network, no host.
        assert_eq!(told(&spilled(100, 4, "10.0.0.9"), 10), []);
        assert_eq!(told(&spilled(100, 20, "10.0.0.9"), 60), []);
        assert_eq!(told(&spilled(1, 5000, "10.0.0.9"), 10), []);
        assert_eq!(told(&spilled(100, 50, "239.1.2.3"), 10), []);
    }
}
