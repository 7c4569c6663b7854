use crate::workspace::Workspace;
use anyhow::Result;
#[derive(clap::Args)]
pub(crate) struct Args {}
pub(crate) fn main(_: &Workspace, _: &Args) -> Result<()> {
    Ok(())
}
