//! Waiting for a log to change.

use std::{
    ffi::{OsStr, OsString},
    io,
    path::Path,
    time::Duration,
};

use futures_util::StreamExt;
use inotify::{EventStream, Inotify, WatchMask};

use super::siblings;

/// How often to look where nothing tells of changes: network file systems, and no inotify instance left.
const POLL: Duration = Duration::from_secs(2);
/// For some dozen events with their names.
const BUFFER: usize = 4096;

/// Waits by inotify on the log's folder, and looks every two seconds all the same.
#[derive(Debug)]
pub(super) struct Watch {
    log: OsString,
    events: Option<EventStream<Vec<u8>>>,
}

impl Watch {
    /// Needs a tokio runtime with I/O and time.
    pub(super) fn new(log: &Path) -> Self {
        Self {
            log: log.file_name().unwrap_or_default().to_owned(),
            events: watch(siblings::folder(log))
                .inspect_err(|error| {
                    log::warn!(
                        "watching {}: {error}; looking every {POLL:?} instead",
                        log.display()
                    );
                })
                .ok(),
        }
    }

    /// Returns when the log or a generation of it may have changed, or after the time of one look.
    pub(super) async fn changed(&mut self) {
        let timeout = tokio::time::sleep(POLL);
        let Some(events) = &mut self.events else {
            return timeout.await;
        };
        let failed = tokio::select! {
            () = timeout => None,
            told = told(events, &self.log) => told.err(),
        };
        if let Some(error) = failed {
            log::warn!("reading what changed: {error}; looking every {POLL:?} instead");
            self.events = None;
        }
    }
}

fn watch(folder: &Path) -> io::Result<EventStream<Vec<u8>>> {
    let inotify = Inotify::init()?;
    inotify.watches().add(
        folder,
        WatchMask::MODIFY | WatchMask::CREATE | WatchMask::MOVE | WatchMask::DELETE | WatchMask::ONLYDIR,
    )?;
    inotify.into_event_stream(vec![0; BUFFER])
}

/// Returns once something was told of a file of this log. Events that are dropped with it are no loss: whoever
/// waits looks at the files afterwards.
async fn told(events: &mut EventStream<Vec<u8>>, log: &OsStr) -> io::Result<()> {
    loop {
        let Some(event) = events.next().await else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        // Without a name: the queue ran over, or the folder itself is gone.
        if event?.name.is_none_or(|name| siblings::belongs(log, &name)) {
            return Ok(());
        }
    }
}
