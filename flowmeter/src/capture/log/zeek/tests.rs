use std::time::Duration;

use flowmeter_common::flow::{
    protocol::{ICMP, ICMPV6, TCP, UDP},
    tcp_flags::{ACK, RST, SYN},
};
use proptest::prelude::*;

use super::*;
use crate::{
    config::{Config, Tunnels},
    flow::{EndReason, InitiatorBasis, Outcome, Slice},
    track::Tracker,
};

const HEADER: &str =
    "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n";

/// Parses `lines`; gives the records of the last one.
fn records(lines: &str) -> Result<[FlowRecord; 2], Fault> {
    let mut parser = ZeekParser::new();
    for line in lines.lines() {
        parser.parse(line.as_bytes())?;
    }
    Ok(parser.records)
}

fn json(members: &str) -> String {
    format!(
        r#"{{"ts":1000.5,"uid":"C","id.orig_h":"192.0.2.1","id.orig_p":40000,"id.resp_h":"198.51.100.7","id.resp_p":443,{members}}}"#
    )
}

/// What the tracker makes of one connection.
fn slice(line: &str) -> Slice {
    let source = crate::capture::log::LogSource::new(
        "conn.log",
        std::io::Cursor::new(line.to_owned()),
        ZeekParser::new(),
    );
    let mut replay =
        crate::capture::replay::Replay::new(vec![Box::new(source)], Duration::from_secs(10), Tunnels::Outer);
    let mut tracker = Tracker::new(&Config::default().track);
    let mut slices = Vec::new();
    while let Some(interval) = replay.next_interval() {
        tracker.ingest(&interval.batch.records, &mut slices);
        tracker.close_interval(interval.end_ns, &mut slices);
    }
    assert!(replay.take_problems().is_empty(), "{line}");
    let [slice] = slices.as_slice() else {
        panic!("{slices:?}")
    };
    slice.clone()
}

