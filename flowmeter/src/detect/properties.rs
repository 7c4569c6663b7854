//! What must not matter: the order within a batch, the drain interval, the week, the names of hosts, what others do,
//! a restart. On made-up traffic here; on captures in `tests/detect`.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use proptest::prelude::*;

use super::{
    Engine, Finding, Phase, Tag, outbound,
    sketch::hash,
    wire::{Wire, config, feed},
};
use crate::config::Config;
use flowmeter_common::flow::tcp_flags::{FIN, RST, SYN};

const INSIDE: [&str; 4] = ["10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.8"];
const OUTSIDE: [&str; 4] = ["203.0.113.7", "203.0.113.8", "198.51.100.7", "198.51.100.8"];

/// One thing that some host does, as numbers.
type Deed = (u8, u8, u8, u16, u16);

const KINDS: u8 = 13;

/// Any few, or one of each kind, by hosts that do not get in each other's way.
fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let any = (0..KINDS, 0..4_u8, 0..4_u8, 0..2000_u16, 0..1000_u16);
    let few = prop::collection::vec(any, 1..7);
    let times = prop::collection::vec((0..2000_u16, 0..1000_u16), usize::from(KINDS));
    let each = times.prop_map(|times| {
        let one = |(kind, (start, salt)): (u8, (u16, u16))| {
            let (inside, outside) = HOSTS[usize::from(kind)];
            (kind, inside, outside, start, salt)
        };
        (0..KINDS).zip(times).map(one).collect()
    });
    prop_oneof![3 => few, 1 => each]
}

/// Who does what where each kind is done once.
const HOSTS: [(u8, u8); KINDS as usize] = [
    (0, 0),
    (1, 0),
    (0, 1),
    (0, 2),
    (2, 3),
    (0, 2),
    (3, 0),
    (1, 2),
    (0, 2),
    (0, 3),
    (0, 0),
    (2, 0),
    (3, 3),
];

/// Where each kind was done, each detector has spoken: nothing is compared with nothing.
fn all_speak(deeds: &[Deed], findings: &[Finding]) -> Result<(), TestCaseError> {
    let each = deeds.iter().zip(0..KINDS).filter(|(deed, kind)| deed.0 == *kind);
    if each.count() == usize::from(KINDS) {
        for tag in Tag::ALL.into_iter().filter(|tag| *tag != Tag::Overflow) {
            let told = findings
                .iter()
                .any(|finding| finding.tag == tag && finding.phase == Phase::Start);
            prop_assert!(told, "nothing of {}", tag.name());
        }
    }
    Ok(())
}

/// All at other times: what happens in the same nanosecond has no order.
fn traffic(deeds: &[Deed]) -> Wire {
    let mut wire = Wire::new();
    for (index, (kind, inside, outside, start, salt)) in deeds.iter().enumerate() {
        let inner = INSIDE[usize::from(*inside)];
        let outer = OUTSIDE[usize::from(*outside)];
        let peer = format!("10.0.9.{}", outside + 1);
        let base = f64::from(*start)
            + f64::from(*salt) / 1000.0
            + f64::from(u32::try_from(index).unwrap()) * 0.000_013;
        let port = 100 + salt % 300;
        match kind {
            0 => (0..14).for_each(|n| wire.refused(base + f64::from(n) * 0.3, outer, inner, port + n)),
            1 => {
                (1..16).for_each(|n| wire.unanswered(base + f64::from(n), inner, &format!("10.0.8.{n}"), 445))
            }
            2 => (0..12).for_each(|n| wire.tcp(base + f64::from(n), outer, inner, port + n, FIN, Some(RST))),
            3 => (0..20)
                .for_each(|n| wire.session(base + f64::from(n) * 61.0, inner, outer, 443, 0.4, 600, 900)),
            4 => (0..40).for_each(|n| wire.refused(base + f64::from(n) * 7.0, inner, outer, 5888)),
            5 => wire.session(base, inner, outer, 443, 500.0, 160_000_000, 1_000_000),
            6 => (0..200)
                .for_each(|n| wire.udp(base + f64::from(n) * 0.2, inner, outer, 53, Some(5353), 150, 200)),
            7 => wire.session(base, outer, inner, 3389, 40.0, 9000, 9000),
            8 => wire.session(base, inner, &peer, 445, 40.0, 9000, 9000),
            9 => (0..30)
                .for_each(|n| wire.session(base + f64::from(n) * 2.0, inner, &peer, 22, 1.2, 1500, 1700)),
            10 => wire.session(base, inner, outer, 4444, 20.0, 900, 900),
            12 => {
                (0..14).for_each(|n| wire.refused(base + f64::from(n) * 0.3, outer, inner, port + n));
                wire.session(base + 30.0, outer, inner, port + 14, 40.0, 9000, 9000);
            }
            _ => {
                // Enough in either of two windows.
                for n in 0..1100_u16 {
                    let from = format!("192.0.{}.{}", 2 + n / 250, n % 250);
                    wire.tcp(base + f64::from(n) * 0.003, &from, inner, 80, SYN, None);
                }
            }
        }
    }
    wire
}

