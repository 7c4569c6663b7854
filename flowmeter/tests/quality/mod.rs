//! How good the detectors are: labelled captures through the engine, findings against expectations.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a measurement, not the product: a wrong table must end it, and numbers are small"
)]

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
