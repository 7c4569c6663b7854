//! What is remembered over a restart: one file, written beside the old one and renamed.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// What was saved; `None` if nothing was yet.
///
/// # Errors
/// A file that is there and cannot be read.
pub fn load(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading the state in {}", path.display())),
    }
}

/// Saves `bytes`; the folder is made if it is missing. Whoever dies in the middle leaves the old state.
///
/// # Errors
/// Those of making and writing files.
pub fn save(path: &Path, bytes: &[u8]) -> Result<()> {
    let new = beside(path, "new");
    let write = || -> io::Result<()> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder)?;
        }
        // It tells who talks to whom: for its owner only.
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().with_context(|| format!("saving the state in {}", path.display()))
}

/// Renames a state that cannot be used, so that it can be looked at, and tells the new name.
///
/// # Errors
/// Those of renaming.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = beside(path, "unusable");
    fs::rename(path, &aside)?;
    Ok(aside)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".");
    name.push(ending);
    name.into()
}
