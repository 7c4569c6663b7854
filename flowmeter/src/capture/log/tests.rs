use std::{io::Cursor, time::Duration};

use jiff::tz::TimeZone;
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    capture::{
        problem::TimeFrom,
        replay::{Interval, Replay},
    },
    config::Tunnels,
    flow::FlowRecord,
};

const START: u64 = 1_777_203_920;

fn pmacct(bytes: impl Into<Vec<u8>>) -> Box<dyn Source> {
    let parser = PmacctParser::new(START * 1_000_000_000, TimeFrom::Given, TimeZone::UTC);
    Box::new(LogSource::new("flows.json", Cursor::new(bytes.into()), parser))
}

fn zeek(bytes: impl Into<Vec<u8>>) -> Box<dyn Source> {
    Box::new(LogSource::new(
        "conn.log",
        Cursor::new(bytes.into()),
        ZeekParser::new(),
    ))
}

fn replayed(sources: Vec<Box<dyn Source>>) -> (Vec<Interval>, Replay) {
    let mut replay = Replay::new(sources, Duration::from_secs(10), Tunnels::Outer);
    let mut all = Vec::new();
    while let Some(interval) = replay.next_interval() {
        all.push(interval);
    }
    (all, replay)
}

fn line(second: u64, last: u8, exporter: u8) -> String {
    let second = START + second;
    format!(
        r#"{{"peer_ip_src": "203.0.113.{exporter}", "ip_src": "192.0.2.{last}", "ip_dst": "198.51.100.7", "ip_proto": "gre", "timestamp_start": {START}, "timestamp_end": {second}, "packets": 1, "bytes": 100}}"#
    )
}

#[test]
fn what_cannot_be_read_is_told_with_its_place_and_the_rest_is_used() {
    let mut lines = vec![line(0, 1, 9), "{".to_owned(), String::new(), line(1, 1, 9)];
    lines.push(line(2, 1, 9).replace("192.0.2.1", "192.0.2.999"));
    lines.extend((0..20).map(|_| "x".to_owned()));
    lines.push(line(2, 1, 9).replace("\"packets\": 1", "\"packets\": 0"));
    lines.push("x".repeat((1 << 20) + 1));
    lines.push(line(3, 1, 9));
    let text = lines.join("\r\n");
    let (intervals, mut replay) = replayed(vec![pmacct(text.clone())]);
    let [interval] = intervals.as_slice() else {
        panic!("{intervals:?}")
    };
    let [record] = interval.batch.records.as_slice() else {
        panic!("{interval:?}")
    };
    assert_eq!((record.counters.packets, record.counters.l3_bytes), (3, 300));
    let counts = replay.lines();
    let expected = LineCounts {
        read: lines.len() as u64,
        flows: 3,
        empty: 1,
        other: 1,
        broken: 23,
    };
    assert_eq!(counts, expected);
    let problems = replay.take_problems();
    let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let first = lines[0].len() + 2;
    assert_eq!(
        told[0],
        format!("flows.json: at byte {first}: line 2: no JSON object, from its byte 1 on; it was left out")
    );
    let wrong = text.find("192.0.2.999").unwrap() - r#"{"peer_ip_src": "203.0.113.9", "ip_src": ""#.len();
    assert_eq!(
        told[1],
        format!("flows.json: at byte {wrong}: line 5: ip_src is no IP address; it was left out")
    );
    assert_eq!(told.len(), 11);
    assert_eq!(
        told[10],
        format!(
            "flows.json: at byte {}: 13 more lines that cannot be read were left out",
            text.len()
        )
    );
    assert!(problems.iter().all(Problem::is_loss));
}

#[test]
fn a_record_is_in_the_interval_of_its_end_whatever_the_order_of_lines() {
    // A day, the latest first, as a log that is sorted by nothing.
    let lines: Vec<_> = (0..200).rev().map(|number| line(number * 432, 1, 9)).collect();
    let (intervals, _) = replayed(vec![pmacct(lines.join("\n"))]);
    assert_eq!(intervals.len(), 200);
    for (number, interval) in (0..).zip(&intervals) {
        assert_eq!(interval.start_ns, (START + number * 432) / 10 * 10_000_000_000);
        let counters = interval.batch.records[0].counters;
        assert_eq!((counters.first_ns, counters.packets), (START * 1_000_000_000, 1));
        assert_eq!(interval.late_items, 0);
    }
}

#[test]
fn logs_and_captures_are_merged_by_time() {
    let conn = r#"{"ts":1777203919.5,"id.orig_h":"192.0.2.1","id.orig_p":8,"id.resp_h":"198.51.100.7","id.resp_p":0,"proto":"icmp","duration":2.0,"conn_state":"OTH","orig_pkts":1,"orig_ip_bytes":84,"resp_pkts":1,"resp_ip_bytes":84}"#;
    let (intervals, replay) = replayed(vec![
        pmacct([line(30, 1, 9), line(1, 1, 9)].join("\n")),
        zeek(conn),
    ]);
    let packets: Vec<Vec<_>> = intervals
        .iter()
        .map(|interval| {
            let named = |record: &FlowRecord| {
                (
                    replay.interfaces().name(record.key.ifindex).to_owned(),
                    record.counters.packets,
                )
            };
            interval.batch.records.iter().map(named).collect()
        })
        .collect();
    let (pmacct, zeek) = (("203.0.113.9".to_owned(), 1), ("zeek".to_owned(), 1));
    assert_eq!(packets, [vec![pmacct.clone(), zeek.clone(), zeek], vec![pmacct]]);
}

proptest! {
    #[test]
    fn the_order_of_lines_and_files_changes_nothing(
        items in vec((0..40_u64, 1..4_u8, 1..4_u8), 1..40).prop_shuffle(), split in any::<prop::sample::Index>(),
    ) {
        let lines: Vec<_> = items.iter().map(|(second, last, exporter)| line(*second, *last, *exporter)).collect();
        let shape = |sources| {
            let (intervals, replay) = replayed(sources);
            let numbers: Vec<_> = (1..5).map(|number| replay.interfaces().name(number).to_owned()).collect();
            let shape: Vec<_> = intervals.into_iter().map(|i| (i.start_ns, i.batch.records, i.batch.interfaces, i.late_items)).collect();
            (shape, numbers)
        };
        let mut sorted = lines.clone();
        sorted.sort();
        let expected = shape(vec![pmacct(sorted.join("\n"))]);
        prop_assert_eq!(&shape(vec![pmacct(lines.join("\n"))]), &expected);
        let (one, other) = lines.split_at(split.index(lines.len()));
        prop_assert_eq!(&shape(vec![pmacct(one.join("\n")), pmacct(other.join("\n"))]), &expected);
    }
}
