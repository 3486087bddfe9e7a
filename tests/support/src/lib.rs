//! What tests of several crates share. It stands below all of them but `osier-proto`, and only tests may depend on
//! it (`tests/architecture`).

mod allocations;
pub mod packets;

pub use allocations::{CountingAllocator, allocations};
