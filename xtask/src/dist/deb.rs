//! The Debian package, by dpkg-deb.

use std::{
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{
    Release,
    stage::{files, put, read, set_mode},
};
use crate::{
    packages::{self, Tool},
    process,
    workspace::Workspace,
};

const DPKG_DEB: Tool = Tool {
    command: "dpkg-deb",
    package: "dpkg",
};

const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

pub(super) fn build(workspace: &Workspace, release: &Release, root: &Path, out: &Path) -> Result<PathBuf> {
    packages::ensure_tools(&[DPKG_DEB])?;
    let control = root.join("DEBIAN");
    let installed = files(root)?;
    let binary = read(&root.join("usr/bin/flowmeter"))?;
    let kibibytes = installed
        .iter()
        .map(|file| fs::metadata(file).map(|metadata| metadata.len().div_ceil(1024)))
        .sum::<std::io::Result<u64>>()
        .context("adding up the files")?;
    put(md5sums(root, &installed)?.as_bytes(), &control.join("md5sums"))?;
    put(
        control_file(release, kibibytes, &glibc(&binary)).as_bytes(),
        &control.join("control"),
    )?;
    for name in SCRIPTS.into_iter().chain(["conffiles", "triggers"]) {
        let from = workspace.root.join("packaging/debian").join(name);
        put(&read(&from)?, &control.join(name))?;
        let mode = if SCRIPTS.contains(&name) { 0o755 } else { 0o644 };
        set_mode(&control.join(name), mode)?;
    }
    let path = out.join(format!(
        "flowmeter_{}_{}.deb",
        release.version, release.architecture
    ));
    process::step("building the Debian package");
    process::run(
        Command::new("dpkg-deb")
            .args(["--root-owner-group", "-Zxz", "--build"])
            .arg(root)
            .arg(&path)
            .env("SOURCE_DATE_EPOCH", &release.epoch),
    )?;
    fs::remove_dir_all(&control).with_context(|| format!("removing {}", control.display()))?;
    Ok(path)
}

fn control_file(release: &Release, kibibytes: u64, glibc: &str) -> String {
    format!(
        "Package: flowmeter\n\
         Version: {}\n\
         Architecture: {}\n\
         Maintainer: the flowmeter authors <flowmeter@example.invalid>\n\
         Installed-Size: {kibibytes}\n\
         Depends: init-system-helpers, libc6 (>= {glibc}), libgcc-s1, passwd, systemd\n\
         Section: net\n\
         Priority: optional\n\
         Homepage: https://github.com/flowmeter/flowmeter\n\
         Description: kernel-level network flow meter for Wazuh\n \
         Counts every packet of every flow in the kernel by XDP and TC programs, finds scans,\n \
         beacons, tunnels and other anomalies, and writes one JSON event a line into the file\n \
         that a Wazuh agent reads.\n \
         .\n \
         Needs Linux 5.15 or later.\n",
        release.version, release.architecture
    )
}

/// The newest version of glibc that the binary names: it is the oldest that it runs with.
fn glibc(binary: &[u8]) -> String {
    const TAG: &[u8] = b"GLIBC_";
    let version = |at: usize| {
        let text = binary.get(at + TAG.len()..)?;
        let end = text.iter().position(|byte| !b"0123456789.".contains(byte))?;
        let text = str::from_utf8(text.get(..end)?).ok()?;
        let (major, rest) = text.split_once('.')?;
        let minor = rest.split('.').next()?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    let places = binary.windows(TAG.len()).enumerate();
    let newest = places
        .filter(|(_, bytes)| *bytes == TAG)
        .filter_map(|(at, _)| version(at))
        .max();
    let (major, minor) = newest.unwrap_or((2, 17));
    format!("{major}.{minor}")
}

fn md5sums(root: &Path, installed: &[PathBuf]) -> Result<String> {
    let conffile = |path: &Path| path.starts_with("etc");
    let mut names = Vec::new();
    for file in installed {
        let below = file.strip_prefix(root)?;
        if !conffile(below) {
            names.push(below);
        }
    }
    names.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    process::output(Command::new("md5sum").args(&names).current_dir(root))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_that_is_named_is_needed() {
        let names = b"\0GLIBC_2.2.5\0GLIBC_2.34\0__libc\0GLIBC_2.9\0GLIBC_PRIVATE\0GLIBC_";
        assert_eq!(glibc(names), "2.34");
    }
}
