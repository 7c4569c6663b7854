//! Anomalies in connections: slices in, findings out.
//!
//! Pure: no clock, no randomness, no I/O. Time is that of the packets. The same slices give the same findings
//! whatever order a batch has, and findings about the same hosts whatever the drain interval.

mod finding;

pub use finding::{Baseline, Confidence, Count, Finding, Period, Phase, Reason, SAMPLE, Tag, Visibility};

use crate::{config::Config, enrich::Direction, flow::Slice};

/// All detectors and what they remember.
#[derive(Debug)]
pub struct Engine {
    findings: Vec<Finding>,
}

impl Engine {
    pub fn new(_config: &Config) -> Self {
        Self { findings: Vec::new() }
    }

    /// Takes one slice; `unicast` is false if its responder is a multicast or broadcast address. Nothing is
    /// decided before [`Engine::advance`].
    pub fn feed(&mut self, _slice: &Slice, _direction: Direction, _unicast: bool) {}

    /// Packets that were not counted since the last [`Engine::advance`], told in findings.
    pub fn note_loss(&mut self, _packets: u64) {}

    /// Everything up to `watermark_ns` was fed.
    pub fn advance(&mut self, _watermark_ns: u64) {}

    /// The findings since the last call, in the order in which they were made.
    pub fn drain(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }
}
