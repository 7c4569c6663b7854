//! Placeholder.

pub mod interfaces;
