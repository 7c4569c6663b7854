//! What was made of each finding that no row asks for, `judgements.tsv`: by looking at the capture.

use std::{collections::BTreeMap, fmt::Write};

use super::measure::{Made, Measured};

/// `true`: it is what the finding says. `explained`: it is, and there is a harmless reason. `unexplained`: it is
/// neither; so is what is not in the table.
pub(crate) const UNEXPLAINED: &str = "unexplained";

pub(crate) struct Judged {
    pub(crate) judgement: &'static str,
    pub(crate) reason: &'static str,
}

/// The first line that fits: path (`*` at its end: any that begins so), name of the finding, source (empty: any),
/// judgement, reason.
pub(crate) fn judged(made: &Made) -> Judged {
    let text: &'static str = include_str!("judgements.tsv");
    let source = made.finding.source.map(|ip| ip.to_string()).unwrap_or_default();
    for line in text.lines().skip(1) {
        let fields: Vec<&'static str> = line.split('\t').collect();
        let [path, tag, of, judgement, reason] = fields[..] else {
            panic!("a line of judgements.tsv has not five fields: {line}");
        };
        let path_fits = path
            .strip_suffix('*')
            .map_or(path == made.path, |prefix| made.path.starts_with(prefix));
        if path_fits && tag == made.finding.tag.name() && (of.is_empty() || of == source) {
            return Judged { judgement, reason };
        }
    }
    Judged {
        judgement: UNEXPLAINED,
        reason: "not looked at yet",
    }
}

/// Findings that no row asks for, by judgement.
pub(crate) fn count(measured: &Measured) -> BTreeMap<&'static str, u32> {
    let mut counts = BTreeMap::new();
    let unwanted = measured.labelled.made.iter().filter(|made| !made.wanted);
    for made in unwanted.chain(&measured.unlabelled.made) {
        *counts.entry(judged(made).judgement).or_default() += 1;
    }
    counts
}

pub(crate) fn list<'a>(text: &mut String, made: impl Iterator<Item = &'a Made>) {
    *text += "| capture | finding | score, reasons | judgement |\n|---|---|---|---|\n";
    for made in made {
        let finding = &made.finding;
        let reasons: Vec<&str> = finding.reasons.iter().map(|reason| reason.id).collect();
        let Judged { judgement, reason } = judged(made);
        let _ = writeln!(
            text,
            "| `{}` | `{}`: {} | {}: {} | **{judgement}**: {reason} |",
            made.path,
            finding.tag.name(),
            finding.message,
            finding.score,
            reasons.join(", "),
        );
    }
}
