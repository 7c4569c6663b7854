//! The engine alone under load: millions of spoofed sources, and ordinary traffic as fast as it goes.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use flowmeter::{
    config::Config,
    detect::{Engine, Finding, Phase, Usage},
    enrich::Direction,
    flow::{EndReason, Endpoint, InitiatorBasis, Outcome, Slice},
};
use nix::time::{ClockId, clock_gettime};

use flowmeter_common::{
    FlowCounters, Sizes, Tunnel,
    flow::{
        protocol::TCP,
        tcp_flags::{ACK, FIN, PSH, RST, SYN},
    },
};

const EPOCH_NS: u64 = 1_704_067_200_000_000_000;
const INTERVAL_NS: u64 = 10_000_000_000;
const VICTIM: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 80));
pub(crate) const SCANNER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));

pub(crate) struct Load {
    pub(crate) slices: u64,
    pub(crate) took: Duration,
    /// What the process has grown by at most, in bytes.
    pub(crate) grown: u64,
    pub(crate) findings: Vec<Finding>,
    pub(crate) usage: Vec<Usage>,
}

impl Load {
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn per_second(&self) -> f64 {
        self.slices as f64 / self.took.as_secs_f64()
    }

    pub(crate) fn told_of(&self, source: IpAddr) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.phase == Phase::Start && finding.source == Some(source))
    }
}

fn counters(packets: u32, bytes: u64, flags: u8, time_ns: u64) -> FlowCounters {
    if packets == 0 {
        return FlowCounters::default();
    }
    let sizes = Sizes {
        packets,
        l3_bytes: bytes,
        wire_bytes: bytes + 14 * u64::from(packets),
    };
    FlowCounters::first(sizes, flags, time_ns)
}

fn slice(from: (IpAddr, u16), to: (IpAddr, u16), start_ns: u64, outcome: Outcome) -> Slice {
    Slice {
        ifindex: 1,
        vlan_id: 0,
        tunnel: Tunnel::None,
        tunnel_id: 0,
        fragment: false,
        ipv6: false,
        protocol: TCP,
        initiator: Endpoint {
            ip: from.0,
            port: from.1,
        },
        responder: Endpoint { ip: to.0, port: to.1 },
        basis: InitiatorBasis::TcpFlags,
        outcome,
        id: start_ns.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        start_ns,
        last_ns: start_ns,
        initiator_egress: false,
        forward: FlowCounters::default(),
        reverse: FlowCounters::default(),
        end: None,
    }
}

/// A scrambled number, the same for the same number.
fn scrambled(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[allow(clippy::cast_possible_truncation)]
fn address(number: u64) -> IpAddr {
    // None of it inside.
    IpAddr::from(((scrambled(number) as u32 & 0x1fff_ffff) | 0x2000_0000).to_be_bytes())
}

fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = status
        .split(' ')
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    pages * 4096
}

/// CPU time of this thread: other programs on the machine do not count.
fn used() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

struct Run {
    engine: Engine,
    before: u64,
    load: Load,
}

impl Run {
    fn new(config: &Config) -> Self {
        Self {
            engine: Engine::new(config),
            before: resident(),
            load: Load {
                slices: 0,
                took: Duration::ZERO,
                grown: 0,
                findings: Vec::new(),
                usage: Vec::new(),
            },
        }
    }

    fn interval(&mut self, slices: &[Slice], direction: impl Fn(&Slice) -> Direction, end_ns: u64) {
        let began = used();
        self.engine.feed(slices, |slice| (direction(slice), true));
        self.engine.advance(end_ns);
        self.load.took += used().saturating_sub(began);
        self.load.slices += slices.len() as u64;
        self.load.findings.append(&mut self.engine.drain());
        self.load.grown = self.load.grown.max(resident().saturating_sub(self.before));
    }

    fn finish(mut self) -> Load {
        self.load.usage = self.engine.usage();
        self.load
    }
}

