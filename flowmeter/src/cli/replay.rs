//! The options of `flowmeter replay`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueHint};
use ipnet::IpNet;
use jiff::Timestamp;
use toml::Value;

use super::{Configuration, duration, list, name};
use crate::{
    capture::format::Format,
    config::{self, Flows, Override, Sources},
};

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct Replay {
    /// Captures (pcap, pcapng) and flow logs (pmacct, Zeek, flowmeter), plain or compressed (gzip,
    /// zstd); folders are walked; - is standard input
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub files: Vec<PathBuf>,
    /// What the files are [default: auto, by the content of each]
    #[arg(
        long,
        value_enum,
        default_value_t,
        hide_default_value = true,
        hide_possible_values = true,
        value_name = "auto|pcap|pmacct|zeek|flowmeter",
        help_heading = "Capture"
    )]
    pub format: Format,
    /// Time of records that have none: RFC 3339 [default: when the file was changed last]
    #[arg(long, value_name = "TIME", help_heading = "Capture")]
    pub start: Option<Timestamp>,
    /// Leave out what is later than this: RFC 3339, such as 2026-04-26T12:00:00Z
    #[arg(long, value_name = "TIME", help_heading = "Capture")]
    pub until: Option<Timestamp>,
    /// Go on with what another program appends to the file, across its rotation, until SIGTERM or
    /// Ctrl-C; --state keeps the place
    #[arg(long, requires = "state", conflicts_with_all = ["until", "summary"], help_heading = "Capture")]
    pub follow: bool,
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
    /// Which flows are written: all, as many as the Wazuh agent carries and the others merged, or
    /// none [default: all]
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "all|budget|findings-only",
        help_heading = "Events"
    )]
    pub flows: Option<Flows>,
    /// File that the events are appended to, or - [default: - (standard output), nothing with --summary]
    #[arg(short, long, value_name = "FILE|-", value_hint = ValueHint::FilePath, help_heading = "Events")]
    pub output: Option<String>,
    /// Print what was in the files: totals, top talkers, services, what could not be counted
    #[arg(long, help_heading = "Events")]
    pub summary: bool,
    /// What detection learned before, and where it is kept; the place in a followed file beside it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Events")]
    pub state: Option<PathBuf>,
    #[command(flatten)]
    pub configuration: Configuration,
}

const HELP: &str = "\
Examples:
  flowmeter replay --summary mirror.pcap           What is in it?
  flowmeter replay mirror.pcapng | jq .flow        The events that the agent would have written
  flowmeter replay day/ -o day.json --until 2026-04-26T12:00:00Z
  zcat old.pcap.gz | flowmeter replay -
  flowmeter replay --follow /var/log/pmacct/flows.json --state /var/lib/flowmeter/pmacct \\
      -o /var/log/netflow/netflow-wazuh.json       Events from pmacctd's, nfacctd's or sfacctd's log

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
        // Nobody has to carry the lines at once, whatever the running agent is told; and its files are its own.
        put(
            "--flows",
            "output.flows",
            Some(name(&self.flows.unwrap_or(Flows::All))),
        );
        put("--output", "output.path", Some(self.destination().into()));
        put("replay", "output.all_flows_path", Some("".into()));
        // Nothing here was sampled by this program, whatever the agent does.
        put("replay", "capture.sampling", Some(1.into()));
        let mut sources = self.configuration.sources();
        if self.state.is_none() {
            // Nothing was learned before, and a capture is too short to learn from. Who sets it, wins.
            sources.set.insert(0, "detect.learning=0s".to_owned());
        }
        Sources { options, ..sources }
    }
}
