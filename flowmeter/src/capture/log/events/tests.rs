use std::{io::Cursor, time::Duration};

use super::*;
use crate::{
    capture::{
        log::LogSource,
        replay::{Replay, Source},
    },
    config::Tunnels,
};

const FLOW: &str = include_str!("../../../../../samples/flow-tcp.json");
const VLAN: &str = include_str!("../../../../../samples/flow-vlan-tunnel.ecs.json");
const SYNTHETIC: &str = include_str!("../../../../../samples/flow-synthetic.json");

fn source(text: String) -> Box<dyn Source> {
    Box::new(LogSource::new(
        "events.json",
        Cursor::new(text),
        EventParser::new(),
    ))
}

#[test]
fn what_is_no_flow_event_is_read_over() {
    for line in [
        "",
        include_str!("../../../../../samples/statistics.json"),
        include_str!("../../../../../samples/statistics.ecs.json"),
        include_str!("../../../../../samples/finding.json"),
        include_str!("../../../../../samples/finding.ecs.json"),
    ] {
        assert_eq!(
            EventParser::new().parse(line.as_bytes()),
            Ok(Parsed::Other),
            "{line}"
        );
    }
}

#[test]
fn slices_are_in_the_interval_of_their_last_packet_with_the_interfaces_of_the_replay() {
    let text = [VLAN.trim_end(), FLOW.trim_end()].join("\n");
    let mut replay = Replay::new(vec![source(text)], Duration::from_secs(10), Tunnels::Outer);
    let mut seen = Vec::new();
    while let Some(interval) = replay.next_interval() {
        assert!(!interval.synthetic && interval.batch.records.is_empty());
        for slice in interval.slices {
            let name = replay.interfaces().name(slice.ifindex).to_owned();
            let counters = interval.batch.interfaces[0].counters.seen;
            assert_eq!(
                (counters.packets, counters.wire_bytes),
                (slice.packets(), slice.wire_bytes())
            );
            seen.push((interval.start_ns / 1_000_000_000, name, slice.initiator.port));
        }
    }
    // 11:45:20 and 11:46:05.
    let expected = [(1_777_203_920, 40022), (1_777_203_960, 48739)]
        .map(|(second, port)| (second, "enp1s0".to_owned(), port));
    assert_eq!(seen, expected);
    assert_eq!(replay.lines().flows, 2);
}

#[test]
fn made_up_traffic_stays_marked() {
    let mut replay = Replay::new(
        vec![source(SYNTHETIC.to_owned())],
        Duration::from_secs(10),
        Tunnels::Outer,
    );
    assert!(replay.next_interval().unwrap().synthetic);
}

#[test]
fn slices_come_in_one_order() {
    let other = FLOW.replace("48739", "48740");
    let closing = FLOW.replace("\"end of Flow detected\"", "\"idle timeout\"");
    let orders = [[FLOW, &other, &closing], [&closing, &other, FLOW]];
    let [one, two] = orders.map(|lines| {
        let mut replay = Replay::new(
            vec![source(lines.concat())],
            Duration::from_secs(10),
            Tunnels::Outer,
        );
        replay.next_interval().unwrap().slices
    });
    assert_eq!(one.len(), 3);
    assert_eq!(one, two);
}

#[test]
fn a_fault_names_the_field_or_the_place() {
    for (wanted, given, told) in [
        (
            "\"2026-04-26T11:45:20.000000000Z\"",
            "\"now\"",
            "event.start is no time after 1970 that can be read",
        ),
        (
            "\"accepted\"",
            "\"perhaps\"",
            "flow.outcome is nothing that this version writes",
        ),
        (
            "\"9c1d0e4b7a2f5533\"",
            "\"x\"",
            "flow.id is no number, or too large",
        ),
        (
            "\"SYN\"",
            "\"SYM\"",
            "tcp.first_flags holds TCP flags that are not known",
        ),
        ("\"action\":", "\"axion\":", "event.action is missing"),
        (
            "\"iana_number\":6",
            "\"iana_number\":600",
            "no flow event of this version, from its byte",
        ),
    ] {
        let line = FLOW.replace(wanted, given);
        let fault = EventParser::new().parse(line.as_bytes()).unwrap_err().to_string();
        assert!(fault.starts_with(told), "{fault}");
    }
}
