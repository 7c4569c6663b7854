//! Connections as detectors see them: slices put together, with an outcome that is final as far as one can be.

mod due;
mod kept;
mod seen;

use serde::{Deserialize, Serialize};

use super::table::{Hint, Table};
use crate::flow::{EndReason, InitiatorBasis};
use due::Due;
pub(super) use kept::{Contact, Verdict};
pub(super) use seen::{Seen, is_host, order, time_ns};

/// How long an attempt may wait for its answer: the first SYN and one retransmission (RFC 6298: 1 s, then 2 s).
const GRACE_NS: u64 = 3_000_000_000;

/// A new attempt on the same ports within this is the same attempt: a stack's or a program's retry, which one
/// interval shows as one connection and another as several.
const RETRY_NS: u64 = 60_000_000_000;

/// What a slice carried one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) packets: u64,
    pub(super) bytes: u64,
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
    /// What both may take.
    #[serde(skip)]
    bytes: usize,
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
            table: Table::with_bytes(bytes, 0),
            outcomes: Outcomes::default(),
            bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
        }
    }

    pub(super) fn adopt(&mut self, other: Self) {
        self.table.adopt(other.table);
        self.outcomes = other.outcomes;
    }

    pub(super) fn usage(&self) -> (usize, usize, u64) {
        (self.table.len(), self.capacity(), self.table.evicted())
    }

    /// Connections that there is room for beside what waits for its time: more of that, fewer connections.
    fn capacity(&self) -> usize {
        self.bytes.saturating_sub(self.outcomes.bytes()) / Table::<u64, Contact>::ENTRY_BYTES
    }

    pub(super) fn hint(&self, seen: &Seen) -> Hint {
        self.table.hint(&seen.contact)
    }

    /// Reads a slice's connection ahead of [`Contacts::take`].
    pub(super) fn touch(&self, hint: Hint) {
        self.table
            .touch(hint, |contact| (contact.last_ns, contact.verdict));
    }

    /// Takes a slice and tells what it makes happen, after what time alone has made happen before it.
    pub(super) fn take(
        &mut self,
        seen: &Seen,
        hint: Hint,
        tell: &mut impl FnMut(u64, Event, &Contact, bool),
    ) {
        self.pass(seen.time_ns, tell);
        self.outcomes.flags_known |= seen.sent_flags | seen.received_flags != 0;
        let (key, over) = match self.table.get_mut_at(hint, &seen.contact) {
            Some(contact) if seen.goes_on_with(contact) => {
                let over = self.outcomes.take(contact, seen, Met::Known, tell);
                (seen.contact, over)
            }
            Some(_) => (seen.contact, self.begin(Some(seen.contact), seen, tell)),
            // A weaker guess at the initiator does not turn a connection round.
            None if seen.basis > InitiatorBasis::IcmpType => match self.table.get_mut(&seen.reverse) {
                Some(contact) if seen.goes_on_with(contact) => {
                    let over = self.outcomes.take(contact, seen, Met::Turned, tell);
                    (seen.reverse, over)
                }
                Some(_) => (seen.contact, self.begin(Some(seen.reverse), seen, tell)),
                None => (seen.contact, self.begin(None, seen, tell)),
            },
            None => (seen.contact, self.begin(None, seen, tell)),
        };
        if over {
            self.table.remove(&key);
        }
    }

    /// The first slice of a connection, in the place of what stands under `old`.
    fn begin(
        &mut self,
        old: Option<u64>,
        seen: &Seen,
        tell: &mut impl FnMut(u64, Event, &Contact, bool),
    ) -> bool {
        if let Some(old) = old.and_then(|old| self.table.remove(&old))
            && !old.ended()
        {
            tell(old.last_ns, Event::Closed, &old, self.outcomes.one_sided());
        }
        if !seen.traffic() {
            return false;
        }
        if self.table.len() >= self.capacity() {
            self.table.evict();
            self.outcomes.retain(|key| self.table.contains(&key));
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
                && (contact.ended() || contact.verdict.failed())
                && contact.last_ns.saturating_add(RETRY_NS) <= now_ns
                && let Some(contact) = self.table.remove(&key)
                && !contact.ended()
            {
                tell(contact.last_ns, Event::Closed, &contact, one_sided);
            }
        }
    }

    /// Gives back the room that a storm took.
    pub(super) fn tick(&mut self) {
        self.outcomes.waiting.shrink();
        self.outcomes.forgetting.shrink();
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
    fn bytes(&self) -> usize {
        self.waiting.bytes() + self.forgetting.bytes()
    }

    fn retain(&mut self, keep: impl Fn(u64) -> bool) {
        self.waiting.retain(&keep);
        self.forgetting.retain(&keep);
    }

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
        if met == Met::First {
            tell(contact.start_ns, Event::Opened, contact, one_sided);
        }
        let mut forget = false;
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
                contact.set_ended(false);
                tell(seen.time_ns, Event::Settled, contact, one_sided);
                forget = now.failed();
            } else if contact.verdict == Verdict::Pending && met == Met::First {
                self.waiting.push(contact.start_ns.saturating_add(GRACE_NS), key);
            }
            tell(seen.last_ns, Event::Traffic(traffic), contact, one_sided);
        }
        let mut over = false;
        if !matches!(seen.end, None | Some(EndReason::ActiveTimeout)) && !contact.ended() {
            if contact.verdict == Verdict::Pending {
                contact.settle_late(flags_known);
                tell(seen.last_ns, Event::Settled, contact, one_sided);
            }
            contact.set_ended(true);
            tell(contact.last_ns, Event::Closed, contact, one_sided);
            // Nobody tries again what was answered and closed; stragglers open nothing. What was ended by us goes on,
            // perhaps.
            over = contact.verdict == Verdict::Accepted && seen.end == Some(EndReason::EndOfFlowDetected);
            forget |= !over;
        }
        if forget {
            self.forgetting
                .push(contact.last_ns.saturating_add(RETRY_NS), key);
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use flowmeter_common::flow::{protocol::TCP, tcp_flags::SYN};

    use super::*;
    use crate::flow::Outcome;

    /// One SYN from a source of its own.
    fn syn(number: u32, time_ns: u64) -> Seen {
        Seen {
            time_ns,
            contact: u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            reverse: 0,
            source: IpAddr::V4(Ipv4Addr::from(0x2000_0000 | number)),
            target: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 80)),
            source_port: 1024,
            port: 80,
            protocol: TCP,
            direction: 2,
            unicast: true,
            basis: InitiatorBasis::TcpFlags,
            outcome: Outcome::Unanswered,
            ifindex: 2,
            start_ns: time_ns,
            first_ns: time_ns,
            last_ns: time_ns,
            sent: Sum {
                packets: 1,
                bytes: 40,
            },
            received: Sum::default(),
            sent_flags: SYN,
            received_flags: 0,
            first_flags: SYN,
            end: None,
        }
    }

    #[test]
    fn what_waits_for_an_answer_and_what_it_waits_in_stay_within_the_share() {
        const BYTES: usize = 200_000;
        let mut contacts = Contacts::new(BYTES as u64);
        let alone = contacts.capacity();
        let taken = |contacts: &Contacts| {
            contacts.table.len() * Table::<u64, Contact>::ENTRY_BYTES + contacts.outcomes.bytes()
        };
        for number in 0..20_000 {
            // All within the time in which an answer may come.
            let seen = syn(number, 1_000_000_000 + u64::from(number) * 1000);
            contacts.take(&seen, Hint::default(), &mut |_, _, _, _| {});
            assert!(taken(&contacts) <= BYTES + 200, "{number}: {}", taken(&contacts));
        }
        let (used, capacity, evicted) = contacts.usage();
        assert!(
            used * 8 >= capacity * 7 && capacity < alone,
            "{used} of {capacity}"
        );
        assert_eq!(evicted + used as u64, 20_000);
        // Each that is still there gets its verdict, and no other.
        let mut settled = 0;
        contacts.pass(u64::MAX, &mut |_, event, contact, _| {
            settled += usize::from(matches!(event, Event::Settled));
            assert_eq!(contact.verdict, Verdict::Unanswered);
        });
        assert_eq!((settled, contacts.usage().0), (used, 0));
        assert_eq!(contacts.capacity(), alone);
    }

    #[test]
    fn half_a_million_connections_have_room_by_default() {
        let share = crate::config::Detect::default().memory_bytes / 1000 * 410;
        assert!(Contacts::new(share).capacity() >= 500_000);
    }
}
