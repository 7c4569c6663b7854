//! The package on a clean Debian, booted in a container: installed, started, looked at, purged; and the tarball.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use super::stage::{put, read, set_mode};
use crate::{
    packages::{self, NeedsRoot, Tool},
    process,
    workspace::Workspace,
};

const TOOLS: [Tool; 3] = [
    Tool {
        command: "debootstrap",
        package: "debootstrap",
    },
    Tool {
        command: "systemd-nspawn",
        package: "systemd-container",
    },
    Tool {
        command: "systemd-analyze",
        package: "systemd",
    },
];

/// What a small server has beyond the essential packages.
const INCLUDED: &str = "--include=dbus,iproute2,iputils-ping,systemd,systemd-sysv";
/// The exposure, of 100, that the unit stays below.
const EXPOSURE: &str = "20";
const BOOT_LIMIT: Duration = Duration::from_secs(300);
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(900);

pub(super) fn run(workspace: &Workspace, package: &Path, tarball: &Path, staged: &Path) -> Result<()> {
    if !packages::is_root() {
        return Err(NeedsRoot {
            what: "the trial".to_owned(),
            command: "sudo --preserve-env=PATH,HOME cargo xtask dist --try".to_owned(),
        }
        .into());
    }
    packages::ensure_tools(&TOOLS)?;
    let place = workspace.target.join("dist/try");
    fs::create_dir_all(&place).with_context(|| format!("making {}", place.display()))?;
    analyze(staged)?;
    let base = base(workspace)?;
    let shared = place.join("shared");
    let script = workspace.root.join("packaging/trial.sh");
    put(&read(&script)?, &shared.join("trial.sh"))?;
    set_mode(&shared.join("trial.sh"), 0o755)?;
    put(&read(package)?, &shared.join("flowmeter.deb"))?;
    put(&read(tarball)?, &shared.join("flowmeter.tar.gz"))?;
    let log = shared.join("log");
    put(b"", &log)?;
    process::step("booting a clean Debian for the package");
    let booted = process::run_within(&mut boot(&base, &shared)?, BOOT_LIMIT);
    let told = fs::read_to_string(&log).with_context(|| format!("reading {}", log.display()))?;
    println!("{told}");
    booted.context("the trial in the container")?;
    ensure!(told.ends_with("passed\n"), "the trial has not come to its end");
    Ok(())
}

/// What systemd says of the unit, without running it.
fn analyze(staged: &Path) -> Result<()> {
    process::step("systemd-analyze on the unit");
    let unit = "flowmeter.service";
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no", "--recursive-errors=no"]);
    // The unit names programs: they are looked for in this file system.
    let local = staged.with_file_name("try").join(unit);
    let text = String::from_utf8(read(&staged.join("usr/lib/systemd/system").join(unit))?)?;
    let binary = staged.join("usr/bin/flowmeter");
    put(
        text.replace("/usr/bin/flowmeter", &binary.display().to_string())
            .as_bytes(),
        &local,
    )?;
    process::run(verify.arg(&local))?;
    process::run(
        Command::new("systemd-analyze")
            .args(["security", "--no-pager", "--offline=true"])
            .arg(format!("--threshold={EXPOSURE}"))
            .arg(&local),
    )
}

/// A Debian with nothing but what a small server has; made once.
fn base(workspace: &Workspace) -> Result<PathBuf> {
    let base = workspace.target.join("dist/base");
    if base.exists() {
        return Ok(base);
    }
    let (mirror, suite) = mirror()?;
    process::step(&format!(
        "debootstrap of {suite} from {mirror} (once, takes minutes)"
    ));
    // What an interrupted run has left is no Debian.
    let unfinished = base.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).with_context(|| format!("removing {}", unfinished.display()))?;
    }
    process::run_within(
        Command::new("debootstrap")
            .args(["--variant=minbase", INCLUDED, &suite])
            .arg(&unfinished)
            .arg(&mirror),
        DOWNLOAD_LIMIT,
    )?;
    fs::rename(&unfinished, &base).with_context(|| format!("renaming {}", unfinished.display()))?;
    Ok(base)
}

/// Where apt has this system's packages from.
fn mirror() -> Result<(String, String)> {
    let mut targets = Command::new("apt-get");
    targets.args([
        "indextargets",
        "--format",
        "$(SITE) $(CODENAME) $(COMPONENT) $(ORIGIN)",
    ]);
    let text = process::output(&mut targets)?;
    let codename = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename = codename
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .unwrap_or("stable");
    for line in text.lines() {
        if let [site, suite, "main", "Debian"] = line.split(' ').collect::<Vec<_>>().as_slice()
            && *suite == codename
        {
            return Ok(((*site).to_owned(), (*suite).to_owned()));
        }
    }
    bail!("apt knows no mirror of Debian {codename}")
}

/// Boots into the script and ends with its exit code. The container writes to an overlay in memory.
fn boot(base: &Path, shared: &Path) -> Result<Command> {
    let mut nspawn = Command::new("systemd-nspawn");
    let hierarchy = statfs("/sys/fs/cgroup").context("looking at the control groups")?;
    if hierarchy.filesystem_type() != CGROUP2_SUPER_MAGIC {
        nspawn.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "0");
    }
    nspawn
        .args(["--quiet", "--boot", "--register=no", "--keep-unit"])
        .args(["--volatile=overlay", "--private-network", "--console=pipe"])
        .args(["--machine=flowmeter-trial", "--hostname=collector"])
        .arg("--capability=CAP_BPF,CAP_NET_ADMIN,CAP_PERFMON")
        .arg("--system-call-filter=bpf")
        .arg(format!("--bind={}:/trial", shared.display()))
        .arg(format!("--directory={}", base.display()))
        .args(["systemd.run=/trial/trial.sh", "systemd.run_success_action=exit"])
        .args(["systemd.run_failure_action=exit", "quiet"]);
    Ok(nspawn)
}
