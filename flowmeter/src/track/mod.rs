//! The connection table: both directions of a flow in one record (biflow, RFC 5103), by event time.
//!
//! Sums hold: whatever goes in as flow records comes out once in slices, also what is evicted. A TCP
//! connection that both sides closed, or that was reset, is told as ended at the first interval without
//! traffic, so that late packets still belong to it; a new SYN on its ports starts another at once. What the
//! kernel counted under one key in one interval is not taken apart.

mod initiator;
mod key;
mod outcome;

use flowmeter_common::{FlowCounters, flow::tcp_flags};
use hashbrown::HashMap;

use self::{initiator::initiator, key::ConnectionKey, outcome::outcome};
use crate::{
    config,
    flow::{EndReason, FlowRecord, InitiatorBasis, Outcome, Slice},
};

/// Bounded table of running connections.
pub struct Tracker {
    connections: HashMap<ConnectionKey, Connection>,
    settings: config::Track,
    evicted: u64,
}

/// How full the table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackStatistics {
    pub connections: u64,
    pub capacity: u64,
    /// Connections ended early for lack of room, since the agent started.
    pub evicted: u64,
}

struct Connection {
    start_ns: u64,
    last_ns: u64,
    /// Counted since the last close: sent by the lower end of the key, and by the higher.
    pending: [FlowCounters; 2],
    /// Union of TCP flags over the connection's life, by end.
    flags: [u8; 2],
    /// An end sent SYN and ACK in one packet.
    syn_ack: [bool; 2],
    /// An end sent anything at all.
    sent: [bool; 2],
    /// The end that opened it, decided when its first interval closes: 0 the lower one, 1 the higher.
    decided: Option<(usize, InitiatorBasis)>,
    egress: [bool; 2],
    accepted: bool,
}

impl Tracker {
    pub fn new(settings: &config::Track) -> Self {
        Self {
            connections: HashMap::new(),
            settings: settings.clone(),
            evicted: 0,
        }
    }

    /// Takes other timeouts and another bound; running connections go on.
    pub fn reconfigure(&mut self, settings: &config::Track) {
        self.settings = settings.clone();
    }

    pub fn statistics(&self) -> TrackStatistics {
        TrackStatistics {
            connections: self.connections.len() as u64,
            capacity: self.settings.max_connections as u64,
            evicted: self.evicted,
        }
    }

    /// Adds records to their connections; may be called several times an interval. `ended` takes the last
    /// slices of connections that make room or whose ports are used anew.
    pub fn ingest(&mut self, records: &[FlowRecord], ended: &mut Vec<Slice>) {
        for record in records {
            let (key, end) = ConnectionKey::of(&record.key);
            let new_syn =
                record.counters.first_tcp_flags & (tcp_flags::SYN | tcp_flags::ACK) == tcp_flags::SYN;
            if new_syn
                && self
                    .connections
                    .get(&key)
                    .is_some_and(|known| known.finished() && !known.has_pending())
                && let Some(mut old) = self.connections.remove(&key)
            {
                ended.push(old.slice(&key, Some(EndReason::EndOfFlowDetected)));
            }
            if !self.connections.contains_key(&key) {
                self.make_room(ended);
            }
            self.connections
                .entry(key)
                .or_insert_with(|| Connection::new(record.counters.first_ns))
                .add(end, record);
        }
    }

    /// Ends the longest idle eighth when the table is full: one sort for many, in an order that does not
    /// depend on hashing.
    fn make_room(&mut self, ended: &mut Vec<Slice>) {
        if self.connections.len() < self.settings.max_connections {
            return;
        }
        let mut oldest: Vec<_> = self
            .connections
            .iter()
            .map(|(key, known)| (known.last_ns, *key))
            .collect();
        oldest.sort_unstable();
        oldest.truncate((self.settings.max_connections / 8).max(1));
        for (_, key) in oldest {
            if let Some(mut connection) = self.connections.remove(&key) {
                self.evicted += 1;
                ended.push(connection.slice(&key, Some(EndReason::LackOfResources)));
            }
        }
    }

