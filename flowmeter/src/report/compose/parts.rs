//! What several kinds of report have.

use std::fmt::Display;

use jiff::Timestamp;

use super::words::{bits, count, lasting, period, several, size, time};

use crate::{
    explain::{
        episode::Episode,
        knowledge::{REASONS, kind, text},
        report::{evidence_of, facts_of, phases},
        told::plain,
    },
    report::{
        collect::Collected,
        event::Volume,
        model::{Block, Card, Cell, Column, Figure, Item, Severity, Table, TimelineChart},
        top::{Ranking, Top},
    },
};

pub(super) fn footer(now: Timestamp) -> String {
    format!(
        "Made {} by flowmeter {} from its event files. All times are UTC.",
        time(now),
        env!("CARGO_PKG_VERSION")
    )
}

/// What every report begins with.
pub(super) fn facts(collected: &Collected) -> Vec<(String, String)> {
    let counts = &collected.counts;
    let mut facts = Vec::new();
    if let Some((first, last)) = collected.span {
        facts.push((
            "events".to_owned(),
            format!("{} ({})", period(first, last), lasting(first, last)),
        ));
    }
    let collectors: Vec<&str> = collected.collectors.iter().map(String::as_str).collect();
    facts.push(("collectors".to_owned(), collectors.join(", ")));
    let mut lines = vec![];
    for (number, one, more) in [
        (counts.flows, "flow", "flows"),
        (counts.summaries, "summary", "summaries"),
        (counts.findings, "finding", "findings"),
        (counts.statistics, "statistics event", "statistics events"),
        (counts.broken, "broken", "broken"),
        (
            counts.outside,
            "outside of the time wanted",
            "outside of the time wanted",
        ),
        (counts.other, "other", "other"),
    ] {
        if number > 0 {
            lines.push(format!(
                "{} {}",
                count(number),
                if number == 1 { one } else { more }
            ));
        }
    }
    facts.push((
        "lines read".to_owned(),
        format!("{}: {}", count(counts.read), lines.join(", ")),
    ));
    facts
}

/// What keeps the report from being the whole truth.
pub(super) fn notes(collected: &Collected) -> Vec<String> {
    let mut notes = Vec::new();
    let counts = &collected.counts;
    if collected.synthetic > 0 {
        notes.push(format!(
            "{} were made up by flowmeter generate: there was no such traffic.",
            several(collected.synthetic, "event")
        ));
    }
    if counts.broken > 0 {
        let mut note = format!(
            "{} could not be read and are in no sum: ",
            several(counts.broken, "line")
        );
        note += &counts.complaints.join("; ");
        if counts.broken > counts.complaints.len() as u64 {
            note += &format!(
                "; and {} more",
                count(counts.broken - counts.complaints.len() as u64)
            );
        }
        notes.push(note + ".");
    }
    for cut in &counts.cut {
        notes.push(format!(
            "Cannot be read further on: {cut}. What comes before was used."
        ));
    }
    if collected.sampling > 1 {
        notes.push(format!(
            "Packets were sampled, one in {}. All numbers are those of the packets that were counted: what passed is \
             about so many times as much.",
            count(u64::from(collected.sampling))
        ));
    }
    if collected.findings_beyond > 0 {
        notes.push(format!(
            "{} more findings are in the timeline but not listed, for want of room; narrow the time with --since and \
             --until.",
            count(collected.findings_beyond)
        ));
    }
    notes
}

pub(super) fn traffic_figures(collected: &Collected) -> Vec<Figure> {
    let Volume {
        records,
        bytes,
        packets,
    } = collected.total;
    let seconds = collected.span.map_or(0, |(first, last)| {
        last.duration_since(first).unsigned_abs().as_secs()
    });
    let rate = bytes.saturating_mul(8).checked_div(seconds);
    vec![
        Figure {
            name: "Traffic",
            value: size(bytes),
            more: rate
                .map(|rate| format!("{} on average", bits(rate)))
                .unwrap_or_default(),
        },
        Figure {
            name: "Packets",
            value: count(packets),
            more: bytes
                .checked_div(packets)
                .map(|mean| format!("{mean} bytes on average"))
                .unwrap_or_default(),
        },
        Figure {
            name: "Flow records",
            value: count(records),
            more: match collected.summarised.records {
                0 => "each in a line of its own".to_owned(),
                some => format!("{} of them in summaries", count(some)),
            },
        },
    ]
}

pub(super) fn findings_figure(episodes: &[Episode]) -> Figure {
    let of = |severity| {
        let same = episodes.iter().filter(|episode| severity_of(episode) == severity);
        format!("{} {}", same.count(), severity.name())
    };
    let more: Vec<String> = Severity::ALL.into_iter().rev().map(of).collect();
    Figure {
        name: "Findings",
        value: count(episodes.len() as u64),
        more: more.join(", "),
    }
}

/// Of the whole episode: its highest.
pub(super) fn severity_of(episode: &Episode) -> Severity {
    Severity::of(episode.latest().score)
}

