//! The options of `flowmeter wazuh`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueHint};

use super::{Configuration, lasting};
use crate::wazuh::host::DEFAULT_ROOT;

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct Wazuh {
    #[command(subcommand)]
    pub command: WazuhCommand,
}

const HELP: &str = "\
Examples:
  flowmeter wazuh install                     Set up the Wazuh manager or agent on this host
  flowmeter wazuh check                       What keeps events from becoming alerts?
  flowmeter wazuh check samples/finding.json  Which rule does each event fire, or why none?
  flowmeter wazuh uninstall                   Put back what was there before";

#[derive(Debug, Subcommand)]
pub enum WazuhCommand {
    /// Put rules, list and configuration where Wazuh reads them; keeps what it replaces
    Install(Install),
    /// Find what is wrong, and tell for each event of a file which rule fires
    Check(Check),
    /// Take out what install put there
    Uninstall(Place),
    /// Print how old the last statistics event is, for the Wazuh agent
    Age(Age),
}

#[derive(Debug, Args)]
pub struct Place {
    /// Wazuh's folder, or a copy of it
    #[arg(long, value_name = "DIR", default_value = DEFAULT_ROOT, value_hint = ValueHint::DirPath)]
    pub root: PathBuf,
    /// The manager's part [default: what is installed]
    #[arg(long)]
    pub manager: bool,
    /// The agent's part, where the event file is [default: what is installed]
    #[arg(long)]
    pub agent: bool,
    #[command(flatten)]
    pub configuration: Configuration,
}

#[derive(Debug, Args)]
pub struct Install {
    /// Also index plain flows and statistics, for the dashboards about traffic
    #[arg(long)]
    pub flows: bool,
    #[command(flatten)]
    pub place: Place,
}

#[derive(Debug, Args)]
#[command(after_help = CHECK_HELP)]
pub struct Check {
    /// Tell for each event of this file which rule it fires, or which condition fails; - is standard input
    #[arg(value_name = "EVENT-FILE", value_hint = ValueHint::FilePath)]
    pub events: Option<PathBuf>,
    /// Look also at what the indexer answers to GET _index_template; - is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub template: Option<PathBuf>,
    #[command(flatten)]
    pub place: Place,
}

const CHECK_HELP: &str = "\
Example:
  curl -ks -u admin https://localhost:9200/_index_template | flowmeter wazuh check --template -

The rules are those that are installed; where there are none, those of this version.
Exit code 1 if there is an error.";

#[derive(Debug, Args)]
pub struct Age {
    /// The event file [default: that of the configuration]
    #[arg(value_name = "EVENT-FILE", value_hint = ValueHint::FilePath)]
    pub events: Option<PathBuf>,
    /// From when on it says that the meter is silent
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = lasting)]
    pub silent_after: Duration,
    #[command(flatten)]
    pub configuration: Configuration,
}
