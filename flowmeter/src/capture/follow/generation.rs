//! One generation of a log, read by whole lines.

use std::{fs::File, io, os::unix::fs::MetadataExt, path::PathBuf};

use super::{
    LINE_LIMIT,
    place::{Place, read_at},
};

#[derive(Debug)]
pub(super) struct Generation {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) place: Place,
}

/// What reading on came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Whole lines are in the buffer; they start at this offset.
    Lines(u64),
    /// No whole line is there.
    Nothing,
    /// A line that starts at this offset is longer than the limit; it is left out.
    TooLong(u64),
    /// The file no longer holds what was read of it.
    Truncated,
}

impl Generation {
    /// Reads on, up to the limit of a line's length. `buffer` holds the lines, and room for what comes after.
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn read(&mut self, buffer: &mut Vec<u8>) -> io::Result<Step> {
        loop {
            if !self.place.holds(&self.file)? {
                return Ok(Step::Truncated);
            }
            let offset = self.place.offset;
            self.place.length = self.file.metadata()?.len().max(offset);
            if self.place.length == offset {
                return Ok(Step::Nothing);
            }
            buffer.resize(LINE_LIMIT + 1, 0);
            let read = read_at(&self.file, offset, buffer)?;
            buffer.truncate(read);
            // A file that is cut and grows again meanwhile may have given bytes of both lives. They are read
            // again from where they stand now.
            if !self.place.holds(&self.file)? {
                return Ok(Step::Truncated);
            }
            let first_end = buffer.iter().position(|&byte| byte == b'\n').map(|at| at + 1);
            if self.place.skipping {
                let skipped = first_end.unwrap_or(read);
                self.place.advance(buffer.get(..skipped).unwrap_or_default());
                self.place.skipping = first_end.is_none();
                if skipped > 0 {
                    continue;
                }
                return Ok(Step::Nothing);
            }
            let Some(first_end) = first_end else {
                if read <= LINE_LIMIT {
                    return Ok(Step::Nothing);
                }
                self.place.advance(buffer);
                self.place.skipping = true;
                return Ok(Step::TooLong(offset));
            };
            let end = buffer
                .iter()
                .rposition(|&byte| byte == b'\n')
                .map_or(first_end, |at| at + 1);
            buffer.truncate(end);
            self.place.advance(buffer);
            return Ok(Step::Lines(offset));
        }
    }

    /// Bytes that are there, as far as was seen, and not handed out.
    pub(super) fn unread(&self) -> u64 {
        self.place.length.saturating_sub(self.place.offset)
    }

    /// True once no name leads to the file.
    ///
    /// # Errors
    /// Those of looking at it.
    pub(super) fn is_deleted(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.nlink() == 0)
    }
}
