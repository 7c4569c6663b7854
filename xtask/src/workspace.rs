//! Where things are.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::process;

pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// Cargo's target directory, absolute, as the caller's environment and configuration set it.
    pub(crate) target: PathBuf,
}

impl Workspace {
    pub(crate) fn find() -> Result<Self> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest
            .parent()
            .context("finding the workspace: xtask has no parent directory")?;
        let mut metadata = Command::new(cargo());
        metadata
            .args(["metadata", "--no-deps", "--format-version=1", "--manifest-path"])
            .arg(root.join("Cargo.toml"));
        let output = process::output(&mut metadata)?;
        let parsed: serde_json::Value = serde_json::from_str(&output).context("reading cargo metadata")?;
        let target = parsed
            .get("target_directory")
            .and_then(|value| value.as_str())
            .context("cargo metadata names no target directory")?;
        Ok(Self {
            root: root.to_owned(),
            target: PathBuf::from(target),
        })
    }

    /// The kernel programs, where `flowmeter/build.rs` looks for them.
    pub(crate) fn bpf_object(&self) -> PathBuf {
        self.target.join("bpf/flowmeter.bpf.o")
    }

    /// The generator and the reference programs of `cargo xtask bench`.
    pub(crate) fn bench_object(&self) -> PathBuf {
        self.target.join("bpf/bench.bpf.o")
    }

    pub(crate) fn agent(&self) -> PathBuf {
        self.target.join("release/flowmeter")
    }

    /// A cargo command of the workspace, with the caller's own compiler, flags and target directory.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(cargo());
        command
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target);
        command
    }

    /// Builds the agent with its optimisations and says where it is.
    pub(crate) fn build_agent(&self) -> Result<PathBuf> {
        process::step("building the agent (release; the first time takes a few minutes)");
        let mut build = self.cargo();
        build.args([
            "build",
            "--release",
            "--package",
            "flowmeter",
            "--bin",
            "flowmeter",
        ]);
        // An own target triple would move the binary to another place.
        build.env_remove("CARGO_BUILD_TARGET");
        process::run(&mut build)?;
        let agent = self.agent();
        ensure!(agent.is_file(), "cargo built no {}", agent.display());
        Ok(agent)
    }
}

/// The cargo that runs us.
pub(crate) fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The first file called `program` in PATH or where the system keeps administrators' commands.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| Path::is_file(candidate))
}
