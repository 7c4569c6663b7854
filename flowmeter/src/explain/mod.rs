//! Findings for people: a short report about each episode, to be put into a ticket.
//!
//! What the event holds is told in words; what it cannot hold (benign causes, what to look at next) comes from
//! one table.

pub(crate) mod episode;
pub(crate) mod knowledge;
pub(crate) mod next;
mod page;
pub(crate) mod read;
pub(crate) mod report;
pub(crate) mod told;

use std::{io::Read, path::Path};

use anyhow::{Result, anyhow};
use jiff::Timestamp;

use episode::Episode;
use page::{Form, Page};
use read::{Findings, Shown};

/// What could be made of a file.
#[derive(Debug)]
pub struct Explained {
    /// A report for each episode.
    pub reports: String,
    /// What kept it from being read to its end, or that it holds no finding.
    pub problem: Option<anyhow::Error>,
}

/// Explains the findings in a file, or on standard input for `-`: lines of the event file, of Wazuh's
/// `alerts.json`, or documents from its index, each on one line or spread over many.
///
/// `now`: a suggested entry of the allow-list ends after it, whenever the finding was.
pub fn explain(path: &Path, coloured: bool, now: Timestamp) -> Explained {
    let mut findings = Findings::default();
    let read = findings.read(path);
    let form = if coloured { Form::Coloured } else { Form::Plain };
    explained(findings, read, path, form, now)
}

/// The same in Markdown, of lines that are at hand; problems are told with the name `path`.
pub fn markdown(lines: impl Read, path: &Path, now: Timestamp) -> Explained {
    let mut findings = Findings::default();
    let read = findings.read_from(lines, path);
    explained(findings, read, path, Form::Markdown, now)
}

fn explained(findings: Findings, read: Result<()>, path: &Path, form: Form, now: Timestamp) -> Explained {
    let episodes = Episode::all(findings.told);
    let mut page = Page::new(form);
    for (number, episode) in episodes.iter().enumerate() {
        if number > 0 {
            page.rule();
        }
        report::write(&mut page, episode, now);
    }
    let none = || {
        let (shown, others) = (Shown(path), findings.others);
        episodes
            .is_empty()
            .then(|| anyhow!("{shown} holds no finding; other events: {others}"))
    };
    Explained {
        problem: read.err().or_else(none),
        reports: page.finish(),
    }
}
