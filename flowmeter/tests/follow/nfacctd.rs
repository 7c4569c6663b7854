//! NetFlow and IPFIX of softflowd, received by nfacctd with `samples/nfacctd.conf`, followed.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    net::{IpAddr, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use etherparse::PacketBuilder;
use flowmeter::capture::follow::Follower;
use serde_json::Value;
use tempfile::TempDir;

use crate::{support, waiting::Folder};

/// 2026-04-26T11:45:20Z
const START: u32 = 1_777_203_920;

const CLIENT: [u8; 4] = [192, 0, 2, 1];
const SERVER: [u8; 4] = [198, 51, 100, 7];
const CLIENT6: [u8; 16] = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const SERVER6: [u8; 16] = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

/// Source, destination, source port, destination port, protocol.
type Key = (IpAddr, IpAddr, u64, u64, String);

/// Packets, bytes from the IP header on.
type Counts = BTreeMap<Key, (u64, u64)>;

struct Traffic {
    pcap: Vec<u8>,
    packets: u32,
    counts: Counts,
}

impl Traffic {
    fn new() -> Self {
        let mut pcap = Vec::new();
        for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
            pcap.extend(word.to_le_bytes());
        }
        Self {
            pcap,
            packets: 0,
            counts: Counts::new(),
        }
    }

    /// A frame, 250 ms after the one before.
    fn add(
        &mut self,
        source: IpAddr,
        destination: IpAddr,
        ports: (u16, u16),
        protocol: &str,
        payload: usize,
    ) {
        let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let ip = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                ethernet.ipv4(source.octets(), destination.octets(), 64)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                ethernet.ipv6(source.octets(), destination.octets(), 64)
            }
            _ => unreachable!("both ends have the same version"),
        };
        let payload = vec![0; payload];
        let mut frame = Vec::new();
        match protocol {
            "tcp" => ip
                .tcp(ports.0, ports.1, 1, 1024)
                .ack(1)
                .write(&mut frame, &payload),
            "udp" => ip.udp(ports.0, ports.1).write(&mut frame, &payload),
            "icmp" => ip.icmpv4_echo_request(1, 1).write(&mut frame, &payload),
            _ => ip.icmpv6_echo_request(1, 1).write(&mut frame, &payload),
        }
        .unwrap();
        let length = u32::try_from(frame.len()).unwrap();
        let time = [START + self.packets / 4, self.packets % 4 * 250_000];
        for word in [time[0], time[1], length, length] {
            self.pcap.extend(word.to_le_bytes());
        }
        self.pcap.extend(&frame);
        self.packets += 1;
        let key = (
            source,
            destination,
            ports.0.into(),
            ports.1.into(),
            protocol.to_owned(),
        );
        let counts = self.counts.entry(key).or_default();
        counts.0 += 1;
        counts.1 += u64::from(length) - 14;
    }
}

fn traffic() -> Traffic {
    let mut traffic = Traffic::new();
    for (client, server, ipv6) in [
        (IpAddr::from(CLIENT), IpAddr::from(SERVER), false),
        (IpAddr::from(CLIENT6), IpAddr::from(SERVER6), true),
    ] {
        for packet in 0..5 {
            traffic.add(client, server, (40_000, 443), "tcp", 10 * packet);
            traffic.add(server, client, (443, 40_000), "tcp", 100 * packet);
        }
        traffic.add(client, server, (50_000, 53), "udp", 40);
        traffic.add(server, client, (53, 50_000), "udp", 200);
        let icmp = if ipv6 { "ipv6-icmp" } else { "icmp" };
        traffic.add(client, server, (0, 0), icmp, 56);
    }
    traffic
}

/// A program of a Debian package, which may be where users do not look for commands.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|program| program.exists())
}

/// Ends with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// nfacctd with the sample, as a foreground process that writes to `log` every second.
fn nfacctd(program: &Path, folder: &Path, log: &Path, port: u16) -> Daemon {
    let sample = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../samples/nfacctd.conf")).unwrap();
    let mut changed = 0;
    let lines: Vec<_> = sample
        .lines()
        .map(|line| {
            let new = match line.split_once(": ").unwrap_or_default().0 {
                "daemonize" => "daemonize: false".to_owned(),
                // Standard error tells when it is ready.
                "pidfile" | "syslog" => String::new(),
                "nfacctd_port" => format!("nfacctd_port: {port}"),
                "print_output_file[flows]" => format!("print_output_file[flows]: {}", log.display()),
                "print_refresh_time[flows]" => "print_refresh_time[flows]: 1".to_owned(),
                _ => return line.to_owned(),
            };
            changed += 1;
            new
        })
        .collect();
    assert_eq!(changed, 6, "the sample has other lines now");
    let configuration = folder.join("nfacctd.conf");
    fs::write(&configuration, lines.join("\n")).unwrap();
    let mut child = Command::new(program)
        .arg("-f")
        .arg(&configuration)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    let daemon = Daemon(child);
    // Two processes; what comes before the second one is ready is lost.
    let mut awaited = vec!["waiting for NetFlow/IPFIX data", "setting object handlers"];
    while !awaited.is_empty() {
        let line = told.next().expect("nfacctd ended").unwrap();
        awaited.retain(|awaited| !line.contains(awaited));
    }
    // Whoever does not read would stop it at a full pipe.
    std::thread::spawn(move || told.for_each(drop));
    daemon
}

