//! Frames that between them take every branch of the frame parser, each with what it must answer.
//!
//! The same table is run through the parser in user space and through the programs in the kernel.

#![allow(dead_code, reason = "each test takes what it needs of this table")]
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a wrong table must fail its test"
)]

use flowmeter_common::{FlowKey, KeyFlags, Link, Sizes, Tunnel, Uncounted, flow::tcp_flags};

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) link: Link,
    /// Whether tunnels are entered (`tunnels = "inner"`).
    pub(crate) inner: bool,
    pub(crate) frame: Vec<u8>,
    pub(crate) expect: Result<Expected, Uncounted>,
}

/// What a frame of its own, not a super-packet, is counted as. Interface and direction are left at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) key: FlowKey,
    pub(crate) tcp_flags: u8,
    pub(crate) sizes: Sizes,
}

/// Runs a case's frame through the parser as every user of it does.
pub(crate) fn parsed(case: &Case) -> Result<Expected, Uncounted> {
    let mut packet = flowmeter_common::Packet::default();
    flowmeter_common::parse(case.frame.as_slice(), case.link, case.inner, &mut packet)?;
    let length = u32::try_from(case.frame.len()).unwrap();
    let sizes = packet.sizes(length, 0, flowmeter_common::Gso::default())?;
    Ok(Expected {
        key: packet.key,
        tcp_flags: packet.tcp_flags,
        sizes,
    })
}

pub(crate) const A4: [u8; 4] = [192, 0, 2, 1];
pub(crate) const B4: [u8; 4] = [198, 51, 100, 2];
/// Inside of tunnels.
pub(crate) const C4: [u8; 4] = [10, 1, 1, 1];
pub(crate) const D4: [u8; 4] = [10, 2, 2, 2];
pub(crate) const A6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
pub(crate) const B6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
pub(crate) const C6: [u8; 16] = [0xfd, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3];
pub(crate) const D6: [u8; 16] = [0xfd, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4];

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const QINQ: u16 = 0x88a8;
const BRIDGING: u16 = 0x6558;

const SYN: u8 = tcp_flags::SYN;

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn length16(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap().to_be_bytes()
}

pub(crate) fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    join(&[
        &[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1],
        &ethertype.to_be_bytes(),
        payload,
    ])
}

/// What follows the EtherType `ethertype` of a tag: control information, the next EtherType, the payload.
pub(crate) fn tag(vlan_id: u16, next: u16, payload: &[u8]) -> Vec<u8> {
    // Priority 5, so that a parser that does not mask it is found out.
    join(&[&(0xa000 | vlan_id).to_be_bytes(), &next.to_be_bytes(), payload])
}

pub(crate) fn ipv4_from(source: [u8; 4], destination: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let total = length16(20 + payload.len());
    let fixed = [0x45, 0, total[0], total[1], 0x12, 0x34, 0, 0, 64, protocol, 0, 0];
    join(&[&fixed, &source, &destination, payload])
}

pub(crate) fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_from(A4, B4, protocol, payload)
}

/// `offset` in bytes, a multiple of 8.
pub(crate) fn ipv4_fragment(protocol: u8, offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
    let mut packet = ipv4(protocol, payload);
    let field = (offset / 8) | if more { 0x2000 } else { 0 };
    packet[6..8].copy_from_slice(&field.to_be_bytes());
    packet
}

pub(crate) fn ipv4_options(protocol: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut packet = ipv4(protocol, &join(&[options, payload]));
    packet[0] = 0x45 + u8::try_from(options.len() / 4).unwrap();
    packet
}

pub(crate) fn ipv6_from(source: [u8; 16], destination: [u8; 16], next: u8, payload: &[u8]) -> Vec<u8> {
    let length = length16(payload.len());
    // A traffic class and a flow label, so that a parser that does not skip them is found out.
    join(&[
        &[0x6a, 0xbc, 0xde, 0xf0, length[0], length[1], next, 64],
        &source,
        &destination,
        payload,
    ])
}

pub(crate) fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    ipv6_from(A6, B6, next, payload)
}

/// An extension header of 8 bytes and 8 for each of `more` (RFC 8200 section 4.2).
pub(crate) fn extension(next: u8, more: u8, payload: &[u8]) -> Vec<u8> {
    let body = vec![0; 6 + usize::from(more) * 8];
    join(&[&[next, more], &body, payload])
}

pub(crate) fn ipv6_fragment(next: u8, offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
    let field = (offset | u16::from(more)).to_be_bytes();
    join(&[&[next, 0, field[0], field[1], 0, 0, 0, 7], payload])
}

pub(crate) fn tcp(source: u16, destination: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
    let rest = [0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 0x20, 0, 0, 0, 0, 0];
    join(&[&source.to_be_bytes(), &destination.to_be_bytes(), &rest, payload])
}

pub(crate) fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let length = length16(8 + payload.len());
    join(&[
        &source.to_be_bytes(),
        &destination.to_be_bytes(),
        &length,
        &[0, 0],
        payload,
    ])
}

