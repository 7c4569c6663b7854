//! Sends an exactly known set of packets: the program `generate` of the bench object, run by the kernel on frames
//! of its own and redirected into a cable.

#[path = "../../../flowmeter-ebpf/src/bench/traffic.rs"]
pub(super) mod traffic;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use aya::{
    Ebpf, EbpfLoader,
    maps::Array,
    programs::{ProgramError, TestRun as _, TestRunAttrs, TestRunOptions, Xdp, XdpMode},
};
use nix::{
    net::if_::if_nametoindex,
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use traffic::{
    BIG, DESTINATION_V6, ETHERNET, IPV4, IPV6, MAX_FLOWS, MIXED, ORDERS, SMALL, SOURCE_V6, Traffic,
};

use super::{
    Bench,
    network::{Cable, IN, OUT},
};

// SAFETY: plain numbers without padding.
unsafe impl aya::Pod for Traffic {}

/// The program's map value, as `Position` in flowmeter-ebpf/src/bench/generate.rs.
#[derive(Clone, Copy)]
#[repr(C)]
struct Position {
    sent: u64,
    start_ns: u64,
    failed: u64,
    rest: [u32; 4],
}
// SAFETY: as above.
unsafe impl aya::Pod for Position {}

/// What is sent. Every flow gets as many packets as every other.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Load {
    /// Different 5-tuples
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_FLOWS)))]
    pub(super) flows: u32,
    /// Packets of each flow
    #[arg(long, default_value_t = 1000)]
    pub(super) rounds: u32,
    /// Number of the first flow
    #[arg(long, default_value_t = 0)]
    pub(super) first_flow: u32,
    #[arg(long, value_enum, default_value_t = Frames::Small)]
    pub(super) frames: Frames,
    #[arg(long)]
    pub(super) ipv6: bool,
    /// Visit the flows in other orders than a run without this does
    #[arg(long)]
    pub(super) again: bool,
    /// Packets a second; without it as fast as it goes
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) rate: Option<u64>,
    /// Where the generator runs
    #[arg(long, default_value_t = 0)]
    pub(super) cpu: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Frames {
    /// 60 bytes (IPv6: 80)
    Small,
    /// 60, 590 and 1514 bytes, 7 : 4 : 1 of the flows
    Mixed,
    /// 1514 bytes
    Big,
}

impl Load {
    /// `flows` flows with about `packets` packets in all, small, as fast as it goes.
    pub(super) fn new(flows: u32, packets: u32) -> Self {
        Self {
            flows,
            rounds: packets.div_ceil(flows),
            first_flow: 0,
            frames: Frames::Small,
            ipv6: false,
            again: false,
            rate: None,
            cpu: 0,
        }
    }

    pub(super) fn packets(&self) -> u64 {
        u64::from(self.flows) * u64::from(self.rounds)
    }

    /// What the traffic is made of, for those who check it; `ifindex` is where it is sent out.
    pub(super) fn traffic(&self, ifindex: u32) -> Traffic {
        let mut traffic = Traffic {
            flows: self.flows,
            first_flow: self.first_flow,
            rounds: self.rounds,
            ifindex,
            steps: [1; ORDERS],
            pause_ps: self.rate.map_or(0, |rate| 1_000_000_000_000 / rate),
            ipv6: u32::from(self.ipv6),
            sizes: match self.frames {
                Frames::Small => SMALL,
                Frames::Mixed => MIXED,
                Frames::Big => BIG,
            },
        };
        // Far from each other and from the ends, so that neighbours in the traffic are no neighbours in a table. A map
        // lays its entries side by side in the order in which they came, so other orders are for other runs.
        let parts = if self.again {
            [618, 276, 724, 414]
        } else {
            [382; ORDERS]
        };
        for (step, part) in traffic.steps.iter_mut().zip(parts) {
            let near = u32::try_from(u64::from(self.flows) * part / 1000).unwrap_or(1);
            *step = (near.max(1)..)
                .find(|&step| coprime(step, self.flows))
                .unwrap_or(1);
        }
        traffic
    }

    /// Bytes on L2 in all.
    pub(super) fn bytes(&self) -> u64 {
        let traffic = self.traffic(0);
        let round: u64 = (0..self.flows)
            .map(|flow| u64::from(traffic.flow(self.first_flow + flow).frame_length))
            .sum();
        round * u64::from(self.rounds)
    }
}

fn coprime(mut a: u32, mut b: u32) -> bool {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a == 1
}

/// What was sent, all of it: a run that failed in part is an error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) seconds: f64,
    /// CPU time for each packet: writing it, the way through the cable, the programs on the
    /// other end and what the stack does there, since all of it runs on the sender's CPU and time. Says nothing with a
    /// rate: then the thread waits in a loop.
    pub(super) cpu_ns: f64,
}

/// Frames that the kernel hands through at once (the largest that `xdp_test_run_batch` uses by default).
const FRAMES_AT_ONCE: u32 = 64;
/// With a rate most runs find that no packet is due; so many runs are asked for at a time.
const RUNS_AT_A_RATE: u32 = 1 << 22;

