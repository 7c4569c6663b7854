//! The last stage: events as lines in the event file.

mod budget;
mod buffer;
pub mod event;
pub mod file;
mod groups;
mod merge;
mod regular;
mod stream;
mod summary;

use std::time::Instant;

use hashbrown::HashMap;

pub use budget::Budget;
pub use event::{Encoder, IntervalFacts};
pub use file::{Closed, EventFile, FileAccount};
pub use merge::{FlowSummary, Volume};
pub use summary::Summary;

use crate::{
    config::{Config, Output},
    detect::Finding,
    emit::event::{FileFacts, OutputFacts, Withheld},
    enrich::Enriched,
    flow::{InterfaceStatistics, Slice},
};

/// Writes events to the event file, and knows of each interface what did not get there.
#[derive(Debug)]
pub struct EventWriter {
    encoder: Encoder,
    file: EventFile,
    /// Takes every flow, whatever the event file takes.
    all_flows: Option<EventFile>,
    accounts: HashMap<u32, Account>,
    /// True once the last error stands in a statistics event.
    error_told: bool,
}

/// What has to be told about an interface.
#[derive(Debug, Default)]
struct Account {
    /// Of the flows that the last statistics event has told as exported.
    withheld: Withheld,
    /// The statistics events that were withheld since, and what was withheld with them: their flows.
    untold: Option<(InterfaceStatistics, Withheld)>,
}

impl EventWriter {
    /// # Errors
    /// See [`EventFile::open`].
    pub fn open(config: &Config, now: Instant) -> anyhow::Result<Self> {
        let output = &config.output;
        let all_flows = (!output.all_flows_path.as_os_str().is_empty()).then(|| Output {
            path: output.all_flows_path.clone(),
            ..output.clone()
        });
        Ok(Self {
            encoder: Encoder::new(config),
            file: EventFile::open(output, now)?,
            all_flows: all_flows
                .map(|output| EventFile::open(&output, now))
                .transpose()?,
            accounts: HashMap::new(),
            error_told: false,
        })
    }

    /// Takes over what can change while the files stay open.
    pub fn reconfigure(&mut self, config: &Config) {
        self.encoder.reconfigure(config);
        self.file.reconfigure(&config.output);
        if let Some(file) = &mut self.all_flows {
            file.reconfigure(&config.output);
        }
    }

    /// See [`Encoder::mark_synthetic`].
    pub fn mark_synthetic(&mut self) {
        self.encoder.mark_synthetic();
    }

    /// Writes one flow event; call it after the statistics of its interval. What is withheld for lack of room stands
    /// in the interface's next statistics event; it still counts as exported.
    pub fn flow(&mut self, slice: &Slice, enriched: &Enriched<'_>, interface: &str) {
        let encoder = &self.encoder;
        let (packets, wire_bytes) = (slice.packets(), slice.wire_bytes());
        let line = |file: &mut EventFile| flow(encoder, slice, enriched, interface, file);
        traffic(
            &mut self.file,
            &mut self.accounts,
            slice.ifindex,
            (packets, wire_bytes),
            line,
        );
    }

    /// Writes the event of flows that were merged, as [`EventWriter::flow`] does. `service` is the name of their port.
    pub fn summary(&mut self, summary: &FlowSummary, service: Option<&str>, interface: &str) {
        let encoder = &self.encoder;
        let (packets, wire_bytes) = (summary.packets(), summary.wire_bytes);
        let line = |file: &mut EventFile| file.line(|out| encoder.summary(summary, service, interface, out));
        traffic(
            &mut self.file,
            &mut self.accounts,
            summary.ifindex,
            (packets, wire_bytes),
            line,
        );
    }

    /// True if there is a file for [`EventWriter::any_flow`].
    pub const fn takes_all_flows(&self) -> bool {
        self.all_flows.is_some()
    }

    /// Writes one flow event to the file that takes every flow.
    pub fn any_flow(&mut self, slice: &Slice, enriched: &Enriched<'_>, interface: &str) {
        if let Some(file) = &mut self.all_flows {
            // What it withholds stands in its own account.
            flow(&self.encoder, slice, enriched, interface, file);
        }
    }

    /// Writes one finding event; call it before the interval's statistics: where there is no room for all, the first
    /// lines survive.
    pub fn finding(&mut self, finding: &Finding) {
        let encoder = &self.encoder;
        if !self.file.line(|out| encoder.finding(finding, out)) {
            // Of no interface: it stands in the account of all lines.
            log::error!("a finding could not be written: {}", finding.message);
        }
    }

