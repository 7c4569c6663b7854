//! What was wrong with a file that is replayed, and where.

use std::io;

/// One thing that was wrong with one file. What could be read of it is used all the same.
#[derive(Debug, thiserror::Error)]
#[error("{file}: at byte {offset}: {what}")]
pub struct Problem {
    pub file: String,
    /// Where in the file; in what it holds, if it is compressed.
    pub offset: u64,
    pub what: What,
}

#[derive(Debug, thiserror::Error)]
pub enum What {
    #[error("opening it: {0}")]
    Open(#[source] io::Error),
    #[error("reading it: {0}; what stands before was used")]
    Read(#[source] io::Error),
    #[error("neither pcap nor pcapng")]
    NotACapture,
    #[error(
        "the file ends inside of a record, {missing} bytes or more are missing; what stands before was used"
    )]
    Cut { missing: usize },
    #[error("a record of more than {limit} bytes: the file is damaged; what stands before was used")]
    RecordTooLong { limit: usize },
    #[error("a damaged record; what stands before was used")]
    Damaged,
    #[error("a packet of interface {0}, which the file does not describe, was left out")]
    UnknownInterface(u32),
    #[error("a damaged packet block was left out")]
    DamagedPacket,
    #[error("frames of link type {0} cannot be read; each is counted as not_ip")]
    UnknownLinkType(u16),
    #[error("frames without a usable time stamp take the time of the frame before")]
    NoTime,
}

impl Problem {
    /// True if something that the file holds, or held, was not counted at all.
    pub const fn is_loss(&self) -> bool {
        !matches!(self.what, What::UnknownLinkType(_) | What::NoTime)
    }
}
