//! The part of a file that is in memory: from the record that is being read on.

use std::io::{self, Read};

const START: usize = 256 << 10;
/// Largest record that is read; Wireshark's limit for a block.
pub(super) const LIMIT: usize = 16 << 20;

pub(super) struct Window<R> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Of `start` in the file.
    offset: u64,
    closed: bool,
}

pub(super) enum Fill {
    More,
    End,
    /// The window holds [`LIMIT`] bytes already.
    Full,
}

impl<R: Read> Window<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            offset: 0,
            closed: false,
        }
    }

    pub(super) fn data(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Where in the file the window starts.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn consume(&mut self, length: usize) {
        let length = length.min(self.end - self.start);
        self.start += length;
        self.offset += length as u64;
    }

    /// Reads no more, and forgets what was read.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.start = self.end;
    }

    /// Reads on.
    pub(super) fn fill(&mut self) -> io::Result<Fill> {
        if self.closed {
            return Ok(Fill::End);
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.buffer.len() {
            if self.end >= LIMIT {
                return Ok(Fill::Full);
            }
            let length = (self.end * 2).clamp(START, LIMIT);
            self.buffer.resize(length, 0);
        }
        let free = self.buffer.get_mut(self.end..).unwrap_or_default();
        let read = loop {
            match self.reader.read(free) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.end += read;
        Ok(if read == 0 { Fill::End } else { Fill::More })
    }
}
