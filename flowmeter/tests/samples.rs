//! `samples/` holds what the encoder writes, byte for byte, and `docs/fields.md` names every field in it.
//!
//! After a wanted change: `FLOWMETER_BLESS=1 cargo test -p flowmeter --test samples` rewrites the samples.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics fails"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use flowmeter::{
    config::{Config, Schema, comment},
    detect::{self, Baseline, Confidence, Finding, Period, Phase, Reason, Tag, Usage, Visibility},
    emit::{
        Encoder, FlowSummary, IntervalFacts, Volume,
        event::{FileFacts, OutputFacts, Withheld},
    },
    enrich::{Direction, Enricher},
    flow::{EndReason, Endpoint, InitiatorBasis, InterfaceStatistics, Outcome, Slice},
};
use flowmeter_common::{
    Count, FlowCounters, InterfaceCounters, SpillCounters, SpillKey, Tunnel, Uncounted, flow::protocol,
};
use serde_json::Value;

/// 2026-04-26T11:45:20Z, the time of the article's example.
const START_NS: u64 = 1_777_203_920_000_000_000;
const SECOND: u64 = 1_000_000_000;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn end(ip: &str, port: u16) -> Endpoint {
    Endpoint {
        ip: ip.parse().unwrap(),
        port,
    }
}

/// `sent` is packets, L3 bytes and wire bytes; `seen` first and last, in nanoseconds after the start.
fn counters(sent: (u64, u64, u64), seen: (u64, u64)) -> FlowCounters {
    FlowCounters {
        packets: sent.0,
        l3_bytes: sent.1,
        wire_bytes: sent.2,
        first_ns: START_NS + seen.0,
        last_ns: START_NS + seen.1,
        ..FlowCounters::default()
    }
}

/// An unanswered datagram flow, to be changed.
fn slice(protocol: u8, initiator: Endpoint, responder: Endpoint) -> Slice {
    Slice {
        ifindex: 2,
        vlan_id: 0,
        tunnel: Tunnel::None,
        tunnel_id: 0,
        fragment: false,
        ipv6: initiator.ip.is_ipv6(),
        protocol,
        initiator,
        responder,
        basis: InitiatorBasis::Port,
        outcome: Outcome::Unanswered,
        id: 0x9c1d_0e4b_7a2f_5533,
        start_ns: START_NS,
        last_ns: START_NS,
        initiator_egress: false,
        forward: FlowCounters::default(),
        reverse: FlowCounters::default(),
        end: None,
    }
}

/// The article's upload, larger: over 2^31 bytes, so that the text form of numbers is in a sample.
fn tcp() -> Slice {
    Slice {
        basis: InitiatorBasis::TcpFlags,
        outcome: Outcome::Accepted,
        last_ns: START_NS + 45 * SECOND,
        forward: FlowCounters {
            syn: 1,
            fin: 1,
            tcp_flags: 0x1b,
            first_tcp_flags: 0x02,
            ..counters((3_579_145, 5_368_709_120, 5_418_817_150), (0, 44_988_000_321))
        },
        reverse: FlowCounters {
            syn_ack: 1,
            fin: 1,
            tcp_flags: 0x13,
            first_tcp_flags: 0x12,
            ..counters((1_789_573, 93_057_796, 118_111_818), (12_345_678, 45 * SECOND))
        },
        end: Some(EndReason::EndOfFlowDetected),
        ..slice(
            protocol::TCP,
            end("192.168.56.30", 48739),
            end("203.0.113.99", 443),
        )
    }
}

fn dns() -> Slice {
    Slice {
        outcome: Outcome::Accepted,
        last_ns: START_NS + 23_000_000,
        forward: counters((1, 71, 85), (0, 0)),
        reverse: counters((1, 183, 197), (23_000_000, 23_000_000)),
        ..slice(protocol::UDP, end("192.168.56.50", 51514), end("192.0.2.53", 53))
    }
}

fn icmp() -> Slice {
    Slice {
        basis: InitiatorBasis::IcmpType,
        outcome: Outcome::Accepted,
        last_ns: START_NS + 2_000_400_000,
        forward: counters((3, 252, 294), (0, 2 * SECOND)),
        reverse: counters((3, 252, 294), (400_000, 2_000_400_000)),
        ..slice(protocol::ICMP, end("192.168.56.10", 8), end("192.168.56.20", 0))
    }
}

