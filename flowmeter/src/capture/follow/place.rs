//! How far a file was read, and how it is known again.

use std::{
    fs::{File, Metadata},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    time::UNIX_EPOCH,
};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes of content at the start, and before the offset, that a file is known again by. Flow logs repeat
/// themselves, but not over several lines with time stamps.
const MARK: usize = 1024;

/// What a file is to the kernel. Device and inode are given to another file once this one is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    /// Nanoseconds since the Unix epoch; 0 where the file system keeps no time of birth.
    pub(super) born_ns: u64,
}

impl From<&Metadata> for Identity {
    fn from(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            born_ns: meta
                .created()
                .ok()
                .and_then(|born| born.duration_since(UNIX_EPOCH).ok())
                .and_then(|born| u64::try_from(born.as_nanos()).ok())
                .unwrap_or(0),
        }
    }
}

/// How far one file was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    #[serde(flatten)]
    pub(super) identity: Identity,
    /// Everything before is handed out, or was told as left out.
    pub(super) offset: u64,
    /// The file's length when it was last looked at.
    pub(super) length: u64,
    /// True inside of a line that is too long, up to whose end nothing is handed out.
    pub(super) skipping: bool,
    #[serde(serialize_with = "to_text", deserialize_with = "from_text")]
    head: Vec<u8>,
    /// The bytes before the offset.
    #[serde(serialize_with = "to_text", deserialize_with = "from_text")]
    tail: Vec<u8>,
}

/// What a file is to a place in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likeness {
    Other,
    /// Too short to tell.
    Empty,
    /// A copy of what was read, whole or in part.
    Copy,
}

impl Place {
    /// The start of a file.
    pub(super) fn start(identity: Identity) -> Self {
        Self {
            identity,
            offset: 0,
            length: 0,
            skipping: false,
            head: Vec::new(),
            tail: Vec::new(),
        }
    }

    /// The end of a file. If that is inside of a line, the line's rest is skipped.
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn end(file: &File) -> io::Result<Self> {
        let meta = file.metadata()?;
        let length = meta.len();
        let tail_length = MARK.min(usize::try_from(length).unwrap_or(MARK));
        let tail = bytes_at(file, length - tail_length as u64, tail_length)?;
        Ok(Self {
            identity: (&meta).into(),
            offset: length,
            length,
            skipping: tail.last().is_some_and(|&last| last != b'\n'),
            head: bytes_at(file, 0, tail_length)?,
            tail,
        })
    }

    /// True if `file` has not become shorter, and holds before the offset what was read there.
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn holds(&self, file: &File) -> io::Result<bool> {
        Ok(file.metadata()?.len() >= self.length.max(self.offset)
            && bytes_at(file, 0, self.head.len())? == self.head
            && bytes_at(file, self.tail_start(), self.tail.len())? == self.tail)
    }

    /// Goes behind `bytes`, which stand at the offset.
    pub(super) fn advance(&mut self, bytes: &[u8]) {
        let room = MARK - self.head.len().min(MARK);
        self.head.extend(bytes.iter().take(room));
        let kept = self.tail.len().min(MARK.saturating_sub(bytes.len()));
        self.tail.drain(..self.tail.len() - kept);
        self.tail
            .extend_from_slice(bytes.get(bytes.len().saturating_sub(MARK)..).unwrap_or_default());
        self.offset += bytes.len() as u64;
    }

    /// Tells if `other` is a copy of the file with this place, which `file` is unless it was truncated.
    /// Copies by `copytruncate` are met before they are complete, and may lack the last lines that were read.
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn likeness(&self, file: &File, other: &File) -> io::Result<Likeness> {
        let length = other.metadata()?.len();
        let head = if self.offset > 0 {
            &self.head
        } else if length <= file.metadata()?.len() {
            &bytes_at(file, 0, MARK)?
        } else {
            return Ok(Likeness::Other);
        };
        let compared = head.len().min(usize::try_from(length).unwrap_or(MARK));
        if length == 0 {
            return Ok(Likeness::Empty);
        }
        let alike = compared > 0
            && bytes_at(other, 0, compared)? == head.get(..compared).unwrap_or_default()
            && (length < self.offset || bytes_at(other, self.tail_start(), self.tail.len())? == self.tail);
        Ok(if alike { Likeness::Copy } else { Likeness::Other })
    }

    /// The same place in a copy of the file.
    pub(super) fn in_copy(&self, identity: Identity) -> Self {
        Self {
            identity,
            length: self.offset,
            ..self.clone()
        }
    }

    fn tail_start(&self) -> u64 {
        self.offset - self.tail.len() as u64
    }
}

/// The bytes from `offset` on, fewer than `length` where the file ends before.
fn bytes_at(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let read = read_at(file, offset, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Fills `into` from `offset` on, as far as the file goes.
pub(super) fn read_at(file: &File, offset: u64, into: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while let Some(rest) = into.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

fn to_text<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD_NO_PAD.encode(bytes))
}

fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD_NO_PAD.decode(text).map_err(serde::de::Error::custom)
}
