//! One connection, and what is known of it.

use std::net::IpAddr;

use flowmeter_common::flow::{protocol, tcp_flags};
use serde::{Deserialize, Serialize};

use super::{Seen, Sum};
use crate::{
    detect::table::Entry,
    enrich::Direction,
    flow::{InitiatorBasis, Outcome},
};

/// What is known of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::detect) enum Verdict {
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
    pub(in crate::detect) const fn failed(self) -> bool {
        matches!(self, Self::Refused | Self::Unanswered | Self::Probe)
    }
}

/// One connection: small, since there are many.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::detect) struct Contact {
    pub(in crate::detect) source: IpAddr,
    pub(in crate::detect) target: IpAddr,
    pub(in crate::detect) source_port: u16,
    /// The target's; for ICMP the type.
    pub(in crate::detect) port: u16,
    pub(in crate::detect) protocol: u8,
    /// The target is one host that can be attacked: no multicast, broadcast, loopback or link-local address.
    pub(in crate::detect) unicast: bool,
    pub(in crate::detect) verdict: Verdict,
    marks: Marks,
    /// Union of the TCP flags that the source sent, and of those that came back.
    pub(in crate::detect) sent_flags: u8,
    pub(in crate::detect) received_flags: u8,
    pub(super) ifindex: u32,
    pub(in crate::detect) start_ns: u64,
    pub(in crate::detect) last_ns: u64,
    pub(in crate::detect) sent: Total,
    pub(in crate::detect) received: Total,
}

/// With its key a connection takes a cache line and a half.
const _: () = assert!(size_of::<(u64, Contact)>() == 96);

/// What a connection carried one way; more than 4,294,967,295 packets are so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[repr(Rust, packed(4))]
pub(in crate::detect) struct Total {
    pub(in crate::detect) packets: u32,
    pub(in crate::detect) bytes: u64,
}

impl Total {
    pub(super) fn add(&mut self, slice: Sum) {
        let packets = u32::try_from(slice.packets).unwrap_or(u32::MAX);
        self.packets = self.packets.saturating_add(packets);
        self.bytes = self.bytes.saturating_add(slice.bytes);
    }
}

/// What else is either so or not, and the direction in the two lowest bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Marks(u8);

impl Marks {
    /// How sure it is which end opened it.
    const SURE: u8 = 1 << 2;
    /// Its start was in sight.
    const FRESH: u8 = 1 << 3;
    /// Its first packet had neither SYN nor ACK nor RST.
    const BARE: u8 = 1 << 4;
    const ENDED: u8 = 1 << 5;

    const fn has(self, mark: u8) -> bool {
        self.0 & mark != 0
    }

    fn set(&mut self, mark: u8, holds: bool) {
        self.0 = self.0 & !mark | if holds { mark } else { 0 };
    }
}

pub(super) fn direction(number: u8) -> Direction {
    match number & 3 {
        0 => Direction::InternalToInternal,
        1 => Direction::InternalToExternal,
        2 => Direction::ExternalToInternal,
        _ => Direction::ExternalToExternal,
    }
}

impl Contact {
    pub(super) fn new(seen: &Seen) -> Self {
        let mut marks = Marks(seen.direction);
        marks.set(Marks::SURE, seen.basis <= InitiatorBasis::Port);
        let whole = seen.first_ns == seen.start_ns;
        marks.set(
            Marks::FRESH,
            whole && (seen.protocol != protocol::TCP || seen.opens()),
        );
        let opening = tcp_flags::SYN | tcp_flags::ACK | tcp_flags::RST;
        marks.set(Marks::BARE, seen.first_flags & opening == 0);
        Self {
            source: seen.source,
            target: seen.target,
            source_port: seen.source_port,
            port: seen.port,
            protocol: seen.protocol,
            unicast: seen.unicast,
            verdict: Verdict::Pending,
            marks,
            sent_flags: 0,
            received_flags: 0,
            ifindex: seen.ifindex,
            start_ns: seen.start_ns,
            last_ns: seen.last_ns,
            sent: Total::default(),
            received: Total::default(),
        }
    }

    pub(super) fn settle_late(&mut self, flags_known: bool) {
        let outcome = if self.received.packets == 0 {
            Outcome::Unanswered
        } else if self.is_tcp() {
            Outcome::HalfOpen
        } else {
            Outcome::Accepted
        };
        self.verdict = self.judge(outcome, true, flags_known);
    }

    pub(in crate::detect) fn direction(&self) -> Direction {
        direction(self.marks.0)
    }

    /// It is sure enough which end opened it.
    pub(in crate::detect) fn sure(&self) -> bool {
        self.marks.has(Marks::SURE)
    }

    /// Its start was in sight (else it was under way when it was first met).
    pub(in crate::detect) fn fresh(&self) -> bool {
        self.marks.has(Marks::FRESH)
    }

    pub(in crate::detect) fn ended(&self) -> bool {
        self.marks.has(Marks::ENDED)
    }

    pub(super) fn set_ended(&mut self, ended: bool) {
        self.marks.set(Marks::ENDED, ended);
    }

    /// The target answered a TCP handshake.
    pub(in crate::detect) fn open(&self) -> bool {
        const ANSWER: u8 = tcp_flags::SYN | tcp_flags::ACK;
        self.received_flags & ANSWER == ANSWER
    }

    /// Something of what the source sent was seen.
    pub(in crate::detect) fn asked(&self) -> bool {
        self.sent.packets > 0
    }

    pub(in crate::detect) fn is_tcp(&self) -> bool {
        self.protocol == protocol::TCP
    }

    pub(in crate::detect) fn is_udp(&self) -> bool {
        self.protocol == protocol::UDP
    }

    pub(in crate::detect) fn is_echo(&self) -> bool {
        (self.protocol == protocol::ICMP && self.port == 8)
            || (self.protocol == protocol::ICMPV6 && self.port == 128)
    }

    pub(in crate::detect) fn source_inside(&self) -> bool {
        matches!(
            self.direction(),
            Direction::InternalToInternal | Direction::InternalToExternal
        )
    }

    pub(in crate::detect) fn target_inside(&self) -> bool {
        matches!(
            self.direction(),
            Direction::InternalToInternal | Direction::ExternalToInternal
        )
    }

    /// FIN, NULL or Xmas: a first packet that opens nothing.
    pub(in crate::detect) fn stealth(&self) -> bool {
        self.is_tcp() && self.asked() && self.marks.has(Marks::BARE) && self.sent_flags & tcp_flags::ACK == 0
    }

    /// What stands now, given all that was seen. `late`: no answer is waited for any longer. `flags_known`: this
    /// capture has TCP flags at all.
    pub(super) fn judge(&self, outcome: Outcome, late: bool, flags_known: bool) -> Verdict {
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
        match (self.ended(), self.verdict) {
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
