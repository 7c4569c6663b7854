//! The measurement as Markdown.

use std::{collections::BTreeMap, fmt::Write};

use flowmeter::detect::Tag;

use super::{
    judged,
    measure::{Corpus, Measured},
    rows::is_of_kind,
};

/// Rows and findings of one detector, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Score {
    pub(crate) rows: u32,
    pub(crate) found: u32,
    pub(crate) hard: u32,
    pub(crate) hard_found: u32,
    pub(crate) not_rows: u32,
    pub(crate) not_kept: u32,
    /// Distinct (file, source) in labelled captures of this detector that no row asks for.
    pub(crate) extra: u32,
}

impl Score {
    pub(crate) fn recall(&self) -> f64 {
        f64::from(self.found) / f64::from(self.rows.max(1))
    }

    pub(crate) fn precision(&self) -> f64 {
        f64::from(self.found) / f64::from((self.found + self.extra).max(1))
    }
}

impl Measured {
    pub(crate) fn scores(&self) -> BTreeMap<String, Score> {
        let mut scores: BTreeMap<String, Score> = BTreeMap::new();
        for outcome in &self.outcomes {
            let row = &outcome.row;
            let score = scores.entry(row.group().to_owned()).or_default();
            let right = u32::from(outcome.right);
            match (row.not, row.hard()) {
                (true, false) => {
                    score.not_rows += 1;
                    score.not_kept += right;
                }
                (_, true) => {
                    score.hard += 1;
                    score.hard_found += right;
                }
                (false, false) => {
                    score.rows += 1;
                    score.found += right;
                }
            }
        }
        for (group, score) in &mut scores {
            let of_group = |path: &str| {
                self.outcomes
                    .iter()
                    .any(|outcome| outcome.row.path == path && outcome.row.group() == group)
            };
            let mut extra: Vec<_> = self
                .labelled
                .made
                .iter()
                .filter(|made| !made.wanted && of_group(&made.path))
                .filter(|made| is_of_kind(group, &made.finding))
                .map(|made| (&made.path, made.finding.source, made.finding.destination))
                .collect();
            extra.sort_unstable();
            extra.dedup();
            score.extra = u32::try_from(extra.len()).unwrap_or(u32::MAX);
        }
        scores
    }
}

/// `listed`: with every finding that no row asks for.
pub(crate) fn report(title: &str, measured: &Measured, listed: bool) -> String {
    let mut text = format!("## {title}\n\n");
    text += "| finding | rows found | recall | precision | quiet where it must be | hard rows | median time to detect |\n";
    text += "|---|---|---|---|---|---|---|\n";
    for (group, score) in measured.scores() {
        let mut times: Vec<f64> = measured
            .outcomes
            .iter()
            .filter(|outcome| outcome.row.group() == group)
            .filter_map(|outcome| outcome.after_s)
            .collect();
        times.sort_unstable_by(f64::total_cmp);
        let median = times
            .get(times.len() / 2)
            .map_or_else(String::new, |time| format!("{time:.1} s"));
        let _ = writeln!(
            text,
            "| `{group}` | {} of {} | {:.2} | {:.2} | {} of {} | {} of {} | {median} |",
            score.found,
            score.rows,
            score.recall(),
            score.precision(),
            score.not_kept,
            score.not_rows,
            score.hard_found,
            score.hard,
        );
    }
    text += "\nBy source of the captures, hard rows apart:\n\n| source | rows that are right |\n|---|---|\n";
    let mut sources: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for outcome in measured.outcomes.iter().filter(|outcome| !outcome.row.hard()) {
        let source = outcome.row.path.split('/').next().unwrap_or("");
        let (right, all) = sources.entry(source).or_default();
        *right += u32::from(outcome.right);
        *all += 1;
    }
    for (source, (right, all)) in sources {
        let _ = writeln!(text, "| {source} | {right} of {all} |");
    }
    text += "\n### Rows that are wrong\n\n";
    for outcome in measured.outcomes.iter().filter(|outcome| !outcome.right) {
        let row = &outcome.row;
        let _ = writeln!(
            text,
            "- `{}`: {}`{}` {} to {} ({})",
            row.path,
            if row.not { "not " } else { "" },
            row.expect,
            row.source,
            if row.destination.is_empty() {
                "any"
            } else {
                &row.destination
            },
            row.note,
        );
    }
    let unwanted = || measured.labelled.made.iter().filter(|made| !made.wanted);
    if listed {
        text += "\n### Findings in labelled captures that no row asks for\n\n";
        judged::list(&mut text, unwanted());
    } else {
        let count = unwanted().count();
        let _ = writeln!(
            text,
            "\n{count} findings in labelled captures that no row asks for."
        );
    }
    corpus(&mut text, "Captures without a row", &measured.unlabelled);
    if listed {
        judged::list(&mut text, measured.unlabelled.made.iter());
        let counts = judged::count(measured);
        let counts: Vec<String> = counts
            .iter()
            .map(|(judgement, count)| format!("{count} {judgement}"))
            .collect();
        let _ = writeln!(
            text,
            "\nOf all findings that no row asks for: {}.",
            counts.join(", ")
        );
    }
    text
}

fn corpus(text: &mut String, title: &str, corpus: &Corpus) {
    let _ = writeln!(
        text,
        "\n### {title}\n\n{} files, {} slices, {:.1} host-days.\n",
        corpus.files, corpus.slices, corpus.host_days
    );
    *text += "| finding | episodes | per million slices | per host-day |\n|---|---|---|---|\n";
    for tag in Tag::ALL {
        let count = corpus.made.iter().filter(|made| made.finding.tag == tag).count();
        #[allow(clippy::cast_precision_loss)]
        let (count_f, slices) = (count as f64, corpus.slices.max(1) as f64);
        let _ = writeln!(
            text,
            "| `{}` | {count} | {:.1} | {:.2} |",
            tag.name(),
            count_f * 1e6 / slices,
            count_f / corpus.host_days.max(1e-9),
        );
    }
    *text += "\n";
}
