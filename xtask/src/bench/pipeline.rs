//! The agent's own part: drain, track, enrich, detect, write.

use anyhow::{Result, bail};

use super::{Bench, report::Report};

pub(super) fn measure(_bench: &Bench) -> Result<Report> {
    bail!("not measured yet: the pipeline")
}
