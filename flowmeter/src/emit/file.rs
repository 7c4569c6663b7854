//! The event file: whole lines appended, rotated by rename, nothing lost without a count.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::config::Output;

/// The Wazuh agent looks for a rotation every 64 s; two within that would hide a generation from it.
const MIN_GENERATION: Duration = Duration::from_secs(64);
/// Lines are handed to the kernel in pieces of about this size.
const WRITE_BYTES: usize = 128 << 10;

/// Appends lines; keeps them while the file cannot be written, up to a bound.
pub struct EventFile {
    settings: Output,
    target: Target,
    /// Whole lines that are not in the file yet.
    pending: Vec<u8>,
    withheld_lines: u64,
    failing: bool,
}

enum Target {
    Stdout,
    /// A FIFO, a device or a symbolic link (`/dev/stdout` is one): written to, never rotated or cut. Renaming
    /// a link would take it away from the host.
    Stream(File),
    File {
        file: File,
        opened_ns: u64,
        /// The generation before, kept open so that what was just written stays readable under its inode.
        _previous: Option<File>,
    },
}

impl EventFile {
    /// Opens (or makes) the file.
    ///
    /// # Errors
    /// The folder is missing, or the file cannot be opened for appending.
    pub fn open(settings: &Output, now_ns: u64) -> Result<Self> {
        let target = if settings.path == Path::new("-") {
            Target::Stdout
        } else {
            open(settings, now_ns, None).with_context(|| {
                format!(
                    "opening the event file {} for appending; its folder must exist and be writable",
                    settings.path.display()
                )
            })?
        };
        Ok(Self {
            settings: settings.clone(),
            target,
            pending: Vec::new(),
            withheld_lines: 0,
            failing: false,
        })
    }

    /// Takes other rotation settings; the path stays.
    pub fn reconfigure(&mut self, settings: &Output) {
        let path = std::mem::take(&mut self.settings.path);
        self.settings = Output {
            path,
            ..settings.clone()
        };
    }

    /// Lines given up since the start because the file could not be written for too long.
    pub fn withheld_lines(&self) -> u64 {
        self.withheld_lines
    }

    /// Takes one or more whole lines.
    pub fn append(&mut self, lines: &[u8]) {
        if self.failing && self.pending.len() + lines.len() > self.settings.retry_buffer_bytes {
            self.withheld_lines += lines.iter().filter(|&&byte| byte == b'\n').count() as u64;
            return;
        }
        self.pending.extend_from_slice(lines);
        if !self.failing && self.pending.len() >= WRITE_BYTES {
            self.write_pending();
        }
    }

    /// Writes what is pending, retries what failed before, and rotates when it is time.
    ///
    /// # Errors
    /// Standard output is closed. A file that cannot be written is logged and tried again at the next flush.
    pub fn flush(&mut self, now_ns: u64) -> Result<()> {
        self.reopen_if_moved(now_ns);
        self.rotate_if_due(now_ns);
        self.write_pending();
        if matches!(self.target, Target::Stdout) && self.failing {
            anyhow::bail!("standard output cannot be written any more");
        }
        Ok(())
    }

    fn write_pending(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let written = match &mut self.target {
            Target::Stdout => write_some(&mut io::stdout().lock(), &self.pending),
            Target::Stream(file) => write_some(file, &self.pending),
            Target::File { file, .. } => append_whole_lines(file, &self.pending),
        };
        let (bytes, error) = written;
        self.pending.drain(..bytes);
        match error {
            Some(error) if !self.failing => {
                self.failing = true;
                log::error!(
                    "writing to {}: {error}; counting goes on, events are kept in memory and written later",
                    self.settings.path.display()
                );
            }
            Some(_) => {}
            None if self.failing => {
                self.failing = false;
                log::warn!(
                    "writing to {} again; {} lines were withheld since the start",
                    self.settings.path.display(),
                    self.withheld_lines
                );
            }
            None => {}
        }
    }

    /// Somebody else renamed or removed the file (logrotate): the path gets a new one.
    fn reopen_if_moved(&mut self, now_ns: u64) {
        let Target::File { file, .. } = &self.target else {
            return;
        };
        let same = match (file.metadata(), fs::metadata(&self.settings.path)) {
            (Ok(ours), Ok(theirs)) => (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()),
            _ => false,
        };
        if !same {
            self.write_pending();
            self.replace(now_ns, "reopening");
        }
    }

    fn rotate_if_due(&mut self, now_ns: u64) {
        let Target::File { file, opened_ns, .. } = &self.target else {
            return;
        };
        let age = Duration::from_nanos(now_ns.saturating_sub(*opened_ns));
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        let due = length >= self.settings.rotate_bytes || age >= self.settings.rotate_age;
        if length == 0 || age < MIN_GENERATION || !due || self.failing {
            return;
        }
        if let Err(error) = shift(&self.settings.path, self.settings.keep) {
            log::error!(
                "rotating {}: {error}; going on with the same file",
                self.settings.path.display()
            );
            return;
        }
        self.replace(now_ns, "rotating");
    }

    fn replace(&mut self, now_ns: u64, doing: &str) {
        let previous = match &self.target {
            Target::File { file, .. } => file.try_clone().ok(),
            _ => None,
        };
        match open(&self.settings, now_ns, previous) {
            Ok(target) => self.target = target,
            Err(error) => log::error!("{doing} {}: {error}", self.settings.path.display()),
        }
    }
}

