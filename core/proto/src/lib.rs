//! The sans-IO overlay node: membership, tunnels, neighbour choice, Babel, forwarding table, accounting.
//!
//! [`Node`] is the whole control plane as one state machine, built from `(config, seed, now)`. Its owner feeds
//! it datagrams, decrypted control packets, commands and time, then drains what it wants sent, stored or told.
//! The data plane forwards by the [`Snapshot`] that the node publishes and hands back everything that is not
//! plain data.

pub mod accounting;
pub mod certificate;
pub mod codec;
pub mod error;
pub mod fib;
pub mod identity;
pub mod invite;
pub mod link;
pub mod mesh;
pub mod network;
pub mod node;
pub mod packet;
pub mod record;
pub mod registry_api;
pub mod relay;
mod replay;
pub mod revocation;
mod signed;
pub mod snapshot;
mod sync;
pub mod tunnel;
pub mod wallclock;

pub use node::Node;
pub use osier_babel::{Duration, Instant, IpNet, RouterId};
pub use snapshot::Snapshot;
