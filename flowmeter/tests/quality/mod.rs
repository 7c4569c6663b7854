//! How good the detectors are: labelled captures through the engine, findings against expectations.

pub(crate) mod hold_out;
pub(crate) mod judged;
pub(crate) mod load;
pub(crate) mod made;
mod measure;
mod replayed;
pub(crate) mod report;
mod rows;

#[allow(unused_imports, reason = "the test and the measuring program each use a part")]
pub(crate) use measure::{Mode, measure};
#[allow(unused_imports, reason = "the test and the measuring program each use a part")]
pub(crate) use replayed::{feed, slices_with_restart};
#[allow(unused_imports, reason = "the test and the measuring program each use a part")]
pub(crate) use rows::{Row, config, read};