    /// One slice for each connection with traffic since the last close, and a last one without traffic for
    /// each that has ended; by start and key.
    pub fn close_interval(&mut self, now_ns: u64) -> Vec<Slice> {
        let mut slices = Vec::new();
        let settings = &self.settings;
        self.connections.retain(|key, connection| {
            let idle = now_ns.saturating_sub(connection.last_ns);
            let limit = if key.is_tcp() {
                settings.tcp_idle_timeout
            } else {
                settings.idle_timeout
            };
            let end = if connection.has_pending() {
                let age = connection.last_ns.saturating_sub(connection.start_ns);
                (u128::from(age) >= settings.active_timeout.as_nanos()).then_some(EndReason::ActiveTimeout)
            } else if key.is_tcp() && connection.finished() {
                Some(EndReason::EndOfFlowDetected)
            } else if u128::from(idle) >= limit.as_nanos() {
                Some(EndReason::IdleTimeout)
            } else {
                return true;
            };
            slices.push(connection.slice(key, end));
            match end {
                // What goes on starts a new record with the same ends; nothing of it is known yet but that.
                Some(EndReason::ActiveTimeout) => {
                    connection.start_ns = connection.last_ns.saturating_add(1);
                    connection.last_ns = connection.start_ns;
                    true
                }
                Some(_) => false,
                None => true,
            }
        });
        sort(&mut slices);
        slices
    }

    /// Everything that is left, when the meter stops.
    pub fn finish(&mut self) -> Vec<Slice> {
        let mut slices: Vec<_> = self
            .connections
            .drain()
            .map(|(key, mut connection)| connection.slice(&key, Some(EndReason::ForcedEnd)))
            .collect();
        sort(&mut slices);
        slices
    }
}

fn sort(slices: &mut [Slice]) {
    slices.sort_unstable_by_key(|slice| {
        (
            slice.start_ns,
            slice.ifindex,
            slice.vlan_id,
            slice.protocol,
            slice.initiator,
            slice.responder,
            slice.id,
        )
    });
}

impl Connection {
    fn new(start_ns: u64) -> Self {
        Self {
            start_ns,
            last_ns: start_ns,
            pending: [FlowCounters::default(); 2],
            flags: [0; 2],
            syn_ack: [false; 2],
            sent: [false; 2],
            decided: None,
            egress: [false; 2],
            accepted: false,
        }
    }

    fn add(&mut self, end: usize, record: &FlowRecord) {
        let counters = &record.counters;
        if let Some(pending) = self.pending.get_mut(end) {
            pending.merge(counters);
        }
        if let Some(flags) = self.flags.get_mut(end) {
            *flags |= u8::try_from(counters.tcp_flags & 0xff).unwrap_or(0);
        }
        if let Some(syn_ack) = self.syn_ack.get_mut(end) {
            *syn_ack |= counters.syn_ack > 0;
        }
        if let Some(sent) = self.sent.get_mut(end) {
            *sent = true;
        }
        if let Some(egress) = self.egress.get_mut(end) {
            *egress = record.key.flags.egress();
        }
        // Until the first slice is out, a record that comes late may still move the start back.
        if self.decided.is_none() {
            self.start_ns = self.start_ns.min(counters.first_ns);
        }
        self.last_ns = self.last_ns.max(counters.last_ns);
    }

    fn has_pending(&self) -> bool {
        self.pending.iter().any(|pending| pending.packets > 0)
    }

    /// Both ends sent FIN, or one sent RST.
    fn finished(&self) -> bool {
        let [low, high] = self.flags;
        low & high & tcp_flags::FIN != 0 || (low | high) & tcp_flags::RST != 0
    }

    fn slice(&mut self, key: &ConnectionKey, end: Option<EndReason>) -> Slice {
        let (opener, basis) = *self.decided.get_or_insert_with(|| initiator(key, &self.pending));
        let outcome = outcome(key, opener, self.flags, self.syn_ack, self.sent);
        self.accepted |= outcome == Outcome::Accepted;
        let [low, high] = std::mem::take(&mut self.pending);
        let (forward, reverse) = if opener == 0 { (low, high) } else { (high, low) };
        let (initiator, responder) = key.endpoints(opener);
        let [low_egress, high_egress] = self.egress;
        Slice {
            ifindex: key.ifindex,
            vlan_id: key.vlan_id,
            tunnel: key.flags.tunnel(),
            tunnel_id: key.tunnel_id,
            fragment: key.flags.fragment(),
            ipv6: key.flags.ipv6(),
            protocol: key.protocol,
            initiator,
            responder,
            basis,
            outcome: if self.accepted { Outcome::Accepted } else { outcome },
            id: key.id(self.start_ns),
            start_ns: self.start_ns,
            last_ns: self.last_ns.max(self.start_ns),
            initiator_egress: match (self.sent, opener) {
                ([true, _], 0) => low_egress,
                ([_, true], 1) => high_egress,
                // The initiator was never seen: its packets would go the other way.
                (_, 0) => !high_egress,
                _ => !low_egress,
            },
            forward,
            reverse,
            end,
        }
    }
}

#[cfg(test)]
mod tests;
