//! Where flow records come from: the kernel programs.

pub mod attach;
mod bpf;
pub mod drain;
pub mod features;
pub mod interfaces;
pub mod plan;
pub mod programs;
