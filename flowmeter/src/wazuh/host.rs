//! Wazuh on this host: its folder, its part, and the files that are looked at.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, Result, bail};

use crate::error::Failure;

/// Where Wazuh is installed.
pub const DEFAULT_ROOT: &str = "/var/ossec";
pub const CONF: &str = "etc/ossec.conf";
/// Of the group that a manager has put the agent into.
pub const AGENT_CONF: &str = "etc/shared/agent.conf";

/// One host with Wazuh on it.
#[derive(Clone, Debug)]
pub struct Host {
    /// `/var/ossec`, or a copy of it.
    pub root: PathBuf,
    /// Rules are applied here.
    pub manager: bool,
    /// The event file is read here.
    pub agent: bool,
    /// The event file.
    pub events: PathBuf,
}

impl Host {
    /// Finds out which part this host has, unless it is told.
    ///
    /// # Errors
    /// If there is neither a manager nor an agent.
    pub fn new(root: PathBuf, manager: bool, agent: bool, events: PathBuf) -> Result<Self> {
        let there = |program: &str| root.join("bin").join(program).exists();
        let (manager, agent) = match (manager, agent) {
            (false, false) => (there("wazuh-analysisd"), there("wazuh-agentd")),
            told => told,
        };
        if !root.join(CONF).exists() || !(manager || agent) {
            bail!(
                "cannot find a Wazuh manager or agent in {}; name its folder by --root, or its part by --manager \
                 or --agent",
                root.display()
            );
        }
        Ok(Self {
            root,
            manager,
            agent,
            events,
        })
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    /// # Errors
    /// If it is there and cannot be read.
    pub fn read(&self, below: &str) -> Result<Option<String>> {
        read(&self.path(below))
    }

    /// Files of a folder that end in `.xml`, by name as Wazuh reads them.
    pub fn xml_files(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.ends_with(".xml"))
            .collect();
        names.sort();
        names.into_iter().map(|name| format!("{folder}/{name}")).collect()
    }

    /// When one of Wazuh's programs was started: the age of its pid file. None: it does not run.
    pub fn started(&self, program: &str) -> Option<SystemTime> {
        let entries = fs::read_dir(self.path("var/run")).ok()?.flatten();
        entries
            .filter(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                name.strip_prefix(program)
                    .is_some_and(|rest| rest.starts_with('-') && rest.ends_with(".pid"))
            })
            .filter_map(|entry| entry.metadata().ok()?.modified().ok())
            .max()
    }

    /// What to type after a change.
    pub fn restart(&self) -> &'static str {
        if self.manager {
            "systemctl restart wazuh-manager"
        } else {
            "systemctl restart wazuh-agent"
        }
    }
}

/// # Errors
/// If it is there and cannot be read, or is no UTF-8.
pub fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failure(error)).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// # Errors
/// If it is there and cannot be read: it is not taken for missing, since what is missing is written anew.
pub fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failure(error)).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Writes a whole file or nothing. It has the owner of the file before it, or of its folder, and its
/// permissions, or those that Wazuh gives.
///
/// Wazuh's group may write in most of its folders, so no link that somebody has put there is followed.
///
/// # Errors
/// If it cannot be written, or is a link; nothing has changed then.
pub fn write(path: &Path, text: &[u8]) -> Result<()> {
    if path.is_symlink() {
        bail!(
            "cannot write {}: it is a link; put a file in its place",
            path.display()
        );
    }
    try_write(path, text)
        .map_err(failure)
        .with_context(|| format!("cannot write {}", path.display()))
}

fn try_write(path: &Path, text: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    let (like, mode) = match path.metadata() {
        Ok(metadata) => {
            let mode = metadata.permissions().mode();
            (metadata, mode)
        }
        Err(_) => (folder.metadata()?, 0o660),
    };
    // Its end keeps Wazuh from reading it as a rule file.
    let mut new = path.as_os_str().to_owned();
    new.push(".flowmeter-new");
    let new = PathBuf::from(new);
    // Left by a run that was killed.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    let written = file
        .write_all(text)
        .and_then(|()| fchown(&file, Some(like.uid()), Some(like.gid())))
        .and_then(|()| file.set_permissions(fs::Permissions::from_mode(mode)))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&new);
    }
    written
}

/// # Errors
/// If it is there and cannot be removed.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failure(error)).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// A missing right has an exit code of its own.
fn failure(error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::PermissionDenied {
        Failure::Permission(anyhow::Error::new(error).context("run it as root")).into()
    } else {
        error.into()
    }
}
