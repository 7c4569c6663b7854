//! Traffic that is not in the folder of captures: attacks of many kinds and strengths among an office's traffic, and
//! what looks like them. What varies is drawn from ranges that know nothing of the detectors' thresholds.

mod attacks;
mod peace;
mod traffic;

use std::{collections::BTreeMap, fmt::Write, ops::Range};

use flowmeter::{
    config::{Config, Sources, load},
    detect::{Finding, Phase, Tag},
};

use attacks::{AT, ATTACKS, Attack, Wanted};
use peace::{PEACE, Peace, office};
use traffic::{Random, Traffic, since_start};

/// What was looked at while the detectors were changed.
pub(crate) const DEVELOPMENT: Range<u64> = 1..11;
/// What is reported, and was not looked at before.
pub(crate) const REPORT: Range<u64> = 1001..1011;

/// Days of quiet traffic: one is learned.
const QUIET_DAYS: f64 = 3.0;
/// Workstations around an attack.
const AROUND: u16 = 6;

/// Everything as it is shipped.
fn config(set: &[&str]) -> Config {
    let mut all = vec!["collector.name=made".to_owned()];
    all.extend(set.iter().map(|text| (*text).to_owned()));
    let sources = Sources {
        file: Some("/dev/null".into()),
        set: all,
        ..Sources::default()
    };
    load(&sources).unwrap().config
}

impl Wanted {
    fn is(&self, finding: &Finding) -> bool {
        let kind = if self.expect == "brute_force" {
            finding.reasons.iter().any(|reason| reason.id == "brute_force")
        } else {
            finding.tag.name() == self.expect
        };
        kind && (self.source.is_none() || self.source == finding.source)
            && (self.destination.is_none() || self.destination == finding.destination)
    }

    fn concerns(&self, finding: &Finding) -> bool {
        [self.source, self.destination]
            .into_iter()
            .flatten()
            .any(|ip| finding.source == Some(ip) || finding.destination == Some(ip))
    }
}

/// How one kind of attack was found, of one strength.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) runs: u32,
    pub(crate) found: u32,
    /// Seconds from the attack's start.
    after: Vec<f64>,
    /// About hosts that have nothing to do with it.
    pub(crate) others: Vec<String>,
}

