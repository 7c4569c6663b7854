//! Events, one JSON object a line, into the file that the Wazuh agent reads.

pub mod event;
pub mod file;