pub(crate) fn icmp(kind: u8, code: u8) -> Vec<u8> {
    vec![kind, code, 0, 0, 0, 1, 0, 2]
}

fn mapped(address: [u8; 4]) -> [u8; 16] {
    let [a, b, c, d] = address;
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

fn key4(protocol: u8, source_port: u16, destination_port: u16) -> FlowKey {
    FlowKey {
        source: mapped(A4),
        destination: mapped(B4),
        source_port,
        destination_port,
        protocol,
        ..FlowKey::default()
    }
}

fn key6(protocol: u8, source_port: u16, destination_port: u16) -> FlowKey {
    FlowKey {
        source: A6,
        destination: B6,
        flags: KeyFlags(KeyFlags::IPV6),
        ..key4(protocol, source_port, destination_port)
    }
}

fn fragment(mut key: FlowKey) -> FlowKey {
    key.flags = KeyFlags(key.flags.0 | KeyFlags::FRAGMENT);
    key
}

fn vlan(vlan_id: u16, key: FlowKey) -> FlowKey {
    FlowKey { vlan_id, ..key }
}

/// The UDP packet that is inside of every tunnel here.
fn inside4() -> Vec<u8> {
    ipv4_from(C4, D4, 17, &udp(5000, 53, &[1, 2, 3, 4]))
}

fn inside6() -> Vec<u8> {
    ipv6_from(C6, D6, 17, &udp(5000, 53, &[1, 2, 3, 4]))
}

const INSIDE4_BYTES: u64 = 32;
const INSIDE6_BYTES: u64 = 52;

fn inside_key4(tunnel: Tunnel, tunnel_id: u32) -> FlowKey {
    FlowKey {
        source: mapped(C4),
        destination: mapped(D4),
        flags: KeyFlags(0).with_tunnel(tunnel),
        tunnel_id,
        ..key4(17, 5000, 53)
    }
}

fn inside_key6(tunnel: Tunnel, tunnel_id: u32) -> FlowKey {
    FlowKey {
        source: C6,
        destination: D6,
        flags: KeyFlags(KeyFlags::IPV6).with_tunnel(tunnel),
        ..inside_key4(tunnel, tunnel_id)
    }
}

/// The cases as they are collected.
struct Table {
    cases: Vec<Case>,
    link: Link,
    inner: bool,
}

impl Table {
    /// A frame that is counted in `key`, with `l3_bytes`.
    fn counted(&mut self, name: &'static str, frame: Vec<u8>, key: FlowKey, l3_bytes: u64) {
        self.tcp(name, frame, key, l3_bytes, 0);
    }

    fn tcp(&mut self, name: &'static str, frame: Vec<u8>, key: FlowKey, l3_bytes: u64, tcp_flags: u8) {
        let wire_bytes = u64::try_from(frame.len()).unwrap();
        let sizes = Sizes {
            packets: 1,
            l3_bytes,
            wire_bytes,
        };
        self.push(
            name,
            frame,
            Ok(Expected {
                key,
                tcp_flags,
                sizes,
            }),
        );
    }

    fn uncounted(&mut self, name: &'static str, frame: Vec<u8>, reason: Uncounted) {
        self.push(name, frame, Err(reason));
    }

    fn push(&mut self, name: &'static str, frame: Vec<u8>, expect: Result<Expected, Uncounted>) {
        self.cases.push(Case {
            name,
            link: self.link,
            inner: self.inner,
            frame,
            expect,
        });
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let mut table = Table {
        cases: Vec::new(),
        link: Link::Ethernet,
        inner: false,
    };
    transports(&mut table);
    ipv4_headers(&mut table);
    ipv6_headers(&mut table);
    link_layers(&mut table);
    outer_tunnels(&mut table);
    table.inner = true;
    inner_tunnels(&mut table);
    tunnels_not_entered(&mut table);
    table.inner = false;
    without_ethernet(&mut table);
    table.cases
}

fn transports(t: &mut Table) {
    use Uncounted::Truncated;
    let eth4 = |protocol, payload: &[u8]| ethernet(IPV4, &ipv4(protocol, payload));
    let eth6 = |next, payload: &[u8]| ethernet(IPV6, &ipv6(next, payload));
    t.tcp(
        "tcp syn",
        eth4(6, &tcp(40000, 443, SYN, &[])),
        key4(6, 40000, 443),
        40,
        SYN,
    );
    t.tcp(
        "tcp6 with data",
        eth6(6, &tcp(40000, 443, 0x18, &[7; 9])),
        key6(6, 40000, 443),
        69,
        0x18,
    );
    let mut options = tcp(40000, 443, SYN, &[1; 20]);
    options[12] = 0xa0;
    t.tcp(
        "tcp with options",
        eth4(6, &options),
        key4(6, 40000, 443),
        60,
        SYN,
    );
    let mut lying = tcp(40000, 443, SYN, &[]);
    lying[12] = 0x10;
    t.tcp(
        "tcp data offset under 5",
        eth4(6, &lying),
        key4(6, 40000, 443),
        40,
        SYN,
    );
    let mut padded = eth4(6, &tcp(40000, 443, tcp_flags::RST, &[]));
    padded.resize(60, 0xee);
    t.tcp(
        "tcp padded to 60 bytes",
        padded,
        key4(6, 40000, 443),
        40,
        tcp_flags::RST,
    );
    t.counted("udp", eth4(17, &udp(5353, 53, &[0; 12])), key4(17, 5353, 53), 40);
    t.counted("udp6", eth6(17, &udp(5353, 53, &[0; 12])), key6(17, 5353, 53), 60);
    t.counted("udp-lite", eth4(136, &udp(1, 2, &[])), key4(136, 1, 2), 28);
    t.counted(
        "sctp",
        eth4(132, &[0x0b, 0x59, 0x0b, 0x5a, 0, 0, 0, 1, 0, 0, 0, 0]),
        key4(132, 2905, 2906),
        32,
    );
    t.counted(
        "dccp",
        eth4(33, &[0, 9, 0, 10, 3, 0, 0, 0, 0, 0, 0, 0]),
        key4(33, 9, 10),
        32,
    );
    t.counted("icmp echo", eth4(1, &icmp(8, 0)), key4(1, 8, 0), 28);
    t.counted("icmp unreachable", eth4(1, &icmp(3, 13)), key4(1, 3, 13), 28);
    t.counted(
        "icmpv6 solicitation",
        eth6(58, &icmp(135, 0)),
        key6(58, 135, 0),
        48,
    );
    t.counted("esp", eth4(50, &[1; 16]), key4(50, 0, 0), 36);
    t.counted("esp6", eth6(50, &[1; 16]), key6(50, 0, 0), 56);
    t.counted("igmp", eth4(2, &[0x16; 8]), key4(2, 0, 0), 28);
    t.counted(
        "ah in ipv4 is a protocol",
        eth4(51, &[6, 4, 0, 0, 0, 0, 0, 1]),
        key4(51, 0, 0),
        28,
    );
    t.counted(
        "protocol 255 without payload",
        eth4(255, &[]),
        key4(255, 0, 0),
        20,
    );

    t.uncounted("tcp ports cut", eth4(6, &[0x9c, 0x40, 1]), Truncated);
    t.uncounted(
        "tcp flags cut",
        eth4(6, &tcp(40000, 443, SYN, &[])[..13]),
        Truncated,
    );
    let mut into_padding = eth4(6, &[0x9c, 0x40]);
    into_padding.resize(60, 0xee);
    t.uncounted("tcp ports in padding", into_padding, Truncated);
    let mut into_padding = eth4(6, &tcp(40000, 443, SYN, &[])[..8]);
    into_padding.resize(60, 0xee);
    t.uncounted("tcp flags in padding", into_padding, Truncated);
    let mut cut = eth4(6, &tcp(40000, 443, SYN, &[]));
    cut.truncate(14 + 20 + 13);
    t.uncounted("tcp flags not captured", cut, Truncated);
    let mut cut = eth4(6, &tcp(40000, 443, SYN, &[]));
    cut.truncate(14 + 20 + 3);
    t.uncounted("tcp ports not captured", cut, Truncated);
    t.uncounted("udp ports cut", eth4(17, &[0, 53, 0]), Truncated);
    t.uncounted("sctp ports cut", eth4(132, &[0, 53, 0]), Truncated);
    t.uncounted("icmp code cut", eth4(1, &[8]), Truncated);
    let mut into_padding = eth6(58, &[128]);
    into_padding.resize(60, 0);
    t.uncounted("icmpv6 code in padding", into_padding, Truncated);
    let mut cut = eth4(1, &icmp(8, 0));
    cut.truncate(14 + 20 + 1);
    t.uncounted("icmp code not captured", cut, Truncated);
}

fn ipv4_headers(t: &mut Table) {
    use Uncounted::{Malformed, Truncated};
    let eth = |packet: &[u8]| ethernet(IPV4, packet);
    let router_alert = [0x94, 4, 0, 0];
    t.counted(
        "ipv4 options",
        eth(&ipv4_options(17, &router_alert, &udp(1, 2, &[]))),
        key4(17, 1, 2),
        32,
    );
    t.counted(
        "ipv4 options of 40 bytes",
        eth(&ipv4_options(17, &[1; 40], &udp(1, 2, &[]))),
        key4(17, 1, 2),
        68,
    );
    let first = ipv4_fragment(17, 0, true, &udp(1, 2, &[0; 8]));
    t.counted("ipv4 first fragment", eth(&first), key4(17, 1, 2), 36);
    let later = ipv4_fragment(17, 16, true, &udp(3, 4, &[0; 8]));
    t.counted("ipv4 middle fragment", eth(&later), fragment(key4(17, 0, 0)), 36);
    let last = ipv4_fragment(6, 65528, false, &[1; 2]);
    t.counted("ipv4 last fragment", eth(&last), fragment(key4(6, 0, 0)), 22);
    let tiny = ipv4_fragment(6, 0, true, &tcp(40000, 443, SYN, &[])[..8]);
    t.counted(
        "tcp tiny first fragment has no flags",
        eth(&tiny),
        key4(6, 40000, 443),
        28,
    );
    t.uncounted(
        "tcp first fragment without ports",
        eth(&ipv4_fragment(6, 0, true, &[1; 3])),
        Truncated,
    );
    let mut no_length = ipv4(6, &tcp(40000, 443, 0x10, &[7; 100]));
    no_length[2..4].fill(0);
    t.tcp(
        "ipv4 total length 0 takes the frame's",
        eth(&no_length),
        key4(6, 40000, 443),
        140,
        0x10,
    );

    let mut padded = eth(&ipv4(17, &udp(1, 2, &[])));
    padded[16..18].fill(0);
    padded.resize(60, 0);
    t.uncounted("ipv4 total length 0 in a padded frame", padded, Malformed);
    let mut packet = ipv4(17, &udp(1, 2, &[]));
    packet[0] = 0x55;
    t.uncounted("ipv4 version 5", eth(&packet), Malformed);
    packet[0] = 0x44;
    t.uncounted("ipv4 header of 16 bytes", eth(&packet), Malformed);
    packet[0] = 0x4f;
    t.uncounted("ipv4 header over total length", eth(&packet), Malformed);
    let mut packet = ipv4(17, &udp(1, 2, &[]));
    packet[3] = 19;
    t.uncounted("ipv4 total length under header", eth(&packet), Malformed);
    packet[3] = 29;
    t.uncounted("ipv4 total length over frame", eth(&packet), Malformed);
    for (name, length) in [("ipv4 header cut at 0", 14), ("ipv4 header cut at 19", 33)] {
        let mut frame = eth(&ipv4(17, &udp(1, 2, &[])));
        frame.truncate(length);
        t.uncounted(name, frame, Truncated);
    }
}

fn ipv6_headers(t: &mut Table) {
    use Uncounted::{Malformed, TooDeep, Truncated};
    let eth = |next, payload: &[u8]| ethernet(IPV6, &ipv6(next, payload));
    let datagram = udp(1, 2, &[]);
    let key = key6(17, 1, 2);
    let names = [
        ("hop-by-hop", 0),
        ("routing header", 43),
        ("destination options", 60),
        ("mobility header", 135),
        ("host identity header", 139),
        ("shim6 header", 140),
    ];
    for (name, kind) in names {
        t.counted(name, eth(kind, &extension(17, 1, &datagram)), key, 40 + 16 + 8);
    }
    // RFC 4302 section 2.2: 4-byte words less 2, so 4 stands for 24 bytes.
    let authenticated = join(&[&[17, 4], &[0; 22], &datagram]);
    t.counted("authentication header", eth(51, &authenticated), key, 40 + 24 + 8);
    let stacked = extension(43, 0, &extension(60, 0, &ipv6_fragment(17, 0, true, &datagram)));
    t.counted("stacked extension headers", eth(0, &stacked), key, 40 + 32);
    t.counted(
        "ipv6 first fragment",
        eth(44, &ipv6_fragment(17, 0, true, &datagram)),
        key,
        56,
    );
    t.counted(
        "ipv6 atomic fragment",
        eth(44, &ipv6_fragment(17, 0, false, &datagram)),
        key,
        56,
    );
    let later = ipv6_fragment(17, 1232, false, &datagram);
    t.counted(
        "ipv6 later fragment",
        eth(44, &later),
        fragment(key6(17, 0, 0)),
        56,
    );
    // RFC 8200 section 4.5: what it starts with is what the first fragment's header names.
    let later = ipv6_fragment(60, 1232, true, &[9; 8]);
    t.counted(
        "ipv6 later fragment of options",
        eth(44, &later),
        fragment(key6(60, 0, 0)),
        56,
    );
    let tiny = ipv6_fragment(6, 0, true, &tcp(40000, 443, SYN, &[])[..8]);
    t.counted(
        "tcp6 tiny first fragment has no flags",
        eth(44, &tiny),
        key6(6, 40000, 443),
        56,
    );
    t.counted("no next header", eth(59, &[]), key6(59, 0, 0), 40);
    // RFC 2675: the length is in an option, and over 65,535; here it is short enough for any interface.
    let mut jumbo = eth(0, &join(&[&[17, 0, 0xc2, 4, 0, 1, 0, 0], &udp(1, 2, &[0; 300])]));
    jumbo[18..20].fill(0);
    t.counted("jumbogram takes the frame's length", jumbo, key, 40 + 8 + 8 + 300);
    let mut no_length = eth(6, &tcp(40000, 443, 0x10, &[7; 100]));
    no_length[18..20].fill(0);
    t.tcp(
        "ipv6 payload length 0 takes the frame's",
        no_length,
        key6(6, 40000, 443),
        160,
        0x10,
    );
    let mut padded = eth(17, &[]);
    padded.resize(60, 0);
    t.uncounted("ipv6 payload length 0 in a padded frame", padded, Malformed);
    let mut padded = eth(99, &[]);
    padded.resize(60, 0);
    t.counted("ipv6 without payload, padded", padded, key6(99, 0, 0), 40);
    let nested = |count: usize| {
        (0..count).fold((17_u8, datagram.clone()), |(next, payload), _| {
            (60, extension(next, 0, &payload))
        })
    };
    let (next, payload) = nested(8);
    t.counted("eight extension headers", eth(next, &payload), key, 40 + 64 + 8);
    let (next, payload) = nested(9);
    t.uncounted("nine extension headers", eth(next, &payload), TooDeep);

    let mut version = eth(17, &datagram);
    version[14] = 0x40;
    t.uncounted("ipv6 version 4", version, Malformed);
    let mut longer = eth(17, &datagram);
    longer[19] = 9;
    t.uncounted("ipv6 payload length over frame", longer, Malformed);
    for (name, length) in [("ipv6 header cut at 7", 21), ("ipv6 header cut at 39", 53)] {
        let mut frame = eth(17, &datagram);
        frame.truncate(length);
        t.uncounted(name, frame, Truncated);
    }
    t.uncounted("extension header cut", eth(60, &[50, 0]), Truncated);
    // The next header would be read from the padding, and be a protocol without ports.
    let mut padding = eth(60, &[50, 0]);
    padding.resize(80, 0);
    t.uncounted("extension header in padding", padding, Truncated);
    let mut padding = eth(60, &extension(50, 2, &[])[..8]);
    padding.resize(90, 0);
    t.uncounted("extension header runs into padding", padding, Truncated);
    t.uncounted(
        "authentication header cut",
        eth(51, &[50, 4, 0, 0, 0, 0, 0, 0]),
        Truncated,
    );
}

fn link_layers(t: &mut Table) {
    use Uncounted::{Malformed, NotIp, TooDeep, Truncated};
    let packet = ipv4(17, &udp(1, 2, &[]));
    let packet6 = ipv6(17, &udp(1, 2, &[]));
    let key = key4(17, 1, 2);
    for (name, ethertype) in [
        ("802.1q tag", VLAN),
        ("802.1ad tag", QINQ),
        ("0x9100 tag", 0x9100),
    ] {
        t.counted(
            name,
            ethernet(ethertype, &tag(100, IPV4, &packet)),
            vlan(100, key),
            28,
        );
    }
    t.counted(
        "tag with ipv6",
        ethernet(VLAN, &tag(4095, IPV6, &packet6)),
        vlan(4095, key6(17, 1, 2)),
        48,
    );
    t.counted("priority tag", ethernet(VLAN, &tag(0, IPV4, &packet)), key, 28);
    t.counted(
        "qinq keeps the outer id",
        ethernet(QINQ, &tag(7, VLAN, &tag(8, IPV4, &packet))),
        vlan(7, key),
        28,
    );
    let behind_priority = ethernet(VLAN, &tag(0, VLAN, &tag(8, IPV4, &packet)));
    t.counted("tag behind a priority tag", behind_priority, vlan(8, key), 28);
    let tags = |count: u16| {
        (1..=count)
            .rev()
            .fold((IPV4, packet.clone()), |(next, payload), id| {
                (VLAN, tag(id, next, &payload))
            })
    };
    t.counted("four tags", ethernet(VLAN, &tags(4).1), vlan(1, key), 28);
    t.uncounted("five tags", ethernet(VLAN, &tags(5).1), TooDeep);
    t.uncounted("tag cut", ethernet(VLAN, &[0, 1, 8]), Truncated);
    t.uncounted("tagged arp", ethernet(VLAN, &tag(5, 0x0806, &[0; 28])), NotIp);

    let pppoe = |code: u8, protocol: u16, payload: &[u8]| {
        let length = length16(payload.len() + 2);
        let header = [0x11, code, 0, 1, length[0], length[1]];
        ethernet(0x8864, &join(&[&header, &protocol.to_be_bytes(), payload]))
    };
    t.counted("pppoe ipv4", pppoe(0, 0x0021, &packet), key, 28);
    t.counted("pppoe ipv6", pppoe(0, 0x0057, &packet6), key6(17, 1, 2), 48);
    t.uncounted("pppoe lcp", pppoe(0, 0xc021, &[9, 0, 0, 8, 0, 0, 0, 0]), NotIp);
    t.uncounted(
        "pppoe padt in a session frame",
        pppoe(0xa7, 0x0021, &packet),
        NotIp,
    );
    let mut version = pppoe(0, 0x0021, &packet);
    version[14] = 0x21;
    t.uncounted("pppoe version 2", version, Malformed);
    t.uncounted(
        "pppoe cut",
        ethernet(0x8864, &[0x11, 0, 0, 1, 0, 2, 0]),
        Truncated,
    );
    t.uncounted("pppoe discovery", ethernet(0x8863, &[0x11, 9, 0, 0, 0, 0]), NotIp);

    let label = |bottom: u8| [0, 0x06, 0x40 | bottom, 64];
    let labels = |count: usize, payload: &[u8]| {
        let stack: Vec<u8> = (1..=count).flat_map(|n| label(u8::from(n == count))).collect();
        join(&[&stack, payload])
    };
    t.counted("mpls ipv4", ethernet(0x8847, &labels(1, &packet)), key, 28);
    t.counted(
        "mpls ipv6 behind two labels",
        ethernet(0x8847, &labels(2, &packet6)),
        key6(17, 1, 2),
        48,
    );
    t.counted("mpls multicast", ethernet(0x8848, &labels(1, &packet)), key, 28);
    t.counted(
        "tagged mpls",
        ethernet(VLAN, &tag(9, 0x8847, &labels(1, &packet))),
        vlan(9, key),
        28,
    );
    t.counted("six labels", ethernet(0x8847, &labels(6, &packet)), key, 28);
    t.uncounted("seven labels", ethernet(0x8847, &labels(7, &packet)), TooDeep);
    t.uncounted("mpls cut", ethernet(0x8847, &[0, 6, 0x41]), Truncated);
    t.uncounted(
        "mpls without payload",
        ethernet(0x8847, &labels(1, &[])),
        Truncated,
    );
    t.uncounted("mpls pseudowire", ethernet(0x8847, &labels(1, &[0; 30])), NotIp);

    t.uncounted("arp", ethernet(0x0806, &[0; 28]), NotIp);
    t.uncounted("lldp", ethernet(0x88cc, &[2, 7, 4, 0]), NotIp);
    t.uncounted("802.3 length", ethernet(38, &[0x42; 38]), NotIp);
    t.uncounted("ethernet cut at 0", Vec::new(), Truncated);
    t.uncounted(
        "ethernet cut at 13",
        ethernet(IPV4, &[])[..13].to_vec(),
        Truncated,
    );
    t.uncounted("ethernet alone", ethernet(IPV4, &[]), Truncated);
}

fn vxlan(vni: [u8; 3], frame: &[u8]) -> Vec<u8> {
    join(&[&[8, 0, 0, 0], &vni, &[0], frame])
}

fn geneve(options: &[u8], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let words = u8::try_from(options.len() / 4).unwrap();
    join(&[
        &[words, 0],
        &ethertype.to_be_bytes(),
        &[0, 1, 2, 0],
        options,
        payload,
    ])
}

fn gre(flags: u8, version: u8, ethertype: u16, rest: &[u8]) -> Vec<u8> {
    join(&[&[flags, version], &ethertype.to_be_bytes(), rest])
}

/// G-PDU with TEID 0x01020304 (3GPP TS 29.281 section 5.1); `extras` behind the mandatory header.
fn gtp(flags: u8, kind: u8, extras: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = length16(extras.len() + payload.len());
    join(&[&[0x30 | flags, kind], &length, &[1, 2, 3, 4], extras, payload])
}

fn outer_tunnels(t: &mut Table) {
    let length = |packet: &[u8]| u64::try_from(packet.len()).unwrap();
    let packet = ipv4(
        17,
        &udp(9000, 4789, &vxlan([0, 0, 5], &ethernet(IPV4, &inside4()))),
    );
    t.counted(
        "outer of vxlan",
        ethernet(IPV4, &packet),
        key4(17, 9000, 4789),
        length(&packet),
    );
    let packet = ipv4(4, &inside4());
    t.counted(
        "outer of 4in4",
        ethernet(IPV4, &packet),
        key4(4, 0, 0),
        length(&packet),
    );
    let packet = ipv4(41, &inside6());
    t.counted(
        "outer of 6in4",
        ethernet(IPV4, &packet),
        key4(41, 0, 0),
        length(&packet),
    );
    let packet = ipv6(47, &gre(0, 0, IPV4, &inside4()));
    t.counted(
        "outer of gre over ipv6",
        ethernet(IPV6, &packet),
        key6(47, 0, 0),
        length(&packet),
    );
}

fn inner_tunnels(t: &mut Table) {
    use Tunnel::{Geneve, Gre, GtpU, IpInIp, Vxlan};
    let eth4 = |protocol, payload: &[u8]| ethernet(IPV4, &ipv4(protocol, payload));
    let over_udp = |port, payload: &[u8]| eth4(17, &udp(9000, port, payload));
    let in4 = inside4();
    let in6 = inside6();
    let (n4, n6) = (INSIDE4_BYTES, INSIDE6_BYTES);

    t.tcp(
        "no tunnel",
        eth4(6, &tcp(40000, 443, SYN, &[])),
        key4(6, 40000, 443),
        40,
        SYN,
    );
    t.counted("4in4", eth4(4, &in4), inside_key4(IpInIp, 0), n4);
    t.counted("6in4", eth4(41, &in6), inside_key6(IpInIp, 0), n6);
    t.counted("4in6", ethernet(IPV6, &ipv6(4, &in4)), inside_key4(IpInIp, 0), n4);
    t.counted(
        "6in6",
        ethernet(IPV6, &ipv6(41, &in6)),
        inside_key6(IpInIp, 0),
        n6,
    );
    t.counted("gre", eth4(47, &gre(0, 0, IPV4, &in4)), inside_key4(Gre, 0), n4);
    t.counted(
        "gre over ipv6",
        ethernet(IPV6, &ipv6(47, &gre(0, 0, IPV6, &in6))),
        inside_key6(Gre, 0),
        n6,
    );
    let keyed = gre(0x20, 0, IPV4, &join(&[&[0, 0, 1, 2], &in4]));
    t.counted("gre key", eth4(47, &keyed), inside_key4(Gre, 258), n4);
    let all = gre(
        0xb0,
        0,
        IPV4,
        &join(&[&[9, 9, 0, 0], &[0, 0, 1, 2], &[0, 0, 0, 7], &in4]),
    );
    t.counted(
        "gre checksum, key, sequence",
        eth4(47, &all),
        inside_key4(Gre, 258),
        n4,
    );
    let sequence = gre(0x10, 0, IPV4, &join(&[&[0, 0, 0, 7], &in4]));
    t.counted("gre sequence", eth4(47, &sequence), inside_key4(Gre, 0), n4);
    let bridged = gre(0, 0, BRIDGING, &ethernet(VLAN, &tag(77, IPV4, &in4)));
    t.counted(
        "gre ethernet with a tag",
        eth4(47, &bridged),
        inside_key4(Gre, 0),
        n4,
    );
    let mpls = gre(0, 0, 0x8847, &join(&[&[0, 6, 0x41, 64], &in4]));
    t.counted("gre mpls", eth4(47, &mpls), inside_key4(Gre, 0), n4);
    let pptp = gre(
        0x20,
        1,
        0x880b,
        &join(&[&[0, 0, 1, 4], &[0xff, 3, 0, 0x21], &in4]),
    );
    t.counted("pptp", eth4(47, &pptp), inside_key4(Gre, 260), n4);
    let pptp = gre(
        0x30,
        0x81,
        0x880b,
        &join(&[&[0, 0, 1, 4], &[0; 8], &[0, 0x57], &in6]),
    );
    t.counted(
        "pptp sequence, acknowledgement, ipv6",
        eth4(47, &pptp),
        inside_key6(Gre, 260),
        n6,
    );
    let frame4 = ethernet(IPV4, &in4);
    t.counted(
        "vxlan",
        over_udp(4789, &vxlan([1, 2, 3], &frame4)),
        inside_key4(Vxlan, 0x01_0203),
        n4,
    );
    t.counted(
        "vxlan on linux's port",
        over_udp(8472, &vxlan([0, 0, 5], &frame4)),
        inside_key4(Vxlan, 5),
        n4,
    );
    let tagged = ethernet(VLAN, &tag(77, IPV6, &in6));
    let outer_tag = ethernet(
        VLAN,
        &tag(5, IPV4, &ipv4(17, &udp(9000, 4789, &vxlan([0, 0, 5], &tagged)))),
    );
    t.counted(
        "vxlan keeps the outer vlan",
        outer_tag,
        vlan(5, inside_key6(Vxlan, 5)),
        n6,
    );
    t.counted(
        "geneve",
        over_udp(6081, &geneve(&[], BRIDGING, &frame4)),
        inside_key4(Geneve, 258),
        n4,
    );
    let options = geneve(&[0, 1, 2, 1, 9, 9, 9, 9], IPV6, &in6);
    t.counted(
        "geneve options, ipv6",
        over_udp(6081, &options),
        inside_key6(Geneve, 258),
        n6,
    );
    let gtp_key = inside_key4(GtpU, 0x0102_0304);
    t.counted("gtp-u", over_udp(2152, &gtp(0, 255, &[], &in4)), gtp_key, n4);
    t.counted(
        "gtp-u ipv6",
        over_udp(2152, &gtp(0, 255, &[], &in6)),
        inside_key6(GtpU, 0x0102_0304),
        n6,
    );
    t.counted(
        "gtp-u sequence",
        over_udp(2152, &gtp(2, 255, &[0, 1, 0, 0], &in4)),
        gtp_key,
        n4,
    );
    // A PDU session container, then a PDCP PDU number (TS 29.281 section 5.2.2).
    let extras = [0, 0, 0, 0x85, 1, 0x10, 9, 0xc0, 1, 0, 7, 0];
    t.counted(
        "gtp-u extension headers",
        over_udp(2152, &gtp(4, 255, &extras, &in4)),
        gtp_key,
        n4,
    );

    let two = ipv4_from(C4, D4, 17, &udp(1, 4789, &vxlan([0, 0, 5], &frame4)));
    t.counted(
        "vxlan in gre",
        eth4(47, &gre(0, 0, IPV4, &two)),
        inside_key4(Vxlan, 5),
        n4,
    );
    let three = ipv4(4, &ipv4(4, &ipv4(41, &in6)));
    t.counted(
        "three tunnels",
        ethernet(IPV4, &three),
        inside_key6(IpInIp, 0),
        n6,
    );
    let carrier = ipv4_from(C4, D4, 4, &in4);
    let four = ipv4(4, &ipv4(4, &ipv4(4, &carrier)));
    let key = FlowKey {
        protocol: 4,
        source_port: 0,
        destination_port: 0,
        ..inside_key4(IpInIp, 0)
    };
    t.counted(
        "of four tunnels the third is counted",
        ethernet(IPV4, &four),
        key,
        n4 + 20,
    );
    let mut padded = eth4(4, &in4);
    padded.resize(80, 0xee);
    t.counted("4in4 padded", padded, inside_key4(IpInIp, 0), n4);
}

/// The outer flow is counted where the inside cannot be.
fn tunnels_not_entered(t: &mut Table) {
    let eth4 = |protocol, payload: &[u8]| ethernet(IPV4, &ipv4(protocol, payload));
    let in4 = inside4();
    let mut outer = |name, protocol: u8, payload: &[u8]| {
        let bytes = u64::try_from(20 + payload.len()).unwrap();
        t.counted(name, eth4(protocol, payload), key4(protocol, 0, 0), bytes);
    };
    outer("4in4 cut", 4, &in4[..27]);
    outer("4in4 that holds ipv6", 4, &inside6());
    outer("4in4 without payload", 4, &[]);
    outer("gre arp", 47, &gre(0, 0, 0x0806, &[0; 28]));
    outer("gre cut", 47, &gre(0xb0, 0, IPV4, &[0; 5]));
    outer("gre source route", 47, &gre(0x40, 0, IPV4, &in4));
    outer("gre version 2", 47, &gre(0, 2, IPV4, &in4));
    outer(
        "pptp lcp",
        47,
        &gre(0x20, 1, 0x880b, &[0, 0, 1, 4, 0xff, 3, 0xc0, 0x21, 1, 1, 0, 4]),
    );
    let mut longer = in4.clone();
    longer[3] += 1;
    outer("4in4 longer than its carrier", 4, &longer);

    let mut outer = |name, port, payload: &[u8]| {
        let bytes = u64::try_from(28 + payload.len()).unwrap();
        t.counted(
            name,
            eth4(17, &udp(9000, port, payload)),
            key4(17, 9000, port),
            bytes,
        );
    };
    let mut no_vni = vxlan([0, 0, 5], &ethernet(IPV4, &in4));
    no_vni[0] = 0;
    outer("vxlan without vni", 4789, &no_vni);
    outer("vxlan arp", 4789, &vxlan([0, 0, 5], &ethernet(0x0806, &[0; 28])));
    outer("vxlan cut", 4789, &[8, 0, 0, 0, 0, 0, 5]);
    let mut version = geneve(&[], IPV4, &in4);
    version[0] = 0x40;
    outer("geneve version 1", 6081, &version);
    outer("geneve oam", 6081, &geneve(&[], 0x8902, &[0; 20]));
    outer("gtp-u echo request", 2152, &gtp(2, 1, &[0, 1, 0, 0], &[]));
    outer(
        "gtp' on the gtp-u port",
        2152,
        &join(&[&[0x20, 255, 0, 32, 1, 2, 3, 4], &in4]),
    );
    outer("gtp-u that holds no ip", 2152, &gtp(0, 255, &[], &[0; 30]));
    outer(
        "gtp-u extension of length 0",
        2152,
        &gtp(4, 255, &[0, 0, 0, 0x85, 0, 0, 0, 0], &in4),
    );
    let extras = [
        0, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0,
    ];
    outer("gtp-u five extension headers", 2152, &gtp(4, 255, &extras, &in4));

    // A first fragment: the inner packet goes on in the next one.
    let whole = ipv4_from(C4, D4, 17, &udp(5000, 53, &[0; 200]));
    let first = ipv4_fragment(4, 0, true, &whole[..64]);
    t.counted("4in4 first fragment", ethernet(IPV4, &first), key4(4, 0, 0), 84);
    let later = ipv4_fragment(4, 64, false, &in4);
    t.counted(
        "4in4 later fragment",
        ethernet(IPV4, &later),
        fragment(key4(4, 0, 0)),
        52,
    );
    // Behind the carrier's end there is something that looks like an inner packet.
    let padding = ethernet(IPV4, &join(&[&ipv4(4, &[]), &in4]));
    t.counted("4in4 in padding", padding, key4(4, 0, 0), 20);
}

fn without_ethernet(t: &mut Table) {
    let packet = ipv4(17, &udp(1, 2, &[]));
    let packet6 = ipv6(17, &udp(1, 2, &[]));
    t.link = Link::Ip;
    t.counted("raw ipv4", packet.clone(), key4(17, 1, 2), 28);
    t.counted("raw ipv6", packet6.clone(), key6(17, 1, 2), 48);
    t.uncounted("raw, neither", vec![0x50; 20], Uncounted::NotIp);
    t.uncounted("raw, empty", Vec::new(), Uncounted::Truncated);
    t.link = Link::EtherType {
        ethertype: IPV4,
        offset: 16,
    };
    t.counted("cooked ipv4", join(&[&[0; 16], &packet]), key4(17, 1, 2), 28);
    t.link = Link::EtherType {
        ethertype: VLAN,
        offset: 20,
    };
    t.counted(
        "cooked tag",
        join(&[&[0; 20], &tag(6, IPV6, &packet6)]),
        vlan(6, key6(17, 1, 2)),
        48,
    );
    t.link = Link::EtherType {
        ethertype: 0x0806,
        offset: 16,
    };
    t.uncounted("cooked arp", vec![0; 44], Uncounted::NotIp);
}
