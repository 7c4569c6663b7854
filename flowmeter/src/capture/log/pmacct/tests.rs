use flowmeter_common::flow::tcp_flags::{ACK, FIN, PSH, RST, SYN};
use proptest::prelude::*;

use super::*;
use crate::config::Tunnels;

const START: u64 = 1_777_203_920_000_000_000;
const GIVEN: u64 = 7_000_000_000;

fn parser() -> PmacctParser {
    PmacctParser::new(GIVEN, TimeFrom::Given, TimeZone::UTC)
}

/// The record of a line that holds `members` besides addresses and ports.
fn record(members: &str) -> FlowRecord {
    let line = format!(
        r#"{{"ip_src": "192.0.2.1", "ip_dst": "198.51.100.7", "port_src": 40000, "port_dst": 443, {members}}}"#
    );
    let mut parser = parser();
    let parsed = parser.parse(line.as_bytes()).unwrap();
    assert_eq!(parsed, Parsed::Flow(parser.record.counters.last_ns), "{line}");
    parser.record
}

fn fault(line: &str) -> String {
    parser().parse(line.as_bytes()).unwrap_err().to_string()
}

#[test]
fn a_line_as_pmacctd_writes_it() {
    let line = br#"{"event_type": "purge", "ip_src": "192.168.1.10", "ip_dst": "192.168.1.25", "port_src": 35503, "port_dst": 1723, "tcp_flags": "2", "ip_proto": "tcp", "timestamp_start": "2026-04-26 11:45:20.958375", "timestamp_end": "0000-00-00 00:00:00.000000", "packets": 1, "bytes": 44}"#;
    let mut parser = parser();
    let time = START + 958_375_000;
    assert_eq!(parser.parse(line), Ok(Parsed::Flow(time)));
    let mapped = |ip: [u8; 4]| std::net::Ipv4Addr::from(ip).to_ipv6_mapped().octets();
    let expected = FlowRecord {
        key: FlowKey {
            source: mapped([192, 168, 1, 10]),
            destination: mapped([192, 168, 1, 25]),
            source_port: 35503,
            destination_port: 1723,
            protocol: TCP,
            ..FlowKey::default()
        },
        counters: FlowCounters {
            packets: 1,
            l3_bytes: 44,
            wire_bytes: 44,
            first_ns: time,
            last_ns: time,
            syn: 1,
            tcp_flags: SYN.into(),
            first_tcp_flags: SYN,
            ..FlowCounters::default()
        },
    };
    assert_eq!(parser.record, expected);
}

