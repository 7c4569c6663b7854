//! A log file and the generations of it that were rotated away.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions},
    io,
    os::unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::place::Identity;

/// Times that a folder is listed again because files were renamed meanwhile.
const ATTEMPTS: u32 = 10;

#[derive(Debug)]
pub(crate) struct Sibling {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(super) identity: Identity,
}

/// The generations of `path` that there are, the oldest first, `path` itself last if it exists. Compressed
/// ones are none: nothing of them can be known again.
///
/// # Errors
/// Those of listing the folder and of opening the files.
pub(crate) fn list(path: &Path) -> io::Result<Vec<Sibling>> {
    let mut siblings = list_once(path)?;
    for _ in 0..ATTEMPTS {
        let again = list_once(path)?;
        let same = again
            .iter()
            .map(|sibling| sibling.identity)
            .eq(siblings.iter().map(|sibling| sibling.identity));
        siblings = again;
        if same {
            return Ok(siblings);
        }
    }
    Err(io::Error::other(
        "its rotated generations are renamed again and again while they are listed",
    ))
}

fn list_once(path: &Path) -> io::Result<Vec<Sibling>> {
    let name = path.file_name().unwrap_or_default();
    let mut ages = fs::read_dir(folder(path))?
        .filter_map(|entry| match entry {
            Ok(entry) => age(name, &entry.file_name()).map(|age| Ok((age, entry.path()))),
            Err(error) => Some(Err(error)),
        })
        .collect::<io::Result<Vec<_>>>()?;
    ages.sort();
    let mut siblings: Vec<Sibling> = Vec::with_capacity(ages.len());
    for (_, path) in ages {
        match open(&path) {
            Ok(Some(sibling)) => {
                // Renamed between two openings, or a second link: the later name counts.
                siblings.retain(|known| known.identity != sibling.identity);
                siblings.push(sibling);
            }
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(io::Error::new(
                    error.kind(),
                    format!("{}: {error}", path.display()),
                ));
            }
        }
    }
    Ok(siblings)
}

/// The folder that `path` is in.
pub(crate) fn folder(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// True if a file of this name is the log or a generation of it.
pub(crate) fn belongs(log: &OsStr, name: &OsStr) -> bool {
    age(log, name).is_some()
}

/// `None` for what is not a regular file, whose opening could wait for ever.
fn open(path: &Path) -> io::Result<Option<Sibling>> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY)
        .open(path)?;
    let meta = file.metadata()?;
    Ok(meta.is_file().then(|| Sibling {
        path: path.to_owned(),
        file,
        identity: (&meta).into(),
    }))
}

/// Sorts the oldest first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Age {
    Dated(OsString),
    Numbered(std::cmp::Reverse<u32>),
    Current,
}

/// The age that a name tells: `LOG`, `LOG.N`, `LOG-DATE`, and with the number or date before the extension
/// (logrotate's `dateext` and `extension`). `None` for a file of another kind.
fn age(log: &OsStr, name: &OsStr) -> Option<Age> {
    if name == log {
        return Some(Age::Current);
    }
    let (log, name) = (log.as_bytes(), name.as_bytes());
    let after = name.strip_prefix(log).and_then(suffix);
    after.or_else(|| {
        let dot = log.iter().rposition(|&byte| byte == b'.').filter(|&at| at > 0)?;
        let (stem, extension) = log.split_at(dot);
        suffix(name.strip_prefix(stem)?.strip_suffix(extension)?)
    })
}

fn suffix(suffix: &[u8]) -> Option<Age> {
    let (&separator, rest) = suffix.split_first()?;
    let dated = |byte: &u8| byte.is_ascii_digit() || b"-_.:T".contains(byte);
    if !matches!(separator, b'.' | b'-' | b'_') || !rest.first()?.is_ascii_digit() || !rest.iter().all(dated)
    {
        return None;
    }
    let number = std::str::from_utf8(rest).ok()?.parse().ok();
    Some(match number {
        // A longer number is a date or a second of the epoch.
        Some(number) if separator == b'.' && rest.len() <= 4 => Age::Numbered(std::cmp::Reverse(number)),
        _ => Age::Dated(OsStr::from_bytes(rest).to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_are_told_from_other_files_and_sort_by_age() {
        fn sorted<'a>(log: &str, names: &[&'a str]) -> Vec<&'a str> {
            let mut ages: Vec<_> = names
                .iter()
                .filter_map(|name| Some((age(log.as_ref(), name.as_ref())?, *name)))
                .collect();
            ages.sort();
            ages.into_iter().map(|(_, name)| name).collect()
        }
        assert_eq!(
            sorted(
                "f.json",
                &[
                    "f.json",
                    "f.json.1",
                    "f.json.10",
                    "f.json.2",
                    "f.json.2.gz",
                    "f.json.x",
                    "g.json.1"
                ]
            ),
            ["f.json.10", "f.json.2", "f.json.1", "f.json"],
        );
        assert_eq!(
            sorted(
                "f.json",
                &[
                    "f.json-20260102",
                    "f.json",
                    "f.json-20260101",
                    "f.json-20260101.gz",
                    "f.json-new"
                ]
            ),
            ["f.json-20260101", "f.json-20260102", "f.json"],
        );
        assert_eq!(
            sorted(
                "f.json",
                &[
                    "f.1.json",
                    "f.2.json",
                    "f.json",
                    "f-20260101.json",
                    "f.json.1764000000"
                ]
            ),
            [
                "f.json.1764000000",
                "f-20260101.json",
                "f.2.json",
                "f.1.json",
                "f.json"
            ],
        );
        assert_eq!(
            sorted("flows", &["flows", "flows.1", "flows.", "flows.1x"]),
            ["flows.1", "flows"]
        );
    }
}
