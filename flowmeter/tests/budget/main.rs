//! The event budget: what is written, what is merged, and that the file adds up whatever is left out.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics fails"
)]

mod collector;
mod law;
mod load;
mod maintenance;
mod properties;
