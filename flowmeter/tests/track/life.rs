//! A connection's life: both directions, ends, what comes late.

use std::time::Duration;

use flowmeter::{
    config,
    flow::{EndReason, FlowRecord, InitiatorBasis, Outcome, Slice},
    track::Tracker,
};
use flowmeter_common::flow::{
    protocol::{ICMP, TCP},
    tcp_flags::{ACK, FIN, PSH, RST, SYN},
};

use crate::traffic::{Way, interval, ip, one, quiet, seconds, tracker};

const SYN_ACK: u8 = SYN | ACK;
const FIN_ACK: u8 = FIN | ACK;
const DATA: u8 = PSH | ACK;

fn web() -> Way {
    Way::tcp((9, 40000), (1, 443))
}

/// A whole connection from `start` to a little after it.
fn whole(way: Way, start: f64) -> [FlowRecord; 2] {
    [
        way.packets(&[
            (start, SYN),
            (start + 0.02, ACK),
            (start + 0.03, FIN_ACK),
            (start + 0.05, ACK),
        ]),
        way.back()
            .packets(&[(start + 0.01, SYN_ACK), (start + 0.04, FIN_ACK)]),
    ]
}

#[test]
fn both_directions_make_one_slice() {
    let request = web().packets(&[(1.0, SYN), (1.2, ACK), (1.3, DATA)]);
    let reply = web().back().egress().packets(&[(1.1, SYN_ACK), (1.5, DATA)]);
    let slice = one(&mut tracker(8), &[reply, request], 10.0);
    assert_eq!((slice.initiator.ip, slice.initiator.port), (ip(9), 40000));
    assert_eq!((slice.responder.ip, slice.responder.port), (ip(1), 443));
    assert_eq!(slice.basis, InitiatorBasis::TcpFlags);
    assert_eq!(slice.outcome, Outcome::Accepted);
    assert_eq!((slice.forward, slice.reverse), (request.counters, reply.counters));
    assert_eq!((slice.start_ns, slice.last_ns), (seconds(1.0), seconds(1.5)));
    assert_eq!((slice.ifindex, slice.protocol, slice.ipv6), (2, TCP, false));
    assert_eq!(slice.end, None);
}

#[test]
fn the_initiator_leaves_if_its_packets_do_or_the_answers_enter() {
    let syn = web().packet(1.0, SYN);
    let cases = [
        (
            "request in, reply out",
            vec![syn, web().back().egress().packet(1.1, SYN_ACK)],
            false,
        ),
        (
            "request out, reply in",
            vec![web().egress().packet(1.0, SYN), web().back().packet(1.1, SYN_ACK)],
            true,
        ),
        ("request out alone", vec![web().egress().packet(1.0, SYN)], true),
        ("reply in alone", vec![web().back().packet(1.1, SYN_ACK)], true),
        (
            "reply out alone",
            vec![web().back().egress().packet(1.1, SYN_ACK)],
            false,
        ),
    ];
    for (name, records, expected) in cases {
        assert_eq!(
            one(&mut tracker(8), &records, 10.0).initiator_egress,
            expected,
            "{name}"
        );
    }
}

#[test]
fn icmp_ports_are_the_requests_type_and_the_code() {
    let request = Way::new(ICMP, (9, 8), (1, 0));
    let reply = Way::new(ICMP, (1, 0), (9, 0));
    let slice = one(
        &mut tracker(8),
        &[reply.packet(1.1, 0), request.packet(1.0, 0)],
        10.0,
    );
    assert_eq!((slice.initiator.ip, slice.initiator.port), (ip(9), 8));
    assert_eq!((slice.responder.ip, slice.responder.port), (ip(1), 0));
    assert_eq!((slice.forward.packets, slice.reverse.packets), (1, 1));
    assert_eq!(
        (slice.basis, slice.outcome),
        (InitiatorBasis::IcmpType, Outcome::Accepted)
    );

    let unreachable = Way::new(ICMP, (9, 3), (1, 13)).packet(1.0, 0);
    let slice = one(&mut tracker(8), &[unreachable], 10.0);
    assert_eq!(
        (slice.initiator.ip, slice.initiator.port, slice.responder.port),
        (ip(9), 3, 13)
    );
    assert_eq!(slice.outcome, Outcome::Unanswered);
}

