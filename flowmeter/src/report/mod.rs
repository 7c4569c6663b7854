//! Reports for people out of event files: what went on in a network, what was found in it, or everything about one
//! finding.
//!
//! Events are read line by line and summed up in bounded memory ([`collect`]), put into words and tables
//! ([`compose`], a [`model::Report`]), and rendered ([`html`], [`markdown`]). What was left out on the way is said in
//! the report.

mod chart;
mod collect;
mod compose;
mod event;
mod health;
mod html;
mod markdown;
mod model;
mod read;
mod scene;
mod timeline;
mod top;

use std::{net::IpAddr, path::PathBuf};

use anyhow::{Result, bail};
use clap::ValueEnum;
use jiff::Timestamp;

use collect::Collected;
use read::Files;

pub use html::html;
pub use markdown::markdown;
pub use model::Report;
pub use read::Span;

use crate::explain::episode::Episode;
use scene::Scene;

/// What a report is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Network monitoring: how much went where, and did the meter see it all?
    #[default]
    Monitoring,
    /// Anomaly detection: every finding with its evidence.
    Anomalies,
    /// Incident investigation: everything about one finding.
    Incident,
}

/// Which finding an incident is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Subject {
    /// The one with the highest score.
    #[default]
    Worst,
    /// `anomaly.episode`.
    Episode(String),
    /// The one with the highest score that has this source.
    Source(IpAddr),
}

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Event files; `-` is standard input.
    pub files: Vec<PathBuf>,
    pub kind: Kind,
    pub subject: Subject,
    pub span: Span,
}

/// Reads the events and makes the report. `now` stands in it as the time when it was made.
///
/// # Errors
/// A file that cannot be opened, no event within the span, no finding for an incident.
pub fn report(request: &Request, now: Timestamp) -> Result<Report> {
    let files = Files::new(&request.files, request.kind == Kind::Incident)?;
    let mut collected = Collected::default();
    let counts = files.read(request.span, |event| collected.take(event))?;
    collected.counts = counts;
    if collected.span.is_none() {
        bail!(nothing(&collected));
    }
    let episodes = Episode::all(std::mem::take(&mut collected.findings));
    match request.kind {
        Kind::Monitoring => Ok(compose::monitoring(&collected, &episodes, now)),
        Kind::Anomalies => Ok(compose::anomalies(&collected, &episodes, now)),
        Kind::Incident => {
            let Some(chosen) = choose(&episodes, &request.subject) else {
                bail!(no_finding(&collected, &episodes, &request.subject));
            };
            let mut scene = Scene::new(chosen);
            files.read(request.span, |event| scene.take(event))?;
            Ok(compose::incident(&collected, &episodes, chosen, &scene, now))
        }
    }
}

/// The highest score; the first of those that have the same. What tells of the meter itself comes last.
fn choose<'a>(episodes: &'a [Episode], subject: &Subject) -> Option<&'a Episode> {
    let wanted = |episode: &&Episode| match subject {
        Subject::Worst => true,
        Subject::Episode(id) => episode.latest().episode == *id,
        Subject::Source(ip) => episode.latest().source == Some(*ip),
    };
    let rank = |episode: &&Episode| {
        let told = episode.latest();
        (told.tag != crate::detect::Tag::Overflow, told.score)
    };
    episodes.iter().rev().filter(wanted).max_by_key(rank)
}

fn nothing(collected: &Collected) -> String {
    let counts = &collected.counts;
    let mut message = format!("there is no event to report on; lines read: {}", counts.read);
    for (what, count) in [
        ("outside of --since and --until", counts.outside),
        ("broken", counts.broken),
        ("other", counts.other),
    ] {
        if count > 0 {
            message += &format!(", {what}: {count}");
        }
    }
    for complaint in counts.complaints.first().into_iter().chain(&counts.cut) {
        message += &format!("; {complaint}");
    }
    message
}

fn no_finding(collected: &Collected, episodes: &[Episode], subject: &Subject) -> String {
    let what = match subject {
        Subject::Worst => return "an incident report needs a finding, and these events hold none".to_owned(),
        Subject::Episode(id) => format!("--finding {id}: no such anomaly.episode"),
        Subject::Source(ip) => format!("--source {ip}: no finding has this source"),
    };
    let mut message = format!("{what} among {} findings", episodes.len());
    if collected.findings_beyond > 0 {
        message += &format!(
            "; {} more were not kept, narrow the time with --since and --until",
            collected.findings_beyond
        );
    }
    message
}
