//! `test`: format, lints, every test, and what was skipped.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, ExitStatus, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{
    bench, build_ebpf,
    packages::{self, ETHTOOL, IP, PING, Tool, VALGRIND},
    process,
    toolchain::Toolchain,
    workspace::Workspace,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Skip the tests that need root, even as root
    #[arg(long)]
    no_root: bool,
    /// Arguments for the test binaries: a filter, --nocapture, ...
    #[arg(last = true)]
    filter: Vec<OsString>,
}

/// The kernel half is no default member: it is built for another target.
const MEMBERS: [&str; 3] = ["--workspace", "--exclude", "flowmeter-ebpf"];

pub(crate) fn main(workspace: &Workspace, args: &Args) -> Result<()> {
    let as_root = packages::is_root() && !args.no_root;
    if as_root {
        packages::ensure_tools(&[IP, ETHTOOL, PING, VALGRIND])?;
    }
    let toolchain = Toolchain::find_or_install()?;
    build_ebpf::build(workspace, &toolchain, false)?;

    process::step("checking the format");
    process::run(workspace.cargo().args(["fmt", "--all", "--check"]))?;
    process::step("clippy");
    process::run(workspace.cargo().arg("clippy").args(MEMBERS).args([
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    if toolchain.is_debian() && packages::can_install() {
        packages::ensure_tools(&[Tool {
            command: "/usr/bin/clippy-driver",
            package: "rust-web-clippy",
        }])?;
    }
    build_ebpf::lint(workspace, &toolchain)?;

    process::step(if as_root {
        "running all tests"
    } else {
        "running the tests that need no root"
    });
    let measuring = bench::measuring_program(workspace)?;
    let skips = workspace.target.join("skipped-tests");
    fs::write(&skips, "").with_context(|| format!("writing {}", skips.display()))?;
    let mut command = workspace.cargo();
    command
        .arg("test")
        .args(MEMBERS)
        .args(["--no-fail-fast", "--"])
        .args(&args.filter)
        .env("FLOWMETER_SKIPS", &skips)
        .env("FLOWMETER_PIPELINE", measuring);
    if args.no_root {
        command.env("FLOWMETER_NO_ROOT", "1");
    }
    let (status, counts) = run_and_count(&mut command)?;
    let skipped = Skipped::read(&skips)?;
    summary(&counts, &skipped, &mut std::io::stdout().lock())?;
    if !status.success() {
        bail!("tests failed");
    }
    Ok(())
}

/// Sums of the lines that close each test binary's run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
    ignored: usize,
}

impl Counts {
    /// Adds `test result: ok. 3 passed; 0 failed; 0 ignored; ...`; other lines count nothing.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        let number = |name: &str| {
            result
                .split(['.', ';'])
                .find_map(|part| part.trim().strip_suffix(name)?.trim().parse::<usize>().ok())
                .unwrap_or_default()
        };
        self.passed += number("passed");
        self.failed += number("failed");
        self.ignored += number("ignored");
    }
}

/// Reasons by test.
#[derive(Debug, PartialEq, Eq)]
struct Skipped(BTreeMap<String, String>);

impl Skipped {
    fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        Self(
            text.lines()
                .filter_map(|line| line.strip_prefix("skipped: ")?.split_once(": "))
                .map(|(name, reason)| (name.to_owned(), reason.to_owned()))
                .collect(),
        )
    }
}

/// Passes standard output on, line by line.
fn run_and_count(command: &mut Command) -> Result<(ExitStatus, Counts)> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("running cargo test")?;
    let mut counts = Counts::default();
    if let Some(stdout) = child.stdout.take() {
        let mut out = std::io::stdout().lock();
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.context("reading what cargo test says")?;
            counts.add(&String::from_utf8_lossy(&line));
            out.write_all(&line)?;
            out.write_all(b"\n")?;
        }
    }
    Ok((child.wait().context("waiting for cargo test")?, counts))
}

fn summary(counts: &Counts, skipped: &Skipped, out: &mut impl Write) -> Result<()> {
    for (name, reason) in &skipped.0 {
        writeln!(out, "skipped: {name}: {reason}")?;
    }
    // A skipped test has passed in the eyes of the test harness.
    let passed = counts.passed.saturating_sub(skipped.0.len());
    let skipped = skipped.0.len() + counts.ignored;
    writeln!(out, "all tests, {:.0} s:", process::elapsed())?;
    writeln!(
        out,
        "{passed} passed, {} failed, {skipped} skipped",
        counts.failed
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_all_test_binaries_are_added_up() {
        let mut counts = Counts::default();
        for line in [
            "running 3 tests",
            "test a ... ok",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 5 filtered out; finished in 1.20s",
        ] {
            counts.add(line);
        }
        let expected = Counts {
            passed: 13,
            failed: 2,
            ignored: 1,
        };
        assert_eq!(counts, expected);
    }

    #[test]
    fn a_skipped_test_is_named_once_and_is_not_counted_as_passed() {
        let skipped = Skipped::parse(
            "skipped: drain: needs root\nskipped: tcx: needs TCX (6.6): not on 5.15\nskipped: drain: needs root\n",
        );
        let counts = Counts {
            passed: 5,
            failed: 0,
            ignored: 0,
        };
        let mut out = Vec::new();
        summary(&counts, &skipped, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("skipped: drain: needs root\nskipped: tcx: needs TCX (6.6): not on 5.15\n"));
        assert!(text.ends_with("\n3 passed, 0 failed, 2 skipped\n"), "{text}");
    }
}
