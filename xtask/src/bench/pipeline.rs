//! The agent's own part: drain, track, enrich, detect, write.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use super::{
    Bench,
    report::{Report, Row, Table},
    statistics::Samples,
};
use crate::{
    process::{self, step},
    signals,
    workspace::Workspace,
};

const FLOWS: [u32; 3] = [10_000, 100_000, 1_000_000];
const TRAFFIC: [&str; 3] = ["steady", "new", "flood"];
/// In the order in which a flow passes them.
const STAGES: [&str; 5] = ["drain", "track", "detect", "enrich", "write"];
/// Of the agent's default event budget.
const LINES_PER_SECOND: &str = "300";

/// Traffic, flows a tick.
type Load = (&'static str, u32);

/// What was measured of one load, one value a repetition.
#[derive(Default)]
struct Figures {
    /// By stage, and `together`.
    stage_ns: BTreeMap<&'static str, Samples>,
    whole_ns: Samples,
    budget_ns: Samples,
    per_second: Samples,
    lines: Samples,
    allocations: Samples,
    resident_mb: Samples,
    peak_mb: Samples,
}

pub(super) fn measure(bench: &Bench<'_>) -> Result<Report> {
    let program = measuring_program(bench.workspace)?;
    let events = bench.workspace.target.join("bench-events");
    fs::create_dir_all(&events).with_context(|| format!("creating {}", events.display()))?;
    let mut figures: BTreeMap<(u32, usize), Figures> = BTreeMap::new();
    for repetition in 0..bench.repetitions {
        for (place, traffic) in TRAFFIC.into_iter().enumerate() {
            for flows in FLOWS {
                signals::check()?;
                step(&format!(
                    "repetition {} of {}: {traffic}, {flows} flows",
                    repetition + 1,
                    bench.repetitions
                ));
                let run = |more: &[&str]| run(&program, (traffic, flows), &events, more);
                let stages = run(&["--kernel"])?;
                let whole = run(&["--whole"])?;
                let budget = run(&["--whole", "--lines-per-second", LINES_PER_SECOND])?;
                take(
                    figures.entry((flows, place)).or_default(),
                    flows,
                    &stages,
                    &whole,
                    &budget,
                )?;
            }
        }
    }
    fs::remove_dir_all(&events).with_context(|| format!("removing {}", events.display()))?;
    Ok(report(&figures))
}

/// The measuring program, with the optimisations of a release.
pub(crate) fn measuring_program(workspace: &Workspace) -> Result<PathBuf> {
    step("building the program that measures the pipeline");
    process::run(workspace.cargo().args([
        "build",
        "--release",
        "--package",
        "flowmeter",
        "--example",
        "pipeline",
    ]))?;
    Ok(workspace.target.join("release/examples/pipeline"))
}

fn run(program: &Path, (traffic, flows): Load, events: &Path, more: &[&str]) -> Result<Value> {
    let output = events.join("events.json");
    let mut command = Command::new(program);
    command
        .args(["--warm-up", "2", "--ticks", "1", "--traffic", traffic, "--flows"])
        .arg(flows.to_string())
        .arg("--output")
        .arg(&output)
        .args(more);
    let answer = process::output(&mut command)?;
    for entry in fs::read_dir(events).with_context(|| format!("reading {}", events.display()))? {
        let path = entry?.path();
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    }
    serde_json::from_str(&answer).context("reading what the measuring program says")
}

fn take(figures: &mut Figures, flows: u32, stages: &Value, whole: &Value, budget: &Value) -> Result<()> {
    let per_flow = |answer: &Value, stage: &str| -> Result<f64> {
        Ok(cost(answer, stage, "cpu_ns")? / f64::from(flows))
    };
    let mut together = 0.0;
    let mut allocations = 0.0;
    for stage in STAGES {
        let ns = per_flow(stages, stage)?;
        together += ns;
        allocations += cost(stages, stage, "allocations")?;
        figures.stage_ns.entry(stage).or_default().push(ns);
    }
    figures.stage_ns.entry("together").or_default().push(together);
    figures.per_second.push(1e9 / together / 1e6);
    figures.lines.push(number(stages, "/slices")?);
    figures.allocations.push(allocations);
    figures.whole_ns.push(per_flow(whole, "pipeline")?);
    figures.budget_ns.push(per_flow(budget, "pipeline")?);
    figures.resident_mb.push(number(whole, "/resident_bytes")? / 1e6);
    figures.peak_mb.push(number(whole, "/peak_bytes")? / 1e6);
    Ok(())
}

fn cost(answer: &Value, stage: &str, what: &str) -> Result<f64> {
    number(answer, &format!("/stages/{stage}/0/{what}"))
}

fn number(answer: &Value, pointer: &str) -> Result<f64> {
    answer
        .pointer(pointer)
        .and_then(Value::as_f64)
        .ok_or_else(|| anyhow!("the measuring program does not say {pointer}"))
}

fn report(figures: &BTreeMap<(u32, usize), Figures>) -> Report {
    let rows = |cells: &dyn Fn(&Figures) -> Vec<Option<Samples>>| -> Vec<Row> {
        let loads = figures.iter().map(|((flows, traffic), figures)| Row {
            labels: vec![
                TRAFFIC.get(*traffic).copied().unwrap_or_default().to_owned(),
                flows.to_string(),
            ],
            cells: cells(figures),
        });
        loads.collect()
    };
    let labels = || vec!["traffic", "flows"];
    Report {
        name: "pipeline",
        title: "The pipeline".to_owned(),
        how: "One core; CPU time a flow record, median (lowest to highest) of the repetitions, each a process of its \
              own. Before the tick that is measured two others have filled the tables. `steady`: the same answered TCP \
              connections in every tick, two records each; `new`: connections that begin and end within their tick, \
              two records each; `flood`: one SYN each from sources that never come again. All detectors with their \
              defaults, every connection written to a file. Drained is a real flow map."
            .to_owned(),
        tables: vec![
            Table {
                title: "Nanoseconds a flow record, by stage".to_owned(),
                labels: labels(),
                columns: STAGES
                    .into_iter()
                    .chain(["together"])
                    .map(|stage| (stage, 0))
                    .chain([("million flows a second", 2)])
                    .collect(),
                rows: rows(&|figures| {
                    let stages = STAGES.into_iter().chain(["together"]);
                    stages
                        .map(|stage| figures.stage_ns.get(stage).cloned())
                        .chain([Some(figures.per_second.clone())])
                        .collect()
                }),
            },
            Table {
                title: "The whole pipeline without the drain, nanoseconds a flow record".to_owned(),
                labels: labels(),
                columns: vec![("every flow written", 0), ("under the default budget", 0)],
                rows: rows(&|figures| vec![Some(figures.whole_ns.clone()), Some(figures.budget_ns.clone())]),
            },
            Table {
                title: "Events, allocations and memory a tick".to_owned(),
                labels: labels(),
                columns: vec![
                    ("events", 0),
                    ("allocations", 0),
                    ("resident MB", 0),
                    ("peak MB", 0),
                ],
                rows: rows(&|figures| {
                    [
                        &figures.lines,
                        &figures.allocations,
                        &figures.resident_mb,
                        &figures.peak_mb,
                    ]
                    .map(|samples| Some(samples.clone()))
                    .to_vec()
                }),
            },
        ],
    }
}
