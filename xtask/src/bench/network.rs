//! A cable with the generator on one end and a meter on the other, in namespaces that go with it.

use std::fs;

use anyhow::{Context, Result};
use nix::net::if_::if_nametoindex;

use crate::namespace::{Namespace, ip};

/// The generator's end of the cable, in [`Cable::sender`].
pub(super) const OUT: &str = "out0";
/// The meter's end, in [`Cable::meter`].
pub(super) const IN: &str = "in0";

pub(super) struct Cable {
    pub(super) sender: Namespace,
    pub(super) meter: Namespace,
}

impl Cable {
    pub(super) fn new() -> Result<Self> {
        let id = std::process::id();
        let cable = Self {
            sender: Namespace::new(format!("flowmeter-bench-{id}-sender"))?,
            meter: Namespace::new(format!("flowmeter-bench-{id}-meter"))?,
        };
        for namespace in [&cable.sender, &cable.meter] {
            // No neighbour discovery: nothing but the generator's packets passes.
            for which in ["all", "default"] {
                namespace.run(&format!("sysctl -qw net.ipv6.conf.{which}.disable_ipv6=1"))?;
            }
        }
        ip(&format!(
            "link add {OUT} netns {} address 02:00:00:00:aa:01 type veth \
             peer name {IN} netns {} address 02:00:00:00:aa:02",
            cable.sender.name, cable.meter.name
        )
        .replace("  ", ""))?;
        // A veth takes redirected frames only if the other end polls, which GRO makes it do (`veth_xdp_xmit`).
        cable.meter.run(&format!("ethtool -K {IN} gro on"))?;
        cable.meter.ip(&format!("link set {IN} up"))?;
        cable.sender.ip(&format!("link set {OUT} up"))?;
        Ok(cable)
    }

    pub(super) fn meter_ifindex(&self) -> Result<u32> {
        self.meter
            .inside(|| if_nametoindex(IN).with_context(|| format!("looking up {IN}")))
    }

    /// Frames that arrived at the meter's end.
    pub(super) fn arrived(&self) -> Result<u64> {
        self.meter.inside(|| {
            // sysfs shows the interfaces of the namespace that it was mounted in; procfs those of the reader.
            let text =
                fs::read_to_string("/proc/thread-self/net/dev").context("reading interface counters")?;
            text.lines()
                .find_map(|line| line.trim_start().strip_prefix(IN)?.strip_prefix(':'))
                .and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
                .with_context(|| format!("no packet counter of {IN}"))
        })
    }
}
