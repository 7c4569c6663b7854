//! What holds for every event, whatever the slice: one line of valid JSON that Wazuh takes, from which the
//! slice can be read back.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics fails"
)]

use std::net::IpAddr;

use flowmeter::{
    capture::log::{EventParser, Parsed, Parser},
    config::{Config, Schema},
    emit::{
        Encoder, EventWriter, IntervalFacts,
        event::{FileFacts, OutputFacts, Withheld},
    },
    enrich::Enricher,
    flow::{EndReason, Endpoint, InitiatorBasis, InterfaceStatistics, Outcome, Slice},
};
use flowmeter_common::{
    Count, FlowCounters, InterfaceCounters, SpillCounters, SpillKey, Tunnel, Uncounted, flow::protocol,
};
use proptest::prelude::*;
use serde_json::Value;

const WEEK_NS: u64 = 7 * 24 * 3600 * 1_000_000_000;

/// Small counts, large counts, and those around 2^31.
fn count() -> impl Strategy<Value = u64> {
    prop_oneof![1_u64..2_000, (1_u64 << 31) - 2..(1 << 31) + 2, 1_u64..1 << 60]
}

fn counters(tcp: bool, start_ns: u64) -> impl Strategy<Value = FlowCounters> {
    let flags = (any::<u8>(), any::<u8>(), any::<[u32; 4]>());
    let times = (0..=WEEK_NS, 0..=WEEK_NS);
    let some = (count(), count(), count(), times, flags).prop_map(
        move |(packets, l3_bytes, wire_bytes, times, (first, all, counts))| {
            let counters = FlowCounters {
                packets,
                l3_bytes,
                wire_bytes,
                first_ns: start_ns + times.0.min(times.1),
                last_ns: start_ns + times.0.max(times.1),
                ..FlowCounters::default()
            };
            if !tcp {
                return counters;
            }
            let [syn, syn_ack, fin, rst] = counts;
            let tcp_flags = u32::from(first | all);
            FlowCounters {
                syn,
                syn_ack,
                fin,
                rst,
                tcp_flags,
                first_tcp_flags: first,
                ..counters
            }
        },
    );
    prop_oneof![1 => Just(FlowCounters::default()), 4 => some]
}

fn ports(number: u8, fragment: bool) -> BoxedStrategy<(u16, u16)> {
    match number {
        _ if fragment => Just((0, 0)).boxed(),
        protocol::TCP | protocol::UDP | protocol::SCTP | protocol::DCCP | protocol::UDP_LITE => {
            any::<(u16, u16)>().boxed()
        }
        protocol::ICMP | protocol::ICMPV6 => (0_u16..256, 0_u16..256).boxed(),
        _ => Just((0, 0)).boxed(),
    }
}

fn addresses() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    prop_oneof![
        any::<([u8; 4], [u8; 4])>().prop_map(|(a, b)| (a.into(), b.into())),
        any::<([u8; 16], [u8; 16])>().prop_map(|(a, b)| (a.into(), b.into())),
        // An IPv6 packet may carry v4-mapped addresses; they must not come back as IPv4.
        any::<([u8; 4], [u8; 4])>().prop_map(|(a, b)| {
            let mapped = |ip: [u8; 4]| IpAddr::V6(std::net::Ipv4Addr::from(ip).to_ipv6_mapped());
            (mapped(a), mapped(b))
        }),
    ]
}

fn slices() -> impl Strategy<Value = Slice> {
    let number = prop_oneof![
        Just(protocol::TCP),
        Just(protocol::UDP),
        Just(protocol::ICMP),
        any::<u8>()
    ];
    (number, any::<bool>(), 0_u64..1 << 62).prop_flat_map(|(protocol, fragment, start_ns)| {
        let tcp = protocol == protocol::TCP && !fragment;
        let point = (
            any::<u32>(),
            0_u16..4096,
            0_usize..Tunnel::ALL.len(),
            any::<u32>(),
            any::<bool>(),
        );
        let state = (
            0..InitiatorBasis::ALL.len(),
            0..Outcome::ALL.len(),
            0..=EndReason::ALL.len(),
            any::<u64>(),
            0..=WEEK_NS,
        );
        let sides = (counters(tcp, start_ns), counters(tcp, start_ns));
        (point, addresses(), ports(protocol, fragment), state, sides).prop_map(
            move |(point, addresses, ports, state, (forward, reverse))| Slice {
                ifindex: point.0,
                vlan_id: point.1,
                tunnel: Tunnel::ALL[point.2],
                tunnel_id: if point.2 == 0 { 0 } else { point.3 },
                fragment,
                ipv6: addresses.0.is_ipv6(),
                protocol,
                initiator: Endpoint {
                    ip: addresses.0,
                    port: ports.0,
                },
                responder: Endpoint {
                    ip: addresses.1,
                    port: ports.1,
                },
                basis: InitiatorBasis::ALL[state.0],
                outcome: Outcome::ALL[state.1],
                id: state.3,
                start_ns,
                last_ns: start_ns + state.4,
                initiator_egress: point.4,
                forward,
                reverse,
                end: EndReason::ALL.get(state.2).copied(),
            },
        )
    })
}

