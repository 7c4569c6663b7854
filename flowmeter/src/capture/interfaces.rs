//! Placeholder.

use std::fmt;

use serde::Serialize;

use crate::config::Config;

/// What can be attached to which interface, and how.
#[derive(Debug, Serialize)]
pub struct Table {}

impl fmt::Display for Table {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

/// # Errors
/// Always, so far.
pub fn table(_config: &Config) -> anyhow::Result<Table> {
    anyhow::bail!("not built yet")
}
