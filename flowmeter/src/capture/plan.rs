//! How an interface is metered: which hook, and why.

use thiserror::Error;

use crate::{
    capture::{features::Features, interfaces::Interface},
    config::{Capture, Mode, ObservedDirection, TcAttach},
};

/// What is going to be attached to one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Program in the XDP slot.
    pub xdp: Option<Xdp>,
    pub tc_ingress: bool,
    pub tc_egress: bool,
    /// By TCX links; else by filters of a clsact qdisc.
    pub tcx: bool,
    /// Where XDP cannot be attached after all, TC ingress takes its place.
    pub may_fall_back: bool,
    /// For the person who asks why it is so.
    pub why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Xdp {
    Pass,
    /// Frames are freed in the driver once they are counted.
    Drop,
}

/// Why an interface cannot be metered as asked for.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Impossible {
    #[error(
        "XDP was asked for on {0}, but this kernel lacks XDP programs over several buffers (bpf_xdp_get_buff_len, 5.18); use --mode tc"
    )]
    KernelXdp(String),
    #[error("TCX was asked for on {0}, but this kernel lacks it (6.6); use capture.tc_attach = \"auto\"")]
    KernelTcx(String),
    #[error("XDP was asked for on {0}, whose frames have no Ethernet header; use --mode tc")]
    NoEthernet(String),
    #[error(
        "XDP slot of {interface} is taken by program {program}; use --mode tc, or --mode auto to fall back by itself"
    )]
    SlotTaken { interface: String, program: u32 },
    #[error("drop_after_count was asked for on {0}, which needs XDP: {1}")]
    DropNeedsXdp(String, String),
}

/// Decides how `interface` is metered.
///
/// # Errors
/// What was asked for cannot be had; `auto` only fails where frames were to be dropped.
pub fn plan(
    interface: &Interface,
    capture: &Capture,
    features: &Features,
    drop: bool,
) -> Result<Plan, Impossible> {
    let name = || interface.name.clone();
    let tcx = match capture.tc_attach {
        TcAttach::Auto => features.tcx,
        TcAttach::Tcx if !features.tcx => return Err(Impossible::KernelTcx(name())),
        TcAttach::Tcx => true,
        TcAttach::Clsact => false,
    };
    let ingress = capture.direction != ObservedDirection::Egress;
    let tc_egress = capture.direction != ObservedDirection::Ingress;
    let obstacle = obstacle(interface, features);
    let (use_xdp, why) = match (capture.mode, &obstacle) {
        _ if !ingress => (
            false,
            "only egress was asked for, which XDP does not see".to_owned(),
        ),
        (Mode::Tc, _) => (false, "asked for".to_owned()),
        (Mode::Xdp, Some(obstacle)) => return Err(obstacle.error(interface)),
        (Mode::Xdp, None) => (true, "asked for".to_owned()),
        (Mode::Auto, Some(obstacle)) => (false, obstacle.reason()),
        (Mode::Auto, None) => match (&interface.driver, drop) {
            (_, true) => (true, "frames are dropped after counting".to_owned()),
            (Some(driver), _) => (true, format!("hardware with driver {driver}")),
            (None, _) => (
                false,
                "virtual link, where XDP would turn segmentation offload off".to_owned(),
            ),
        },
    };
    if drop && !use_xdp {
        return Err(Impossible::DropNeedsXdp(name(), why));
    }
    let verdict = if drop { Xdp::Drop } else { Xdp::Pass };
    Ok(Plan {
        xdp: use_xdp.then_some(verdict),
        tc_ingress: ingress && !use_xdp,
        tc_egress,
        tcx,
        may_fall_back: use_xdp && capture.mode == Mode::Auto && !drop,
        why,
    })
}

enum Obstacle {
    Kernel,
    NoEthernet,
    SlotTaken(u32),
}

fn obstacle(interface: &Interface, features: &Features) -> Option<Obstacle> {
    if !features.xdp_multi_buffer {
        return Some(Obstacle::Kernel);
    }
    if !interface.ethernet {
        return Some(Obstacle::NoEthernet);
    }
    interface.xdp_program.map(Obstacle::SlotTaken)
}

impl Obstacle {
    fn reason(&self) -> String {
        match self {
            Self::Kernel => "this kernel lacks XDP programs over several buffers (5.18)".to_owned(),
            Self::NoEthernet => "its frames have no Ethernet header".to_owned(),
            Self::SlotTaken(program) => format!("its XDP slot is taken by program {program}"),
        }
    }

