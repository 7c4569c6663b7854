//! The agent behind the `flowmeter` command, as a library so that tests and `xtask` use the same code.
//!
//! Data flows in one direction: capture, track, enrich, detect, emit. `ARCHITECTURE.md` has the picture.

pub mod agent;
pub mod capture;
pub mod cli;
pub mod commands;
pub mod config;
pub mod detect;
pub mod doctor;
pub mod emit;
pub mod enrich;
pub mod error;
pub mod evidence;
pub mod explain;
pub mod flow;
pub mod generate;
pub mod logging;
pub mod pipeline;
pub mod report;
pub mod state;
pub mod track;
pub mod wazuh;
