//! Connections as detectors see them: slices put together, with an outcome that is final as far as one can be.

mod due;
mod seen;

use std::net::IpAddr;

use flowmeter_common::flow::{protocol, tcp_flags};
use serde::{Deserialize, Serialize};

use super::table::{Entry, Table};
use crate::{
    enrich::Direction,
    flow::{EndReason, InitiatorBasis, Outcome},
};
use due::Due;
pub(super) use seen::{Seen, is_host, order, time_ns};

/// How long an attempt may wait for its answer: the first SYN and one retransmission (RFC 6298: 1 s, then 2 s).
const GRACE_NS: u64 = 3_000_000_000;

/// A new attempt on the same ports within this is the same attempt: a stack's or a program's retry, which one
/// interval shows as one connection and another as several.
const RETRY_NS: u64 = 60_000_000_000;

/// What is known of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Verdict {
    /// There may be an answer yet.
    Pending,
    /// Both ends took part, or the initiator went on as if.
    Accepted,
    /// RST, or nothing came back.
    Refused,
    Unanswered,
    /// What no connection starts with: FIN, NULL, Xmas, an ACK that is reset, a handshake left half open.
    Probe,
    /// Of traffic that was under way, or seen from one side, nothing can be said.
    Unknown,
}

impl Verdict {
    pub(super) const fn failed(self) -> bool {
        matches!(self, Self::Refused | Self::Unanswered | Self::Probe)
    }
}

