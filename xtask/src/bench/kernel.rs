//! The kernel programs: nanoseconds a packet over an empty program, for more and more flows.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use aya::sys::{Stats, enable_stats};

use super::{
    Bench,
    generator::{Load, send},
    meter::{Hook, Kind, Meter, Objects},
    network::{Cable, OUT},
    report::{Report, Row, Table},
    statistics::Samples,
};
use crate::{process::step, signals};

#[derive(clap::Args, Clone, Debug)]
pub(super) struct Kernel {
    /// Numbers of flows
    #[arg(long, value_delimiter = ',', default_values_t = FLOWS)]
    flows: Vec<u32>,
    /// Hooks and IP versions: xdp4, xdp6, tc4, tc6
    #[arg(long, value_delimiter = ',', default_values_t = PATHS.map(str::to_owned))]
    paths: Vec<String>,
    /// Packets to flows that are in the map already, in each run
    #[arg(long, default_value_t = 1_500_000)]
    packets: u32,
    /// Another object with the agent's programs, measured in the same repetitions: the version before a change
    #[arg(long, value_name = "OBJECT")]
    against: Option<std::path::PathBuf>,
}

const FLOWS: [u32; 4] = [1, 1000, 65_536, 1_000_000];
const PATHS: [&str; 4] = ["xdp4", "xdp6", "tc4", "tc6"];

impl Default for Kernel {
    fn default() -> Self {
        Self {
            flows: FLOWS.to_vec(),
            paths: PATHS.map(str::to_owned).to_vec(),
            packets: 1_500_000,
            against: None,
        }
    }
}

/// A map has the room that the agent's has for as many flows, and is never smaller than this here, so that one flow does
/// not meet a map of one bucket.
const LEAST_FLOWS: u32 = 1024;
/// Too few new flows say nothing about the cost of one.
const LEAST_INSERTS: u32 = 10_000;

/// What is measured of each program.
#[derive(Clone, Debug, Default)]
struct Figures {
    /// Run time of the program for a packet of a known flow, and of a new one.
    hit_ns: Samples,
    insert_ns: Samples,
    /// CPU time of the whole path for a packet of a known flow, from a run without statistics.
    path_ns: Samples,
    /// Reading an entry out by batches, in user space's wall-clock time.
    drain_ns: Samples,
}

/// Path, flows and position in the list of programs.
type Key = (usize, u32, usize);

pub(super) fn measure(bench: &Bench, options: &Kernel) -> Result<Report> {
    let agent = Objects {
        agent: bench.workspace.bpf_object(),
        bench: bench.workspace.bench_object(),
    };
    let mut programs = vec![
        ("empty", Kind::Empty, &agent),
        ("reference", Kind::Reference { coarse: false }, &agent),
        (
            "reference, coarse clock",
            Kind::Reference { coarse: true },
            &agent,
        ),
        ("flowmeter", Kind::Agent, &agent),
    ];
    let before = options.against.as_ref().map(|object| Objects {
        agent: object.clone(),
        bench: agent.bench.clone(),
    });
    if let Some(before) = &before {
        programs.push(("flowmeter before", Kind::Agent, before));
    }
    let paths = options
        .paths
        .iter()
        .map(|path| parse(path))
        .collect::<Result<Vec<_>>>()?;

    let cable = Cable::new()?;
    let mut figures: BTreeMap<Key, Figures> = BTreeMap::new();
    let mut verified = BTreeMap::new();
    for repetition in 0..bench.repetitions {
        for (path, &(hook, ipv6)) in paths.iter().enumerate() {
            for &flows in &options.flows {
                step(&format!(
                    "repetition {} of {}: {}, {flows} flows",
                    repetition + 1,
                    bench.repetitions,
                    options.paths.get(path).map_or("", String::as_str)
                ));
                for (index, (name, kind, objects)) in programs.iter().enumerate() {
                    signals::check()?;
                    let mut load = Load::new(flows, options.packets);
                    load.ipv6 = ipv6;
                    load.again = true;
                    let room = flows.max(LEAST_FLOWS);
                    let attach = || {
                        Meter::attach(&cable, objects, kind, hook, room)
                            .with_context(|| format!("measuring {name}"))
                    };
                    let figures = figures.entry((path, flows, index)).or_default();
                    let meter = attach()?;
                    if let Some(count) = meter.verified_instructions()? {
                        verified.insert((index, hook == Hook::Tc), count);
                    }
                    program_time(&cable, objects, &meter, &load, figures)?;
                    drop(meter);
                    path_time(&cable, objects, &attach()?, &load, figures)?;
                }
            }
        }
    }
    let names: Vec<&str> = programs.iter().map(|program| program.0).collect();
    Ok(report(options, &names, &figures, &verified))
}

