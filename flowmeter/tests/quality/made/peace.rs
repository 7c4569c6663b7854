//! What looks like an attack and is none, and an office that is always there.

use std::net::IpAddr;

use super::traffic::{DAY, HOUR, MINUTE, Random, Traffic, inside};

/// Numbers of hosts, from here on.
pub(crate) const WORKSTATIONS: u16 = 0x0100;
const SERVERS: u16 = 0x0200;

pub(crate) struct Peace {
    pub(crate) name: &'static str,
    /// Hosts inside that take part.
    pub(crate) hosts: u16,
    pub(crate) set: &'static [&'static str],
    /// Findings for each host and day, the floor of the test: 0 but where something that is told for good reason is
    /// wanted here.
    pub(crate) most_per_day: f64,
    pub(crate) make: fn(&mut Traffic, &mut Random, u16, f64),
}

pub(crate) fn resolver() -> IpAddr {
    inside(SERVERS + 53)
}

fn server(number: u16) -> IpAddr {
    inside(SERVERS + number)
}

fn workstation(number: u16) -> IpAddr {
    inside(WORKSTATIONS + number)
}

/// Times that come independently, `mean` seconds apart, in the working hours of a day or at any time.
fn times(random: &mut Random, mean: f64, days: f64, working: bool, mut each: impl FnMut(&mut Random, f64)) {
    let mut at = random.wait(mean);
    while at < days * DAY {
        let hour = at % DAY / HOUR;
        if !working || (8.0..18.0).contains(&hour) {
            each(random, at);
        }
        at += random.wait(mean);
    }
}

/// Every so often, more or less by a share of it.
fn every(random: &mut Random, period: f64, jitter: f64, days: f64, mut each: impl FnMut(&mut Random, f64)) {
    let mut at = random.between(0.0, period);
    while at < days * DAY {
        each(random, at);
        at += period * (1.0 + jitter * random.between(-1.0, 1.0));
    }
}

fn lookup(traffic: &mut Traffic, random: &mut Random, from: IpAddr, at: f64) {
    let sent = random.number(55, 85);
    traffic.datagram(
        at,
        (from, resolver(), 53),
        None,
        sent,
        sent + random.number(16, 300),
    );
}

/// A page: a name, and a few connections.
fn visit(traffic: &mut Traffic, random: &mut Random, from: IpAddr, to: IpAddr, at: f64) {
    lookup(traffic, random, from, at);
    for n in 0..random.number(1, 3) {
        let when = at + 0.1 + n as f64 * random.between(0.01, 2.0);
        let received = random.decade(3000.0, 900_000.0) as u64;
        traffic.session(
            when,
            (from, to, 443),
            random.between(0.3, 60.0),
            random.number(600, 6000),
            received,
        );
    }
}

/// Hosts that browse, ask for names and the time, log on and open files.
pub(crate) fn office(traffic: &mut Traffic, random: &mut Random, hosts: u16, days: f64) {
    let sites: Vec<IpAddr> = (0..60).map(|_| random.outside()).collect();
    let clock = random.outside();
    for host in 1..=hosts {
        let from = workstation(host);
        times(random, 400.0, days, true, |random, at| {
            // Some sites are visited far more than others.
            let place = (sites.len() as f64 * random.share() * random.share()) as usize;
            visit(traffic, random, from, sites[place], at);
        });
        // Machines ask for names at night, too.
        times(random, 600.0, days, false, |random, at| {
            lookup(traffic, random, from, at)
        });
        every(random, 1024.0, 0.02, days, |_, at| {
            traffic.datagram(at, (from, clock, 123), Some(123), 76, 76)
        });
        every(random, 1.5 * HOUR, 0.3, days, |random, at| {
            for port in [88, 389, 445, 135] {
                traffic.session(
                    at,
                    (from, server(10), port),
                    2.0,
                    random.number(900, 4000),
                    random.number(900, 6000),
                );
            }
            traffic.session(
                at + 5.0,
                (from, server(11), 445),
                600.0,
                random.number(9000, 90_000),
                random.number(9000, 900_000),
            );
        });
    }
    let upstream = random.outside();
    times(random, 120.0, days, false, |random, at| {
        let sent = random.number(60, 85);
        traffic.datagram(
            at,
            (resolver(), upstream, 53),
            None,
            sent,
            sent + random.number(30, 400),
        );
    });
}

