//! What can be wrong with a line.

use super::lines::LIMIT;

/// Why a line was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("more than {LIMIT} bytes long")]
    TooLong,
    /// Counted from the start of the line.
    #[error("no JSON object, from its byte {at} on")]
    NotJson { at: usize },
    /// Counted in the same way.
    #[error("no flow event of this version, from its byte {at} on")]
    NoEvent { at: usize },
    #[error("{found} columns instead of {expected}: the line was cut")]
    Columns { found: usize, expected: usize },
    #[error("a summary of flows that were merged, which cannot be taken apart: replay the file of all flows")]
    Summary,
    #[error("no #fields line stands before it")]
    NoHeader,
    #[error("{field} {wrong}")]
    Field { field: &'static str, wrong: Wrong },
}

/// What is wrong with one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    #[error("is missing")]
    Missing,
    #[error("is no number, or too large")]
    Number,
    #[error("is no IP address")]
    Address,
    #[error("is of another IP version than the source")]
    Version,
    #[error("is no time after 1970 that can be read")]
    Time,
    #[error("is no IP protocol")]
    Protocol,
    #[error("holds TCP flags that are not known")]
    Flags,
    #[error("is nothing that this version writes")]
    Word,
}

impl Fault {
    pub(super) const fn field(field: &'static str, wrong: Wrong) -> Self {
        Self::Field { field, wrong }
    }

    pub(super) const fn missing(field: &'static str) -> Self {
        Self::field(field, Wrong::Missing)
    }
}
