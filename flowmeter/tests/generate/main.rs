//! `flowmeter generate` as a person or a script meets it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the lints' exception for tests does not reach their helper functions"
)]

mod command;
mod found;
mod packets;
mod scenarios;
mod sending;
#[path = "../support/mod.rs"]
mod support;

use std::process::{Command, Output};

use serde_json::Value;

/// The binary in an empty environment and with the default configuration.
fn generate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowmeter"));
    command
        .args(["generate", "-c", "/dev/null", "--set", "collector.name=c1"])
        .args(arguments)
        .env_clear();
    command
}

/// What a command that succeeds and tells nothing writes.
#[track_caller]
fn written(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    assert_eq!(String::from_utf8(stderr).unwrap(), "");
    assert!(status.success());
    String::from_utf8(stdout).unwrap()
}

#[track_caller]
fn events(arguments: &[&str]) -> Vec<Value> {
    parsed(&written(&mut generate(arguments)))
}

fn parsed(lines: &str) -> Vec<Value> {
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn text<'a>(event: &'a Value, pointer: &str) -> &'a str {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn number(event: &Value, pointer: &str) -> u64 {
    let value = event.pointer(pointer).unwrap_or(&Value::Null);
    value
        .as_u64()
        .or_else(|| value.as_str()?.parse().ok())
        .unwrap_or_else(|| panic!("{pointer} is no count in {event}"))
}
