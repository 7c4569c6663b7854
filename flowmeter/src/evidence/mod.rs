//! `flowmeter evidence`: what belongs to a finding or a host, in one archive with checksums.
//!
//! The files are read twice, as they were when they were opened: once to learn what the finding is about, once to
//! copy what belongs to it. Lines are copied byte for byte, each with its place.

mod archive;
mod event;
mod parts;
mod scope;
mod source;
mod text;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Serialize;

use self::{archive::Archive, parts::Parts, scope::Scope, source::SourceFile};
use crate::explain;

/// What it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `anomaly.episode`, and how much before and after it is taken.
    Finding {
        episode: String,
        margin: Duration,
    },
    Host(IpAddr),
}

#[derive(Clone, Debug)]
pub struct Request {
    pub subject: Subject,
    /// By `@timestamp`, both included.
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Where the archive goes; made if it is missing.
    pub directory: PathBuf,
}

/// What is true of the collection, and not of what is collected.
#[derive(Clone, Debug, Serialize)]
pub struct Circumstances {
    pub flowmeter: &'static str,
    pub host: String,
    #[serde(serialize_with = "text::time")]
    pub collected_at: Timestamp,
    /// The kernel's clock source, and whether the clock is synchronised.
    pub clock_source: String,
    pub clock_state: String,
}

/// What was made.
#[derive(Debug)]
pub struct Collected {
    pub archive: PathBuf,
    pub bytes: u64,
    /// What it holds, and lines of it.
    pub lines: Vec<(&'static str, u64)>,
    /// What could not be read or explained; it is told in the archive as well.
    pub problems: Vec<String>,
}

/// Which files are looked through.
#[derive(Clone, Copy, Debug)]
pub enum Files<'a> {
    /// The event file and what it was rotated to, compressed or not.
    Output(&'a Path),
    Named(&'a [PathBuf]),
}

/// Collects, and writes the archive. `configuration` goes into it as it is.
///
/// # Errors
/// Files that cannot be opened; nothing that belongs to the subject, with the time that the files cover; an archive
/// that cannot be written, or is there already.
pub fn collect(
    request: &Request,
    files: Files<'_>,
    configuration: &str,
    circumstances: &Circumstances,
) -> Result<Collected> {
    let files = match files {
        Files::Output(path) => source::of_output(path)?,
        Files::Named(paths) => source::named(paths)?,
    };
    let (scope, mut sources) = Scope::of(request, files)?;
    archive::make_folder(&request.directory)?;
    let mut parts = Parts::new(&request.directory)?;
    for source in &mut sources {
        parts.copy(&scope, source)?;
    }
    scope.nothing(&parts, &sources)?;
    let mut problems: Vec<String> = sources.iter().filter_map(Source::problem).collect();

    let name = format!("flowmeter-evidence-{}", scope.id());
    let mut archive = Archive::create(
        &request.directory,
        &name,
        circumstances.collected_at,
        scope.last(),
    )?;
    let explained = explain::markdown(
        parts.findings()?,
        Path::new("findings.jsonl"),
        circumstances.collected_at,
    );
    problems.extend(
        explained
            .problem
            .filter(|_| parts.lines_of(parts::FINDINGS) > 0)
            .map(|problem| format!("the explanation: {problem:#}")),
    );
    let readme = text::readme(&name, &scope, &parts, &sources, &problems);
    archive.text("README.txt", &readme)?;
    archive.text("explanation.md", &explained.reports)?;
    let lines = parts.counts();
    parts.store(&mut archive)?;
    archive.text("sources.json", &json(&sources)?)?;
    archive.text("configuration.toml", configuration)?;
    archive.text("collection.json", &json(circumstances)?)?;
    let (archive, bytes) = archive.finish()?;
    Ok(Collected {
        archive,
        bytes,
        lines,
        problems,
    })
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    Ok(serde_json::to_string_pretty(value).context("writing JSON")? + "\n")
}

/// A file that was looked through, and what was in it.
#[derive(Debug, Serialize)]
struct Source {
    path: String,
    /// As it is stored.
    size: u64,
    sha256: String,
    lines: u64,
    /// That are no event of this version.
    not_understood: u64,
    /// Of over 1 MiB, which are not copied.
    too_long: u64,
    #[serde(serialize_with = "text::times")]
    first: Option<Timestamp>,
    #[serde(serialize_with = "text::times")]
    last: Option<Timestamp>,
    /// What ended the reading early.
    damage: Option<String>,
    #[serde(skip)]
    file: SourceFile,
}

impl Source {
    fn new(file: SourceFile) -> Result<Self> {
        let (size, sha256) = file.sum().with_context(|| file.reading())?;
        Ok(Self {
            path: file.path.display().to_string(),
            size,
            sha256,
            lines: 0,
            not_understood: 0,
            too_long: 0,
            first: None,
            last: None,
            damage: None,
            file,
        })
    }

    fn problem(&self) -> Option<String> {
        let damage = self.damage.as_ref()?;
        Some(format!(
            "{}: cannot be read behind line {}: {damage}",
            self.path, self.lines
        ))
    }
}
