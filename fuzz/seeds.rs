//! The seed corpora: one small input for each way through what is fuzzed, made here.

#![allow(dead_code, reason = "each target uses a part of this")]

use std::{env, fs, path::Path};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Writes seeds into the directory that `FLOWMETER_FUZZ_SEEDS` names, if it names one.
pub fn write(seeds: fn() -> Vec<Vec<u8>>) {
    let Some(directory) = env::var_os("FLOWMETER_FUZZ_SEEDS") else {
        return;
    };
    for (number, seed) in seeds().into_iter().enumerate() {
        let path = Path::new(&directory).join(format!("seed-{number}"));
        fs::write(path, seed).expect("writing a seed");
    }
}

/// For the frame parser: kind of link, offset, segments, segment size and tag length come before the frame.
pub fn frames() -> Vec<Vec<u8>> {
    let ethernet = seeds()
        .into_iter()
        .flat_map(|(_, frame)| [0, 4].map(|inner| [&[inner, 0, 2, 6, 4][..], &frame].concat()));
    let ip = [&[2, 0, 0, 0, 0][..], &ipv4(TCP, 0, &tcp())].concat();
    ethernet.chain([ip]).collect()
}

/// A file of each kind with every frame.
pub fn captures() -> Vec<Vec<u8>> {
    let frames = seeds();
    let mut pcap = vec![
        0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0,
    ];
    let section: &[u32] = &[0x1a2b_3c4d, 1, u32::MAX, u32::MAX];
    let interface: &[u32] = &[1, 0];
    let mut pcapng = [block(0x0a0d_0d0a, section, &[]), block(1, interface, &[])].concat();
    for (second, (_, frame)) in (1_000..).zip(&frames) {
        let length = frame.len() as u32;
        for word in [second, 7, length, length] {
            pcap.extend(word.to_le_bytes());
        }
        pcap.extend(frame);
        pcapng.extend(block(6, &[0, 0, second * 1_000_000, length, length], frame));
    }
    pcapng.extend(block(3, &[20], &ipv4(TCP, 0, &tcp())));
    let big_endian = [
        0xa1, 0xb2, 0x3c, 0x4d, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 101,
    ];
    vec![pcap, pcapng, big_endian.to_vec()]
}

/// A block of pcapng.
fn block(kind: u32, words: &[u32], data: &[u8]) -> Vec<u8> {
    let padded = data.len().next_multiple_of(4);
    let length = (12 + words.len() * 4 + padded) as u32;
    let mut block = Vec::new();
    for word in [kind, length].iter().chain(words) {
        block.extend(word.to_le_bytes());
    }
    block.extend(data);
    block.resize(length as usize - 4, 0);
    block.extend(length.to_le_bytes());
    block
}