pub(crate) struct Made {
    /// By expectation, name, strength.
    pub(crate) attacks: Vec<(&'static Attack, [Found; 3])>,
    /// With host-days and findings of a kind.
    pub(crate) peace: Vec<(&'static Peace, f64, Vec<Finding>)>,
}

fn starts(findings: Vec<Finding>) -> impl Iterator<Item = Finding> {
    findings
        .into_iter()
        .filter(|finding| finding.phase == Phase::Start)
}

fn attack(number: usize, strength: usize, seed: u64, found: &mut Found) {
    let kind = &ATTACKS[number];
    let mut random = Random::new(seed * 1000 + (number * 3 + strength) as u64);
    let mut traffic = Traffic::new();
    office(&mut traffic, &mut random, AROUND, kind.days);
    let wanted = (kind.make)(&mut traffic, &mut random, strength, AT);
    let findings: Vec<Finding> = starts(traffic.findings(&config(&[]))).collect();
    found.runs += 1;
    if let Some(first) = findings.iter().find(|finding| wanted.is(finding)) {
        found.found += 1;
        found.after.push(since_start(first.last_seen_ns) - AT);
    }
    let others = findings
        .iter()
        .filter(|finding| !wanted.concerns(finding) && finding.tag != Tag::Overflow);
    found.others.extend(others.map(|finding| finding.message.clone()));
}

/// `only`: kinds whose name or expectation contains it.
pub(crate) fn made(seeds: Range<u64>, only: &str) -> Made {
    // Days of peace are long: a third of the seeds.
    let fewer = seeds.start..seeds.start + (seeds.end - seeds.start).div_ceil(3);
    Made {
        attacks: attacks(seeds, 0..3, only),
        peace: peace(fewer, only),
    }
}

/// Attacks of some strengths, 0 the strongest.
pub(crate) fn attacks(
    seeds: Range<u64>,
    strengths: Range<usize>,
    only: &str,
) -> Vec<(&'static Attack, [Found; 3])> {
    let kinds = ATTACKS.iter().enumerate();
    kinds
        .filter(|(_, kind)| kind.name.contains(only) || kind.expect.contains(only))
        .map(|(number, kind)| {
            let mut all: [Found; 3] = Default::default();
            for strength in strengths.clone() {
                for seed in seeds.clone() {
                    attack(number, strength, seed, &mut all[strength]);
                }
            }
            (kind, all)
        })
        .collect()
}

pub(crate) fn peace(seeds: Range<u64>, only: &str) -> Vec<(&'static Peace, f64, Vec<Finding>)> {
    PEACE
        .iter()
        .filter(|kind| kind.name.contains(only) || "peace".contains(only))
        .map(|kind| {
            let (mut host_days, mut findings) = (0.0, Vec::new());
            for seed in seeds.clone() {
                let (mut traffic, mut random) = (Traffic::new(), Random::new(seed));
                (kind.make)(&mut traffic, &mut random, kind.hosts, QUIET_DAYS);
                host_days += f64::from(kind.hosts) * QUIET_DAYS;
                findings.extend(starts(traffic.findings(&config(kind.set))));
            }
            (kind, host_days, findings)
        })
        .collect()
}

/// Each finding on hosts that do nothing bad, once.
pub(crate) fn listed(made: &Made) -> String {
    let mut lines: BTreeMap<String, u32> = BTreeMap::new();
    for (kind, all) in &made.attacks {
        for message in all.iter().flat_map(|found| &found.others) {
            *lines.entry(format!("{}: {message}", kind.name)).or_default() += 1;
        }
    }
    for (kind, _, findings) in &made.peace {
        for finding in findings {
            let reasons: Vec<&str> = finding.reasons.iter().map(|reason| reason.id).collect();
            let line = format!("{}: ({}) {}", kind.name, reasons.join(", "), finding.message);
            *lines.entry(line).or_default() += 1;
        }
    }
    lines
        .iter()
        .map(|(line, count)| format!("{count} {line}\n"))
        .collect()
}

pub(crate) fn report(made: &Made) -> String {
    let mut text = String::from(include_str!("head.md"));
    text += "| finding | kind | strength | found | median time to detect |\n|---|---|---|---|---|\n";
    for (kind, all) in &made.attacks {
        for (strength, found) in kind.strengths.iter().zip(all) {
            let mut after = found.after.clone();
            after.sort_unstable_by(f64::total_cmp);
            let median = after
                .get(after.len() / 2)
                .map_or_else(String::new, |after| duration(*after));
            let _ = writeln!(
                text,
                "| `{}` | {} | {strength} | {} of {} | {median} |",
                kind.expect, kind.name, found.found, found.runs
            );
        }
    }
    let others: Vec<&String> = made
        .attacks
        .iter()
        .flat_map(|(_, all)| all)
        .flat_map(|found| &found.others)
        .collect();
    let days: f64 = made
        .attacks
        .iter()
        .map(|(kind, all)| {
            kind.days * f64::from(AROUND) * f64::from(all.iter().map(|found| found.runs).sum::<u32>())
        })
        .sum();
    let _ = writeln!(
        text,
        "\nAbout the hosts around the attacks, which do nothing: {} findings in {days:.0} host-days.\n",
        others.len()
    );
    text += "| peaceful traffic | host-days | findings | per host-day | which |\n|---|---|---|---|---|\n";
    for (kind, host_days, findings) in &made.peace {
        let mut kinds: BTreeMap<&str, u32> = BTreeMap::new();
        findings
            .iter()
            .for_each(|finding| *kinds.entry(finding.tag.name()).or_default() += 1);
        let kinds: Vec<String> = kinds
            .iter()
            .map(|(name, count)| format!("{count} `{name}`"))
            .collect();
        let per_day = findings.len() as f64 / host_days;
        let _ = writeln!(
            text,
            "| {} | {host_days:.0} | {} | {per_day:.3} | {} |",
            kind.name,
            findings.len(),
            kinds.join(", ")
        );
    }
    text += include_str!("foot.md");
    text
}

fn duration(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.0} s"),
        120.0..7200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}
