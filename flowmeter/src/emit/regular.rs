//! An event file on a file system: shared with other appenders, rotated by rename, never cut in a line.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use super::buffer::Lines;

/// Attempts and pause for a lock that another appender holds: 50 ms altogether, then the next flush.
const LOCK_ATTEMPTS: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(1);
/// Times the file may be replaced by others while it is being opened.
const REOPEN_ATTEMPTS: u32 = 5;

/// An append-only file of whole lines. Other processes may append to it too, under the same lock, or rename
/// or remove it; then a new one is made.
#[derive(Debug)]
pub(super) struct RegularFile {
    path: PathBuf,
    mode: u32,
    file: File,
}

impl RegularFile {
    /// Opens the file, or creates it with exactly the permission bits `mode`.
    pub(super) fn open(path: &Path, mode: u32) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            mode,
            file: open(path, mode)?,
        })
    }

    /// Writes as much of `lines` as can be written, in writes of about `chunk_bytes`.
    ///
    /// After an error the file ends with a whole line and `lines` holds the rest. Where not even cutting the
    /// file back is possible (append-only attribute), the broken line is closed before the next write.
    pub(super) fn write(&mut self, lines: &mut Lines, chunk_bytes: usize) -> io::Result<()> {
        self.lock()?;
        let result = self.write_locked(lines, chunk_bytes);
        let unlocked = self.file.unlock();
        result.and(unlocked)
    }

    fn write_locked(&self, lines: &mut Lines, chunk_bytes: usize) -> io::Result<()> {
        self.close_broken_line()?;
        while lines.pending() > 0 {
            match (&self.file).write(lines.chunk(chunk_bytes)) {
                // A short write tells no reason; the next one, of the rest, does.
                Ok(written @ 1..) => lines.advance(written),
                Ok(0) => return self.take_back(lines, io::ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.take_back(lines, error),
            }
        }
        Ok(())
    }

    /// Cuts the file back to the end of its last whole line, and answers with `error`.
    fn take_back(&self, lines: &mut Lines, error: io::Error) -> io::Result<()> {
        let cut = lines.cut() as u64;
        lines.rewind();
        if cut > 0 {
            let size = self.file.metadata()?.len();
            self.file.set_len(size.saturating_sub(cut))?;
        }
        Err(error)
    }

    /// Ends a line that somebody (or an earlier run, killed while writing) left open, so that the next one
    /// is not glued to it.
    fn close_broken_line(&self) -> io::Result<()> {
        let size = self.file.metadata()?.len();
        let Some(last) = size.checked_sub(1) else {
            return Ok(());
        };
        let mut byte = [0];
        self.file.read_exact_at(&mut byte, last)?;
        if byte != *b"\n" {
            log::warn!("{} ends within a line; the line is closed", self.path.display());
            (&self.file).write_all(b"\n")?;
        }
        Ok(())
    }

    /// Takes the lock on the file that the path leads to now, making it if it is gone.
    fn lock(&mut self) -> io::Result<()> {
        for _ in 0..REOPEN_ATTEMPTS {
            lock(&self.file)?;
            if self.is_current()? {
                return Ok(());
            }
            log::info!(
                "{} was renamed or removed; a new file is started",
                self.path.display()
            );
            // Opened before the old one goes: while it fails, the old lock is dropped and nothing else changes.
            let new = open(&self.path, self.mode);
            self.file.unlock()?;
            self.file = new?;
        }
        Err(io::Error::other(
            "the file is replaced again and again by another process",
        ))
    }

    fn is_current(&self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        match fs::metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Renames the file to `.1`, older generations to the next number up to `keep`, and starts a new file.
    /// The lock keeps other appenders from writing to the old file meanwhile. Returns the old descriptor, or
    /// nothing if another process has just rotated the file.
    ///
    /// If a new file cannot be made, writing goes on at the next attempt as after a removal by others.
    pub(super) fn rotate(&mut self, keep: u32) -> io::Result<Option<File>> {
        self.lock()?;
        let rotated = match self.size() {
            Ok(0) => Ok(None),
            Ok(_) => self
                .shift_generations(keep)
                .and_then(|()| open(&self.path, self.mode).map(Some)),
            Err(error) => Err(error),
        };
        self.file.unlock()?;
        Ok(rotated?.map(|new| std::mem::replace(&mut self.file, new)))
    }

    fn shift_generations(&self, keep: u32) -> io::Result<()> {
        for number in (1..keep).rev() {
            match fs::rename(self.generation(number), self.generation(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, self.generation(1))
    }

    fn generation(&self, number: u32) -> PathBuf {
        let mut name: OsString = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

fn open(path: &Path, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // Reading serves to see how the file ends. A pipe that took the file's place must not block us.
    options
        .read(true)
        .append(true)
        .mode(mode)
        .custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY);
    match options.clone().create_new(true).open(path) {
        Ok(file) => {
            // Beyond what the umask lets through.
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            Ok(file)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.create(true).open(path),
        Err(error) => Err(error),
    }
}

fn lock(file: &File) -> io::Result<()> {
    for _ in 0..LOCK_ATTEMPTS {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::WouldBlock,
        "another process holds its lock",
    ))
}
