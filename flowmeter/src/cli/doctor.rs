//! The options of `flowmeter doctor`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::Configuration;
use crate::wazuh::host::DEFAULT_ROOT;

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct Doctor {
    /// Write JSON instead of text
    #[arg(long)]
    pub json: bool,
    /// Folder of the Wazuh agent
    #[arg(long, value_name = "DIR", default_value = DEFAULT_ROOT, value_hint = ValueHint::DirPath)]
    pub wazuh: PathBuf,
    #[command(flatten)]
    pub configuration: Configuration,
}

const HELP: &str = "\
Looks at kernel, capabilities, programs (test packets are sent through them), interfaces, offloads, internal
networks, event file, Wazuh agent, clock and disk. Nothing is changed. Without --config also the variables of
/etc/default/flowmeter count, as for the service.

Exit codes:
  0  it works, with warnings or without    1  something fails    77  not everything may be looked at";
