//! What of a step's events is in the event file already.

use std::{
    io::{self, BufRead, BufReader, Seek, SeekFrom},
    path::Path,
};

use super::{siblings, state::Prepared};

/// The lines of `events` that are not in the event file since the step began, nor in what it was rotated to.
/// Others may have appended lines of their own.
///
/// # Errors
/// Those of reading the event file.
pub(super) fn missing<'a>(prepared: &Prepared, events: &'a [u8]) -> io::Result<&'a [u8]> {
    let mut rest = events;
    let mut began = false;
    for sibling in generations(&prepared.event_file)? {
        let mut file = sibling.file;
        if sibling.identity == prepared.identity {
            file.seek(SeekFrom::Start(prepared.length))?;
            began = true;
        } else if !began {
            continue;
        }
        let mut lines = BufReader::new(file);
        let mut line = Vec::new();
        while !rest.is_empty() && lines.read_until(b'\n', &mut line)? > 0 {
            // Also a line of which nothing but its end is missing: the next one that is written ends it.
            let content = line.strip_suffix(b"\n").unwrap_or(&line);
            rest = rest
                .strip_prefix(content)
                .and_then(|after| after.strip_prefix(b"\n"))
                .unwrap_or(rest);
            line.clear();
        }
    }
    Ok(rest)
}

fn generations(path: &Path) -> io::Result<Vec<siblings::Sibling>> {
    match siblings::list(path) {
        // Removed with its folder: nothing of the step is there.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed,
    }
}
