//! A break-in from outside, through real sockets: what the detectors are there for.
//!
//! Only what makes them speak with their default settings within the time of a demo.

use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{
    network::{INSIDE_V4, Network, OUTSIDE_V4},
    traffic::{exchange, flood, questions, refused},
};
use crate::{
    process::{self, step},
    signals,
};

/// What has to be found, all kinds: each act of [`play`] and [`beacon`]; among the ordinary traffic is a first session
/// inside.
pub(super) const EXPECTED: [&str; 9] = [
    "possible_port_scan",
    "external_inbound_sensitive",
    "scan_escalation",
    "possible_lateral_movement",
    "suspicious_dns_flow",
    "unusual_outbound_port",
    "high_outbound_bytes",
    "possible_beaconing",
    "possible_dos",
];

/// Closed ones, over `detect.port_scan.targets`.
const SCANNED: [u16; 24] = [
    21, 23, 25, 80, 110, 111, 135, 139, 143, 389, 445, 587, 631, 993, 1433, 1521, 2049, 3306, 3389, 5432,
    5900, 6379, 8080, 9200,
];
/// Of the payload: long names, over `detect.dns.query_bytes`.
const QUERY_BYTES: usize = 180;
const QUERIES: usize = 150;
/// Over `detect.outbound_bytes.hour_bytes`.
const UPLOAD_BYTES: u64 = 120_000_000;
/// Over `detect.dos.sources` within 10 s.
const SYNS: u16 = 3000;
const FLOOD: Duration = Duration::from_secs(3);
const PERIOD: Duration = Duration::from_secs(3);
/// A beacon is told from a minute of contacts on; with room for a slow machine.
const CONTACTS: u32 = 30;

/// Everything but the beacon, which takes its time.
pub(super) fn play(network: &Network) -> Result<()> {
    let (inside, outside) = (&network.inside, &network.outside);
    step(&format!(
        "a port scan: {OUTSIDE_V4} tries {} ports of {INSIDE_V4}",
        SCANNED.len()
    ));
    for port in SCANNED {
        refused(outside, INSIDE_V4, port)?;
    }
    step("an inbound connection: a session over SSH from outside");
    exchange(outside, inside, at(INSIDE_V4, 22), 2_000, 20_000)?;
    step(&format!("a DNS tunnel: {QUERIES} long queries over one socket"));
    questions(inside, outside, OUTSIDE_V4, 53, QUERY_BYTES, QUERIES)?;
    step("an outbound connection to port 4444, as remote shells have it");
    exchange(inside, outside, at(OUTSIDE_V4, 4444), 3_000, 500)?;
    step(&format!(
        "an outbound transfer of {} MB",
        UPLOAD_BYTES / 1_000_000
    ));
    exchange(inside, outside, at(OUTSIDE_V4, 443), UPLOAD_BYTES, 1_000)?;
    step(&format!(
        "a flood: {SYNS} SYNs to {INSIDE_V4} from as many addresses within {} s",
        FLOOD.as_secs()
    ));
    flood(outside, INSIDE_V4, 443, SYNS, FLOOD)
}

/// A contact every few seconds, until it was `found`.
pub(super) fn beacon(network: &Network, found: &AtomicBool) -> Result<()> {
    step(&format!(
        "a beacon: {INSIDE_V4} calls {OUTSIDE_V4} every {} s; it is told from a minute on",
        PERIOD.as_secs()
    ));
    let begin = Instant::now();
    for contact in 0..CONTACTS {
        let due = begin + PERIOD * contact;
        while Instant::now() < due {
            signals::check()?;
            if found.load(Ordering::Relaxed) {
                return Ok(());
            }
            thread::sleep(process::POLL.min(due.saturating_duration_since(Instant::now())));
        }
        exchange(&network.inside, &network.outside, at(OUTSIDE_V4, 8443), 300, 200)?;
    }
    Ok(())
}

const fn at(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip, port)
}
