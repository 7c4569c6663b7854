//! The last stage: events as lines in the event file.

mod buffer;
pub mod event;
pub mod file;
mod regular;
mod stream;
mod summary;

use std::time::Instant;

use hashbrown::HashMap;

pub use event::{Encoder, IntervalFacts};
pub use file::{Closed, EventFile, FileAccount};
pub use summary::Summary;

use crate::{
    config::Config,
    detect::Finding,
    emit::event::{OutputFacts, Withheld},
    enrich::Enriched,
    flow::{InterfaceStatistics, Slice},
};

/// Writes events to the event file, and knows of each interface what did not get there.
#[derive(Debug)]
pub struct EventWriter {
    encoder: Encoder,
    file: EventFile,
    withheld: HashMap<u32, Withheld>,
    /// True once the last error stands in a statistics event.
    error_told: bool,
}

impl EventWriter {
    /// # Errors
    /// See [`EventFile::open`].
    pub fn open(config: &Config, now: Instant) -> anyhow::Result<Self> {
        Ok(Self {
            encoder: Encoder::new(config),
            file: EventFile::open(&config.output, now)?,
            withheld: HashMap::new(),
            error_told: false,
        })
    }

    /// Takes over what can change while the file stays open.
    pub fn reconfigure(&mut self, config: &Config) {
        self.encoder.reconfigure(config);
        self.file.reconfigure(&config.output);
    }

    /// See [`Encoder::mark_synthetic`].
    pub fn mark_synthetic(&mut self) {
        self.encoder.mark_synthetic();
    }

    /// Writes one flow event. What is withheld for lack of room stands in the interface's next statistics
    /// event; it still counts as exported there.
    pub fn flow(&mut self, slice: &Slice, enriched: &Enriched<'_>, interface: &str) {
        let encoder = &self.encoder;
        if !self
            .file
            .line(|out| encoder.flow(slice, enriched, interface, out))
        {
            let withheld = self.withheld.entry(slice.ifindex).or_default();
            withheld.lines += 1;
            withheld.packets += slice.packets();
            withheld.wire_bytes += slice.wire_bytes();
        }
    }

    /// Writes one finding event; call it before the interval's flows: where there is no room for all, the first lines
    /// survive.
    pub fn finding(&mut self, finding: &Finding) {
        let encoder = &self.encoder;
        if !self.file.line(|out| encoder.finding(finding, out)) {
            // Of no interface: it stands in the account of all lines.
            log::error!("a finding could not be written: {}", finding.message);
        }
    }

    /// Writes one interface's statistics event; call it after the interval's flows.
    pub fn statistics(&mut self, interface: &InterfaceStatistics, facts: &IntervalFacts<'_>) {
        let account = self.file.account();
        let last_error = account.last_error.clone();
        let output = OutputFacts {
            lines: account.lines,
            withheld_lines: account.withheld_lines,
            pending_bytes: self.file.pending_bytes() as u64,
            errors: account.errors,
            last_error: last_error.as_deref(),
            withheld: self.withheld.get(&interface.ifindex).copied().unwrap_or_default(),
        };
        let encoder = &self.encoder;
        if self
            .file
            .line(|out| encoder.statistics(interface, facts, &output, out))
        {
            self.withheld.remove(&interface.ifindex);
            self.error_told = true;
        } else {
            self.withheld.entry(interface.ifindex).or_default().lines += 1;
        }
    }

    /// Ends an interval: writes what waits, rotates when it is time.
    ///
    /// # Errors
    /// Only if standard output has lost its reader.
    pub fn flush(&mut self, now: Instant) -> Result<(), Closed> {
        if std::mem::take(&mut self.error_told) {
            self.file.take_error();
        }
        self.file.flush(now)
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

    /// The last flush; tells what became of all lines.
    ///
    /// # Errors
    /// How many lines are lost, and why.
    pub fn finish(self) -> anyhow::Result<FileAccount> {
        self.file.finish()
    }
}