fn time(traffic: &mut Traffic, random: &mut Random, hosts: u16, days: f64) {
    let pool: Vec<IpAddr> = (0..12).map(|_| random.outside()).collect();
    for host in 1..=hosts {
        for _ in 0..4 {
            let (to, period) = (random.one(&pool), random.one(&[64.0, 256.0, 1024.0]));
            let own = random.chance(0.5).then_some(123);
            every(random, period, 0.01, days, |_, at| {
                traffic.datagram(at, (workstation(host), to, 123), own, 76, 76)
            });
        }
    }
}

/// A poller inside: echo, SNMP, services; three hosts are down.
fn monitoring(traffic: &mut Traffic, random: &mut Random, hosts: u16, days: f64) {
    let from = server(90);
    for host in 1..hosts {
        let to = workstation(host);
        let down = host <= 3;
        every(random, 300.0, 0.0, days, |_, at| {
            traffic.echo(at, from, to, !down);
            traffic.datagram(at + 1.0, (from, to, 161), None, 90, if down { 0 } else { 300 });
            for port in [22, 443, 5666] {
                if down {
                    traffic.unanswered(at + 2.0, from, to, port);
                } else {
                    traffic.knock(at + 2.0, from, to, port);
                }
            }
        });
    }
}

/// Every host asks a maker's servers, which are many addresses.
fn updates(traffic: &mut Traffic, random: &mut Random, hosts: u16, days: f64) {
    for _ in 0..4 {
        let servers: Vec<IpAddr> = (0..6).map(|_| random.outside()).collect();
        let period = random.decade(0.5, 6.0) * HOUR;
        for host in 1..=hosts {
            every(random, period, 0.2, days, |random, at| {
                let from = workstation(host);
                lookup(traffic, random, from, at);
                let received = if random.chance(0.05) {
                    random.decade(1e6, 9e7) as u64
                } else {
                    random.number(2000, 9000)
                };
                let to = random.one(&servers);
                traffic.session(at + 0.1, (from, to, 443), 2.0, random.number(700, 1400), received);
            });
        }
    }
}

/// A program of one host alone that reports to its maker every quarter of an hour: a beacon in all but intent.
fn telemetry(traffic: &mut Traffic, random: &mut Random, hosts: u16, days: f64) {
    for host in 1..=hosts {
        let (from, to) = (workstation(host), random.outside());
        every(random, 900.0, 0.03, days, |random, at| {
            traffic.session(at, (from, to, 443), 0.6, random.number(1000, 1100), 900);
        });
    }
}

fn balancer(traffic: &mut Traffic, random: &mut Random, hosts: u16, days: f64) {
    let from = server(80);
    for host in 1..hosts {
        every(random, 10.0, 0.0, days, |_, at| {
            traffic.knock(at, from, server(100 + host), 8080)
        });
    }
    times(random, 5.0, days, false, |random, at| {
        let (from, to) = (random.outside(), from);
        traffic.session(
            at,
            (from, to, 443),
            random.between(0.1, 5.0),
            random.number(600, 4000),
            random.number(2000, 90_000),
        );
    });
}

/// One host that fetches for all others; some of what they ask for is dead.
fn proxy(traffic: &mut Traffic, random: &mut Random, hosts: u16, days: f64) {
    let proxy = server(31);
    let sites: Vec<IpAddr> = (0..2000).map(|_| random.outside()).collect();
    for host in 1..hosts {
        times(random, 240.0, days, true, |random, at| {
            let sent = random.number(500, 5000);
            let received = random.decade(2000.0, 600_000.0) as u64;
            traffic.session(at, (workstation(host), proxy, 3128), 3.0, sent, received);
            let to = random.one(&sites);
            if random.chance(0.02) {
                traffic.unanswered(at + 0.1, proxy, to, 443);
            } else if random.chance(0.01) {
                traffic.refused(at + 0.1, proxy, to, 80);
            } else {
                traffic.session(at + 0.1, (proxy, to, 443), 3.0, sent, received);
            }
        });
    }
}

