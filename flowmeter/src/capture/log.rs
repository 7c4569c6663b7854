//! Logs that other meters, and this one, have written: one flow, connection or event a line.
//!
//! A line that cannot be read is told with its place and the field that is wrong, and the rest is used. What
//! became of every line is counted. Frame lengths stand in no other meter's log: there `wire_bytes` is the
//! same as `l3_bytes`.

mod events;
mod fault;
mod json;
pub(crate) mod lines;
mod number;
mod pmacct;
mod protocol;
mod time;
mod zeek;

use std::{io::Read, iter::Sum, ops::AddAssign};

pub(crate) use events::Count;
pub use events::EventParser;
pub use fault::{Fault, Wrong};
pub use pmacct::PmacctParser;
pub use zeek::ZeekParser;

use self::lines::{Lines, Stop};
use super::{
    problem::{Problem, What},
    replay::{Gathered, Interfaces, Source},
};

/// Of how many lines of a file it is told one by one that they cannot be read; then only their number.
const TOLD: u64 = 10;

/// What a line was found to be. A flow stays in the parser until it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Traffic, and the nanoseconds since the Unix epoch that it belongs to.
    Flow(u64),
    /// A flow without packets.
    Empty,
    /// A header, a comment, a mark, an event of another kind.
    Other,
}

/// Reads the lines of one format, one after the other.
pub trait Parser {
    /// # Errors
    /// What is wrong with the line.
    fn parse(&mut self, line: &[u8]) -> Result<Parsed, Fault>;

    /// Adds the flow that the last line held, and returns what is to be told once about the file.
    fn count(&mut self, into: &mut Gathered, interfaces: &mut Interfaces) -> Option<What>;

    /// What is to be told about a file that has ended and held no flow.
    fn without_flows(&self) -> Option<What> {
        None
    }
}

/// What became of the lines of a log: `read` is the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCounts {
    pub read: u64,
    /// Used: each holds a flow, a connection or a flow event.
    pub flows: u64,
    /// Flows without packets: nothing to count.
    pub empty: u64,
    /// Read over: empty lines, headers, comments, marks, events of other kinds.
    pub other: u64,
    /// Left out: they cannot be read, or a field that is needed is missing or wrong.
    pub broken: u64,
}

impl AddAssign for LineCounts {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.flows += other.flows;
        self.empty += other.empty;
        self.other += other.other;
        self.broken += other.broken;
    }
}

impl Sum for LineCounts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |mut sum, counts| {
            sum += counts;
            sum
        })
    }
}

/// A log that is read line by line.
pub struct LogSource<R, P> {
    file: String,
    lines: Lines<R>,
    parser: P,
    counts: LineCounts,
    untold: u64,
    ended: bool,
}

impl<R: Read, P: Parser> LogSource<R, P> {
    /// `file` is the name that problems are told with.
    pub fn new(file: impl Into<String>, reader: R, parser: P) -> Self {
        Self {
            file: file.into(),
            lines: Lines::new(reader),
            parser,
            counts: LineCounts::default(),
            untold: 0,
            ended: false,
        }
    }

    fn problem(&self, what: What) -> Problem {
        Problem {
            file: self.file.clone(),
            offset: self.lines.offset(),
            what,
        }
    }

    /// Counts a line that is left out; to be told if it is one of the first.
    fn broken(&mut self, fault: Fault) -> Option<Problem> {
        self.counts.read += 1;
        self.counts.broken += 1;
        if self.counts.broken > TOLD {
            self.untold += 1;
            return None;
        }
        let number = self.lines.number();
        Some(self.problem(What::Line { number, fault }))
    }

    /// What is told at the end, one after the other.
    fn last_words(&mut self) -> Option<Problem> {
        let lines = std::mem::take(&mut self.untold);
        if lines > 0 {
            return Some(self.problem(What::MoreLines { lines }));
        }
        if self.ended || self.counts.flows > 0 {
            return None;
        }
        self.ended = true;
        let what = self.parser.without_flows()?;
        Some(self.problem(what))
    }
}

impl<R: Read, P: Parser> Source for LogSource<R, P> {
    fn advance(&mut self) -> Result<Option<u64>, Problem> {
        loop {
            let parsed = match self.lines.advance() {
                Ok(true) => self.parser.parse(self.lines.line()),
                Ok(false) => return self.last_words().map_or(Ok(None), Err),
                Err(Stop::TooLong) => Err(Fault::TooLong),
                Err(Stop::Read(error)) => return Err(self.problem(What::Read(error))),
            };
            match parsed {
                Ok(Parsed::Flow(time_ns)) => {
                    self.counts.read += 1;
                    self.counts.flows += 1;
                    return Ok(Some(time_ns));
                }
                Ok(Parsed::Empty) => {
                    self.counts.read += 1;
                    self.counts.empty += 1;
                }
                Ok(Parsed::Other) => {
                    self.counts.read += 1;
                    self.counts.other += 1;
                }
                Err(fault) => {
                    if let Some(problem) = self.broken(fault) {
                        return Err(problem);
                    }
                }
            }
        }
    }

    fn count(&mut self, into: &mut Gathered, interfaces: &mut Interfaces) -> Option<Problem> {
        let what = self.parser.count(into, interfaces)?;
        Some(self.problem(what))
    }

    fn sorted(&self) -> bool {
        false
    }

    fn lines(&self) -> LineCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests;
