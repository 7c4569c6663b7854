//! Guessing passwords: many short accepted connections to one service. Not a finding of its own; a reason of
//! `possible_lateral_movement` inside, of `external_inbound_sensitive` from outside.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{
    contact::{Contact, Verdict},
    table::{Entry, Table},
};

/// How long guesses count.
const WINDOW_NS: u64 = 600_000_000_000;
/// Longer connections are sessions.
const SHORT_NS: u64 = 60_000_000_000;
/// As are larger ones, in bytes of either direction.
const SMALL: u64 = 16_384;
/// Sizes that are kept.
const SIZES: usize = 16;

/// Services that people log in to.
const LOGINS: [u16; 24] = [
    21, 22, 23, 25, 110, 143, 389, 445, 465, 587, 636, 993, 995, 1433, 1521, 2222, 3306, 3389, 5432, 5900,
    5901, 5985, 5986, 8022,
];
/// Services with many short connections by their nature.
const BUSY: [u16; 5] = [53, 80, 88, 443, 853];

/// One source at one service.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Guesses {
    /// Starts of the current and the previous window, and how many there were.
    window: u64,
    now: u32,
    before: u32,
    first_ns: u64,
    last_ns: u64,
    sizes: Vec<u16>,
    next: u8,
}

impl Entry for Guesses {
    fn suspicion(&self) -> u32 {
        self.now.max(self.before)
    }

    fn last_ns(&self) -> u64 {
        self.last_ns
    }
}

/// What guessing looks like once it is enough.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guessing {
    pub(super) count: u64,
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
    /// All connections are about the same size.
    pub(super) uniform: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Guess {
    table: Table<(IpAddr, IpAddr, u16), Guesses>,
}

impl Guess {
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            table: Table::with_bytes(bytes, 2 * SIZES),
        }
    }

    pub(super) fn adopt(&mut self, other: Self) {
        self.table.adopt(other.table);
    }

    pub(super) fn usage(&self) -> (usize, usize, u64) {
        (self.table.len(), self.table.capacity(), self.table.evicted())
    }

    pub(super) fn tick(&mut self, now_ns: u64) {
        self.table
            .retain(|guesses| guesses.last_ns.saturating_add(2 * WINDOW_NS) > now_ns);
    }

    /// Takes a connection that has ended; tells if there were `least` or more like it.
    pub(super) fn closed(&mut self, contact: &Contact, least: u32) -> Option<Guessing> {
        let short = contact.last_ns.saturating_sub(contact.start_ns) <= SHORT_NS;
        let small = contact.sent.bytes.max(contact.received.bytes) <= SMALL;
        // Data went both ways: a scanner that hangs up at once guesses nothing.
        let talked = contact.sent.packets >= 3 && contact.received.packets >= 3;
        if !contact.is_tcp()
            || !contact.fresh()
            || contact.verdict != Verdict::Accepted
            || !short
            || !small
            || !talked
            || BUSY.contains(&contact.port)
        {
            return None;
        }
        let login = LOGINS.contains(&contact.port);
        // Where no login is known, only below 1024 (services of the system), and only alike and fast.
        if !login && contact.port >= 1024 {
            return None;
        }
        let guesses = self
            .table
            .entry((contact.source, contact.target, contact.port), || Guesses {
                first_ns: contact.start_ns,
                ..Guesses::default()
            });
        let window = contact.start_ns / WINDOW_NS;
        if window > guesses.window {
            guesses.before = if window == guesses.window + 1 {
                guesses.now
            } else {
                0
            };
            guesses.now = 0;
            guesses.window = window;
            if guesses.before == 0 {
                guesses.first_ns = contact.start_ns;
            }
        }
        guesses.now += 1;
        guesses.first_ns = guesses.first_ns.min(contact.start_ns);
        guesses.last_ns = guesses.last_ns.max(contact.last_ns);
        let size = u16::try_from(contact.sent.bytes).unwrap_or(u16::MAX);
        if guesses.sizes.len() < SIZES {
            guesses.sizes.push(size);
        } else if let Some(place) = guesses.sizes.get_mut(usize::from(guesses.next)) {
            *place = size;
        }
        guesses.next = (guesses.next + 1) % 16;
        let count = guesses.now + guesses.before;
        let mut sizes = guesses.sizes.clone();
        sizes.sort_unstable();
        let quarter = |quarter: usize| sizes.get(sizes.len() * quarter / 4).copied().unwrap_or(u16::MAX);
        let uniform = sizes.len() >= 8 && quarter(3) - quarter(1) <= quarter(2) / 4;
        let span_ns = guesses.last_ns.saturating_sub(guesses.first_ns).max(1);
        let fast = u64::from(count) * 1_500_000_000 >= span_ns;
        let enough = if login {
            count >= least
        } else {
            count >= least.saturating_mul(2) && fast
        };
        enough.then_some(Guessing {
            count: count.into(),
            first_ns: guesses.first_ns,
            last_ns: guesses.last_ns,
            uniform,
        })
    }
}