/// Mail out to hundreds of servers, a tenth of them dead, and in from as many.
fn mail(traffic: &mut Traffic, random: &mut Random, _: u16, days: f64) {
    let relay = server(25);
    let servers: Vec<IpAddr> = (0..400).map(|_| random.outside()).collect();
    times(random, 60.0, days, false, |random, at| {
        lookup(traffic, random, relay, at);
        let place = random.number(0, 399) as usize;
        let bytes = random.decade(3000.0, 900_000.0) as u64;
        match place % 10 {
            0 if place.is_multiple_of(20) => traffic.refused(at + 0.2, relay, servers[place], 25),
            0 => traffic.unanswered(at + 0.2, relay, servers[place], 25),
            _ => traffic.session(at + 0.2, (relay, servers[place], 25), 5.0, bytes, 1200),
        }
    });
    times(random, 60.0, days, false, |random, at| {
        let from = random.outside();
        traffic.session(
            at,
            (from, relay, 25),
            5.0,
            random.decade(3000.0, 900_000.0) as u64,
            1200,
        );
    });
}

/// Every night 2 GB a host to a server inside.
fn backup(traffic: &mut Traffic, random: &mut Random, hosts: u16, days: f64) {
    for host in 1..hosts {
        every(random, DAY, 0.0, days, |random, at| {
            let at = at - at % DAY + 1.0 * HOUR + f64::from(host) * 200.0;
            traffic.session(
                at,
                (workstation(host), server(70), 10_000),
                1800.0,
                2_000_000_000,
                9_000_000 + random.number(0, 900_000),
            );
        });
    }
}

/// The same to a service outside, 1 GB in all.
fn backup_outside(traffic: &mut Traffic, random: &mut Random, hosts: u16, days: f64) {
    let to = random.outside();
    for host in 1..=hosts {
        every(random, DAY, 0.0, days, |random, at| {
            let at = at - at % DAY + 2.0 * HOUR;
            traffic.session(
                at,
                (workstation(host), to, 443),
                3000.0,
                random.number(900_000_000, 1_100_000_000),
                9_000_000,
            );
        });
    }
}

/// A search engine reads a web server here; a host here reads thousands of sites.
fn crawlers(traffic: &mut Traffic, random: &mut Random, _: u16, days: f64) {
    let (web, crawler) = (server(81), server(82));
    let engine = random.outside();
    times(random, 30.0, days, false, |random, at| {
        traffic.session(at, (engine, web, 443), 1.0, 700, random.number(4000, 90_000));
    });
    times(random, 20.0, days, false, |random, at| {
        lookup(traffic, random, crawler, at);
        let to = random.outside();
        if random.chance(0.05) {
            traffic.unanswered(at, crawler, to, 443);
        } else if random.chance(0.03) {
            traffic.refused(at, crawler, to, 443);
        } else {
            traffic.session(at, (crawler, to, 443), 2.0, 900, random.number(4000, 90_000));
        }
    });
}

/// File sharing: peers on any port, most of them gone, and a table of who has what over UDP.
fn peers(traffic: &mut Traffic, random: &mut Random, hosts: u16, days: f64) {
    for host in 1..=hosts {
        let from = workstation(host);
        let own = random.port(20_000, 60_000);
        times(random, 60.0, days, true, |random, at| {
            let port = if random.chance(0.4) {
                random.port(6881, 6889)
            } else {
                random.port(10_000, 65_000)
            };
            let to = random.outside();
            if random.chance(0.55) {
                traffic.unanswered(at, from, to, port);
            } else if random.chance(0.15) {
                traffic.refused(at, from, to, port);
            } else {
                traffic.session(
                    at,
                    (from, to, port),
                    300.0,
                    random.number(2000, 900_000),
                    random.decade(1e5, 3e7) as u64,
                );
            }
        });
        times(random, 20.0, days, true, |random, at| {
            let (to, port) = (random.outside(), random.port(6881, 60_000));
            traffic.datagram(
                at,
                (from, to, port),
                Some(own),
                130,
                if random.chance(0.5) { 300 } else { 0 },
            );
        });
    }
}

