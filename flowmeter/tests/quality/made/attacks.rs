//! Kinds of attacks, each from so plain that anybody sees it to so faint that it is a matter of taste. Rates are drawn
//! anew for each run, a range for each strength.

use std::net::IpAddr;

use flowmeter_common::flow::tcp_flags::{ACK, FIN, PSH, RST, SYN, URG};

use super::traffic::{DAY, HOUR, MINUTE, Random, Traffic, inside};

/// What has to be told of an attack.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    /// The name of a finding, or `brute_force`.
    pub(crate) expect: &'static str,
    pub(crate) source: Option<IpAddr>,
    pub(crate) destination: Option<IpAddr>,
}

pub(crate) struct Attack {
    pub(crate) expect: &'static str,
    pub(crate) name: &'static str,
    /// What the strengths are, strongest first.
    pub(crate) strengths: [&'static str; 3],
    /// Days before the attack, and with it.
    pub(crate) days: f64,
    pub(crate) make: fn(&mut Traffic, &mut Random, usize, f64) -> Wanted,
}

const fn wanted(expect: &'static str, source: Option<IpAddr>, destination: Option<IpAddr>) -> Wanted {
    Wanted {
        expect,
        source,
        destination,
    }
}

fn scan(source: IpAddr) -> Wanted {
    wanted("possible_port_scan", Some(source), None)
}

fn dos(victim: IpAddr) -> Wanted {
    wanted("possible_dos", None, Some(victim))
}

/// Attackers and victims that the office does not have.
const BAD: u16 = 0x0901;
const VICTIM: u16 = 0x0a01;

/// Steps so far apart until the end of a time, each a tenth of that early or late.
fn steps(random: &mut Random, at: f64, every: f64, lasts: f64, mut each: impl FnMut(&mut Random, f64)) {
    let mut when = at;
    while when < at + lasts {
        let off = every * random.between(-0.1, 0.1);
        each(random, (when + off).max(at));
        when += every;
    }
}

fn port(random: &mut Random) -> u16 {
    if random.chance(0.3) {
        random.one(&[
            21, 22, 23, 25, 80, 135, 139, 443, 445, 1433, 3306, 3389, 5432, 5900, 8080, 8443,
        ])
    } else {
        random.port(1, 49_151)
    }
}

fn scan_ports(traffic: &mut Traffic, random: &mut Random, strength: usize, at: f64) -> Wanted {
    let (from, to) = (inside(BAD), inside(VICTIM));
    let every = [
        random.between(1.0, 30.0),
        random.between(120.0, 900.0),
        random.between(1800.0, 4000.0),
    ][strength];
    let lasts = [600.0, 6.0 * HOUR, DAY][strength];
    let filtered = random.share();
    steps(random, at, every, lasts, |random, when| {
        let port = port(random);
        if random.chance(0.05) {
            traffic.knock(when, from, to, port);
        } else if random.chance(filtered) {
            traffic.unanswered(when, from, to, port);
        } else {
            traffic.refused(when, from, to, port);
        }
    });
    scan(from)
}

fn scan_hosts(traffic: &mut Traffic, random: &mut Random, strength: usize, at: f64) -> Wanted {
    let from = random.outside();
    let every = [
        random.between(0.5, 20.0),
        random.between(60.0, 600.0),
        random.between(1800.0, 3600.0),
    ][strength];
    let lasts = [900.0, 6.0 * HOUR, DAY][strength];
    let port = random.one(&[22, 23, 445, 1433, 3389, 5555, 5900, 6379, 8291, 9200]);
    let open = random.between(0.0, 0.2);
    let mut number = 0x0b00;
    steps(random, at, every, lasts, |random, when| {
        number += 1;
        if random.chance(open) {
            traffic.knock(when, from, inside(number), port);
        } else if random.chance(0.3) {
            traffic.refused(when, from, inside(number), port);
        } else {
            traffic.unanswered(when, from, inside(number), port);
        }
    });
    scan(from)
}

fn sweep(traffic: &mut Traffic, random: &mut Random, strength: usize, at: f64) -> Wanted {
    let from = inside(BAD);
    let every = [
        random.between(0.01, 1.0),
        random.between(5.0, 60.0),
        random.between(300.0, 900.0),
    ][strength];
    let alive = random.between(0.1, 0.6);
    let mut number = 0x0b00;
    steps(random, at, every, every * 120.0, |random, when| {
        number += 1;
        let answered = random.chance(alive);
        traffic.echo(when, from, inside(number), answered);
    });
    scan(from)
}

fn scan_udp(traffic: &mut Traffic, random: &mut Random, strength: usize, at: f64) -> Wanted {
    let (from, to) = (random.outside(), inside(VICTIM));
    let every = [
        random.between(0.1, 2.0),
        random.between(10.0, 120.0),
        random.between(600.0, 1800.0),
    ][strength];
    steps(random, at, every, every * 60.0, |random, when| {
        let port = random.port(1, 10_000);
        traffic.datagram(when, (from, to, port), None, 60, 0);
    });
    scan(from)
}

fn scan_stealth(traffic: &mut Traffic, random: &mut Random, strength: usize, at: f64) -> Wanted {
    let (from, to) = (random.outside(), inside(VICTIM));
    let every = [
        random.between(0.1, 2.0),
        random.between(10.0, 120.0),
        random.between(900.0, 3600.0),
    ][strength];
    let flags = random.one(&[FIN, 0, FIN | PSH | URG]);
    steps(random, at, every, every * 24.0, |random, when| {
        let answer = random.chance(0.5).then_some(RST | ACK);
        let port = port(random);
        traffic.probe(when, from, to, port, flags, answer);
    });
    scan(from)
}

/// Gaps of a period with a jitter to either side, a few missed, a night's sleep among them.
fn beat(
    random: &mut Random,
    period: f64,
    jitter: f64,
    count: u32,
    at: f64,
    mut each: impl FnMut(&mut Random, f64),
) {
    let mut when = at;
    let asleep = random.chance(0.5).then(|| random.number(1, count.into()));
    for n in 0..count {
        if !random.chance(0.05) {
            each(random, when);
        }
        when += period * (1.0 + jitter * random.between(-1.0, 1.0));
        if asleep == Some(n.into()) && period < HOUR {
            when += random.between(1.0, 9.0) * HOUR;
        }
    }
}

fn beacon(traffic: &mut Traffic, random: &mut Random, jitter: f64, period: f64, at: f64) -> Wanted {
    let (from, to) = (inside(BAD), random.outside());
    let port = random.one(&[80, 443, 443, 443, 8080, 8443, 4433, 50_050]);
    let (sent, received) = (random.number(120, 3000), random.number(100, 6000));
    let count = if period > HOUR { 14 } else { 40 };
    beat(random, period, jitter, count, at, |random, when| {
        // Now and then there is something to tell.
        let more = if random.chance(0.1) {
            random.number(1000, 40_000)
        } else {
            0
        };
        let lasts = random.between(0.2, 2.0);
        traffic.session(when, (from, to, port), lasts, sent + more, received);
    });
    wanted("possible_beaconing", Some(from), Some(to))
}

fn beacon_minutes(traffic: &mut Traffic, random: &mut Random, strength: usize, at: f64) -> Wanted {
    let period = random.decade(60.0, 600.0);
    beacon(traffic, random, [0.02, 0.2, 0.4][strength], period, at)
}

fn beacon_hour(traffic: &mut Traffic, random: &mut Random, strength: usize, at: f64) -> Wanted {
    let period = random.decade(900.0, 3600.0);
    beacon(traffic, random, [0.02, 0.2, 0.4][strength], period, at)
}

fn beacon_hours(traffic: &mut Traffic, random: &mut Random, strength: usize, at: f64) -> Wanted {
    let period = random.decade(2.0 * HOUR, 6.0 * HOUR);
    beacon(traffic, random, [0.02, 0.2, 0.4][strength], period, at)
}

fn beacon_udp(traffic: &mut Traffic, random: &mut Random, strength: usize, at: f64) -> Wanted {
    let (from, to) = (inside(BAD), random.outside());
    let period = random.decade(60.0, 1200.0);
    let port = random.port(1024, 40_000);
    let size = random.number(60, 400);
    beat(random, period, [0.02, 0.2, 0.4][strength], 40, at, |_, when| {
        traffic.datagram(when, (from, to, port), None, size, size / 2);
    });
    wanted("possible_beaconing", Some(from), Some(to))
}

/// A server that is gone is called again and again.
fn beacon_dead(traffic: &mut Traffic, random: &mut Random, strength: usize, at: f64) -> Wanted {
    let (from, to) = (inside(BAD), random.outside());
    let period = random.decade(30.0, 600.0);
    beat(random, period, [0.02, 0.2, 0.4][strength], 60, at, |_, when| {
        traffic.unanswered(when, from, to, 443);
    });
    wanted("possible_beaconing", Some(from), Some(to))
}

fn spoofed(
    traffic: &mut Traffic,
    random: &mut Random,
    per_second: f64,
    flags: u8,
    answer: Option<u8>,
    at: f64,
) -> Wanted {
    let to = inside(VICTIM);
    let port = random.one(&[25, 53, 80, 443, 8080]);
    let mut when = at;
    while when < at + 40.0 {
        when += random.wait(1.0 / per_second);
        let (from, own) = (random.outside(), random.port(1024, 65_535));
        traffic.stray(when, (from, to, port), own, flags, answer);
    }
    dos(to)
}

fn syn_spoofed(traffic: &mut Traffic, random: &mut Random, strength: usize, at: f64) -> Wanted {
    let rate = [
        random.decade(600.0, 2000.0),
        random.decade(150.0, 600.0),
        random.decade(20.0, 60.0),
    ][strength];
    let answer = random.chance(0.5).then_some(SYN | ACK);
    spoofed(traffic, random, rate, SYN, answer, at)
}

fn ack_spoofed(traffic: &mut Traffic, random: &mut Random, strength: usize, at: f64) -> Wanted {
    let rate = [
        random.decade(600.0, 2000.0),
        random.decade(150.0, 600.0),
        random.decade(20.0, 60.0),
    ][strength];
    let answer = random.chance(0.5).then_some(RST);
    spoofed(traffic, random, rate, ACK, answer, at)
}

/// One source with its own address, one port of the victim.
fn syn_single(traffic: &mut Traffic, random: &mut Random, strength: usize, at: f64) -> Wanted {
    let rate = [
        random.decade(600.0, 2000.0),
        random.decade(150.0, 600.0),
        random.decade(20.0, 60.0),
    ][strength];
    let (from, to) = (random.outside(), inside(VICTIM));
    let mut when = at;
    while when < at + 40.0 {
        when += random.wait(1.0 / rate);
        let own = random.port(1024, 65_535);
        traffic.stray(
            when,
            (from, to, 80),
            own,
            SYN,
            random.chance(0.5).then_some(SYN | ACK),
        );
    }
    dos(to)
}

fn udp_spoofed(traffic: &mut Traffic, random: &mut Random, strength: usize, at: f64) -> Wanted {
    let rate = [
        random.decade(600.0, 2000.0),
        random.decade(150.0, 600.0),
        random.decade(20.0, 60.0),
    ][strength];
    let to = inside(VICTIM);
    let length = random.number(28, 1400);
    let mut when = at;
    while when < at + 40.0 {
        when += random.wait(1.0 / rate);
        let (from, port) = (random.outside(), random.port(1, 65_535));
        traffic.datagram(when, (from, to, port), None, length, 0);
    }
    dos(to)
}

fn volume(traffic: &mut Traffic, random: &mut Random, strength: usize, port: u16, at: f64) -> Wanted {
    let rate = [
        random.decade(20_000.0, 200_000.0),
        random.decade(6000.0, 20_000.0),
        random.decade(500.0, 2000.0),
    ][strength];
    let (from, to) = (random.outside(), inside(VICTIM));
    let length = random.number(64, 1400);
    traffic.flood(at, (from, to, port), 60.0, rate, length);
    dos(to)
}

fn udp_volume(traffic: &mut Traffic, random: &mut Random, strength: usize, at: f64) -> Wanted {
    let port = random.port(1, 65_535);
    volume(traffic, random, strength, port, at)
}

fn icmp_volume(traffic: &mut Traffic, random: &mut Random, strength: usize, at: f64) -> Wanted {
    volume(traffic, random, strength, 0, at)
}

fn reflection(traffic: &mut Traffic, random: &mut Random, strength: usize, at: f64) -> Wanted {
    let rate = [
        random.decade(600.0, 2000.0),
        random.decade(150.0, 600.0),
        random.decade(20.0, 60.0),
    ][strength];
    let to = inside(VICTIM);
    let (port, tcp) = random.one(&[
        (53, false),
        (123, false),
        (389, false),
        (1900, false),
        (11_211, false),
        (443, true),
    ]);
    let mut when = at;
    while when < at + 40.0 {
        when += random.wait(1.0 / rate);
        let (from, own) = (random.outside(), random.port(1024, 65_535));
        let bytes = if tcp { 44 } else { random.number(400, 4000) };
        traffic.answer(when, (from, port), (to, own), tcp, bytes);
    }
    dos(to)
}

fn slow_requests(traffic: &mut Traffic, random: &mut Random, strength: usize, at: f64) -> Wanted {
    let many = [
        random.number(1500, 4000),
        random.number(700, 1500),
        random.number(60, 150),
    ][strength];
    let (from, to) = (random.outside(), inside(VICTIM));
    for _ in 0..many {
        let when = at + random.between(0.0, 120.0);
        traffic.session(when, (from, to, 80), random.between(400.0, 600.0), 400, 0);
    }
    dos(to)
}

fn tunnel(
    traffic: &mut Traffic,
    random: &mut Random,
    strength: usize,
    to: IpAddr,
    kept: bool,
    at: f64,
) -> Wanted {
    // A host that has asked for names in peace before.
    let from = inside(super::peace::WORKSTATIONS + 2);
    let (every, low, high) = [
        (random.decade(0.02, 0.3), 150, 230),
        (random.decade(0.5, 5.0), 120, 200),
        (random.decade(10.0, 60.0), 75, 105),
    ][strength];
    let own = kept.then(|| random.port(32_768, 60_000));
    let lasts = (every * 400.0).max(600.0);
    let mut when = at;
    while when < at + lasts {
        when += random.wait(every);
        let sent = random.number(low, high);
        traffic.datagram(when, (from, to, 53), own, sent, sent + random.number(20, 200));
    }
    wanted("suspicious_dns_flow", Some(from), Some(to))
}

fn tunnel_outside(traffic: &mut Traffic, random: &mut Random, strength: usize, at: f64) -> Wanted {
    let (to, kept) = (random.outside(), random.chance(0.5));
    tunnel(traffic, random, strength, to, kept, at)
}

fn tunnel_resolver(traffic: &mut Traffic, random: &mut Random, strength: usize, at: f64) -> Wanted {
    let kept = random.chance(0.5);
    tunnel(traffic, random, strength, super::peace::resolver(), kept, at)
}

fn guess(
    traffic: &mut Traffic,
    random: &mut Random,
    strength: usize,
    from: IpAddr,
    port: u16,
    at: f64,
) -> Wanted {
    let to = inside(VICTIM);
    let every = [
        random.decade(0.2, 2.0),
        random.decade(5.0, 15.0),
        random.decade(25.0, 60.0),
    ][strength];
    let (sent, received, lasts) = match port {
        22 => (
            random.number(1200, 2600),
            random.number(1500, 3000),
            random.between(1.0, 9.0),
        ),
        3389 => (
            random.number(800, 2200),
            random.number(1200, 4000),
            random.between(0.5, 4.0),
        ),
        _ => (
            random.number(700, 1500),
            random.number(700, 1600),
            random.between(0.05, 0.5),
        ),
    };
    steps(random, at, every, every * 80.0, |random, when| {
        let (name, lasts) = (random.number(0, 24), lasts * random.between(0.8, 1.3));
        traffic.session(when, (from, to, port), lasts, sent + name, received);
    });
    wanted("brute_force", Some(from), Some(to))
}

fn guess_ssh(traffic: &mut Traffic, random: &mut Random, strength: usize, at: f64) -> Wanted {
    let from = if random.chance(0.5) {
        random.outside()
    } else {
        inside(BAD)
    };
    guess(traffic, random, strength, from, 22, at)
}

fn guess_rdp(traffic: &mut Traffic, random: &mut Random, strength: usize, at: f64) -> Wanted {
    let from = if random.chance(0.5) {
        random.outside()
    } else {
        inside(BAD)
    };
    guess(traffic, random, strength, from, 3389, at)
}

fn guess_smb(traffic: &mut Traffic, random: &mut Random, strength: usize, at: f64) -> Wanted {
    guess(traffic, random, strength, inside(BAD), 445, at)
}

fn exfiltrate(traffic: &mut Traffic, random: &mut Random, strength: usize, at: f64) -> Wanted {
    let (from, to) = (inside(BAD), random.outside());
    let (megabytes, lasts) = [
        (random.decade(200.0, 2000.0), random.between(300.0, 1800.0)),
        (random.decade(400.0, 800.0), random.between(6.0, 10.0) * HOUR),
        (random.decade(300.0, 450.0), 23.0 * HOUR),
    ][strength];
    // One connection, or one for each piece.
    let pieces = if random.chance(0.3) {
        1
    } else {
        random.number(20, 200)
    };
    for piece in 0..pieces {
        let share = 1.0 / pieces as f64;
        let when = at + lasts * piece as f64 * share;
        let bytes = (megabytes * 1e6 * share) as u64;
        traffic.session(
            when,
            (from, to, 443),
            lasts * share * 0.6,
            bytes,
            bytes / 40 + 4000,
        );
    }
    wanted("high_outbound_bytes", Some(from), None)
}

fn lateral(traffic: &mut Traffic, random: &mut Random, strength: usize, at: f64) -> Wanted {
    // A workstation of the office.
    let from = inside(super::peace::WORKSTATIONS + 1);
    let hosts = [10, 4, 1][strength];
    let port = random.one(&[22, 135, 445, 3389, 5985]);
    for n in 0..hosts {
        let when = at + f64::from(n) * random.between(60.0, 400.0);
        let lasts = random.between(5.0, 300.0);
        traffic.session(
            when,
            (from, inside(0x0b01 + n), port),
            lasts,
            random.number(4000, 90_000),
            random.number(4000, 90_000),
        );
    }
    wanted("possible_lateral_movement", Some(from), None)
}

fn inbound(traffic: &mut Traffic, random: &mut Random, strength: usize, at: f64) -> Wanted {
    let to = inside(VICTIM);
    let port = random.one(&[22, 23, 445, 1433, 3306, 3389, 5900, 6379, 9200]);
    for _ in 0..[50, 5, 1][strength] {
        let (when, from) = (at + random.between(0.0, 4.0 * HOUR), random.outside());
        traffic.session(
            when,
            (from, to, port),
            random.between(1.0, 600.0),
            random.number(800, 90_000),
            random.number(800, 90_000),
        );
    }
    wanted("external_inbound_sensitive", None, Some(to))
}

fn rare_port(traffic: &mut Traffic, random: &mut Random, strength: usize, at: f64) -> Wanted {
    let (from, to) = (inside(BAD), random.outside());
    let port = [
        random.one(&[4444, 31_337, 1337]),
        random.port(10_000, 48_000),
        random.port(1024, 9000) | 1,
    ][strength];
    traffic.session(
        at,
        (from, to, port),
        random.between(20.0, 3000.0),
        random.number(2000, 90_000),
        random.number(2000, 90_000),
    );
    wanted("unusual_outbound_port", Some(from), Some(to))
}

/// A scan, and a session to what was found open.
fn escalate(traffic: &mut Traffic, random: &mut Random, strength: usize, at: f64) -> Wanted {
    let (from, to) = (inside(BAD), inside(VICTIM));
    let every = [1.0, 60.0, 600.0][strength] * random.between(0.5, 1.5);
    steps(random, at, every, every * 60.0, |random, when| {
        let port = port(random);
        traffic.refused(when, from, to, port);
    });
    traffic.session(
        at + every * 60.0 + random.between(10.0, 1800.0),
        (from, to, 8009),
        60.0,
        20_000,
        60_000,
    );
    wanted("scan_escalation", Some(from), Some(to))
}

const SPOOFED: [&str; 3] = [
    "600 to 2,000 a second",
    "150 to 600 a second",
    "20 to 60 a second",
];
const VOLUME: [&str; 3] = [
    "20,000 to 200,000 packets a second",
    "6,000 to 20,000 a second",
    "500 to 2,000 a second",
];
const JITTER: [&str; 3] = ["jitter 2 %", "jitter 20 %", "jitter 40 %"];
const TUNNEL: [&str; 3] = [
    "3 to 50 queries a second of 150 to 230 bytes",
    "one every 0.5 to 5 s of 120 to 200 bytes",
    "one every 10 to 60 s of 75 to 105 bytes",
];
const GUESS: [&str; 3] = ["every 0.2 to 2 s", "every 5 to 15 s", "every 25 to 60 s"];

macro_rules! attacks {
    ($($expect:literal, $name:literal, $strengths:expr, $days:expr, $make:ident;)*) => {
        pub(crate) const ATTACKS: &[Attack] = &[$(Attack { expect: $expect, name: $name, strengths: $strengths, days: $days, make: $make }),*];
    };
}

attacks! {
    "possible_port_scan", "ports of a host", ["every 1 to 30 s", "every 2 to 15 min", "every 30 to 67 min"], 2.0, scan_ports;
    "possible_port_scan", "a port of many hosts", ["every 0.5 to 20 s", "every 1 to 10 min", "every 30 to 60 min"], 2.0, scan_hosts;
    "possible_port_scan", "ICMP echo sweep", ["every 0.01 to 1 s", "every 5 to 60 s", "every 5 to 15 min"], 2.0, sweep;
    "possible_port_scan", "UDP ports of a host", ["every 0.1 to 2 s", "every 10 to 120 s", "every 10 to 30 min"], 2.0, scan_udp;
    "possible_port_scan", "FIN, NULL, Xmas", ["every 0.1 to 2 s", "every 10 to 120 s", "every 15 to 60 min"], 2.0, scan_stealth;
    "possible_beaconing", "every 1 to 10 min", JITTER, 2.0, beacon_minutes;
    "possible_beaconing", "every 15 to 60 min", JITTER, 3.0, beacon_hour;
    "possible_beaconing", "every 2 to 6 h", JITTER, 4.0, beacon_hours;
    "possible_beaconing", "over UDP, every 1 to 20 min", JITTER, 2.0, beacon_udp;
    "possible_beaconing", "to a dead host, every 0.5 to 10 min", JITTER, 2.0, beacon_dead;
    "possible_dos", "SYN, spoofed sources", SPOOFED, 2.0, syn_spoofed;
    "possible_dos", "SYN, one source", SPOOFED, 2.0, syn_single;
    "possible_dos", "bare ACK, spoofed sources", SPOOFED, 2.0, ack_spoofed;
    "possible_dos", "UDP, spoofed sources", SPOOFED, 2.0, udp_spoofed;
    "possible_dos", "UDP, one source", VOLUME, 2.0, udp_volume;
    "possible_dos", "ICMP echo, one source", VOLUME, 2.0, icmp_volume;
    "possible_dos", "reflection", SPOOFED, 2.0, reflection;
    "possible_dos", "requests that are never finished", ["1,500 to 4,000 held open", "700 to 1,500", "60 to 150"], 2.0, slow_requests;
    "suspicious_dns_flow", "tunnel to a host outside", TUNNEL, 2.0, tunnel_outside;
    "suspicious_dns_flow", "tunnel through the resolver", TUNNEL, 2.0, tunnel_resolver;
    "brute_force", "SSH", GUESS, 2.0, guess_ssh;
    "brute_force", "RDP", GUESS, 2.0, guess_rdp;
    "brute_force", "SMB", GUESS, 2.0, guess_smb;
    "high_outbound_bytes", "to one host outside", ["200 to 2,000 MB within 5 to 30 min", "400 to 800 MB within 6 to 10 h", "300 to 450 MB within 23 h"], 2.0, exfiltrate;
    "possible_lateral_movement", "a workstation logs in elsewhere", ["10 hosts", "4 hosts", "1 host"], 2.0, lateral;
    "external_inbound_sensitive", "sessions from outside", ["50", "5", "1"], 2.0, inbound;
    "unusual_outbound_port", "a session outside", ["port 4444, 31337 or 1337", "a port over 10,000", "a port below 9,000"], 2.0, rare_port;
    "scan_escalation", "a session after a scan", ["a port a second", "a port a minute", "a port every 10 min"], 2.0, escalate;
}

/// When attacks begin: after the time of learning.
pub(crate) const AT: f64 = 25.0 * HOUR + 7.0 * MINUTE;