/// One connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Contact {
    pub(super) source: IpAddr,
    pub(super) target: IpAddr,
    pub(super) source_port: u16,
    /// The target's; for ICMP the type.
    pub(super) port: u16,
    pub(super) protocol: u8,
    direction: u8,
    /// The target is one host that can be attacked: no multicast, broadcast, loopback or link-local address.
    pub(super) unicast: bool,
    /// How sure it is which end opened it.
    pub(super) sure: bool,
    ifindex: u32,
    pub(super) start_ns: u64,
    pub(super) last_ns: u64,
    pub(super) sent: Sum,
    pub(super) received: Sum,
    /// Union of the TCP flags that the source sent, and of those that came back.
    pub(super) sent_flags: u8,
    pub(super) received_flags: u8,
    first_flags: u8,
    pub(super) verdict: Verdict,
    /// Its start was in sight (else it was under way when it was first met).
    pub(super) fresh: bool,
    /// The target answered a TCP handshake.
    pub(super) open: bool,
    pub(super) ended: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sum {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.packets = self.packets.saturating_add(other.packets);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

fn direction(number: u8) -> Direction {
    match number {
        0 => Direction::InternalToInternal,
        1 => Direction::InternalToExternal,
        2 => Direction::ExternalToInternal,
        _ => Direction::ExternalToExternal,
    }
}

impl Contact {
    pub(super) fn direction(&self) -> Direction {
        direction(self.direction)
    }

    /// Something of what the source sent was seen.
    pub(super) fn asked(&self) -> bool {
        self.sent.packets > 0
    }

    pub(super) fn is_tcp(&self) -> bool {
        self.protocol == protocol::TCP
    }

    pub(super) fn is_udp(&self) -> bool {
        self.protocol == protocol::UDP
    }

    pub(super) fn is_echo(&self) -> bool {
        (self.protocol == protocol::ICMP && self.port == 8)
            || (self.protocol == protocol::ICMPV6 && self.port == 128)
    }

    pub(super) fn source_inside(&self) -> bool {
        matches!(
            self.direction(),
            Direction::InternalToInternal | Direction::InternalToExternal
        )
    }

    pub(super) fn target_inside(&self) -> bool {
        matches!(
            self.direction(),
            Direction::InternalToInternal | Direction::ExternalToInternal
        )
    }

    /// FIN, NULL or Xmas: a first packet that opens nothing.
    pub(super) fn stealth(&self) -> bool {
        self.is_tcp()
            && self.asked()
            && self.first_flags & (tcp_flags::SYN | tcp_flags::ACK | tcp_flags::RST) == 0
            && self.sent_flags & tcp_flags::ACK == 0
    }

    /// What stands now, given all that was seen. `late`: no answer is waited for any longer. `flags_known`: this
    /// capture has TCP flags at all.
    fn judge(&self, outcome: Outcome, late: bool, flags_known: bool) -> Verdict {
        use tcp_flags::{ACK, FIN, PSH, RST, SYN};
        let unless_late = |verdict| if late { verdict } else { Verdict::Pending };
        if !self.is_tcp() {
            return match outcome {
                Outcome::Accepted if self.received.packets > 0 && self.asked() => Verdict::Accepted,
                Outcome::Accepted => Verdict::Unknown,
                _ if self.is_udp() || self.is_echo() => unless_late(Verdict::Unanswered),
                _ => Verdict::Unknown,
            };
        }
        if !self.asked() {
            // Only answers are in sight. They show a service, but not who asked for what.
            return match outcome {
                Outcome::Accepted => Verdict::Accepted,
                _ => Verdict::Unknown,
            };
        }
        let opened = self.sent_flags & SYN != 0;
        match outcome {
            Outcome::Accepted => Verdict::Accepted,
            Outcome::Refused if opened || self.sent_flags == 0 => Verdict::Refused,
            Outcome::Refused if self.stealth() => Verdict::Probe,
            // One bare ACK that is reset; a connection that its peer forgot sends data or repeats itself.
            Outcome::Refused
                if self.sent_flags & (PSH | FIN | RST) == 0
                    && self.sent.packets <= 2
                    && self.port < 32_768 =>
            {
                Verdict::Probe
            }
            Outcome::Refused => Verdict::Unknown,
            Outcome::HalfOpen if self.sent_flags & RST != 0 => Verdict::Probe,
            Outcome::HalfOpen => unless_late(Verdict::Probe),
            // One side of a connection that goes on.
            Outcome::Unanswered if opened && self.sent_flags & ACK != 0 => Verdict::Accepted,
            Outcome::Unanswered if opened => unless_late(Verdict::Unanswered),
            Outcome::Unanswered if self.stealth() && flags_known && self.sent_flags == 0 => {
                unless_late(Verdict::Probe)
            }
            Outcome::Unanswered if self.stealth() && self.sent_flags != 0 => unless_late(Verdict::Probe),
            Outcome::Unanswered if self.sent_flags == 0 => unless_late(Verdict::Unanswered),
            Outcome::Unanswered => Verdict::Unknown,
        }
    }
}

impl Entry for Contact {
    fn suspicion(&self) -> u32 {
        // What has failed is decided; what runs is still being counted.
        match (self.ended, self.verdict) {
            (true, _) => 0,
            (_, verdict) if verdict.failed() => 1,
            (_, Verdict::Pending | Verdict::Unknown) => 2,
            _ => 3,
        }
    }

    fn last_ns(&self) -> u64 {
        self.last_ns
    }
}

/// What happens to a connection, in the order of event time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// First met; nothing is known of its outcome yet. For a retry it does not come again.
    Opened,
    /// The outcome is known, or has changed to accepted.
    Settled,
    /// It carried something in a slice.
    Traffic(Traffic),
    /// It ended.
    Closed,
}

/// What one slice adds, and over which time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traffic {
    pub(super) sent: Sum,
    pub(super) received: Sum,
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
}

/// The running connections, and those that wait for an outcome.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Contacts {
    table: Table<u64, Contact>,
    outcomes: Outcomes,
}

/// What is not of one connection alone.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Outcomes {
    /// When a pending one is decided, and which.
    waiting: Due,
    /// When a decided failure is forgotten.
    forgetting: Due,
    flags_known: bool,
    /// Attempts with an outcome, and those of them that anything came back to.
    settled: u64,
    answered: u64,
}