/// Sends `load` out of `interface` of the calling thread's network namespace. The thread stays on `load.cpu`.
///
/// # Errors
/// The kernel refuses, or not every packet was written.
pub(super) fn send(object: &Path, interface: &str, load: &Load) -> Result<Sent> {
    let ifindex = if_nametoindex(interface).with_context(|| format!("looking up {interface}"))?;
    let traffic = load.traffic(ifindex);
    let mut ebpf = EbpfLoader::new()
        .override_global("TRAFFIC", &traffic, true)
        .load_file(object)
        .context("loading the generator")?;
    let program: &mut Xdp = program(&mut ebpf, "generate")?.try_into()?;
    program.load().context("loading the generator into the kernel")?;
    pin(load.cpu)?;

    let frame = frame(&traffic);
    let run = |program: &Xdp, runs: u32| -> Result<(), ProgramError> {
        let options = TestRunOptions {
            data_in: Some(&frame),
            repeat: runs,
            attrs: TestRunAttrs::new().xdp_live_frames(FRAMES_AT_ONCE),
            ..TestRunOptions::new()
        };
        program.test_run(options).map(drop)
    };
    let softirq = softirq_thread(load.cpu)?;
    let (begin, cpu_begin) = (Instant::now(), cpu_ns(&softirq)?);
    if load.rate.is_none() {
        let packets = u32::try_from(load.packets()).context("more packets than one run can send")?;
        run(program, packets).context("sending")?;
    } else {
        while position(&ebpf)?.sent < load.packets() {
            crate::signals::check()?;
            let program: &Xdp = ebpf.program("generate").context("no generator")?.try_into()?;
            run(program, RUNS_AT_A_RATE).context("sending")?;
        }
    }
    let (seconds, cpu) = (begin.elapsed().as_secs_f64(), cpu_ns(&softirq)? - cpu_begin);
    let end = position(&ebpf)?;
    ensure!(
        end.failed == 0 && end.sent == load.packets(),
        "{} of {} packets were written, {} could not be",
        end.sent,
        load.packets(),
        end.failed
    );
    Ok(Sent {
        packets: end.sent,
        bytes: load.bytes(),
        seconds,
        cpu_ns: cpu as f64 / end.sent as f64,
    })
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut aya::programs::Program> {
    ebpf.program_mut(name)
        .with_context(|| format!("program {name} is not in the object"))
}

fn position(ebpf: &Ebpf) -> Result<Position> {
    let map = ebpf
        .map("POSITION")
        .context("map POSITION is not in the object")?;
    Ok(Array::<_, Position>::try_from(map)?.get(&0, 0)?)
}

/// The longest frame of the traffic, with all that is the same in each.
fn frame(traffic: &Traffic) -> Vec<u8> {
    let mut frame = vec![0; traffic.longest_frame() as usize];
    let mut put = |at: u32, bytes: &[u8]| {
        for (to, from) in frame.iter_mut().skip(at as usize).zip(bytes) {
            *to = *from;
        }
    };
    // To nobody's address, as at a mirror port: the stack has little to do with it.
    put(0, &[2, 0, 0, 0, 0xbb, 1]);
    put(6, &[2, 0, 0, 0, 0xaa, 1]);
    if traffic.ipv6 == 0 {
        put(12, &[8, 0]);
        // Version and header length; TTL and protocol.
        put(ETHERNET, &[0x45]);
        put(ETHERNET + 8, &[64, 17]);
        debug_assert_eq!(IPV4, 20);
    } else {
        put(12, &[0x86, 0xdd]);
        put(ETHERNET, &[0x60]);
        put(ETHERNET + 6, &[17, 64]);
        for (at, words) in [(8, SOURCE_V6), (24, DESTINATION_V6)] {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            put(ETHERNET + at, &bytes);
        }
        debug_assert_eq!(IPV6, 40);
    }
    frame
}

/// Keeps the calling thread on one CPU.
pub(super) fn pin(cpu: usize) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &cpus))
        .with_context(|| format!("moving to CPU {cpu}"))
}

/// CPU time of the calling thread, with what interrupts did on top of it, and of the kernel's thread that takes over
/// where they did too much.
fn cpu_ns(softirq: &Path) -> Result<u64> {
    let of = |path: &Path| -> Result<u64> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        text.split_whitespace()
            .next()
            .and_then(|word| word.parse().ok())
            .with_context(|| format!("no CPU time in {}", path.display()))
    };
    Ok(of(Path::new("/proc/thread-self/schedstat"))? + of(softirq)?)
}

/// Where the CPU time of a CPU's `ksoftirqd` stands.
fn softirq_thread(cpu: usize) -> Result<PathBuf> {
    let name = format!("ksoftirqd/{cpu}\n");
    fs::read_dir("/proc")
        .context("reading /proc")?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm == name))
        .map(|path| path.join("schedstat"))
        .with_context(|| format!("no thread {name:?}"))
}

#[derive(clap::Args)]
pub(super) struct Generate {
    #[command(flatten)]
    load: Load,
}

/// Tries the generator against an empty program.
pub(super) fn main(bench: &Bench, options: &Generate) -> Result<()> {
    let object = bench.workspace.bench_object();
    let cable = Cable::new()?;
    let mut ebpf = Ebpf::load_file(&object).context("loading the empty program")?;
    let empty: &mut Xdp = program(&mut ebpf, "empty_xdp")?.try_into()?;
    empty.load()?;
    cable.meter.inside(|| {
        empty
            .attach(IN, XdpMode::Driver)
            .map(drop)
            .context("attaching the empty program")
    })?;
    for _ in 0..bench.repetitions {
        let before = cable.arrived()?;
        let sent = cable.sender.inside(|| send(&object, OUT, &options.load))?;
        println!(
            "sent {} packets, {} bytes in {:.3} s: {:.2} Mpps, {:.0} ns of CPU a packet; arrived {}",
            sent.packets,
            sent.bytes,
            sent.seconds,
            sent.packets as f64 / sent.seconds / 1e6,
            sent.cpu_ns,
            cable.arrived()? - before
        );
    }
    Ok(())
}
