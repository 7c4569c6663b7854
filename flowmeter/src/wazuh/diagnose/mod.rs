//! What is wrong on a host: the mistakes that keep events from becoming alerts.

mod collector;
mod manager;
pub mod template;

use std::fmt;

use anyhow::Result;

use super::host::Host;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    pub grade: Grade,
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    Good,
    /// It may be meant so.
    Warning,
    /// Something does not arrive, or fires nothing.
    Error,
}

impl Diagnosis {
    fn good(what: impl Into<String>) -> Self {
        Self {
            grade: Grade::Good,
            what: what.into(),
            remedy: String::new(),
        }
    }

    fn warning(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            grade: Grade::Warning,
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    fn error(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            grade: Grade::Error,
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grade = match self.grade {
            Grade::Good => "ok     ",
            Grade::Warning => "warning",
            Grade::Error => "error  ",
        };
        write!(f, "{grade}  {}", self.what)?;
        if !self.remedy.is_empty() {
            write!(f, "\n         -> {}", self.remedy)?;
        }
        Ok(())
    }
}

/// Looks at everything that the host's part has to do with.
///
/// # Errors
/// If a file cannot be read.
pub fn diagnose(host: &Host) -> Result<Vec<Diagnosis>> {
    let mut found = Vec::new();
    if host.agent {
        collector::diagnose(host, &mut found)?;
    }
    if host.manager {
        manager::diagnose(host, &mut found)?;
    }
    Ok(found)
}
