//! `demo`: two network namespaces joined by a veth pair, the agent on one end, real traffic through real
//! sockets from both, a break-in among it, and what the agent made of it.

mod agent;
mod attack;
mod events;
mod findings;
mod network;
mod report;
mod traffic;

use std::{
    fs,
    io::{self, IsTerminal as _, Write},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    build_ebpf,
    packages::{self, ETHTOOL, IP, NeedsRoot, PING},
    process::{self, step},
    signals,
    toolchain::Toolchain,
    workspace::Workspace,
};
use agent::Agent;
use events::Events;
use findings::Findings;
use network::Network;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave the namespaces and the agent up, and say how to look at them and how to remove them
    #[arg(long)]
    keep: bool,
    /// Repeat the ordinary traffic for this many seconds; without it, once
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    duration: u64,
}

pub(crate) fn main(workspace: &Workspace, args: &Args) -> Result<()> {
    if !packages::is_root() {
        return Err(NeedsRoot {
            what: "the demo (network namespaces, BPF programs)".to_owned(),
            command: "sudo --preserve-env=PATH,HOME cargo xtask demo".to_owned(),
        }
        .into());
    }
    signals::catch()?;
    packages::ensure_tools(&[IP, ETHTOOL, PING])?;
    build_ebpf::build(workspace, &Toolchain::find_or_install()?, false)?;
    let binary = workspace.build_agent()?;
    signals::check()?;

    let directory = workspace.target.join("demo").join(std::process::id().to_string());
    fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
    show(&binary, &directory, args)
}

fn show(binary: &Path, directory: &Path, args: &Args) -> Result<()> {
    step("joining two network namespaces by a veth pair");
    let mut network = Network::new()?;
    let before = network.counters()?;
    step("starting the agent inside: detect.learning = 0s, every other detector setting as by default");
    let events = directory.join("events.json");
    let mut agent = Agent::start(binary, &network, &events, directory)?;
    let attached = network.counters()?;

    // https://no-color.org
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let mut findings = Findings::new(&events, io::stdout().is_terminal() && !no_colour);
    play(
        &network,
        &mut agent,
        &mut findings,
        Duration::from_secs(args.duration),
    )?;
    let last = network.counters()?;
    if args.keep {
        step("waiting for the agent to write it down");
        wait_for(&mut agent, &events, last.saturating_sub(attached))?;
    } else {
        step("stopping the agent (SIGTERM): it drains once more and flushes");
        agent.stop()?;
    }
    let stopped = network.counters()?;

    let mut out = io::stdout().lock();
    findings.print(&mut out)?;
    let seen = Events::read(&events)?;
    report::write(&mut out, &seen, &events)?;
    writeln!(out, "\nWhat the findings mean, and what to look at next:")?;
    writeln!(out, "  {} explain {}", binary.display(), events.display())?;
    if args.keep {
        keep(&mut out, &mut network, &mut agent, &events)?;
    } else {
        // What passed while the agent was attaching or ending may be counted or not; mostly nothing did.
        let least = last.saturating_sub(attached);
        let most = stopped.saturating_sub(before);
        report::compare(&mut out, &seen, least..=most)?;
    }
    ensure!(seen.conserved(), "the statistics do not add up");
    let found = |tag: &&&str| findings.tags.contains(**tag);
    let missing: Vec<&str> = attack::EXPECTED
        .iter()
        .filter(|tag| !found(tag))
        .copied()
        .collect();
    ensure!(missing.is_empty(), "nothing was found of: {}", missing.join(", "));
    Ok(())
}

/// Sends ordinary traffic for `lasting`, then the break-in, and a beacon all the while; prints what is found.
fn play(network: &Network, agent: &mut Agent, findings: &mut Findings, lasting: Duration) -> Result<()> {
    let (found, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let joined = |result: thread::Result<Result<()>>| result.unwrap_or_else(|_| bail!("sending panicked"));
    thread::scope(|scope| {
        let beacon = scope.spawn(|| attack::beacon(network, &found));
        let others = scope.spawn(|| {
            let sent = ordinary(network, lasting, &stop).and_then(|()| attack::play(network));
            if sent.is_err() {
                found.store(true, Ordering::Relaxed);
            }
            sent
        });
        let mut watch = || -> Result<()> {
            while !(beacon.is_finished() && others.is_finished()) {
                findings.print(&mut io::stdout().lock())?;
                if findings.tags.contains("possible_beaconing") {
                    found.store(true, Ordering::Relaxed);
                }
                agent.check()?;
                thread::sleep(process::POLL);
            }
            Ok(())
        };
        let watched = watch();
        // Whatever it ended for, nothing goes on.
        for flag in [&found, &stop] {
            flag.store(true, Ordering::Relaxed);
        }
        watched.and(joined(others.join())).and(joined(beacon.join()))
    })
}

fn ordinary(network: &Network, lasting: Duration, stop: &AtomicBool) -> Result<()> {
    step("ordinary traffic: TCP, UDP, ICMP, IPv4 and IPv6, fragments, a VLAN");
    let end = Instant::now() + lasting;
    loop {
        traffic::round(network)?;
        if Instant::now() >= end || stop.load(Ordering::Relaxed) {
            return Ok(());
        }
    }
}

/// Waits until the agent has accounted for `packets`.
fn wait_for(agent: &mut Agent, events: &Path, packets: u64) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(15);
    while Events::read(events)?.statistics.seen < packets {
        signals::check()?;
        agent.check()?;
        ensure!(
            Instant::now() < end,
            "the agent has not accounted for {packets} packets after 15 s, see {}",
            events.display()
        );
        thread::sleep(process::POLL);
    }
    Ok(())
}

fn keep(out: &mut impl Write, network: &mut Network, agent: &mut Agent, events: &Path) -> Result<()> {
    let pid = agent.keep();
    network.keep();
    let (inside, outside) = (&network.inside.name, &network.outside.name);
    writeln!(out, "\nLeft up. Look:")?;
    writeln!(out, "  tail -f {}", events.display())?;
    writeln!(
        out,
        "  ip netns exec {outside} ping {}        more traffic",
        network::INSIDE_V4
    )?;
    writeln!(out, "Remove:")?;
    writeln!(
        out,
        "  kill {pid}; ip netns delete {inside}; ip netns delete {outside}"
    )?;
    Ok(())
}