    /// Writes one interface's statistics event; call it before the interval's flows. If it is withheld, so are they,
    /// and the next one tells both intervals: what follows it is what it tells.
    pub fn statistics(&mut self, interface: &InterfaceStatistics, facts: &IntervalFacts<'_>) {
        let account = self.accounts.entry(interface.ifindex).or_default();
        let untold = account.untold.take();
        let later = untold.as_ref().map(|(_, withheld)| *withheld).unwrap_or_default();
        let merged = untold.map(|(mut earlier, _)| {
            earlier.merge(interface);
            earlier
        });
        let interface = merged.as_ref().unwrap_or(interface);
        let output = OutputFacts {
            file: facts_of(&self.file),
            all_flows: self.all_flows.as_ref().map(facts_of),
            withheld: account.withheld,
        };
        let encoder = &self.encoder;
        let mut line = Vec::new();
        let encoded = encoder.statistics(interface, facts, &output, &mut line);
        if self.file.line(|out| {
            encoded?;
            out.extend_from_slice(&line);
            Ok(())
        }) {
            account.withheld = later;
            self.error_told = true;
        } else {
            account.withheld.lines += 1;
            account.untold = Some((interface.clone(), later));
        }
    }

    /// Ends an interval: writes what waits, rotates when it is time.
    ///
    /// # Errors
    /// Only if standard output has lost its reader.
    pub fn flush(&mut self, now: Instant) -> Result<(), Closed> {
        let told = std::mem::take(&mut self.error_told);
        for file in std::iter::once(&mut self.file).chain(&mut self.all_flows) {
            if told {
                file.take_error();
            }
            file.flush(now)?;
        }
        Ok(())
    }

    /// Keeps all events in memory until [`EventWriter::release`].
    pub fn hold(&mut self) {
        self.file.hold();
    }

    /// Takes events, whole lines, that an earlier run has made and not written.
    pub fn resume(&mut self, events: &[u8]) {
        if let Some(events) = events.strip_suffix(b"\n") {
            self.file.line(|out| {
                out.extend_from_slice(events);
                Ok(())
            });
        }
    }

    /// The events that wait to be written, whole lines.
    pub fn pending(&self) -> &[u8] {
        self.file.pending()
    }

    /// Writes what was held, and holds what comes next.
    ///
    /// # Errors
    /// As [`EventWriter::flush`].
    pub fn release(&mut self, now: Instant) -> Result<(), Closed> {
        self.file.release(now)
    }

    /// The last flush; tells what became of all lines of the event file.
    ///
    /// # Errors
    /// How many lines of it, or of the file that takes every flow, are lost, and why.
    pub fn finish(self) -> anyhow::Result<FileAccount> {
        let all_flows = self.all_flows.map(EventFile::finish).transpose();
        let account = self.file.finish()?;
        all_flows?;
        Ok(account)
    }
}

/// False if the line is withheld.
fn flow(
    encoder: &Encoder,
    slice: &Slice,
    enriched: &Enriched<'_>,
    interface: &str,
    file: &mut EventFile,
) -> bool {
    file.line_into(
        |room| encoder.flow_into(slice, enriched, interface, room),
        |out| encoder.flow_by_serde(slice, enriched, interface, out),
    )
}

/// Writes a line that stands for `packets` and `wire_bytes` of an interface, or notes that it is withheld.
fn traffic(
    file: &mut EventFile,
    accounts: &mut HashMap<u32, Account>,
    ifindex: u32,
    (packets, wire_bytes): (u64, u64),
    line: impl FnOnce(&mut EventFile) -> bool,
) {
    let account = accounts.get_mut(&ifindex);
    let untold = account.is_some_and(|account| account.untold.is_some());
    if untold {
        file.withhold();
    } else if line(file) {
        return;
    }
    let account = accounts.entry(ifindex).or_default();
    let withheld = match &mut account.untold {
        Some((_, withheld)) => withheld,
        None => &mut account.withheld,
    };
    withheld.lines += 1;
    withheld.packets += packets;
    withheld.wire_bytes += wire_bytes;
}

fn facts_of(file: &EventFile) -> FileFacts<'_> {
    let account = file.account();
    FileFacts {
        lines: account.lines,
        withheld_lines: account.withheld_lines,
        pending_bytes: file.pending_bytes() as u64,
        errors: account.errors,
        last_error: account.last_error.as_deref(),
    }
}
