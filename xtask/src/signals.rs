//! Ctrl-C as a value that is looked at, so that what was set up is taken down by the same code as always.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{SigSet, Signal};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on SIGINT, SIGTERM and SIGHUP no longer end the process; [`check`] tells of them. Call it
/// before other threads start: they take over what is blocked.
pub(crate) fn catch() -> Result<()> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        set.add(signal);
    }
    set.thread_block().context("blocking signals")?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            while set.wait().is_ok() {
                INTERRUPTED.store(true, Ordering::Relaxed);
                eprintln!("interrupted, cleaning up");
            }
        })
        .context("starting the signal thread")?;
    Ok(())
}

/// # Errors
/// If we were asked to stop.
pub(crate) fn check() -> Result<()> {
    ensure!(!INTERRUPTED.load(Ordering::Relaxed), "interrupted");
    Ok(())
}
