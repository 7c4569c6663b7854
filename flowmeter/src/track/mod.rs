//! The connection table: flow records in, one slice for each connection and interval out.
//!
//! Pure: no clock, no I/O, no randomness. Times are those of the packets and the `now_ns` of the caller,
//! nanoseconds since the Unix epoch.
//!
//! - **Exact.** Every packet of every record is in exactly one slice, so sums over slices are sums over
//!   records, whatever the interval and however small the table.
//! - **Independent of order.** Records only add up until the interval closes; everything is decided then, from
//!   both directions' sums. Shuffled records and early drains give the same slices, unless the table is full:
//!   who has to leave is known only while records come in.
//! - **Initiator.** Decided once, at the first close: whatever shows it (SYN, SYN-ACK) stands at a
//!   connection's start, so nothing surer comes later. It stays over an active timeout.
//! - **End.** The last slice of a connection has `end`:
//!   - An idle timeout and the end of a quiet, finished TCP connection (FIN from both ends, or RST) are written
//!     as a slice without traffic, unless they are already known when the slice with the last traffic is.
//!   - A finished connection is quiet after 1 s without a packet. It lingers for 60 s more: a packet that comes
//!     late makes a further slice with the same id, and `end` again. So `end` may stand in more than one slice
//!     of a TCP connection, but no slice without it follows one with it.
//!   - If an end that had closed or reset sends new data (PSH) in a later interval, the connection had not
//!     finished: it goes on, as a new record with the same initiator if its end was already written.
//!   - After an active timeout the next packet opens a new record: new id and start, same initiator and basis,
//!     same outcome so far.
//! - **Port reuse.** A SYN on a finished connection opens a new one. What was counted in one interval cannot be
//!   split: if the old connection finishes in the very interval in which the new one begins, they are one.

mod connection;
mod initiator;
mod key;
mod outcome;
mod queue;
mod table;
mod timeouts;
mod traffic;

use connection::Connection;
use flowmeter_common::FlowKey;
use key::{Side, connection_key};
use queue::Queue;
use table::{KeyHash, Table};
use timeouts::Timeouts;
use traffic::{Place, Traffic};

use crate::{
    config,
    flow::{EndReason, FlowRecord, Slice},
};

/// Records that are looked up together.
const BLOCK: usize = 32;

/// Where a record belongs.
#[derive(Clone, Copy, Debug)]
struct Found {
    key: FlowKey,
    hash: KeyHash,
    side: Side,
    slot: Option<u32>,
}

impl Default for Found {
    fn default() -> Self {
        Self {
            key: FlowKey::default(),
            hash: KeyHash::default(),
            side: Side::Source,
            slot: None,
        }
    }
}

/// A connection whose slice of the interval is made.
#[derive(Debug)]
struct Settled {
    start_ns: u64,
    id: u64,
    place: Place,
    slot: u32,
    queue: Queue,
}

/// How full the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Connections now, less those whose end is written and which only wait for stragglers: these make room
    /// before anything else does.
    pub connections: usize,
    /// Room for connections, both kinds together.
    pub capacity: usize,
    /// Connections ended for lack of room since the tracker was made: as many slices have
    /// [`EndReason::LackOfResources`].
    pub evicted: u64,
}

/// The connection table.
#[derive(Debug)]
pub struct Tracker {
    table: Table,
    timeouts: Timeouts,
    capacity: usize,
    evicted: u64,
    /// Of this interval. Connections that have some are in no queue.
    traffic: Traffic,
    /// The same by start and id, while the interval closes; kept for its memory.
    ordered: Vec<Settled>,
    /// Last packet of a record of this interval, the earliest of all.
    earliest_ns: u64,
    /// The last close.
    closed_ns: u64,
}

impl Tracker {
    pub fn new(track: &config::Track) -> Self {
        Self {
            table: Table::new(),
            timeouts: Timeouts::new(track),
            capacity: capacity(track),
            evicted: 0,
            traffic: Traffic::default(),
            ordered: Vec::new(),
            earliest_ns: u64::MAX,
            closed_ns: 0,
        }
    }

    /// Takes over changed settings. A smaller table is made so by the next new connections.
    pub fn reconfigure(&mut self, track: &config::Track) {
        self.timeouts = Timeouts::new(track);
        self.capacity = capacity(track);
    }

