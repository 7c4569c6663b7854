//! The agent behind the `flowmeter` command, as a library so that tests and `xtask` use the same code.
//!
//! Data flows in one direction: capture, track, enrich, (detect,) emit. `ARCHITECTURE.md` has the picture.

pub mod capture;
pub mod config;
pub mod emit;
pub mod enrich;
pub mod flow;
pub mod track;
