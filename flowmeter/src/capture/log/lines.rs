//! A stream of bytes, line by line.

use std::io::{self, Read};

use memchr::memchr;

/// Longest line that is read, without its end.
pub(crate) const LIMIT: usize = 1 << 20;
const START: usize = 256 << 10;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// Why there is no line here. Going on is possible.
#[derive(Debug)]
pub(crate) enum Stop {
    /// More than [`LIMIT`] bytes; they were read over.
    TooLong,
    /// Nothing more can be read, and a line that was cut by this is not used.
    Read(io::Error),
}

pub(crate) struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    /// Of the buffer in the file.
    base: u64,
    /// The line in the buffer, without its end.
    start: usize,
    line_end: usize,
    /// What was read and is not yet used.
    next: usize,
    end: usize,
    /// Of the line in the file.
    offset: u64,
    number: u64,
    closed: bool,
    /// Met while a line was read over.
    failed: Option<io::Error>,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            base: 0,
            start: 0,
            line_end: 0,
            next: 0,
            end: 0,
            offset: 0,
            number: 0,
            closed: false,
            failed: None,
        }
    }

    /// The line that was gone to, without its end.
    pub(crate) fn line(&self) -> &[u8] {
        self.buffer.get(self.start..self.line_end).unwrap_or_default()
    }

    /// Where in the file it starts.
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    /// From 1 on.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// Goes to the next line; false at the end.
    pub(crate) fn advance(&mut self) -> Result<bool, Stop> {
        self.offset = self.base + self.next as u64;
        self.start = self.next;
        self.line_end = self.next;
        let mut searched = 0;
        loop {
            let unsearched = self.buffer.get(self.next + searched..self.end);
            if let Some(at) = memchr(b'\n', unsearched.unwrap_or_default()) {
                self.start = self.next;
                self.line_end = self.next + searched + at;
                self.next = self.line_end + 1;
                break;
            }
            searched = self.end - self.next;
            if searched > LIMIT {
                self.read_over();
                self.number += 1;
                return Err(Stop::TooLong);
            }
            match self.fill() {
                Ok(true) => {}
                Ok(false) if searched == 0 => return Ok(false),
                Ok(false) => {
                    self.start = self.next;
                    self.line_end = self.end;
                    self.next = self.end;
                    break;
                }
                Err(error) => {
                    self.closed = true;
                    self.next = self.end;
                    return Err(Stop::Read(error));
                }
            }
        }
        self.number += 1;
        if self.line_end - self.start > LIMIT {
            self.line_end = self.start;
            return Err(Stop::TooLong);
        }
        if self.line().ends_with(b"\r") {
            self.line_end -= 1;
        }
        if self.number == 1 && self.line().starts_with(BOM) {
            self.start += BOM.len();
        }
        Ok(true)
    }

    /// Throws bytes away up to the start of the next line.
    fn read_over(&mut self) {
        loop {
            let rest = self.buffer.get(self.next..self.end).unwrap_or_default();
            if let Some(at) = memchr(b'\n', rest) {
                self.next += at + 1;
                break;
            }
            self.next = self.end;
            match self.fill() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    self.closed = true;
                    self.failed = Some(error);
                    break;
                }
            }
        }
        self.start = self.next;
        self.line_end = self.next;
    }

    /// Reads on; false at the end. Only what is not yet used stays in the buffer.
    fn fill(&mut self) -> io::Result<bool> {
        if self.closed {
            return self.failed.take().map_or(Ok(false), Err);
        }
        self.buffer.copy_within(self.next..self.end, 0);
        self.base += self.next as u64;
        self.end -= self.next;
        self.next = 0;
        if self.end == self.buffer.len() {
            self.buffer.resize((self.end * 2).max(START), 0);
        }
        let free = self.buffer.get_mut(self.end..).unwrap_or_default();
        let read = loop {
            match self.reader.read(free) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.end += read;
        self.closed = read == 0;
        Ok(read > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// Hands out as many bytes at a time as it is told to.
    struct Pieces(Cursor<Vec<u8>>, usize);

    impl Read for Pieces {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let length = into.len().min(self.1);
            self.0.read(&mut into[..length])
        }
    }

    /// Number, offset and text; no text for a line that is too long.
    type Seen = (u64, u64, Option<Vec<u8>>);

    fn lines(bytes: Vec<u8>, piece: usize) -> Vec<Seen> {
        let mut lines = Lines::new(Pieces(Cursor::new(bytes), piece));
        let mut all = Vec::new();
        loop {
            match lines.advance() {
                Ok(true) => all.push((lines.number(), lines.offset(), Some(lines.line().to_vec()))),
                Ok(false) => return all,
                Err(Stop::TooLong) => all.push((lines.number(), lines.offset(), None)),
                Err(Stop::Read(error)) => panic!("{error}"),
            }
        }
    }

    proptest! {
        #[test]
        fn every_line_comes_with_its_place_however_it_is_read(
            texts in vec("[a-c \r]{0,9}", 0..20), piece in 1..40_usize, newline in any::<bool>(),
        ) {
            let mut bytes = texts.join("\n").into_bytes();
            let mut expected: Vec<Seen> = Vec::new();
            let mut offset = 0;
            for (number, text) in (1..).zip(&texts) {
                let line = text.strip_suffix('\r').unwrap_or(text);
                expected.push((number, offset, Some(line.as_bytes().to_vec())));
                offset += text.len() as u64 + 1;
            }
            if newline && !texts.is_empty() {
                bytes.push(b'\n');
            } else if texts.last().is_some_and(String::is_empty) {
                // Nothing stands behind the last line end.
                expected.pop();
            }
            prop_assert_eq!(lines(bytes, piece), expected);
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_read_over_in_little_memory() {
        for (length, fits) in [(LIMIT, true), (LIMIT + 1, false), (9 * LIMIT, false)] {
            for piece in [1000, 3 * LIMIT] {
                let mut bytes = b"first\n".to_vec();
                bytes.extend(std::iter::repeat_n(b'x', length));
                bytes.extend(b"\nlast");
                let mut reader = Lines::new(Pieces(Cursor::new(bytes.clone()), piece));
                while !matches!(reader.advance(), Ok(false)) {}
                assert!(reader.buffer.len() <= 4 * LIMIT, "{}", reader.buffer.len());
                let seen = lines(bytes, piece);
                let (number, offset, long) = &seen[1];
                assert_eq!((*number, *offset, long.is_some()), (2, 6, fits));
                assert_eq!(seen[2], (3, 7 + length as u64, Some(b"last".to_vec())));
                assert_eq!(seen.len(), 3);
            }
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_line() {
        let seen = lines(b"\xef\xbb\xbf{}\r\n\xef\xbb\xbf".to_vec(), 100);
        assert_eq!(seen, [(1, 0, Some(b"{}".to_vec())), (2, 7, Some(BOM.to_vec()))]);
    }

    #[test]
    fn what_a_broken_file_cuts_is_not_used() {
        struct Fails(bool);
        impl Read for Fails {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                if std::mem::replace(&mut self.0, true) {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                into[..9].copy_from_slice(b"whole\ncut");
                Ok(9)
            }
        }
        let mut lines = Lines::new(Fails(false));
        assert!(lines.advance().unwrap());
        assert!(matches!(lines.advance(), Err(Stop::Read(_))));
        assert_eq!((lines.offset(), lines.line()), (6, &b""[..]));
        assert!(!lines.advance().unwrap());
    }
}
