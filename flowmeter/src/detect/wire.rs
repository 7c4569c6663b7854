//! For tests: traffic packet by packet, through the tracker into the engine, in intervals of any length.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use flowmeter_common::{
    FlowCounters, FlowKey, KeyFlags, Sizes,
    flow::{
        protocol::{ICMP, TCP, UDP},
        tcp_flags::{ACK, FIN, PSH, RST, SYN},
    },
};

use super::{Engine, Finding, Phase, Tag};
use crate::{
    config::{Config, Sources, load},
    enrich::{Cast, Networks},
    flow::FlowRecord,
    track::Tracker,
};

/// A packet's time, key, TCP flags, IP length, and how many like it.
type Packet = (u64, FlowKey, u8, u64, u32);

/// 2024-01-01, a Monday.
const EPOCH_NS: u64 = 1_704_067_200_000_000_000;

#[derive(Clone, Debug, Default)]
pub(super) struct Wire {
    packets: Vec<Packet>,
    port: u16,
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

impl Wire {
    pub(super) fn new() -> Self {
        Self {
            packets: Vec::new(),
            port: 40_000,
        }
    }

    /// One packet, `at` seconds after the start.
    #[expect(clippy::too_many_arguments, reason = "a packet has as many parts")]
    fn packet(
        &mut self,
        at: f64,
        from: IpAddr,
        from_port: u16,
        to: IpAddr,
        to_port: u16,
        protocol: u8,
        flags: u8,
        length: u64,
        count: u32,
    ) {
        let key = FlowKey {
            source: octets(from),
            destination: octets(to),
            source_port: from_port,
            destination_port: to_port,
            protocol,
            flags: KeyFlags(if from.is_ipv6() { KeyFlags::IPV6 } else { 0 }),
            ..FlowKey::default()
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "seconds of a test"
        )]
        let time_ns = EPOCH_NS + (at * 1e9) as u64;
        self.packets.push((time_ns, key, flags, length, count));
    }

    fn next_port(&mut self) -> u16 {
        self.port = if self.port >= 60_000 {
            40_000
        } else {
            self.port + 1
        };
        self.port
    }

    /// A TCP attempt with these first flags and this answer, if any.
    pub(super) fn tcp(&mut self, at: f64, from: &str, to: &str, port: u16, flags: u8, answer: Option<u8>) {
        let (from, to, own) = (ip(from), ip(to), self.next_port());
        self.packet(at, from, own, to, port, TCP, flags, 40, 1);
        if let Some(answer) = answer {
            self.packet(at + 0.001, to, port, from, own, TCP, answer, 40, 1);
        }
    }

    pub(super) fn refused(&mut self, at: f64, from: &str, to: &str, port: u16) {
        self.tcp(at, from, to, port, SYN, Some(RST | ACK));
    }

    pub(super) fn unanswered(&mut self, at: f64, from: &str, to: &str, port: u16) {
        self.tcp(at, from, to, port, SYN, None);
    }

