//! Following a log: a reader that is killed, and NetFlow from an exporter by way of nfacctd.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the lints' exception for tests does not reach their helper functions"
)]

mod killed;
mod nfacctd;
#[path = "../support/mod.rs"]
mod support;
mod waiting;
