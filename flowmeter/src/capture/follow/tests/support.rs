//! A log with its writer, and a reader that can be killed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::capture::{follow::Follower, problem::What};

/// A program that writes numbered lines to a log, and whoever rotates it.
pub(super) struct Writer {
    pub(super) folder: TempDir,
    /// The log as the writer has it open; after a rotation maybe still the old file.
    pub(super) file: File,
    pub(super) written: Vec<String>,
    /// Of each line, how often the file had been replaced or cut before.
    pub(super) lives: BTreeMap<String, usize>,
    pub(super) life: usize,
    /// Lives of which nothing had been read when they were cut.
    pub(super) unmet: BTreeSet<usize>,
    pub(super) old: Option<(File, usize)>,
    /// The end of a line whose start is written.
    pub(super) partial: Option<String>,
    pub(super) copy: Option<File>,
    /// Keeps inodes from being used again within the time that a clock tick takes.
    pub(super) deleted: Vec<File>,
}

impl Writer {
    pub(super) fn new() -> Self {
        // In memory where that is possible, for each commit syncs.
        let folder = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap();
        let file = append(&folder.path().join("flows.json"));
        Self {
            folder,
            file,
            written: Vec::new(),
            lives: BTreeMap::new(),
            life: 0,
            unmet: BTreeSet::new(),
            old: None,
            partial: None,
            copy: None,
            deleted: Vec::new(),
        }
    }

    pub(super) fn log(&self) -> PathBuf {
        self.folder.path().join("flows.json")
    }

    pub(super) fn generation(&self, number: u32) -> PathBuf {
        self.folder.path().join(format!("flows.json.{number}"))
    }

    pub(super) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(super) fn next_line(&mut self, life: usize) -> String {
        let line = format!("{{\"line\": {}, \"life\": {life}}}", self.written.len());
        self.written.push(line.clone());
        self.lives.insert(line.clone(), life);
        line
    }

    pub(super) fn write(&mut self, lines: usize) {
        self.finish_line();
        for _ in 0..lines {
            let line = self.next_line(self.life) + "\n";
            self.file.write_all(line.as_bytes()).unwrap();
        }
    }

    pub(super) fn write_part(&mut self) {
        if self.partial.is_none() {
            let line = self.next_line(self.life);
            let (first, rest) = line.split_at(7);
            self.file.write_all(first.as_bytes()).unwrap();
            self.partial = Some(format!("{rest}\n"));
        }
    }

    pub(super) fn finish_line(&mut self) {
        if let Some(rest) = self.partial.take() {
            self.file.write_all(rest.as_bytes()).unwrap();
        }
    }

    /// Moves every generation one on. The writer goes on in the renamed file.
    pub(super) fn rename(&mut self, keep: u32) {
        for number in (1..30).rev() {
            if self.generation(number).exists() {
                fs::rename(self.generation(number), self.generation(number + 1)).unwrap();
            }
        }
        if self.log().exists() {
            fs::rename(self.log(), self.generation(1)).unwrap();
        }
        for number in keep + 1..32 {
            fs::remove_file(self.generation(number)).ok();
        }
    }

    /// The writer notices and opens a new file; it keeps the old one for a while.
    pub(super) fn reopen(&mut self) {
        self.finish_line();
        if !self.log().exists() {
            let new = append(&self.log());
            let old = std::mem::replace(&mut self.file, new);
            let deleted = old.metadata().unwrap().nlink() == 0;
            self.old = (!deleted).then_some((old, self.life));
            self.life += 1;
        }
    }

    /// A line to the old file, as a process of the writer's that was still at work writes it.
    pub(super) fn write_late(&mut self) {
        // An empty one could be a copy under way, to whoever cannot tell which of them is younger.
        if let Some((mut old, life)) = self
            .old
            .take()
            .filter(|(old, _)| old.metadata().unwrap().len() > 0)
        {
            let line = self.next_line(life) + "\n";
            old.write_all(line.as_bytes()).unwrap();
            self.old = Some((old, life));
        }
    }

    pub(super) fn start_copy(&mut self) {
        if self.copy.is_none() && self.log().exists() {
            for number in (1..30).rev() {
                if self.generation(number).exists() {
                    fs::rename(self.generation(number), self.generation(number + 1)).unwrap();
                }
            }
            self.copy = Some(append(&self.generation(1)));
        }
    }

    /// Copies up to so many bytes more.
    pub(super) fn copy_part(&mut self, bytes: u64) {
        if let Some(copy) = &mut self.copy {
            let mut log = File::open(self.folder.path().join("flows.json")).unwrap();
            log.seek(io::SeekFrom::Start(copy.metadata().unwrap().len()))
                .unwrap();
            io::copy(&mut log.take(bytes), copy).unwrap();
        }
    }

    pub(super) fn truncate(&mut self) {
        if self.log().exists() {
            self.copy_part(u64::MAX);
            self.cut();
        }
    }

    pub(super) fn cut(&mut self) {
        if self.copy.take().is_some() || self.log().exists() {
            self.file.set_len(0).unwrap();
            self.life += 1;
        }
    }
}

pub(super) fn append(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

/// Whoever follows, with what it handed out.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) follower: Option<Follower>,
    /// Handed out and not committed.
    pub(super) pending: Vec<String>,
    pub(super) committed: Vec<String>,
    pub(super) problems: Vec<What>,
}

impl Reader {
    pub(super) fn open(&mut self, writer: &Writer) -> &mut Follower {
        self.follower
            .get_or_insert_with(|| Follower::open(&writer.log(), &writer.state()).unwrap())
    }

    /// Up to so many pieces; true at the end.
    pub(super) fn poll(&mut self, writer: &Writer, pieces: usize) -> bool {
        for _ in 0..pieces {
            let Some(lines) = self.open(writer).poll().unwrap() else {
                self.take_problems();
                return true;
            };
            let lines: Vec<_> = lines
                .iter()
                .map(|(_, line)| String::from_utf8(line.to_vec()).unwrap())
                .collect();
            self.pending.extend(lines);
        }
        self.take_problems();
        false
    }

    pub(super) fn take_problems(&mut self) {
        let problems = self.follower.as_mut().unwrap().take_problems();
        self.problems
            .extend(problems.into_iter().map(|problem| problem.what));
    }

    pub(super) fn commit(&mut self, writer: &Writer) {
        self.open(writer);
        self.take_problems();
        self.open(writer).commit().unwrap();
        self.committed.append(&mut self.pending);
    }

    pub(super) fn kill(&mut self) {
        self.follower = None;
        self.pending.clear();
    }

    pub(super) fn read_all(&mut self, writer: &Writer) -> &[String] {
        while !self.poll(writer, usize::MAX) {}
        self.commit(writer);
        &self.committed
    }
}
