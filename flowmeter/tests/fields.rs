//! `samples/` is what the encoder writes, and `docs/fields.md` names every field of it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy's exceptions for tests do not reach their helper functions"
)]

use std::{collections::BTreeSet, env, fs, path::Path};

use flowmeter::{
    config::{Config, Schema},
    emit::event::{Encoder, IntervalFacts},
    enrich::Enricher,
    flow::{EndReason, Endpoint, InitiatorBasis, InterfaceStatistics, Outcome, Slice},
};
use flowmeter_common::{FlowCounters, InterfaceCounters, Tunnel, Uncounted, uncounted::Count};
use serde_json::Value;

const START: u64 = 1_777_203_920_000_000_000;

fn tcp() -> Slice {
    let counters = |packets: u64, flags: u32| FlowCounters {
        packets,
        l3_bytes: packets * 5_000_000_000,
        wire_bytes: packets * 5_000_000_014,
        first_ns: START,
        last_ns: START + 1_500_000_000,
        syn: 1,
        tcp_flags: flags,
        first_tcp_flags: 2,
        ..FlowCounters::default()
    };
    Slice {
        ifindex: 2,
        vlan_id: 42,
        tunnel: Tunnel::Vxlan,
        tunnel_id: 7,
        fragment: false,
        ipv6: false,
        protocol: 6,
        initiator: Endpoint {
            ip: [192, 168, 56, 30].into(),
            port: 48739,
        },
        responder: Endpoint {
            ip: [203, 0, 113, 99].into(),
            port: 443,
        },
        basis: InitiatorBasis::TcpFlags,
        outcome: Outcome::Accepted,
        id: 0x0123_4567_89ab_cdef,
        start_ns: START,
        last_ns: START + 1_500_000_000,
        initiator_egress: false,
        forward: counters(3, 0x1a),
        reverse: counters(2, 0x12),
        end: Some(EndReason::EndOfFlowDetected),
    }
}

fn samples() -> Vec<(&'static str, String)> {
    let mut config = Config::default();
    config.collector.name = "sensor-1".to_owned();
    let enricher = Enricher::new(&config);
    let flow = |schema, sampling, slice: Slice| {
        let encoder = Encoder {
            collector: "sensor-1".to_owned(),
            schema,
            sampling,
        };
        let mut line = Vec::new();
        encoder
            .flow(&slice, &enricher.enrich(&slice), "eth0", &mut line)
            .unwrap();
        String::from_utf8(line).unwrap()
    };
    let icmp = Slice {
        protocol: 1,
        tunnel: Tunnel::None,
        vlan_id: 0,
        initiator: Endpoint {
            ip: [192, 168, 56, 30].into(),
            port: 8,
        },
        responder: Endpoint {
            ip: [224, 0, 0, 1].into(),
            port: 0,
        },
        basis: InitiatorBasis::IcmpType,
        initiator_egress: true,
        end: None,
        ..tcp()
    };
    let fragment = Slice {
        fragment: true,
        tunnel: Tunnel::None,
        protocol: 17,
        ..tcp()
    };
    let mut counters = InterfaceCounters {
        seen: Count {
            packets: 100,
            wire_bytes: 7400,
        },
        ..InterfaceCounters::default()
    };
    counters.uncounted[Uncounted::NotIp as usize] = Count {
        packets: 3,
        wire_bytes: 180,
    };
    let statistics = InterfaceStatistics {
        ifindex: 2,
        interface: "eth0".to_owned(),
        start_ns: START,
        end_ns: START + 10_000_000_000,
        counters,
        exported: Count {
            packets: 97,
            wire_bytes: 7220,
        },
        exported_l3_bytes: 5862,
        exported_slices: 12,
    };
    let encoder = Encoder {
        collector: "sensor-1".to_owned(),
        schema: Schema::Wazuh4,
        sampling: 1,
    };
    let mut line = Vec::new();
    encoder
        .statistics(&statistics, &IntervalFacts::default(), &mut line)
        .unwrap();
    vec![
        ("flow-tcp.json", flow(Schema::Wazuh4, 1, tcp())),
        ("flow-tcp-ecs.json", flow(Schema::Ecs, 1, tcp())),
        ("flow-icmp-multicast.json", flow(Schema::Wazuh4, 1, icmp)),
        ("flow-fragment-sampled.json", flow(Schema::Wazuh4, 100, fragment)),
        ("statistics.json", String::from_utf8(line).unwrap()),
    ]
}

fn names(value: &Value, prefix: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let dotted = if prefix.is_empty() {
                    name.clone()
                } else {
                    format!("{prefix}.{name}")
                };
                names(value, &dotted, into);
            }
        }
        _ => {
            into.insert(prefix.to_owned());
        }
    }
}

#[test]
fn samples_are_what_the_encoder_writes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples");
    for (name, line) in samples() {
        let file = folder.join(name);
        if env::var_os("FLOWMETER_BLESS").is_some() {
            fs::write(&file, &line).unwrap();
        }
        let kept = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(kept, line, "samples/{name}; FLOWMETER_BLESS=1 rewrites it");
        assert!(line.len() < 8192 && line.starts_with("{\"") && line.matches('\n').count() == 1);
    }
}

#[test]
fn large_counters_are_text_for_wazuh_and_numbers_in_ecs() {
    let samples = samples();
    let bytes = |index: usize| -> Value {
        let event: Value = serde_json::from_str(&samples[index].1).unwrap();
        event.pointer("/network/bytes").unwrap().clone()
    };
    assert_eq!(bytes(0), Value::from("25000000000"));
    assert_eq!(bytes(1), Value::from(25_000_000_000_u64));
}

#[test]
fn every_field_is_documented_and_every_documented_field_is_written() {
    let mut written = BTreeSet::new();
    for (_, line) in samples() {
        names(&serde_json::from_str(&line).unwrap(), "", &mut written);
    }
    let text = include_str!("../../docs/fields.md");
    let documented: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(str::to_owned)
        .collect();
    assert_eq!(documented, written);
}