fn parse(path: &str) -> Result<(Hook, bool)> {
    Ok(match path {
        "xdp4" => (Hook::Xdp, false),
        "xdp6" => (Hook::Xdp, true),
        "tc4" => (Hook::Tc, false),
        "tc6" => (Hook::Tc, true),
        _ => anyhow::bail!("no path {path}: give some of {}", PATHS.join(",")),
    })
}

/// With statistics on: what the program itself takes, new flows and known ones apart.
fn program_time(
    cable: &Cable,
    objects: &Objects,
    meter: &Meter,
    load: &Load,
    figures: &mut Figures,
) -> Result<()> {
    let _on = enable_stats(Stats::RunTime).context("enabling the statistics of BPF programs")?;
    let run = |load: &Load| -> Result<f64> {
        let before = meter.runs()?;
        cable.sender.inside(|| send(&objects.bench, OUT, load))?;
        let after = meter.runs()?;
        let count = after.count - before.count;
        ensure!(
            count == load.packets(),
            "the program ran {count} times for {} packets",
            load.packets()
        );
        Ok((after.ns - before.ns) as f64 / count as f64)
    };
    let first = Load {
        rounds: 1,
        again: false,
        ..*load
    };
    let insert_ns = run(&first)?;
    if load.flows >= LEAST_INSERTS {
        figures.insert_ns.push(insert_ns);
    }
    figures.hit_ns.push(run(load)?);
    if let Some(ns) = meter.check(load, load.rounds + 1)?
        && load.flows >= LEAST_INSERTS
    {
        figures.drain_ns.push(ns);
    }
    Ok(())
}

/// Without statistics, which cost more than the program: what the whole way of a packet takes.
fn path_time(
    cable: &Cable,
    objects: &Objects,
    meter: &Meter,
    load: &Load,
    figures: &mut Figures,
) -> Result<()> {
    let first = Load {
        rounds: 1,
        again: false,
        ..*load
    };
    cable.sender.inside(|| send(&objects.bench, OUT, &first))?;
    let sent = cable.sender.inside(|| send(&objects.bench, OUT, load))?;
    figures.path_ns.push(sent.cpu_ns);
    meter.check(load, load.rounds + 1).map(drop)
}

