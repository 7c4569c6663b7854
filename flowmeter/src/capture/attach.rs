//! Programs onto interfaces, by link objects: what is attached goes when the agent goes, however it goes.

use anyhow::{Context as _, Result, anyhow};
use aya::{
    Ebpf,
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode,
        tc::{
            NlOptions, SchedClassifierLink, TcAttachOptions, TcError, qdisc_add_clsact, qdisc_detach_program,
        },
        xdp::XdpLink,
    },
};

use crate::capture::{interfaces::Interface, plan};

/// What is attached to one interface. Dropping it detaches.
pub struct Attached {
    pub ifindex: u32,
    pub name: String,
    /// In words: which hooks, and why these.
    pub description: String,
    _xdp: Option<XdpLink>,
    _tc: Vec<SchedClassifierLink>,
}

/// Attaches what `plan` says to `interface`.
///
/// # Errors
/// The kernel refuses, with what was being attached to what.
pub fn attach(ebpf: &mut Ebpf, interface: &Interface, plan: &plan::Plan) -> Result<Attached> {
    let mut plan = plan.clone();
    let mut xdp = None;
    if let Some(verdict) = plan.xdp {
        match attach_xdp(ebpf, interface, verdict) {
            Ok(link) => xdp = Some(link),
            Err(error) if plan.may_fall_back => {
                plan.why = format!("XDP could not be attached: {error:#}");
                plan.xdp = None;
                plan.tc_ingress = true;
            }
            Err(error) => return Err(error),
        }
    }
    let mut tc = Vec::new();
    let hooks = [
        (plan.tc_ingress, TcAttachType::Ingress),
        (plan.tc_egress, TcAttachType::Egress),
    ];
    for (_, hook) in hooks.into_iter().filter(|(wanted, _)| *wanted) {
        tc.push(attach_tc(ebpf, interface, hook, plan.tcx)?);
    }
    Ok(Attached {
        ifindex: interface.index,
        name: interface.name.clone(),
        description: format!("{} ({})", plan.describe(), plan.why),
        _xdp: xdp,
        _tc: tc,
    })
}

fn attach_xdp(ebpf: &mut Ebpf, interface: &Interface, verdict: plan::Xdp) -> Result<XdpLink> {
    let name = match verdict {
        plan::Xdp::Pass => "flowmeter_xdp",
        plan::Xdp::Drop => "flowmeter_xdrop",
    };
    let program: &mut Xdp = ebpf
        .program_mut(name)
        .ok_or_else(|| anyhow!("program {name} is not in the object"))?
        .try_into()?;
    ensure_loaded(program.load(), name)?;
    // Driver mode only: generic XDP sees super-packets and cannot tell how many packets they stand for.
    let link = program
        .attach_to_if_index(interface.index, XdpMode::Driver)
        .with_context(|| format!("attaching {name} to {} by native XDP", interface.name))?;
    Ok(program.take_link(link)?)
}

fn attach_tc(
    ebpf: &mut Ebpf,
    interface: &Interface,
    hook: TcAttachType,
    tcx: bool,
) -> Result<SchedClassifierLink> {
    let name = match (hook, interface.ethernet) {
        (TcAttachType::Egress, true) => "flowmeter_out",
        (TcAttachType::Egress, false) => "flowmeter_outl3",
        (_, true) => "flowmeter_in",
        (_, false) => "flowmeter_in_l3",
    };
    let program: &mut SchedClassifier = ebpf
        .program_mut(name)
        .ok_or_else(|| anyhow!("program {name} is not in the object"))?
        .try_into()?;
    ensure_loaded(program.load(), name)?;
    // Before all others, here and there: a program that decides about a packet ends the walk, and those behind it
    // never see the packet.
    let link = if tcx {
        program.attach_with_options(
            &interface.name,
            hook,
            TcAttachOptions::TcxOrder(LinkOrder::first()),
        )
    } else {
        prepare_clsact(&interface.name, hook, name)?;
        let mut at = |priority| {
            let options = NlOptions {
                priority,
                ..NlOptions::default()
            };
            program.attach_with_options(&interface.name, hook, TcAttachOptions::Netlink(options))
        };
        // Filters of one priority are of one kind; where that is another, the kernel chooses a priority.
        at(1).or_else(|_| at(0))
    };
    let link = link.with_context(|| {
        format!(
            "attaching {name} to {} by {}",
            interface.name,
            if tcx { "TCX" } else { "clsact" }
        )
    })?;
    Ok(program.take_link(link)?)
}

/// Makes the qdisc if nobody has, and removes a filter of ours that outlived a killed agent: unlike a link,
/// a filter stays. Filters and qdiscs of others are left alone.
fn prepare_clsact(interface: &str, hook: TcAttachType, program: &str) -> Result<()> {
    match qdisc_add_clsact(interface) {
        Ok(()) => {}
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST) => {}
        Err(error) => {
            return Err(error).with_context(|| format!("adding the clsact qdisc to {interface}"));
        }
    }
    match qdisc_detach_program(interface, hook, program) {
        Ok(()) => log::warn!("replaced a filter {program} on {interface} that an earlier run left behind"),
        Err(TcError::IoError(error)) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(error).with_context(|| format!("looking for old filters on {interface}"));
        }
    }
    Ok(())
}

/// Loads a program when it is first needed: what no interface needs, an older kernel need not understand.
fn ensure_loaded(result: Result<(), ProgramError>, name: &str) -> Result<()> {
    match result {
        Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("loading the program {name} into the kernel")),
    }
}
