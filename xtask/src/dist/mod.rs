//! `dist`: a Debian package and a tarball, and the trial of the package on a clean system.

mod deb;
mod stage;
mod trial;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{build_ebpf, process, toolchain::Toolchain, workspace::Workspace};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Install the package in a clean Debian, start it, look at it, purge it (needs root; takes minutes)
    #[arg(long = "try")]
    trial: bool,
}

pub(crate) fn main(workspace: &Workspace, args: &Args) -> Result<()> {
    build_ebpf::build(workspace, &Toolchain::find_or_install()?, false)?;
    let agent = workspace.build_agent()?;
    let release = Release::new(workspace)?;
    let out = workspace.target.join("dist");
    fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;

    let root = out.join("root");
    process::step("laying out the files");
    stage::stage(workspace, &agent, &root)?;
    let package = deb::build(workspace, &release, &root, &out)?;
    let tarball = tarball(&release, &root, &out)?;
    sums(&out, &[&package, &tarball])?;
    for file in [&package, &tarball] {
        process::step(&format!("made {}", file.display()));
    }
    if args.trial {
        trial::run(workspace, &package, &tarball, &root)?;
    }
    Ok(())
}

/// What the files are called after.
pub(crate) struct Release {
    version: String,
    /// As dpkg calls it.
    architecture: &'static str,
    /// Time of every file, in seconds since the Unix epoch: that of the commit, so that the same sources make the
    /// same packages.
    epoch: String,
}

impl Release {
    fn new(workspace: &Workspace) -> Result<Self> {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "riscv64" => "riscv64",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64el",
            "s390x" => "s390x",
            other => bail!("dpkg's name for {other} is not known here"),
        };
        let mut commit = Command::new("git");
        commit
            .args(["log", "-1", "--format=%ct"])
            .current_dir(&workspace.root);
        let epoch = match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(epoch) => epoch,
            // A source tarball has no history.
            Err(_) => process::output(&mut commit).unwrap_or_else(|_| "0".to_owned()),
        };
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            architecture,
            epoch: epoch.trim().to_owned(),
        })
    }

    fn name(&self) -> String {
        format!("flowmeter-{}-linux-{}", self.version, self.architecture)
    }
}

/// Packs the tree below one folder, ready for `tar --strip-components=1 -C /`.
fn tarball(release: &Release, root: &Path, out: &Path) -> Result<PathBuf> {
    let name = release.name();
    let path = out.join(format!("{name}.tar.gz"));
    process::run(
        Command::new("tar")
            .args([
                "--create",
                "--sort=name",
                "--format=gnu",
                "--owner=root:0",
                "--group=root:0",
            ])
            .args(["--use-compress-program=gzip -9n", "--exclude=./DEBIAN"])
            .arg(format!("--mtime=@{}", release.epoch))
            .arg(format!("--transform=s,^\\./,{name}/,"))
            .arg("--file")
            .arg(&path)
            .arg("--directory")
            .arg(root)
            .args(["./etc", "./usr"]),
    )?;
    Ok(path)
}

fn sums(out: &Path, files: &[&Path]) -> Result<()> {
    let names = files.iter().filter_map(|file| file.file_name());
    let sums = process::output(Command::new("sha256sum").args(names).current_dir(out))?;
    let path = out.join("SHA256SUMS");
    fs::write(&path, sums).with_context(|| format!("writing {}", path.display()))
}
