//! How far the Babel engine scales.
//!
//! - [`feed`] makes the packets of many neighbours that announce the same prefixes: a full table, the same
//!   table again, and a table in which everything changed;
//! - [`engine`] gives them to a speaker in this process;
//! - [`daemons`] gives them to `osier babel`, babeld and BIRD in namespaces, the very same octets;
//! - [`mesh`] runs a large network of speakers in virtual time;
//! - [`memory`] counts what is allocated.

pub mod daemons;
pub mod engine;
pub mod feed;
pub mod memory;
pub mod mesh;
pub mod process;
