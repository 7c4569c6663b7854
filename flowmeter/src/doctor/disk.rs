//! Room for the event file and its rotated generations.

use std::path::Path;

use nix::sys::statvfs::statvfs;

use super::{Outcome, site::Site};

const NAME: &str = "disk";
/// With less than this free the file cannot be written for long.
const LEAST: u64 = 64 << 20;

pub(super) fn check(site: &Site<'_>, checks: &mut Vec<Outcome>) {
    let output = &site.config.output;
    if output.path == Path::new("-") {
        return;
    }
    let folder = super::events::folder(&output.path);
    // A folder that is missing is told by the check of the event file.
    let Ok(room) = statvfs(folder) else { return };
    let free = room.blocks_available().saturating_mul(room.fragment_size());
    let needed = output.rotate_bytes.saturating_mul(u64::from(output.keep) + 1);
    checks.push(grade(&folder.display().to_string(), free, needed));
}

fn grade(folder: &str, free: u64, needed: u64) -> Outcome {
    let megabytes = |bytes: u64| format!("{} MB", bytes / 1_000_000);
    let found = format!("{} are free in {folder}", megabytes(free));
    if free < LEAST {
        return Outcome::failure(NAME, found, "make room: what cannot be written is withheld");
    }
    if free < needed {
        return Outcome::warning(
            NAME,
            format!("{found}, the event files may grow to {}", megabytes(needed)),
            "make room, or lower output.keep or output.rotate_bytes",
        );
    }
    Outcome::ok(
        NAME,
        format!("{found}, the event files take {} at most", megabytes(needed)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    #[test]
    fn room_is_measured_against_what_rotation_keeps() {
        let graded = |free| grade("/var/log/netflow", free, 2 << 30).result;
        assert_eq!(graded(2 << 30), Grade::Ok);
        assert_eq!(graded((2 << 30) - 1), Grade::Warning);
        assert_eq!(graded(LEAST - 1), Grade::Failure);
    }
}
