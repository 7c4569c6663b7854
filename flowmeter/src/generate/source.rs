//! Packets as the source of a replay: metered as if they had been read from a capture.

use std::time::Duration;

use flowmeter_common::Link;

use super::{
    frame,
    packets::{Packet, Packets},
};
use crate::capture::{
    problem::Problem,
    replay::{Gathered, Interfaces, Source},
};

/// The observation point that stands in events.
pub const INTERFACE: &str = "generated";

pub struct GeneratedSource {
    packets: Packets,
    /// Since the Unix epoch.
    start: Duration,
    current: Option<Packet>,
    frame: Vec<u8>,
}

impl GeneratedSource {
    /// `start` is since the Unix epoch.
    pub fn new(packets: Packets, start: Duration) -> Self {
        Self {
            packets,
            start,
            current: None,
            frame: Vec::with_capacity(frame::MAX_BYTES),
        }
    }

    fn time_ns(&self, packet: &Packet) -> u64 {
        u64::try_from((self.start + packet.after).as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Source for GeneratedSource {
    fn advance(&mut self) -> Result<Option<u64>, Problem> {
        self.current = self.packets.next();
        Ok(self.current.map(|packet| self.time_ns(&packet)))
    }

    fn count(&mut self, into: &mut Gathered, interfaces: &mut Interfaces) -> Option<Problem> {
        let packet = self.current?;
        frame::write(&packet, &mut self.frame);
        // A frame is far shorter than that.
        let length = u32::try_from(self.frame.len()).unwrap_or(u32::MAX);
        let ifindex = interfaces.ifindex(INTERFACE);
        into.flows.frame(
            ifindex,
            Link::Ethernet,
            &self.frame,
            length,
            self.time_ns(&packet),
        );
        None
    }
}
