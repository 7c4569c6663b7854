//! The event file: can it be written, by this process and by the service.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::Path,
};

use nix::{
    errno::Errno,
    unistd::{AccessFlags, User, access},
};

use super::{Outcome, site::Site};

const NAME: &str = "events";
/// The user that the packaged service runs as.
const SERVICE_USER: &str = "flowmeter";

/// The folder of a file.
pub(super) fn folder(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

pub(super) fn check(site: &Site<'_>, checks: &mut Vec<Outcome>) {
    let path = site.config.output.path.as_path();
    if path == Path::new("-") {
        checks.push(Outcome::ok(NAME, "they go to standard output"));
        return;
    }
    checks.push(writable(path));
    if let Ok(Some(user)) = User::from_name(SERVICE_USER)
        && let Ok(metadata) = fs::metadata(path)
        && !may_write(&metadata, user.uid.as_raw())
    {
        checks.push(Outcome::failure(
            NAME,
            format!(
                "{} belongs to another user, so that the service, as {SERVICE_USER}, cannot write it",
                path.display()
            ),
            format!("chown {SERVICE_USER} {}", path.display()),
        ));
    }
}

fn writable(path: &Path) -> Outcome {
    let shown = path.display();
    let folder = folder(path);
    if !folder.is_dir() {
        return Outcome::failure(
            NAME,
            format!("the folder {} of the event file does not exist", folder.display()),
            format!("mkdir -p {}, or change output.path", folder.display()),
        );
    }
    if path.is_dir() {
        return Outcome::failure(
            NAME,
            format!("{shown} is a folder"),
            "give the path of a file in output.path",
        );
    }
    // The folder too: rotation makes a new file.
    let file = if path.exists() {
        access(path, AccessFlags::W_OK | AccessFlags::R_OK)
    } else {
        Ok(())
    };
    let all = file.and_then(|()| access(folder, AccessFlags::W_OK | AccessFlags::X_OK));
    match all {
        Ok(()) => Outcome::ok(NAME, format!("{shown} can be written")),
        Err(Errno::EACCES) => Outcome::denied(NAME, format!("this process may not write {shown}")),
        Err(error) => Outcome::failure(
            NAME,
            format!("{shown} cannot be written: {error}"),
            "make it writable, or change output.path",
        ),
    }
}

fn may_write(file: &Metadata, user: u32) -> bool {
    user == 0 || (file.uid() == user && file.mode() & 0o200 != 0) || file.mode() & 0o002 != 0
}