fn export(softflowd: &Path, capture: &Path, version: &str, port: u16) {
    let output = Command::new(softflowd)
        .args([
            "-6",
            "-A",
            "milli",
            "-c",
            "none",
            "-v",
            version,
            "-n",
            &format!("127.0.0.1:{port}"),
            "-r",
        ])
        .arg(capture)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Adds up what the follower hands out until `records` lines are there.
fn follow(follower: &mut Follower, changes: &mut Folder, records: usize) -> Vec<Value> {
    let mut lines = Vec::new();
    changes.until("the lines of nfacctd", || {
        while let Some(found) = follower.poll().unwrap() {
            lines.extend(
                found
                    .iter()
                    .map(|(_, line)| serde_json::from_slice(line).unwrap()),
            );
        }
        lines.len() >= records
    });
    follower.commit().unwrap();
    assert!(follower.take_problems().is_empty());
    lines
}

fn counts(lines: &[Value]) -> Counts {
    let mut counts = Counts::new();
    for line in lines {
        let address = |name: &str| line[name].as_str().unwrap().parse().unwrap();
        let number = |name: &str| line[name].as_u64().unwrap();
        let protocol = line["ip_proto"].as_str().unwrap().to_owned();
        let key = (
            address("ip_src"),
            address("ip_dst"),
            number("port_src"),
            number("port_dst"),
            protocol,
        );
        let sum = counts.entry(key).or_default();
        sum.0 += number("packets");
        sum.1 += number("bytes");
    }
    counts
}

#[test]
fn flows_of_softflowd_come_through_nfacctd_exactly_and_across_rotation() {
    const NAME: &str = "flows_of_softflowd_come_through_nfacctd_exactly_and_across_rotation";
    let (Some(nfacctd_path), Some(softflowd)) = (program("nfacctd"), program("softflowd")) else {
        return support::skip(
            NAME,
            "needs nfacctd and softflowd (Debian packages pmacct and softflowd)",
        );
    };
    let folder = TempDir::new().unwrap();
    let log_folder = folder.path().join("log");
    fs::create_dir(&log_folder).unwrap();
    let log = log_folder.join("flows.json");
    let capture = folder.path().join("capture.pcap");
    let traffic = traffic();
    fs::write(&capture, &traffic.pcap).unwrap();
    let port = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut changes = Folder::watch(&log_folder);
    let mut follower = Follower::open(&log, &folder.path().join("state")).unwrap();
    let _daemon = nfacctd(&nfacctd_path, folder.path(), &log, port);

    // softflowd 1.1.0 counts its templates not as records in the header of version 9 (RFC 3954 section 5.1 does),
    // and nfacctd then leaves out as many records at the end of that packet.
    for (version, left_out) in [("9", 4), ("10", 0)] {
        export(&softflowd, &capture, version, port);
        let lines = follow(&mut follower, &mut changes, traffic.counts.len() - left_out);
        let counts = counts(&lines);
        assert!(counts.len() >= traffic.counts.len() - left_out);
        for (key, counted) in &counts {
            assert_eq!(
                Some(counted),
                traffic.counts.get(key),
                "version {version}: {key:?}"
            );
        }
        for line in &lines {
            assert_eq!(line["event_type"], "purge");
            assert_eq!(line["peer_ip_src"], "127.0.0.1");
            assert_eq!(line["sampling_rate"], 1);
            let start = line["timestamp_start"].as_str().unwrap();
            let end = line["timestamp_end"].as_str().unwrap();
            assert!(
                start.starts_with("2026-04-26T11:45:2") && start.ends_with("000Z"),
                "{line}"
            );
            assert!(start <= end, "{line}");
            let flags = line["tcp_flags"].as_str().unwrap();
            assert_eq!(flags, if line["ip_proto"] == "tcp" { "16" } else { "0" });
        }
        // nfacctd opens the file anew for each write; nobody has to tell it.
        fs::rename(&log, log_folder.join(format!("flows.json.{version}"))).unwrap();
    }

    // Version 5 knows no IPv6; its times are in seconds since the exporter's start.
    export(&softflowd, &capture, "5", port);
    let expected: Counts = traffic
        .counts
        .into_iter()
        .filter(|(key, _)| key.0.is_ipv4())
        .map(|(key, counts)| match key {
            // The destination port is type and code.
            (source, destination, 0, 0, icmp) => ((source, destination, 0, 8 << 8, icmp), counts),
            key => (key, counts),
        })
        .collect();
    let lines = follow(&mut follower, &mut changes, expected.len());
    assert_eq!(counts(&lines), expected);
}
