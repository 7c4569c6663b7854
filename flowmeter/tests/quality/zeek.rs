//! Zeek's `conn.log`, as text or as JSON lines, as a source of a replay.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read},
    net::IpAddr,
};

use flowmeter::{
    capture::{
        aggregate::Aggregate,
        problem::Problem,
        replay::{Interfaces, Source},
    },
    flow::FlowRecord,
};
use flowmeter_common::{
    FlowCounters, FlowKey, KeyFlags,
    flow::{protocol, tcp_flags},
};

pub(crate) struct ZeekSource {
    /// By start.
    rows: std::vec::IntoIter<(u64, [FlowRecord; 2])>,
    current: Option<[FlowRecord; 2]>,
}

impl ZeekSource {
    pub(crate) fn looks_like(head: &[u8]) -> bool {
        head.starts_with(b"#separator") || head.starts_with(b"{\"ts\"")
    }

    pub(crate) fn new(reader: impl Read) -> Self {
        let mut names: Vec<String> = Vec::new();
        let mut rows = Vec::new();
        for line in BufReader::new(reader).lines().map_while(Result::ok) {
            let fields: HashMap<String, String> = if line.starts_with('{') {
                let Ok(serde_json::Value::Object(object)) = serde_json::from_str(&line) else {
                    continue;
                };
                let text = |value: serde_json::Value| match value {
                    serde_json::Value::String(text) => text,
                    other => other.to_string(),
                };
                object
                    .into_iter()
                    .map(|(name, value)| (name, text(value)))
                    .collect()
            } else if let Some(fields) = line.strip_prefix("#fields\t") {
                names = fields.split('\t').map(str::to_owned).collect();
                continue;
            } else if line.starts_with('#') {
                continue;
            } else {
                names
                    .iter()
                    .cloned()
                    .zip(line.split('\t').map(str::to_owned))
                    .collect()
            };
            rows.extend(row(&fields));
        }
        rows.sort_by_key(|(start_ns, _)| *start_ns);
        Self {
            rows: rows.into_iter(),
            current: None,
        }
    }
}

impl Source for ZeekSource {
    fn advance(&mut self) -> Result<Option<u64>, Problem> {
        let next = self.rows.next();
        self.current = next.map(|(_, records)| records);
        Ok(next.map(|(start_ns, _)| start_ns))
    }

    fn count(&mut self, into: &mut Aggregate, interfaces: &mut Interfaces) -> Option<Problem> {
        let ifindex = interfaces.ifindex("zeek");
        for mut record in self.current.into_iter().flatten() {
            if record.counters.packets > 0 {
                record.key.ifindex = ifindex;
                into.record(&record);
            }
        }
        None
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn nanoseconds(seconds: &str) -> Option<u64> {
    let seconds: f64 = seconds.parse().ok()?;
    (seconds >= 0.0).then_some((seconds * 1e9) as u64)
}

fn row(fields: &HashMap<String, String>) -> Option<(u64, [FlowRecord; 2])> {
    let field = |name: &str| fields.get(name).map(String::as_str).filter(|text| *text != "-");
    let number = |name: &str| field(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let start_ns = nanoseconds(field("ts")?)?;
    let last_ns = start_ns + field("duration").and_then(nanoseconds).unwrap_or(0);
    let address = |name: &str| -> Option<([u8; 16], bool)> {
        Some(match field(name)?.parse().ok()? {
            IpAddr::V4(ip) => (ip.to_ipv6_mapped().octets(), false),
            IpAddr::V6(ip) => (ip.octets(), true),
        })
    };
    let (source, ipv6) = address("id.orig_h")?;
    let (destination, _) = address("id.resp_h")?;
    let protocol = match field("proto")? {
        "tcp" => protocol::TCP,
        "udp" => protocol::UDP,
        "icmp" if ipv6 => protocol::ICMPV6,
        "icmp" => protocol::ICMP,
        _ => return None,
    };
    let port = |name: &str| u16::try_from(number(name)).unwrap_or(0);
    let history = field("history").unwrap_or("").trim_start_matches('^');
    let counters = |packets: &str, bytes: &str, own: fn(&char) -> bool| {
        let mut counters = FlowCounters {
            packets: number(packets),
            l3_bytes: number(bytes),
            wire_bytes: number(bytes) + 14 * number(packets),
            first_ns: start_ns,
            last_ns,
            ..FlowCounters::default()
        };
        if protocol == protocol::TCP {
            use tcp_flags::{ACK, FIN, PSH, RST, SYN};
            for letter in history.chars().filter(own) {
                let flags = match letter.to_ascii_lowercase() {
                    's' => SYN,
                    'h' => SYN | ACK,
                    'a' => ACK,
                    'd' => ACK | PSH,
                    'f' => ACK | FIN,
                    'r' => RST,
                    _ => continue,
                };
                if counters.tcp_flags == 0 {
                    counters.first_tcp_flags = flags;
                }
                counters.tcp_flags |= u32::from(flags);
                counters.syn += u32::from(flags == SYN);
                counters.syn_ack += u32::from(flags == SYN | ACK);
                counters.fin += u32::from(flags & FIN != 0);
                counters.rst += u32::from(flags & RST != 0);
            }
        }
        counters
    };
    let (source_port, destination_port) = (port("id.orig_p"), port("id.resp_p"));
    let forward = FlowKey {
        source,
        destination,
        source_port,
        destination_port,
        protocol,
        flags: KeyFlags(if ipv6 { KeyFlags::IPV6 } else { 0 }),
        ..FlowKey::default()
    };
    let reverse = FlowKey {
        source: destination,
        destination: source,
        source_port: destination_port,
        destination_port: source_port,
        ..forward
    };
    Some((
        start_ns,
        [
            FlowRecord {
                key: forward,
                counters: counters("orig_pkts", "orig_ip_bytes", char::is_ascii_uppercase),
            },
            FlowRecord {
                key: reverse,
                counters: counters("resp_pkts", "resp_ip_bytes", char::is_ascii_lowercase),
            },
        ],
    ))
}
