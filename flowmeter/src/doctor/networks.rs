//! The internal networks against the addresses that this host has: without them every direction is wrong.

use super::{Outcome, site::Site};

const NAME: &str = "networks";

pub(super) fn check(site: &Site<'_>, checks: &mut Vec<Outcome>) {
    let internal = &site.config.networks.internal;
    // A list that cannot be had is told by the check of the interfaces.
    let Ok(links) = &site.links else { return };
    if internal.is_empty() {
        checks.push(Outcome::failure(
            NAME,
            "no network counts as inside: every flow is external_to_external",
            "name yours: INTERNAL_NETWORKS=10.0.0.0/8,... or networks.internal",
        ));
        return;
    }
    let shown: Vec<_> = internal.iter().map(ToString::to_string).collect();
    let mut inside = 0;
    let before = checks.len();
    for interface in links.metered().filter(|interface| !interface.loopback) {
        let addresses = links
            .addresses
            .iter()
            .filter(|(index, _)| *index == interface.index);
        for (_, ip) in addresses {
            if internal.iter().any(|network| network.contains(ip)) {
                inside += 1;
            } else {
                checks.push(Outcome::warning(
                    NAME,
                    format!(
                        "{} has the address {ip}, which counts as outside: {} does not hold it",
                        interface.name,
                        shown.join(", ")
                    ),
                    "if it is yours, add its network: INTERNAL_NETWORKS or networks.internal",
                ));
            }
        }
    }
    if checks.len() == before {
        let found = match inside {
            0 => format!(
                "inside: {}; no metered interface has an address to compare",
                shown.join(", ")
            ),
            _ => format!("inside: {}; so is every address of this host", shown.join(", ")),
        };
        checks.push(Outcome::ok(NAME, found));
    }
}
