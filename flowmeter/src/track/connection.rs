//! One connection: what it is and what it has been. What it sends within an interval is added up elsewhere.

use flowmeter_common::{
    FlowCounters, FlowKey,
    flow::{
        protocol::TCP,
        tcp_flags::{FIN, PSH, RST, SYN},
    },
};

use super::{
    initiator::initiator,
    key::{Pair, Side, connection_id},
    outcome::{self, Seen},
    queue::Queue,
    table::KeyHash,
    timeouts::{LINGER_NS, QUIET_NS, Timeouts},
    traffic::Place,
};
use crate::flow::{EndReason, Endpoint, InitiatorBasis, Outcome, Slice, ip_address};

/// How far the record of a connection (what carries one id) has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing was written yet.
    New,
    /// The last slice had no end.
    Open,
    /// Ended by a timeout; the next packet opens the next record.
    Cut,
    /// Ended for good. Packets that come late carry the end again.
    Ended,
}

#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) key: FlowKey,
    /// Of `key`.
    pub(super) hash: KeyHash,
    /// In the table; its slot is not free.
    pub(super) live: bool,
    /// Where its traffic of this interval is added up; none yet if there is no place.
    pub(super) place: Option<Place>,
    seen: Pair<Seen>,
    initiator: Side,
    basis: InitiatorBasis,
    outcome: Outcome,
    phase: Phase,
    /// TCP that both ends have closed or one has reset.
    finished: bool,
    id: u64,
    pub(super) start_ns: u64,
    pub(super) last_ns: u64,
    /// `last_ns`, but within the interval that the last packet was counted in: what timeouts count from, so
    /// that a wrong clock neither ends a connection at once nor keeps it forever.
    pub(super) quiet_ns: u64,
    /// At most `quiet_ns`, and as good as sorted along a queue: where a sweep stops.
    pub(super) queued_ns: u64,
}

// At a million connections each 64 bytes are 64 MB.
const _: () = assert!(size_of::<Connection>() <= 112);

impl Connection {
    pub(super) fn new(key: FlowKey, hash: KeyHash) -> Self {
        Self {
            key,
            hash,
            live: true,
            place: None,
            seen: Pair::default(),
            initiator: Side::Source,
            basis: InitiatorBasis::Address,
            outcome: Outcome::Unanswered,
            phase: Phase::New,
            finished: false,
            id: 0,
            start_ns: 0,
            last_ns: 0,
            quiet_ns: 0,
            queued_ns: 0,
        }
    }

    /// Notes which way the packets of one end cross the interface.
    pub(super) fn pass(&mut self, side: Side, egress: bool) {
        let way = if egress { Seen::EGRESS } else { Seen::INGRESS };
        self.seen.of_mut(side).insert(way);
    }

    /// Finds the record that what was sent in this interval belongs to, and opens it if it is a new one.
    ///
    /// Returns the closing slice of the record before, if that was still open. Order within the interval is
    /// lost by now, so all of the traffic goes to one record.
    pub(super) fn settle(&mut self, sent: &Pair<FlowCounters>, timeouts: &Timeouts) -> Option<Slice> {
        let both = Side::BOTH.map(|side| sent.of(side));
        let each = || both.into_iter().filter(|counters| counters.packets > 0);
        let first_ns = each().map(|counters| counters.first_ns).min()?;
        let last_ns = each().map(|counters| counters.last_ns).max()?;
        let syn = each().any(|counters| counters.syn > 0);
        let idle_ns = match self.phase {
            Phase::Ended => LINGER_NS,
            _ => timeouts.idle_ns(self.key.protocol),
        };
        let over = if self.phase == Phase::New {
            None
        } else if self.finished && syn {
            Some(EndReason::EndOfFlowDetected)
        } else if first_ns >= self.last_ns.saturating_add(idle_ns) {
            Some(self.quiet_end())
        } else {
            None
        };
        let closing = over.and_then(|reason| self.closing_slice(reason));
        if self.phase == Phase::New || over.is_some() {
            self.begin(sent);
            self.open(first_ns);
        } else {
            let resumed = self.resume(sent);
            if self.phase == Phase::Cut || self.phase == Phase::Ended && resumed {
                self.open(first_ns);
            }
        }
        self.last_ns = self.last_ns.max(last_ns).max(first_ns);
        self.absorb(sent);
        closing
    }

    /// A new connection on this key: port reuse, or traffic after the idle timeout.
    fn begin(&mut self, sent: &Pair<FlowCounters>) {
        for side in Side::BOTH {
            // Which way the end's packets cross the interface, this interval's included, is all that stays.
            self.seen.of_mut(side).remove(!(Seen::INGRESS | Seen::EGRESS));
        }
        self.finished = false;
        self.outcome = Outcome::Unanswered;
        (self.initiator, self.basis) = initiator(&self.key, sent);
    }

    /// A new record of this connection.
    fn open(&mut self, first_ns: u64) {
        // Strictly later than the record before it, also where clocks went back: the id must be its own.
        self.start_ns = match self.phase {
            Phase::New => first_ns,
            _ => first_ns.max(self.start_ns.saturating_add(1)),
        };
        self.last_ns = self.start_ns;
        self.id = connection_id(&self.key, self.start_ns);
        self.phase = Phase::Open;
    }