#[test]
fn columns_in_any_order_are_the_same_connection_as_json() {
    let columns = format!(
        "{HEADER}#fields\tproto\tresp_ip_bytes\thistory\tid.orig_h\tx\tid.resp_h\tid.orig_p\tid.resp_p\tconn_state\tts\tduration\torig_pkts\torig_ip_bytes\tresp_pkts\n\
         tcp\t1281\tShADadfF\t192.0.2.1\t-\t198.51.100.7\t40000\t443\tSF\t1000.5\t0.055687\t5\t473\t5\n"
    );
    let object = json(
        r#""proto":"tcp","duration":0.055687,"conn_state":"SF","history":"ShADadfF","orig_pkts":5,"orig_ip_bytes":473,"resp_pkts":5,"resp_ip_bytes":1281"#,
    );
    let nested = object
        .replace(r#""id.orig_h":"#, r#""id":{"orig_h":"#)
        .replace("id.", "")
        .replace("443", "443}")
        .replace("1000.5", "\"1970-01-01T00:16:40.500000Z\"");
    let [forward, reverse] = records(&columns).unwrap();
    assert_eq!(records(&object).unwrap(), [forward, reverse]);
    assert_eq!(records(&nested).unwrap(), [forward, reverse]);
    let milliseconds = object.replace("1000.5", "1777203920123");
    assert_eq!(
        records(&milliseconds).unwrap()[0].counters.first_ns,
        1_777_203_920_123_000_000
    );

    assert_eq!(
        (forward.key.source_port, forward.key.destination_port),
        (40000, 443)
    );
    assert_eq!(
        (reverse.key.source_port, reverse.key.destination_port),
        (443, 40000)
    );
    assert_eq!(
        (reverse.key.source, reverse.key.destination),
        (forward.key.destination, forward.key.source)
    );
    let counted = |record: FlowRecord| {
        let counters = record.counters;
        (
            counters.packets,
            counters.l3_bytes,
            counters.first_ns,
            counters.last_ns,
        )
    };
    assert_eq!(counted(forward), (5, 473, 1_000_500_000_000, 1_000_555_687_000));
    assert_eq!(counted(reverse), (5, 1281, 1_000_500_000_001, 1_000_555_687_000));
}

#[test]
fn headers_say_how_the_lines_behind_them_are_read() {
    let lines = "\t#separator |\n#unset_field|~\n#empty_field|*\n#path|conn\n\
                 #fields|ts|id.orig_h|id.orig_p|id.resp_h|id.resp_p|proto|conn_state|duration|orig_pkts|resp_pkts\n\
                 1.5|192.0.2.1|1|192.0.2.2|53|udp|SF|~|1|*\n\
                 #separator \\x09\n\
                 #fields\tproto\tts\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tconn_state\torig_pkts\tresp_pkts\n\
                 udp\t2.5\t192.0.2.1\t1\t192.0.2.2\t53\tSF\t2\t0\n";
    let mut parser = ZeekParser::new();
    let parsed: Vec<_> = lines
        .lines()
        .map(|line| parser.parse(line.as_bytes()).unwrap())
        .collect();
    let flows: Vec<_> = parsed
        .into_iter()
        .filter(|parsed| *parsed != Parsed::Other)
        .collect();
    assert_eq!(flows, [Parsed::Flow(1_500_000_000), Parsed::Flow(2_500_000_000)]);
}

#[test]
fn the_tracker_finds_what_zeek_found() {
    use Outcome::{Accepted, HalfOpen, Refused, Unanswered};
    // State, history, packets of both sides.
    let cases: &[(&str, &str, [u64; 2], Outcome)] = &[
        ("S0", "S", [3, 0], Unanswered),
        ("REJ", "Sr", [1, 1], Refused),
        ("REJ", "Sr", [3, 3], Refused),
        ("SF", "ShADadFf", [5, 5], Accepted),
        ("SF", "ShADadfF", [5, 5], Accepted),
        ("S1", "ShADad", [5, 5], Accepted),
        ("S1", "ShAa", [2, 2], Accepted),
        ("RSTO", "ShAR", [3, 1], Accepted),
        ("RSTO", "ShADadR", [9, 9], Accepted),
        ("RSTR", "ShADadr", [9, 9], Accepted),
        // A SYN scan of an open port.
        ("RSTO", "ShR", [2, 1], HalfOpen),
        // The same, with the answer repeated.
        ("RSTO", "ShR", [2, 4], HalfOpen),
        ("S1", "Sh", [1, 6], HalfOpen),
        ("RSTOS0", "SR", [2, 0], Unanswered),
        ("SH", "SF", [2, 0], Unanswered),
        ("SHR", "^hadf", [0, 5], Accepted),
        ("RSTRH", "^hr", [0, 2], HalfOpen),
        ("SHR", "^h", [0, 1], HalfOpen),
        ("S0", "STT", [3, 0], Unanswered),
    ];
    for (state, history, [sent, answered], outcome) in cases {
        for with_history in [true, false] {
            if !with_history && history_is_finer(state, history) {
                continue;
            }
            let history = if with_history { *history } else { "" };
            let slice = slice(&json(&format!(
                r#""proto":"tcp","conn_state":"{state}","history":"{history}","orig_pkts":{sent},"orig_ip_bytes":400,"resp_pkts":{answered},"resp_ip_bytes":300"#
            )));
            assert_eq!(slice.initiator.port, 40000, "{state} {history}");
            assert_eq!(slice.basis, InitiatorBasis::TcpFlags, "{state} {history}");
            assert_eq!(slice.outcome, *outcome, "{state} {history}");
            assert_eq!([slice.forward.packets, slice.reverse.packets], [*sent, *answered]);
        }
    }
}

/// What the state alone does not tell.
fn history_is_finer(state: &str, history: &str) -> bool {
    matches!((state, history), ("RSTO", "ShR") | ("S1", "Sh") | ("SHR", "^h"))
}

#[test]
fn a_connection_that_was_closed_or_reset_has_ended() {
    for (history, end) in [
        ("ShADadFf", Some(EndReason::EndOfFlowDetected)),
        ("ShADadr", Some(EndReason::EndOfFlowDetected)),
        ("Sr", Some(EndReason::EndOfFlowDetected)),
        ("ShADad", None),
    ] {
        let slice = slice(&json(&format!(
            r#""proto":"tcp","conn_state":"SF","history":"{history}","orig_pkts":9,"orig_ip_bytes":400,"resp_pkts":9,"resp_ip_bytes":300"#
        )));
        assert_eq!(slice.end, end, "{history}");
    }
}

#[test]
fn mid_stream_the_originator_is_who_has_the_unknown_port() {
    let slice = slice(&json(
        r#""proto":"tcp","conn_state":"OTH","history":"DTadtAtT","orig_pkts":76,"orig_ip_bytes":4184,"resp_pkts":84,"resp_ip_bytes":26714"#,
    ));
    assert_eq!(
        (slice.initiator.port, slice.basis, slice.outcome),
        (40000, InitiatorBasis::Port, Outcome::Accepted)
    );
}

#[test]
fn datagrams_are_answered_or_not() {
    let udp = |state: &str, history: &str, sent: u64, answered: u64, port: u16| {
        slice(&json(&format!(
            r#""proto":"udp","conn_state":"{state}","history":"{history}","orig_pkts":{sent},"orig_ip_bytes":65,"resp_pkts":{answered},"resp_ip_bytes":115"#
        ))
        .replace("443", &port.to_string()))
    };
    let answered = udp("SF", "Dd", 1, 1, 53);
    assert_eq!((answered.protocol, answered.outcome), (UDP, Outcome::Accepted));
    assert_eq!((answered.forward.l3_bytes, answered.reverse.l3_bytes), (65, 115));
    assert_eq!(answered.forward.tcp_flags, 0);
    assert_eq!(udp("S0", "D", 1, 0, 53).outcome, Outcome::Unanswered);
    // Where ports tell nothing, Zeek's originator was the first.
    let equal = udp("SF", "Dd", 1, 1, 50000);
    assert_eq!((equal.initiator.port, equal.basis), (40000, InitiatorBasis::Time));
}

#[test]
fn echoes_are_one_connection_and_errors_go_one_way() {
    let icmp = |ends: [&str; 2], kind: u16, code: u16, answered: u64| {
        slice(&json(&format!(
            r#""proto":"icmp","conn_state":"OTH","orig_pkts":2,"orig_ip_bytes":168,"resp_pkts":{answered},"resp_ip_bytes":168"#
        ))
        .replace("192.0.2.1", ends[0])
        .replace("198.51.100.7", ends[1])
        .replace("40000", &kind.to_string())
        .replace("443", &code.to_string()))
    };
    let ping = icmp(["192.0.2.1", "198.51.100.7"], 8, 0, 2);
    assert_eq!(
        (ping.protocol, ping.initiator.port, ping.responder.port),
        (ICMP, 8, 0)
    );
    assert_eq!((ping.outcome, ping.reverse.packets), (Outcome::Accepted, 2));
    assert_eq!(
        icmp(["192.0.2.1", "198.51.100.7"], 8, 0, 0).outcome,
        Outcome::Unanswered
    );
    let ping6 = icmp(["2001:db8::1", "2001:db8::2"], 128, 0, 2);
    assert_eq!(
        (ping6.protocol, ping6.initiator.port, ping6.outcome),
        (ICMPV6, 128, Outcome::Accepted)
    );
    let unreachable = icmp(["192.0.2.1", "198.51.100.7"], 3, 3, 0);
    assert_eq!((unreachable.initiator.port, unreachable.responder.port), (3, 3));
}

#[test]
fn what_was_not_counted_is_taken_from_the_history_and_told() {
    let line = json(
        r#""proto":"tcp","duration":1,"conn_state":"SF","history":"ShADadFf","orig_bytes":100,"resp_bytes":0"#,
    );
    let mut parser = ZeekParser::new();
    parser.parse(line.as_bytes()).unwrap();
    let [forward, reverse] = parser.records;
    assert_eq!((forward.counters.packets, forward.counters.l3_bytes), (4, 100));
    assert_eq!((reverse.counters.packets, reverse.counters.l3_bytes), (4, 0));
    let (mut gathered, mut interfaces) = (Gathered::default(), Interfaces::default());
    assert!(matches!(
        parser.count(&mut gathered, &mut interfaces),
        Some(What::PacketsTaken)
    ));
    assert!(parser.count(&mut gathered, &mut interfaces).is_none());
}

#[test]
fn a_protocol_without_a_number_is_kept_and_told() {
    let mut parser = ZeekParser::new();
    let line = json(r#""proto":"unknown_transport","conn_state":"OTH","orig_pkts":1,"orig_ip_bytes":32"#);
    parser.parse(line.as_bytes()).unwrap();
    assert_eq!(parser.records[0].key.protocol, 255);
    let (mut gathered, mut interfaces) = (Gathered::default(), Interfaces::default());
    assert!(matches!(
        parser.count(&mut gathered, &mut interfaces),
        Some(What::ProtocolTaken)
    ));
    let known = line.replace("\"conn_state\"", "\"ip_proto\":2,\"conn_state\"");
    parser.parse(known.as_bytes()).unwrap();
    assert_eq!(parser.records[0].key.protocol, 2);
    assert!(parser.count(&mut gathered, &mut interfaces).is_none());
}

#[test]
fn logs_of_other_things_are_told_once_and_left_out() {
    let dns_columns =
        format!("{HEADER}#fields\tts\tuid\tid.orig_h\tid.orig_p\tproto\tquery\n1\tC\t192.0.2.1\t1\tudp\tx\n");
    let dns_json = r#"{"ts":1.5,"id.orig_h":"192.0.2.1","id.orig_p":1,"id.resp_h":"192.0.2.2","id.resp_p":53,"proto":"udp","query":"x"}"#;
    let stream = r#"{"_path":"dns","ts":1.5,"history":"x"}"#;
    for log in [&dns_columns, dns_json, stream] {
        let mut parser = ZeekParser::new();
        for line in log.lines() {
            assert_eq!(parser.parse(line.as_bytes()), Ok(Parsed::Other), "{line}");
        }
        assert!(matches!(parser.without_flows(), Some(What::OtherZeekLog)));
    }
    assert!(ZeekParser::new().without_flows().is_none());
}

#[test]
fn a_fault_names_the_field() {
    let fields = "#fields\tts\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tconn_state\torig_pkts";
    let cases = [
        (
            "1\t192.0.2.1\t1\t192.0.2.2\t2\ttcp\tSF".to_owned(),
            "7 columns instead of 8: the line was cut",
        ),
        (
            "-\t192.0.2.1\t1\t192.0.2.2\t2\ttcp\tSF\t1".to_owned(),
            "ts is missing",
        ),
        (
            "x\t192.0.2.1\t1\t192.0.2.2\t2\ttcp\tSF\t1".to_owned(),
            "ts is no time after 1970 that can be read",
        ),
        (
            "1\t192.0.2.1\t1\t192.0.2.2\t70000\ttcp\tSF\t1".to_owned(),
            "id.resp_p is no number, or too large",
        ),
        (
            "1\t192.0.2.1\t1\tfe80::1\t2\ttcp\tSF\t1".to_owned(),
            "id.resp_h is of another IP version than the source",
        ),
        (
            "1\t192.0.2.1\t1\t192.0.2.2\t2\ttcpp\tSF\t1".to_owned(),
            "proto is no IP protocol",
        ),
        (
            json(r#""proto":"tcp","conn_state":"SF","orig_pkts":1.5"#),
            "orig_pkts is no number, or too large",
        ),
        (
            json(r#""proto":"tcp","conn_state":"SF","duration":1e300"#),
            "duration is no time after 1970 that can be read",
        ),
    ];
    for (line, told) in cases {
        let fault = records(&format!("{HEADER}{fields}\n{line}")).unwrap_err();
        assert_eq!(fault.to_string(), told, "{line}");
    }
    assert_eq!(records("1\t2"), Err(Fault::NoHeader));
}

proptest! {
    /// Flags never outnumber packets, and a side that sent something has the flags of its letters.
    #[test]
    fn no_history_counts_more_than_there_was(
        history in "[\\^ShAaDdFfRrTtQqIiCcGgWwXx]{0,20}", sent in 0..9_u64, answered in 0..9_u64,
    ) {
        let line = json(&format!(
            r#""proto":"tcp","conn_state":"OTH","history":"{history}","orig_pkts":{sent},"resp_pkts":{answered}"#
        ));
        let mut parser = ZeekParser::new();
        let parsed = parser.parse(line.as_bytes()).unwrap();
        prop_assert_eq!(parsed == Parsed::Empty, sent + answered == 0);
        if parsed == Parsed::Empty {
            return Ok(());
        }
        for record in parser.records {
            let counters = record.counters;
            for part in [counters.syn, counters.syn_ack, counters.fin, counters.rst] {
                prop_assert!(u64::from(part) <= counters.packets);
            }
            if counters.syn > 0 {
                prop_assert!(counters.tcp_flags & u32::from(SYN) != 0);
            }
            if counters.rst > 0 {
                prop_assert!(counters.tcp_flags & u32::from(RST) != 0);
            }
            if counters.syn_ack > 0 {
                prop_assert!(counters.tcp_flags & u32::from(SYN | ACK) == u32::from(SYN | ACK));
            }
            prop_assert_eq!(record.key.protocol, TCP);
        }
    }

    #[test]
    fn no_line_panics(lines in prop::collection::vec(prop_oneof![
        prop::collection::vec(any::<u8>(), 0..100),
        "#(separator|fields|path|unset_field)[\t ](\\\\x[0-9a-f]{1,3}|ts|proto|conn_state|id.orig_h|\t){0,9}".prop_map(String::into_bytes),
        "([0-9.]{0,12}\t){0,9}".prop_map(String::into_bytes),
    ], 0..9)) {
        let mut parser = ZeekParser::new();
        for line in lines {
            let _ = parser.parse(&line);
        }
    }
}
