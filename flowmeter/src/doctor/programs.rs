//! Loads the kernel programs, sends test packets through them and compares what they counted.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use aya::{
    Ebpf,
    programs::{Program, TestRun as _, TestRunOptions},
};
use flowmeter_common::{FlowKey, KeyFlags, Link, Uncounted, flow::tcp_flags, parse};

use super::{Outcome, site::Site};
use crate::{
    capture::{drain::Drain, features::Features, programs},
    config::Capture,
    flow::Batch,
    generate::{
        frame,
        packets::{Packet, TcpHeader},
        payload::Payload,
    },
};

const NAME: &str = "programs";
/// Those that take frames with an Ethernet header, which test runs are made of.
const TRIED: [&str; 4] = [
    "flowmeter_xdp",
    "flowmeter_xdrop",
    "flowmeter_in",
    "flowmeter_out",
];
/// How often each frame is sent through each program.
const REPEAT: u32 = 1000;

pub(super) fn check(site: &Site<'_>, checks: &mut Vec<Outcome>) {
    let features = match &site.features {
        Ok(features) => features,
        Err(error) => {
            checks.push(Outcome::of_error(NAME, error, "see above, kernel"));
            return;
        }
    };
    match try_out(features, checks) {
        Ok(()) => {}
        Err(error) => checks.push(Outcome::of_error(
            NAME,
            &error,
            "report it with the output of `flowmeter doctor --json` and `uname -r`",
        )),
    }
}

fn try_out(features: &Features, checks: &mut Vec<Outcome>) -> Result<()> {
    // Not the configured ones: whether all is counted exactly shows without filter and sampling, and small maps
    // leave a meter that is running its memory.
    let capture = Capture {
        max_flows: 1024,
        ..Capture::default()
    };
    let mut ebpf = programs::load(&capture, features, log::LevelFilter::Info)?;
    let loaded = load(&mut ebpf, features)?;
    checks.push(Outcome::ok(
        NAME,
        format!("the verifier accepts {}", loaded.join(", ")),
    ));
    let mut drain = Drain::new(&mut ebpf, programs::table_size(&capture))?;
    let frames = frames();
    let mut packets = 0;
    let mut times = Vec::new();
    for name in TRIED
        .iter()
        .filter(|name| loaded.iter().any(|loaded| loaded == *name))
    {
        let program = ebpf
            .program(name)
            .ok_or_else(|| anyhow!("{name} is not in the object"))?;
        let mut spent = Duration::ZERO;
        for frame in &frames {
            spent += run(program, frame).with_context(|| format!("running {name} on a test packet"))?;
        }
        let sent = frames.len() as u64 * u64::from(REPEAT);
        let mut batch = Batch::default();
        drain.drain(&mut batch)?;
        compare(&frames, &batch).with_context(|| format!("comparing the counts of {name}"))?;
        packets += sent;
        // The kernel tells the mean of one run.
        let each = spent / u32::try_from(frames.len()).unwrap_or(u32::MAX);
        times.push(format!("{name} {} ns", each.as_nanos()));
    }
    ensure!(packets > 0, "no program could be tried");
    checks.push(Outcome::ok(
        NAME,
        format!(
            "{packets} test packets were counted, each and no other; a packet takes: {}",
            times.join(", ")
        ),
    ));
    Ok(())
}

/// Loads all that this kernel can, and names them.
fn load(ebpf: &mut Ebpf, features: &Features) -> Result<Vec<String>> {
    let mut loaded = Vec::new();
    for (name, program) in ebpf.programs_mut() {
        let result = match program {
            Program::Xdp(_) if !features.xdp_multi_buffer => continue,
            Program::Xdp(program) => program.load(),
            Program::SchedClassifier(program) => program.load(),
            other => bail!("{name} is of an unknown kind: {other:?}"),
        };
        result.with_context(|| format!("loading the program {name}"))?;
        loaded.push(name.to_owned());
    }
    loaded.sort();
    Ok(loaded)
}

/// TCP and UDP over IPv4 and IPv6, and a frame that is not IP.
fn frames() -> Vec<Vec<u8>> {
    let packet = |source: &str, destination: &str, tcp| {
        let (source, destination) = (source.parse().ok()?, destination.parse().ok()?);
        let packet = Packet {
            after: Duration::ZERO,
            source,
            destination,
            tcp,
            payload: Payload::Text(100),
        };
        let mut bytes = Vec::new();
        frame::write(&packet, &mut bytes);
        Some(bytes)
    };
    let tcp = Some(TcpHeader {
        sequence: 1,
        acknowledgement: 1,
        flags: tcp_flags::PSH | tcp_flags::ACK,
    });
    // Addresses and ports for documentation (RFC 5737, RFC 3849).
    let mut frames: Vec<_> = [
        packet("192.0.2.1:40000", "198.51.100.1:443", tcp),
        packet("192.0.2.1:40001", "198.51.100.1:53", None),
        packet("[2001:db8::1]:40000", "[2001:db8::2]:443", tcp),
        packet("[2001:db8::1]:40001", "[2001:db8::2]:53", None),
    ]
    .into_iter()
    .flatten()
    .collect();
    // ARP (EtherType 0x0806), padded as on the wire.
    let mut arp = vec![0xff; 12];
    arp.extend([0x08, 0x06]);
    arp.resize(60, 0);
    frames.push(arp);
    frames
}

/// The mean time of one run.
fn run(program: &Program, frame: &[u8]) -> Result<Duration> {
    let options = TestRunOptions {
        data_in: Some(frame),
        repeat: REPEAT,
        ..TestRunOptions::new()
    };
    let result = match program {
        Program::Xdp(program) => program.test_run(options),
        Program::SchedClassifier(program) => program.test_run(options),
        other => bail!("it is of an unknown kind: {other:?}"),
    }?;
    Ok(result.duration)
}

/// Holds what was counted against what the parser, run here, makes of the same frames.
fn compare(frames: &[Vec<u8>], batch: &Batch) -> Result<()> {
    let repeat = u64::from(REPEAT);
    let mut expected: Vec<(FlowKey, u64, u64)> = Vec::new();
    let mut not_ip = 0;
    for frame in frames {
        let mut packet = parse::Packet::default();
        match parse::parse(frame.as_slice(), Link::Ethernet, false, &mut packet) {
            Ok(()) => expected.push((packet.key, repeat, repeat * u64::from(packet.l3_length))),
            Err(_) => not_ip += repeat,
        }
    }
    let mut counted: Vec<_> = batch
        .records
        .iter()
        .map(|record| {
            let mut key = record.key;
            // A test run has an interface of its own.
            key.ifindex = 0;
            key.flags.0 &= !KeyFlags::EGRESS;
            (key, record.counters.packets, record.counters.l3_bytes)
        })
        .collect();
    let by_ports = |flow: &(FlowKey, u64, u64)| bytemuck::bytes_of(&flow.0).to_vec();
    expected.sort_by_key(by_ports);
    counted.sort_by_key(by_ports);
    ensure!(
        expected == counted,
        "counted {} flows otherwise than they were sent: {counted:?}, not {expected:?}",
        counted.len()
    );
    let interfaces = batch.interfaces.iter();
    let (seen, other) = interfaces.fold((0, 0), |(seen, other), interface| {
        let counters = &interface.counters;
        (
            seen + counters.seen.packets,
            other + counters.get(Uncounted::NotIp).packets,
        )
    });
    let sent = frames.len() as u64 * repeat;
    ensure!(
        (seen, other) == (sent, not_ip),
        "saw {seen} of {sent} packets, and {other} of {not_ip} that are not IP"
    );
    Ok(())
}
