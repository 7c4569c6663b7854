//! `flowmeter replay`: files in, events or a summary out.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
};

use etherparse::PacketBuilder;
use flate2::{Compression, write::GzEncoder};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Told, flowmeter, told};

/// 2026-04-26T11:45:20Z
const START: u32 = 1_777_203_920;

/// A frame and its time in microseconds after [`START`].
type Frame = (u32, Vec<u8>);

fn tcp(forward: bool, flags: &str, payload: usize) -> Vec<u8> {
    let (source, destination, ports) = if forward {
        ([192, 168, 56, 30], [203, 0, 113, 99], (48739, 443))
    } else {
        ([203, 0, 113, 99], [192, 168, 56, 30], (443, 48739))
    };
    let mut builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4(source, destination, 64)
        .tcp(ports.0, ports.1, 1, 1024);
    for flag in flags.chars() {
        builder = match flag {
            'S' => builder.syn(),
            'A' => builder.ack(1),
            'F' => builder.fin(),
            _ => builder.psh(),
        };
    }
    let mut frame = Vec::new();
    builder.write(&mut frame, &vec![0; payload]).unwrap();
    frame
}

fn dns(port: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([192, 168, 56, 30], [192, 168, 56, 1], 64)
        .udp(port, 53)
        .write(&mut frame, &[0; 30])
        .unwrap();
    frame
}

/// A connection over two intervals, two unanswered queries, a frame that is not IP.
fn frames() -> Vec<Frame> {
    let mut arp = vec![0xff; 6];
    arp.extend([2, 0, 0, 0, 0, 1, 8, 6]);
    arp.extend([0; 28]);
    vec![
        (0, tcp(true, "S", 0)),
        (1_000, tcp(false, "SA", 0)),
        (2_000, tcp(true, "A", 0)),
        (500_000, dns(40_000)),
        (600_000, dns(40_001)),
        (700_000, arp),
        (11_000_000, tcp(true, "PA", 500)),
        (11_100_000, tcp(false, "FA", 0)),
        (11_200_000, tcp(true, "FA", 0)),
    ]
}