/// One try of a port scan.
fn refused() -> Slice {
    Slice {
        basis: InitiatorBasis::TcpFlags,
        outcome: Outcome::Refused,
        last_ns: START_NS + 5_000_000,
        forward: FlowCounters {
            syn: 1,
            tcp_flags: 0x02,
            first_tcp_flags: 0x02,
            ..counters((1, 40, 54), (0, 0))
        },
        reverse: FlowCounters {
            rst: 1,
            tcp_flags: 0x14,
            first_tcp_flags: 0x14,
            ..counters((1, 40, 54), (5_000_000, 5_000_000))
        },
        end: Some(EndReason::EndOfFlowDetected),
        ..slice(
            protocol::TCP,
            end("192.168.56.10", 40321),
            end("192.168.56.20", 23),
        )
    }
}

fn vlan_tunnel() -> Slice {
    let sent = counters((1, 80, 162), (0, 0));
    Slice {
        vlan_id: 100,
        tunnel: Tunnel::Vxlan,
        tunnel_id: 5001,
        basis: InitiatorBasis::TcpFlags,
        initiator_egress: true,
        forward: FlowCounters {
            syn: 1,
            tcp_flags: 0x02,
            first_tcp_flags: 0x02,
            ..sent
        },
        ..slice(protocol::TCP, end("fd00:10::7", 40022), end("2001:db8::5", 22))
    }
}

fn fragments() -> Slice {
    Slice {
        fragment: true,
        basis: InitiatorBasis::Time,
        last_ns: START_NS + 5_000_000,
        forward: counters((12, 17_760, 17_928), (0, 5_000_000)),
        ..slice(protocol::UDP, end("192.168.56.40", 0), end("239.1.1.7", 0))
    }
}

/// A connection that was silent in the interval and ends by its idle timeout.
fn idle_end() -> Slice {
    Slice {
        outcome: Outcome::Accepted,
        last_ns: START_NS + 23_000_000,
        end: Some(EndReason::IdleTimeout),
        ..slice(protocol::UDP, end("192.168.56.50", 51514), end("192.0.2.53", 53))
    }
}

fn config(schema: Schema, sampling: u32) -> Config {
    let mut config = Config::default();
    "lab-collector-01".clone_into(&mut config.collector.name);
    config.output.schema = schema;
    config.capture.sampling = sampling;
    config
}

fn flow_line(config: &Config, slice: &Slice) -> String {
    line(&Encoder::new(config), config, slice)
}

/// As `flowmeter generate` writes it.
fn synthetic_line(config: &Config, slice: &Slice) -> String {
    let mut encoder = Encoder::new(config);
    encoder.mark_synthetic();
    line(&encoder, config, slice)
}

fn line(encoder: &Encoder, config: &Config, slice: &Slice) -> String {
    let enricher = Enricher::new(config).unwrap();
    let mut line = Vec::new();
    encoder
        .flow(slice, &enricher.enrich(slice), "enp1s0", &mut line)
        .unwrap();
    String::from_utf8(line).unwrap()
}

