//! An episode: its start, updates and end, put together.

use indexmap::IndexMap;
use jiff::Timestamp;

use super::told::Told;
use crate::detect::{Phase, Tag};

/// The findings of one episode, each once, in their order.
#[derive(Debug)]
pub(crate) struct Episode {
    findings: Vec<Told>,
    /// The fullest: the last that is not the end, which repeats only the sums.
    latest: Told,
}

impl Episode {
    /// Episodes in the order in which they first come up. Several collectors may see the same traffic: their
    /// episodes are their own.
    pub(crate) fn all(told: Vec<Told>) -> Vec<Self> {
        let mut same = IndexMap::<(Tag, String, Option<String>), Vec<Told>>::new();
        for told in told {
            let key = (told.tag, told.episode.clone(), told.collector.clone());
            same.entry(key).or_default().push(told);
        }
        same.into_values().flat_map(Self::with_one_id).collect()
    }

    /// A subject that comes up again while its first contact is remembered has the same id again: a start begins
    /// an episode all the same.
    fn with_one_id(mut findings: Vec<Told>) -> Vec<Self> {
        findings.sort_by_key(|told| (told.last_seen, told.sequence));
        // An event and the alert about it.
        findings.dedup_by_key(|told| (told.last_seen, told.sequence));
        findings
            .chunk_by(|_, next| next.phase != Phase::Start)
            .filter_map(Self::new)
            .collect()
    }

    fn new(findings: &[Told]) -> Option<Self> {
        let full = findings.iter().rfind(|told| told.phase != Phase::End);
        let latest = full.or(findings.last())?.clone();
        Some(Self {
            findings: findings.to_vec(),
            latest,
        })
    }

    pub(crate) const fn latest(&self) -> &Told {
        &self.latest
    }

    pub(crate) fn first_seen(&self) -> Timestamp {
        let times = self.findings.iter().map(|told| told.first_seen);
        times.min().unwrap_or(self.latest.first_seen)
    }

    pub(crate) fn last_seen(&self) -> Timestamp {
        let times = self.findings.iter().map(|told| told.last_seen);
        times.max().unwrap_or(self.latest.last_seen)
    }

    pub(crate) fn updates(&self) -> usize {
        self.phase(Phase::Update).count()
    }

    pub(crate) fn has(&self, phase: Phase) -> bool {
        self.phase(phase).next().is_some()
    }

    /// Start, updates and end, as far as they were read.
    pub(crate) fn findings(&self) -> impl Iterator<Item = &Told> {
        self.findings.iter()
    }

    fn phase(&self, phase: Phase) -> impl Iterator<Item = &Told> {
        self.findings.iter().filter(move |told| told.phase == phase)
    }

    /// Told about the same and not written.
    pub(crate) fn suppressed(&self) -> u64 {
        self.findings
            .iter()
            .map(|told| told.suppressed)
            .fold(0, u64::saturating_add)
    }

    /// Identifier and words: the latest, then those that only earlier findings have.
    pub(crate) fn reasons(&self) -> Vec<&(String, String)> {
        let mut reasons: Vec<_> = self.latest.reasons.iter().collect();
        for reason in self.findings.iter().rev().flat_map(|told| &told.reasons) {
            if !reasons.iter().any(|(id, _)| *id == reason.0) {
                reasons.push(reason);
            }
        }
        reasons
    }

    /// What is the same in all findings of the episode.
    pub(crate) fn constant<T: Copy + PartialEq>(&self, read: impl Fn(&Told) -> Option<T>) -> Option<T> {
        let value = read(&self.latest);
        value.filter(|_| self.findings.iter().all(|told| read(told) == value))
    }
}
