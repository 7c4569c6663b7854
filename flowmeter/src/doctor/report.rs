//! All outcomes, as text and as a result.

use std::fmt::Write as _;

use anyhow::{Result, anyhow, bail};

use super::{Grade, Outcome};
use crate::error::Failure;

/// What was looked at, in order.
#[derive(Debug, serde::Serialize)]
pub struct Report {
    pub checks: Vec<Outcome>,
}

impl Report {
    fn count(&self, grade: Grade) -> usize {
        self.checks.iter().filter(|check| check.result == grade).count()
    }

    /// The worst that was found.
    pub fn result(&self) -> Grade {
        let worst = self.checks.iter().map(|check| check.result).max();
        worst.unwrap_or(Grade::Ok)
    }

    /// # Errors
    /// If anything failed; else, of the kind for missing permission, if anything could not be looked at.
    pub fn verdict(&self) -> Result<()> {
        match self.result() {
            Grade::Failure => match self.count(Grade::Failure) {
                1 => bail!("a check failed"),
                failures => bail!("{failures} checks failed"),
            },
            Grade::Denied => {
                let denied = self.count(Grade::Denied);
                let error = anyhow!("not everything could be looked at ({denied}); run it as root");
                Err(Failure::Permission(error).into())
            }
            Grade::Warning | Grade::Ok => Ok(()),
        }
    }

    /// One line an outcome, what to do below it, and a last line that sums up.
    pub fn to_text(&self, colours: bool) -> String {
        let width = self.checks.iter().map(|check| check.check.len()).max();
        let width = width.unwrap_or(0);
        let mut text = String::new();
        for check in &self.checks {
            let (word, colour) = shown(check.result);
            let (on, off) = if colours { (colour, "\x1b[0m") } else { ("", "") };
            // Writing to a string does not fail.
            let _ = writeln!(text, "{on}{word:7}{off}  {:width$}  {}", check.check, check.found);
            if let Some(remedy) = &check.remedy {
                let _ = writeln!(text, "{:7}  {:width$}  -> {remedy}", "", "");
            }
        }
        let counts = [Grade::Ok, Grade::Warning, Grade::Denied, Grade::Failure]
            .map(|grade| (shown(grade).0, self.count(grade)))
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(word, count)| format!("{count} {word}"));
        let _ = writeln!(text, "\n{}", counts.collect::<Vec<_>>().join(", "));
        text
    }
}

/// The word, and the sequence that colours it (ECMA-48, SGR).
const fn shown(grade: Grade) -> (&'static str, &'static str) {
    match grade {
        Grade::Ok => ("ok", "\x1b[32m"),
        Grade::Warning => ("warning", "\x1b[33m"),
        Grade::Denied => ("denied", "\x1b[35m"),
        Grade::Failure => ("failure", "\x1b[1;31m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit_code;

    fn report(grades: &[Grade]) -> Report {
        let outcome = |&grade| Outcome::with("disk", grade, "full", "empty it");
        Report {
            checks: grades.iter().map(outcome).collect(),
        }
    }

    #[test]
    fn the_exit_code_is_that_of_the_worst_outcome() {
        use Grade::{Denied, Failure, Ok, Warning};
        let code = |grades: &[Grade]| report(grades).verdict().err().map(|error| exit_code(&error));
        assert_eq!(code(&[]), None);
        assert_eq!(code(&[Ok, Warning]), None);
        assert_eq!(code(&[Denied, Ok]), Some(77));
        assert_eq!(code(&[Denied, Failure, Warning]), Some(1));
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        let report = report(&[Grade::Ok, Grade::Failure]);
        let plain = report.to_text(false);
        assert_eq!(
            plain,
            "ok       disk  full\n               -> empty it\nfailure  disk  full\n               -> empty it\n\n\
             1 ok, 1 failure\n"
        );
        let coloured = report.to_text(true);
        assert!(coloured.contains("\x1b[1;31mfailure\x1b[0m"), "{coloured:?}");
        let stripped = ["\x1b[0m", "\x1b[32m", "\x1b[1;31m"]
            .iter()
            .fold(coloured, |text, code| text.replace(code, ""));
        assert_eq!(stripped, plain);
    }
}