#[test]
fn a_connection_keeps_its_identity_over_intervals_and_its_outcome_grows() {
    let mut tracker = tracker(8);
    let syn = one(&mut tracker, &[web().packet(9.9, SYN)], 10.0);
    let answered = one(&mut tracker, &[web().back().packet(10.1, SYN_ACK)], 20.0);
    let accepted = one(&mut tracker, &[web().packet(20.1, ACK)], 30.0);
    let reset = one(&mut tracker, &[web().back().packet(39.9, RST)], 40.0);
    let outcomes = [&syn, &answered, &accepted, &reset].map(|slice| slice.outcome);
    assert_eq!(
        outcomes,
        [
            Outcome::Unanswered,
            Outcome::HalfOpen,
            Outcome::Accepted,
            Outcome::Accepted
        ]
    );
    for slice in [&answered, &accepted, &reset] {
        assert_eq!((slice.id, slice.start_ns), (syn.id, syn.start_ns));
        assert_eq!((slice.initiator, slice.basis), (syn.initiator, syn.basis));
        assert_eq!(slice.packets(), 1, "deltas, not totals");
    }
    assert_eq!(reset.last_ns, seconds(39.9));
}

#[test]
fn what_was_accepted_stays_accepted() {
    let mut tracker = tracker(8);
    // Flags are unknown here: an answer is an answer.
    let answered = one(
        &mut tracker,
        &[web().packet(1.0, 0), web().back().packet(1.1, 0)],
        10.0,
    );
    assert_eq!(answered.outcome, Outcome::Accepted);
    let reset = one(&mut tracker, &[web().back().packet(11.0, RST)], 20.0);
    assert_eq!((reset.id, reset.outcome), (answered.id, Outcome::Accepted));
}

#[test]
fn records_of_one_key_have_their_own_ids_even_if_the_clock_goes_back() {
    let mut tracker = tracker(8);
    let reset = [web().packet(5.0, SYN), web().back().packet(5.0, RST)];
    let first = one(&mut tracker, &reset, 10.0);
    let second = one(&mut tracker, &reset, 20.0);
    assert_ne!(second.id, first.id);
    assert!(second.start_ns > first.start_ns);
}

#[test]
fn a_finished_connection_ends_in_the_slice_of_its_traffic() {
    for (name, records) in [
        ("FIN from both", whole(web(), 1.0).to_vec()),
        (
            "RST",
            vec![web().packet(1.0, SYN), web().back().packet(1.1, RST | ACK)],
        ),
    ] {
        let mut tracker = tracker(8);
        let slice = one(&mut tracker, &records, 10.0);
        assert_eq!(slice.end, Some(EndReason::EndOfFlowDetected), "{name}");
        assert_eq!(quiet(&mut tracker, 400.0), [], "{name}");
        assert_eq!(tracker.statistics().connections, 0, "{name}");
    }
    let half_closed = one(
        &mut tracker(8),
        &[web().packet(1.0, FIN_ACK), web().back().packet(1.1, ACK)],
        10.0,
    );
    assert_eq!(half_closed.end, None);
}

#[test]
fn a_connection_that_finishes_at_the_close_waits_for_its_last_acks() {
    let mut tracker = tracker(8);
    let first = one(&mut tracker, &whole(web(), 9.93), 10.0);
    assert_eq!(first.end, None, "its last packet is 20 ms old");
    let last = one(&mut tracker, &[web().packet(10.1, ACK)], 20.0);
    assert_eq!((last.id, last.packets()), (first.id, 1));
    assert_eq!(last.end, Some(EndReason::EndOfFlowDetected));
}

