//! For tests that need what not every machine has. `CONTRIBUTING.md` says how skipped tests are told.

#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::{
    env,
    fs::OpenOptions,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// A file that `cargo xtask test` reads the skipped tests from.
const SKIPS: &str = "FLOWMETER_SKIPS";
/// If set, tests behave as if they had no root.
const NO_ROOT: &str = "FLOWMETER_NO_ROOT";
/// The directory with captures.
const DATA: &str = "FLOWMETER_DATA";

/// Tells that the test `name` was skipped. `reason` is `needs root`, `needs KERNEL FEATURE`, ...
pub(crate) fn skip(name: &str, reason: &str) {
    let file = env::var_os(SKIPS).map(PathBuf::from);
    tell(file.as_deref(), name, reason).expect("telling that a test was skipped");
}

/// One line, to standard error and to the end of `file`; one write, since test binaries may share it.
pub(crate) fn tell(file: Option<&Path>, name: &str, reason: &str) -> io::Result<()> {
    let line = format!("skipped: {name}: {reason}\n");
    io::stderr().write_all(line.as_bytes())?;
    if let Some(file) = file {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(file)?
            .write_all(line.as_bytes())?;
    }
    Ok(())
}

/// True with root; else tells that the test is skipped.
#[must_use]
pub(crate) fn root_or_skip(name: &str) -> bool {
    let root = nix::unistd::geteuid().is_root() && env::var_os(NO_ROOT).is_none();
    if !root {
        skip(name, "needs root");
    }
    root
}

/// The directory with captures; without one tells that the test is skipped.
#[must_use]
pub(crate) fn data_or_skip(name: &str) -> Option<PathBuf> {
    let data = env::var_os(DATA)
        .filter(|data| !data.is_empty())
        .map(PathBuf::from);
    if data.is_none() {
        skip(name, "needs FLOWMETER_DATA, the directory with captures");
    }
    data
}
