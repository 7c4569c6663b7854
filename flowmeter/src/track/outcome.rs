//! What became of a connection attempt.

use flowmeter_common::flow::tcp_flags::{ACK, RST, SYN};

use super::key::{ConnectionKey, NO_COUNTERPART};
use crate::flow::Outcome;

/// From what both ends (0 low, 1 high) sent so far.
pub(super) fn outcome(
    key: &ConnectionKey,
    opener: usize,
    flags: [u8; 2],
    syn_ack: [bool; 2],
    sent: [bool; 2],
) -> Outcome {
    let of = |pair: [u8; 2]| {
        if opener == 0 {
            (pair[0], pair[1])
        } else {
            (pair[1], pair[0])
        }
    };
    let (initiator, responder) = of(flags);
    let (_, answered) = of(sent.map(u8::from));
    let (_, responder_syn_ack) = of(syn_ack.map(u8::from));
    if answered == 0 || (key.is_icmp() && key.ports().contains(&NO_COUNTERPART)) {
        return Outcome::Unanswered;
    }
    if !key.is_tcp() {
        return Outcome::Accepted;
    }
    if responder_syn_ack != 0 {
        // A scanner answers the SYN-ACK by RST, or not at all.
        return if initiator & ACK != 0 {
            Outcome::Accepted
        } else {
            Outcome::HalfOpen
        };
    }
    if responder & RST != 0 && (initiator & SYN != 0 || responder & !(RST | ACK) == 0) {
        return Outcome::Refused;
    }
    // Seen from the middle on, with traffic both ways.
    Outcome::Accepted
}
