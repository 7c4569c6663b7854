//! Where flow records come from: the kernel's maps, captures and logs.

pub mod aggregate;
pub mod input;
pub mod link;
pub mod pcap;
pub mod problem;
pub mod replay;
