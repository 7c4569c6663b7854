//! After how long without a packet a connection is over.

use std::time::Duration;

use flowmeter_common::flow::protocol::TCP;

use super::queue::Queue;
use crate::config;

/// How long a finished TCP connection must be quiet before its end is written.
///
/// A lost last segment is repeated within this on all but the slowest paths (RFC 6298: the timer starts at
/// 1 s); what comes later all the same is a straggler.
pub(super) const QUIET_NS: u64 = 1_000_000_000;

/// How long packets still belong to a TCP connection whose end was written: Linux's `TCP_TIMEWAIT_LEN`.
pub(super) const LINGER_NS: u64 = 60_000_000_000;

/// The configured timeouts, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    tcp_idle_ns: u64,
    other_idle_ns: u64,
    pub(super) active_ns: u64,
}

impl Timeouts {
    pub(super) fn new(track: &config::Track) -> Self {
        let nanoseconds = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self {
            tcp_idle_ns: nanoseconds(track.tcp_idle_timeout),
            other_idle_ns: nanoseconds(track.idle_timeout),
            active_ns: nanoseconds(track.active_timeout),
        }
    }

    pub(super) const fn idle_ns(&self, protocol: u8) -> u64 {
        match protocol {
            TCP => self.tcp_idle_ns,
            _ => self.other_idle_ns,
        }
    }

    /// How long a connection stays in a queue.
    pub(super) const fn wait_ns(&self, queue: Queue) -> u64 {
        match queue {
            Queue::Tcp => self.tcp_idle_ns,
            Queue::Other => self.other_idle_ns,
            Queue::Closing => QUIET_NS,
            Queue::Lingering => LINGER_NS,
        }
    }
}