    #[expect(clippy::too_many_arguments, reason = "a session has as many parts")]
    /// A connection with data both ways, closed by both after `lasts` seconds.
    pub(super) fn session(
        &mut self,
        at: f64,
        from: &str,
        to: &str,
        port: u16,
        lasts: f64,
        sent: u64,
        received: u64,
    ) {
        let (from, to, own) = (ip(from), ip(to), self.next_port());
        self.packet(at, from, own, to, port, TCP, SYN, 60, 1);
        self.packet(at + 0.001, to, port, from, own, TCP, SYN | ACK, 60, 1);
        self.packet(at + 0.002, from, own, to, port, TCP, ACK, 52, 1);
        // In pieces, so that a long one is in every interval.
        let pieces = (lasts / 5.0).ceil().max(2.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a few pieces"
        )]
        let whole = pieces as u32;
        for piece in 0..whole {
            let when = at + 0.003 + (lasts - 0.01).max(0.001) * f64::from(piece) / pieces;
            let (out, back) = (sent / u64::from(whole) + 52, received / u64::from(whole) + 52);
            self.packet(
                when,
                from,
                own,
                to,
                port,
                TCP,
                ACK | PSH,
                out,
                u32::try_from(out / 1500 + 1).unwrap(),
            );
            self.packet(
                when + 0.0001,
                to,
                port,
                from,
                own,
                TCP,
                ACK | PSH,
                back,
                u32::try_from(back / 1500 + 1).unwrap(),
            );
        }
        self.packet(at + lasts, from, own, to, port, TCP, FIN | ACK, 52, 1);
        self.packet(at + lasts + 0.0005, to, port, from, own, TCP, FIN | ACK, 52, 1);
    }

    #[expect(clippy::too_many_arguments, reason = "a datagram has as many parts")]
    /// A datagram of `sent` bytes and its answer, 0 for none, on one socket if `own` is given.
    pub(super) fn udp(
        &mut self,
        at: f64,
        from: &str,
        to: &str,
        port: u16,
        own: Option<u16>,
        sent: u64,
        received: u64,
    ) {
        let (from, to) = (ip(from), ip(to));
        let own = own.unwrap_or_else(|| self.next_port());
        self.packet(at, from, own, to, port, UDP, 0, sent, 1);
        if received > 0 {
            self.packet(at + 0.01, to, port, from, own, UDP, 0, received, 1);
        }
    }

    /// Many alike datagrams at once, not answered.
    pub(super) fn burst(&mut self, at: f64, from: &str, to: &str, port: u16, length: u64, count: u32) {
        let (from, to) = (ip(from), ip(to));
        self.packet(at, from, 5000, to, port, UDP, 0, length * u64::from(count), count);
    }

    pub(super) fn echo(&mut self, at: f64, from: &str, to: &str, answered: bool) {
        let (from, to) = (ip(from), ip(to));
        self.packet(at, from, 8, to, 0, ICMP, 0, 28, 1);
        if answered {
            self.packet(at + 0.001, to, 0, from, 0, ICMP, 0, 28, 1);
        }
    }

    /// What came back without having been asked for.
    pub(super) fn answer(&mut self, at: f64, from: &str, from_port: u16, to: &str, protocol: u8) {
        let own = self.next_port();
        let flags = if protocol == TCP { SYN | ACK } else { 0 };
        self.packet(at, ip(from), from_port, ip(to), own, protocol, flags, 200, 1);
    }

    pub(super) fn append(&mut self, other: Self) {
        self.packets.extend(other.packets);
    }

    /// Everything later by whole seconds.
    pub(super) fn shifted(mut self, seconds: u64) -> Self {
        for packet in &mut self.packets {
            packet.0 += seconds * 1_000_000_000;
        }
        self
    }

    /// Every address changed; `rename` must keep inside and outside apart.
    pub(super) fn renamed(mut self, rename: impl Fn([u8; 16]) -> [u8; 16]) -> Self {
        for (_, key, ..) in &mut self.packets {
            key.source = rename(key.source);
            key.destination = rename(key.destination);
        }
        self
    }

    /// Hands each interval's slices to `each`, with its end.
    pub(super) fn slices(
        &self,
        config: &Config,
        interval: Duration,
        mut each: impl FnMut(u64, Vec<crate::flow::Slice>),
    ) {
        let interval_ns = u64::try_from(interval.as_nanos()).unwrap();
        let mut intervals: BTreeMap<u64, BTreeMap<FlowKey, FlowCounters>> = BTreeMap::new();
        for (time_ns, key, flags, length, count) in &self.packets {
            let sizes = Sizes {
                packets: *count,
                l3_bytes: *length,
                wire_bytes: length + 14 * u64::from(*count),
            };
            let counters = FlowCounters::first(sizes, *flags, *time_ns);
            let flows = intervals.entry(time_ns / interval_ns).or_default();
            flows.entry(*key).or_default().merge(&counters);
        }
        let mut tracker = Tracker::new(&config.track);
        let mut end_ns = 0;
        for (number, flows) in intervals {
            let records: Vec<FlowRecord> = flows
                .into_iter()
                .map(|(key, counters)| FlowRecord { key, counters })
                .collect();
            let mut slices = Vec::new();
            tracker.ingest(&records, &mut slices);
            end_ns = (number + 1) * interval_ns;
            tracker.close_interval(end_ns, &mut slices);
            each(end_ns, slices);
        }
        let mut slices = Vec::new();
        tracker.finish(end_ns, &mut slices);
        each(end_ns, slices);
        each(end_ns + 120_000_000_000, Vec::new());
    }

    pub(super) fn findings_in(&self, config: &Config, interval: Duration) -> Vec<Finding> {
        let mut engine = Engine::new(config);
        let mut findings = Vec::new();
        self.slices(config, interval, |end_ns, slices| {
            feed(&mut engine, config, &slices);
            engine.advance(end_ns);
            findings.append(&mut engine.drain());
        });
        findings
    }

    /// What is told of it in intervals of 10 s.
    pub(super) fn findings(&self, config: &Config) -> Vec<Finding> {
        self.findings_in(config, Duration::from_secs(10))
    }
}

pub(super) fn feed(engine: &mut Engine, config: &Config, slices: &[crate::flow::Slice]) {
    let networks = Networks::new(&config.networks.internal);
    engine.feed(slices, |slice| {
        let direction = networks.direction(slice.initiator.ip, slice.responder.ip);
        (direction, networks.cast(slice.responder.ip) == Cast::Unicast)
    });
}

/// The defaults without learning, and `set` put over them.
pub(super) fn config(set: &[&str]) -> Config {
    let mut all = vec!["detect.learning=0s".to_owned(), "collector.name=test".to_owned()];
    all.extend(set.iter().map(|text| (*text).to_owned()));
    let sources = Sources {
        file: Some("/dev/null".into()),
        set: all,
        ..Sources::default()
    };
    load(&sources).unwrap().config
}

/// Whether a finding of a kind starts in traffic: one row of a detector's table of cases.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) set: &'static [&'static str],
    pub(super) traffic: fn(&mut Wire),
    /// The first reason of the finding; `None` for no finding.
    pub(super) expected: Option<&'static str>,
}

pub(super) fn check(tag: Tag, cases: &[Case]) {
    for case in cases {
        let mut wire = Wire::new();
        (case.traffic)(&mut wire);
        let findings = wire.findings(&config(case.set));
        let started: Vec<&Finding> = findings
            .iter()
            .filter(|finding| finding.tag == tag && finding.phase == Phase::Start)
            .collect();
        match case.expected {
            None => assert!(started.is_empty(), "{}: {started:#?}", case.name),
            Some(reason) => {
                let [finding] = started[..] else {
                    panic!("{}: {} findings: {findings:#?}", case.name, started.len());
                };
                assert_eq!(finding.reasons[0].id, reason, "{}: {finding:#?}", case.name);
                assert!(
                    !finding.message.is_empty() && !finding.techniques.is_empty(),
                    "{}",
                    case.name
                );
                for reason in &finding.reasons {
                    assert!(super::REASONS.contains(&reason.id), "{}", reason.id);
                }
                for technique in &finding.techniques {
                    assert!(super::episode::TECHNIQUES.contains(technique), "{technique}");
                }
            }
        }
    }
}
