//! Taking out what was installed.

use std::{fs, path::Path};

use anyhow::Result;

use super::{
    conf,
    host::{self, CONF, Host},
    install::{BEFORE, Done, INSTALLED, What},
    pack,
};

/// Puts back what was there before.
///
/// # Errors
/// If a file cannot be written; what has been done so far stays done, and a second run goes on.
pub fn uninstall(host: &Host) -> Result<Vec<Done>> {
    let mut done = Vec::new();
    if let Some(text) = host.read(CONF)? {
        let without = conf::without_section(&conf::without_list(&text, pack::SCANNERS.path));
        let (what, note) = if without == text {
            (What::Unchanged, String::new())
        } else {
            host::write(&host.path(CONF), without.as_bytes())?;
            let before = host.path(BEFORE).join(CONF);
            let same = fs::read(before).ok().as_deref() == Some(without.as_bytes());
            let note = if same {
                "as before"
            } else {
                "what others changed since is kept"
            };
            (What::Restored, note.to_owned())
        };
        done.push(Done {
            what,
            path: host.path(CONF),
            note,
        });
        host::remove(&host.path(INSTALLED).join(CONF))?;
        host::remove(&host.path(BEFORE).join(CONF))?;
    }
    let files = [
        pack::RULES,
        pack::FLOW_RULES,
        pack::SCANNERS,
        pack::TEMPLATE,
        pack::DASHBOARDS,
    ];
    for file in files {
        let path = host.path(file.path);
        let installed = host.path(INSTALLED).join(file.path);
        let before = host.path(BEFORE).join(file.path);
        let Some(ours) = host::read_bytes(&installed)? else {
            continue;
        };
        let (what, note) = match host::read_bytes(&path)? {
            Some(there) if there != ours => (What::Kept, "it was changed since; remove it by hand"),
            _ => match host::read_bytes(&before)? {
                Some(text) => {
                    host::write(&path, &text)?;
                    (What::Restored, "as before")
                }
                None => {
                    host::remove(&path)?;
                    (What::Removed, "")
                }
            },
        };
        done.push(Done {
            what,
            path,
            note: note.to_owned(),
        });
        host::remove(&installed)?;
        // Of a file that was kept, what was there before stays where it can be found.
        if what != What::Kept {
            host::remove(&before)?;
        }
    }
    remove_empty_folders(host);
    Ok(done)
}

/// Takes out the folders that only held what was installed. One that is not empty stays.
pub(super) fn remove_empty_folders(host: &Host) {
    for top in ["backup/flowmeter", "etc/flowmeter"] {
        remove_if_empty(&host.path(top));
    }
}

fn remove_if_empty(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_if_empty(&entry.path());
        }
    }
    // Not empty, or not there: both are as they should be.
    let _ = fs::remove_dir(folder);
}
