//! `flowmeter print-default-config`

use anyhow::Result;

use crate::config::DEFAULT_TEXT;

pub(super) fn run() -> Result<()> {
    super::print(DEFAULT_TEXT)
}
