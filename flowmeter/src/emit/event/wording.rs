//! Words of flow events with the text around them, joined when compiled: copied whole, each is a few moves.

#![expect(
    clippy::indexing_slicing,
    reason = "only evaluated when compiled: what does not fit does not compile"
)]

use flowmeter_common::{Tunnel, flow::tcp_flags};

use super::cursor::Piece;
use crate::{
    enrich::{Cast, Direction, protocol},
    flow::{EndReason, InitiatorBasis, Outcome},
};

/// A table of pieces: what a function makes of each value, at the place of the value's number.
macro_rules! table {
    ($values:expr, $value:ident => $piece:expr) => {{
        let mut pieces = [Piece::EMPTY; _];
        let values = $values;
        let mut at = 0;
        while at < values.len() {
            let $value = values[at];
            pieces[$value as usize] = $piece;
            at += 1;
        }
        pieces
    }};
}

const fn word<const N: usize>(before: &str, word: &str, after: &str) -> Piece<N> {
    Piece::EMPTY.text(before).text(word).text(after)
}

pub(super) static DIRECTIONS: [Piece<48>; 4] =
    table!(Direction::ALL, it => word(",\"direction\":\"", it.name(), "\",\"id\":\""));

pub(super) static NETWORK_DIRECTIONS: [Piece<32>; 4] =
    table!(Direction::ALL, it => word(",\"direction\":\"", it.ecs_name(), "\""));

pub(super) static OUTCOMES: [Piece<32>; 4] =
    table!(Outcome::ALL, it => word("\",\"outcome\":\"", it.name(), "\""));

/// From number 1 on.
pub(super) static END_REASONS: [Piece<40>; 6] =
    table!(EndReason::ALL, it => word(",\"end_reason\":\"", it.name(), "\""));

pub(super) static CASTS: [Piece<24>; 3] = table!(Cast::ALL, it => word(",\"cast\":\"", it.name(), "\""));

pub(super) static TUNNELS: [Piece<40>; 6] =
    table!(Tunnel::ALL, it => word(",\"tunnel\":{\"kind\":\"", it.name(), "\",\"id\":"));

pub(super) static INITIATORS: [Piece<64>; 5] = table!(InitiatorBasis::ALL, it => {
    word(",\"initiator\":{\"basis\":\"", it.name(), "\",\"confidence\":\"")
        .text(it.confidence())
        .text("\"")
});

/// As [`super::value::ProtocolName`].
pub(super) static PROTOCOLS: [Piece<16>; 256] = table!(every_byte(), it => match protocol::name(it) {
    Some(name) => word("\"", name.display, "\""),
    None => Piece::EMPTY.text("\"").number(it).text("\""),
});

/// As [`super::value::Transport`], with the number.
pub(super) static TRANSPORTS: [Piece<56>; 256] = table!(every_byte(), it => {
    let start = Piece::EMPTY.text(",\"transport\":\"");
    let named = match protocol::name(it) {
        Some(name) => start.text(name.keyword),
        None => start.number(it),
    };
    named.text("\",\"iana_number\":").number(it)
});

/// As [`super::value::TcpFlags`].
pub(super) static FLAGS: [Piece<40>; 256] = table!(every_byte(), it => {
    let mut flags = Piece::EMPTY;
    let mut name = 0;
    while name < tcp_flags::NAMES.len() {
        let (bit, letters) = tcp_flags::NAMES[name];
        if it & bit != 0 {
            flags = flags.text(if flags.length == 0 { "\"" } else { "," }).text(letters);
        }
        name += 1;
    }
    if it == 0 { flags.text("\"NONE\"") } else { flags.text("\"") }
});

/// The parts of an IPv4 address, each with a dot behind it.
pub(super) static OCTETS: [Piece<4>; 256] = table!(every_byte(), it => Piece::EMPTY.number(it).text("."));

const fn every_byte() -> [u8; 256] {
    let mut bytes = [0; 256];
    let mut byte = 0;
    while byte < bytes.len() {
        bytes[byte] = byte.to_le_bytes()[0];
        byte += 1;
    }
    bytes
}
