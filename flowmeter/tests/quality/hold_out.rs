//! Thresholds chosen without a source of captures, and how they do on it.
//!
//! For each detector and each source: of a grid, the values with the best F1 on all other sources, fewer false
//! findings first among equals, then the nearest to what is shipped. A false finding is one that no row asks for and
//! that `judgements.tsv` does not call true, counted once for each capture, source and destination; so is one
//! that a row forbids.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::Path,
    thread,
    time::Duration,
};

use flowmeter::{
    detect::{Engine, Phase},
    enrich::Networks,
    flow::Slice,
};

use super::{
    judged::judged,
    measure::{Made, Run, runs},
    replayed::{feed, slices},
    rows::{Row, config, is_of_kind},
};

/// One detector's settings, with the values that are tried; the shipped ones are among them.
struct Grid {
    expect: &'static str,
    keys: &'static [(&'static str, &'static [u32], u32)],
}

const GRIDS: [Grid; 5] = [
    Grid {
        expect: "possible_port_scan",
        keys: &[
            ("detect.port_scan.targets", &[5, 7, 10, 15, 20, 30], 10),
            ("detect.port_scan.failure_percent", &[30, 50, 70], 50),
        ],
    },
    Grid {
        expect: "possible_beaconing",
        keys: &[
            ("detect.beaconing.score", &[45, 50, 55, 60, 65, 70, 80], 60),
            ("detect.beaconing.jitter_percent", &[15, 25, 35], 25),
            ("detect.beaconing.contacts", &[6, 8, 12], 8),
        ],
    },
    Grid {
        expect: "suspicious_dns_flow",
        keys: &[
            ("detect.dns.query_bytes", &[80, 90, 100, 120, 150], 100),
            ("detect.dns.socket_queries", &[50, 100, 200], 100),
            ("detect.dns.hours", &[4, 6, 9], 6),
        ],
    },
    Grid {
        expect: "possible_dos",
        keys: &[
            ("detect.dos.sources", &[50, 100, 250, 500, 1000, 2000], 500),
            ("detect.dos.unfinished", &[100, 250, 500, 1000], 500),
        ],
    },
    Grid {
        expect: "brute_force",
        keys: &[
            ("detect.lateral_movement.guesses", &[10, 15, 20, 30, 40], 20),
            ("detect.external_inbound.guesses", &[10, 20, 40], 20),
        ],
    },
];

impl Grid {
    fn shipped(&self) -> Vec<u32> {
        self.keys.iter().map(|(_, _, shipped)| *shipped).collect()
    }

    fn points(&self) -> Vec<Vec<u32>> {
        self.keys.iter().fold(vec![Vec::new()], |points, (_, values, _)| {
            let longer = |point: &Vec<u32>| {
                let point = point.clone();
                values
                    .iter()
                    .map(move |value| [point.clone(), vec![*value]].concat())
            };
            points.iter().flat_map(longer).collect()
        })
    }

    fn set(&self, point: &[u32]) -> Vec<String> {
        let keys = self.keys.iter().zip(point);
        keys.map(|((key, ..), value)| format!("{key}={value}")).collect()
    }

    /// How far a point is from what is shipped, in factors.
    fn distance(&self, point: &[u32]) -> f64 {
        let pairs = self.shipped().into_iter().zip(point);
        pairs
            .map(|(shipped, value)| (f64::from(*value) / f64::from(shipped)).ln().abs())
            .sum()
    }
}

/// Rows and false findings of one source of captures.
#[derive(Clone, Copy, Default)]
struct Tally {
    rows: u32,
    right: u32,
    wrong: u32,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.right += other.right;
        self.wrong += other.wrong;
    }

    fn f1(self) -> f64 {
        f64::from(2 * self.right) / f64::from((self.rows + self.right + self.wrong).max(1))
    }
}

type Tallies = BTreeMap<String, Tally>;

/// A run whose slices are kept.
struct Kept {
    run: Run,
    intervals: Vec<(u64, Vec<Slice>)>,
}

fn kept(data: &Path) -> anyhow::Result<Vec<Kept>> {
    let mut all = Vec::new();
    for run in runs(data)? {
        let mut intervals = Vec::new();
        let (config, path) = (config(&run.internal, &run.settings, &[])?, data.join(&run.path));
        slices(&path, &config, Duration::from_secs(10), |end_ns, slices, _| {
            if !slices.is_empty() {
                intervals.push((end_ns, slices));
            }
        });
        let packets: u64 = intervals
            .iter()
            .flat_map(|(_, slices)| slices)
            .map(Slice::packets)
            .sum();
        // Nothing is told of fewer.
        if packets >= 10 || !run.rows.is_empty() {
            all.push(Kept { run, intervals });
        }
    }
    Ok(all)
}

