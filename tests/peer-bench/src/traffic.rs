//! Traffic between two namespaces: TCP streams that take all they get, and UDP at a given rate.
//!
//! Both ends are threads of this program. What they cost is the same for every system.

mod tcp;
mod udp;

pub use tcp::Streams;
pub use udp::{LOSS, highest_rate};

use osier_lab::Netns;
use std::net::Ipv6Addr;

/// One end of a measurement.
#[derive(Clone, Debug)]
pub struct Site {
    pub netns: Netns,
    pub address: Ipv6Addr,
}
