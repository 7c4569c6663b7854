//! Debian packages that a bare machine lacks.

use std::{fmt, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, bail};

use crate::{process, workspace::which};

/// Downloads that take longer have hung.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(600);

/// A command and the package that has it.
#[derive(Clone, Copy)]
pub(crate) struct Tool {
    pub(crate) command: &'static str,
    pub(crate) package: &'static str,
}

pub(crate) const IP: Tool = Tool {
    command: "ip",
    package: "iproute2",
};
pub(crate) const ETHTOOL: Tool = Tool {
    command: "ethtool",
    package: "ethtool",
};
pub(crate) const PING: Tool = Tool {
    command: "ping",
    package: "iputils-ping",
};

pub(crate) const VALGRIND: Tool = Tool {
    command: "valgrind",
    package: "valgrind",
};

/// What was asked for needs root.
#[derive(Debug)]
pub(crate) struct NeedsRoot {
    pub(crate) what: String,
    /// What to type instead.
    pub(crate) command: String,
}

impl fmt::Display for NeedsRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} needs root: {}", self.what, self.command)
    }
}

impl std::error::Error for NeedsRoot {}

pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Installs the packages of those tools that are not there.
///
/// # Errors
/// If one is missing and cannot be installed; the message has the command that would.
pub(crate) fn ensure_tools(tools: &[Tool]) -> Result<()> {
    let missing: Vec<Tool> = tools
        .iter()
        .copied()
        .filter(|tool| which(tool.command).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    if !can_install() {
        bail!(
            "the command {} is missing, install it first: {}",
            missing
                .iter()
                .map(|tool| tool.command)
                .collect::<Vec<_>>()
                .join(", "),
            install_command(&packages)
        );
    }
    for tool in &missing {
        process::step(&format!(
            "installing {} for the command {}",
            tool.package, tool.command
        ));
    }
    install(&packages)
}

/// What a person types for [`install`].
pub(crate) fn install_command(packages: &[&str]) -> String {
    format!(
        "apt-get install --no-install-recommends {} (as root)",
        packages.join(" ")
    )
}

pub(crate) fn can_install() -> bool {
    is_root() && which("apt-get").is_some()
}

/// Installs packages without those that they only recommend.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if packages.iter().any(|package| candidate(package).is_none()) {
        update()?;
    }
    // Only the download has a time limit: ending dpkg halfway would leave a broken system.
    process::run_within(
        apt_get("install", packages).arg("--download-only"),
        DOWNLOAD_LIMIT,
    )
    .or_else(|_| {
        // Old lists name versions that the mirror no longer has.
        update()?;
        process::run_within(
            apt_get("install", packages).arg("--download-only"),
            DOWNLOAD_LIMIT,
        )
    })
    .with_context(|| format!("downloading the packages {}", packages.join(", ")))?;
    process::run(apt_get("install", packages).arg("--no-download"))
        .with_context(|| format!("installing the packages {}", packages.join(", ")))
}

/// The version that apt would install, if it knows one.
pub(crate) fn candidate(package: &str) -> Option<String> {
    let mut policy = Command::new("apt-cache");
    policy.args(["policy", package]).env("LC_ALL", "C");
    let text = process::output(&mut policy).ok()?;
    let version = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (version != "(none)").then(|| version.to_owned())
}

/// Fetches the package lists where there are none, so that [`candidate`] has something to look at.
pub(crate) fn ensure_lists() -> Result<()> {
    if Path::new("/var/lib/apt/lists").read_dir().is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
    }) {
        return Ok(());
    }
    update()
}

fn update() -> Result<()> {
    process::step("fetching the lists of Debian packages");
    process::run_within(&mut apt_get("update", &[]), DOWNLOAD_LIMIT).context("fetching the package lists")
}

fn apt_get(action: &str, packages: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command
        .args(["--quiet=2", "--yes", action])
        .env("DEBIAN_FRONTEND", "noninteractive");
    if action == "install" {
        command.arg("--no-install-recommends").args(packages);
    }
    // dpkg's lines are messages, not our output.
    command.stdout(std::io::stderr());
    command
}
