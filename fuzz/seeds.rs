//! The seed corpus: one small frame for each way through the parser, made here.

use std::{env, fs, path::Path};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Writes the seeds into the directory that `FLOWMETER_FUZZ_SEEDS` names, if it names one.
pub fn write() {
    let Some(directory) = env::var_os("FLOWMETER_FUZZ_SEEDS") else {
        return;
    };
    for (name, frame) in seeds() {
        for inner in [0, 4] {
            // Kind of link, offset, segments, segment size, tag length: see the target.
            let seed = [&[inner, 0, 2, 6, 4][..], &frame].concat();
            let path = Path::new(&directory).join(format!("seed-{name}-{inner}"));
            fs::write(path, seed).expect("writing a seed");
        }
    }
    let ip = [&[2, 0, 0, 0, 0][..], &ipv4(TCP, 0, &tcp())].concat();
    fs::write(Path::new(&directory).join("seed-ip"), ip).expect("writing a seed");
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
