//! The options of `flowmeter generate`.

use std::{path::PathBuf, time::Duration};

use clap::{
    Args, ValueEnum, ValueHint,
    builder::{PossibleValue, PossibleValuesParser, RangedI64ValueParser},
    value_parser,
};
use jiff::Timestamp;
use toml::Value;

use super::Configuration;
use crate::{
    config::{Override, Sources},
    generate::{self, pcap},
};

/// A Monday morning. Fixed, so that the same command makes the same bytes.
const DEFAULT_START: &str = "2026-01-05T08:00:00Z";

#[derive(Debug, Args)]
#[command(after_help = help())]
pub struct Generate {
    /// What happens: a scenario or the tag of its detector, as listed below, or all of them together
    #[arg(long, value_parser = scenario(), hide_possible_values = true)]
    pub scenario: String,
    /// Scale it: so many ports, contacts, ... as listed below [default: as listed]
    #[arg(long, value_name = "N", value_parser = count())]
    pub count: Option<u32>,
    /// When it begins: RFC 3339, to the microsecond
    #[arg(long, value_name = "TIME", value_parser = start, default_value = DEFAULT_START)]
    pub start: Duration,
    /// IPv6 addresses instead of IPv4
    #[arg(long)]
    pub ipv6: bool,
    /// File that the events are appended to, or - [default: - (standard output); nothing with --pcap or --send]
    #[arg(short, long, value_name = "FILE|-", value_hint = ValueHint::FilePath, help_heading = "Events")]
    pub output: Option<String>,
    /// Flow records alone, or all that the agent would write, findings among it [default: flows]
    #[arg(
        long = "as",
        value_enum,
        hide_possible_values = true,
        value_name = "flows|events",
        help_heading = "Events"
    )]
    pub form: Option<Form>,
    /// Write the packets to a capture
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Packets")]
    pub pcap: Option<PathBuf>,
    /// Send the packets on an interface, each at its time; only private and documentation addresses are sent
    #[arg(long, value_name = "IF", help_heading = "Packets")]
    pub send: Option<String>,
    /// Send so many times as fast
    #[arg(
        long,
        value_name = "X",
        requires = "send",
        default_value = "1",
        value_parser = speed,
        help_heading = "Packets"
    )]
    pub speed: f64,
    #[command(flatten)]
    pub configuration: Configuration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    Flows,
    Events,
}

fn help() -> String {
    format!(
        "Scenarios:\n{}\nWhat happens:\n{}  all               all of these, beginning at the same time\n{HELP}",
        generate::table(),
        generate::descriptions()
    )
}

const HELP: &str = "
Examples:
  flowmeter generate --scenario port_scan | jq .flow
  flowmeter generate --scenario all --start \"$(date -uIs)\" -o events.json
  flowmeter generate --scenario dns --pcap dns.pcap
  flowmeter generate --scenario beaconing --send veth0 --speed 60

Nothing is sent without --send. Every event carries labels.synthetic; none carries
a tag, since finding the pattern is the detectors' work. The same arguments give
the same bytes. Where --count is small, a detector may rightly find nothing.

Hosts inside are taken from networks.internal: from 192.168.56.0/24 (fd00:56::/64)
if it covers that, else from its first network of such a size. Hosts outside have
documentation addresses: 203.0.113.0/24, 198.51.100.0/24, 192.0.2.0/24
(2001:db8::/32). Frames carry MAC addresses that no host has.

The file of a running agent can be appended to: both keep to the same lock.";

fn scenario() -> PossibleValuesParser {
    let scenarios = generate::SCENARIOS.iter().map(|scenario| {
        let tag = (scenario.tag != scenario.name).then_some(scenario.tag);
        PossibleValue::new(scenario.name).help(scenario.what).aliases(tag)
    });
    let all = PossibleValue::new(generate::ALL).help("all of them, beginning at the same time");
    scenarios.chain([all]).collect::<Vec<_>>().into()
}

fn count() -> RangedI64ValueParser<u32> {
    value_parser!(u32).range(generate::COUNTS)
}

/// Since the Unix epoch, in whole microseconds, as captures hold it.
fn start(text: &str) -> Result<Duration, String> {
    let time: Timestamp = text
        .parse()
        .map_err(|_| "expected RFC 3339, such as 2026-04-26T11:45:20Z".to_owned())?;
    u64::try_from(time.as_microsecond())
        .map(Duration::from_micros)
        .ok()
        .filter(|start| *start <= pcap::LATEST_START)
        .ok_or_else(|| "it has to be between 1970 and 2100".to_owned())
}

fn speed(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|speed: &f64| speed.is_finite() && *speed > 0.0)
        .ok_or_else(|| "expected a number over 0, such as 0.5 or 60".to_owned())
}

impl Generate {
    /// Where events go; `None` if only packets are wanted. Never where the configuration says, unless asked for.
    pub fn events(&self) -> Option<&str> {
        match &self.output {
            Some(output) => Some(output),
            None if self.form.is_some() || (self.pcap.is_none() && self.send.is_none()) => Some("-"),
            None => None,
        }
    }

    /// The places to read the configuration from, this command's own options on top.
    pub fn sources(&self) -> Sources {
        let output = self.events().map(|output| Override {
            option: "--output",
            key: "output.path",
            value: Value::String(output.to_owned()),
        });
        Sources {
            options: output.into_iter().collect(),
            ..self.configuration.sources()
        }
    }
}