/// A scan has filled the map, and the disk was full for a while.
fn statistics_line(config: &Config) -> String {
    let count = |packets, wire_bytes| Count { packets, wire_bytes };
    let mut uncounted = [Count::default(); Uncounted::COUNT];
    for (reason, lost) in [
        (Uncounted::NotIp, count(12, 720)),
        (Uncounted::Truncated, count(1, 60)),
        (Uncounted::Malformed, count(2, 124)),
        (Uncounted::MapFull, count(2_500, 150_000)),
        (Uncounted::Filtered, count(40, 6_000)),
        (Uncounted::SampledOut, count(99_000, 51_480_000)),
    ] {
        uncounted[reason as usize] = lost;
    }
    let interface = InterfaceStatistics {
        ifindex: 2,
        interface: "enp1s0".to_owned(),
        start_ns: START_NS,
        end_ns: START_NS + 10 * SECOND,
        counters: InterfaceCounters {
            seen: count(111_555, 57_636_904),
            uncounted,
        },
        exported: count(9_900, 5_990_000),
        exported_l3_bytes: 5_851_400,
        exported_slices: 5_731,
        summarised: count(5_500, 300_000),
        summarised_slices: 5_000,
        summaries: 7,
        left_out: count(100, 10_000),
        left_out_slices: 12,
    };
    let mapped = |ip: [u8; 4]| std::net::Ipv4Addr::from(ip).to_ipv6_mapped().octets();
    let spill: Vec<_> = [([203, 0, 113, 9], 2_000), ([198, 51, 100, 4], 500)]
        .into_iter()
        .map(|(source, packets)| {
            let key = SpillKey {
                source_prefix: SpillKey::prefix(mapped(source), false),
                ifindex: 2,
                protocol: protocol::TCP,
                ..SpillKey::default()
            };
            let counters = SpillCounters {
                packets,
                l3_bytes: packets * 46,
                syn: packets,
                destination: mapped([192, 168, 56, 20]),
                destination_port: 8080,
                ..SpillCounters::default()
            };
            (key, counters)
        })
        .collect();
    let tables = [Usage {
        table: "contacts",
        used: 18_000,
        capacity: 180_000,
        evicted: 0,
    }];
    let facts = IntervalFacts {
        map_entries: 131_072,
        map_capacity: 131_072,
        early_drains: 1,
        drain_ns: 6_700_000,
        connections: 4_812,
        connections_capacity: 262_144,
        connections_evicted: 3,
        spill: &spill,
        detect_tables: &tables,
        allow_hits: &[3],
    };
    let file = FileFacts {
        lines: 120_431,
        withheld_lines: 31,
        pending_bytes: 67_108_000,
        errors: 2,
        last_error: Some("No space left on device (os error 28)"),
    };
    let output = OutputFacts {
        file,
        all_flows: Some(FileFacts {
            lines: 1_204_310,
            ..file
        }),
        withheld: Withheld {
            lines: 31,
            packets: 410,
            wire_bytes: 260_300,
        },
    };
    let mut line = Vec::new();
    Encoder::new(config)
        .statistics(&interface, &facts, &output, &mut line)
        .unwrap();
    String::from_utf8(line).unwrap()
}

fn finding_line(config: &Config, finding: &Finding) -> String {
    let mut line = Vec::new();
    Encoder::new(config).finding(finding, &mut line).unwrap();
    String::from_utf8(line).unwrap()
}

/// A finding with everything in it that any has, as no real one is: for the names of its fields. The samples hold real
/// ones.
fn finding() -> Finding {
    Finding {
        tag: Tag::PortScan,
        phase: Phase::Start,
        episode: 0x51d3_9a0c_77e1_42b6,
        sequence: 1,
        source: Some("192.168.56.30".parse().unwrap()),
        destination: Some("192.168.56.28".parse().unwrap()),
        port: Some(22),
        protocol: Some(protocol::TCP),
        first_seen_ns: START_NS,
        last_seen_ns: START_NS + 2 * SECOND,
        score: 87,
        confidence: Confidence::High,
        reasons: vec![Reason {
            id: "vertical_scan",
            words: "31 ports of one host failed".to_owned(),
        }],
        counts: vec![
            detect::Count::exact("failed_targets", 29),
            detect::Count {
                name: "distinct_sources",
                value: 120_000,
                error_percent: 2,
                method: "hyperloglog",
            },
        ],
        ports: vec![21, 22, 23, 25, 80],
        hosts: vec!["192.168.56.28".parse().unwrap()],
        open_ports: vec![22, 80],
        period: Some(Period {
            period_ns: 60 * SECOND,
            jitter_ns: SECOND / 2,
            next_ns: START_NS + 62 * SECOND,
        }),
        baseline: Some(Baseline {
            usual: 2.0,
            observed: 31.0,
            deviation: 14.5,
            unit: "ports/h",
        }),
        visibility: Visibility {
            one_sided: false,
            lost_packets: 12,
        },
        techniques: vec!["T1046"],
        settings: vec![("detect.port_scan.targets", "10".to_owned())],
        suppressed: 0,
        message: "192.168.56.30 tried 31 ports of 192.168.56.28 within 2 s, 29 of them closed".to_owned(),
    }
}

/// What a scan leaves over the budget.
fn scanned() -> FlowSummary {
    FlowSummary {
        ifindex: 2,
        initiator_egress: false,
        direction: Direction::InternalToInternal,
        source: Some("192.168.56.10".parse().unwrap()),
        destination: None,
        protocol: Some(protocol::TCP),
        port: Some(445),
        flows: 5_000,
        sources: 1,
        destinations: 5_000,
        services: 1,
        outcomes: [3, 497, 4_500, 0],
        first_ns: START_NS,
        last_ns: START_NS + 9 * SECOND,
        forward: Volume {
            packets: 5_003,
            l3_bytes: 200_120,
        },
        reverse: Volume {
            packets: 497,
            l3_bytes: 19_880,
        },
        wire_bytes: 300_000,
    }
}