    /// Adds records to their connections, as often in an interval as there are drains.
    ///
    /// Where a new connection finds the table full, the one that has been idle the longest ends early and its
    /// slice is pushed to `evicted`, with its traffic of this interval. A record without packets is no traffic. The room
    /// of `evicted` may be taken while it is empty; a close gives it back with slices in it.
    pub fn ingest(&mut self, records: &[FlowRecord], evicted: &mut Vec<Slice>) {
        self.traffic.reuse(evicted);
        for block in records.chunks(BLOCK) {
            // Looked up one after another before anything is counted: the waits for memory overlap.
            let mut found = [Found::default(); BLOCK];
            for (found, record) in found.iter_mut().zip(block) {
                (found.key, found.side) = connection_key(&record.key);
                found.hash = self.table.hash(&found.key);
            }
            for found in found.iter_mut().take(block.len()) {
                found.slot = self.table.find(found.hash, &found.key);
                // Touched, so that these waits overlap too.
                if let Some(place) = found.slot.and_then(|slot| self.table.get(slot).place) {
                    std::hint::black_box(self.traffic.sent_mut(place, found.side).packets);
                }
            }
            let new = found
                .iter()
                .take(block.len())
                .filter(|found| found.slot.is_none());
            let new = new.count();
            if self.table.len() + new > self.capacity
                && let Some(oldest) = self.oldest()
            {
                // What makes room for them.
                self.table.touch(oldest, new);
            }
            for (found, record) in found.iter().zip(block) {
                if record.counters.packets > 0 {
                    self.count(found, record, evicted);
                }
            }
        }
    }

    fn count(&mut self, found: &Found, record: &FlowRecord, evicted: &mut Vec<Slice>) {
        let Found { key, hash, .. } = found;
        // A record before it in the block may have brought the connection in, or evicted it.
        let slot = found
            .slot
            .filter(|slot| self.table.holds(*slot, key))
            .or_else(|| self.table.find(*hash, key));
        let slot = if let Some(slot) = slot {
            if self.table.get(slot).place.is_none() {
                self.table.queues.remove(slot);
            }
            slot
        } else {
            self.insert(*hash, *key, evicted)
        };
        let connection = self.table.get_mut(slot);
        connection.pass(found.side, record.key.flags.egress());
        let place = match connection.place {
            Some(place) => place,
            None => self.traffic.open(slot),
        };
        connection.place = Some(place);
        self.earliest_ns = self.earliest_ns.min(record.counters.last_ns);
        self.traffic.sent_mut(place, found.side).merge(&record.counters);
    }

    /// Closes the interval at `now_ns` and pushes its slices: one for each connection with traffic since the
    /// last close, by start and id; before them the ends of connections whose key has a new one, behind them
    /// those of connections that have been quiet for long enough.
    ///
    /// A `now_ns` before the last close counts as that.
    pub fn close_interval(&mut self, now_ns: u64, slices: &mut Vec<Slice>) {
        self.write_traffic(now_ns, None, slices);
        self.sweep(slices);
    }

    /// Closes the last interval and ends every connection: [`EndReason::ForcedEnd`] where no other end is known.
    pub fn finish(&mut self, now_ns: u64, slices: &mut Vec<Slice>) {
        self.write_traffic(now_ns, Some(EndReason::ForcedEnd), slices);
        self.sweep(slices);
        for queue in Queue::ALL {
            while let Some(slot) = self.table.queues.front(queue) {
                let connection = self.table.get_mut(slot);
                slices.extend(connection.end(connection.early_end(EndReason::ForcedEnd)));
                self.table.queues.remove(slot);
                self.table.remove(slot);
            }
        }
    }

    pub fn statistics(&self) -> Statistics {
        Statistics {
            connections: self.table.len() - self.table.queues.lingering(),
            capacity: self.capacity,
            evicted: self.evicted,
        }
    }

    fn insert(&mut self, hash: KeyHash, key: FlowKey, evicted: &mut Vec<Slice>) -> u32 {
        while self.table.len() >= self.capacity && self.evict(evicted) {}
        self.table.insert(hash, Connection::new(key, hash))
    }

