//! A pipeline with its event file, and batches for it.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use flowmeter::{
    config::{Config, Flows},
    flow::{Batch, FlowRecord, InterfaceBatch},
    pipeline::{InterfaceNames, Pipeline},
};
use flowmeter_common::{
    FlowCounters, FlowKey, InterfaceCounters, Sizes, Uncounted, flow::protocol, flow::tcp_flags,
};
use tempfile::TempDir;

pub(crate) const SECOND: u64 = 1_000_000_000;
const START_NS: u64 = 1_777_203_920 * SECOND;

pub(crate) struct Collector {
    folder: TempDir,
    pipeline: Pipeline,
    names: InterfaceNames,
    interval: Duration,
    intervals: u64,
    pub(crate) now: Instant,
}

/// The defaults, without anything of this machine.
pub(crate) fn config(flows: Flows) -> Config {
    let mut config = Config::default();
    config.collector.name = "collector".to_owned();
    config.detect.state = PathBuf::new();
    config.output.flows = flows;
    config
}

impl Collector {
    pub(crate) fn new(mut config: Config) -> Self {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("log")).unwrap();
        config.output.path = folder.path().join("log/events.json");
        if config.output.all_flows_path.as_os_str() == "beside" {
            config.output.all_flows_path = folder.path().join("all.json");
        }
        let mut pipeline = Pipeline::new(&config).unwrap();
        pipeline.spread();
        Self {
            folder,
            pipeline,
            names: (0..8).map(|index| (index, format!("eth{index}"))).collect(),
            interval: config.capture.interval,
            intervals: 0,
            now: Instant::now(),
        }
    }

    /// Start of the present interval, nanoseconds since the Unix epoch.
    pub(crate) fn start_ns(&self) -> u64 {
        START_NS + self.intervals * self.length_ns()
    }

    fn length_ns(&self) -> u64 {
        u64::try_from(self.interval.as_nanos()).unwrap()
    }

    /// Ends an interval in which `records` were counted, and some packets that are not IP.
    pub(crate) fn interval(&mut self, records: Vec<FlowRecord>) {
        let span = self.start_ns()..self.start_ns() + self.length_ns();
        self.intervals += 1;
        self.pipeline.take(&mut batch(records));
        self.now = Instant::now();
        self.pipeline.close_interval(span, &self.names).unwrap();
    }

    /// Time passes: what the agent's loop does `after` the interval's end.
    pub(crate) fn pace(&mut self, after: Duration) {
        self.pipeline.pace(self.now + after, &self.names).unwrap();
    }

    pub(crate) fn waits(&self) -> bool {
        self.pipeline.next_lines().is_some()
    }

    /// Takes the folder of the event file away, or brings it back.
    pub(crate) fn disk(&self, there: bool) {
        let (log, away) = (self.folder.path().join("log"), self.folder.path().join("away"));
        match (there, log.exists()) {
            (true, false) => fs::rename(away, log).unwrap(),
            (false, true) => fs::rename(log, away).unwrap(),
            _ => {}
        }
    }

    pub(crate) fn lines(&self) -> usize {
        self.text().lines().count()
    }

    pub(crate) fn text(&self) -> String {
        fs::read_to_string(self.folder.path().join("log/events.json")).unwrap()
    }

    /// Ends it and returns what is in its file, and in the file of all flows.
    pub(crate) fn finish(self) -> (String, String) {
        let end_ns = self.start_ns();
        let Self {
            folder,
            pipeline,
            names,
            ..
        } = self;
        pipeline.finish(end_ns..end_ns + SECOND, &names).unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        (read("log/events.json"), read("all.json"))
    }
}

fn batch(records: Vec<FlowRecord>) -> Batch {
    let mut batch = Batch::default();
    for ifindex in 1..4 {
        let mut counters = InterfaceCounters::default();
        for record in records.iter().filter(|record| record.key.ifindex == ifindex) {
            counters.seen.packets += record.counters.packets;
            counters.seen.wire_bytes += record.counters.wire_bytes;
        }
        let arp = &mut counters.uncounted[Uncounted::NotIp as usize];
        (arp.packets, arp.wire_bytes) = (3, 180);
        counters.seen.packets += 3;
        counters.seen.wire_bytes += 180;
        batch.interfaces.push(InterfaceBatch { ifindex, counters });
    }
    batch.records = records;
    batch
}

/// One direction of a connection: `packets` of `bytes` each.
pub(crate) fn record(
    from: ([u8; 4], u16),
    to: ([u8; 4], u16),
    (packets, bytes): (u64, u64),
    at_ns: u64,
    ifindex: u32,
) -> FlowRecord {
    let mapped = |ip: [u8; 4]| std::net::Ipv4Addr::from(ip).to_ipv6_mapped().octets();
    let key = FlowKey {
        source: mapped(from.0),
        destination: mapped(to.0),
        source_port: from.1,
        destination_port: to.1,
        protocol: protocol::TCP,
        ifindex,
        ..FlowKey::default()
    };
    let sizes = Sizes {
        packets: u32::try_from(packets).unwrap(),
        l3_bytes: packets * bytes,
        wire_bytes: packets * (bytes + 14),
    };
    FlowRecord {
        key,
        counters: FlowCounters::first(sizes, tcp_flags::SYN, at_ns),
    }
}