fn config(schema: Schema, sampling: u32) -> Config {
    let mut config = Config::default();
    config.collector.name = "\"\\".repeat(127);
    config.output.schema = schema;
    config.capture.sampling = sampling;
    config
}

/// Collectors and interfaces: short, long, with characters to escape, and so long that a line has no fixed room.
fn names() -> impl Strategy<Value = (String, String)> {
    let collector = prop_oneof![
        Just("bench".to_owned()),
        Just("c".repeat(255)),
        Just("\"\\".repeat(127))
    ];
    let interface = prop_oneof![
        4 => Just("enp129s0f1npx15".to_owned()),
        1 => Just("a\"b\\\u{1}".to_owned()),
        1 => (0_usize..2_000).prop_map(|length| "i".repeat(length)),
    ];
    (collector, interface)
}

fn schemas() -> impl Strategy<Value = Schema> {
    prop_oneof![Just(Schema::Wazuh4), Just(Schema::Ecs)]
}

/// Checks what must hold for every line and gives back its value.
fn checked(line: &[u8], schema: Schema) -> Value {
    assert!(line.starts_with(b"{\"@timestamp\":\""));
    assert!(
        !line.contains(&b'\n') && line.len() < 8 << 10,
        "{} bytes",
        line.len()
    );
    let event: Value = serde_json::from_slice(line).unwrap();
    for taken in [
        "timestamp",
        "event_type",
        "id",
        "type",
        "action",
        "url",
        "status",
        "data",
    ] {
        assert!(event.get(taken).is_none(), "top-level {taken}");
    }
    let leaves = check_leaves(&event, schema);
    assert!(leaves < 256, "{leaves} fields");
    event
}

/// The number of values, each of which Wazuh can take.
fn check_leaves(value: &Value, schema: Schema) -> usize {
    match value {
        Value::Object(fields) => fields.values().map(|value| check_leaves(value, schema)).sum(),
        Value::Array(entries) => entries.iter().map(|value| check_leaves(value, schema)).sum(),
        Value::Number(number) => {
            let large = number.as_u64().is_some_and(|number| number >= 1 << 31);
            assert!(
                schema == Schema::Ecs || !large,
                "{number} is too large for Wazuh's decoder"
            );
            1
        }
        Value::Null => panic!("a field that does not apply is left out"),
        _ => 1,
    }
}

fn number(value: &Value) -> u64 {
    match value {
        Value::Null => 0,
        Value::String(text) => text.parse().unwrap(),
        value => value.as_u64().unwrap(),
    }
}

fn time(value: &Value) -> u64 {
    let timestamp: jiff::Timestamp = value.as_str().unwrap().parse().unwrap();
    u64::try_from(timestamp.as_nanosecond()).unwrap()
}

