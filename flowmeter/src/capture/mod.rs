//! Where flow records come from: the kernel's maps, captures and logs.

pub mod aggregate;
pub mod attach;
mod bpf;
pub mod drain;
pub mod features;
pub mod follow;
pub mod format;
pub mod input;
pub mod interfaces;
pub mod link;
pub mod log;
pub mod pcap;
pub mod plan;
pub mod problem;
pub mod programs;
pub mod replay;
mod slots;
pub mod table;