#[test]
fn a_connection_that_finishes_at_the_close_ends_without_traffic_if_none_comes() {
    let mut tracker = tracker(8);
    let first = one(&mut tracker, &whole(web(), 9.93), 10.0);
    assert_eq!(quiet(&mut tracker, 10.5), []);
    let last = one(&mut tracker, &[], 11.0);
    assert_eq!((last.id, last.packets()), (first.id, 0));
    assert_eq!(last.end, Some(EndReason::EndOfFlowDetected));
    assert_eq!((last.start_ns, last.last_ns), (first.start_ns, first.last_ns));
}

#[test]
fn packets_after_the_end_belong_to_it_and_carry_it_again() {
    let mut tracker = tracker(8);
    let ended = one(&mut tracker, &whole(web(), 1.0), 10.0);
    for (at, flags) in [(15.0, ACK), (25.0, FIN_ACK), (35.0, RST)] {
        let late = one(&mut tracker, &[web().packet(at, flags)], at + 5.0);
        assert_eq!((late.id, late.packets()), (ended.id, 1));
        assert_eq!(late.end, Some(EndReason::EndOfFlowDetected));
        assert_eq!(late.outcome, Outcome::Accepted);
    }
    // 60 s after the last of them nothing is left to belong to.
    assert_eq!(quiet(&mut tracker, 95.0), []);
    let other = one(&mut tracker, &[web().packet(95.1, ACK)], 100.0);
    assert_ne!(other.id, ended.id);
}

#[test]
fn a_packet_after_the_linger_time_is_another_connection_whatever_the_interval() {
    let mut tracker = tracker(8);
    let ended = one(&mut tracker, &whole(web(), 1.0), 10.0);
    let other = one(&mut tracker, &[web().packet(100.0, ACK)], 3600.0);
    assert_ne!(other.id, ended.id);
    assert_eq!(
        (other.basis, other.outcome, other.end),
        (
            InitiatorBasis::Port,
            Outcome::Unanswered,
            Some(EndReason::IdleTimeout)
        )
    );
}

#[test]
fn a_syn_on_a_finished_connection_is_a_new_one() {
    let mut tracker = tracker(8);
    let first = one(&mut tracker, &whole(web(), 1.0), 10.0);
    let late_ack = web().packet(10.1, ACK);
    let refused = [
        web().packet(12.0, SYN),
        late_ack,
        web().back().packet(12.1, RST | ACK),
    ];
    let second = one(&mut tracker, &refused, 20.0);
    assert_ne!(second.id, first.id);
    assert_eq!(
        (second.basis, second.outcome),
        (InitiatorBasis::TcpFlags, Outcome::Refused)
    );
    // The other end may open the next one.
    let third = one(&mut tracker, &[web().back().packet(25.0, SYN)], 30.0);
    assert_eq!(
        (third.initiator.ip, third.basis),
        (ip(1), InitiatorBasis::TcpFlags)
    );
}

#[test]
fn a_reused_port_ends_the_old_connection_if_that_was_still_to_be_told() {
    let mut tracker = tracker(8);
    let first = one(&mut tracker, &whole(web(), 9.93), 10.0);
    let slices = interval(&mut tracker, &[web().packet(10.2, SYN)], 20.0);
    let [old, new] = slices.as_slice() else {
        panic!("{slices:#?}")
    };
    assert_eq!((old.id, old.packets()), (first.id, 0));
    assert_eq!(old.end, Some(EndReason::EndOfFlowDetected));
    assert_eq!((new.packets(), new.start_ns, new.end), (1, seconds(10.2), None));
}

#[test]
fn a_repeated_syn_is_no_new_connection() {
    let mut tracker = tracker(8);
    let first = one(&mut tracker, &[web().packet(9.0, SYN)], 10.0);
    let again = one(&mut tracker, &[web().packet(12.0, SYN)], 20.0);
    assert_eq!((again.id, again.outcome), (first.id, Outcome::Unanswered));
}

