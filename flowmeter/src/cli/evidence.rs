//! The options of `flowmeter evidence`.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueHint};
use jiff::Timestamp;

use super::Configuration;
use crate::config;

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct Evidence {
    #[command(flatten)]
    pub subject: Subject,
    /// Nothing before this: RFC 3339, such as 2026-04-26T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<Timestamp>,
    /// Nothing after this [default: the end of the files]
    #[arg(long, value_name = "TIME")]
    pub until: Option<Timestamp>,
    /// How much before and after the finding is taken, too
    #[arg(long, value_name = "DURATION", value_parser = config::duration, default_value = "10m", conflicts_with = "source")]
    pub margin: Duration,
    /// Folder for the archive; made if it is missing
    #[arg(short = 'o', long = "output", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
    /// Event files, plain or compressed [default: output.path and what it was rotated to]
    #[arg(value_name = "EVENT-FILE", value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub configuration: Configuration,
}

/// What it is about.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Subject {
    /// The episode of a finding: anomaly.episode, 16 hexadecimal digits
    #[arg(long, value_name = "ID", value_parser = episode)]
    pub finding: Option<String>,
    /// Everything that a host did and that was done to it
    #[arg(long, value_name = "IP", requires = "since")]
    pub source: Option<IpAddr>,
}

const HELP: &str = "\
Examples:
  flowmeter evidence --finding 51d39a0c77e142b6 -o case-4711
  flowmeter evidence --source 192.168.56.30 --since 2026-04-26T11:00:00Z -o case-4711
  flowmeter evidence --finding 51d39a0c77e142b6 -o case-4711 archive/netflow-wazuh.json*

Makes DIR/flowmeter-evidence-<id>-<time>.tar.gz and its .sha256, both for the owner alone; an archive that is
there is never overwritten. README.txt in it says what it holds and how to verify it. Lines are copied byte for
byte. Exit code 1 if nothing was found, or if a file was damaged; what could be read of it is in the archive.";

fn episode(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16)
        .ok()
        .filter(|_| digits.len() == 16 && !digits.starts_with('+'))
        .map(|episode| format!("{episode:016x}"))
        .ok_or_else(|| "expected the 16 hexadecimal digits of anomaly.episode".to_owned())
}
