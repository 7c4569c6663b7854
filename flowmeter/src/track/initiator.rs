//! Which end opened a connection.

use flowmeter_common::{
    FlowCounters,
    flow::tcp_flags::{ACK, RST, SYN},
};

use super::key::{ConnectionKey, NO_COUNTERPART, is_request};
use crate::flow::InitiatorBasis;

/// The end (0 low, 1 high) that opened the connection, from what both sent in its first interval.
pub(super) fn initiator(key: &ConnectionKey, sent: &[FlowCounters; 2]) -> (usize, InitiatorBasis) {
    let [low, high] = sent;
    if key.is_icmp() {
        let [low_type, high_type] = key.ports();
        let opener = if high_type == NO_COUNTERPART || is_request(key.protocol, low_type) {
            0
        } else {
            1
        };
        let opener = if low_type == NO_COUNTERPART { 1 } else { opener };
        return (opener, InitiatorBasis::IcmpType);
    }
    if key.is_tcp()
        && let Some(opener) = by_flags(low, high)
    {
        return (opener, InitiatorBasis::TcpFlags);
    }
    let [low_rank, high_rank] = key.ports().map(rank);
    if low_rank != high_rank {
        return (usize::from(low_rank < high_rank), InitiatorBasis::Port);
    }
    match (low.packets > 0, high.packets > 0) {
        (true, false) => (0, InitiatorBasis::Time),
        (false, true) => (1, InitiatorBasis::Time),
        _ if low.first_ns != high.first_ns => {
            (usize::from(high.first_ns < low.first_ns), InitiatorBasis::Time)
        }
        _ => (0, InitiatorBasis::Address),
    }
}

/// A SYN is the opener's, a SYN-ACK the other's, and a lone RST answers what was not seen.
fn by_flags(low: &FlowCounters, high: &FlowCounters) -> Option<usize> {
    let first = |counters: &FlowCounters, wanted: u8| {
        counters.packets > 0 && counters.first_tcp_flags & (SYN | ACK | RST) == wanted
    };
    let low_opened = first(low, SYN) || first(high, SYN | ACK);
    let high_opened = first(high, SYN) || first(low, SYN | ACK);
    match (low_opened, high_opened) {
        (true, _) => Some(0),
        (false, true) => Some(1),
        _ if high.packets == 0 && low.first_tcp_flags & RST != 0 => Some(1),
        _ if low.packets == 0 && high.first_tcp_flags & RST != 0 => Some(0),
        _ => None,
    }
}

/// The lower, the likelier the port is a service's. Between ranks that are equal, ports tell nothing.
fn rank(port: u16) -> u8 {
    match port {
        0 => 3,
        20..=23
        | 25
        | 53
        | 67
        | 80
        | 88
        | 110
        | 123
        | 135
        | 139
        | 143
        | 161
        | 389
        | 443
        | 445
        | 465
        | 514
        | 587
        | 636
        | 853
        | 993
        | 995
        | 1433
        | 1521
        | 3306
        | 3389
        | 5353
        | 5432
        | 5985
        | 5986
        | 6379
        | 8080
        | 8443 => 0,
        1..1024 => 1,
        // Registered ports, below the ephemeral range of Linux (ip_local_port_range).
        1024..32768 => 2,
        32768.. => 3,
    }
}
