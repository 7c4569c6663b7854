//! How good the detectors are: labelled captures through the engine, findings against expectations.

pub(crate) mod load;
mod measure;
mod replayed;
mod report;
mod rows;

pub(crate) use measure::{Measured, Mode, measure};
pub(crate) use replayed::{feed, slices_with_restart};
pub(crate) use report::report;
pub(crate) use rows::{Row, config, read};
