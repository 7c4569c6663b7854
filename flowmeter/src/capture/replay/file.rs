//! Files that are open only while their time is replayed.

use std::{
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

use super::{Gathered, Interfaces, Source};
use crate::capture::{
    input::{BytesRead, Input},
    log::LineCounts,
    problem::{Problem, What},
};

/// Chooses the reader of a file by its content ([`Input::head`]). Given the name that problems are told with.
pub type Reader = Rc<dyn Fn(String, Input) -> Box<dyn Source>>;

/// A file on disk, or standard input.
///
/// A regular file is opened once to see when it starts, and again when its first item is counted: a
/// directory of rotated captures takes one open file at a time, not all of them.
pub struct FileSource {
    path: PathBuf,
    bytes_read: BytesRead,
    reader: Reader,
    state: State,
    sorted: bool,
    /// Of the file once it has ended.
    lines: LineCounts,
}

enum State {
    New,
    /// Its first item's time is known.
    Waiting,
    Open(Box<dyn Source>),
    Ended,
}

impl FileSource {
    /// `path` may be `-` for standard input.
    pub fn new(path: &Path, bytes_read: &BytesRead, reader: &Reader) -> Self {
        Self {
            path: path.to_owned(),
            bytes_read: Arc::clone(bytes_read),
            reader: Rc::clone(reader),
            state: State::New,
            sorted: true,
            lines: LineCounts::default(),
        }
    }

    fn open(&self, bytes_read: BytesRead) -> Result<Box<dyn Source>, Problem> {
        let file = self.path.display().to_string();
        match Input::open(&self.path, bytes_read) {
            Ok(input) => Ok((self.reader)(file, input)),
            Err(error) => Err(Problem {
                file,
                offset: 0,
                what: What::Open(error),
            }),
        }
    }

    /// Looks at the first item of a file that can be opened again; others are kept open.
    fn start(&mut self) -> Result<Option<u64>, Problem> {
        self.state = State::Ended;
        if !self.path.is_file() {
            let source = self.open(Arc::clone(&self.bytes_read))?;
            self.sorted = source.sorted();
            self.state = State::Open(source);
            return self.advance();
        }
        let mut source = self.open(BytesRead::default())?;
        let first = source.advance();
        self.sorted = source.sorted();
        match first {
            Ok(None) => self.lines = source.lines(),
            Ok(Some(_)) => self.state = State::Waiting,
            // Told now; there may be items behind it.
            Err(_) => self.state = State::Open(source),
        }
        first
    }
}

impl FileSource {
    /// Opens a file again whose first item's time is known, and goes to that item.
    fn reopen(&mut self) -> Result<(), Problem> {
        self.state = State::Ended;
        let mut source = self.open(Arc::clone(&self.bytes_read))?;
        if source.advance()?.is_some() {
            self.state = State::Open(source);
        }
        Ok(())
    }
}

impl Source for FileSource {
    fn advance(&mut self) -> Result<Option<u64>, Problem> {
        match &mut self.state {
            State::New => self.start(),
            State::Waiting => {
                self.reopen()?;
                self.advance()
            }
            State::Ended => Ok(None),
            State::Open(source) => {
                let time = source.advance();
                if matches!(time, Ok(None)) {
                    self.lines = source.lines();
                    self.state = State::Ended;
                }
                time
            }
        }
    }

    fn count(&mut self, into: &mut Gathered, interfaces: &mut Interfaces) -> Option<Problem> {
        if matches!(self.state, State::Waiting)
            && let Err(problem) = self.reopen()
        {
            return Some(problem);
        }
        match &mut self.state {
            State::Open(source) => source.count(into, interfaces),
            _ => None,
        }
    }

    fn sorted(&self) -> bool {
        self.sorted
    }

    fn lines(&self) -> LineCounts {
        match &self.state {
            State::Open(source) => source.lines(),
            _ => self.lines,
        }
    }
}