impl Contacts {
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            // Each may stand in both queues, which grow by doubling.
            table: Table::with_bytes(bytes, 4 * size_of::<(u64, u64)>()),
            outcomes: Outcomes::default(),
        }
    }

    pub(super) fn adopt(&mut self, other: Self) {
        self.table.adopt(other.table);
        self.outcomes = other.outcomes;
    }

    pub(super) fn usage(&self) -> (usize, usize, u64) {
        (self.table.len(), self.table.capacity(), self.table.evicted())
    }

    /// Reads a slice's connection ahead of [`Contacts::take`].
    pub(super) fn touch(&self, seen: &Seen) {
        self.table.touch(&seen.contact);
    }

    /// Takes a slice and tells what it makes happen, after what time alone has made happen before it.
    pub(super) fn take(&mut self, seen: &Seen, tell: &mut impl FnMut(u64, Event, &Contact, bool)) {
        self.pass(seen.time_ns, tell);
        self.outcomes.flags_known |= seen.sent_flags | seen.received_flags != 0;
        let (key, over) = match self.table.get_mut(&seen.contact) {
            Some(contact) if seen.goes_on_with(contact) => {
                let over = self.outcomes.take(contact, seen, Met::Known, tell);
                (seen.contact, over)
            }
            Some(_) => (seen.contact, self.begin(seen.contact, seen, tell)),
            // A weaker guess at the initiator does not turn a connection round.
            None if seen.basis > InitiatorBasis::IcmpType => match self.table.get_mut(&seen.reverse) {
                Some(contact) if seen.goes_on_with(contact) => {
                    let over = self.outcomes.take(contact, seen, Met::Turned, tell);
                    (seen.reverse, over)
                }
                Some(_) => (seen.contact, self.begin(seen.reverse, seen, tell)),
                None => (seen.contact, self.begin(seen.contact, seen, tell)),
            },
            None => (seen.contact, self.begin(seen.contact, seen, tell)),
        };
        if over {
            self.table.remove(&key);
        }
    }

    /// The first slice of a connection, in the place of what stood under `old`.
    fn begin(&mut self, old: u64, seen: &Seen, tell: &mut impl FnMut(u64, Event, &Contact, bool)) -> bool {
        if let Some(old) = self.table.remove(&old)
            && !old.ended
        {
            tell(old.last_ns, Event::Closed, &old, self.outcomes.one_sided());
        }
        if !seen.traffic() {
            return false;
        }
        let contact = self.table.entry(seen.contact, || Contact::new(seen));
        self.outcomes.take(contact, seen, Met::First, tell)
    }

    /// Decides what no answer came to in time, and forgets what is over.
    pub(super) fn pass(&mut self, now_ns: u64, tell: &mut impl FnMut(u64, Event, &Contact, bool)) {
        let outcomes = &mut self.outcomes;
        let one_sided = outcomes.one_sided();
        while let Some((deadline_ns, key)) = outcomes.waiting.pop(now_ns) {
            let Some(contact) = self.table.get_mut(&key) else {
                continue;
            };
            if contact.verdict != Verdict::Pending {
                continue;
            }
            contact.settle_late(outcomes.flags_known);
            outcomes.settled += 1;
            outcomes.answered += u64::from(contact.asked() && contact.received.packets > 0);
            tell(deadline_ns, Event::Settled, contact, one_sided);
            if contact.verdict == Verdict::Unanswered {
                // The tracker keeps it open; another attempt on these ports is a slice of the same connection.
                self.table.remove(&key);
            } else if contact.verdict.failed() {
                let due_ns = contact.last_ns.saturating_add(RETRY_NS);
                outcomes.forgetting.push(due_ns, key);
            }
        }
        while let Some((_, key)) = outcomes.forgetting.pop(now_ns) {
            if let Some(contact) = self.table.get(&key)
                && (contact.ended || contact.verdict.failed())
                && contact.last_ns.saturating_add(RETRY_NS) <= now_ns
                && let Some(contact) = self.table.remove(&key)
                && !contact.ended
            {
                tell(contact.last_ns, Event::Closed, &contact, one_sided);
            }
        }
    }
}

/// How a slice met its connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Met {
    First,
    Known,
    /// With the ends changed over.
    Turned,
}

impl Outcomes {
    /// Almost nothing was ever answered: it is the capture that sees one side, not the network that is dead.
    fn one_sided(&self) -> bool {
        self.settled >= 20 && self.answered * 20 < self.settled
    }

