//! How long ago the meter wrote its last statistics event: what the Wazuh agent asks for every minute.

use std::{
    fmt,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;

/// Read at a time, from the end on.
const CHUNK: u64 = 1 << 20;

/// What the command prints. The rules about silence match its first words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Age {
    Heard {
        seconds: u64,
    },
    Silent {
        seconds: u64,
    },
    /// No statistics event, or no file.
    Never {
        file: PathBuf,
        problem: String,
    },
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heard { seconds } => write!(f, "flowmeter: last statistics event is {seconds} s old"),
            Self::Silent { seconds } => {
                write!(f, "flowmeter: silent, last statistics event is {seconds} s old")
            }
            Self::Never { file, problem } => write!(f, "flowmeter: silent, {}: {problem}", file.display()),
        }
    }
}

/// Looks at the event file and, just after a rotation, at the one before it.
pub fn age(events: &Path, now: Timestamp, silent_after: Duration) -> Age {
    let mut rotated = events.as_os_str().to_owned();
    rotated.push(".1");
    let never = |problem: String| Age::Never {
        file: events.to_owned(),
        problem,
    };
    let found = match last_statistics(events) {
        Ok(None) => last_statistics(Path::new(&rotated)).ok().flatten(),
        Ok(found) => found,
        Err(error) => return never(error.to_string()),
    };
    let Some(at) = found else {
        return never("no statistics event in it".to_owned());
    };
    // An event of the future is a matter of clocks, not of silence.
    let seconds = u64::try_from(now.duration_since(at).as_secs()).unwrap_or_default();
    if seconds > silent_after.as_secs() {
        Age::Silent { seconds }
    } else {
        Age::Heard { seconds }
    }
}

/// The end of the last interval that a file tells of.
fn last_statistics(path: &Path) -> io::Result<Option<Timestamp>> {
    let file = File::open(path)?;
    let mut end = file.metadata()?.len();
    // The beginning of a line whose end is in the chunk before.
    let mut carry = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(CHUNK);
        let mut chunk = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
        file.read_exact_at(&mut chunk, start)?;
        chunk.append(&mut carry);
        let whole = match chunk.iter().position(|byte| *byte == b'\n') {
            _ if start == 0 => 0,
            Some(newline) => newline + 1,
            None => chunk.len(),
        };
        let lines = chunk.split_off(whole);
        if let Some(at) = lines.rsplit(|byte| *byte == b'\n').find_map(statistics_at) {
            return Ok(Some(at));
        }
        carry = chunk;
        end = start;
    }
    Ok(None)
}

fn statistics_at(line: &[u8]) -> Option<Timestamp> {
    let line = std::str::from_utf8(line).ok()?;
    if !line.contains("\"statistics\"") {
        return None;
    }
    let event: Value = serde_json::from_str(line).ok()?;
    if event.pointer("/event/action")? != "statistics" {
        return None;
    }
    event.get("@timestamp")?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn statistics(at: &str) -> String {
        format!("{{\"@timestamp\":\"{at}\",\"event\":{{\"action\":\"statistics\"}}}}\n")
    }

    fn told(events: &Path) -> String {
        let now = "2026-04-26T12:00:00Z".parse().unwrap();
        age(events, now, Duration::from_secs(300)).to_string()
    }

    #[test]
    fn the_last_statistics_event_tells_the_age() {
        let folder = tempfile::tempdir().unwrap();
        let events = folder.path().join("e.json");
        let silent = |problem: &str| format!("flowmeter: silent, {}: {problem}", events.display());
        assert_eq!(told(&events), silent("No such file or directory (os error 2)"));
        let flow = "{\"message\":\"statistics\",\"x\":\"statistics\"}\n";
        fs::write(&events, flow).unwrap();
        assert_eq!(told(&events), silent("no statistics event in it"));
        let old = statistics("2026-04-26T11:00:00Z");
        fs::write(&events, format!("{old}{flow}")).unwrap();
        assert_eq!(
            told(&events),
            "flowmeter: silent, last statistics event is 3600 s old"
        );
        let new = statistics("2026-04-26T11:59:53Z");
        fs::write(&events, format!("{old}{new}{flow}{{\"@timest")).unwrap();
        assert_eq!(told(&events), "flowmeter: last statistics event is 7 s old");
        fs::rename(&events, folder.path().join("e.json.1")).unwrap();
        fs::write(&events, flow).unwrap();
        assert_eq!(
            told(&events),
            "flowmeter: last statistics event is 7 s old",
            "rotated"
        );
    }

    #[test]
    fn it_is_found_wherever_a_chunk_ends() {
        let folder = tempfile::tempdir().unwrap();
        let events = folder.path().join("e.json");
        let statistics = statistics("2026-04-26T11:59:53Z");
        let chunk = usize::try_from(CHUNK).unwrap();
        for behind in (chunk - statistics.len() - 2..chunk + 2).chain([3 * chunk]) {
            let text = format!("x\n{statistics}{}\n", "y".repeat(behind));
            fs::write(&events, text).unwrap();
            assert_eq!(
                told(&events),
                "flowmeter: last statistics event is 7 s old",
                "{behind}"
            );
        }
    }
}
