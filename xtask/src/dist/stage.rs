//! The files as they are installed, below one folder.

use std::{
    fs::{self, Permissions},
    io::ErrorKind,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    process,
    workspace::{Workspace, which},
};

/// Files of the repository and where they go.
const FILES: [(&str, &str); 11] = [
    ("packaging/flowmeter.toml", "etc/flowmeter/flowmeter.toml"),
    ("packaging/flowmeter.default", "etc/default/flowmeter"),
    (
        "packaging/flowmeter.service",
        "usr/lib/systemd/system/flowmeter.service",
    ),
    (
        "packaging/flowmeter.sysusers",
        "usr/lib/sysusers.d/flowmeter.conf",
    ),
    (
        "packaging/flowmeter.tmpfiles",
        "usr/lib/tmpfiles.d/flowmeter.conf",
    ),
    ("packaging/debian/copyright", "usr/share/doc/flowmeter/copyright"),
    ("LICENSE-APACHE", "usr/share/doc/flowmeter/LICENSE-APACHE"),
    ("LICENSE-MIT", "usr/share/doc/flowmeter/LICENSE-MIT"),
    ("README.md", "usr/share/doc/flowmeter/README.md"),
    ("SECURITY.md", "usr/share/doc/flowmeter/SECURITY.md"),
    ("CHANGELOG.md", "usr/share/doc/flowmeter/changelog"),
];

/// Folders of the repository and where they go.
const FOLDERS: [(&str, &str); 3] = [
    ("docs", "usr/share/doc/flowmeter/docs"),
    ("samples", "usr/share/doc/flowmeter/samples"),
    ("wazuh", "usr/share/flowmeter/wazuh"),
];

/// What the agent prints about itself, and where it goes.
const PRINTED: [(&[&str], &str); 4] = [
    (&["man"], "usr/share/man/man1/flowmeter.1"),
    (
        &["completions", "bash"],
        "usr/share/bash-completion/completions/flowmeter",
    ),
    (
        &["completions", "zsh"],
        "usr/share/zsh/vendor-completions/_flowmeter",
    ),
    (
        &["completions", "fish"],
        "usr/share/fish/vendor_completions.d/flowmeter.fish",
    ),
];

/// Debian's policy wants these compressed (12.1, 12.7).
const COMPRESSED: [&str; 2] = [
    "usr/share/man/man1/flowmeter.1",
    "usr/share/doc/flowmeter/changelog",
];

/// Makes `root` anew.
pub(super) fn stage(workspace: &Workspace, agent: &Path, root: &Path) -> Result<()> {
    match fs::remove_dir_all(root) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {}", root.display()));
        }
        _ => {}
    }
    let binary = root.join("usr/bin/flowmeter");
    put(&read(agent)?, &binary)?;
    strip(&binary)?;
    for (from, to) in FILES {
        put(&read(&workspace.root.join(from))?, &root.join(to))?;
    }
    for (from, to) in FOLDERS {
        let from = workspace.root.join(from);
        for file in files(&from)? {
            let below = file.strip_prefix(&from)?;
            put(&read(&file)?, &root.join(to).join(below))?;
        }
    }
    for (arguments, to) in PRINTED {
        let mut command = Command::new(agent);
        // Nothing of the caller's stands in a page.
        let printed = process::output(command.args(arguments).env_clear())?;
        put(printed.as_bytes(), &root.join(to))?;
    }
    for file in COMPRESSED {
        process::run(Command::new("gzip").arg("-9n").arg(root.join(file)))?;
    }
    for file in files(root)? {
        let mode = if file == binary { 0o755 } else { 0o644 };
        set_mode(&file, mode)?;
    }
    Ok(())
}

/// What a debugger needs stays in the build folder.
fn strip(binary: &Path) -> Result<()> {
    if which("strip").is_none() {
        process::step("not stripped: binutils is not installed");
        return Ok(());
    }
    process::run(Command::new("strip").arg("--strip-unneeded").arg(binary))
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}

/// Writes a file, with the folders above it.
pub(super) fn put(bytes: &[u8], path: &Path) -> Result<()> {
    let write = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, bytes)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

pub(super) fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .with_context(|| format!("setting the permissions of {}", path.display()))
}

/// All files below `folder`, in order.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let listing = || format!("listing {}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(listing)? {
        let path = entry.with_context(listing)?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// dpkg keeps an operator's changes to those alone that are named.
    #[test]
    fn every_file_in_etc_is_a_conffile() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let named = fs::read_to_string(root.join("packaging/debian/conffiles")).unwrap();
        let mut named: Vec<_> = named.lines().map(|line| line.trim_start_matches('/')).collect();
        let mut installed: Vec<_> = FILES
            .iter()
            .map(|(_, to)| *to)
            .filter(|to| to.starts_with("etc/"))
            .collect();
        named.sort_unstable();
        installed.sort_unstable();
        assert_eq!(named, installed);
    }

    #[test]
    fn what_is_packaged_is_in_the_repository() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for (from, _) in FILES {
            assert!(root.join(from).is_file(), "{from}");
        }
        for (from, _) in FOLDERS {
            assert!(!files(&root.join(from)).unwrap().is_empty(), "{from}");
        }
    }
}
