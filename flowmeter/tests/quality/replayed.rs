//! A capture or log through the stages, up to findings.

use std::{collections::BTreeSet, net::IpAddr, path::Path, time::Duration};

use flowmeter::{
    capture::{
        format::{Format, Reading},
        input::BytesRead,
        replay::{FileSource, Replay},
    },
    config::{Config, Tunnels},
    detect::{Engine, Finding},
    enrich::{Cast, Networks},
    flow::Slice,
    track::Tracker,
};
use jiff::tz::TimeZone;

#[derive(Default)]
pub(crate) struct Replayed {
    pub(crate) findings: Vec<Finding>,
    pub(crate) slices: u64,
    pub(crate) hosts: BTreeSet<IpAddr>,
    pub(crate) last_ns: u64,
    /// Time in which something was seen.
    pub(crate) seen: Duration,
}

/// Every batch of slices of a file with the time up to which it is complete.
pub(crate) fn slices(
    path: &Path,
    config: &Config,
    interval: Duration,
    each: impl FnMut(u64, Vec<Slice>, bool),
) {
    slices_with_restart(path, config, interval, None, each);
}

/// The same with a tracker that ends after so many intervals, and a new one. `each` is told when that has happened.
pub(crate) fn slices_with_restart(
    path: &Path,
    config: &Config,
    interval: Duration,
    restart_after: Option<usize>,
    mut each: impl FnMut(u64, Vec<Slice>, bool),
) {
    let reading = Reading {
        format: Format::Auto,
        // Records without a time have to have the same every time.
        start_ns: Some(1_700_000_000_000_000_000),
        zone: TimeZone::UTC,
    };
    let source = FileSource::new(path, &BytesRead::default(), &reading.reader());
    let mut replay = Replay::new(vec![Box::new(source)], interval, Tunnels::Outer);
    let mut tracker = Tracker::new(&config.track);
    let mut end_ns = 0;
    let mut intervals = 0;
    while let Some(mut interval) = replay.next_interval() {
        let mut slices = std::mem::take(&mut interval.slices);
        tracker.ingest(&interval.batch.records, &mut slices);
        tracker.close_interval(interval.end_ns, &mut slices);
        end_ns = interval.end_ns;
        intervals += 1;
        let restart = restart_after == Some(intervals);
        if restart {
            tracker.finish(end_ns, &mut slices);
            tracker = Tracker::new(&config.track);
        }
        each(interval.end_ns, slices, restart);
    }
    let mut slices = Vec::new();
    tracker.finish(end_ns, &mut slices);
    each(end_ns, slices, false);
}

/// Puts a batch of slices into an engine.
pub(crate) fn feed(engine: &mut Engine, networks: &Networks, slices: &[Slice]) {
    engine.feed(slices, |slice| {
        let direction = networks.direction(slice.initiator.ip, slice.responder.ip);
        (direction, networks.cast(slice.responder.ip) == Cast::Unicast)
    });
}

pub(crate) fn replayed(path: &Path, config: &Config, interval: Duration) -> Replayed {
    let mut engine = Engine::new(config);
    let networks = Networks::new(&config.networks.internal);
    let mut replayed = Replayed::default();
    slices(path, config, interval, |end_ns, slices, _| {
        for slice in &slices {
            replayed.slices += 1;
            replayed.last_ns = replayed.last_ns.max(slice.last_ns);
            replayed.hosts.extend(
                [slice.initiator.ip, slice.responder.ip]
                    .into_iter()
                    .filter(|ip| networks.contains(*ip)),
            );
        }
        replayed.seen += interval;
        feed(&mut engine, &networks, &slices);
        engine.advance(end_ns);
        replayed.findings.append(&mut engine.drain());
    });
    // Everything that is still open is decided, as it would be in a capture that goes on quietly.
    engine.advance(replayed.last_ns.saturating_add(120_000_000_000));
    replayed.findings.append(&mut engine.drain());
    replayed
}
