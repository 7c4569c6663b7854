//! Which interfaces are metered, by which hooks, and what their drivers make of XDP.

use super::{Outcome, genl, site::Site};
use crate::capture::{
    interfaces::{Interface, Patterns, unmatched},
    plan::plan,
};

const NAME: &str = "interfaces";

pub(super) fn check(site: &Site<'_>, checks: &mut Vec<Outcome>) {
    let capture = &site.config.capture;
    let links = match &site.links {
        Ok(links) => links,
        Err(error) => {
            checks.push(Outcome::of_error(
                NAME,
                error,
                "see `flowmeter interfaces --log-level debug`",
            ));
            return;
        }
    };
    for pattern in unmatched(&links.interfaces, &capture.interfaces).unwrap_or_default() {
        checks.push(Outcome::warning(
            NAME,
            format!("no interface is called {pattern}"),
            "correct capture.interfaces; it is metered when it comes",
        ));
    }
    if links.metered().next().is_none() {
        checks.push(Outcome::failure(
            NAME,
            "no interface would be metered",
            "bring one up, or name one in capture.interfaces; `flowmeter interfaces` lists them",
        ));
    }
    let features = match &site.features {
        Ok(features) => features,
        Err(error) => {
            checks.push(Outcome::of_error(NAME, error, "see above, kernel"));
            return;
        }
    };
    // A pattern that is no pattern is refused with the configuration.
    let drop = Patterns::new(&capture.drop_after_count).ok();
    for interface in links.metered() {
        let drop = drop.as_ref().is_some_and(|drop| drop.matches(&interface.name));
        checks.push(match plan(interface, capture, features, drop) {
            Ok(plan) => {
                let how = format!("{}: {} ({})", interface.name, plan.describe(), plan.why);
                graded(&how, plan.xdp.is_some(), plan.may_fall_back, interface)
            }
            Err(impossible) => Outcome::failure(
                NAME,
                impossible.to_string(),
                "`flowmeter interfaces` tells what can be had",
            ),
        });
    }
}

fn graded(how: &str, xdp: bool, may_fall_back: bool, interface: &Interface) -> Outcome {
    let Ok(modes) = genl::xdp_modes(interface.index) else {
        return Outcome::ok(
            NAME,
            format!("{how}; the kernel does not tell the driver's XDP modes (6.3)"),
        );
    };
    let names = match modes.names() {
        names if names.is_empty() => "none".to_owned(),
        names => names,
    };
    let found = format!("{how}; XDP modes of its driver: {names}");
    match (xdp && !modes.native(), may_fall_back) {
        (false, _) => Outcome::ok(NAME, found),
        (true, true) => Outcome::ok(NAME, format!("{found}, so that TC takes the place of XDP")),
        (true, false) => Outcome::failure(NAME, found, "use --mode auto or tc"),
    }
}
