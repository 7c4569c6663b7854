//! Ctrl-C as a value that is looked at, so that what was set up is taken down by the same code as always.

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result, ensure};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};

static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// From now on SIGINT, SIGTERM and SIGHUP no longer end the process; [`check`] tells of them. Handlers, not
/// a blocked mask: child processes would inherit that one and could not be ended.
pub(crate) fn catch() -> Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register(signal, INTERRUPTED.clone()).context("catching signals")?;
    }
    Ok(())
}

/// # Errors
/// If we were asked to stop.
pub(crate) fn check() -> Result<()> {
    ensure!(
        !INTERRUPTED.load(Ordering::Relaxed),
        "interrupted; what was set up has been removed"
    );
    Ok(())
}
