//! Every file, replayed with its row's networks; rows found or not.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use flowmeter::{
    capture::replay::files,
    detect::{Finding, Phase},
};

use super::{
    replayed::replayed,
    rows::{self, Row, config},
};

/// How the detectors decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Full,
    Threshold,
}

pub(crate) const SECTIONS: [&str; 9] = [
    "port_scan",
    "outbound_bytes",
    "beaconing",
    "lateral_movement",
    "dns",
    "external_inbound",
    "outbound_port",
    "dos",
    "escalation",
];

/// A finding and where it was made.
pub(crate) struct Made {
    pub(crate) path: String,
    pub(crate) finding: Finding,
    /// Any row of the file asks for it.
    pub(crate) wanted: bool,
}

pub(crate) struct Outcome {
    pub(crate) row: Row,
    /// As it should be: found, or not found.
    pub(crate) right: bool,
    /// From the first packet of the evidence to the finding's time, in seconds.
    pub(crate) after_s: Option<f64>,
}

#[derive(Default)]
pub(crate) struct Corpus {
    pub(crate) files: u64,
    pub(crate) slices: u64,
    pub(crate) host_days: f64,
    pub(crate) made: Vec<Made>,
}

#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) labelled: Corpus,
    pub(crate) unlabelled: Corpus,
}

/// Files that are no captures and no connection logs.
fn is_text(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
    ["README", "LICENSE", "COPYING"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
        || [".tsv", ".md", ".txt"]
            .iter()
            .any(|suffix| name.ends_with(suffix))
}

/// One file with one configuration, and what is expected of it; without rows for most files.
pub(crate) struct Run {
    pub(crate) path: String,
    pub(crate) internal: String,
    pub(crate) settings: String,
    pub(crate) rows: Vec<Row>,
}

impl Run {
    /// Where the file is from: its folder.
    pub(crate) fn source(&self) -> &str {
        self.path.split('/').next().unwrap_or("")
    }
}

pub(crate) fn runs(data: &Path) -> anyhow::Result<Vec<Run>> {
    let mut runs: BTreeMap<(String, String, String), Vec<Row>> = BTreeMap::new();
    let mut labelled = BTreeSet::new();
    for row in rows::read(data)? {
        labelled.insert(row.path.clone());
        runs.entry((row.path.clone(), row.internal.clone(), row.settings.clone()))
            .or_default()
            .push(row);
    }
    let mut paths: Vec<String> = files(data)?
        .iter()
        .filter(|path| !is_text(path))
        .filter_map(|path| Some(path.strip_prefix(data).ok()?.to_str()?.to_owned()))
        .filter(|path| !labelled.contains(path))
        .collect();
    paths.sort_unstable();
    for path in paths {
        runs.entry((path, String::new(), String::new())).or_default();
    }
    let run = |((path, internal, settings), rows)| Run {
        path,
        internal,
        settings,
        rows,
    };
    Ok(runs.into_iter().map(run).collect())
}

/// `only`: files whose path contains this.
pub(crate) fn measure(data: &Path, mode: Mode, interval: Duration, only: &str) -> anyhow::Result<Measured> {
    let more: Vec<String> = match mode {
        Mode::Full => Vec::new(),
        Mode::Threshold => SECTIONS
            .iter()
            .map(|section| format!("detect.{section}.mode=threshold"))
            .collect(),
    };
    let mut measured = Measured::default();
    for Run {
        path,
        internal,
        settings,
        rows,
    } in runs(data)?
    {
        if !path.contains(only) {
            continue;
        }
        let config = config(&internal, &settings, &more)?;
        let replayed = replayed(&data.join(&path), &config, interval);
        let corpus = if rows.is_empty() {
            &mut measured.unlabelled
        } else {
            &mut measured.labelled
        };
        corpus.files += 1;
        corpus.slices += replayed.slices;
        let days = replayed.seen.as_secs_f64() / 86_400.0;
        #[allow(clippy::cast_precision_loss)]
        let hosts = replayed.hosts.len() as f64;
        corpus.host_days += hosts * days;
        for row in &rows {
            let found = replayed.findings.iter().find(|finding| row.matches(finding));
            #[allow(clippy::cast_precision_loss)]
            let after_s = found
                .filter(|_| !row.not)
                .map(|finding| finding.last_seen_ns.saturating_sub(finding.first_seen_ns) as f64 / 1e9);
            measured.outcomes.push(Outcome {
                row: row.clone(),
                right: found.is_some() != row.not,
                after_s,
            });
        }
        corpus.made.extend(
            replayed
                .findings
                .into_iter()
                .filter(|finding| finding.phase == Phase::Start)
                .map(|finding| Made {
                    wanted: rows.iter().any(|row| !row.not && row.matches(&finding)),
                    path: path.clone(),
                    finding,
                }),
        );
    }
    Ok(measured)
}
