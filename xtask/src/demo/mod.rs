//! `demo`: two network namespaces joined by a veth pair, the agent on one end, real traffic through real
//! sockets from both, and what the agent made of it.

mod agent;
mod events;
mod network;
mod report;
mod traffic;

use std::{
    fs,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

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
use network::Network;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave the namespaces and the agent up, and say how to look at them and how to remove them
    #[arg(long)]
    keep: bool,
    /// Repeat the traffic for this many seconds; without it, once
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
    step("starting the agent inside");
    let events = directory.join("events.json");
    let mut agent = Agent::start(binary, &network, &events, directory)?;
    let attached = network.counters()?;

    step("sending traffic: TCP, UDP, ICMP, IPv4 and IPv6, fragments, a VLAN");
    let end = Instant::now() + Duration::from_secs(args.duration);
    loop {
        traffic::round(&network)?;
        agent.check()?;
        if Instant::now() >= end {
            break;
        }
    }
    let last = network.counters()?;
    if args.keep {
        step("waiting for the agent to write it down");
        wait_for(&mut agent, &events, last.saturating_sub(attached))?;
    } else {
        step("stopping the agent (SIGTERM): it drains once more and flushes");
        agent.stop()?;
    }
    let stopped = network.counters()?;

    let seen = Events::read(&events)?;
    let mut out = std::io::stdout().lock();
    report::write(&mut out, &seen, &events)?;
    if args.keep {
        keep(&mut out, &mut network, &mut agent, &events)?;
    } else {
        // What passed while the agent was attaching or ending may be counted or not; mostly nothing did.
        let least = last.saturating_sub(attached);
        let most = stopped.saturating_sub(before);
        report::compare(&mut out, &seen, least..=most)?;
    }
    ensure!(seen.conserved(), "the statistics do not add up");
    Ok(())
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
        std::thread::sleep(process::POLL);
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
