//! What only real packets through a real kernel can show. Every test needs root, and makes network namespaces of
//! its own.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy's exception for tests does not reach their helper functions"
)]

mod conservation;
mod devices;
mod grace_period;
mod interfaces;
mod leftovers;
mod live_replay;
mod refusals;
mod segments;
mod service_manager;

#[path = "../support/agent.rs"]
mod agent;
#[path = "../support/frames.rs"]
mod frames;
#[path = "../support/network.rs"]
mod network;
#[path = "../support/programs.rs"]
mod programs;
#[path = "../support/raw.rs"]
mod raw;
#[path = "../support/mod.rs"]
mod support;
