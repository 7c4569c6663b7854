//! `flowmeter doctor`: what works on this host, what does not, and what to do about it. One file per check; none
//! of them changes anything.

mod btf;
mod capabilities;
mod clock;
mod disk;
pub mod environment;
mod events;
mod genl;
mod interfaces;
mod kernel;
mod networks;
mod offloads;
mod programs;
mod report;
mod site;
mod state;
mod wazuh;

use std::path::Path;

pub use self::report::Report;
use self::site::Site;
use crate::config::Config;

/// What one look at one thing showed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Outcome {
    /// What was looked at: `kernel`, `clock`, ...
    pub check: &'static str,
    pub result: Grade,
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    Ok,
    /// It may be meant so; the meter works.
    Warning,
    /// This process may not look.
    Denied,
    /// The meter does not start, or what it writes does not arrive or is wrong.
    Failure,
}

impl Outcome {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self {
            check,
            result: Grade::Ok,
            found: found.into(),
            remedy: None,
        }
    }

    fn with(check: &'static str, result: Grade, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            result,
            remedy: Some(remedy.into()),
            ..Self::ok(check, found)
        }
    }

    fn warning(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::with(check, Grade::Warning, found, remedy)
    }

    fn failure(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::with(check, Grade::Failure, found, remedy)
    }

    fn denied(check: &'static str, found: impl Into<String>) -> Self {
        Self::with(
            check,
            Grade::Denied,
            found,
            "run it as root: sudo flowmeter doctor",
        )
    }

    /// A check that could not be carried through: for lack of rights, or for another reason.
    fn of_error(check: &'static str, error: &anyhow::Error, remedy: &str) -> Self {
        if is_refusal(error) {
            Self::denied(check, format!("{error:#}"))
        } else {
            Self::failure(check, format!("{error:#}"), remedy)
        }
    }
}

/// The kernel answered EPERM or EACCES, at whatever depth.
fn is_refusal(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let cause = cause.downcast_ref::<std::io::Error>();
        cause.is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
    })
}

/// The state of the clock alone.
pub fn clock() -> Outcome {
    clock::look()
}

/// Looks at everything. `wazuh` is the folder of the Wazuh agent.
pub fn examine(config: &Config, wazuh: &Path) -> Report {
    let site = Site::look(config);
    let mut checks = Vec::new();
    kernel::check(&site, &mut checks);
    btf::check(&mut checks);
    capabilities::check(&mut checks);
    programs::check(&site, &mut checks);
    interfaces::check(&site, &mut checks);
    offloads::check(&site, &mut checks);
    networks::check(&site, &mut checks);
    events::check(&site, &mut checks);
    wazuh::check(&site, wazuh, &mut checks);
    clock::check(&mut checks);
    disk::check(&site, &mut checks);
    state::check(&site, &mut checks);
    Report { checks }
}
