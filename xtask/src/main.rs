//! Builds, shows and tests flowmeter: `cargo xtask COMMAND`.

mod bench;
mod build_ebpf;
mod demo;
mod dist;
mod eval;
mod fuzz;
mod linker;
mod namespace;
mod packages;
mod process;
mod run;
mod signals;
#[cfg(test)]
#[path = "../../flowmeter/tests/support/mod.rs"]
mod support;
mod test;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{packages::NeedsRoot, workspace::Workspace};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the kernel programs, finding or installing the compiler and the linker they need
    BuildEbpf(build_ebpf::Args),
    /// Build the agent and start it: `cargo xtask run -- run -i eth0`
    Run(run::Args),
    /// Show the whole chain on real packets, in network namespaces of its own (needs root)
    Demo(demo::Args),
    /// Check format and lints, then run every test; those that need root are skipped by name without it
    Test(test::Args),
    /// Measure the detectors on labelled captures, and write the report
    Eval(eval::Args),
    /// Measure the meter, beside others; tables go to target/bench (needs root)
    Bench(bench::Args),
    /// Fuzz the frame parser, or a reader of files, with libFuzzer
    Fuzz(fuzz::Args),
    /// Make a Debian package and a tarball in target/dist
    Dist(dist::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = Workspace::find().and_then(|workspace| match cli.command {
        Command::BuildEbpf(args) => build_ebpf::main(&workspace, &args),
        Command::Run(args) => run::main(&workspace, &args),
        Command::Demo(args) => demo::main(&workspace, &args),
        Command::Test(args) => test::main(&workspace, &args),
        Command::Eval(args) => eval::main(&workspace, &args),
        Command::Bench(args) => bench::main(&workspace, &args),
        Command::Fuzz(args) => fuzz::main(&workspace, &args),
        Command::Dist(args) => dist::main(&workspace, &args),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            // 77 is the agent's own code for a missing permission.
            ExitCode::from(if error.is::<NeedsRoot>() { 77 } else { 1 })
        }
    }
}