#[test]
fn a_connection_that_outlives_a_reset_goes_on() {
    let data = |at| [web().packet(at, DATA), web().back().packet(at + 0.1, DATA)];
    // Its end was not told yet: the same record.
    let mut still_open = tracker(8);
    let opened = one(
        &mut still_open,
        &[web().packet(9.0, SYN), web().back().packet(9.9, RST)],
        10.0,
    );
    assert_eq!(opened.end, None);
    let goes_on = one(&mut still_open, &data(11.0), 20.0);
    assert_eq!((goes_on.id, goes_on.end), (opened.id, None));
    // Its end was told: a new record, the same initiator, no further end.
    let mut told = tracker(8);
    let ended = one(
        &mut told,
        &[web().packet(1.0, SYN), web().back().packet(1.1, RST)],
        10.0,
    );
    assert_eq!(ended.end, Some(EndReason::EndOfFlowDetected));
    let goes_on = one(&mut told, &data(11.0), 20.0);
    assert_ne!(goes_on.id, ended.id);
    assert_eq!((goes_on.initiator, goes_on.basis), (ended.initiator, ended.basis));
    assert_eq!((goes_on.start_ns, goes_on.end), (seconds(11.0), None));
    // In-flight data of the end that was reset proves nothing.
    let mut in_flight = tracker(8);
    let ended = one(
        &mut in_flight,
        &[web().packet(1.0, SYN), web().back().packet(1.1, RST)],
        10.0,
    );
    let late = one(&mut in_flight, &[web().packet(10.1, DATA)], 20.0);
    assert_eq!((late.id, late.end), (ended.id, ended.end));
}

#[test]
fn a_port_that_is_reused_within_one_interval_stays_one_connection_that_has_not_finished() {
    let mut tracker = tracker(8);
    let mut both = whole(web(), 9.0);
    for (old, new) in both.iter_mut().zip(whole(web(), 9.9)) {
        old.counters.merge(&new.counters);
    }
    let first = one(&mut tracker, &both, 10.0);
    for at in [11.0, 21.0] {
        let goes_on = one(&mut tracker, &[web().packet(at, DATA)], at + 9.0);
        assert_eq!((goes_on.id, goes_on.end), (first.id, None));
    }
    assert_eq!(quiet(&mut tracker, 40.0), []);
    let closed = [web().packet(41.0, FIN_ACK), web().back().packet(41.1, FIN_ACK)];
    assert_eq!(
        one(&mut tracker, &closed, 50.0).end,
        Some(EndReason::EndOfFlowDetected)
    );
}

#[test]
fn the_idle_timeout_ends_a_connection_at_the_first_close_after_it() {
    for (name, way, flags, idle) in [
        ("UDP", Way::udp((9, 40000), (1, 53)), 0, 60.0),
        ("TCP", web(), ACK, 300.0),
    ] {
        let mut tracker = tracker(8);
        let first = one(&mut tracker, &[way.packet(4.0, flags)], 10.0);
        assert_eq!(quiet(&mut tracker, 4.0 + idle - 0.1), [], "{name}");
        let last = one(&mut tracker, &[], 4.0 + idle);
        assert_eq!(
            (last.id, last.packets(), last.last_ns),
            (first.id, 0, seconds(4.0)),
            "{name}"
        );
        assert_eq!(last.end, Some(EndReason::IdleTimeout), "{name}");
        assert_eq!(tracker.statistics().connections, 0, "{name}");
    }
}

#[test]
fn traffic_puts_the_idle_timeout_off() {
    let way = Way::udp((9, 40000), (1, 53));
    let mut tracker = tracker(8);
    let first = one(&mut tracker, &[way.packet(4.0, 0)], 10.0);
    let second = one(&mut tracker, &[way.packet(63.0, 0)], 70.0);
    assert_eq!((second.id, second.end), (first.id, None));
    assert_eq!(quiet(&mut tracker, 122.9), []);
    assert_eq!(one(&mut tracker, &[], 123.0).end, Some(EndReason::IdleTimeout));
}

