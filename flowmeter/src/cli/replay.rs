//! The options of `flowmeter replay`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueHint};
use ipnet::IpNet;
use jiff::Timestamp;
use toml::Value;

use super::{Configuration, duration, list, name};
use crate::config::{self, Flows, Override, Sources};

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct Replay {
    /// Captures (pcap, pcapng), plain or compressed (gzip, zstd); folders are walked; - is standard input
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub files: Vec<PathBuf>,
    /// Leave out what is later than this: RFC 3339, such as 2026-04-26T12:00:00Z
    #[arg(long, value_name = "TIME", help_heading = "Capture")]
    pub until: Option<Timestamp>,
    /// Length of an interval, by the time of the packets, 100ms to 1h [default: 10s]
    #[arg(long, value_parser = config::duration, help_heading = "Capture")]
    pub interval: Option<Duration>,
    /// Networks that count as inside [default: private and link-local ones]
    #[arg(
        long,
        value_name = "CIDR,...",
        value_delimiter = ',',
        value_parser = config::network,
        help_heading = "Events"
    )]
    pub internal_networks: Option<Vec<IpNet>>,
    /// Which flows are written [default: all]
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "all",
        help_heading = "Events"
    )]
    pub flows: Option<Flows>,
    /// File that the events are appended to, or - [default: - (standard output), nothing with --summary]
    #[arg(short, long, value_name = "FILE|-", value_hint = ValueHint::FilePath, help_heading = "Events")]
    pub output: Option<String>,
    /// Print what was in the files: totals, top talkers, services, what could not be counted
    #[arg(long, help_heading = "Events")]
    pub summary: bool,
    #[command(flatten)]
    pub configuration: Configuration,
}

const HELP: &str = "\
Examples:
  flowmeter replay --summary mirror.pcap           What is in it?
  flowmeter replay mirror.pcapng | jq .flow        The events that the agent would have written
  flowmeter replay day/ -o day.json --until 2026-04-26T12:00:00Z
  zcat old.pcap.gz | flowmeter replay -

Files are merged by time and read once, with the same code as `flowmeter run`; the same files
give the same bytes. Exit code 1 if a file was damaged; what could be read of it is used.";

impl Replay {
    /// Where events go: never where the configuration says, which is the running agent's file.
    fn destination(&self) -> String {
        match &self.output {
            Some(output) => output.clone(),
            None if self.summary => "/dev/null".to_owned(),
            None => "-".to_owned(),
        }
    }

    /// The places to read the configuration from, this command's own options on top.
    pub fn sources(&self) -> Sources {
        let mut options = Vec::new();
        let mut put = |option, key, value: Option<Value>| {
            options.extend(value.map(|value| Override { option, key, value }));
        };
        let networks = self.internal_networks.as_ref().map(list);
        put("--interval", "capture.interval", self.interval.map(duration));
        put("--internal-networks", "networks.internal", networks);
        put("--flows", "output.flows", self.flows.as_ref().map(name));
        put("--output", "output.path", Some(self.destination().into()));
        Sources {
            options,
            ..self.configuration.sources()
        }
    }
}
