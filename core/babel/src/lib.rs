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
//! The crate contains no sockets, clocks, threads or randomness of its own: the same inputs give the same
//! outputs, byte for byte.

mod time;
mod types;
mod speaker;

pub use ipnet::IpNet;
pub use speaker::Speaker;
pub use time::{Duration, Instant};
pub use types::*;
