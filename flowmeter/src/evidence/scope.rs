//! What belongs to the evidence: which time, which hosts.

use std::{collections::BTreeSet, net::IpAddr};

use anyhow::{Result, anyhow, bail};
use jiff::Timestamp;

use super::{
    Request, Source, Subject,
    event::{Event, Finding, Kind},
    parts::{self, Parts},
    source::SourceFile,
};

#[derive(Debug)]
pub(super) struct Scope {
    subject: Subject,
    since: Timestamp,
    until: Timestamp,
    /// What is looked at, margin and all.
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) hosts: BTreeSet<IpAddr>,
    last: Option<Timestamp>,
}

impl Scope {
    /// Reads the files once.
    ///
    /// # Errors
    /// That there is no such finding.
    pub(super) fn of(request: &Request, files: Vec<SourceFile>) -> Result<(Self, Vec<Source>)> {
        let mut scope = Self {
            subject: request.subject.clone(),
            since: request.since.unwrap_or(Timestamp::MIN),
            until: request.until.unwrap_or(Timestamp::MAX),
            from: request.since.unwrap_or(Timestamp::MIN),
            to: request.until.unwrap_or(Timestamp::MAX),
            hosts: BTreeSet::new(),
            last: None,
        };
        let mut seen: Option<(Timestamp, Timestamp)> = None;
        let mut findings = 0;
        let mut sources = Vec::new();
        for file in files {
            let mut source = Source::new(file)?;
            source.read(|_, _, event| {
                if let Some(event) = event
                    && let Kind::Finding(finding) = &event.kind
                {
                    findings += 1;
                    if scope.is_about(event, finding) {
                        let (first, last) = seen.unwrap_or((finding.first_seen, event.time));
                        seen = Some((
                            first.min(finding.first_seen),
                            last.max(finding.last_seen).max(event.time),
                        ));
                        scope.add_hosts(event, finding);
                    }
                }
                Ok(())
            })?;
            sources.push(source);
        }
        // By what they hold, not by what they are called: rotation renames them.
        sources.sort_by(|a, b| (a.first, a.last, &a.sha256).cmp(&(b.first, b.last, &b.sha256)));
        match (&scope.subject, seen) {
            (Subject::Finding { margin, .. }, Some((first, last))) => {
                scope.from = first.checked_sub(*margin).unwrap_or(Timestamp::MIN);
                scope.to = last.checked_add(*margin).unwrap_or(Timestamp::MAX);
            }
            (Subject::Finding { episode, .. }, None) => bail!(
                "no finding of episode {episode}{} in {}; {findings} findings of others",
                scope.times(),
                covered(&sources)
            ),
            (Subject::Host(ip), _) => {
                scope.hosts = BTreeSet::from([*ip]);
            }
        }
        let last = sources.iter().filter_map(|source| source.last).max();
        scope.last = last.map(|last| last.min(scope.to));
        Ok((scope, sources))
    }

    /// True for a finding that this is the evidence of.
    pub(super) fn is_about(&self, event: &Event, finding: &Finding) -> bool {
        let time = (self.since..=self.until).contains(&event.time);
        time && match &self.subject {
            Subject::Finding { episode, .. } => *episode == finding.episode,
            Subject::Host(ip) => event.ends[0] == Some(*ip),
        }
    }

    fn add_hosts(&mut self, event: &Event, finding: &Finding) {
        self.hosts.extend(event.ends.iter().flatten());
        if event.ends.contains(&None) {
            self.hosts.extend(&finding.hosts);
        }
    }

    pub(super) fn holds(&self, time: Timestamp) -> bool {
        (self.from..=self.to).contains(&time)
    }

    /// Whether one of the hosts has a part in it.
    pub(super) fn concerns(&self, event: &Event) -> bool {
        event.ends.iter().flatten().any(|ip| self.hosts.contains(ip))
    }

    /// What the archive is called after: no colons, which some file systems do not have.
    pub(super) fn id(&self) -> String {
        match &self.subject {
            Subject::Finding { episode, .. } => episode.clone(),
            Subject::Host(ip) => ip.to_string().replace(':', "-"),
        }
    }

    /// In words.
    pub(super) fn subject(&self) -> String {
        match &self.subject {
            Subject::Finding { episode, margin } => format!(
                "the finding with anomaly.episode {episode}, with {} before and after it",
                humantime::format_duration(*margin)
            ),
            Subject::Host(ip) => format!("the host {ip}"),
        }
    }

    /// The latest event that can be in it: the time of the archive's files.
    pub(super) const fn last(&self) -> Option<Timestamp> {
        self.last
    }

    /// # Errors
    /// If nothing was found.
    pub(super) fn nothing(&self, parts: &Parts, sources: &[Source]) -> Result<()> {
        let found = [parts::FINDINGS, parts::RELATED, parts::FLOWS]
            .iter()
            .any(|part| parts.lines_of(part) > 0);
        if found {
            return Ok(());
        }
        Err(anyhow!(
            "no finding and no flow of {}{} in {}",
            self.id(),
            self.times(),
            covered(sources)
        ))
    }

    fn times(&self) -> String {
        let since = (self.since > Timestamp::MIN).then(|| format!(" since {}", self.since));
        let until = (self.until < Timestamp::MAX).then(|| format!(" until {}", self.until));
        since.unwrap_or_default() + &until.unwrap_or_default()
    }
}

/// Which files were looked through, and the time that they cover.
fn covered(sources: &[Source]) -> String {
    let paths: Vec<&str> = sources.iter().map(|source| source.path.as_str()).collect();
    let first = sources.iter().filter_map(|source| source.first).min();
    let last = sources.iter().filter_map(|source| source.last).max();
    let time = match (first, last) {
        (Some(first), Some(last)) => format!("which cover {first} to {last}"),
        _ => "in which there is no event at all".to_owned(),
    };
    let lines: u64 = sources.iter().map(|source| source.lines).sum();
    format!("{} ({lines} lines), {time}", paths.join(", "))
}