pub(super) fn timeline(collected: &Collected) -> Block {
    let (start, width, buckets) = collected.timeline.buckets();
    Block::Timeline(TimelineChart {
        start,
        width,
        buckets,
    })
}

/// The worst first.
pub(super) fn by_severity(episodes: &[Episode]) -> Vec<&Episode> {
    let mut sorted: Vec<&Episode> = episodes.iter().collect();
    sorted.sort_by_key(|episode| (std::cmp::Reverse(episode.latest().score), episode.first_seen()));
    sorted
}

/// Start, updates and end in one.
pub(super) fn card(episode: &Episode) -> Block {
    let told = episode.latest();
    let mut facts: Vec<(String, String)> = facts_of(episode)
        .into_iter()
        // These stand in its head.
        .filter(|(label, _)| !["score", "episode"].contains(label))
        .map(|(label, value)| (label.to_owned(), value))
        .collect();
    facts.extend(evidence_of(episode));
    if !told.settings.is_empty() {
        facts.push(("decided by".to_owned(), told.settings.join("; ")));
    }
    facts.push(("episode".to_owned(), told.episode.clone()));
    Block::Card(Card {
        severity: severity_of(episode),
        title: titled(episode),
        tag: told.tag.name(),
        phases: phases(episode),
        message: told.message.clone(),
        reasons: reasons(episode),
        facts,
    })
}

fn titled(episode: &Episode) -> String {
    let told = episode.latest();
    let score = told
        .score
        .map(|score| format!(", score {score}"))
        .unwrap_or_default();
    let confidence = told.confidence.as_ref();
    let confidence = confidence.map(|confidence| format!(", confidence {confidence}"));
    format!(
        "{}{score}{}",
        kind(told.tag).title,
        confidence.unwrap_or_default()
    )
}

pub(super) fn reasons(episode: &Episode) -> Vec<Item> {
    let known = |id: &str| text(REASONS, id).unwrap_or("This version does not know the reason.");
    episode
        .reasons()
        .into_iter()
        .map(|(id, words)| Item::new(format!("{words} ({id})")).with_detail(known(id)))
        .collect()
}

/// When it was seen, how bad, what.
pub(super) fn findings_table<'a>(episodes: impl Iterator<Item = &'a Episode>) -> Table {
    let rows = episodes.map(|episode| {
        let told = episode.latest();
        let (first, last) = (episode.first_seen(), episode.last_seen());
        vec![
            Cell::Severity(severity_of(episode)),
            Cell::text(told.score.map(|score| score.to_string()).unwrap_or_default()),
            Cell::text(first.strftime("%Y-%m-%d %H:%M:%S").to_string()),
            Cell::text(lasting(first, last)),
            Cell::text(told.message.clone()),
            Cell::text(phases(episode)),
        ]
    });
    Table {
        rows: rows.collect(),
        columns: vec![
            Column::Short("Severity"),
            Column::Number("Score"),
            Column::Short("Begun (UTC)"),
            Column::Short("Lasting"),
            Column::Text("What was found"),
            Column::Text("Episode"),
        ],
        remainders: 0,
    }
}

/// The largest rows of `top`, and what is left, so that the table adds up to `total`.
pub(super) fn volumes<K>(what: &'static str, top: &Top<K>, rows: usize, total: Volume) -> Vec<Block>
where
    K: Clone + Display + Eq + std::hash::Hash + Ord,
{
    let Ranking {
        rows,
        other_rows,
        others,
        several: together,
        exact_rows,
        lacking,
    } = top.largest(rows);
    let row = |name: String, volume: Volume| {
        #[expect(clippy::cast_precision_loss, reason = "the length of a bar")]
        let share = if total.bytes == 0 {
            0.0
        } else {
            volume.bytes as f64 / total.bytes as f64
        };
        vec![
            Cell::Text(name),
            Cell::text(size(volume.bytes)),
            Cell::Share(share),
            Cell::text(count(volume.packets)),
            Cell::text(count(volume.records)),
        ]
    };
    let mut table = Table {
        columns: vec![
            Column::Text(what),
            Column::Number("Bytes"),
            Column::Share("Share"),
            Column::Number("Packets"),
            Column::Number("Records"),
        ],
        rows: rows
            .into_iter()
            .map(|(key, volume)| row(plain(&key.to_string()), volume))
            .collect(),
        remainders: 0,
    };
    for (name, volume) in [
        (format!("{} others", count(other_rows)), others),
        ("in summaries of several".to_owned(), together),
    ] {
        if volume != Volume::default() {
            table.rows.push(row(name, volume));
            table.remainders += 1;
        }
    }
    let mut blocks = vec![Block::Table(table)];
    if lacking > 0 {
        blocks.push(Block::Note(format!(
            "There were more than {} different rows: the smaller ones were let go into \"others\" meanwhile, and a row \
             may lack up to {} for it.",
            count(exact_rows as u64),
            size(lacking)
        )));
    }
    blocks
}
