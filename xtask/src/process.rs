//! Child processes, and one line to the terminal for each step.

use std::{
    env, io,
    process::{Child, Command, ExitStatus, Stdio},
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Between two looks at something that cannot wake us.
pub(crate) const POLL: Duration = Duration::from_millis(50);

/// Seconds since the first step.
pub(crate) fn elapsed() -> f64 {
    START.elapsed().as_secs_f64()
}

/// Says what is being done now.
pub(crate) fn step(what: &str) {
    eprintln!("[{:6.1} s] {what}", elapsed());
}

/// Runs `command` to its end.
///
/// # Errors
/// If it cannot be started or does not exit with 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| starting(command))?;
    check(command, status)
}

/// Runs `command` for at most `limit`; after that it is ended.
pub(crate) fn run_within(command: &mut Command, limit: Duration) -> Result<()> {
    let mut child = command.spawn().with_context(|| starting(command))?;
    match wait_within(&mut child, limit).with_context(|| starting(command))? {
        Some(status) => check(command, status),
        None => {
            end(&mut child, Duration::from_secs(5))?;
            bail!("`{}` was ended after {} s", shown(command), limit.as_secs())
        }
    }
}

/// The standard output of `command`; its messages go to our standard error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| starting(command))?;
    check(command, output.status)?;
    String::from_utf8(output.stdout).with_context(|| format!("reading the output of `{}`", shown(command)))
}

/// Waits until the child has ended, `None` if it has not within `limit`.
pub(crate) fn wait_within(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

/// Asks the child to end, and ends it after `grace`.
pub(crate) fn end(child: &mut Child, grace: Duration) -> Result<ExitStatus> {
    terminate(child)?;
    if let Some(status) = wait_within(child, grace)? {
        return Ok(status);
    }
    child.kill()?;
    Ok(child.wait()?)
}

/// Sends SIGTERM. A child that has ended already is no error.
pub(crate) fn terminate(child: &mut Child) -> Result<()> {
    if child.try_wait()?.is_none() {
        let pid = Pid::from_raw(i32::try_from(child.id()).context("process id out of range")?);
        kill(pid, Signal::SIGTERM).context("sending SIGTERM")?;
    }
    Ok(())
}

/// Takes what steers the caller's own builds out of a cargo command's environment, so that it neither
/// breaks a build for another target nor rebuilds it on each change of flags.
pub(crate) fn without_caller_settings(command: &mut Command) -> &mut Command {
    const PREFIXES: [&str; 4] = [
        "CARGO_BUILD_",
        "CARGO_PROFILE_",
        "CARGO_TARGET_",
        "CARGO_UNSTABLE_",
    ];
    const NAMES: [&str; 9] = [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTDOCFLAGS",
        "CARGO_ENCODED_RUSTDOCFLAGS",
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_BOOTSTRAP",
        "CARGO_INCREMENTAL",
    ];
    for (name, _) in env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        if NAMES.contains(&text) || PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command
}

/// The command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| {
        let word = word.to_string_lossy();
        if word.is_empty() || word.contains(|c: char| c.is_whitespace() || "\"'$\\".contains(c)) {
            format!("'{}'", word.replace('\'', r"'\''"))
        } else {
            word.into_owned()
        }
    }));
    words.join(" ")
}

fn starting(command: &Command) -> String {
    format!("running `{}`", shown(command))
}

fn check(command: &Command, status: ExitStatus) -> Result<()> {
    ensure!(status.success(), "`{}` failed: {status}", shown(command));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_takes_too_long_is_ended_and_the_message_says_so() {
        let begin = Instant::now();
        let mut command = Command::new("sleep");
        let error = run_within(command.arg("60"), Duration::from_millis(10)).unwrap_err();
        assert!(
            error.to_string().starts_with("`sleep 60` was ended after"),
            "{error}"
        );
        assert!(begin.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_failed_command_is_shown_as_one_would_type_it() {
        let mut command = Command::new("sh");
        let error = run(command.args(["-c", "exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "`sh -c 'exit 3'` failed: exit status: 3");
    }
}