    /// Takes back that TCP has finished if an end that had closed or reset sends new data: the reset was not
    /// the receiver's idea of a valid one, or the port was reused within one interval.
    fn resume(&mut self, sent: &Pair<FlowCounters>) -> bool {
        if !self.finished {
            return false;
        }
        let mut resumed = false;
        for side in Side::BOTH {
            let flags = sent.of(side).tcp_flags;
            let closed = self.seen.of(side).any(Seen::FIN | Seen::RST);
            if closed && flags & u32::from(PSH) != 0 && flags & u32::from(FIN | RST | SYN) == 0 {
                self.seen.of_mut(side).remove(Seen::FIN);
                self.finished = false;
                resumed = true;
            }
        }
        resumed
    }

    fn absorb(&mut self, sent: &Pair<FlowCounters>) {
        for side in Side::BOTH {
            self.seen.of_mut(side).absorb(sent.of(side));
        }
        let seen = &self.seen;
        if self.key.protocol == TCP {
            let reset = (sent.source.tcp_flags | sent.destination.tcp_flags) & u32::from(RST) != 0;
            self.finished |= reset || seen.source.any(Seen::FIN) && seen.destination.any(Seen::FIN);
        }
        if self.outcome != Outcome::Accepted {
            let responder = *seen.of(self.initiator.other());
            self.outcome = if self.key.protocol == TCP {
                outcome::tcp(*seen.of(self.initiator), responder)
            } else {
                outcome::other(responder)
            };
        }
    }

    /// What was sent in this interval as a slice, after [`Connection::settle`] and with `quiet_ns` set.
    ///
    /// `forced` ends the record if nothing else has.
    pub(super) fn traffic_slice(
        &mut self,
        sent: &Pair<FlowCounters>,
        now_ns: u64,
        forced: Option<EndReason>,
        timeouts: &Timeouts,
    ) -> Slice {
        let quiet = forced.is_some() || now_ns.saturating_sub(self.last_ns) >= QUIET_NS;
        let end = if self.phase == Phase::Ended || self.finished && quiet {
            self.phase = Phase::Ended;
            Some(EndReason::EndOfFlowDetected)
        } else if forced.is_some() {
            self.phase = Phase::Ended;
            forced
        } else if now_ns.saturating_sub(self.quiet_ns) >= timeouts.idle_ns(self.key.protocol) {
            // The interval is longer than the timeout; the sweep takes the connection away.
            self.phase = Phase::Cut;
            Some(self.quiet_end())
        } else if !self.finished && self.last_ns - self.start_ns >= timeouts.active_ns {
            self.phase = Phase::Cut;
            Some(EndReason::ActiveTimeout)
        } else {
            None
        };
        self.slice(sent, end)
    }

    /// Ends the record without traffic; None if its end is written already.
    pub(super) fn end(&mut self, reason: EndReason) -> Option<Slice> {
        let slice = self.closing_slice(reason);
        self.phase = Phase::Ended;
        slice
    }

    fn closing_slice(&self, reason: EndReason) -> Option<Slice> {
        (self.phase == Phase::Open).then(|| self.slice(&Pair::default(), Some(reason)))
    }

    /// What ended a connection that no packet has come from for long enough.
    pub(super) fn quiet_end(&self) -> EndReason {
        if self.finished {
            EndReason::EndOfFlowDetected
        } else {
            EndReason::IdleTimeout
        }
    }

    /// Ends early: what has finished has finished, whatever asks for the end.
    pub(super) fn early_end(&self, forced: EndReason) -> EndReason {
        if self.finished {
            EndReason::EndOfFlowDetected
        } else {
            forced
        }
    }

    pub(super) fn queue(&self) -> Queue {
        match self.phase {
            Phase::Ended => Queue::Lingering,
            _ if self.finished => Queue::Closing,
            _ if self.key.protocol == TCP => Queue::Tcp,
            _ => Queue::Other,
        }
    }

    fn slice(&self, sent: &Pair<FlowCounters>, end: Option<EndReason>) -> Slice {
        let (initiator, responder) = (self.initiator, self.initiator.other());
        let seen = |side: Side| *self.seen.of(side);
        Slice {
            ifindex: self.key.ifindex,
            vlan_id: self.key.vlan_id,
            tunnel: self.key.flags.tunnel(),
            tunnel_id: self.key.tunnel_id,
            fragment: self.key.flags.fragment(),
            ipv6: self.key.flags.ipv6(),
            protocol: self.key.protocol,
            initiator: self.endpoint(initiator),
            responder: self.endpoint(responder),
            basis: self.basis,
            outcome: self.outcome,
            id: self.id,
            start_ns: self.start_ns,
            last_ns: self.last_ns,
            initiator_egress: if seen(initiator).any(Seen::PACKET) {
                seen(initiator).any(Seen::EGRESS)
            } else {
                // Its packets go the other way than the answers do.
                !seen(responder).any(Seen::EGRESS)
            },
            forward: *sent.of(initiator),
            reverse: *sent.of(responder),
            end,
        }
    }

    fn endpoint(&self, side: Side) -> Endpoint {
        let (address, port) = match side {
            Side::Source => (self.key.source, self.key.source_port),
            Side::Destination => (self.key.destination, self.key.destination_port),
        };
        Endpoint {
            ip: ip_address(address, self.key.flags.ipv6()),
            port,
        }
    }
}
