//! Live equals replay: what the agent writes of frames on a wire is what `replay` writes of the same frames in a
//! file, apart from times and the interface.

use std::{
    cmp::Reverse,
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use flowmeter::capture::pcap::Capture;
use flowmeter_common::{Link, Packet, parse};
use nix::time::{ClockId, clock_gettime};
use serde_json::Value;

use crate::{agent::Agent, frames, network::Cable, raw::RawSocket, support};

/// Captures that are compared, at least.
const CAPTURES: usize = 24;
/// Both sides have one interval, longer than any of the captures.
const INTERVAL: Duration = Duration::from_secs(3600);
const MTU: u32 = 1500;

struct Frames {
    file: PathBuf,
    /// Padded with zeros to the length that they had.
    frames: Vec<Vec<u8>>,
    /// What of the parser they need.
    features: BTreeSet<String>,
}

/// The frames of a capture that can be sent through a cable one by one, else none.
fn sendable(file: PathBuf) -> Option<Frames> {
    let mut capture = Capture::new("", File::open(&file).ok()?);
    let mut frames = Vec::new();
    let mut features = BTreeSet::new();
    let mut hours = BTreeSet::new();
    while let Some(time_ns) = capture.advance().ok()? {
        let frame = capture.frame();
        let length = usize::try_from(frame.original_length).ok()?;
        // Ethernet; not over the MTU, which does not count the Ethernet header.
        if capture.interfaces().get(frame.interface)?.link_type != 1 || !(14..=1514).contains(&length) {
            return None;
        }
        let mut packet = Packet::default();
        features.insert(match parse(frame.data, Link::Ethernet, false, &mut packet) {
            Ok(()) => format!(
                "{} {:?} {}",
                packet.key.protocol,
                packet.key.flags,
                packet.key.vlan_id > 0
            ),
            Err(reason) => reason.name().to_owned(),
        });
        let mut frame = frame.data.to_vec();
        frame.resize(length, 0);
        frames.push(frame);
        hours.insert(time_ns / u64::try_from(INTERVAL.as_nanos()).unwrap());
    }
    let suits = (2..=150).contains(&frames.len()) && hours.len() == 1;
    suits.then_some(Frames {
        file,
        frames,
        features,
    })
}

/// Captures that between them have everything that any of them has, and as many more as are wanted.
fn chosen(data: &Path) -> Vec<Frames> {
    let mut files: Vec<_> = ["arkime", "ipfixprobe", "ndpi", "zeek-traces"]
        .iter()
        .flat_map(|folder| fs::read_dir(data.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| fs::metadata(path).unwrap().len() < 50_000)
        .collect();
    files.sort();
    let mut left: Vec<_> = files.into_iter().filter_map(sendable).collect();
    let mut covered = BTreeSet::new();
    let mut chosen = Vec::new();
    loop {
        let new = |frames: &Frames| frames.features.difference(&covered).count();
        let best = left
            .iter()
            .enumerate()
            .map(|(index, frames)| (new(frames), Reverse(index)))
            .max();
        let Some((adds, Reverse(best))) = best else {
            return chosen;
        };
        if adds == 0 && chosen.len() >= CAPTURES {
            return chosen;
        }
        let best = left.remove(best);
        covered.extend(best.features.iter().cloned());
        chosen.push(best);
    }
}

/// Waits until the clock that the programs in the kernel read has moved on: two packets at the same time would
/// not tell which of them was the first.
fn next_tick() {
    let now = || clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).unwrap();
    let before = now();
    while now() == before {
        thread::yield_now();
    }
}

/// The flow events that the agent writes.
fn live(frames: &[Vec<u8>], mode: &str, tunnels: &str) -> Vec<String> {
    let cable = Cable::new(MTU);
    let interval = humantime::format_duration(INTERVAL).to_string();
    let tunnels = format!("capture.tunnels={tunnels}");
    let agent = Agent::start(
        &cable.receiver.name,
        &[
            "-i",
            "in0",
            "--mode",
            mode,
            "--direction",
            "ingress",
            "--interval",
            &interval,
            "--set",
            &tunnels,
        ],
    );
    cable.sender.inside(|| {
        let socket = RawSocket::open("out0");
        for frame in frames {
            next_tick();
            socket.send(frame);
        }
    });
    cable.arrived(frames.len() as u64);
    agent.stop().lines
}

/// The flow events that `replay` writes.
fn replayed(file: &Path, tunnels: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_flowmeter"))
        .env_clear()
        .args(["replay", "--interval", "1h", "--set"])
        .arg(format!("capture.tunnels={tunnels}"))
        .arg(file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Events without what has to differ: times, what is made from times, and the interface.
fn comparable(lines: &[String]) -> Vec<String> {
    let mut events: Vec<_> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        // What detectors say depends on the times.
        .filter(|event: &Value| event.pointer("/event/kind").unwrap() != "alert")
        .map(|mut event| {
            for (parent, child) in [
                ("", "@timestamp"),
                ("", "observer"),
                ("/event", "start"),
                ("/event", "end"),
                ("/event", "duration"),
                ("/flow", "id"),
                ("/flow/initiator", "first_seconds"),
                ("/flow/initiator", "last_seconds"),
                ("/flow/responder", "first_seconds"),
                ("/flow/responder", "last_seconds"),
                ("/flowmeter", "interface"),
                // Of the kernel's maps and of the writer, which a replay has not, and what depends on times.
                ("/flowmeter", "map"),
                ("/flowmeter", "detect"),
                ("/flowmeter", "output"),
            ] {
                if let Some(Value::Object(parent)) = event.pointer_mut(parent) {
                    parent.remove(child);
                }
            }
            event.to_string()
        })
        .collect();
    events.sort_unstable();
    events
}

/// Every case of the parser's table, entering tunnels or not, as one capture.
#[test]
fn every_kind_of_frame_is_the_same_event_live_and_replayed() {
    if !support::root_or_skip("every_kind_of_frame_is_the_same_event_live_and_replayed") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (tunnels, inner) in [("outer", false), ("inner", true)] {
        let frames: Vec<_> = frames::cases()
            .into_iter()
            .filter(|case| case.link == Link::Ethernet && case.inner == inner)
            .map(|case| case.frame)
            .filter(|frame| (14..=1514).contains(&frame.len()))
            .collect();
        assert!(frames.len() > 20, "the table of frames is not what it was");
        let file = folder.path().join(tunnels);
        fs::write(&file, pcap(&frames)).unwrap();
        assert_eq!(
            comparable(&live(&frames, "xdp", tunnels)),
            comparable(&replayed(&file, tunnels)),
            "tunnels = {tunnels}"
        );
    }
}

#[test]
fn real_captures_are_the_same_events_live_and_replayed() {
    let name = "real_captures_are_the_same_events_live_and_replayed";
    if !support::root_or_skip(name) {
        return;
    }
    let Some(data) = support::data_or_skip(name) else {
        return;
    };
    let chosen = chosen(&data);
    assert!(
        chosen.len() >= CAPTURES,
        "only {} captures can be sent",
        chosen.len()
    );
    let next = AtomicUsize::new(0);
    let different = Mutex::new(Vec::new());
    // Mostly waiting for clock ticks: more threads than CPUs.
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while let Some(capture) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let expected = comparable(&replayed(&capture.file, "outer"));
                    for mode in ["xdp", "tc"] {
                        let found = comparable(&live(&capture.frames, mode, "outer"));
                        if found != expected {
                            let told =
                                format!("{} by {mode}:\n{found:#?}\n{expected:#?}", capture.file.display());
                            different.lock().unwrap().push(told);
                        }
                    }
                }
            });
        }
    });
    let different = different.into_inner().unwrap();
    assert!(different.is_empty(), "{}", different.join("\n"));
}

fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1]
        .map(u32::to_le_bytes)
        .concat();
    for (frame, number) in frames.iter().zip(1_u32..) {
        let length = u32::try_from(frame.len()).unwrap();
        file.extend(
            [1_777_203_920, number, length, length]
                .map(u32::to_le_bytes)
                .concat(),
        );
        file.extend(frame);
    }
    file
}
