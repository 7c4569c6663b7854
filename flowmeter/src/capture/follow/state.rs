//! The state file: one line of JSON, and behind it the events of a step that is under way.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::{
    place::{Identity, Place},
    siblings,
};

const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct State {
    version: u32,
    /// The log that is followed.
    log: PathBuf,
    committed: Vec<Place>,
    prepared: Option<Prepared>,
}

/// What an earlier run left.
#[derive(Debug)]
pub(super) struct Kept {
    /// How far each generation was read when the events of everything before were written.
    pub(super) committed: Vec<Place>,
    pub(super) prepared: Option<Prepared>,
    /// Of the prepared step.
    pub(super) events: Vec<u8>,
}

/// A step whose events may have been written, in part or not at all.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Prepared {
    /// How far each generation is read once the events are written.
    pub(super) places: Vec<Place>,
    pub(super) event_file: PathBuf,
    /// The event file before the step.
    pub(super) identity: Identity,
    pub(super) length: u64,
    events_bytes: u64,
}

impl Prepared {
    pub(super) fn new(places: Vec<Place>, event_file: &Path, file: &File) -> io::Result<Self> {
        let meta = file.metadata()?;
        Ok(Self {
            places,
            event_file: event_file.to_owned(),
            identity: (&meta).into(),
            length: meta.len(),
            events_bytes: 0,
        })
    }
}

/// The file that keeps the state, and the lock that keeps others from it.
#[derive(Debug)]
pub(super) struct StateFile {
    path: PathBuf,
    log: PathBuf,
    /// A file of its own, since the state file is replaced at each write.
    _lock: File,
}

impl StateFile {
    /// Opens `path` for following `log`, and reads what it holds. There is nothing at the first start.
    ///
    /// # Errors
    /// A state that cannot be read, is another log's or is in use, and how to go on.
    pub(super) fn open(path: &Path, log: &Path) -> Result<(Self, Option<Kept>)> {
        let shown = path.display();
        let file = Self {
            path: path.to_owned(),
            log: log.to_owned(),
            _lock: lock(&with_suffix(path, ".lock"))?,
        };
        let (state, events) = match File::open(path) {
            Ok(state) => read(state).with_context(|| {
                format!(
                    "reading state file {shown}; if it cannot be restored, remove it: {} is then read from its start",
                    log.display(),
                )
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((file, None)),
            Err(error) => return Err(error).with_context(|| format!("opening state file {shown}")),
        };
        ensure!(
            state.log == log,
            "state file {shown} is that of {}; give each log a state file of its own",
            state.log.display(),
        );
        let kept = Kept {
            committed: state.committed,
            prepared: state.prepared,
            events,
        };
        Ok((file, Some(kept)))
    }

    /// Replaces the state, so that after a crash there is either the old or the new one.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn write(
        &self,
        committed: &[Place],
        prepared: Option<&Prepared>,
        events: &[u8],
    ) -> io::Result<()> {
        let state = State {
            version: VERSION,
            log: self.log.clone(),
            committed: committed.to_vec(),
            prepared: prepared.map(|prepared| Prepared {
                events_bytes: events.len() as u64,
                ..prepared.clone()
            }),
        };
        let mut line = serde_json::to_vec(&state)?;
        line.push(b'\n');
        let beside = with_suffix(&self.path, ".new");
        let mut new = create(&beside, true)?;
        new.write_all(&line)?;
        new.write_all(events)?;
        new.sync_all()?;
        fs::rename(&beside, &self.path)?;
        File::open(siblings::folder(&self.path))?.sync_all()
    }
}

fn read(file: File) -> Result<(State, Vec<u8>)> {
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    let state: State = serde_json::from_slice(&line)?;
    ensure!(
        state.version == VERSION,
        "it has version {}, not {VERSION}",
        state.version
    );
    let mut events = Vec::new();
    reader.read_to_end(&mut events)?;
    let expected = state
        .prepared
        .as_ref()
        .map_or(0, |prepared| prepared.events_bytes);
    ensure!(
        events.len() as u64 == expected,
        "it holds {} bytes of events, not {expected}",
        events.len(),
    );
    Ok((state, events))
}

fn lock(path: &Path) -> Result<File> {
    let shown = path.display();
    let file = create(path, false).with_context(|| format!("creating {shown}"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("{shown} is locked: another process follows with the same state file; stop it first")
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {shown}")),
    }
}

/// Only for its owner, since marks of the log's content are in it; never through a link that others laid.
fn create(path: &Path, truncate: bool) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(truncate)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(path)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}
