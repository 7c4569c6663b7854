//! README.txt: what is in the archive, and how to verify it.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serializer;

use super::{Source, parts, parts::Parts, scope::Scope};

pub(super) fn readme(
    name: &str,
    scope: &Scope,
    parts: &Parts,
    sources: &[Source],
    problems: &[String],
) -> String {
    let mut text = format!(
        "Evidence about {}\n\nTime   {} to {} (@timestamp of the events)\n",
        scope.subject(),
        scope.from,
        scope.to
    );
    let hosts: Vec<String> = scope.hosts.iter().map(ToString::to_string).collect();
    let hosts = if hosts.is_empty() {
        "none is named".to_owned()
    } else {
        hosts.join(", ")
    };
    put(&mut text, format_args!("Hosts  {hosts}\n\nFiles\n"));
    for (part, what) in parts::ALL {
        put(
            &mut text,
            format_args!("  {part:<24}{} lines: {what}\n", parts.lines_of(part)),
        );
    }
    text += FILES;
    text += "\nEvent files that were looked through, as they were then\n";
    for source in sources {
        put(
            &mut text,
            format_args!(
                "  {}\n      {} bytes, {} lines, {} of them no event, {} of over 1 MiB and not copied\n",
                source.path, source.size, source.lines, source.not_understood, source.too_long
            ),
        );
        if let (Some(first), Some(last)) = (source.first, source.last) {
            put(&mut text, format_args!("      {first} to {last}\n"));
        }
    }
    text += "\nWhat is missing\n";
    for problem in problems {
        put(&mut text, format_args!("  {problem}\n"));
    }
    text += MISSING;
    text += &VERIFY.replace("NAME", name);
    text
}

/// As RFC 3339.
pub(super) fn time<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

/// As RFC 3339, or null.
pub(super) fn times<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(time),
        None => serializer.serialize_none(),
    }
}

/// Writing to a string does not fail.
fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(arguments);
}

const FILES: &str = "  \
  explanation.md          the finding in words: reasons, settings, evidence, what to look at next
  manifest.jsonl          for each copied line the file that it comes from, its number and byte offset there
  sources.json            the event files: size, SHA-256, lines, time
  configuration.toml      the configuration when this was collected, which may not be that of the finding. It
                          holds every key. No key holds a secret; networks, services and detect.allow tell of
                          your network
  collection.json         version, host, time and clock of the collection
  SHA256SUMS              of all other files
";

const MISSING: &str = "  \
  Flows that the line budget merged (summaries), and what the meter could not count (statistics:
  flowmeter.lost, withheld). A line that is no event counts for the time of the line before it.
";

const VERIFY: &str = "
How to verify
  sha256sum -c NAME-*.tar.gz.sha256             the archive, before it is unpacked
  tar -xzf NAME-*.tar.gz && cd NAME
  sha256sum -c SHA256SUMS                       the files in it

  Lines are copied byte for byte. For one in manifest.jsonl with `offset` and `length`:
  tail -c +$((offset + 1)) FILE | head -c length
  Offsets are those of the decompressed text: put `zcat FILE |` or `zstdcat FILE |` in front for a compressed
  one. A rotated file has another name by now: it is the one whose first `size` bytes have the `sha256` of
  sources.json.
";