    /// The quiet connection that makes room first.
    fn oldest(&self) -> Option<u32> {
        let quiet = || {
            [Queue::Closing, Queue::Tcp, Queue::Other]
                .into_iter()
                .filter_map(|queue| self.table.front(queue))
                .min_by_key(|(_, connection)| (connection.quiet_ns, connection.key))
                .map(|(slot, _)| slot)
        };
        self.table.queues.front(Queue::Lingering).or_else(quiet)
    }

    /// Makes room for one connection; false if there is none to take away.
    fn evict(&mut self, evicted: &mut Vec<Slice>) -> bool {
        let before = evicted.len();
        let slot = if let Some(slot) = self.oldest() {
            let connection = self.table.get_mut(slot);
            evicted.extend(connection.end(connection.early_end(EndReason::LackOfResources)));
            self.table.queues.remove(slot);
            slot
        } else if let Some(slot) = self.traffic.slots.pop_front() {
            let connection = self.table.get_mut(slot);
            if let Some(place) = connection.place.take() {
                let sent = self.traffic.sent(place);
                evicted.extend(connection.settle(&sent, &self.timeouts));
                let forced = Some(EndReason::LackOfResources);
                evicted.push(connection.traffic_slice(&sent, self.closed_ns, forced, &self.timeouts));
                self.traffic.vacate(place);
            }
            slot
        } else {
            return false;
        };
        let early = |slice: &&Slice| slice.end == Some(EndReason::LackOfResources);
        self.evicted += evicted.iter().skip(before).filter(early).count() as u64;
        self.table.remove(slot);
        true
    }

    fn write_traffic(&mut self, now_ns: u64, forced: Option<EndReason>, slices: &mut Vec<Slice>) {
        let now_ns = now_ns.max(self.closed_ns);
        let written = slices.len();
        let queued_ns = self.earliest_ns.clamp(self.closed_ns, now_ns);
        self.ordered.clear();
        while let Some(slot) = self.traffic.slots.pop_front() {
            let connection = self.table.get_mut(slot);
            let Some(place) = connection.place.take() else {
                continue;
            };
            let sent = self.traffic.sent(place);
            slices.extend(connection.settle(&sent, &self.timeouts));
            connection.quiet_ns = connection.last_ns.clamp(queued_ns, now_ns);
            connection.queued_ns = queued_ns;
            let slice = connection.traffic_slice(&sent, now_ns, forced, &self.timeouts);
            self.ordered.push(Settled {
                start_ns: slice.start_ns,
                id: slice.id,
                place,
                slot,
                queue: connection.queue(),
            });
            self.traffic.finish(place, slice);
        }
        if let Some(replaced) = slices.get_mut(written..) {
            replaced.sort_unstable_by_key(|slice| (slice.start_ns, slice.id));
        }
        self.ordered
            .sort_unstable_by_key(|settled| (settled.start_ns, settled.id));
        for settled in &self.ordered {
            self.table.queues.push_back(settled.queue, settled.slot);
        }
        let places = self.ordered.iter().map(|settled| settled.place);
        self.traffic.close(places, slices);
        self.closed_ns = now_ns;
        self.earliest_ns = u64::MAX;
    }

    /// Ends what has been quiet for long enough.
    fn sweep(&mut self, slices: &mut Vec<Slice>) {
        let now_ns = self.closed_ns;
        for queue in Queue::ALL {
            let wait_ns = self.timeouts.wait_ns(queue);
            let over = |since_ns: u64| since_ns.saturating_add(wait_ns) <= now_ns;
            let mut next = self.table.queues.front(queue);
            while let Some(slot) = next {
                let connection = self.table.get_mut(slot);
                if !over(connection.queued_ns) {
                    break;
                }
                let ended = over(connection.quiet_ns).then(|| connection.end(connection.quiet_end()));
                // The end of the queue is still to be found once the slot has left it.
                next = self.table.queues.after(slot);
                let Some(slice) = ended else { continue };
                slices.extend(slice);
                self.table.queues.remove(slot);
                if queue == Queue::Closing {
                    let connection = self.table.get_mut(slot);
                    // Out of line by an interval at most: it lingers until those before it have gone.
                    connection.queued_ns = connection.quiet_ns;
                    self.table.queues.push_back(Queue::Lingering, slot);
                } else {
                    self.table.remove(slot);
                }
            }
        }
    }
}

fn capacity(track: &config::Track) -> usize {
    // Slots are numbered with 32 bits, some of them taken by the queues' ends.
    track.max_connections.clamp(1, 1 << 31)
}