/// Which detector, about whom, and since when.
fn starts(findings: &[Finding]) -> BTreeMap<String, u64> {
    let mut starts = BTreeMap::new();
    for finding in findings {
        let subject = match finding.tag {
            // One flood or scan, whichever of its targets was the last to make it one.
            Tag::PortScan | Tag::LateralMovement => (finding.source, None),
            Tag::Dos => (None, finding.destination),
            // What goes to a network is added up, whichever of its hosts was the last to make it much.
            Tag::OutboundBytes => (finding.source, finding.destination.map(outbound::network)),
            _ => (finding.source, finding.destination),
        };
        if finding.phase == Phase::Start {
            starts
                .entry(format!("{} {subject:?}", finding.tag.name()))
                .or_insert(finding.first_seen_ns);
        }
    }
    starts
}

fn close(a: &BTreeMap<String, u64>, b: &BTreeMap<String, u64>, within_ns: u64) -> Result<(), TestCaseError> {
    prop_assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (subject, start_ns) in a {
        let off_ns = start_ns.abs_diff(b[subject]);
        prop_assert!(off_ns <= within_ns, "{}: {} s", subject, off_ns / 1_000_000_000);
    }
    Ok(())
}

/// With a resolver that no host is, nor is renamed to.
fn default() -> Config {
    config(&["networks.resolvers=10.0.0.253"])
}

fn v4(octets: [u8; 4]) -> Ipv4Addr {
    Ipv4Addr::from(octets)
}

