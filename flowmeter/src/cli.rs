//! The command line.

mod doctor;
mod evidence;
mod generate;
mod replay;
mod report;
mod wazuh;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use ipnet::IpNet;
use log::LevelFilter;
use toml::Value;

pub use self::{
    doctor::Doctor,
    evidence::{Evidence, Subject},
    generate::{Form, Generate},
    replay::Replay,
    report::{Report, ReportFormat},
    wazuh::{Age, Check, Install, Place, Wazuh, WazuhCommand},
};
use crate::config::{self, Flows, Mode, ObservedDirection, Override, Sources};

/// Counts every packet of every flow in the kernel (XDP, TC) and writes one JSON event a line for Wazuh.
#[derive(Debug, Parser)]
#[command(name = "flowmeter", version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Cli {
    /// How much is told on standard error
    #[arg(
        long,
        value_enum,
        value_name = "LEVEL",
        default_value_t,
        env = "FLOWMETER_LOG",
        global = true
    )]
    pub log_level: LogLevel,
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  flowmeter interfaces                 What can be metered on this host, and how
  flowmeter run -i eth0 -o -           Meter eth0, events on standard output
  flowmeter run                        Meter as /etc/flowmeter/flowmeter.toml says
  flowmeter replay --summary x.pcap    What is in this capture?
  flowmeter generate --scenario dns    What would a DNS tunnel look like?
  flowmeter explain finding.json       What does this finding mean, and what next?
  flowmeter report events.json -o r.html   What went on, as a page to read and print
  flowmeter doctor                     What works on this host?
  flowmeter wazuh check                Do the events become alerts?
  flowmeter check-config               Is the configuration right, and what does it change?

Exit codes:
  0  done    1  error    2  wrong usage    77  permission missing    78  bad configuration";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Meter interfaces and write events until stopped
    Run(Run),
    /// Meter packets and flows out of files, as if they passed now
    Replay(Replay),
    /// Make up traffic that detectors should find, to try rules, dashboards and detectors
    Generate(Generate),
    /// Say what findings mean: why they were raised, likely benign causes, what to look at next
    Explain(Explain),
    /// Make a page out of event files: network monitoring, anomaly detection, incident investigation
    Report(Report),
    /// Put what belongs to a finding or a host into one archive with checksums, for a ticket
    Evidence(Evidence),
    /// Set up Wazuh for the events, and find what keeps them from becoming alerts
    Wazuh(Wazuh),
    /// Tell what works on this host, what does not, and what to do about it
    Doctor(Doctor),
    /// Check the configuration and show what it changes
    CheckConfig(Configuration),
    /// Show which interfaces can be metered, how, and what holds them
    Interfaces(Interfaces),
    /// Print the default configuration, with comments
    PrintDefaultConfig,
    /// Print a completion script for a shell
    #[command(after_help = COMPLETIONS_HELP)]
    Completions { shell: Shell },
    /// Print the manual page (roff)
    #[command(after_help = "Example:\n  flowmeter man | man -l -")]
    Man,
}

const COMPLETIONS_HELP: &str = "\
Examples:
  flowmeter completions bash > /usr/share/bash-completion/completions/flowmeter
  flowmeter completions zsh > /usr/share/zsh/site-functions/_flowmeter";

#[derive(Debug, Args)]
#[command(after_help = RUN_HELP)]
pub struct Run {
    /// Interface name or glob; repeat for more [default: all that are up, each packet once]
    #[arg(short, long, value_name = "IF", help_heading = "Capture")]
    pub interface: Vec<String>,
    /// XDP or TC; auto takes native XDP on hardware that has it, TC on everything else [default: auto]
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "auto|xdp|tc",
        help_heading = "Capture"
    )]
    pub mode: Option<Mode>,
    /// Count what enters the interface, what leaves it, or both [default: both]
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "ingress|egress|both",
        help_heading = "Capture"
    )]
    pub direction: Option<ObservedDirection>,
    /// How often events are written, 100ms to 1h [default: 10s]
    #[arg(long, value_parser = config::duration, help_heading = "Capture")]
    pub interval: Option<Duration>,
    /// Flows per interval over all interfaces; sizes the kernel maps [default: 65536]
    #[arg(long, value_name = "N", help_heading = "Capture")]
    pub max_flows: Option<u32>,
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
    /// none [default: budget]
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "all|budget|findings-only",
        help_heading = "Events"
    )]
    pub flows: Option<Flows>,
    /// Event file, or - for standard output [default: /var/log/netflow/netflow-wazuh.json]
    #[arg(short, long, value_name = "FILE|-", value_hint = ValueHint::FilePath, help_heading = "Events")]
    pub output: Option<String>,
    /// Stop after this long, such as 60s [default: run until SIGTERM or Ctrl-C]
    #[arg(long, value_parser = lasting)]
    pub duration: Option<Duration>,
    #[command(flatten)]
    pub configuration: Configuration,
}