fn tally(all: &[Kept], expect: &str, set: &[String]) -> anyhow::Result<Tallies> {
    let mut tallies = Tallies::new();
    for Kept { run, intervals } in all {
        let config = config(&run.internal, &run.settings, set)?;
        let (mut engine, networks) = (Engine::new(&config), Networks::new(&config.networks.internal));
        let mut findings = Vec::new();
        let mut last_ns = 0;
        for (end_ns, slices) in intervals {
            feed(&mut engine, &networks, slices);
            engine.advance(*end_ns);
            findings.append(&mut engine.drain());
            last_ns = *end_ns;
        }
        engine.advance(last_ns + 120_000_000_000);
        findings.append(&mut engine.drain());
        let of_kind: Vec<&Row> = run.rows.iter().filter(|row| row.expect == expect).collect();
        let tally = tallies.entry(run.source().to_owned()).or_default();
        for row in of_kind.iter().filter(|row| !row.hard()) {
            let found = findings.iter().any(|finding| row.matches(finding));
            if row.not {
                tally.wrong += u32::from(found);
            } else {
                tally.rows += 1;
                tally.right += u32::from(found);
            }
        }
        let wrong: BTreeSet<_> = findings
            .into_iter()
            .filter(|finding| finding.phase == Phase::Start && is_of_kind(expect, finding))
            .filter(|finding| !of_kind.iter().any(|row| row.matches(finding)))
            .map(|finding| Made {
                path: run.path.clone(),
                finding,
                wanted: false,
            })
            .filter(|made| judged(made).judgement != "true")
            .map(|made| (made.finding.source, made.finding.destination))
            .collect();
        tally.wrong += u32::try_from(wrong.len()).unwrap_or(u32::MAX);
    }
    Ok(tallies)
}

/// Every point of a grid on every source.
fn measured(all: &[Kept], grid: &Grid) -> anyhow::Result<Vec<(Vec<u32>, Tallies)>> {
    let points = grid.points();
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = points
            .chunks(points.len().div_ceil(workers))
            .map(|points| {
                scope.spawn(move || {
                    let one =
                        |point: &Vec<u32>| Ok((point.clone(), tally(all, grid.expect, &grid.set(point))?));
                    points.iter().map(one).collect::<anyhow::Result<Vec<_>>>()
                })
            })
            .collect();
        let mut results = Vec::new();
        for worker in workers {
            results.extend(
                worker
                    .join()
                    .map_err(|_| anyhow::anyhow!("measuring panicked"))??,
            );
        }
        Ok(results)
    })
}

/// The best point on all sources but one.
fn chosen<'a>(grid: &Grid, results: &'a [(Vec<u32>, Tallies)], without: &str) -> &'a (Vec<u32>, Tallies) {
    let rank = |(point, tallies): &(Vec<u32>, Tallies)| {
        let mut sum = Tally::default();
        tallies
            .iter()
            .filter(|(source, _)| *source != without)
            .for_each(|(_, tally)| sum.add(*tally));
        (-sum.f1(), sum.wrong, grid.distance(point))
    };
    let less = |a: &(f64, u32, f64), b: &(f64, u32, f64)| {
        a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)).then(a.2.total_cmp(&b.2))
    };
    results.iter().min_by(|a, b| less(&rank(a), &rank(b))).unwrap()
}

/// What was measured on held-out sources, and in all.
pub(crate) struct HeldOut {
    pub(crate) text: String,
    /// Right rows and all rows on held-out sources, with chosen values and with shipped ones.
    pub(crate) chosen: (u32, u32),
    pub(crate) shipped: (u32, u32),
}

pub(crate) fn hold_out(data: &Path) -> anyhow::Result<HeldOut> {
    let all = kept(data)?;
    let mut text = String::from(include_str!("hold_out.md"));
    let mut held = HeldOut {
        text: String::new(),
        chosen: (0, 0),
        shipped: (0, 0),
    };
    for grid in GRIDS {
        let results = measured(&all, &grid)?;
        let shipped = grid.shipped();
        let (_, by_default) = results.iter().find(|(point, _)| *point == shipped).unwrap();
        let names: Vec<&str> = grid.keys.iter().map(|(key, ..)| *key).collect();
        let _ = writeln!(
            text,
            "\n### `{}`\n\n`{}`; shipped: {shipped:?}.\n\n| held out | chosen without it | rows right there | false there | rows right, shipped | false, shipped |\n|---|---|---|---|---|---|",
            grid.expect,
            names.join("`, `")
        );
        let mut values: Vec<BTreeSet<u32>> = vec![BTreeSet::new(); names.len()];
        let mut others = (0, 0);
        for (source, default) in by_default {
            let (point, tallies) = chosen(&grid, &results, source);
            values.iter_mut().zip(point).for_each(|(values, value)| {
                values.insert(*value);
            });
            let there = tallies.get(source).copied().unwrap_or_default();
            held.chosen.0 += there.right;
            held.chosen.1 += there.rows;
            held.shipped.0 += default.right;
            held.shipped.1 += default.rows;
            if default.rows + default.wrong + there.wrong == 0 {
                others.0 += 1;
                continue;
            }
            others.1 += 1;
            let _ = writeln!(
                text,
                "| {source} | {point:?} | {} of {} | {} | {} of {} | {} |",
                there.right, there.rows, there.wrong, default.right, default.rows, default.wrong
            );
        }
        let moves: Vec<String> = names
            .iter()
            .zip(&values)
            .map(|(name, values)| {
                let (low, high) = (values.first().unwrap(), values.last().unwrap());
                if low == high {
                    format!("`{name}` stays at {low}")
                } else {
                    format!("`{name}` {low} to {high}")
                }
            })
            .collect();
        let _ = writeln!(
            text,
            "\nChosen values move: {}. {} more sources have no row and no finding of it.",
            moves.join(", "),
            others.0
        );
    }
    let (chosen, shipped) = (held.chosen, held.shipped);
    let _ = writeln!(
        text,
        "\nIn all {} of {} rows on held-out sources are right with values that were chosen without them, {} of {} with the shipped ones.",
        chosen.0, chosen.1, shipped.0, shipped.1
    );
    held.text = text;
    Ok(held)
}