/// Another name for an address. Two that share a prefix share one of the same length afterwards (as in Crypto-PAn: each
/// bit is flipped or not by what stands before it). The first three bits stay, so that hosts stay hosts; the highest and
/// the lowest host of a network may change places with any.
fn renamed(key: u64, ip: Ipv4Addr) -> Ipv4Addr {
    let bits = u32::from(ip);
    let flips = (3..32).fold(0, |flips, place| {
        let before = bits >> (32 - place);
        let flip = u32::from(hash(key, &(place, before)) & 1 == 1);
        flips | flip << (31 - place)
    });
    Ipv4Addr::from(bits ^ flips)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_order_within_a_batch_changes_no_byte(deeds in deeds(), seed in any::<u64>()) {
        let config = default();
        let wire = traffic(&deeds);
        let run = |shuffle: bool| {
            let mut engine = Engine::new(&config);
            let mut findings = Vec::new();
            wire.slices(&config, Duration::from_secs(10), |end_ns, mut slices| {
                if shuffle {
                    slices.sort_by_key(|slice| slice.id.wrapping_mul(seed | 1) ^ slice.last_ns);
                }
                feed(&mut engine, &config, &slices);
                engine.advance(end_ns);
                findings.append(&mut engine.drain());
            });
            (findings, engine.snapshot())
        };
        let (straight, shuffled) = (run(false), run(true));
        all_speak(&deeds, &straight.0)?;
        prop_assert_eq!(straight.0, shuffled.0);
        prop_assert!(straight.1 == shuffled.1, "the states differ");
    }

    #[test]
    fn the_drain_interval_changes_no_finding(deeds in deeds(), seconds in 1..=60_u64) {
        let config = default();
        let wire = traffic(&deeds);
        let ten = wire.findings(&config);
        all_speak(&deeds, &ten)?;
        let ten = starts(&ten);
        let other = starts(&wire.findings_in(&config, Duration::from_secs(seconds)));
        close(&ten, &other, seconds.max(10) * 1_000_000_000)?;
    }

    #[test]
    fn the_week_changes_no_finding(deeds in deeds(), weeks in 1..60_u64) {
        let config = default();
        let now = traffic(&deeds).findings(&config);
        all_speak(&deeds, &now)?;
        let now = starts(&now);
        let shift = weeks * 7 * 86_400;
        let later = starts(&traffic(&deeds).shifted(shift).findings(&config));
        let back: BTreeMap<String, u64> = later
            .into_iter()
            .map(|(subject, start_ns)| (subject, start_ns - shift * 1_000_000_000))
            .collect();
        prop_assert_eq!(now, back);
    }

    #[test]
    fn the_names_of_hosts_change_no_finding(deeds in deeds(), key in any::<u64>()) {
        let inside = renamed(key, v4([10, 0, 0, 0]));
        // No network of hosts.
        prop_assume!(inside.octets()[0] != 0);
        let [network, ..] = inside.octets();
        let resolver = renamed(key, v4([10, 0, 0, 253]));
        let config = config(&[
            &format!("networks.internal={network}.0.0.0/8"),
            &format!("networks.resolvers={resolver}"),
        ]);
        let plain = traffic(&deeds).findings(&default());
        all_speak(&deeds, &plain)?;
        let other = traffic(&deeds)
            .renamed(|address| renamed(key, v4(address[12..].try_into().unwrap())).to_ipv6_mapped().octets())
            .findings(&config);
        let new_name = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => IpAddr::V4(renamed(key, ip)),
            IpAddr::V6(_) => ip,
        };
        let expected: Vec<Finding> = plain
            .into_iter()
            .map(|mut finding| {
                finding.source = finding.source.map(new_name);
                finding.destination = finding.destination.map(new_name);
                finding
            })
            .collect();
        prop_assert_eq!(starts(&expected), starts(&other));
    }

    #[test]
    fn what_others_do_in_peace_changes_no_finding(deeds in deeds(), others in 1..8_u8) {
        let config = default();
        let alone = traffic(&deeds).findings(&config);
        all_speak(&deeds, &alone)?;
        let alone = starts(&alone);
        let mut wire = traffic(&deeds);
        let mut peace = Wire::new();
        for host in 0..others {
            let from = format!("10.0.7.{}", host + 1);
            let mut at = f64::from(host) * 3.1;
            for n in 0..60_u32 {
                at += 5.0 + f64::from((n * 7919 + u32::from(host) * 31) % 97);
                peace.udp(at, &from, "10.0.0.253", 53, None, 60 + u64::from(n % 9), 120);
                peace.session(at + 0.1, &from, &format!("192.0.2.{}", n % 200 + 1), 443, 1.5, 900, 20_000);
            }
        }
        wire.append(peace);
        let together = starts(&wire.findings(&config));
        prop_assert_eq!(alone, together);
    }

    #[test]
    fn a_restart_loses_and_repeats_nothing(deeds in deeds(), after in 1..40_usize) {
        let config = default();
        let wire = traffic(&deeds);
        let whole = wire.findings(&config);
        all_speak(&deeds, &whole)?;
        let whole = starts_all(&whole);
        let mut engine = Engine::new(&config);
        let mut findings = Vec::new();
        let mut batches = 0;
        wire.slices(&config, Duration::from_secs(10), |end_ns, slices| {
            feed(&mut engine, &config, &slices);
            engine.advance(end_ns);
            findings.append(&mut engine.drain());
            batches += 1;
            if batches == after {
                let saved = engine.snapshot();
                engine = Engine::new(&config);
                engine.restore(&saved).unwrap();
                assert!(engine.snapshot() == saved, "what was read back is not what was saved");
            }
        });
        prop_assert_eq!(whole, starts_all(&findings));
    }

    #[test]
    fn a_damaged_snapshot_is_refused(at in 0..400_usize, bit in 0..8_u8) {
        let config = default();
        let mut engine = Engine::new(&config);
        let mut saved = engine.snapshot();
        let at = at % saved.len();
        saved[at] ^= 1 << bit;
        prop_assert!(engine.restore(&saved).is_err());
        prop_assert!(engine.restore(&saved[..at]).is_err());
    }
}

fn starts_all(findings: &[Finding]) -> Vec<(Tag, Phase, u64, u32)> {
    findings
        .iter()
        .map(|finding| (finding.tag, finding.phase, finding.episode, finding.sequence))
        .collect()
}

