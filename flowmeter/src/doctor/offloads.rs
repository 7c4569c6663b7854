//! Offloads that change what is seen: packets that were merged before they are counted, tags that hardware took off.

use super::{Outcome, genl, site::Site};
use crate::capture::{interfaces::Patterns, plan::plan};

const NAME: &str = "offloads";

pub(super) fn check(site: &Site<'_>, checks: &mut Vec<Outcome>) {
    let (Ok(links), Ok(features)) = (&site.links, &site.features) else {
        return;
    };
    let capture = &site.config.capture;
    let drop = Patterns::new(&capture.drop_after_count).ok();
    for interface in links.metered() {
        let drop = drop.as_ref().is_some_and(|drop| drop.matches(&interface.name));
        let Ok(plan) = plan(interface, capture, features, drop) else {
            continue;
        };
        match genl::offloads(interface.index) {
            Ok(on) => grade(&interface.name, &on, plan.xdp.is_some(), checks),
            Err(error) => checks.push(Outcome::warning(
                NAME,
                format!("{}: the kernel does not tell them: {error}", interface.name),
                format!("look at them by: ethtool -k {}", interface.name),
            )),
        }
    }
}

/// `on`: names as the kernel has them (`netdev_features_strings`).
fn grade(interface: &str, on: &[String], xdp: bool, checks: &mut Vec<Outcome>) {
    let is_on = |name: &str| on.iter().any(|other| other == name);
    let before = checks.len();
    // Unlike GRO, drivers need not say of how many packets they made one.
    if is_on("rx-lro") && !xdp {
        checks.push(Outcome::warning(
            NAME,
            format!("{interface}: LRO merges packets before they are counted, and need not tell how many"),
            format!("ethtool -K {interface} lro off"),
        ));
    }
    if is_on("rx-vlan-hw-parse") && xdp {
        checks.push(Outcome::warning(
            NAME,
            format!("{interface}: the hardware takes VLAN tags off, so that XDP does not see them"),
            format!("if there are VLANs: ethtool -K {interface} rxvlan off, or --mode tc"),
        ));
    }
    if checks.len() > before {
        return;
    }
    let merging: Vec<_> = [("rx-gro", "GRO"), ("rx-gro-hw", "GRO in hardware")]
        .into_iter()
        .chain([("tx-tcp-segmentation", "TSO"), ("tx-generic-segmentation", "GSO")])
        .filter(|(name, _)| is_on(name))
        .map(|(_, name)| name)
        .collect();
    checks.push(Outcome::ok(
        NAME,
        match merging.as_slice() {
            [] => format!("{interface}: none that change what is seen"),
            merging => format!(
                "{interface}: {} on; a super-packet counts as the packets that it stands for",
                merging.join(", ")
            ),
        },
    ));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    fn found(on: &[&str], xdp: bool) -> Vec<Outcome> {
        let on: Vec<_> = on.iter().map(|&name| name.to_owned()).collect();
        let mut checks = Vec::new();
        grade("eth0", &on, xdp, &mut checks);
        checks
    }

    #[test]
    fn offloads_are_graded_by_the_hook_that_sees_them() {
        for (on, xdp, result, remedy) in [
            (&["rx-gro"][..], false, Grade::Ok, None),
            (
                &["rx-lro"],
                false,
                Grade::Warning,
                Some("ethtool -K eth0 lro off"),
            ),
            (&["rx-lro"], true, Grade::Ok, None),
            (&["rx-vlan-hw-parse"], false, Grade::Ok, None),
            (
                &["rx-vlan-hw-parse", "rx-gro"],
                true,
                Grade::Warning,
                Some("if there are VLANs: ethtool -K eth0 rxvlan off, or --mode tc"),
            ),
        ] {
            let found = found(on, xdp);
            let [outcome] = found.as_slice() else {
                panic!("{found:?}")
            };
            assert_eq!(
                (outcome.result, outcome.remedy.as_deref()),
                (result, remedy),
                "{on:?}"
            );
        }
        assert_eq!(found(&["rx-lro", "rx-vlan-hw-parse"], false).len(), 1);
    }
}