/// So many spoofed sources, a million a minute, each with one SYN to one server; among them one that scans a port
/// every seven seconds.
pub(crate) fn flood(config: &Config, sources: u64) -> Load {
    let each = 1_000_000 / 6;
    // What the test itself needs is in memory before it is looked at.
    let none = slice((SCANNER, 0), (VICTIM, 0), 0, Outcome::Unanswered);
    let mut slices = vec![none; usize::try_from(each).unwrap_or(0) + 2];
    let mut run = Run::new(config);
    let mut number = 0;
    let mut interval = 0;
    while number < sources {
        slices.clear();
        let start_ns = EPOCH_NS + interval * INTERVAL_NS;
        for n in 0..each.min(sources - number) {
            let time_ns = start_ns + n * (INTERVAL_NS / each);
            number += 1;
            #[allow(clippy::cast_possible_truncation)]
            let port = 1024 + (scrambled(number) >> 40) as u16 % 60_000;
            let mut syn = slice(
                (address(number), port),
                (VICTIM, 80),
                time_ns,
                Outcome::Unanswered,
            );
            syn.forward = counters(1, 40, SYN, time_ns);
            slices.push(syn);
        }
        for n in 0..2_u16 {
            let time_ns = start_ns + 1_000_000_007 + u64::from(n) * 5_000_000_000;
            let port = 100 + u16::try_from(interval * 2).unwrap_or(0) + n;
            let mut probe = slice((SCANNER, 50_000 + n), (VICTIM, port), time_ns, Outcome::Refused);
            probe.forward = counters(1, 40, SYN, time_ns);
            probe.reverse = counters(1, 40, RST | ACK, time_ns + 1000);
            slices.push(probe);
        }
        interval += 1;
        run.interval(&slices, |_| Direction::ExternalToInternal, start_ns + INTERVAL_NS);
    }
    run.finish()
}

/// Ordinary traffic: `hosts` inside hosts with several connections an interval each, most of them to few servers,
/// half of them going on.
pub(crate) fn ordinary(config: &Config, hosts: u32, intervals: u64) -> Load {
    let none = slice((SCANNER, 0), (VICTIM, 0), 0, Outcome::Unanswered);
    let mut slices = vec![none; hosts as usize * 10];
    let mut run = Run::new(config);
    for interval in 0..intervals {
        let start_ns = EPOCH_NS + interval * INTERVAL_NS;
        slices.clear();
        for host in 0..hosts {
            let from = IpAddr::from((0x0a00_0000 | (host + 1)).to_be_bytes());
            for n in 0..10_u64 {
                let salt = scrambled((u64::from(host) << 32) | (n << 24) | (interval / 4 * (n % 2)));
                let to = address(salt % 5000);
                #[allow(clippy::cast_possible_truncation)]
                let port = 1024 + (salt >> 20) as u16 % 60_000;
                let goes_on = n % 2 == 1;
                let began_ns = if goes_on {
                    EPOCH_NS + interval / 4 * 4 * INTERVAL_NS
                } else {
                    start_ns
                } + salt % 1_000_000_000;
                let port = if goes_on {
                    port
                } else {
                    port ^ u16::try_from(interval % 1024).unwrap_or(0)
                };
                let now_ns = start_ns + salt % 1_000_000_000 + 1000;
                let mut session = slice((from, port), (to, 443), began_ns, Outcome::Accepted);
                let opening = if now_ns - began_ns < INTERVAL_NS { SYN } else { 0 };
                session.forward = counters(
                    12,
                    2400,
                    opening | ACK | PSH | if goes_on { 0 } else { FIN },
                    now_ns - 1000,
                );
                session.forward.first_tcp_flags = if opening == 0 { ACK } else { SYN };
                session.forward.first_ns = session.forward.first_ns.max(began_ns);
                session.reverse = counters(14, 14_000, ACK | PSH, now_ns);
                session.last_ns = now_ns;
                session.id = salt;
                session.end = (!goes_on).then_some(EndReason::EndOfFlowDetected);
                slices.push(session);
            }
        }
        run.interval(&slices, |_| Direction::InternalToExternal, start_ns + INTERVAL_NS);
    }
    run.finish()
}

pub(crate) fn report(flood: &Load, ordinary: &Load, memory_bytes: u64) -> String {
    let mebibytes = |bytes: u64| bytes >> 20;
    let mut text = format!(
        "## Under load\n\n`detect.memory_bytes` is {} MiB; one core of the machine that wrote this.\n\n| traffic | slices | million slices a second of CPU time | grown by | a scanner among them |\n|---|---|---|---|---|\n",
        mebibytes(memory_bytes)
    );
    for (name, load, scanner) in [
        ("10 million spoofed sources, 1 million a minute", flood, true),
        ("10,000 hosts, 100,000 slices an interval", ordinary, false),
    ] {
        let found = match (scanner, load.told_of(SCANNER)) {
            (false, _) => "",
            (true, true) => "found",
            (true, false) => "lost",
        };
        text += &format!(
            "| {name} | {} | {:.2} | {} MiB | {found} |\n",
            load.slices,
            load.per_second() / 1e6,
            mebibytes(load.grown),
        );
    }
    text += "\nWhat it has grown by includes the batch of slices that is being decided on. Tables after the flood, entries used and room, and those that had to go:\n\n| table | used | room | evicted |\n|---|---|---|---|\n";
    for usage in &flood.usage {
        text += &format!(
            "| `{}` | {} | {} | {} |\n",
            usage.table, usage.used, usage.capacity, usage.evicted
        );
    }
    text
}
