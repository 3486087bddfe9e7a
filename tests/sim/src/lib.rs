//! Deterministic simulation of a whole mesh.
//!
//! A [`World`] holds real [`osier_proto::Node`]s with the `plain` session engine, the real packet path
//! ([`osier_dataplane::Forwarder`]), an [`underlay`] of links with latency, loss, reordering, partitions and NATs,
//! and a stand-in [`registry`]. Time is virtual and jumps to the earliest event. A world is built from options and
//! a seed, which determine everything: [`World::trace_hash`] covers every event, so two runs can be compared.
//!
//! At every change of a forwarding table the world follows the next hops for the changed prefixes through the
//! tables of all live nodes; a loop is recorded in [`World::violations`].

#![allow(
    clippy::expect_used,
    reason = "a test harness: what cannot happen fails the test"
)]

mod actions;
pub mod breakdown;
pub mod check;
pub mod drill;
mod host;
pub mod leaf;
pub mod meter;
mod queue;
mod random;
pub mod registry;
pub mod soak;
mod tap;
pub mod underlay;
mod world;

pub use host::{Host, HostId, HostOptions, NatOptions, Traffic};
pub use tap::{Tamper, Tap};
pub use world::{Options, Probe, World};
