//! `fuzz`: libFuzzer over the frame parser and the readers of captures and logs.
//!
//! `fuzz/` is laid out as for cargo-fuzz, which works too; this command needs neither it nor a nightly
//! compiler. Coverage is what libFuzzer needs, and that is a stable option of the compiler; the address
//! sanitizer is left out, since the parser has no `unsafe`.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::{
    process,
    workspace::{Workspace, cargo},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long, in minutes
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_080))]
    minutes: u64,
    /// The target in fuzz/fuzz_targets
    #[arg(default_value = "parse")]
    target: String,
}

/// What cargo-fuzz passes without a sanitizer; see LLVM's SanitizerCoverage.
const RUSTFLAGS: [&str; 9] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cdebug-assertions",
    "-Coverflow-checks",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
];

pub(crate) fn main(workspace: &Workspace, args: &Args) -> Result<()> {
    let directory = workspace.root.join("fuzz");
    if !directory
        .join("fuzz_targets")
        .join(format!("{}.rs", args.target))
        .is_file()
    {
        bail!("there is no fuzz target {}, see fuzz/fuzz_targets", args.target);
    }
    let host = host()?;
    let target_directory = workspace.target.join("fuzz");
    process::step(&format!("building the fuzz target {}", args.target));
    let mut build = Command::new(cargo());
    process::without_caller_settings(&mut build)
        .current_dir(&directory)
        .env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS.join("\x1f"))
        .args(["build", "--release", "--bin", &args.target])
        // With a target, build scripts and macros are built without the flags.
        .args(["--target", &host, "--target-dir"])
        .arg(&target_directory);
    process::run(&mut build)?;

    let work = target_directory.join("work").join(&args.target);
    let (corpus, findings) = (work.join("corpus"), work.join("findings"));
    for path in [&corpus, &findings] {
        fs::create_dir_all(path).with_context(|| format!("creating {}", path.display()))?;
    }
    let binary = target_directory.join(&host).join("release").join(&args.target);
    seed(&binary, &corpus)?;
    process::step(&format!(
        "fuzzing {} for {} min, corpus in {}",
        args.target,
        args.minutes,
        corpus.display()
    ));
    let mut fuzz = Command::new(&binary);
    fuzz.arg(&corpus)
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .arg(format!("-max_total_time={}", args.minutes * 60))
        .args([
            "-max_len=2048",
            "-timeout=5",
            "-print_final_stats=1",
            "-verbosity=1",
        ]);
    process::run(&mut fuzz).with_context(|| format!("a finding, its input is in {}", findings.display()))?;
    process::step("no finding");
    Ok(())
}

/// The target writes its own seeds, made by code, into the directory that this variable names.
fn seed(binary: &Path, corpus: &Path) -> Result<()> {
    let mut command = Command::new(binary);
    command
        .env("FLOWMETER_FUZZ_SEEDS", corpus)
        // One run of an empty input: only what happens before it counts.
        .args(["-runs=0", "-verbosity=0"]);
    process::run(&mut command).context("writing the seed corpus")
}

fn host() -> Result<String> {
    let text = process::output(Command::new("rustc").arg("-vV"))?;
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("rustc -vV names no host")
}
