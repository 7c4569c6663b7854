//! Which reader a file needs, seen by what it holds.

use std::{
    rc::Rc,
    time::{SystemTime, UNIX_EPOCH},
};

use jiff::tz::TimeZone;
use memchr::memmem;

use super::{
    input::Input,
    log::{EventParser, LogSource, PmacctParser, ZeekParser},
    pcap,
    problem::{Problem, TimeFrom, What},
    replay::{CaptureSource, Gathered, Interfaces, Reader, Source},
};

/// What a file can be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Seen by the content of each file.
    #[default]
    Auto,
    /// A capture, pcap or pcapng.
    Pcap,
    /// JSON lines of pmacctd, nfacctd, sfacctd or uacctd.
    Pmacct,
    /// Zeek's conn.log, as columns or as JSON.
    Zeek,
    /// This program's own events.
    Flowmeter,
}

impl Format {
    /// Told from the first bytes of a file, compression taken off; `None` for what is not known.
    pub fn of(head: &[u8]) -> Option<Self> {
        if pcap::is_capture(head) {
            return Some(Self::Pcap);
        }
        let text = head
            .strip_prefix(b"\xef\xbb\xbf")
            .unwrap_or(head)
            .trim_ascii_start();
        let holds = |key: &[u8]| memmem::find(text, key).is_some();
        let header = [&b"#separator"[..], b"#fields", b"#path"]
            .iter()
            .any(|header| text.starts_with(header));
        if header {
            return Some(Self::Zeek);
        }
        if !text.starts_with(b"{") {
            return None;
        }
        if holds(b"\"@timestamp\"")
            && [
                &b"\"observer\""[..],
                b"\"flowmeter\"",
                b"\"flow\"",
                b"\"anomaly\"",
            ]
            .iter()
            .any(|key| holds(key))
        {
            Some(Self::Flowmeter)
        } else if [&b"\"ip_src\""[..], b"\"purge_init\"", b"\"stamp_inserted\""]
            .iter()
            .any(|key| holds(key))
        {
            Some(Self::Pmacct)
        } else if holds(b"\"orig_h\"") || holds(b"\"id.orig_h\"") || holds(b"\"_path\"") {
            Some(Self::Zeek)
        } else {
            None
        }
    }
}

/// How files are read.
#[derive(Clone, Debug)]
pub struct Reading {
    pub format: Format,
    /// The time of records that have none, in nanoseconds since the Unix epoch; else the file's last
    /// modification.
    pub start_ns: Option<u64>,
    /// Of times that do not say theirs.
    pub zone: TimeZone,
}

impl Reading {
    /// What opens a file's content, given the name that problems are told with.
    pub fn reader(self) -> Reader {
        Rc::new(move |file, input| self.source(file, input))
    }

    fn source(&self, file: String, input: Input) -> Box<dyn Source> {
        let format = match self.format {
            Format::Auto if input.head().is_empty() => return Box::new(Nothing(None)),
            Format::Auto => Format::of(input.head()),
            format => Some(format),
        };
        match format {
            Some(Format::Pcap) => Box::new(CaptureSource::new(file, input)),
            Some(Format::Pmacct) => {
                let (time_ns, from) = match self.start_ns {
                    Some(start_ns) => (start_ns, TimeFrom::Given),
                    None => (since_epoch(input.modified()), TimeFrom::Modified),
                };
                let parser = PmacctParser::new(time_ns, from, self.zone.clone());
                Box::new(LogSource::new(file, input, parser))
            }
            Some(Format::Zeek) => Box::new(LogSource::new(file, input, ZeekParser::new())),
            Some(Format::Flowmeter) => Box::new(LogSource::new(file, input, EventParser::new())),
            Some(Format::Auto) | None => Box::new(Nothing(Some(Problem {
                file,
                offset: 0,
                what: What::UnknownFormat,
            }))),
        }
    }
}

fn since_epoch(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// A file that holds nothing, or nothing that can be read.
struct Nothing(Option<Problem>);

impl Source for Nothing {
    fn advance(&mut self) -> Result<Option<u64>, Problem> {
        self.0.take().map_or(Ok(None), Err)
    }

    fn count(&mut self, _: &mut Gathered, _: &mut Interfaces) -> Option<Problem> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_content() {
        let cases: &[(&[u8], Option<Format>)] = &[
            (&[0xd4, 0xc3, 0xb2, 0xa1], Some(Format::Pcap)),
            (&[0x0a, 0x0d, 0x0d, 0x0a], Some(Format::Pcap)),
            (b"#separator \\x09\n", Some(Format::Zeek)),
            (b"\t#separator \\x09\n", Some(Format::Zeek)),
            (b"\xef\xbb\xbf#fields\tts\n", Some(Format::Zeek)),
            (
                br#"{"ts":1.5,"uid":"C","id.orig_h":"192.0.2.1"}"#,
                Some(Format::Zeek),
            ),
            (br#"{"ts":1.5,"id":{"orig_h":"192.0.2.1"}}"#, Some(Format::Zeek)),
            // Findings stand first in an interval.
            (
                br#"{"@timestamp":"2026-01-05T08:00:00.000Z","netflow":"true","anomaly":{"tags":[]}}"#,
                Some(Format::Flowmeter),
            ),
            (
                br#"{"event_type": "purge", "ip_src": "192.0.2.1"}"#,
                Some(Format::Pmacct),
            ),
            (
                br#"{"event_type": "purge_init", "writer_id": "x/1"}"#,
                Some(Format::Pmacct),
            ),
            (
                br#"  {"label":"","peer_ip_src": "192.0.2.9","ip_src":""}"#,
                Some(Format::Pmacct),
            ),
            (
                include_bytes!("../../../samples/flow-tcp.json"),
                Some(Format::Flowmeter),
            ),
            (
                include_bytes!("../../../samples/flow-dns.ecs.json"),
                Some(Format::Flowmeter),
            ),
            (
                include_bytes!("../../../samples/statistics.json"),
                Some(Format::Flowmeter),
            ),
            (b"{\"a\":1}", None),
            (b"what?", None),
            (b"", None),
        ];
        for (head, format) in cases {
            assert_eq!(Format::of(head), *format, "{}", String::from_utf8_lossy(head));
        }
    }
}
