//! What was wrong with a file that is replayed, and where.

use std::io;

use super::log::Fault;

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
    #[error("line {number}: {fault}; it was left out")]
    Line { number: u64, fault: Fault },
    #[error("{lines} more lines that cannot be read were left out")]
    MoreLines { lines: u64 },
    #[error("neither a capture nor a log of a known format")]
    UnknownFormat,
    #[error("a log of Zeek, but not of connections: it was left out")]
    OtherZeekLog,
    #[error("records without a time take {}, {from}", shown(*.time_ns))]
    TimeTaken { time_ns: u64, from: TimeFrom },
    #[error("times without a zone were read as those of {zone}; set TZ for another zone")]
    ZoneTaken { zone: String },
    #[error("packets were not counted by the meter that wrote this: the least number that sent it is taken")]
    PacketsTaken,
    #[error("connections of a protocol that is not told are taken as protocol 255")]
    ProtocolTaken,
    #[error("one packet in {rate} was counted by the meter that wrote this: counts are not scaled up")]
    Sampled { rate: u32 },
    #[error("a line of more than {limit} bytes was left out")]
    LineTooLong { limit: usize },
    #[error(
        "the file was truncated, {unread} bytes or more behind this one are lost; rotate it by renaming it"
    )]
    Truncated { unread: u64 },
    #[error("the file was copied and truncated, lines written in between are lost; rotate it by renaming it")]
    CopyTruncated,
    #[error("the file is gone, {unread} bytes or more behind this one are lost; keep more rotated files")]
    Gone { unread: u64 },
}

/// Where the time of records that have none is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeFrom {
    #[error("the start that was asked for")]
    Given,
    #[error("the file's last modification; --start gives another")]
    Modified,
}

/// RFC 3339, UTC.
fn shown(ns: u64) -> jiff::Timestamp {
    jiff::Timestamp::from_nanosecond(i128::from(ns)).unwrap_or_default()
}

impl Problem {
    /// True if something that the file holds, or held, was not counted at all.
    pub const fn is_loss(&self) -> bool {
        !matches!(
            self.what,
            What::UnknownLinkType(_)
                | What::NoTime
                | What::OtherZeekLog
                | What::TimeTaken { .. }
                | What::ZoneTaken { .. }
                | What::PacketsTaken
                | What::ProtocolTaken
                | What::Sampled { .. }
        )
    }
}
