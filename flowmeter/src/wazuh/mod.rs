//! Wazuh: the pack of rules and snippets, where it goes on a host, and what Wazuh makes of our events.
//!
//! [`pack`] holds the files, [`engine`] applies rules to events as the manager does, [`install`] puts the files in
//! place and [`diagnose`] finds what is wrong.

pub mod age;
pub mod conf;
pub mod diagnose;
pub mod engine;
pub mod event;
pub mod host;
mod ids;
pub mod install;
pub mod list;
pub mod pack;
pub mod pattern;
pub mod rule;
pub mod uninstall;
pub mod verdict;
pub mod xml;