/// Many sources, one destination: the other half of the fields, sampled and made up.
fn flooded() -> FlowSummary {
    FlowSummary {
        initiator_egress: true,
        direction: Direction::ExternalToInternal,
        source: None,
        destination: Some("192.168.56.20".parse().unwrap()),
        sources: 5_000,
        destinations: 1,
        ..scanned()
    }
}

fn summary_line(encoder: &Encoder, summary: &FlowSummary) -> String {
    let mut line = Vec::new();
    encoder
        .summary(summary, Some("SMB"), "enp1s0", &mut line)
        .unwrap();
    String::from_utf8(line).unwrap()
}

/// What the detectors find in the traffic that `flowmeter generate` makes up, as the encoder writes it: of each tag
/// the first that begins, by file name.
fn found(schema: &str, suffix: &str) -> Vec<(String, String)> {
    let output = Command::new(env!("CARGO_BIN_EXE_flowmeter"))
        .env_clear()
        .args([
            "generate",
            "--scenario",
            "all",
            "--as",
            "events",
            "-c",
            "/dev/null",
        ])
        .args(["--set", "collector.name=lab-collector-01"])
        .args(["--set", &format!("output.schema={schema}")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let events = String::from_utf8(output.stdout).unwrap();
    let mut found = BTreeMap::new();
    for line in events.lines().filter(|line| line.contains("anomaly")) {
        let event: Value = serde_json::from_str(line).unwrap();
        let (Some(tag), Some("start")) = (
            event["anomaly"]["tags"][0].as_str(),
            event["anomaly"]["phase"].as_str(),
        ) else {
            continue;
        };
        let tag = Tag::from_name(tag).unwrap();
        found
            .entry(sample_of(tag, suffix))
            .or_insert_with(|| line.to_owned());
    }
    found.into_iter().collect()
}

/// The article's own example, a port scan, is the one without a name.
fn sample_of(tag: Tag, suffix: &str) -> String {
    match tag {
        Tag::PortScan => format!("finding{suffix}.json"),
        tag => format!("finding-{}{suffix}.json", tag.name()),
    }
}

/// File name and line of every sample.
fn samples() -> &'static [(String, String)] {
    static SAMPLES: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
        let mut samples = encoded();
        samples.extend(found("wazuh4", ""));
        samples.extend(found("ecs", ".ecs"));
        samples
    });
    &SAMPLES
}

/// Those that the encoder wrote of what is made up here.
fn encoded() -> Vec<(String, String)> {
    let mut samples = Vec::new();
    for (schema, suffix) in [(Schema::Wazuh4, ""), (Schema::Ecs, ".ecs")] {
        let config = |sampling| config(schema, sampling);
        let mut add = |name: &str, line: String| samples.push((format!("{name}{suffix}.json"), line));
        add("flow-tcp", flow_line(&config(1), &tcp()));
        add("flow-dns", flow_line(&config(1), &dns()));
        add("flow-icmp", flow_line(&config(1), &icmp()));
        add("flow-vlan-tunnel", flow_line(&config(1), &vlan_tunnel()));
        add("flow-fragments-sampled", flow_line(&config(100), &fragments()));
        add("flow-idle-end", flow_line(&config(1), &idle_end()));
        add(
            "flow-summary",
            summary_line(&Encoder::new(&config(1)), &scanned()),
        );
        let mut encoder = Encoder::new(&config(100));
        encoder.mark_synthetic();
        add("flow-summary-sampled", summary_line(&encoder, &flooded()));
        add("flow-synthetic", synthetic_line(&config(1), &refused()));
        add("statistics", statistics_line(&config(100)));
    }
    samples
}

fn parsed() -> Vec<(String, Value)> {
    let parse = |(name, line): &(String, String)| (name.clone(), serde_json::from_str(line).unwrap());
    samples().iter().map(parse).collect()
}

#[test]
fn the_samples_are_what_the_encoder_writes() {
    let bless = std::env::var_os("FLOWMETER_BLESS").is_some();
    for (name, line) in samples() {
        let path = repository("samples").join(name);
        let line = format!("{line}\n");
        if bless {
            fs::write(&path, &line).unwrap();
        }
        let sample = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            line, sample,
            "samples/{name} differs; if that is wanted, run this test with FLOWMETER_BLESS=1"
        );
    }
    let files = fs::read_dir(repository("samples")).unwrap();
    let json: BTreeSet<String> = files
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| {
            ["flow-", "statistics", "finding"]
                .iter()
                .any(|kind| name.starts_with(kind))
        })
        .collect();
    assert_eq!(json, samples().iter().map(|(name, _)| name.clone()).collect());
}

