//! The kernel programs: nanoseconds a packet.

use anyhow::{Result, bail};

use super::{Bench, report::Report};

#[derive(clap::Args, Default)]
pub(super) struct Kernel {}

pub(super) fn measure(_bench: &Bench, _options: &Kernel) -> Result<Report> {
    bail!("not measured yet: the kernel programs")
}
