//! A report as what it says, without what it looks like: [`super::html`] and [`super::markdown`] are two renderings
//! of this.

use jiff::Timestamp;

use super::timeline::Bucket;
use crate::explain::report::SEVERE;

/// Score from which a finding is not merely low.
const MODERATE: u64 = 60;

/// Of a finding, from its score. Never told by colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    Low,
    Medium,
    High,
}

impl Severity {
    pub(super) const ALL: [Self; 3] = [Self::Low, Self::Medium, Self::High];

    pub(super) fn of(score: Option<u64>) -> Self {
        match score.unwrap_or(0) {
            SEVERE.. => Self::High,
            MODERATE.. => Self::Medium,
            _ => Self::Low,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// A shape for each.
    pub(super) const fn mark(self) -> &'static str {
        match self {
            Self::Low => "○",
            Self::Medium => "◆",
            Self::High => "▲",
        }
    }
}

/// The whole report.
pub struct Report {
    pub(super) title: String,
    /// What it is about, in a sentence.
    pub(super) lead: String,
    pub(super) facts: Vec<(String, String)>,
    /// The numbers that matter most.
    pub(super) figures: Vec<Figure>,
    /// What has to be known before anything else is believed.
    pub(super) notes: Vec<String>,
    pub(super) sections: Vec<Section>,
    /// Who made it, and when.
    pub(super) footer: String,
}

pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) value: String,
    /// A second line, may be empty.
    pub(super) more: String,
}

pub(super) struct Section {
    pub(super) heading: &'static str,
    pub(super) blocks: Vec<Block>,
}

pub(super) enum Block {
    Text(String),
    /// A heading below the section's.
    Heading(String),
    /// Something to mind.
    Note(String),
    Facts(Vec<(String, String)>),
    Table(Table),
    Items(Vec<Item>),
    /// To be ticked off.
    Checks(Vec<Item>),
    Code(String),
    Timeline(TimelineChart),
    Lanes(LanesChart),
    Contacts(ContactsChart),
    Card(Card),
}

/// One finding.
pub(super) struct Card {
    pub(super) severity: Severity,
    pub(super) title: String,
    /// Its tag, as events and rules have it.
    pub(super) tag: &'static str,
    /// Start, updates, end.
    pub(super) phases: String,
    /// The sentence.
    pub(super) message: String,
    pub(super) reasons: Vec<Item>,
    pub(super) facts: Vec<(String, String)>,
}

pub(super) struct Item {
    pub(super) text: String,
    /// Explains it; may be empty.
    pub(super) detail: String,
    /// To be copied; may be empty.
    pub(super) command: String,
}

impl Item {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            detail: String::new(),
            command: String::new(),
        }
    }

    pub(super) fn with_detail(self, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { detail, ..self }
    }

    pub(super) fn with_command(self, command: impl Into<String>) -> Self {
        let command = command.into();
        Self { command, ..self }
    }
}

pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<Cell>>,
    /// The last rows that are sums or remainders.
    pub(super) remainders: usize,
}

#[derive(Clone, Copy)]
pub(super) enum Column {
    /// Left-aligned.
    Text(&'static str),
    /// Left-aligned, in one line.
    Short(&'static str),
    /// Right-aligned.
    Number(&'static str),
    /// A bar.
    Share(&'static str),
}

impl Column {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Text(name) | Self::Short(name) | Self::Number(name) | Self::Share(name) => name,
        }
    }
}

pub(super) enum Cell {
    Text(String),
    Severity(Severity),
    /// Of the whole, 0 to 1.
    Share(f64),
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
}

/// Bytes, packets and findings by time.
pub(super) struct TimelineChart {
    /// Seconds since the Unix epoch.
    pub(super) start: i64,
    /// Of a bucket, in seconds.
    pub(super) width: i64,
    pub(super) buckets: Vec<Bucket>,
}

/// When what went on.
pub(super) struct LanesChart {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
    pub(super) lanes: Vec<(String, Vec<LaneBar>)>,
}

pub(super) struct LaneBar {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
    pub(super) severity: Severity,
    pub(super) title: String,
}

/// Single moments: each a stroke.
pub(super) struct ContactsChart {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
    pub(super) label: String,
    pub(super) contacts: Vec<Timestamp>,
    /// Findings among them.
    pub(super) findings: Vec<(Timestamp, Severity)>,
}