/// Parents whose children are named by what was counted.
const NAMED_BY_CONTENT: [&str; 3] = [
    "anomaly.counts",
    "anomaly.counts_error_percent",
    "flowmeter.detect.tables",
];

/// Dotted names of everything that is not an object; the entries of a list share one name.
fn field_names(value: &Value, name: &str, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(_) if NAMED_BY_CONTENT.contains(&name) => {
            names.insert(format!("{name}.*"));
        }
        Value::Object(fields) => {
            for (key, value) in fields {
                let dotted = if name.is_empty() {
                    key.clone()
                } else {
                    format!("{name}.{key}")
                };
                field_names(value, &dotted, names);
            }
        }
        Value::Array(entries) if entries.iter().any(Value::is_object) => {
            for entry in entries {
                field_names(entry, name, names);
            }
        }
        _ => {
            names.insert(name.to_owned());
        }
    }
}

#[test]
fn there_is_a_real_finding_of_each_tag() {
    for suffix in ["", ".ecs"] {
        for tag in Tag::ALL.into_iter().filter(|tag| *tag != Tag::Overflow) {
            let name = sample_of(tag, suffix);
            assert!(samples().iter().any(|(sample, _)| *sample == name), "{name}");
        }
    }
}

#[test]
fn samples_name_only_reasons_techniques_and_settings_that_there_are() {
    let mut looked_at = 0;
    for entry in fs::read_dir(repository("samples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        if !text.contains("\"anomaly\"") {
            continue;
        }
        looked_at += 1;
        let sample: Value = serde_json::from_str(&text).unwrap();
        let event = sample.get("data").unwrap_or(&sample);
        let texts = |pointer: &str| -> Vec<&str> {
            let list = event.pointer(pointer).unwrap().as_array().unwrap();
            list.iter().map(|text| text.as_str().unwrap()).collect()
        };
        let name = path.display();
        let reasons = texts("/anomaly/reasons");
        assert!(!reasons.is_empty(), "{name} has no reason");
        for reason in reasons {
            assert!(detect::REASONS.contains(&reason), "{name}: {reason}");
        }
        for technique in texts("/threat/technique/id") {
            assert!(detect::TECHNIQUES.contains(&technique), "{name}: {technique}");
        }
        for setting in texts("/anomaly/settings") {
            let key = setting.split(" = ").next().unwrap();
            assert!(comment(key).is_some(), "{name}: {setting}");
        }
    }
    assert_eq!(looked_at, 3 * 9, "events of both schemas and alerts");
}

/// As docs/pmacct-json.md shows it.
#[test]
fn every_line_of_the_pmacct_sample_is_read_and_its_three_findings_are_found() {
    let sample = repository("samples/pmacct.json");
    let replay = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_flowmeter"))
            .env_clear()
            .args(["replay", sample.to_str().unwrap(), "-c", "/dev/null"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let mut lines = (0, 0, 0);
    for line in fs::read_to_string(&sample).unwrap().lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        lines.0 += 1;
        lines.1 += record["packets"].as_u64().unwrap();
        lines.2 += record["bytes"].as_u64().unwrap();
    }
    assert_eq!(lines.0, 34);
    let (mut packets, mut bytes, mut tags) = (0, 0, Vec::new());
    for line in replay(&[]).lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        match event["event"]["action"].as_str().unwrap() {
            "network_flow" => {
                packets += number(&event["network"]["packets"]);
                bytes += number(&event["network"]["bytes"]);
            }
            "anomaly_detected" => tags.push(event["anomaly"]["tags"][0].as_str().unwrap().to_owned()),
            _ => {}
        }
    }
    assert_eq!((packets, bytes), (lines.1, lines.2));
    assert_eq!(
        tags,
        [
            "possible_port_scan",
            "external_inbound_sensitive",
            "unusual_outbound_port"
        ]
    );
    let summary = replay(&["--summary"]);
    let page = fs::read_to_string(repository("docs/pmacct-json.md")).unwrap();
    for line in summary.lines().take(7).filter(|line| !line.is_empty()) {
        assert!(page.contains(line), "docs/pmacct-json.md has no {line:?}");
    }
}

