//! What each kind of report says, and in which order.

mod anomalies;
mod health;
mod incident;
mod monitoring;
mod parts;
pub(super) mod words;

pub(super) use anomalies::anomalies;
pub(super) use incident::incident;
pub(super) use monitoring::monitoring;