/// Heavy browsing: many connections at once to many addresses of the same few networks.
fn browsing(traffic: &mut Traffic, random: &mut Random, hosts: u16, days: f64) {
    let networks: Vec<IpAddr> = (0..20).map(|_| random.outside()).collect();
    for host in 1..=hosts {
        times(random, 90.0, days, true, |random, at| {
            for _ in 0..random.number(4, 15) {
                let IpAddr::V4(near) = random.one(&networks) else {
                    return;
                };
                let [a, b, c, _] = near.octets();
                let to = IpAddr::from([a, b, c, random.number(1, 254) as u8]);
                let when = at + random.between(0.0, 3.0);
                let from = workstation(host);
                if random.chance(0.3) {
                    // QUIC.
                    let bytes = random.between(2.0, 40.0);
                    traffic.stream(
                        when,
                        (from, to, 443),
                        random.between(1.0, 20.0),
                        (bytes / 2.0, bytes),
                        900,
                    );
                } else {
                    traffic.session(
                        when,
                        (from, to, 443),
                        random.between(0.2, 90.0),
                        random.number(500, 9000),
                        random.decade(500.0, 2e6) as u64,
                    );
                }
            }
        });
    }
}

/// A resolver that asks the servers of the names itself.
fn recursion(traffic: &mut Traffic, random: &mut Random, hosts: u16, days: f64) {
    let own = server(54);
    let servers: Vec<IpAddr> = (0..4000).map(|_| random.outside()).collect();
    for host in 1..hosts {
        times(random, 90.0, days, true, |random, at| {
            let sent = random.number(55, 85);
            traffic.datagram(at, (workstation(host), own, 53), None, sent, sent + 90);
            for n in 0..random.number(0, 3) {
                let to = random.one(&servers);
                let answer = if random.chance(0.04) {
                    0
                } else {
                    random.number(90, 900)
                };
                traffic.datagram(
                    at + 0.005 + n as f64 * 0.02,
                    (own, to, 53),
                    None,
                    sent + 11,
                    answer,
                );
                if random.chance(0.01) {
                    traffic.session(at + 0.1, (own, to, 53), 0.2, 90, 1800);
                }
            }
        });
    }
}

/// A scanner that is meant to scan.
fn scanner(traffic: &mut Traffic, random: &mut Random, hosts: u16, days: f64) {
    let from = server(99);
    every(random, DAY, 0.1, days, |random, at| {
        for host in 1..hosts {
            for n in 0..60 {
                let (when, port) = (at + f64::from(host * 60 + n) * 0.2, random.port(1, 10_000));
                traffic.refused(when, from, workstation(host), port);
            }
            traffic.session(
                at + f64::from(host) * 12.0 + 11.0,
                (from, workstation(host), 445),
                3.0,
                4000,
                6000,
            );
        }
    });
}

/// A gateway behind whose one address many hosts browse and ask.
fn gateway(traffic: &mut Traffic, random: &mut Random, hosts: u16, days: f64) {
    let from = server(1);
    let sites: Vec<IpAddr> = (0..800).map(|_| random.outside()).collect();
    let names = random.outside();
    for _ in 0..hosts {
        times(random, 120.0, days, true, |random, at| {
            let sent = random.number(55, 85);
            traffic.datagram(at, (from, names, 53), None, sent, sent + 120);
            let to = random.one(&sites);
            match random.number(0, 99) {
                0..=2 => traffic.unanswered(at + 0.1, from, to, 443),
                3 => traffic.refused(at + 0.1, from, to, 443),
                _ => traffic.session(
                    at + 0.1,
                    (from, to, 443),
                    8.0,
                    random.number(600, 9000),
                    random.decade(2000.0, 2e6) as u64,
                ),
            }
        });
        // A phone's push service, one of five makers'.
        let to = sites[random.number(0, 4) as usize];
        every(random, 1700.0, 0.1, days, |_, at| {
            traffic.session(at, (from, to, 5228), 1600.0, 3000, 3000)
        });
    }
}