#[test]
fn every_form_of_time() {
    let second = 1_000_000_000;
    let cases: &[(&str, u64, u64)] = &[
        (r#""timestamp_start": "2026-04-26 11:45:20""#, START, START),
        (
            r#""timestamp_start": "2026-04-26T13:45:20.5+02:00", "timestamp_end": "2026-04-26T11:45:21.000000Z""#,
            START + second / 2,
            START + second,
        ),
        (
            r#""timestamp_start": "1777203920.000001", "timestamp_end": "1777203921.000000""#,
            START + 1_000,
            START + second,
        ),
        (
            r#""timestamp_start": 1777203920, "timestamp_end": 1777203920.25"#,
            START,
            START + second / 4,
        ),
        (
            r#""timestamp_start": "0000-00-00T00:00:00+00:00", "timestamp_end": "2026-04-26 11:45:20""#,
            START,
            START,
        ),
        (
            r#""timestamp_start": "1777203920.0", "timestamp_end": "0.000000""#,
            START,
            START,
        ),
        // A clock that was set back.
        (
            r#""timestamp_start": "1777203921", "timestamp_end": "1777203920""#,
            START,
            START + second,
        ),
        (
            r#""timestamp_min": "1777203920", "timestamp_max": "1777203921""#,
            START,
            START + second,
        ),
        (
            r#""timestamp_export": "1777203929", "timestamp_arrival": "1777203920""#,
            START,
            START,
        ),
        (
            r#""stamp_inserted": "2026-04-26 11:45:20", "stamp_updated": "2031-01-01 00:00:00""#,
            START,
            START,
        ),
        (
            r#""stamp_inserted": "2031-01-01 00:00:00", "timestamp_start": "1777203920""#,
            START,
            START,
        ),
        (r#""timestamp_start": null"#, GIVEN, GIVEN),
        (r#""tos": 0"#, GIVEN, GIVEN),
    ];
    for (members, first_ns, last_ns) in cases {
        let counters = record(&format!(
            r#""ip_proto": "udp", "packets": 2, "bytes": 99, {members}"#
        ))
        .counters;
        assert_eq!(
            (counters.first_ns, counters.last_ns),
            (*first_ns, *last_ns),
            "{members}"
        );
    }
}

#[test]
fn numbers_may_be_text_and_protocols_names_or_numbers() {
    for protocol in [r#""udp""#, r#""17""#, "17", r#""UDP""#] {
        let key = record(&format!(
            r#""ip_proto": {protocol}, "packets": "3", "bytes": 180.0, "vlan": "12""#
        ))
        .key;
        assert_eq!(
            (key.protocol, key.vlan_id, key.destination_port),
            (17, 12, 443),
            "{protocol}"
        );
    }
}

#[test]
fn tcp_flags_are_counted_as_far_as_a_union_tells() {
    let all = u8::MAX;
    // Packets, union; SYN, SYN-ACK, FIN, RST, first flags.
    let cases: &[(&str, u32, u8, [u32; 4], u8)] = &[
        ("one SYN", 1, SYN, [1, 0, 0, 0], SYN),
        ("one SYN-ACK", 1, SYN | ACK, [0, 1, 0, 0], SYN | ACK),
        ("one RST-ACK", 1, RST | ACK, [0, 0, 0, 1], RST | ACK),
        ("one Christmas tree", 1, all, [0, 1, 1, 1], all),
        ("SYN repeated", 5, SYN, [5, 0, 0, 0], SYN),
        ("SYN repeated, ECN", 5, SYN | 0xc0, [5, 0, 0, 0], SYN | 0xc0),
        ("SYN-ACK repeated", 3, SYN | ACK, [0, 3, 0, 0], SYN | ACK),
        ("refusals", 3, RST | ACK, [0, 0, 0, 3], RST | ACK),
        ("a SYN scanner's reset", 2, SYN | RST, [1, 0, 0, 1], SYN),
        (
            "a connection, either end",
            9,
            SYN | ACK | PSH | FIN,
            [0, 0, 1, 0],
            ACK,
        ),
        (
            "mid-stream, then closed",
            9,
            ACK | PSH | FIN,
            [0, 0, 1, 0],
            ACK | PSH,
        ),
        ("mid-stream", 9, ACK | PSH, [0; 4], ACK | PSH),
        ("Xmas probes", 2, FIN | PSH | 0x20, [0, 0, 1, 0], FIN | PSH | 0x20),
        ("none", 2, 0, [0; 4], 0),
    ];
    for (name, packets, union, [syn, syn_ack, fin, rst], first) in cases {
        let counters = record(&format!(
            r#""ip_proto": "tcp", "tcp_flags": {union}, "packets": {packets}, "bytes": 400"#
        ))
        .counters;
        let counted = [counters.syn, counters.syn_ack, counters.fin, counters.rst];
        assert_eq!(counted, [*syn, *syn_ack, *fin, *rst], "{name}");
        assert_eq!(
            (counters.tcp_flags, counters.first_tcp_flags),
            (u32::from(*union), *first),
            "{name}"
        );
    }
}

#[test]
fn tcp_flags_in_every_form() {
    for (form, union) in [
        ("\"24\"", ACK | PSH),
        ("24", ACK | PSH),
        ("[\"ACK\", \"PSH\"]", ACK | PSH),
        ("[\"ACK\"]", ACK),
        ("[]", 0),
        ("\"\"", 0),
    ] {
        let counters = record(&format!(
            r#""ip_proto": "tcp", "tcp_flags": {form}, "packets": 1, "bytes": 40"#
        ))
        .counters;
        assert_eq!(counters.tcp_flags, u32::from(union), "{form}");
    }
    let udp = record(r#""ip_proto": "udp", "tcp_flags": "24", "packets": 1, "bytes": 40"#);
    assert_eq!(udp.counters.tcp_flags, 0);
}

#[test]
fn icmp_has_type_and_code_where_the_line_tells_them() {
    let icmp = |members: &str| {
        let line = format!(
            r#"{{"ip_src": "192.0.2.1", "ip_dst": "192.0.2.2", "ip_proto": "icmp", "packets": 1, "bytes": 84, {members}}}"#
        );
        let mut parser = parser();
        parser.parse(line.as_bytes()).unwrap();
        let key = parser.record.key;
        (key.source_port, key.destination_port, key.flags.fragment())
    };
    let exporter = r#""peer_ip_src": "203.0.113.9""#;
    assert_eq!(icmp(r#""port_src": 0, "port_dst": 0"#), (0, 0, true));
    assert_eq!(
        icmp(&format!(r#""port_src": 0, "port_dst": 0, {exporter}"#)),
        (0, 0, false)
    );
    assert_eq!(
        icmp(&format!(r#""port_src": 0, "port_dst": 2048, {exporter}"#)),
        (8, 0, false)
    );
    assert_eq!(
        icmp(&format!(r#""port_src": 0, "port_dst": 771, {exporter}"#)),
        (3, 3, false)
    );
    assert_eq!(
        icmp(r#""icmp_type": "3", "icmp_code": 1, "port_src": 0"#),
        (3, 1, false)
    );
}

#[test]
fn an_exporter_is_an_observation_point_and_its_vlans_are_not() {
    let mut interfaces = Interfaces::default();
    let mut gathered = Gathered::new(Tunnels::Outer);
    let mut parser = parser();
    for exporter in [
        r#""peer_ip_src": "203.0.113.9", "vlan": 7"#,
        r#""vlan": 7"#,
        r#""peer_ip_src": "::ffff:203.0.113.9""#,
        r#""peer_ip_src": """#,
        r#""peer_ip_src": "2001:db8::9""#,
    ] {
        let line = format!(
            r#"{{"ip_src": "192.0.2.1", "ip_dst": "192.0.2.2", "ip_proto": "gre", "packets": 1, "bytes": 84, {exporter}}}"#
        );
        parser.parse(line.as_bytes()).unwrap();
        parser.count(&mut gathered, &mut interfaces);
        let key = parser.record.key;
        let seen = (interfaces.name(key.ifindex), key.vlan_id);
        let expected = match exporter {
            r#""vlan": 7"# => ("pmacct", 7),
            r#""peer_ip_src": """# => ("pmacct", 0),
            r#""peer_ip_src": "2001:db8::9""# => ("2001:db8::9", 0),
            _ => ("203.0.113.9", 0),
        };
        assert_eq!(seen, expected, "{exporter}");
    }
}

#[test]
fn where_times_are_from_is_told_once() {
    let mut parser = parser();
    let (mut gathered, mut interfaces) = (Gathered::default(), Interfaces::default());
    let mut told = Vec::new();
    for time in [
        r#""x": 1"#,
        r#""timestamp_start": "2026-04-26 11:45:20""#,
        r#""x": 1"#,
    ] {
        let line = format!(
            r#"{{"ip_src": "192.0.2.1", "ip_dst": "192.0.2.2", "ip_proto": "gre", "packets": 1, "bytes": 84, {time}}}"#
        );
        parser.parse(line.as_bytes()).unwrap();
        told.extend(
            parser
                .count(&mut gathered, &mut interfaces)
                .map(|what| what.to_string()),
        );
    }
    assert_eq!(
        told,
        [
            "records without a time take 1970-01-01T00:00:07Z, the start that was asked for",
            "times without a zone were read as those of UTC; set TZ for another zone",
        ]
    );
}

#[test]
fn what_is_no_flow_is_told_apart() {
    for line in [
        "",
        " ",
        r#"{"event_type": "purge_init", "writer_id": "default_print/17"}"#,
        r#"{"event_type": "purge_close", "writer_id": "default_print/17", "purged_entries": 9}"#,
    ] {
        assert_eq!(parser().parse(line.as_bytes()), Ok(Parsed::Other), "{line}");
    }
    let event = br#"{"ip_src": "192.0.2.1", "ip_dst": "192.0.2.2", "ip_proto": "gre", "nat_event": 1}"#;
    assert_eq!(parser().parse(event), Ok(Parsed::Empty));
}

#[test]
fn a_fault_names_the_field() {
    let cases = [
        (r#"{"ip_dst": "192.0.2.2"}"#, "ip_src is missing"),
        (r#"{"ip_src": "192.0.2.256"}"#, "ip_src is no IP address"),
        (
            r#"{"ip_src": "192.0.2.1", "ip_dst": "2001:db8::1"}"#,
            "ip_dst is of another IP version than the source",
        ),
        (
            r#"{"ip_src": "192.0.2.1", "ip_dst": "192.0.2.2"}"#,
            "ip_proto is missing",
        ),
        (
            r#"{"ip_src": "192.0.2.1", "ip_dst": "192.0.2.2", "ip_proto": "tcpp"}"#,
            "ip_proto is no IP protocol",
        ),
        (
            r#"{"ip_src": "192.0.2.1", "ip_dst": "192.0.2.2", "ip_proto": "tcp", "packets": -1}"#,
            "packets is no number, or too large",
        ),
        (
            r#"{"ip_src": "192.0.2.1", "ip_dst": "192.0.2.2", "ip_proto": "tcp", "packets": 1, "port_src": 1}"#,
            "port_dst is missing",
        ),
        (
            r#"{"ip_src": "192.0.2.1", "ip_dst": "192.0.2.2", "ip_proto": "gre", "timestamp_end": "yesterday"}"#,
            "timestamp_end is no time after 1970 that can be read",
        ),
        (
            r#"{"ip_src": "192.0.2.1", "ip_dst": "192.0.2.2", "ip_proto": 6, "port_src": 1, "port_dst": 2, "tcp_flags": ["SYM"]}"#,
            "tcp_flags holds TCP flags that are not known",
        ),
        (
            r#"{"ip_src": "192.0.2.1", "ip_ds"#,
            "no JSON object, from its byte 30 on",
        ),
    ];
    for (line, told) in cases {
        assert_eq!(fault(line), told, "{line}");
    }
}

proptest! {
    #[test]
    fn no_line_panics(line in prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        "\\{(\"(ip_src|ip_dst|ip_proto|port_src|tcp_flags|timestamp_start|packets)\": (\"[0-9.:a-f -]{0,26}\"|[0-9.]{0,25}|\\[\\]), ?){0,6}\"a\":1\\}".prop_map(String::into_bytes),
    ]) {
        let _ = parser().parse(&line);
    }
}