const RUN_HELP: &str = "\
Examples:
  flowmeter run -i eth0 -i 'ens*' --interval 5s
  flowmeter run -i eth0 --internal-networks 10.0.0.0/8,192.168.56.0/24
  flowmeter run -i span0 --mode xdp --set capture.drop_after_count=span0
  flowmeter run -i eth0 --duration 60s -o - | jq .network.bytes

Options win over the environment (FLOWMETER_CAPTURE_INTERVAL=5s), the environment over the file.
SIGHUP reads the configuration again. SIGTERM and Ctrl-C write what was counted, then end.";

#[derive(Debug, Args)]
#[command(after_help = EXPLAIN_HELP)]
pub struct Explain {
    /// Lines with findings, of the event file or of Wazuh's alerts.json, or a document copied out of the
    /// dashboard; - is standard input
    #[arg(value_name = "FINDING-FILE|-", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
}

const EXPLAIN_HELP: &str = "\
Examples:
  flowmeter explain finding.json
  grep 51d39a0c77e142b6 /var/log/netflow/netflow-wazuh.json | flowmeter explain -
  flowmeter generate --scenario dns --as events | flowmeter explain -

The start, the updates and the end of an episode make one report. Other events are passed over.";

#[derive(Debug, Args)]
pub struct Interfaces {
    /// Write JSON instead of a table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub configuration: Configuration,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Configuration")]
pub struct Configuration {
    /// Configuration file [default: /etc/flowmeter/flowmeter.toml, if it is there]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Set any key of the configuration, such as capture.sampling=10; repeat for more
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    Error,
    Warn,
    /// Also what an empty variable means: the same as an unset one.
    #[default]
    #[value(alias = "", help = None)]
    Info,
    Debug,
    Trace,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warn,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
            LogLevel::Trace => Self::Trace,
        }
    }
}

impl Configuration {
    /// The places to read it from, the environment of this process among them.
    pub fn sources(&self) -> Sources {
        Sources {
            file: self.config.clone(),
            environment: std::env::vars_os().collect(),
            set: self.set.clone(),
            options: Vec::new(),
        }
    }
}

impl Run {
    /// The same, with this command's own options on top.
    pub fn sources(&self) -> Sources {
        let mut options = Vec::new();
        let mut put = |option, key, value: Option<Value>| {
            options.extend(value.map(|value| Override { option, key, value }));
        };
        let interfaces = (!self.interface.is_empty()).then(|| list(self.interface.iter()));
        put("--interface", "capture.interfaces", interfaces);
        put("--mode", "capture.mode", self.mode.as_ref().map(name));
        put(
            "--direction",
            "capture.direction",
            self.direction.as_ref().map(name),
        );
        put("--interval", "capture.interval", self.interval.map(duration));
        put(
            "--max-flows",
            "capture.max_flows",
            self.max_flows.map(Value::from),
        );
        let networks = self.internal_networks.as_ref().map(list);
        put("--internal-networks", "networks.internal", networks);
        put("--flows", "output.flows", self.flows.as_ref().map(name));
        put("--output", "output.path", self.output.clone().map(Value::String));
        Sources {
            options,
            ..self.configuration.sources()
        }
    }
}

/// A run of no length would write nothing: a mistake in a script.
fn lasting(text: &str) -> Result<Duration, String> {
    match config::duration(text)? {
        Duration::ZERO => Err("it has to be longer than zero".to_owned()),
        duration => Ok(duration),
    }
}

/// A list as it would stand in the file.
fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> Value {
    let text = |item: T| Value::String(item.to_string());
    Value::Array(items.into_iter().map(text).collect())
}

fn duration(duration: Duration) -> Value {
    humantime::format_duration(duration).to_string().into()
}

/// The name that a choice has on the command line, which is the one in the file.
fn name(choice: &impl ValueEnum) -> Value {
    let name = choice
        .to_possible_value()
        .map(|value| value.get_name().to_owned());
    Value::String(name.unwrap_or_default())
}
