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

/// Packets and bytes of all flow events in an event file.
fn flow_events(events: &str) -> (u64, u64) {
    let mut sum = (0, 0);
    for line in events.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        if event["event"]["action"] == "network_flow" {
            sum.0 += event["network"]["packets"].as_u64().unwrap();
            sum.1 += event["network"]["bytes"].as_u64().unwrap();
        }
    }
    sum
}

fn total(counts: &Counts) -> (u64, u64) {
    counts
        .values()
        .fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1))
}

fn replay() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowmeter"));
    command
        .args(["replay", "--set", "output.schema=\"ecs\""])
        .env_clear();
    command
}

/// nfacctd, softflowd and a capture for it.
struct Chain {
    folder: TempDir,
    log: PathBuf,
    capture: PathBuf,
    softflowd: PathBuf,
    port: u16,
    changes: Folder,
    _daemon: Daemon,
}

impl Chain {
    fn or_skip(name: &str, traffic: &Traffic) -> Option<Self> {
        let (Some(nfacctd_path), Some(softflowd)) = (program("nfacctd"), program("softflowd")) else {
            support::skip(
                name,
                "needs nfacctd and softflowd (Debian packages pmacct and softflowd)",
            );
            return None;
        };
        let folder = TempDir::new().unwrap();
        let log_folder = folder.path().join("log");
        fs::create_dir(&log_folder).unwrap();
        let log = log_folder.join("flows.json");
        let capture = folder.path().join("capture.pcap");
        fs::write(&capture, &traffic.pcap).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        drop(socket);
        Some(Self {
            changes: Folder::watch(&log_folder),
            _daemon: nfacctd(&nfacctd_path, folder.path(), &log, port),
            folder,
            log,
            capture,
            softflowd,
            port,
        })
    }

    fn export(&self, version: &str) {
        export(&self.softflowd, &self.capture, version, self.port);
    }

    fn rotate(&self, number: u32) {
        fs::rename(&self.log, self.log.with_extension(format!("json.{number}"))).unwrap();
    }
}

#[test]
fn flows_of_softflowd_come_through_nfacctd_exactly_and_across_rotation() {
    const NAME: &str = "flows_of_softflowd_come_through_nfacctd_exactly_and_across_rotation";
    let traffic = traffic();
    let Some(mut chain) = Chain::or_skip(NAME, &traffic) else {
        return;
    };
    let mut follower = Follower::open(&chain.log, &chain.folder.path().join("state")).unwrap();

    // softflowd 1.1.0 counts its templates not as records in the header of version 9 (RFC 3954 section 5.1 does),
    // and nfacctd then leaves out as many records at the end of that packet.
    for (version, left_out) in [("9", 4), ("10", 0)] {
        chain.export(version);
        let lines = follow(&mut follower, &mut chain.changes, traffic.counts.len() - left_out);
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
        chain.rotate(version.parse().unwrap());
    }

    // Version 5 knows no IPv6; its times are in seconds since the exporter's start.
    chain.export("5");
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
    let lines = follow(&mut follower, &mut chain.changes, expected.len());
    assert_eq!(counts(&lines), expected);
}

#[test]
fn replay_reads_what_nfacctd_writes() {
    let traffic = traffic();
    let Some(mut chain) = Chain::or_skip("replay_reads_what_nfacctd_writes", &traffic) else {
        return;
    };
    chain.export("10");
    let mut follower = Follower::open(&chain.log, &chain.folder.path().join("state")).unwrap();
    follow(&mut follower, &mut chain.changes, traffic.counts.len());
    let output = replay().arg(&chain.log).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let events = String::from_utf8(output.stdout).unwrap();
    assert_eq!(flow_events(&events), total(&traffic.counts));
    // The exporter is the observation point.
    assert!(events.contains(r#""name":"127.0.0.1""#), "{events}");
}

#[test]
fn replay_follow_writes_every_record_of_nfacctd_once_though_it_is_killed() {
    const NAME: &str = "replay_follow_writes_every_record_of_nfacctd_once_though_it_is_killed";
    let traffic = traffic();
    let Some(chain) = Chain::or_skip(NAME, &traffic) else {
        return;
    };
    let event_folder = chain.folder.path().join("events");
    fs::create_dir(&event_folder).unwrap();
    let events = event_folder.join("events.json");
    let mut changes = Folder::watch(&event_folder);
    let once = total(&traffic.counts);
    for exports in 1..=3 {
        // Before the reader starts, and into a new file: the one before is renamed.
        chain.export("10");
        let mut reader = Daemon(
            replay()
                .arg("--follow")
                .arg(&chain.log)
                .arg("--state")
                .arg(chain.folder.path().join("state"))
                .arg("-o")
                .arg(&events)
                .spawn()
                .unwrap(),
        );
        let expected = (once.0 * exports, once.1 * exports);
        changes.until("the events", || {
            let events = fs::read_to_string(&events).unwrap_or_default();
            let whole = events.rfind('\n').map_or(0, |end| end + 1);
            flow_events(&events[..whole]).0 >= expected.0
        });
        reader.0.kill().unwrap();
        reader.0.wait().unwrap();
        assert_eq!(flow_events(&fs::read_to_string(&events).unwrap()), expected);
        chain.rotate(u32::try_from(4 - exports).unwrap());
    }
}
