//! How a failure ends the process: one message with its whole chain, and an exit code that tells scripts and
//! systemd what to do about it.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use thiserror::Error;

/// Exit code of an error of no particular kind.
const RUNTIME: u8 = 1;
/// `EX_NOPERM` of sysexits.h.
const PERMISSION: u8 = 77;
/// `EX_CONFIG` of sysexits.h.
const CONFIGURATION: u8 = 78;

/// A failure of a kind that has an exit code of its own. Whoever sees it first says so, and it is found under
/// any context that is added on the way up:
///
/// ```
/// # use flowmeter::error::Failure;
/// # fn load() -> anyhow::Result<()> {
/// return Err(Failure::Permission(anyhow::anyhow!("cannot load programs: CAP_BPF is missing")).into());
/// # }
/// # assert!(load().is_err());
/// ```
#[derive(Debug, Error)]
pub enum Failure {
    /// A capability or a right to a file is missing: exit code 77.
    #[error(transparent)]
    Permission(anyhow::Error),
    /// The configuration cannot be used: exit code 78.
    #[error(transparent)]
    Configuration(anyhow::Error),
}

impl Failure {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Permission(_) => PERMISSION,
            Self::Configuration(_) => CONFIGURATION,
        }
    }
}

/// 77 for missing permission, 78 for bad configuration, else 1. (Usage errors end with 2 in the argument parser.)
pub fn exit_code(error: &anyhow::Error) -> u8 {
    error
        .downcast_ref::<Failure>()
        .map_or(RUNTIME, Failure::exit_code)
}

/// Prints the error and all its causes on standard error, once, and tells the exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    // If standard error is closed, the exit code still tells.
    let _ = writeln!(io::stderr(), "error: {error:#}");
    ExitCode::from(exit_code(error))
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn the_kind_is_found_under_context() {
        let denied = || anyhow::Error::from(Failure::Permission(anyhow!("CAP_BPF is missing")));
        let wrapped = Err::<(), _>(denied())
            .context("cannot load")
            .context("cannot start")
            .unwrap_err();
        assert_eq!(exit_code(&denied()), 77);
        assert_eq!(exit_code(&wrapped), 77);
        assert_eq!(
            format!("{wrapped:#}"),
            "cannot start: cannot load: CAP_BPF is missing"
        );
        assert_eq!(exit_code(&Failure::Configuration(anyhow!("x")).into()), 78);
        assert_eq!(exit_code(&anyhow!("x")), 1);
    }
}
