//! `run`: the agent, built and started.

use std::{ffi::OsString, os::unix::process::CommandExt, process::Command};

use anyhow::{Context, Result};

use crate::{build_ebpf, toolchain::Toolchain, workspace::Workspace};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The agent's own arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

pub(crate) fn main(workspace: &Workspace, args: &Args) -> Result<()> {
    build_ebpf::build(workspace, &Toolchain::find_or_install()?, false)?;
    let agent = workspace.build_agent()?;
    // Takes our place, so that signals and the exit code are the agent's.
    let error = Command::new(&agent).args(&args.arguments).exec();
    Err(error).with_context(|| format!("starting {}", agent.display()))
}