fn pcap(frames: &[Frame]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(0xa1b2_c3d4_u32.to_le_bytes());
    file.extend([2, 0, 4, 0]);
    file.extend([0; 8]);
    file.extend(65_535_u32.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    for (offset_us, frame) in frames {
        let length = u32::try_from(frame.len()).unwrap();
        file.extend((START + offset_us / 1_000_000).to_le_bytes());
        file.extend((offset_us % 1_000_000).to_le_bytes());
        file.extend(length.to_le_bytes());
        file.extend(length.to_le_bytes());
        file.extend(frame);
    }
    file
}

fn file(folder: &TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

fn replay(paths: &[&Path], arguments: &[&str]) -> Told {
    told(
        flowmeter(&["replay", "--set", "collector.name=c1"])
            .args(arguments)
            .args(paths),
    )
}

fn events(lines: &str) -> Vec<Value> {
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn sum(events: &[Value], action: &str, pointer: &str) -> u64 {
    events
        .iter()
        .filter(|event| event.pointer("/event/action").unwrap() == action)
        .map(|event| event.pointer(pointer).unwrap().as_u64().unwrap())
        .sum()
}

#[test]
fn a_capture_becomes_the_events_that_the_agent_would_have_written() {
    let folder = TempDir::new().unwrap();
    let capture = file(&folder, "x.pcap", &pcap(&frames()));
    let Told { code, stdout, stderr } = replay(&[&capture], &[]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let events = events(&stdout);
    assert_eq!(sum(&events, "network_flow", "/network/packets"), 8);
    assert_eq!(sum(&events, "statistics", "/flowmeter/seen/packets"), 9);
    assert_eq!(sum(&events, "statistics", "/flowmeter/lost/not_ip/packets"), 1);
    let https: Vec<_> = events.iter().filter(|event| event["dstport"] == 443).collect();
    // One event for each of the two intervals, in which the connection is one.
    assert_eq!(https.len(), 2);
    assert_eq!(https[0]["flow"]["id"], https[1]["flow"]["id"]);
    assert_eq!(https[1]["flow"]["end_reason"], "end of Flow detected");
    assert_eq!(https[1]["flow"]["outcome"], "accepted");
    assert_eq!(https[0]["collector"]["name"], "c1");
    assert_eq!(https[0]["@timestamp"], "2026-04-26T11:45:20.002Z");
}

#[test]
fn neither_the_run_nor_the_order_within_an_interval_nor_the_way_in_changes_a_byte() {
    let folder = TempDir::new().unwrap();
    let straight = frames();
    let capture = file(&folder, "x.pcap", &pcap(&straight));
    let expected = replay(&[&capture], &[]).stdout;
    assert_eq!(replay(&[&capture], &[]).stdout, expected, "again");

    let mut shuffled = straight.clone();
    shuffled[..6].reverse();
    shuffled[6..].rotate_left(1);
    let capture = file(&folder, "shuffled.pcap", &pcap(&shuffled));
    assert_eq!(replay(&[&capture], &[]).stdout, expected, "shuffled");

    // By name the later half comes first.
    let parts = TempDir::new().unwrap();
    file(&parts, "a.pcap", &pcap(&straight[4..]));
    file(&parts, "b.pcap", &pcap(&straight[..4]));
    assert_eq!(
        replay(&[parts.path()], &[]).stdout,
        expected,
        "two files of a folder"
    );

    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&pcap(&straight)).unwrap();
    let packed = file(&folder, "no-ending", &packed.finish().unwrap());
    assert_eq!(replay(&[&packed], &[]).stdout, expected, "gzip");

    let mut child = flowmeter(&["replay", "--set", "collector.name=c1", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&pcap(&straight)).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        expected,
        "standard input"
    );
}

#[test]
fn of_a_damaged_file_the_rest_is_used_and_the_place_is_told() {
    let folder = TempDir::new().unwrap();
    let whole = pcap(&frames());
    let cut = file(&folder, "cut.pcap", &whole[..whole.len() - 10]);
    let Told { code, stdout, stderr } = replay(&[&cut], &[]);
    assert_eq!(code, 1);
    assert_eq!(sum(&events(&stdout), "network_flow", "/network/packets"), 7);
    let last_record = whole.len() - 16 - tcp(true, "FA", 0).len();
    assert!(
        stderr.contains(&format!("cut.pcap: at byte {last_record}: ")),
        "{stderr}"
    );
    assert!(stderr.ends_with("error: the files could not be read in full; what could be read was used\n"));

    let text = file(&folder, "notes.txt", b"no capture at all, but some text");
    let good = file(&folder, "good.pcap", &whole);
    let Told { code, stdout, stderr } = replay(&[&text, &good, Path::new("/nowhere")], &[]);
    assert_eq!(code, 1);
    assert_eq!(sum(&events(&stdout), "network_flow", "/network/packets"), 8);
    assert!(stderr.contains("notes.txt: at byte 0: "), "{stderr}");
    assert!(
        stderr.contains("/nowhere: at byte 0: opening it: No such file"),
        "{stderr}"
    );
}

#[test]
fn what_is_later_than_until_is_left_out() {
    let folder = TempDir::new().unwrap();
    let capture = file(&folder, "x.pcap", &pcap(&frames()));
    let Told { code, stdout, stderr } = replay(&[&capture], &["--until", "2026-04-26T11:45:20.6Z"]);
    assert_eq!(code, 0);
    assert_eq!(sum(&events(&stdout), "network_flow", "/network/packets"), 4);
    assert!(stderr.contains("5 packets or lines were left out"), "{stderr}");
    let nothing = replay(&[&capture], &["--until", "2020-01-01T00:00:00Z"]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (0, ""));
}

#[test]
fn events_are_appended_to_the_file_that_is_named_and_to_no_other() {
    let folder = TempDir::new().unwrap();
    let capture = file(&folder, "x.pcap", &pcap(&frames()));
    let configuration = file(
        &folder,
        "flowmeter.toml",
        format!("[output]\npath = \"{}/live.json\"\n", folder.path().display()).as_bytes(),
    );
    let output = file(&folder, "events.json", b"{\"before\":true}\n");
    let arguments = ["-c", configuration.to_str().unwrap()];
    let plain = replay(&[&capture], &arguments);
    let Told { code, stdout, .. } = replay(
        &[&capture],
        &[arguments[0], arguments[1], "-o", output.to_str().unwrap()],
    );
    assert_eq!((code, stdout.as_str()), (0, ""));
    let written = fs::read_to_string(&output).unwrap();
    assert_eq!(written.lines().count(), plain.stdout.lines().count() + 1);
    assert!(written.starts_with("{\"before\":true}\n"));
    assert!(
        !folder.path().join("live.json").exists(),
        "the agent's own file is left alone"
    );
}

#[test]
fn the_summary_tells_what_is_in_a_capture() {
    let folder = TempDir::new().unwrap();
    let capture = file(&folder, "x.pcap", &pcap(&frames()));
    let Told { code, stdout, stderr } = replay(&[&capture], &["--summary"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let squeezed: Vec<String> = stdout
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    for line in [
        "8 packets, 856 B in 3 connections",
        "from 2026-04-26T11:45:20.000Z to 2026-04-26T11:45:31.200Z (11s)",
        "192.168.56.30 3 776 B 6 80 B 2",
        "HTTPS 1 740 B 6",
        "DNS 2 116 B 2",
        "internal_to_external 1 740 B 6",
        "UDP 2 116 B 2",
        "NOT COUNTED, of 9 PACKETS ON THE WIRE",
        "not_ip 1 42 B",
    ] {
        assert!(squeezed.iter().any(|found| found == line), "{line}\n{stdout}");
    }
    let both = replay(&[&capture], &["--summary", "-o", "-"]);
    assert_eq!(both.stdout, replay(&[&capture], &[]).stdout);
    assert_eq!(
        both.stderr, stdout,
        "beside events the summary goes to standard error"
    );
}

#[test]
fn a_reader_that_wants_no_more_is_no_failure() {
    let folder = TempDir::new().unwrap();
    let frames: Vec<Frame> = (0..20_000_u32)
        .map(|number| (number * 10, dns(u16::try_from(number % 20_000).unwrap() + 1024)))
        .collect();
    let capture = file(&folder, "long.pcap", &pcap(&frames));
    let mut child = flowmeter(&["replay", "--interval", "100ms"])
        .arg(capture)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert!(output.status.success());
}
