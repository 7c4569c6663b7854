//! What only real packets through a real kernel can show. Every test needs root, and makes network namespaces of
//! its own.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy's exception for tests does not reach their helper functions"
)]

mod conservation;

#[path = "../support/agent.rs"]
mod agent;
#[path = "../support/network.rs"]
mod network;
#[path = "../support/mod.rs"]
mod support;
