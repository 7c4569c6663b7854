//! The options of `flowmeter report`.

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, ValueEnum, ValueHint};
use jiff::Timestamp;

use crate::report::Kind;

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct Report {
    /// Event files of this program, plain or compressed (gzip, zstd); - is standard input
    #[arg(required = true, value_name = "EVENTS|-", value_hint = ValueHint::FilePath)]
    pub events: Vec<PathBuf>,
    /// Where the report goes, or - for standard output; its ending (.html, .md) tells the format
    #[arg(short, long, default_value = "-", value_name = "FILE|-", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,
    /// One self-contained page, or Markdown [default: by the ending of the file, else html]
    #[arg(long, value_enum, hide_possible_values = true, value_name = "html|md")]
    pub format: Option<ReportFormat>,
    /// What it is for
    #[arg(long, value_enum, default_value_t)]
    pub kind: Kind,
    /// The finding that an incident report is about: its anomaly.episode [default: the highest score]
    #[arg(long, value_name = "ID", conflicts_with = "source")]
    pub finding: Option<String>,
    /// The same, by its source: the one with the highest score
    #[arg(long, value_name = "IP")]
    pub source: Option<IpAddr>,
    /// Leave out what is earlier than this: RFC 3339, such as 2026-04-26T08:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<Timestamp>,
    /// Leave out what is later than this
    #[arg(long, value_name = "TIME")]
    pub until: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    Html,
    #[value(alias = "markdown")]
    Md,
}

const HELP: &str = "\
Examples:
  flowmeter report /var/log/netflow/netflow-wazuh.json* -o week.html
  flowmeter report --kind anomalies events.json -o findings.md
  flowmeter report --kind incident --finding 51d39a0c77e142b6 events.json -o ticket.html
  flowmeter replay mirror.pcap | flowmeter report - -o mirror.html

The page needs nothing else: no network, no script; it follows the screen's light or dark and prints.
--finding and --source ask for an incident. Lines that cannot be read are told in the report, and are
no failure.";

impl Report {
    /// As wanted, else as the output's name ends.
    ///
    /// # Errors
    /// An ending that tells no format.
    pub fn format(&self) -> Result<ReportFormat, String> {
        if let Some(format) = self.format {
            return Ok(format);
        }
        if self.output.as_os_str() == "-" {
            return Ok(ReportFormat::Html);
        }
        let ending = self.output.extension().and_then(|ending| ending.to_str());
        match ending.map(str::to_ascii_lowercase).as_deref() {
            Some("html" | "htm") => Ok(ReportFormat::Html),
            Some("md" | "markdown") => Ok(ReportFormat::Md),
            _ => Err(format!(
                "the name {} does not end in .html or .md: say --format html or --format md",
                self.output.display()
            )),
        }
    }

    /// Naming a finding asks for an incident.
    pub fn kind(&self) -> Kind {
        if self.finding.is_some() || self.source.is_some() {
            Kind::Incident
        } else {
            self.kind
        }
    }
}
