//! Waiting for something to happen in a folder.

use std::{
    os::fd::AsFd,
    path::Path,
    time::{Duration, Instant},
};

use inotify::{Inotify, WatchMask};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long anything may take before a test gives up.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Folder {
    inotify: Inotify,
}

impl Folder {
    pub(crate) fn watch(path: &Path) -> Self {
        let inotify = Inotify::init().unwrap();
        inotify
            .watches()
            .add(path, WatchMask::MODIFY | WatchMask::CREATE | WatchMask::MOVE)
            .unwrap();
        Self { inotify }
    }

    /// Asks again after every change in the folder.
    pub(crate) fn until(&mut self, what: &str, mut happened: impl FnMut() -> bool) {
        let begin = Instant::now();
        let mut events = [0; 4096];
        while !happened() {
            let left = LIMIT
                .checked_sub(begin.elapsed())
                .unwrap_or_else(|| panic!("waiting for {what} took too long"));
            let timeout = PollTimeout::try_from(left).unwrap();
            let mut descriptors = [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
            if poll(&mut descriptors, timeout).unwrap() > 0 {
                self.inotify.read_events(&mut events).unwrap().for_each(drop);
            }
        }
    }
}
