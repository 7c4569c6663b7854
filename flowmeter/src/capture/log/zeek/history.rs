//! What each side of a TCP connection sent, from Zeek's `history`.
//!
//! A letter is a kind of packet, in the order in which they came; upper case for the originator. `s`, `h`, `f` and
//! `r` stand as often as their sequence numbers changed, `a` and `d` once: so counts are the least that there
//! were. What the number of packets adds to that is made up of what the side is known to send: a side that only
//! sent SYNs sent nothing else in its other packets.

use flowmeter_common::{
    FlowCounters,
    flow::tcp_flags::{ACK, FIN, RST, SYN},
};

/// The least that must have happened, where a log has only `conn_state` (Zeek's main.zeek of base/protocols/conn).
pub(super) fn of_state(state: &[u8]) -> &'static [u8] {
    match state {
        b"S0" => b"S",
        b"S1" => b"ShA",
        b"SF" => b"ShAFf",
        b"REJ" => b"Sr",
        b"S2" => b"ShAF",
        b"S3" => b"ShAf",
        b"RSTO" => b"ShAR",
        b"RSTR" => b"ShAr",
        b"RSTOS0" => b"SR",
        b"RSTRH" => b"hr",
        b"SH" => b"SF",
        b"SHR" => b"hf",
        b"OTH" => b"Aa",
        _ => b"",
    }
}

/// What one side sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Side {
    /// The least number of packets.
    pub(super) packets: u64,
    syn: u32,
    syn_ack: u32,
    fin: u32,
    rst: u32,
    flags: u8,
    first_flags: Option<u8>,
    /// An ACK, with data or without, that is no part of the handshake and no reset.
    plain: bool,
}

/// Originator and responder.
#[inline]
pub(super) fn sides(history: &[u8], tcp: bool) -> (Side, Side) {
    let (mut originator, mut responder) = (Side::default(), Side::default());
    for &letter in history {
        let side = if letter.is_ascii_uppercase() {
            &mut originator
        } else {
            &mut responder
        };
        side.saw(letter.to_ascii_lowercase(), tcp);
    }
    (originator, responder)
}

impl Side {
    #[inline]
    fn saw(&mut self, letter: u8, tcp: bool) {
        let flags = match letter {
            _ if !tcp => 0,
            b's' => SYN,
            b'h' => SYN | ACK,
            b'f' => FIN | ACK,
            b'r' => RST,
            // With SYN and FIN, or SYN and RST.
            b'q' => SYN,
            // With FIN and RST.
            b'i' => FIN | RST,
            b'a' | b'd' | b't' | b'w' => ACK,
            _ => 0,
        };
        match letter {
            b's' | b'q' => self.syn += 1,
            b'h' => self.syn_ack += 1,
            b'f' => self.fin += 1,
            b'r' => self.rst += 1,
            b'i' => {
                self.fin += 1;
                self.rst += 1;
            }
            b'a' | b'd' => {}
            // Retransmissions, zero windows and bad checksums were packets of another letter as well; gaps,
            // the flip of direction and limits were none.
            _ => {
                self.flags |= flags;
                return;
            }
        }
        self.packets += 1;
        self.flags |= flags;
        self.first_flags.get_or_insert(flags);
        self.plain |= matches!(letter, b'a' | b'd' | b'f');
    }

    /// Sets the TCP flags of `counters`, which have their packets.
    #[inline]
    pub(super) fn set(&self, counters: &mut FlowCounters) {
        let packets = u32::try_from(counters.packets).unwrap_or(u32::MAX);
        let (mut syn, mut syn_ack, mut rst) = (self.syn, self.syn_ack, self.rst);
        let told = syn.saturating_add(syn_ack).saturating_add(rst);
        if !self.plain {
            // Repeated with the same sequence number. A handshake is what gets repeated, a reset rarely.
            let again = packets.saturating_sub(told);
            if syn_ack > 0 {
                syn_ack = syn_ack.saturating_add(again);
            } else if syn > 0 {
                syn = syn.saturating_add(again);
            } else if rst > 0 {
                rst = rst.saturating_add(again);
            }
        }
        counters.syn = syn.min(packets);
        counters.syn_ack = syn_ack.min(packets);
        counters.fin = self.fin.min(packets);
        counters.rst = rst.min(packets);
        counters.tcp_flags = u32::from(self.flags);
        counters.first_tcp_flags = self.first_flags.unwrap_or(self.flags);
    }
}
