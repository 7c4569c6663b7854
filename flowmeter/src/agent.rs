//! Placeholder.

use std::time::Duration;

use crate::config::{Loaded, Sources};

/// Meters until `duration` is over or a signal ends it. `sources` is what SIGHUP reads again.
///
/// # Errors
/// Always, so far.
pub fn run(_loaded: Loaded, _sources: &Sources, _duration: Option<Duration>) -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}