fn report(
    options: &Kernel,
    names: &[&str],
    figures: &BTreeMap<Key, Figures>,
    verified: &BTreeMap<(usize, bool), u32>,
) -> Report {
    let get = |path: usize, flows: u32, index: usize, of: fn(&Figures) -> &Samples| {
        figures.get(&(path, flows, index)).map(of)
    };
    // Differences and ratios are taken within a repetition.
    let added = |path, flows, index, of: fn(&Figures) -> &Samples| -> Option<Samples> {
        let (these, empty) = (get(path, flows, index, of)?, get(path, flows, 0, of)?);
        let pairs = these.values().iter().zip(empty.values());
        Some(pairs.map(|(this, empty)| this - empty).collect())
            .filter(|samples: &Samples| !samples.values().is_empty())
    };
    let ratio = |path, flows, index, base, of: fn(&Figures) -> &Samples| -> Option<Samples> {
        let (these, base) = (added(path, flows, index, of)?, added(path, flows, base, of)?);
        let pairs = these.values().iter().zip(base.values());
        Some(pairs.map(|(this, base)| this / base).collect())
    };
    let index_of = |name: &str| names.iter().position(|other| *other == name);
    let keys: Vec<(usize, u32)> = (0..options.paths.len())
        .flat_map(|path| options.flows.iter().map(move |&flows| (path, flows)))
        .collect();
    let labels = |path: usize, flows: u32| {
        vec![
            options.paths.get(path).cloned().unwrap_or_default(),
            flows.to_string(),
        ]
    };

    let mut ratios = Vec::new();
    let mut nanoseconds = Vec::new();
    for &(path, flows) in &keys {
        for name in ["flowmeter", "flowmeter before"] {
            let Some(index) = index_of(name).filter(|&index| figures.contains_key(&(path, flows, index)))
            else {
                continue;
            };
            let mut labels = labels(path, flows);
            labels.push(name.to_owned());
            let of = |base: &str, of| ratio(path, flows, index, index_of(base)?, of);
            ratios.push(Row {
                labels,
                cells: vec![
                    of("reference", |figures| &figures.hit_ns),
                    of("reference, coarse clock", |figures| &figures.hit_ns),
                    of("reference", |figures| &figures.insert_ns),
                    of("reference", |figures| &figures.path_ns),
                ],
            });
        }
        for (index, name) in names.iter().enumerate() {
            if !figures.contains_key(&(path, flows, index)) {
                continue;
            }
            let mut labels = labels(path, flows);
            labels.push((*name).to_owned());
            let absolute = index == 0;
            let cell = |of: fn(&Figures) -> &Samples| {
                if absolute {
                    get(path, flows, index, of)
                        .filter(|samples| !samples.values().is_empty())
                        .cloned()
                } else {
                    added(path, flows, index, of)
                }
            };
            nanoseconds.push(Row {
                labels,
                cells: vec![
                    cell(|figures| &figures.hit_ns),
                    cell(|figures| &figures.insert_ns),
                    cell(|figures| &figures.path_ns),
                    get(path, flows, index, |figures| &figures.drain_ns)
                        .filter(|samples| !samples.values().is_empty())
                        .cloned(),
                ],
            });
        }
    }
    let instructions = names
        .iter()
        .enumerate()
        .map(|(index, name)| Row {
            labels: vec![(*name).to_owned()],
            cells: [false, true]
                .map(|tc| {
                    let count = verified.get(&(index, tc))?;
                    Some([f64::from(*count)].into_iter().collect())
                })
                .to_vec(),
        })
        .collect();
    Report {
        name: "kernel",
        title: "The kernel programs".to_owned(),
        how: "Frames of 60 bytes (IPv6: 80) from the generator on one CPU; every flow in turn, in changing order. \
              Median (lowest to highest) of the repetitions, in which the programs take turns. Ratios and \
              differences are taken within a repetition. Nanoseconds are over the empty program, whose own stand in \
              its row: a known flow and a new one by the kernel's statistics of the program, the whole path by the \
              CPU time of a run without statistics, reading an entry out in wall-clock time. Every run's counts were \
              compared with what was sent, flow by flow. The reference's map has room for twice the flows."
            .to_owned(),
        tables: vec![
            Table {
                title: "Added cost as a ratio to the reference's".to_owned(),
                labels: vec!["path", "flows", "program"],
                columns: vec![
                    ("known flow", 2),
                    ("known flow, reference with the coarse clock", 2),
                    ("new flow", 2),
                    ("whole path", 2),
                ],
                rows: ratios,
            },
            Table {
                title: "Nanoseconds a packet".to_owned(),
                labels: vec!["path", "flows", "program"],
                columns: vec![
                    ("known flow", 0),
                    ("new flow", 0),
                    ("whole path", 0),
                    ("reading an entry", 0),
                ],
                rows: nanoseconds,
            },
            Table {
                title: "Instructions that the verifier walks".to_owned(),
                labels: vec!["program"],
                columns: vec![("XDP", 0), ("TC", 0)],
                rows: instructions,
            },
        ],
    }
}
