//! TCP flags of a record: the union over its packets, in pmacct as in NetFlow.
//!
//! For a single packet that is exact. For more, what each packet had is not known, and only what is sure, or
//! as good as sure, is counted. A union of SYN, ACK and more is sent by both ends of any connection: it says
//! nothing about who opened it, so it counts as packets with ACK, and ports or times decide.

use flowmeter_common::{
    FlowCounters,
    flow::{
        flag_count,
        tcp_flags::{ACK, FIN, NAMES, PSH, RST, SYN, URG},
    },
};

use crate::capture::log::{json::Value, number::small};

/// A number, as a number or as text, or with `tcpflags_encode_as_array` a list of names.
#[inline]
pub(super) fn union(value: Value<'_>) -> Option<u8> {
    match value {
        Value::Text(text) | Value::Word(text) => match text {
            b"" | b"null" => Some(0),
            // IPFIX has reserved bits above.
            _ => small::<u16>(text).map(|flags| flags.to_le_bytes()[0]),
        },
        Value::Nested(list) => named(list),
    }
}

fn named(list: &[u8]) -> Option<u8> {
    let inside = list.strip_prefix(b"[")?.strip_suffix(b"]")?.trim_ascii();
    if inside.is_empty() {
        return Some(0);
    }
    inside.split(|&byte| byte == b',').try_fold(0, |flags, name| {
        let name = name.trim_ascii().strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        if name == b"NULL" {
            return Some(flags);
        }
        let flag = NAMES.iter().find(|(_, known)| known.as_bytes() == name);
        flag.map(|(bit, _)| flags | bit)
    })
}

/// Sets what follows for `counters`, which have their packets.
#[inline]
pub(super) fn set(counters: &mut FlowCounters, union: u8) {
    counters.tcp_flags = u32::from(union);
    counters.first_tcp_flags = union;
    if counters.packets == 1 {
        counters.syn = flag_count(union, SYN, ACK);
        counters.syn_ack = flag_count(union, SYN | ACK, 0);
        counters.fin = flag_count(union, FIN, 0);
        counters.rst = flag_count(union, RST, 0);
        return;
    }
    let all = u32::try_from(counters.packets).unwrap_or(u32::MAX);
    let has = |flags: u8| u32::from(union & flags != 0);
    match union & (SYN | ACK | FIN | RST | PSH | URG) {
        // Attempts repeated.
        SYN => counters.syn = all,
        // Answers repeated: a connection that was opened has data or an end as well.
        flags if flags == SYN | ACK => counters.syn_ack = all,
        // Refusals repeated: none of them carries data.
        flags if flags == RST || flags == RST | ACK => counters.rst = all,
        flags if flags & (SYN | ACK) == SYN => {
            counters.first_tcp_flags = SYN;
            counters.syn = 1;
            counters.fin = has(FIN);
            counters.rst = has(RST);
        }
        flags if flags & SYN != 0 => {
            counters.first_tcp_flags = ACK;
            counters.fin = has(FIN);
            counters.rst = has(RST);
        }
        // Mid-stream, or a probe without ACK. An end comes last.
        flags if flags & ACK != 0 => {
            counters.first_tcp_flags = union & !(FIN | RST);
            counters.fin = has(FIN);
            counters.rst = has(RST);
        }
        _ => {
            counters.fin = has(FIN);
            counters.rst = has(RST);
        }
    }
}
