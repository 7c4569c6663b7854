//! `bench`: what the meter costs, measured beside what it is compared with. Repetitions are interleaved, so that
//! what the machine's other users do meets all of them alike; figures are medians with their spread.

mod generator;
mod kernel;
mod meter;
mod network;
mod peers;
mod pipeline;
mod report;
mod statistics;

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use crate::{
    build_ebpf,
    packages::{self, ETHTOOL, IP, NeedsRoot},
    process::step,
    signals,
    toolchain::Toolchain,
    workspace::Workspace,
};
pub(crate) use pipeline::measuring_program;

use generator::Generate;
use kernel::Kernel;
use peers::Peers;
use report::Report;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    /// How often each figure is taken
    #[arg(long, global = true, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    repetitions: u32,
    /// Where the tables go
    #[arg(long, global = true, value_name = "DIRECTORY", default_value = "target/bench")]
    out: PathBuf,
}

#[derive(clap::Subcommand)]
enum What {
    /// The kernel programs: nanoseconds a packet, beside an empty program and the least that a meter does
    Kernel(Kernel),
    /// The agent from the drain to the event file
    Pipeline,
    /// The agent beside other flow meters
    Peers(Peers),
    /// All of the above
    All,
    /// Send known traffic in a namespace of its own, and say how fast; to try the generator
    Generate(Generate),
}

/// What every measurement needs to know.
struct Bench<'a> {
    workspace: &'a Workspace,
    repetitions: u32,
    out: PathBuf,
}

pub(crate) fn main(workspace: &Workspace, args: &Args) -> Result<()> {
    if !packages::is_root() {
        return Err(NeedsRoot {
            what: "measuring (network namespaces, BPF programs)".to_owned(),
            command: "sudo --preserve-env=PATH,HOME cargo xtask bench ...".to_owned(),
        }
        .into());
    }
    signals::catch()?;
    packages::ensure_tools(&[IP, ETHTOOL])?;
    build_ebpf::build(workspace, &Toolchain::find_or_install()?, false)?;
    let bench = Bench {
        workspace,
        repetitions: args.repetitions,
        out: workspace.root.join(&args.out),
    };
    match &args.what {
        What::Kernel(options) => bench.write(&kernel::measure(&bench, options)?),
        What::Pipeline => bench.write(&pipeline::measure(&bench)?),
        What::Peers(options) => bench.write(&peers::measure(&bench, options)?),
        What::All => {
            bench.write(&kernel::measure(&bench, &Kernel::default())?)?;
            bench.write(&pipeline::measure(&bench)?)?;
            bench.write(&peers::measure(&bench, &Peers::default())?)
        }
        What::Generate(options) => generator::main(&bench, options),
    }
}

impl Bench<'_> {
    /// Prints the tables, and writes them as Markdown and as JSON.
    fn write(&self, report: &Report) -> Result<()> {
        fs::create_dir_all(&self.out).with_context(|| format!("creating {}", self.out.display()))?;
        let markdown = report.markdown();
        print!("{markdown}");
        let json = serde_json::to_string_pretty(&report.json()).context("writing the figures as JSON")?;
        for (extension, text) in [("md", markdown), ("json", json + "\n")] {
            let path = self.out.join(report.name).with_extension(extension);
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
            step(&format!("written: {}", path.display()));
        }
        Ok(())
    }
}
