//! A sans-IO speaker of the Babel routing protocol (RFC 8966).
//!
//! # Life of a speaker
//!
//! [`Speaker::new`] is given a router-id, a seed and the time. The owner then tells it about interfaces
//! ([`Speaker::add_interface`]) and about the prefixes it originates ([`Speaker::announce`]), feeds it every
//! packet ([`Speaker::handle_packet`]) and every expired timer ([`Speaker::handle_timeout`]), and after each
//! of these drains what it wants done: packets to send ([`Speaker::poll_transmit`]), route changes to install
//! ([`Speaker::poll_event`]) and the next time to wake it ([`Speaker::poll_timeout`]).
//!
//! # Life of an update
//!
//! [`wire`] decodes it, the owner's [`Authority`] judges it, and it changes one route of one `entry`, where all
//! about a prefix is kept. `select` picks among the feasible routes (`source` says which are). When the
//! selection changed, each interface is compared with what it was last told, and what differs waits in its
//! `output` for some milliseconds, to share a packet with other news.
//!
//! The crate contains no sockets, clocks, threads or randomness of its own: the same inputs give the same
//! outputs, byte for byte.

mod authentication;
mod cost;
mod entry;
pub mod filter;
mod interface;
mod map;
mod neighbour;
mod output;
mod rng;
mod rtt;
mod select;
mod seqno;
mod source;
mod speaker;
mod standing;
mod table;
mod time;
mod timer;
mod types;
pub mod wire;

pub use authentication::{Authentication, AuthenticationMode, KeyError, MAX_KEYS, MacKey};
pub use ipnet::IpNet;
pub use speaker::Speaker;
pub use standing::Standing;
pub use time::{Duration, Instant};
pub use types::*;