    fn error(&self, interface: &Interface) -> Impossible {
        let name = interface.name.clone();
        match self {
            Self::Kernel => Impossible::KernelXdp(name),
            Self::NoEthernet => Impossible::NoEthernet(name),
            Self::SlotTaken(program) => Impossible::SlotTaken {
                interface: name,
                program: *program,
            },
        }
    }
}

impl Plan {
    /// In words, for the log and for `flowmeter interfaces`.
    pub fn describe(&self) -> String {
        let tc = if self.tcx { "TCX" } else { "clsact" };
        let mut hooks = Vec::new();
        match self.xdp {
            Some(Xdp::Pass) => hooks.push("XDP ingress".to_owned()),
            Some(Xdp::Drop) => hooks.push("XDP ingress, dropping".to_owned()),
            None => {}
        }
        if self.tc_ingress {
            hooks.push(format!("{tc} ingress"));
        }
        if self.tc_egress {
            hooks.push(format!("{tc} egress"));
        }
        hooks.join(" and ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Features = Features {
        coarse_clock: true,
        xdp_multi_buffer: true,
        tcx: true,
    };

    fn nic(name: &str, driver: Option<&str>) -> Interface {
        Interface {
            index: 2,
            name: name.to_owned(),
            up: true,
            ethernet: true,
            driver: driver.map(str::to_owned),
            ..Interface::default()
        }
    }

    fn with_mode(mode: Mode) -> Capture {
        Capture {
            mode,
            ..Capture::default()
        }
    }

    #[test]
    fn auto_takes_xdp_on_hardware_and_tc_on_virtual_links() {
        let hardware = plan(&nic("eth0", Some("ixgbe")), &with_mode(Mode::Auto), &ALL, false).unwrap();
        assert_eq!(
            (hardware.xdp, hardware.tc_ingress, hardware.tc_egress),
            (Some(Xdp::Pass), false, true)
        );
        assert!(hardware.may_fall_back);
        let veth = plan(&nic("veth0", None), &with_mode(Mode::Auto), &ALL, false).unwrap();
        assert_eq!((veth.xdp, veth.tc_ingress, veth.tc_egress), (None, true, true));
        assert!(veth.why.contains("segmentation offload"));
    }

    #[test]
    fn missing_kernel_features_are_named() {
        let old = Features {
            xdp_multi_buffer: false,
            tcx: false,
            ..ALL
        };
        let error = plan(&nic("eth0", Some("ixgbe")), &with_mode(Mode::Xdp), &old, false).unwrap_err();
        assert!(
            error.to_string().contains("eth0") && error.to_string().contains("5.18"),
            "{error}"
        );
        let tcx = Capture {
            tc_attach: TcAttach::Tcx,
            ..Capture::default()
        };
        let error = plan(&nic("eth0", None), &tcx, &old, false).unwrap_err();
        assert!(error.to_string().contains("6.6"), "{error}");
        let auto = plan(&nic("eth0", Some("ixgbe")), &with_mode(Mode::Auto), &old, false).unwrap();
        assert_eq!((auto.xdp, auto.tc_ingress, auto.tcx), (None, true, false));
    }

    #[test]
    fn a_taken_xdp_slot_is_named_or_worked_around() {
        let taken = Interface {
            xdp_program: Some(77),
            ..nic("eth0", Some("ixgbe"))
        };
        let error = plan(&taken, &with_mode(Mode::Xdp), &ALL, false).unwrap_err();
        assert_eq!(
            error,
            Impossible::SlotTaken {
                interface: "eth0".into(),
                program: 77
            }
        );
        let auto = plan(&taken, &with_mode(Mode::Auto), &ALL, false).unwrap();
        assert!(auto.tc_ingress && auto.why.contains("77"), "{auto:?}");
    }

    #[test]
    fn dropping_needs_xdp() {
        let error = plan(&nic("eth0", None), &with_mode(Mode::Tc), &ALL, true).unwrap_err();
        assert!(matches!(error, Impossible::DropNeedsXdp(..)), "{error}");
        let dropping = plan(&nic("eth0", None), &with_mode(Mode::Auto), &ALL, true).unwrap();
        assert_eq!((dropping.xdp, dropping.may_fall_back), (Some(Xdp::Drop), false));
    }

    #[test]
    fn direction_chooses_the_hooks() {
        for (direction, hooks) in [
            (ObservedDirection::Ingress, (true, false)),
            (ObservedDirection::Egress, (false, true)),
            (ObservedDirection::Both, (true, true)),
        ] {
            let capture = Capture {
                direction,
                ..Capture::default()
            };
            let plan = plan(&nic("veth0", None), &capture, &ALL, false).unwrap();
            assert_eq!((plan.tc_ingress, plan.tc_egress), hooks, "{direction:?}");
        }
    }
}
