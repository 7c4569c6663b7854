//! What the stages behind the capture cost, on one core: `cargo run --release --example pipeline -- --help`.
//!
//! Flow records are made here, the same on every run. Stages are called one after another as the agent's pipeline
//! does, or as a whole (`--whole`). The answer is one line of JSON: for each stage, and each tick that is measured, CPU
//! time, allocations and the bytes they asked for; and the memory of the process. `cargo xtask bench pipeline` and
//! `tests/budgets.rs` read it.

mod counting;
mod kernel;
mod stages;
mod traffic;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Parser;
use flowmeter::config::{Config, Sources, load};

use crate::{
    counting::Counting,
    kernel::Kernel,
    stages::{Stages, Tally},
    traffic::{Kind, TICK_NS, Traffic},
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs flow records through the stages of the pipeline and tells what each cost.
#[derive(Parser)]
struct Args {
    /// Flow records a tick
    #[arg(long, default_value_t = 100_000)]
    flows: u32,
    #[arg(long, value_enum, default_value_t = Kind::Steady)]
    traffic: Kind,
    /// Ticks before the ones that are measured: tables grow and are learned
    #[arg(long, default_value_t = 3)]
    warm_up: u64,
    /// Ticks that are measured
    #[arg(long, default_value_t = 3)]
    ticks: u64,
    /// Fill the kernel's map, and drain it (needs root)
    #[arg(long)]
    kernel: bool,
    /// The pipeline as the agent runs it, not stage by stage
    #[arg(long)]
    whole: bool,
    /// Lines a second, as `output.lines_per_second` with `output.flows = "budget"`; without it each flow has a line
    #[arg(long)]
    lines_per_second: Option<u32>,
    /// Where events are written
    #[arg(long, default_value = "/dev/null")]
    output: PathBuf,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let config = config(&args)?;
    let mut kernel = args.kernel.then(|| Kernel::new(&config)).transpose()?;
    let mut stages = Stages::new(&config, args.whole)?;
    let mut tallies: Vec<Tally> = Vec::new();
    let start_ns = kernel
        .as_ref()
        .map_or(Ok(traffic::EPOCH_NS), |_| kernel::monotonic_ns())?;
    let mut traffic = Traffic::new(args.traffic, args.flows, start_ns);
    let offset_ns = kernel.as_ref().map_or(Ok(0), |_| kernel::epoch_offset_ns())?;
    let mut records = Vec::new();
    for tick in 0..args.warm_up + args.ticks {
        traffic.fill(tick, &mut records);
        if tick == args.warm_up {
            counting::reset_peak()?;
        }
        let mut tally = Tally::default();
        let batch = &mut stages.batch;
        match &mut kernel {
            Some(kernel) => {
                kernel.fill(&records)?;
                tally.measure("drain", || kernel.drain.drain(batch))?;
            }
            // As a drain leaves it.
            None => batch.records.clone_from(&records),
        }
        let end_ns = start_ns + offset_ns + (tick + 1) * TICK_NS;
        stages.tick(end_ns - TICK_NS..end_ns, &mut tally)?;
        if tick >= args.warm_up {
            tallies.push(tally);
        }
    }
    let memory = counting::memory().context("reading how much memory this takes")?;
    let answer = serde_json::json!({
        "traffic": args.traffic.name(),
        "flows": args.flows,
        "slices": stages.slices,
        "findings": stages.findings,
        "kernel": args.kernel,
        "whole": args.whole,
        "lines_per_second": args.lines_per_second,
        "resident_bytes": memory.resident,
        "peak_bytes": memory.peak,
        "stages": Tally::by_stage(&tallies),
    });
    println!("{answer}");
    Ok(())
}

/// The defaults, room for all flows, and every flow written.
fn config(args: &Args) -> Result<Config> {
    let mut set = vec![
        format!("output.path={}", args.output.display()),
        format!("capture.max_flows={}", args.flows.max(1024)),
        format!("track.max_connections={}", args.flows.max(262_144)),
        "collector.name=bench".to_owned(),
        "networks.internal=[\"10.0.0.0/8\"]".to_owned(),
    ];
    match args.lines_per_second {
        Some(lines) => set.push(format!("output.lines_per_second={lines}")),
        None => set.push("output.flows=all".to_owned()),
    }
    let sources = Sources {
        file: Some("/dev/null".into()),
        set,
        ..Sources::default()
    };
    Ok(load(&sources)?.config)
}
