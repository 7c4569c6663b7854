//! Where what was learned is kept over restarts.

use std::path::Path;

use nix::unistd::{AccessFlags, access};

use super::{Outcome, site::Site};

const NAME: &str = "state";

pub(super) fn check(site: &Site<'_>, checks: &mut Vec<Outcome>) {
    let path = &site.config.detect.state;
    if path.as_os_str().is_empty() {
        checks.push(Outcome::warning(
            NAME,
            "nothing is kept over a restart: detectors learn anew each time",
            "name a file in detect.state",
        ));
        return;
    }
    let folder = super::events::folder(path);
    // It is made at the first save; what counts is the folder that is there.
    let there = folder.ancestors().find(|folder| folder.exists());
    let there = there.unwrap_or(Path::new("/"));
    let shown = there.display();
    checks.push(match access(there, AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) => Outcome::ok(NAME, format!("it can be kept in {}", path.display())),
        Err(nix::errno::Errno::EACCES) => {
            Outcome::denied(NAME, format!("this process may not write to {shown}"))
        }
        Err(error) => Outcome::failure(
            NAME,
            format!("{shown} cannot be written to: {error}"),
            "make it writable, or change detect.state",
        ),
    });
}
