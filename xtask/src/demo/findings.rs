//! The findings, as the agent writes them down.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::events::text_at;
use crate::process;

/// Follows the event file and prints each finding in one line.
pub(super) struct Findings {
    file: PathBuf,
    /// Of the file that was read.
    read: u64,
    /// Tags that came up.
    pub(super) tags: BTreeSet<String>,
    coloured: bool,
}

impl Findings {
    pub(super) fn new(file: &Path, coloured: bool) -> Self {
        Self {
            file: file.to_owned(),
            read: 0,
            tags: BTreeSet::new(),
            coloured,
        }
    }

    /// Prints what is new.
    pub(super) fn print(&mut self, out: &mut impl Write) -> Result<()> {
        let text = self
            .news()
            .with_context(|| format!("reading {}", self.file.display()))?;
        for line in text.lines() {
            let event: Value = serde_json::from_str(line).context("reading the event file")?;
            let tag = text_at(&event, "/anomaly/tags/0");
            if tag.is_empty() {
                continue;
            }
            writeln!(out, "{}", self.line(&tag, &event))?;
            self.tags.insert(tag);
        }
        out.flush().map_err(Into::into)
    }

    fn line(&self, tag: &str, event: &Value) -> String {
        let phase = match text_at(event, "/anomaly/phase").as_str() {
            "start" => String::new(),
            phase => format!(" ({phase})"),
        };
        let message = text_at(event, "/message");
        let (colour, plain) = if self.coloured {
            ("\x1b[1;31m", "\x1b[0m")
        } else {
            ("", "")
        };
        format!(
            "[{:6.1} s] {colour}{tag:<26}{plain} {message}{phase}",
            process::elapsed()
        )
    }

    /// Whole lines that were not read yet.
    fn news(&mut self) -> std::io::Result<String> {
        let mut file = match File::open(&self.file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
            file => file?,
        };
        file.seek(SeekFrom::Start(self.read))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        bytes.truncate(
            bytes
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |end| end + 1),
        );
        self.read += bytes.len() as u64;
        String::from_utf8(bytes).map_err(std::io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    const FINDING: &str =
        r#"{"anomaly":{"tags":["possible_port_scan"],"phase":"start"},"message":"a tried b."}"#;

    fn printed(findings: &mut Findings) -> String {
        let mut out = Vec::new();
        findings.print(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_finding_is_printed_once_and_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.json");
        let mut findings = Findings::new(&path, false);
        assert_eq!(printed(&mut findings), "");
        let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        let (begin, rest) = FINDING.split_at(20);
        write!(file, "{{\"flow\":{{}}}}\n{FINDING}\n{begin}").unwrap();
        let first = printed(&mut findings);
        assert_eq!(first.lines().count(), 1);
        assert!(
            first.ends_with("] possible_port_scan         a tried b.\n"),
            "{first}"
        );
        let update = rest.replace("start", "update");
        writeln!(file, "{update}").unwrap();
        let second = printed(&mut findings);
        assert_eq!(second.lines().count(), 1);
        assert!(second.ends_with("a tried b. (update)\n"), "{second}");
        assert_eq!(findings.tags, BTreeSet::from(["possible_port_scan".to_owned()]));
    }
}