/// A slice out of its event, as a replay reads it.
fn read_slice(line: &[u8]) -> Slice {
    let mut parser = EventParser::new();
    let parsed = parser.parse(line).unwrap();
    assert!(matches!(parsed, Parsed::Flow(_)), "{parsed:?}");
    parser.slice().clone()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_flow_event_by_hand_is_that_of_serde(
        slice in slices(),
        schema in schemas(),
        sampling in prop_oneof![Just(1_u32), 2..=65_536_u32],
        (collector, interface) in names(),
        synthetic: bool,
    ) {
        let mut config = config(schema, sampling);
        config.collector.name = collector;
        let mut encoder = Encoder::new(&config);
        if synthetic {
            encoder.mark_synthetic();
        }
        let enricher = Enricher::new(&config).unwrap();
        let enriched = enricher.enrich(&slice);
        let before = b"{}\n";
        let mut by_hand = before.to_vec();
        encoder.flow(&slice, &enriched, &interface, &mut by_hand).unwrap();
        let mut by_serde = before.to_vec();
        encoder.flow_by_serde(&slice, &enriched, &interface, &mut by_serde).unwrap();
        prop_assert_eq!(String::from_utf8_lossy(&by_hand), String::from_utf8_lossy(&by_serde));
    }

    #[test]
    fn every_slice_can_be_read_back_from_its_event(
        slice in slices(), schema in schemas(), sampling in prop_oneof![Just(1_u32), 2..=65_536_u32],
    ) {
        let config = config(schema, sampling);
        let enricher = Enricher::new(&config).unwrap();
        let mut line = Vec::new();
        let interface = "enp129s0f1npx15";
        Encoder::new(&config).flow(&slice, &enricher.enrich(&slice), interface, &mut line).unwrap();
        let event = checked(&line, schema);
        prop_assert_eq!(read_slice(&line), slice.clone());

        let network = &event["network"];
        for unit in ["bytes", "packets"] {
            let sum = number(&event["source"][unit]) + number(&event["destination"][unit]);
            prop_assert_eq!(number(&network[unit]), sum);
            let estimated = network.get(format!("{unit}_estimated")).map(number);
            let scaled = (sampling > 1).then(|| sum.saturating_mul(u64::from(sampling)));
            prop_assert_eq!(estimated, scaled);
        }
        prop_assert_eq!(number(&network["wire_bytes"]), slice.wire_bytes());
        let packet_ns = slice.forward.last_ns.max(slice.reverse.last_ns);
        let expected_ns = if slice.packets() == 0 { slice.last_ns } else { packet_ns };
        prop_assert_eq!(time(&event["@timestamp"]), expected_ns / 1_000_000 * 1_000_000);
        if schema == Schema::Wazuh4 {
            let statics = ["srcip", "srcport", "dstip", "dstport"].map(|name| event.get(name));
            let (source, destination) = (&event["source"], &event["destination"]);
            let nested = [source.get("ip"), source.get("port"), destination.get("ip"), destination.get("port")];
            prop_assert_eq!(statics, nested);
        }
    }

    #[test]
    fn every_statistics_event_is_one_line_that_wazuh_takes(
        amounts in proptest::collection::vec(any::<(u64, u64)>(), 20),
        spilled in proptest::collection::vec((any::<[u8; 16]>(), any::<bool>(), any::<u32>()), 0..40),
        schema in schemas(),
    ) {
        let count = |index: usize| Count { packets: amounts[index].0, wire_bytes: amounts[index].1 };
        let interface = InterfaceStatistics {
            ifindex: 7,
            interface: "enp129s0f1npx15".to_owned(),
            start_ns: amounts[0].0 / 2,
            end_ns: amounts[0].0,
            counters: InterfaceCounters {
                seen: count(1),
                uncounted: std::array::from_fn(|reason| count(2 + reason)),
            },
            exported: count(11),
            exported_l3_bytes: amounts[12].0,
            exported_slices: amounts[12].1,
            summarised: count(13),
            summarised_slices: amounts[14].0,
            summaries: amounts[14].1,
            left_out: count(15),
            left_out_slices: amounts[16].0,
        };
        let spill: Vec<(SpillKey, SpillCounters)> = spilled
            .iter()
            .map(|(address, ipv6, packets)| {
                let key = SpillKey {
                    source_prefix: SpillKey::prefix(*address, *ipv6),
                    ifindex: 7,
                    ipv6: u8::from(*ipv6),
                    ..SpillKey::default()
                };
                let packets = u64::from(*packets);
                (key, SpillCounters { packets, syn: packets, destination: *address, ..Default::default() })
            })
            .collect();
        let facts = IntervalFacts {
            map_entries: amounts[13].0,
            map_capacity: amounts[13].1,
            early_drains: amounts[14].0,
            drain_ns: amounts[14].1,
            connections: amounts[15].0,
            connections_capacity: amounts[15].1,
            connections_evicted: amounts[16].0,
            spill: &spill,
            ..IntervalFacts::default()
        };
        let file = FileFacts {
            lines: amounts[17].0,
            withheld_lines: amounts[17].1,
            pending_bytes: amounts[18].0,
            errors: amounts[18].1,
            last_error: Some("x\"\n"),
        };
        let output = OutputFacts {
            file,
            all_flows: Some(file),
            withheld: Withheld { lines: amounts[16].1, packets: amounts[19].0, wire_bytes: amounts[19].1 },
        };
        let mut line = Vec::new();
        let encoder = Encoder::new(&config(schema, 1));
        encoder.statistics(&interface, &facts, &output, &mut line).unwrap();
        let event = checked(&line, schema);
        let statistics = &event["flowmeter"];
        for reason in Uncounted::ALL {
            let terms = if reason.is_loss() { &statistics["lost"] } else { statistics };
            let written = &terms[reason.name()];
            let expected = interface.counters.uncounted[reason as usize];
            let written = (number(&written["packets"]), number(&written["wire_bytes"]));
            prop_assert_eq!(written, (expected.packets, expected.wire_bytes));
        }
        if !spill.is_empty() {
            let top: Vec<u64> = statistics["spill"]["top"]
                .as_array()
                .unwrap()
                .iter()
                .map(|entry| number(&entry["packets"]))
                .collect();
            prop_assert!(top.len() <= 8 && top.is_sorted_by(|a, b| a >= b));
        }
    }
}

