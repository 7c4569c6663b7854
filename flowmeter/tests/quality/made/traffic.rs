//! Made-up traffic: packets as numbers, put together to what a drain every few seconds hands on.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use flowmeter::{config::Config, detect::Engine, enrich::Networks, flow::FlowRecord, track::Tracker};
use flowmeter_common::{
    FlowCounters, FlowKey, KeyFlags, Sizes,
    flow::{
        protocol::{ICMP, TCP, UDP},
        tcp_flags::{ACK, FIN, PSH, RST, SYN},
    },
};

use crate::quality::feed;

/// 2024-01-01, a Monday.
const EPOCH_NS: u64 = 1_704_067_200_000_000_000;
const INTERVAL: Duration = Duration::from_secs(10);
/// Payload of a full segment.
const SEGMENT: u64 = 1448;

pub(crate) const MINUTE: f64 = 60.0;
pub(crate) const HOUR: f64 = 3600.0;
pub(crate) const DAY: f64 = 24.0 * HOUR;

/// Numbers without a pattern, the same for the same seed (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xd134_2543_de82_ef95))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to just below 1.
    pub(crate) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.share()
    }

    /// Each power of ten as likely as any other.
    pub(crate) fn decade(&mut self, low: f64, high: f64) -> f64 {
        (self.between(low.ln(), high.ln())).exp()
    }

    pub(crate) fn number(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    pub(crate) fn port(&mut self, low: u16, high: u16) -> u16 {
        self.number(low.into(), high.into()) as u16
    }

    pub(crate) fn chance(&mut self, share: f64) -> bool {
        self.share() < share
    }

    /// Time to the next of what comes independently, `mean` apart.
    pub(crate) fn wait(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.share()).ln()
    }

    pub(crate) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        let last = of.len() as u64 - 1;
        of[usize::try_from(self.number(0, last)).unwrap()]
    }

    /// Some public address.
    pub(crate) fn outside(&mut self) -> IpAddr {
        let [b, c, d, ..] = self.next().to_be_bytes();
        let a = self.one(&[23, 34, 45, 52, 63, 77, 81, 93, 104, 151, 185, 193]);
        IpAddr::from([a, b, c, d.clamp(1, 254)])
    }
}

