//! Standard output, a named pipe or a device as the event file: written in order, never cut back, never
//! rotated.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::buffer::Lines;

/// How long a reader that has fallen behind is waited for, each time that it has taken nothing.
const READER_WAIT: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Stream {
    /// `None` for standard output.
    path: Option<PathBuf>,
    /// `None` while a pipe's reader is gone.
    file: Option<File>,
}

impl Stream {
    pub(super) const fn is_stdout(&self) -> bool {
        self.path.is_none()
    }

    pub(super) fn stdout() -> io::Result<Self> {
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Ok(Self {
            path: None,
            file: Some(file),
        })
    }

    /// What standard output is, over another descriptor.
    #[cfg(test)]
    pub(super) const fn like_stdout(file: File) -> Self {
        Self {
            path: None,
            file: Some(file),
        }
    }

    /// Fails for a named pipe that nobody reads.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: Some(path.to_owned()),
            file: Some(open(path)?),
        })
    }

    /// Writes as much of `lines` as can be written. A line that is cut goes on at the next call; a new
    /// reader of a pipe gets it whole.
    ///
    /// # Errors
    /// `BrokenPipe` on standard output is final: its reader is gone and none will come.
    pub(super) fn write(&mut self, lines: &mut Lines, chunk_bytes: usize) -> io::Result<()> {
        let mut file = match (self.file.take(), &self.path) {
            (Some(file), _) => file,
            (None, Some(path)) => open(path)?,
            (None, None) => return Err(io::ErrorKind::BrokenPipe.into()),
        };
        let result = write_all(&mut file, lines, chunk_bytes);
        match &result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => lines.rewind(),
            _ => self.file = Some(file),
        }
        result
    }
}

fn write_all(file: &mut File, lines: &mut Lines, chunk_bytes: usize) -> io::Result<()> {
    while lines.pending() > 0 {
        match file.write(lines.chunk(chunk_bytes)) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => lines.advance(written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut waited = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
                if poll(
                    &mut waited,
                    PollTimeout::try_from(READER_WAIT).unwrap_or(PollTimeout::ZERO),
                )? == 0
                {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY)
        .open(path)
}