    /// Adds a slice to its connection; true if nothing more can come of that.
    fn take(
        &mut self,
        contact: &mut Contact,
        seen: &Seen,
        met: Met,
        tell: &mut impl FnMut(u64, Event, &Contact, bool),
    ) -> bool {
        if contact.ifindex != seen.ifindex {
            // The same packets, seen at a second place.
            return false;
        }
        let one_sided = self.one_sided();
        let flags_known = self.flags_known;
        let (key, sent, received) = match met {
            Met::Turned => (seen.reverse, seen.received, seen.sent),
            Met::First | Met::Known => (seen.contact, seen.sent, seen.received),
        };
        contact.sent.add(sent);
        contact.received.add(received);
        if met != Met::Turned {
            contact.sent_flags |= seen.sent_flags;
            contact.received_flags |= seen.received_flags;
        }
        contact.last_ns = contact.last_ns.max(seen.last_ns);
        contact.open |=
            contact.received_flags & (tcp_flags::SYN | tcp_flags::ACK) == tcp_flags::SYN | tcp_flags::ACK;
        if met == Met::First {
            tell(contact.start_ns, Event::Opened, contact, one_sided);
        }
        if seen.traffic() {
            let traffic = Traffic {
                sent,
                received,
                first_ns: seen.first_ns,
                last_ns: seen.last_ns,
            };
            let before = contact.verdict;
            let now = match met {
                Met::Turned => before,
                Met::First | Met::Known => contact.judge(seen.outcome, false, flags_known),
            };
            let changed = match (before, now) {
                (Verdict::Accepted, _) | (_, Verdict::Pending) => false,
                (before, now) if before.failed() => now == Verdict::Accepted,
                (before, now) => before != now,
            };
            if changed {
                if before == Verdict::Pending {
                    self.settled += 1;
                }
                self.answered += u64::from(contact.asked() && contact.received.packets > 0);
                contact.verdict = now;
                contact.ended = false;
                tell(seen.time_ns, Event::Settled, contact, one_sided);
                if now.failed() {
                    self.forgetting
                        .push(contact.last_ns.saturating_add(RETRY_NS), key);
                }
            } else if contact.verdict == Verdict::Pending && met == Met::First {
                self.waiting.push(contact.start_ns.saturating_add(GRACE_NS), key);
            }
            tell(seen.last_ns, Event::Traffic(traffic), contact, one_sided);
        }
        if seen.end.is_none() || seen.end == Some(EndReason::ActiveTimeout) || contact.ended {
            return false;
        }
        if contact.verdict == Verdict::Pending {
            contact.settle_late(flags_known);
            tell(seen.last_ns, Event::Settled, contact, one_sided);
        }
        contact.ended = true;
        tell(contact.last_ns, Event::Closed, contact, one_sided);
        // Nobody tries again what was answered and closed; stragglers open nothing. What was ended by us goes on,
        // perhaps.
        let over = contact.verdict == Verdict::Accepted && seen.end == Some(EndReason::EndOfFlowDetected);
        if !over {
            self.forgetting
                .push(contact.last_ns.saturating_add(RETRY_NS), key);
        }
        over
    }
}

impl Contact {
    fn new(seen: &Seen) -> Self {
        Self {
            source: seen.source,
            target: seen.target,
            source_port: seen.source_port,
            port: seen.port,
            protocol: seen.protocol,
            direction: seen.direction,
            unicast: seen.unicast,
            sure: seen.basis <= InitiatorBasis::Port,
            ifindex: seen.ifindex,
            start_ns: seen.start_ns,
            last_ns: seen.last_ns,
            sent: Sum::default(),
            received: Sum::default(),
            sent_flags: 0,
            received_flags: 0,
            first_flags: seen.first_flags,
            verdict: Verdict::Pending,
            fresh: seen.first_ns == seen.start_ns && (seen.protocol != protocol::TCP || seen.opens()),
            open: false,
            ended: false,
        }
    }

    fn settle_late(&mut self, flags_known: bool) {
        let outcome = if self.received.packets == 0 {
            Outcome::Unanswered
        } else if self.is_tcp() {
            Outcome::HalfOpen
        } else {
            Outcome::Accepted
        };
        self.verdict = self.judge(outcome, true, flags_known);
    }
}
