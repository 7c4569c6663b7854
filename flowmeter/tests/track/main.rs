//! The connection table, through its public interface.

mod life;
mod properties;
mod table;
#[cfg(test)]
mod traffic;
