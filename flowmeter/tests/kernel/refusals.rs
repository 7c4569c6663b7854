//! What cannot be metered is said, with what to do about it.

use std::process::{Command, Output};

use aya::programs::{Xdp, XdpMode};
use flowmeter::{
    capture::{attach::attach, interfaces::Interface, plan::plan},
    config::{Capture, Mode},
};

use crate::{
    agent::{self, Agent},
    network::{Cable, Namespace},
    programs,
    support::root_or_skip,
};

/// Exit code and the last line on standard error, which is the error.
fn told(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    let text = String::from_utf8(stderr).unwrap();
    let error = text.lines().rfind(|line| line.starts_with("error: "));
    (status.code(), error.unwrap_or(&text).to_owned())
}

#[test]
fn an_unknown_interface_is_refused() {
    if !root_or_skip("an_unknown_interface_is_refused") {
        return;
    }
    let host = Namespace::new();
    let (code, error) = told(&mut agent::command(&host.name, &["-i", "nope0", "-i", "nix*"]));
    assert_eq!(
        error,
        "error: no interface is called nope0 or nix*; `flowmeter interfaces` lists what there is"
    );
    assert_eq!(code, Some(1));
}

#[test]
fn an_interface_that_is_not_there_yet_is_told() {
    if !root_or_skip("an_interface_that_is_not_there_yet_is_told") {
        return;
    }
    let cable = Cable::new(1500);
    let mut agent = Agent::spawn(&cable.receiver.name, &["-i", "in0", "-i", "later0"]);
    agent.says("metering in0");
    agent.says("no interface is called later0; it is metered when it comes");
    cable.receiver.ip("link add later0 type veth peer name other0");
    agent.says("metering later0");
    agent.stop();
}

/// As root, but with none of root's capabilities but `capabilities`.
fn without(capabilities: &str) -> (Option<i32>, String) {
    let mut command = Command::new("setpriv");
    command
        .args([&format!("--bounding-set=-all{capabilities}"), "--inh-caps=-all"])
        .arg(env!("CARGO_BIN_EXE_flowmeter"))
        .args(["run", "-c", "/dev/null", "-o", "-", "-i", "lo"])
        .env_clear();
    told(&mut command)
}

#[test]
fn missing_capabilities_are_told() {
    if !root_or_skip("missing_capabilities_are_told") {
        return;
    }
    for capabilities in ["", ",+bpf,+perfmon"] {
        let (code, error) = without(capabilities);
        assert!(
            error.starts_with(
                "error: the kernel refuses; run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON: "
            ),
            "{error}"
        );
        assert_eq!(code, Some(77), "{error}");
    }
}

#[test]
fn the_holder_of_the_xdp_slot_is_named_and_left_alone() {
    if !root_or_skip("the_holder_of_the_xdp_slot_is_named_and_left_alone") {
        return;
    }
    let cable = Cable::new(1500);
    let host = &cable.receiver;
    let (mut other, _) = programs::loaded(&Capture::default());
    let holder: &mut Xdp = other.program_mut("flowmeter_xdp").unwrap().try_into().unwrap();
    host.inside(|| holder.attach("in0", XdpMode::Driver)).unwrap();
    let id = host.xdp_program("in0").unwrap();

    let (code, error) = told(&mut agent::command(&host.name, &["-i", "in0", "--mode", "xdp"]));
    assert_eq!(
        error,
        format!(
            "error: in0 cannot be metered: XDP slot of in0 is taken by program {id}; use --mode tc, or --mode \
             auto to fall back by itself"
        )
    );
    assert_eq!(code, Some(1));

    let mut agent = Agent::spawn(&host.name, &["-i", "in0"]);
    let line = agent.says("metering in0");
    let how = format!("by TCX ingress and TCX egress (its XDP slot is taken by program {id})");
    assert!(line.ends_with(&how), "{line}");
    cable.send_some(100);
    cable.arrived(100);
    let totals = agent.stop();
    assert_eq!(totals.flows.packets, 100);
    assert_eq!(host.xdp_program("in0"), Some(id), "the holder is still there");
}

/// The slot may be taken between the look at it and the attempt.
#[test]
fn a_slot_that_was_just_taken_is_worked_around() {
    if !root_or_skip("a_slot_that_was_just_taken_is_worked_around") {
        return;
    }
    let cable = Cable::new(1500);
    let (mut other, _) = programs::loaded(&Capture::default());
    let holder: &mut Xdp = other.program_mut("flowmeter_xdp").unwrap().try_into().unwrap();
    let (mut ours, _) = programs::loaded(&Capture::default());
    cable.receiver.inside(|| {
        let interface = Interface {
            index: nix::net::if_::if_nametoindex("in0").unwrap(),
            name: "in0".to_owned(),
            ethernet: true,
            driver: Some("a NIC's".to_owned()),
            ..Interface::default()
        };
        let features = flowmeter::capture::features::Features::probe().unwrap();
        let planned = |mode| {
            let capture = Capture {
                mode,
                ..Capture::default()
            };
            plan(&interface, &capture, &features, false).unwrap()
        };
        let (auto, xdp) = (planned(Mode::Auto), planned(Mode::Xdp));
        holder.attach("in0", XdpMode::Driver).unwrap();
        let attached = attach(&mut ours, &interface, &auto).unwrap();
        assert!(
            attached
                .description
                .starts_with("TCX ingress and TCX egress (XDP could not be attached: "),
            "{}",
            attached.description
        );
        let Err(error) = attach(&mut ours, &interface, &xdp) else {
            panic!("there is one slot")
        };
        let error = format!("{error:#}");
        assert!(error.contains("in0") && error.contains("busy"), "{error}");
    });
}
