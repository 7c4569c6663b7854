//! `eval`: how good the detectors are, on labelled captures.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::{
    process::{run, step},
    workspace::Workspace,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The directory with captures and `expected.tsv`
    #[arg(long, env = "FLOWMETER_DATA")]
    data: Option<PathBuf>,
    /// Only files whose path contains this; the report is printed, not written
    #[arg(long)]
    only: Option<String>,
    /// Where the report goes
    #[arg(long, default_value = "docs/detection-quality.md")]
    report: PathBuf,
}

pub(crate) fn main(workspace: &Workspace, args: &Args) -> Result<()> {
    let Some(data) = &args.data else {
        bail!("needs the labelled captures: give --data DIRECTORY or set FLOWMETER_DATA");
    };
    if !data.join("expected.tsv").is_file() {
        bail!("no expected.tsv in {}", data.display());
    }
    let mut cargo = workspace.cargo();
    cargo.args([
        "run",
        "--quiet",
        "--release",
        "--package",
        "flowmeter",
        "--example",
        "quality",
        "--",
    ]);
    cargo.arg(data);
    match &args.only {
        Some(only) => {
            cargo.arg("--only").arg(only);
        }
        None => {
            cargo.arg("--report").arg(workspace.root.join(&args.report));
        }
    }
    run(&mut cargo)?;
    if args.only.is_none() {
        step(&format!("written: {}", args.report.display()));
    }
    Ok(())
}
