//! What each end has sent over the life of a connection, and what became of the attempt.

use flowmeter_common::{
    FlowCounters,
    flow::tcp_flags::{ACK, FIN, RST},
};

use crate::flow::Outcome;

/// What one end has sent so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen(u8);

impl Seen {
    /// Any packet.
    pub(super) const PACKET: u8 = 1 << 0;
    pub(super) const SYN: u8 = 1 << 1;
    pub(super) const SYN_ACK: u8 = 1 << 2;
    /// A packet with ACK, outside the handshake and no reset.
    pub(super) const PLAIN: u8 = 1 << 3;
    pub(super) const FIN: u8 = 1 << 4;
    pub(super) const RST: u8 = 1 << 5;
    /// Seen entering, or leaving, the interface.
    pub(super) const INGRESS: u8 = 1 << 6;
    pub(super) const EGRESS: u8 = 1 << 7;

    /// True if any of `bits` was seen.
    pub(super) const fn any(self, bits: u8) -> bool {
        self.0 & bits != 0
    }

    pub(super) const fn insert(&mut self, bits: u8) {
        self.0 |= bits;
    }

    pub(super) const fn remove(&mut self, bits: u8) {
        self.0 &= !bits;
    }

    /// Adds what was sent in one interval. Flags count for TCP only; other protocols leave them zero.
    pub(super) fn absorb(&mut self, sent: &FlowCounters) {
        if sent.packets == 0 {
            return;
        }
        let apart = u64::from(sent.syn) + u64::from(sent.syn_ack) + u64::from(sent.rst);
        let flags = sent.tcp_flags;
        let signs = [
            (Self::PACKET, true),
            (Self::SYN, sent.syn > 0),
            (Self::SYN_ACK, sent.syn_ack > 0),
            (Self::PLAIN, flags & u32::from(ACK) != 0 && sent.packets > apart),
            (Self::FIN, flags & u32::from(FIN) != 0),
            (Self::RST, flags & u32::from(RST) != 0),
        ];
        for (bit, holds) in signs {
            if holds {
                self.insert(bit);
            }
        }
    }
}

/// The outcome of a TCP connection, from all that was seen of it.
pub(super) fn tcp(initiator: Seen, responder: Seen) -> Outcome {
    if responder.any(Seen::SYN | Seen::SYN_ACK) {
        // The responder's own data or ACK proves the handshake where the initiator's side was not seen. The
        // reset of a SYN scanner is no ACK, with or without that flag.
        if initiator.any(Seen::PLAIN) || responder.any(Seen::PLAIN) {
            Outcome::Accepted
        } else {
            Outcome::HalfOpen
        }
    } else if !responder.any(Seen::PACKET) {
        Outcome::Unanswered
    } else if responder.any(Seen::PLAIN) || !responder.any(Seen::RST) {
        // Mid-stream.
        Outcome::Accepted
    } else {
        Outcome::Refused
    }
}

/// The outcome where there is no handshake.
pub(super) fn other(responder: Seen) -> Outcome {
    if responder.any(Seen::PACKET) {
        Outcome::Accepted
    } else {
        Outcome::Unanswered
    }
}

#[cfg(test)]
mod tests {
    use flowmeter_common::{
        Sizes,
        flow::tcp_flags::{PSH, SYN},
    };

    use super::*;

    fn seen(packets: &[u8]) -> Seen {
        let mut counters = FlowCounters::default();
        for &flags in packets {
            let sizes = Sizes {
                packets: 1,
                l3_bytes: 40,
                wire_bytes: 60,
            };
            counters.merge(&FlowCounters::first(sizes, flags, 1));
        }
        let mut seen = Seen::default();
        seen.absorb(&counters);
        seen
    }

    #[test]
    fn tcp_outcomes() {
        use Outcome::{Accepted, HalfOpen, Refused, Unanswered};
        let cases: &[(&str, &[u8], &[u8], Outcome)] = &[
            ("SYN", &[SYN], &[], Unanswered),
            ("SYN repeated", &[SYN, SYN, SYN], &[], Unanswered),
            ("SYN, then RST of its own", &[SYN, RST], &[], Unanswered),
            ("closed port", &[SYN], &[RST | ACK], Refused),
            (
                "closed port, tried again",
                &[SYN, SYN],
                &[RST | ACK, RST | ACK],
                Refused,
            ),
            ("ACK scan", &[ACK], &[RST], Refused),
            ("lone RST (backscatter)", &[], &[RST | ACK], Refused),
            ("SYN-ACK, no more", &[SYN], &[SYN | ACK], HalfOpen),
            ("SYN-ACK repeated", &[SYN], &[SYN | ACK, SYN | ACK], HalfOpen),
            ("SYN scan", &[SYN, RST], &[SYN | ACK], HalfOpen),
            (
                "SYN scan, RST with ACK",
                &[SYN, RST | ACK],
                &[SYN | ACK],
                HalfOpen,
            ),
            ("lone SYN-ACK (backscatter)", &[], &[SYN | ACK], HalfOpen),
            ("SYN from both, no more", &[SYN], &[SYN], HalfOpen),
            ("handshake", &[SYN, ACK], &[SYN | ACK], Accepted),
            ("connect scan", &[SYN, ACK, RST | ACK], &[SYN | ACK], Accepted),
            (
                "handshake, then reset by the responder",
                &[SYN, ACK],
                &[SYN | ACK, RST],
                Accepted,
            ),
            ("only the responder seen", &[], &[SYN | ACK, ACK | PSH], Accepted),
            ("mid-stream, both ways", &[ACK], &[ACK | PSH], Accepted),
            ("mid-stream, reset", &[ACK], &[ACK, RST], Accepted),
            ("mid-stream, one way", &[ACK, ACK | PSH], &[], Unanswered),
            ("flags unknown, both ways", &[0], &[0], Accepted),
        ];
        for (name, initiator, responder, expected) in cases {
            assert_eq!(tcp(seen(initiator), seen(responder)), *expected, "{name}");
        }
    }

    #[test]
    fn a_datagram_is_accepted_once_answered() {
        assert_eq!(other(seen(&[])), Outcome::Unanswered);
        assert_eq!(other(seen(&[0])), Outcome::Accepted);
    }
}