fn open(settings: &Output, now_ns: u64, previous: Option<File>) -> io::Result<Target> {
    let mode = settings.mode_bits().unwrap_or(0o640);
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(mode)
        .open(&settings.path)?;
    let metadata = file.metadata()?;
    let kind = metadata.file_type();
    let link = fs::symlink_metadata(&settings.path)?.is_symlink();
    if link || kind.is_fifo() || kind.is_char_device() || kind.is_socket() {
        return Ok(Target::Stream(file));
    }
    // An agent that starts anew goes on with the age that the file has.
    let modified = metadata.created().or_else(|_| metadata.modified()).ok();
    let created_ns = modified
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .and_then(|age| u64::try_from(age.as_nanos()).ok());
    Ok(Target::File {
        file,
        opened_ns: created_ns.unwrap_or(now_ns).min(now_ns),
        _previous: previous,
    })
}

/// Appends as many whole lines as fit; a line that was cut by an error is taken back out, so that no reader
/// finds half an event. A lock keeps other appenders out meanwhile.
fn append_whole_lines(file: &mut File, lines: &[u8]) -> (usize, Option<io::Error>) {
    if let Err(error) = file.lock() {
        return (0, Some(error));
    }
    let before = file.metadata().map(|metadata| metadata.len());
    let (written, error) = write_some(file, lines);
    let whole = lines.get(..written).map_or(0, |part| {
        part.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1)
    });
    if whole < written
        && let Ok(before) = before
        && let Err(error) = file.set_len(before + whole as u64)
    {
        log::error!("taking half a line back out of the event file: {error}");
    }
    let unlocked = file.unlock().err();
    (whole, error.or(unlocked))
}

fn write_some(to: &mut impl io::Write, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match to.write(rest) {
            Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Some(error)),
        }
    }
    (written, to.flush().err())
}

/// `events.json` to `events.json.1`, that to `.2`, and so on; the oldest falls off.
fn shift(path: &Path, keep: u32) -> io::Result<()> {
    let generation = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    for number in (1..keep).rev() {
        match fs::rename(generation(number), generation(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, generation(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn now() -> u64 {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        u64::try_from(now.as_nanos()).unwrap()
    }

    fn settings(path: &Path) -> Output {
        Output {
            path: path.to_owned(),
            rotate_bytes: 10,
            keep: 2,
            ..Output::default()
        }
    }

    #[test]
    fn rotation_keeps_every_line_once_and_at_most_the_generations_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.json");
        let mut file = EventFile::open(&settings(&path), now()).unwrap();
        for number in 0..4_u64 {
            file.append(format!("{{\"line\":{number}}}\n").as_bytes());
            file.flush(now() + number * 65 * SECOND).unwrap();
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("events.json"), "{\"line\":3}\n");
        assert_eq!(read("events.json.1"), "{\"line\":2}\n");
        assert_eq!(read("events.json.2"), "{\"line\":1}\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn no_rotation_within_the_time_that_the_wazuh_agent_needs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.json");
        let mut file = EventFile::open(&settings(&path), now()).unwrap();
        for number in 0..3_u64 {
            file.append(b"{\"longer\":\"than ten bytes\"}\n");
            file.flush(now() + number * 20 * SECOND).unwrap();
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_somebody_else_renamed_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.json");
        let mut file = EventFile::open(
            &Output {
                path: path.clone(),
                ..Output::default()
            },
            now(),
        )
        .unwrap();
        file.append(b"{\"line\":1}\n");
        file.flush(now()).unwrap();
        fs::rename(&path, folder.path().join("moved")).unwrap();
        file.append(b"{\"line\":2}\n");
        file.flush(now()).unwrap();
        let both =
            fs::read_to_string(folder.path().join("moved")).unwrap() + &fs::read_to_string(&path).unwrap();
        assert_eq!(both, "{\"line\":1}\n{\"line\":2}\n");
    }

    #[test]
    fn a_full_device_keeps_lines_up_to_the_bound_and_counts_the_rest() {
        let full = Output {
            path: "/dev/full".into(),
            retry_buffer_bytes: 20,
            ..Output::default()
        };
        let mut file = EventFile::open(&full, now()).unwrap();
        file.append(b"{\"line\":1}\n");
        file.flush(now()).unwrap();
        assert_eq!(file.withheld_lines(), 0);
        file.append(b"{\"line\":2}\n{\"line\":3}\n");
        assert_eq!(file.withheld_lines(), 2);
    }

    #[test]
    fn a_symbolic_link_is_written_through_and_never_renamed() {
        let folder = tempfile::tempdir().unwrap();
        let (link, behind) = (folder.path().join("link"), folder.path().join("behind"));
        fs::write(&behind, "").unwrap();
        std::os::unix::fs::symlink(&behind, &link).unwrap();
        let mut file = EventFile::open(&settings(&link), now()).unwrap();
        for number in 0..3_u64 {
            file.append(b"{\"longer\":\"than ten bytes\"}\n");
            file.flush(now() + number * 65 * SECOND).unwrap();
        }
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&behind).unwrap().lines().count(), 3);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let missing = Output {
            path: "/nonexistent/events.json".into(),
            ..Output::default()
        };
        let error = EventFile::open(&missing, 0).err().unwrap();
        assert!(
            format!("{error:#}").contains("/nonexistent/events.json"),
            "{error:#}"
        );
    }
}
