//! A guard against growing slower that does not depend on the machine: instructions, allocations and the verifier's
//! work, each held to its budget in `budgets.toml`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy's exception for tests does not reach their helper functions"
)]

mod support;

#[path = "support/programs.rs"]
mod programs;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use aya::programs::Program;
use flowmeter::config::Capture;
use serde_json::Value;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/budgets.toml");
/// The measuring program (`examples/pipeline`), built with the optimisations of a release.
const PROGRAM: &str = "FLOWMETER_PIPELINE";

/// Figures by name; a section of the file.
type Figures = BTreeMap<String, u64>;

fn program_or_skip(test: &str) -> Option<PathBuf> {
    let program = env::var_os(PROGRAM)
        .filter(|path| !path.is_empty())
        .map(PathBuf::from);
    if program.is_none() {
        support::skip(
            test,
            "needs FLOWMETER_PIPELINE, the measuring program built for release; `cargo xtask test` builds it",
        );
    }
    program
}

fn budgets() -> BTreeMap<String, Figures> {
    toml::from_str(&fs::read_to_string(FILE).unwrap()).unwrap()
}

/// What is over its budget, each in a sentence.
fn over(section: &str, measured: &Figures, budgets: &Figures) -> Vec<String> {
    measured
        .iter()
        .filter_map(|(name, &measured)| match budgets.get(name) {
            Some(&budget) if measured <= budget => None,
            Some(&budget) => Some(format!("{section}.{name} is {measured}, its budget {budget}")),
            None => Some(format!("{section}.{name} is {measured}, and has no budget")),
        })
        .collect()
}

/// Compares with the budgets, or writes them anew if `FLOWMETER_BLESS` says so.
fn hold(section: &str, measured: &Figures) {
    if env::var_os("FLOWMETER_BLESS").is_some() {
        let budgets = measured.iter().map(|(name, figure)| (name, figure + figure / 10));
        return write(section, budgets);
    }
    let over = over(section, measured, &budgets().remove(section).unwrap_or_default());
    assert!(
        over.is_empty(),
        "{}\nWhat has grown costs every user. If it is worth that, set the budgets anew: \
         FLOWMETER_BLESS=1 cargo xtask test -- budget",
        over.join("\n")
    );
}

/// Puts new figures into a section; everything else in the file stays.
fn write<'a>(section: &str, figures: impl Iterator<Item = (&'a String, u64)>) {
    // Tests run at the same time, each with a section of its own.
    let lock = fs::File::open(FILE).unwrap();
    lock.lock().unwrap();
    let text = fs::read_to_string(FILE).unwrap();
    let header = format!("[{section}]\n");
    let text = if text.contains(&header) {
        text
    } else {
        format!("{text}\n{header}")
    };
    let start = text.find(&header).unwrap() + header.len();
    let end = text[start..].find("\n\n").map_or(text.len(), |at| start + at + 1);
    let mut lines = String::new();
    for (name, budget) in figures {
        lines += &format!("{name} = {budget}\n");
    }
    fs::write(FILE, format!("{}{lines}{}", &text[..start], &text[end..])).unwrap();
}

fn answer(command: &mut Command) -> (Value, String) {
    let output = command.output().unwrap();
    let messages = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{messages}");
    (serde_json::from_slice(&output.stdout).unwrap(), messages)
}

/// Instructions of a run, by the number that Callgrind prints at its end.
fn instructions(program: &Path, traffic: &str, ticks: u64) -> u64 {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command
        .arg(program)
        .args(["--whole", "--warm-up", "1", "--flows", "5000"]);
    command.args(["--traffic", traffic, "--ticks", &ticks.to_string()]);
    let (_, messages) = answer(&mut command);
    let collected = messages
        .lines()
        .find_map(|line| line.split_once("Collected : "))
        .unwrap_or_else(|| panic!("no sum in {messages}"));
    collected.1.trim().parse().unwrap()
}

#[test]
fn instructions_a_flow_are_within_budget() {
    let test = "instructions_a_flow_are_within_budget";
    let Some(program) = program_or_skip(test) else {
        return;
    };
    if Command::new("valgrind").arg("--version").output().is_err() {
        support::skip(test, "needs valgrind");
        return;
    }
    let measured = ["steady", "new", "flood"].map(|traffic| {
        // The difference is that of the ticks: starting, and filling the tables, cancels out.
        let more = instructions(&program, traffic, 3) - instructions(&program, traffic, 1);
        (traffic.to_owned(), more / 2 / 5000)
    });
    hold("instructions", &measured.into());
}

#[test]
fn allocations_a_tick_are_within_budget_and_none_is_for_a_flow() {
    let Some(program) = program_or_skip("allocations_a_tick_are_within_budget_and_none_is_for_a_flow") else {
        return;
    };
    let allocations = |flows: &str| {
        let mut command = Command::new(&program);
        command.args(["--whole", "--flows", flows, "--ticks", "1"]);
        let (answer, _) = answer(&mut command);
        answer["stages"]["pipeline"][0]["allocations"].as_u64().unwrap()
    };
    let (few, many) = (allocations("1000"), allocations("10000"));
    assert!(
        many < few + 90,
        "9,000 more flows make {} more allocations a tick: a hundredth of one each is too many",
        many - few
    );
    hold(
        "allocations",
        &[("steady_1k".to_owned(), few), ("steady_10k".to_owned(), many)].into(),
    );
}

#[test]
fn verified_instructions_are_within_budget() {
    if !support::root_or_skip("verified_instructions_are_within_budget") {
        return;
    }
    let release = nix::sys::utsname::uname()
        .unwrap()
        .release()
        .to_string_lossy()
        .into_owned();
    let series: Vec<&str> = release.split(['.', '-']).take(2).collect();
    let section = format!("verified_{}", series.join("_"));
    if !budgets().contains_key(&section) && env::var_os("FLOWMETER_BLESS").is_none() {
        let reason = format!("needs a kernel whose verifier budgets.toml has figures of, not {release}");
        return support::skip("verified_instructions_are_within_budget", &reason);
    }
    let (ebpf, _) = programs::loaded(&Capture::default());
    let mut measured = Figures::new();
    for (name, program) in ebpf.programs() {
        let info = match program {
            Program::Xdp(program) => program.info(),
            Program::SchedClassifier(program) => program.info(),
            other => panic!("a program of type {:?}", other.prog_type()),
        };
        match info.unwrap().verified_instruction_count() {
            Some(count) => measured.insert(name.to_owned(), count.into()),
            None => {
                return support::skip(
                    "verified_instructions_are_within_budget",
                    "needs verified_insns (kernel 5.16)",
                );
            }
        };
    }
    assert!(!measured.is_empty(), "the object has no programs");
    hold(&section, &measured);
}

#[test]
fn what_is_over_its_budget_is_named_with_both_figures() {
    let figures = |value| Figures::from([("steady".to_owned(), value)]);
    assert!(over("instructions", &figures(100), &figures(100)).is_empty());
    assert_eq!(
        over("instructions", &figures(101), &figures(100)),
        ["instructions.steady is 101, its budget 100"]
    );
    assert_eq!(
        over("instructions", &figures(1), &Figures::new()),
        ["instructions.steady is 1, and has no budget"]
    );
}