#[test]
fn a_pause_over_the_idle_timeout_splits_also_within_one_interval() {
    let way = Way::udp((9, 40000), (1, 53));
    let mut tracker = tracker(8);
    let first = one(&mut tracker, &[way.packet(9.0, 0)], 10.0);
    let slices = interval(&mut tracker, &[way.packet(69.0, 0)], 70.0);
    let [ended, new] = slices.as_slice() else {
        panic!("{slices:#?}")
    };
    assert_eq!(
        (ended.id, ended.packets(), ended.end),
        (first.id, 0, Some(EndReason::IdleTimeout))
    );
    assert_eq!((new.packets(), new.start_ns, new.end), (1, seconds(69.0), None));
    assert_ne!(new.id, first.id);
}

#[test]
fn connections_of_one_interval_idle_out_each_in_its_own_time() {
    let mut tracker = tracker(8);
    let records = [(8, 8.0), (2, 2.0), (5, 5.0)].map(|(to, at)| Way::udp((9, 40000), (to, 53)).packet(at, 0));
    assert_eq!(interval(&mut tracker, &records, 10.0).len(), 3);
    for at in [2.0, 5.0, 8.0] {
        assert_eq!(one(&mut tracker, &[], at + 60.0).last_ns, seconds(at));
    }
}

#[test]
fn a_clock_that_is_off_neither_ends_nor_keeps_a_connection() {
    let way = Way::udp((9, 40000), (1, 53));
    for at in [0.0, 1e9] {
        let mut tracker = tracker(8);
        tracker.close_interval(seconds(1000.0), &mut Vec::new());
        assert_eq!(one(&mut tracker, &[way.packet(at, 0)], 1010.0).end, None);
        assert_eq!(quiet(&mut tracker, 1059.9), []);
        assert_eq!(
            one(&mut tracker, &[], 1070.0).end,
            Some(EndReason::IdleTimeout),
            "packet at {at}"
        );
    }
}

#[test]
fn the_active_timeout_starts_a_new_record_of_the_same_connection() {
    let mut tracker = Tracker::new(&config::Track {
        active_timeout: Duration::from_secs(60),
        ..config::Track::default()
    });
    let open = [
        web().packets(&[(5.0, SYN), (5.2, ACK)]),
        web().back().packet(5.1, SYN_ACK),
    ];
    let first = one(&mut tracker, &open, 10.0);
    assert_eq!(one(&mut tracker, &[web().packet(64.0, DATA)], 64.5).end, None);
    let cut = one(&mut tracker, &[web().packet(65.0, DATA)], 70.0);
    assert_eq!(
        (cut.id, cut.packets(), cut.end),
        (first.id, 1, Some(EndReason::ActiveTimeout))
    );
    assert_eq!(quiet(&mut tracker, 80.0), []);
    // Seen from here it would look as if the server had opened it.
    let next = one(&mut tracker, &[web().back().packet(85.0, DATA)], 90.0);
    assert_ne!(next.id, first.id);
    assert_eq!((next.start_ns, next.end), (seconds(85.0), None));
    assert_eq!(
        (next.initiator, next.basis, next.outcome),
        (first.initiator, first.basis, Outcome::Accepted)
    );
    assert_eq!(one(&mut tracker, &[], 390.0).end, Some(EndReason::IdleTimeout));
}

#[test]
fn no_second_end_follows_an_active_timeout_without_more_traffic() {
    let mut tracker = tracker(8);
    one(&mut tracker, &[web().packet(5.0, DATA)], 10.0);
    let talk: Vec<Slice> = (1..=20)
        .map(|n| f64::from(n) * 200.0)
        .map(|at| one(&mut tracker, &[web().packet(at, DATA)], at + 1.0))
        .collect();
    assert_eq!(talk.iter().filter(|slice| slice.end.is_some()).count(), 1);
    let mut tracker = Tracker::new(&config::Track {
        active_timeout: Duration::from_secs(60),
        ..config::Track::default()
    });
    let cut = one(&mut tracker, &[web().packets(&[(5.0, ACK), (65.0, ACK)])], 70.0);
    assert_eq!(cut.end, Some(EndReason::ActiveTimeout));
    assert_eq!(quiet(&mut tracker, 1000.0), []);
    assert_eq!(tracker.statistics().connections, 0);
}
