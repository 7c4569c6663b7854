//! The binary as a person or a script meets it: messages, exit codes, help.
#![expect(
    clippy::unwrap_used,
    reason = "the lints' exception for tests does not reach their helper functions"
)]

mod commands;
mod errors;
mod replay;

use std::{
    io::Write,
    process::{Command, Output},
};

use tempfile::NamedTempFile;

/// The binary in an empty environment, so that nothing of the caller's gets in.
fn flowmeter(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowmeter"));
    command.args(arguments).env_clear();
    command
}

struct Told {
    code: i32,
    stdout: String,
    stderr: String,
}

fn told(command: &mut Command) -> Told {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    Told {
        code: status.code().unwrap(),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// What `check-config` says about a file, with the file's name as FILE.
fn check(text: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Told {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    let mut told = told(
        flowmeter(&["check-config", "--config", path])
            .args(arguments)
            .envs(environment.iter().copied()),
    );
    told.stdout = told.stdout.replace(path, "FILE");
    told.stderr = told.stderr.replace(path, "FILE");
    told
}