/// Lines of pmacct's daemons, in every form of time and flags.
pub fn pmacct() -> Vec<Vec<u8>> {
    let ends = r#""ip_src": "192.0.2.1", "ip_dst": "198.51.100.7", "port_src": 40000, "port_dst": 443"#;
    let lines = [
        format!(r#"{{"event_type": "purge", {ends}, "tcp_flags": "18", "ip_proto": "tcp", "timestamp_start": "2026-04-26 11:45:20.123456", "timestamp_end": "0000-00-00 00:00:00.000000", "packets": 1, "bytes": 60}}"#),
        format!(r#"{{{ends}, "tcp_flags": ["SYN", "ACK"], "ip_proto": "6", "timestamp_start": "2026-04-26T11:45:20+02:00", "timestamp_end": "2026-04-26T11:45:21.5Z", "packets": "3", "flows": null, "bytes": 180.0}}"#),
        format!(r#"{{{ends}, "peer_ip_src": "203.0.113.9", "vlan": 7, "ip_proto": "udp", "stamp_inserted": "1777203920", "stamp_updated": 1777203981, "packets": 9, "bytes": 900}}"#),
        r#"{"ip_src": "2001:db8::1", "ip_dst": "2001:db8::2", "ip_proto": "ipv6-icmp", "icmp_type": 128, "icmp_code": 0, "timestamp_min": "1777203920.000001", "timestamp_max": "1777203921.5", "packets": 2, "bytes": 160}"#.to_owned(),
        r#"{"peer_ip_src": "203.0.113.9", "ip_src": "192.0.2.1", "ip_dst": "192.0.2.2", "port_src": 0, "port_dst": 2048, "ip_proto": "icmp", "packets": 1, "bytes": 84}"#.to_owned(),
        r#"{"event_type": "purge_close", "writer_id": "x/1", "purged_entries": 1}"#.to_owned(),
    ];
    let all = lines.join("\n").into_bytes();
    lines.into_iter().map(String::into_bytes).chain([all]).collect()
}

/// Connections of Zeek, as columns and as JSON.
pub fn zeek() -> Vec<Vec<u8>> {
    let columns = "#separator \\x09\n#unset_field\t-\n#path\tconn\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\torig_bytes\tresp_bytes\tconn_state\tmissed_bytes\thistory\torig_pkts\torig_ip_bytes\tresp_pkts\tresp_ip_bytes\tip_proto\n\
        928.943457\tCx\t192.0.2.1\t49168\t198.51.100.7\t80\ttcp\thttp\t0.055687\t261\t1077\tSF\t0\tShADadfF\t5\t473\t5\t1281\t6\n\
        958.1\tCy\t2001:db8::1\t128\t2001:db8::2\t129\ticmp\t-\t-\t-\t-\tOTH\t0\t-\t1\t52\t1\t52\t-\n\
        #close\t2015-11-18-16-36-13\n";
    let json = r#"{"ts":1759290694.326412,"uid":"Cx","id.orig_h":"192.0.2.1","id.orig_p":52626,"id.resp_h":"198.51.100.7","id.resp_p":443,"proto":"tcp","duration":9.5e-07,"conn_state":"RSTO","history":"^hadR","orig_pkts":7,"orig_ip_bytes":365,"resp_pkts":9,"resp_ip_bytes":1400}"#;
    let nested = r#"{"_path":"conn","ts":"2025-10-01T03:51:34.326412Z","id":{"orig_h":"192.0.2.1","orig_p":8,"resp_h":"198.51.100.7","resp_p":0},"proto":"icmp","orig_bytes":56,"resp_bytes":56}"#;
    vec![
        columns.into(),
        json.into(),
        nested.into(),
        format!("{json}\n{nested}\n{columns}").into(),
    ]
}

fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let inside = ipv4(UDP, 0, &udp(53, b"inner"));
    let ethernet_inside = ethernet(0x0800, &inside);
    vec![
        ("tcp4", ethernet(0x0800, &ipv4(TCP, 0, &tcp()))),
        ("udp6", ethernet(0x86dd, &ipv6(UDP, &udp(53, b"hello")))),
        ("icmp4", ethernet(0x0800, &ipv4(1, 0, &[8, 0, 0, 0, 0, 1, 0, 1]))),
        ("icmp6", ethernet(0x86dd, &ipv6(58, &[135, 0, 0, 0, 0, 0, 0, 0]))),
        ("sctp", ethernet(0x0800, &ipv4(132, 0, &udp(2905, b"sctp")))),
        ("dccp", ethernet(0x0800, &ipv4(33, 0, &udp(5004, b"dccp")))),
        (
            "first-fragment",
            ethernet(0x0800, &ipv4(UDP, 0x2000, &udp(53, b"a"))),
        ),
        (
            "later-fragment",
            ethernet(0x0800, &ipv4(UDP, 0x00b9, b"payload of it")),
        ),
        (
            "fragment6",
            ethernet(
                0x86dd,
                &ipv6(44, &[&[17, 0, 0, 1, 0, 0, 0, 1][..], &udp(53, b"a")].concat()),
            ),
        ),
        ("extensions", ethernet(0x86dd, &ipv6(0, &extensions()))),
        ("vlan", ethernet(0x8100, &[&[0, 42, 8, 0][..], &inside].concat())),
        (
            "qinq",
            ethernet(0x88a8, &[&[0, 7, 0x81, 0, 0, 42, 8, 0][..], &inside].concat()),
        ),
        (
            "pppoe",
            ethernet(0x8864, &[&[0x11, 0, 0, 1, 0, 30, 0, 0x21][..], &inside].concat()),
        ),
        (
            "mpls",
            ethernet(0x8847, &[&[0, 1, 0, 64, 0, 2, 1, 64][..], &inside].concat()),
        ),
        (
            "gre",
            ethernet(
                0x0800,
                &ipv4(47, 0, &[&[0x20, 0, 8, 0, 0, 0, 0, 9][..], &inside].concat()),
            ),
        ),
        (
            "pptp",
            ethernet(0x0800, &ipv4(47, 0, &[&PPTP[..], &inside].concat())),
        ),
        ("ipip", ethernet(0x0800, &ipv4(4, 0, &inside))),
        ("6in4", ethernet(0x0800, &ipv4(41, 0, &ipv6(TCP, &tcp())))),
        ("vxlan", tunnel(4789, &[8, 0, 0, 0, 0, 0, 5, 0], &ethernet_inside)),
        (
            "geneve",
            tunnel(
                6081,
                &[1, 0, 0x65, 0x58, 0, 0, 5, 0, 0, 0, 0, 0],
                &ethernet_inside,
            ),
        ),
        (
            "gtp-u",
            tunnel(
                2152,
                &[0x34, 255, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0x85, 1, 0, 0, 0],
                &inside,
            ),
        ),
        ("arp", ethernet(0x0806, &[0; 28])),
    ]
}

/// RFC 2637 section 4.1 with a sequence number and PPP's address and control bytes.
const PPTP: [u8; 16] = [0x30, 1, 0x88, 0x0b, 0, 30, 0, 9, 0, 0, 0, 1, 0xff, 3, 0, 0x21];

fn tunnel(port: u16, header: &[u8], inside: &[u8]) -> Vec<u8> {
    ethernet(0x0800, &ipv4(UDP, 0, &udp(port, &[header, inside].concat())))
}

fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [
        &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..],
        &ethertype.to_be_bytes(),
        payload,
    ]
    .concat()
}

fn ipv4(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let [l0, l1] = (payload.len() as u16 + 20).to_be_bytes();
    let [f0, f1] = fragment.to_be_bytes();
    let header = [
        0x45, 0, l0, l1, 0, 1, f0, f1, 64, protocol, 0, 0, 192, 0, 2, 1, 198, 51, 100, 1,
    ];
    [&header[..], payload].concat()
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let [l0, l1] = (payload.len() as u16).to_be_bytes();
    let address = |last| [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    [
        &[0x60, 0, 0, 0, l0, l1, next, 64][..],
        &address(1),
        &address(2),
        payload,
    ]
    .concat()
}

/// Hop by hop, routing, destination options, authentication, then TCP.
fn extensions() -> Vec<u8> {
    let option = |next| [next, 0, 1, 4, 0, 0, 0, 0];
    let authentication = [TCP, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1];
    [&option(43)[..], &option(60), &option(51), &authentication, &tcp()].concat()
}

fn tcp() -> Vec<u8> {
    let header = [
        0xc0, 0, 1, 187, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0,
    ];
    [&header[..], b"data"].concat()
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16 + 8).to_be_bytes();
    [&[0xc0, 0][..], &port.to_be_bytes(), &length, &[0, 0], payload].concat()
}