#[test]
fn findings_over_the_cap_are_told_in_one() {
    let config = config(&["detect.findings_per_minute=5"]);
    let mut wire = Wire::new();
    for host in 1..=20 {
        wire.session(
            f64::from(host),
            &format!("10.0.0.{host}"),
            &format!("10.0.9.{host}"),
            3389,
            5.0,
            900,
            900,
        );
    }
    let findings = wire.findings(&config);
    let told = findings.iter().filter(|finding| finding.phase == Phase::Start);
    let (over, others): (Vec<_>, Vec<_>) = told.partition(|finding| finding.tag == Tag::Overflow);
    assert_eq!(others.len(), 5);
    let [over] = over[..] else {
        panic!("{over:#?}");
    };
    assert!(
        over.suppressed > 0 && over.counts.iter().map(|count| count.value).sum::<u64>() == over.suppressed
    );
}

#[test]
fn an_episode_starts_is_updated_at_doubling_and_ends() {
    let mut wire = Wire::new();
    for n in 0..200_u16 {
        wire.refused(f64::from(n) * 2.0, "10.0.0.5", "10.0.0.9", 100 + n);
    }
    // Time has to pass for the end to be seen.
    wire.udp(9000.0, "10.0.0.6", "10.0.0.253", 53, None, 60, 60);
    let findings = wire.findings(&config(&[]));
    let of_scan: Vec<&Finding> = findings
        .iter()
        .filter(|finding| finding.tag == Tag::PortScan)
        .collect();
    let phases: Vec<Phase> = of_scan.iter().map(|finding| finding.phase).collect();
    assert_eq!(phases[0], Phase::Start);
    assert_eq!(*phases.last().unwrap(), Phase::End);
    assert!(phases.len() >= 4, "{phases:?}");
    for (index, finding) in of_scan.iter().enumerate() {
        assert_eq!(finding.episode, of_scan[0].episode);
        assert_eq!(finding.sequence, u32::try_from(index + 1).unwrap());
    }
    for (before, after) in of_scan.iter().zip(of_scan.iter().skip(1)) {
        assert!(after.phase == Phase::End || after.last_seen_ns - before.last_seen_ns >= 55_000_000_000);
    }
}

#[test]
fn changed_settings_hold_at_once_and_nothing_is_forgotten() {
    let mut wire = Wire::new();
    (0..12).for_each(|n| wire.refused(f64::from(n), "10.0.0.5", "10.0.0.9", 100 + n));
    (0..12).for_each(|n| wire.refused(100.0 + f64::from(n), "10.0.0.6", "10.0.0.9", 100 + n));
    (12..30).for_each(|n| wire.refused(200.0 + f64::from(n), "10.0.0.5", "10.0.0.9", 100 + n));
    let (before, after) = (config(&[]), config(&["detect.port_scan.targets=20"]));
    let mut engine = Engine::new(&before);
    let mut findings = Vec::new();
    wire.slices(&before, Duration::from_secs(10), |end_ns, slices| {
        feed(&mut engine, &before, &slices);
        engine.advance(end_ns);
        findings.append(&mut engine.drain());
        if findings.len() == 1 {
            engine.reconfigure(&after);
        }
    });
    let told: Vec<_> = findings
        .iter()
        .map(|finding| (finding.source.unwrap().to_string(), finding.phase))
        .collect();
    // Twelve ports are too few for the second host now; the first goes on where it was.
    assert_eq!(
        told,
        [
            ("10.0.0.5".to_owned(), Phase::Start),
            ("10.0.0.5".to_owned(), Phase::Update)
        ]
    );
}

#[test]
fn the_allow_list_counts_what_it_keeps_back() {
    let config = config(&[
        "detect.allow=[{ports=[9]}, {findings=[\"possible_lateral_movement\"], destination=[\"10.0.9.0/24\"]}]",
    ]);
    let mut wire = Wire::new();
    wire.session(0.0, "10.0.0.5", "10.0.9.9", 3389, 5.0, 900, 900);
    let mut engine = Engine::new(&config);
    wire.slices(&config, Duration::from_secs(10), |end_ns, slices| {
        feed(&mut engine, &config, &slices);
        engine.advance(end_ns);
    });
    assert_eq!(engine.drain(), []);
    assert_eq!(engine.allow_hits(), [0, 1]);
}
