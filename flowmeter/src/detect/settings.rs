//! The configuration as detectors ask for it: by address, and what is not to be told.

use std::{net::IpAddr, time::Duration};

use super::{Finding, Tag};
use crate::{
    config::{
        self, Config, Detect, Times,
        detect::{Allow, DetectorMode},
    },
    enrich::Networks,
};

/// Everything that the configuration says about detection.
#[derive(Debug)]
pub(super) struct Settings {
    base: Detect,
    groups: Vec<(Networks, Detect)>,
    allowed: Vec<Allowed>,
    /// Some detector works by a fixed threshold.
    pub(super) any_threshold: bool,
    pub(super) resolvers: Networks,
    pub(super) resolvers_given: bool,
    pub(super) proxies: Networks,
    pub(super) admin_hosts: Networks,
    pub(super) scanners: Networks,
    pub(super) servers: Networks,
}

#[derive(Debug)]
struct Allowed {
    allow: Allow,
    source: Networks,
    destination: Networks,
    either: Networks,
    times: Times,
}

impl Settings {
    /// A group or date that cannot be used does not pass [`Config::check`]; unchecked it is left out.
    pub(super) fn new(config: &Config) -> Self {
        let networks: &config::Networks = &config.networks;
        let base = config.detect.clone();
        let groups: Vec<(Networks, Detect)> = base
            .groups
            .iter()
            .filter_map(|group| Some((Networks::new(&group.networks), base.of_group(group).ok()?)))
            .collect();
        let any_threshold = std::iter::once(&base)
            .chain(groups.iter().map(|(_, detect): &(Networks, Detect)| detect))
            .any(by_threshold);
        let allowed = base
            .allow
            .iter()
            .filter_map(|allow| {
                Some(Allowed {
                    source: Networks::new(&allow.source),
                    destination: Networks::new(&allow.destination),
                    either: Networks::new(&allow.networks),
                    times: Times::new(allow).ok()?,
                    allow: allow.clone(),
                })
            })
            .collect();
        Self {
            any_threshold,
            groups,
            allowed,
            base,
            resolvers: Networks::new(&networks.resolvers),
            resolvers_given: !networks.resolvers.is_empty(),
            proxies: Networks::new(&networks.proxies),
            admin_hosts: Networks::new(&networks.admin_hosts),
            scanners: Networks::new(&networks.scanners),
            servers: Networks::new(&networks.servers),
        }
    }

    pub(super) fn base(&self) -> &Detect {
        &self.base
    }

    /// The settings for an inside host.
    pub(super) fn of(&self, ip: IpAddr) -> &Detect {
        self.groups
            .iter()
            .find(|(networks, _)| networks.contains(ip))
            .map_or(&self.base, |(_, detect)| detect)
    }

    /// The allow-list's entry that covers a finding, by its place in the list.
    pub(super) fn allowing(&self, finding: &Finding, now_ns: u64) -> Option<usize> {
        let covers = |networks: &Networks, given: bool, ip: Option<IpAddr>| {
            !given || ip.is_some_and(|ip| networks.contains(ip))
        };
        self.allowed.iter().position(|entry| {
            let Allow {
                findings,
                source,
                destination,
                networks,
                ports,
                ..
            } = &entry.allow;
            finding.tag != Tag::Overflow
                && entry.times.hold(now_ns)
                && (findings.is_empty() || findings.iter().any(|name| name == finding.tag.name()))
                && covers(&entry.source, !source.is_empty(), finding.source)
                && covers(&entry.destination, !destination.is_empty(), finding.destination)
                && [finding.source, finding.destination]
                    .into_iter()
                    .any(|end| covers(&entry.either, !networks.is_empty(), end))
                && (ports.is_empty() || finding.port.is_some_and(|port| ports.contains(&port)))
        })
    }
}

fn by_threshold(detect: &Detect) -> bool {
    [
        detect.port_scan.mode,
        detect.outbound_bytes.mode,
        detect.beaconing.mode,
        detect.lateral_movement.mode,
        detect.dns.mode,
        detect.external_inbound.mode,
        detect.outbound_port.mode,
        detect.dos.mode,
    ]
    .contains(&DetectorMode::Threshold)
}

pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