/// Calls and games: registrations, long streams both ways, relays.
fn voice(traffic: &mut Traffic, random: &mut Random, hosts: u16, days: f64) {
    let (registrar, relay) = (random.outside(), random.outside());
    for host in 1..=hosts {
        let from = workstation(host);
        every(random, 60.0, 0.0, days, |_, at| {
            traffic.datagram(at, (from, registrar, 5060), Some(5060), 500, 400)
        });
        times(random, 2.0 * HOUR, days, true, |random, at| {
            let lasts = random.between(60.0, 2400.0);
            traffic.datagram(at, (from, relay, 3478), None, 60, 100);
            traffic.stream(
                at + 1.0,
                (from, random.outside(), random.port(10_000, 60_000)),
                lasts,
                (50.0, 50.0),
                200,
            );
        });
        // A game, over a server of the day.
        let to = random.outside();
        times(random, 8.0 * HOUR, days, true, |random, at| {
            traffic.stream(
                at,
                (from, to, 27_015),
                random.between(600.0, 5400.0),
                (60.0, 30.0),
                120,
            );
        });
    }
}

/// People who administer: from the two hosts from which they always do.
fn administration(traffic: &mut Traffic, random: &mut Random, hosts: u16, days: f64) {
    for admin in 0..2 {
        times(random, 900.0, days, true, |random, at| {
            let to = server(100 + random.number(1, u64::from(hosts)) as u16);
            let port = random.one(&[22, 22, 3389, 5985]);
            traffic.session(
                at,
                (server(40 + admin), to, port),
                random.between(5.0, 1800.0),
                random.number(4000, 90_000),
                random.number(4000, 900_000),
            );
        });
    }
}

/// Cameras, thermostats: long connections with a sign of life, new ones when they break.
fn devices(traffic: &mut Traffic, random: &mut Random, hosts: u16, days: f64) {
    let cloud = random.outside();
    for host in 1..=hosts {
        times(random, 3.0 * HOUR, days, false, |random, at| {
            traffic.session(
                at,
                (workstation(host), cloud, 8883),
                random.between(0.5, 3.0) * HOUR,
                40_000,
                40_000,
            );
        });
        every(random, 10.0 * MINUTE, 0.01, days, |random, at| {
            traffic.session(
                at,
                (workstation(host), cloud, 443),
                1.0,
                random.number(800, 5000),
                700,
            );
        });
    }
}

macro_rules! peace {
    ($($name:literal, $hosts:literal, $most:literal, $set:expr, $make:ident;)*) => {
        pub(crate) const PEACE: &[Peace] = &[$(Peace { name: $name, hosts: $hosts, most_per_day: $most, set: $set, make: $make }),*];
    };
}

peace! {
    "office: browsing, names, time, logons, files", 20, 0.0, &[], office;
    "time (NTP) from a pool", 20, 0.0, &[], time;
    "monitoring polls, 3 of 40 hosts down", 41, 0.0, &[], monitoring;
    "updates, every 0.5 to 6 h", 20, 0.0, &[], updates;
    "one host's telemetry every 15 min", 4, 0.34, &[], telemetry;
    "load balancer with health checks", 13, 0.0, &[], balancer;
    "web proxy", 41, 0.0, &[], proxy;
    "mail relay, a tenth of the servers dead", 1, 0.0, &[], mail;
    "backup inside", 13, 0.0, &[], backup;
    "backup to a service outside, 1 GB a night", 2, 0.34, &[], backup_outside;
    "crawlers, both ways", 2, 0.0, &[], crawlers;
    "file sharing", 3, 0.34, &[], peers;
    "heavy browsing of shared networks", 10, 0.0, &[], browsing;
    "resolver that recurses", 31, 0.0, &[], recursion;
    "scanner in `networks.scanners`", 21, 0.0, &["networks.scanners=10.40.2.99"], scanner;
    "gateway with address translation", 60, 0.0, &[], gateway;
    "calls and games", 6, 0.0, &[], voice;
    "administration from the usual hosts", 14, 0.0, &[], administration;
    "devices with a cloud", 8, 0.0, &[], devices;
}