/// A host of the site, 10.40.x.y.
pub(crate) fn inside(number: u16) -> IpAddr {
    let [x, y] = number.to_be_bytes();
    Ipv4Addr::new(10, 40, x, y).into()
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// Who talks to whom: addresses, ports, protocol.
#[derive(Clone, Copy)]
struct Way(IpAddr, u16, IpAddr, u16, u8);

impl Way {
    const fn back(self) -> Self {
        Self(self.2, self.3, self.0, self.1, self.4)
    }
}

/// One drain's worth of one direction of one flow.
struct Piece {
    interval: u64,
    key: FlowKey,
    counters: FlowCounters,
}

pub(crate) struct Traffic {
    pieces: Vec<Piece>,
    own_port: u16,
}

impl Traffic {
    pub(crate) fn new() -> Self {
        Self {
            pieces: Vec::new(),
            own_port: 32_768,
        }
    }

    /// `packets` alike, at once; `bytes` of IP altogether.
    fn packets(&mut self, at: f64, way: Way, flags: u8, bytes: u64, packets: u64) {
        let Way(from, from_port, to, to_port, protocol) = way;
        let time_ns = EPOCH_NS + (at.max(0.0) * 1e9) as u64;
        let sizes = Sizes {
            packets: u32::try_from(packets).unwrap(),
            l3_bytes: bytes,
            wire_bytes: bytes + 14 * packets,
        };
        self.pieces.push(Piece {
            interval: time_ns / INTERVAL.as_nanos() as u64,
            key: FlowKey {
                source: octets(from),
                destination: octets(to),
                source_port: from_port,
                destination_port: to_port,
                protocol,
                flags: KeyFlags(if from.is_ipv6() { KeyFlags::IPV6 } else { 0 }),
                ..FlowKey::default()
            },
            counters: FlowCounters::first(sizes, flags, time_ns),
        });
    }

    fn next_port(&mut self) -> u16 {
        self.own_port = if self.own_port >= 60_998 {
            32_768
        } else {
            self.own_port + 1
        };
        self.own_port
    }

    /// A first TCP segment with any flags, and what comes back.
    pub(crate) fn probe(
        &mut self,
        at: f64,
        from: IpAddr,
        to: IpAddr,
        port: u16,
        flags: u8,
        answer: Option<u8>,
    ) {
        let way = Way(from, self.next_port(), to, port, TCP);
        self.packets(at, way, flags, 40, 1);
        if let Some(answer) = answer {
            self.packets(at + 0.02, way.back(), answer, 40, 1);
        }
    }

    pub(crate) fn refused(&mut self, at: f64, from: IpAddr, to: IpAddr, port: u16) {
        self.probe(at, from, to, port, SYN, Some(RST | ACK));
    }

    /// As a stack does it: the SYN is sent again after 1 and 3 s.
    pub(crate) fn unanswered(&mut self, at: f64, from: IpAddr, to: IpAddr, port: u16) {
        let way = Way(from, self.next_port(), to, port, TCP);
        for after in [0.0, 1.0, 3.0] {
            self.packets(at + after, way, SYN, 60, 1);
        }
    }

    /// As a health check or a scan of open ports does it.
    pub(crate) fn knock(&mut self, at: f64, from: IpAddr, to: IpAddr, port: u16) {
        let way = Way(from, self.next_port(), to, port, TCP);
        self.packets(at, way, SYN, 60, 1);
        self.packets(at + 0.001, way.back(), SYN | ACK, 60, 1);
        self.packets(at + 0.002, way, ACK, 52, 1);
        self.packets(at + 0.003, way, FIN | ACK, 52, 1);
        self.packets(at + 0.004, way.back(), FIN | ACK, 52, 1);
        self.packets(at + 0.005, way, ACK, 52, 1);
    }

    /// A TCP connection with so many bytes of payload each way, evenly over its time.
    pub(crate) fn session(
        &mut self,
        at: f64,
        (from, to, port): (IpAddr, IpAddr, u16),
        lasts: f64,
        sent: u64,
        received: u64,
    ) {
        let way = Way(from, self.next_port(), to, port, TCP);
        self.packets(at, way, SYN, 60, 1);
        self.packets(at + 0.02, way.back(), SYN | ACK, 60, 1);
        self.packets(at + 0.04, way, ACK, 52, 1);
        let lasts = lasts.max(0.1);
        let rounds = (1..=2000_u32)
            .find(|rounds| lasts / f64::from(*rounds) <= 10.0)
            .unwrap_or(2000)
            .max(2);
        for round in 0..rounds {
            let when = at + 0.05 + (lasts - 0.06) * f64::from(round) / f64::from(rounds);
            for (after, way, bytes) in [(0.0, way, sent), (0.02, way.back(), received)] {
                let bytes = bytes / u64::from(rounds);
                let segments = bytes.div_ceil(SEGMENT).max(1);
                self.packets(when + after, way, ACK | PSH, bytes + 52 * segments, segments);
                self.packets(
                    when + after + 0.005,
                    way.back(),
                    ACK,
                    52 * segments.div_ceil(2),
                    segments.div_ceil(2),
                );
            }
        }
        self.packets(at + lasts, way, FIN | ACK, 52, 1);
        self.packets(at + lasts + 0.02, way.back(), FIN | ACK, 52, 1);
        self.packets(at + lasts + 0.04, way, ACK, 52, 1);
    }

    /// A datagram of `sent` bytes of IP and its answer, 0 for none; from `own` port or a fresh one.
    pub(crate) fn datagram(
        &mut self,
        at: f64,
        (from, to, port): (IpAddr, IpAddr, u16),
        own: Option<u16>,
        sent: u64,
        received: u64,
    ) {
        let own = own.unwrap_or_else(|| self.next_port());
        let way = Way(from, own, to, port, UDP);
        self.packets(at, way, 0, sent, 1);
        if received > 0 {
            self.packets(at + 0.02, way.back(), 0, received, 1);
        }
    }

    /// Datagrams between two sockets, so many a second each way.
    pub(crate) fn stream(
        &mut self,
        at: f64,
        (from, to, port): (IpAddr, IpAddr, u16),
        lasts: f64,
        (sent, received): (f64, f64),
        length: u64,
    ) {
        let way = Way(from, self.next_port(), to, port, UDP);
        self.rate(at, way, lasts, sent, length);
        self.rate(at + 0.02, way.back(), lasts, received, length);
    }

    /// Packets of a rate, five seconds at a time.
    fn rate(&mut self, at: f64, way: Way, lasts: f64, per_second: f64, length: u64) {
        let mut after = 0.0;
        while after < lasts {
            let packets = (per_second * (lasts - after).min(5.0)) as u64;
            if packets > 0 {
                self.packets(at + after, way, 0, packets * length, packets);
                self.packets(at + after + (lasts - after).min(4.999), way, 0, length, 1);
            }
            after += 5.0;
        }
    }

    /// The same from one source that nobody answers; port 0: ICMP echo.
    pub(crate) fn flood(
        &mut self,
        at: f64,
        (from, to, port): (IpAddr, IpAddr, u16),
        lasts: f64,
        per_second: f64,
        length: u64,
    ) {
        let way = if port == 0 {
            Way(from, 8, to, 0, ICMP)
        } else {
            Way(from, self.next_port(), to, port, UDP)
        };
        self.rate(at, way, lasts, per_second, length);
    }

    pub(crate) fn echo(&mut self, at: f64, from: IpAddr, to: IpAddr, answered: bool) {
        self.packets(at, Way(from, 8, to, 0, ICMP), 0, 84, 1);
        if answered {
            self.packets(at + 0.02, Way(to, 0, from, 0, ICMP), 0, 84, 1);
        }
    }

    /// What nobody asked for: an answer from a service.
    pub(crate) fn answer(
        &mut self,
        at: f64,
        (from, port): (IpAddr, u16),
        (to, to_port): (IpAddr, u16),
        tcp: bool,
        bytes: u64,
    ) {
        let protocol = if tcp { TCP } else { UDP };
        let flags = if tcp { SYN | ACK } else { 0 };
        self.packets(
            at,
            Way(from, port, to, to_port, protocol),
            flags,
            bytes,
            bytes.div_ceil(1500),
        );
    }

    /// A SYN or a bare ACK of a flood, from any port.
    pub(crate) fn stray(
        &mut self,
        at: f64,
        (from, to, port): (IpAddr, IpAddr, u16),
        own: u16,
        flags: u8,
        answer: Option<u8>,
    ) {
        let way = Way(from, own, to, port, TCP);
        self.packets(at, way, flags, 40, 1);
        if let Some(answer) = answer {
            self.packets(at + 0.0005, way.back(), answer, 40, 1);
        }
    }

    /// Through the tracker into an engine.
    pub(crate) fn findings(mut self, config: &Config) -> Vec<flowmeter::detect::Finding> {
        let (mut engine, networks) = (Engine::new(config), Networks::new(&config.networks.internal));
        let mut tracker = Tracker::new(&config.track);
        self.pieces.sort_unstable_by(|a, b| {
            (a.interval, &a.key, a.counters.first_ns).cmp(&(b.interval, &b.key, b.counters.first_ns))
        });
        let mut findings = Vec::new();
        let mut slices = Vec::new();
        let mut end_ns = 0;
        for interval in self.pieces.chunk_by(|a, b| a.interval == b.interval) {
            let records: Vec<FlowRecord> = interval
                .chunk_by(|a, b| a.key == b.key)
                .map(|of_flow| {
                    let mut counters = FlowCounters::default();
                    of_flow.iter().for_each(|piece| counters.merge(&piece.counters));
                    FlowRecord {
                        key: of_flow[0].key,
                        counters,
                    }
                })
                .collect();
            end_ns = (interval[0].interval + 1) * u64::try_from(INTERVAL.as_nanos()).unwrap();
            tracker.ingest(&records, &mut slices);
            tracker.close_interval(end_ns, &mut slices);
            feed(&mut engine, &networks, &slices);
            slices.clear();
            engine.advance(end_ns);
            findings.append(&mut engine.drain());
        }
        tracker.finish(end_ns, &mut slices);
        feed(&mut engine, &networks, &slices);
        engine.advance(end_ns);
        engine.advance(end_ns + 120_000_000_000);
        findings.append(&mut engine.drain());
        findings
    }
}

/// Seconds after the start of made-up traffic.
pub(crate) fn since_start(time_ns: u64) -> f64 {
    time_ns.saturating_sub(EPOCH_NS) as f64 / 1e9
}