#[test]
fn docs_fields_names_exactly_the_fields_that_are_written() {
    let mut written = BTreeSet::new();
    for (_, event) in parsed() {
        field_names(&event, "", &mut written);
    }
    for schema in [Schema::Wazuh4, Schema::Ecs] {
        let line = finding_line(&config(schema, 1), &finding());
        field_names(&serde_json::from_str(&line).unwrap(), "", &mut written);
    }
    let text = fs::read_to_string(repository("docs/fields.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut documented = BTreeSet::new();
    for row in rows {
        let name = row.split('`').next().unwrap().to_owned();
        assert_eq!(
            row.matches(" | ").count(),
            6,
            "{name} has a value in each of the seven columns"
        );
        assert!(documented.insert(name.clone()), "{name} is described twice");
    }
    let missing: Vec<_> = written.difference(&documented).collect();
    let stale: Vec<_> = documented.difference(&written).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "not described: {missing:?}; not written: {stale:?}"
    );
}

#[test]
fn the_article_s_fields_are_where_the_article_has_them() {
    let event: Value = serde_json::from_str(&flow_line(&config(Schema::Wazuh4, 1), &tcp())).unwrap();
    for (pointer, value) in [
        ("/netflow", "\"true\""),
        ("/collector/name", "\"lab-collector-01\""),
        ("/source/ip", "\"192.168.56.30\""),
        ("/source/port", "48739"),
        ("/destination/ip", "\"203.0.113.99\""),
        ("/destination/port", "443"),
        ("/flow/protocol", "\"TCP\""),
        ("/flow/direction", "\"internal_to_external\""),
        ("/network/bytes", "\"5461766916\""),
        ("/network/packets", "5368718"),
        ("/event/duration", "45.0"),
        ("/event/type", "\"network\""),
        ("/event/category", "\"network_traffic\""),
        ("/service/name", "\"HTTPS\""),
        ("/tcp/flags", "\"FIN,SYN,PSH,ACK\""),
    ] {
        assert_eq!(
            event.pointer(pointer).map(Value::to_string).as_deref(),
            Some(value),
            "{pointer}"
        );
    }
    assert!(event.get("anomaly").is_none(), "a plain flow is no anomaly");
}

#[test]
fn made_up_flows_and_findings_say_so_and_real_ones_do_not() {
    for schema in [Schema::Wazuh4, Schema::Ecs] {
        let config = config(schema, 1);
        let mut encoder = Encoder::new(&config);
        for label in [Value::Null, Value::from("true")] {
            let mut found = Vec::new();
            encoder.finding(&finding(), &mut found).unwrap();
            let found: Value = serde_json::from_slice(&found).unwrap();
            let flow: Value = serde_json::from_str(&line(&encoder, &config, &tcp())).unwrap();
            assert_eq!(found["labels"]["synthetic"], label);
            assert_eq!(flow["labels"]["synthetic"], label);
            encoder.mark_synthetic();
            // A changed configuration does not make it real.
            encoder.reconfigure(&config);
        }
    }
}

fn number(value: &Value) -> u64 {
    let text = value.as_str().and_then(|text| text.parse().ok());
    value
        .as_u64()
        .or(text)
        .unwrap_or_else(|| panic!("{value} is no count"))
}

#[test]
fn the_conservation_law_can_be_checked_in_a_statistics_event() {
    let statistics: Vec<_> = parsed()
        .into_iter()
        .filter(|(name, _)| name.starts_with("statistics"))
        .collect();
    assert_eq!(statistics.len(), 2);
    for (name, event) in statistics {
        let terms = &event["flowmeter"];
        for unit in ["packets", "wire_bytes"] {
            let lost: u64 = terms["lost"]
                .as_object()
                .unwrap()
                .values()
                .map(|term| number(&term[unit]))
                .sum();
            let others = ["exported", "left_out", "filtered", "sampled_out"];
            let sum = lost + others.iter().map(|term| number(&terms[*term][unit])).sum::<u64>();
            assert_eq!(number(&terms["seen"][unit]), sum, "{name} {unit}");
        }
    }
}

#[test]
fn ecs_leaves_out_what_only_wazuh_4_needs() {
    for (name, event) in parsed()
        .into_iter()
        .filter(|(name, _)| name.ends_with(".ecs.json"))
    {
        let mut names = BTreeSet::new();
        field_names(&event, "", &mut names);
        for extra in [
            "netflow",
            "srcip",
            "dstport",
            "protocol",
            "collector.name",
            "flow.protocol",
        ] {
            assert!(!names.contains(extra), "{name} has {extra}");
        }
        assert!(
            event["event"]["category"].is_array() && event["event"]["duration"].is_u64(),
            "{name}"
        );
    }
}