fn example() -> Slice {
    let sent = FlowCounters {
        packets: 3,
        l3_bytes: 120,
        wire_bytes: 180,
        ..FlowCounters::default()
    };
    Slice {
        ifindex: 7,
        vlan_id: 0,
        tunnel: Tunnel::None,
        tunnel_id: 0,
        fragment: false,
        ipv6: false,
        protocol: protocol::UDP,
        initiator: Endpoint {
            ip: IpAddr::from([10, 0, 0, 1]),
            port: 40_000,
        },
        responder: Endpoint {
            ip: IpAddr::from([10, 0, 0, 2]),
            port: 53,
        },
        basis: InitiatorBasis::Port,
        outcome: Outcome::Unanswered,
        id: 1,
        start_ns: 1,
        last_ns: 1,
        initiator_egress: false,
        forward: sent,
        reverse: FlowCounters::default(),
        end: None,
    }
}

#[test]
fn what_is_withheld_stands_in_the_next_statistics_event_that_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("netflow");
    std::fs::create_dir(&inner).unwrap();
    let mut config = config(Schema::Wazuh4, 1);
    config.output.path = inner.join("events.json");
    config.output.retry_buffer_bytes = 0;
    let now = std::time::Instant::now();
    let enricher = Enricher::new(&config).unwrap();
    let mut writer = EventWriter::open(&config, now).unwrap();
    let slice = example();
    let interface = InterfaceStatistics {
        ifindex: 7,
        interface: "eth0".to_owned(),
        ..InterfaceStatistics::default()
    };
    let interval = |writer: &mut EventWriter| {
        writer.statistics(&interface, &IntervalFacts::default());
        for _ in 0..5 {
            writer.flow(&slice, &enricher.enrich(&slice), "eth0");
        }
        writer.flush(now).unwrap();
    };
    std::fs::remove_dir_all(&inner).unwrap();
    // The first interval's lines are in the write buffer when the failure shows; the second's are over the bound,
    // its statistics too, which the third's tell with their own. What is withheld of the flows that they tell is in
    // the next ones.
    interval(&mut writer);
    interval(&mut writer);
    std::fs::create_dir(&inner).unwrap();
    writer.flush(now).unwrap();
    interval(&mut writer);
    interval(&mut writer);
    writer.finish().unwrap();

    let text = std::fs::read_to_string(inner.join("events.json")).unwrap();
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events.len(), 3 * 6);
    let statistics: Vec<&Value> = events
        .iter()
        .filter(|event| event["event"]["kind"] == "metric")
        .map(|event| &event["flowmeter"])
        .collect();
    let withheld = |index: usize| {
        let part = &statistics[index]["withheld"];
        [
            number(&part["lines"]),
            number(&part["packets"]),
            number(&part["wire_bytes"]),
        ]
    };
    assert_eq!(
        [withheld(0), withheld(1), withheld(2)],
        [[0, 0, 0], [1, 0, 0], [5, 15, 900]]
    );
    let errors = |index: usize| statistics[index]["output"]["last_error"].as_str();
    assert_eq!(errors(0), None);
    assert!(errors(1).unwrap().contains("No such file or directory"));
    assert_eq!(errors(2), None, "an error is told once");
}
