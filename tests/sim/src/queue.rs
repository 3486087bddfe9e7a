//! What is going to happen in a world, ordered by time and then by when it was scheduled.

use crate::HostId;
use core::net::SocketAddr;
use osier_proto::{Instant, node::Command};

#[derive(Debug)]
pub(crate) enum Happening {
    Datagram {
        to: SocketAddr,
        from: SocketAddr,
        sender: HostId,
        bytes: Vec<u8>,
    },
    Wake(HostId, u32),
    Registry(HostId, u32, RegistryReply),
}

#[derive(Debug)]
pub(crate) enum RegistryReply {
    Unreachable,
    Done,
    Run(Box<Command>),
}

pub(crate) struct Scheduled {
    pub(crate) at: Instant,
    pub(crate) number: u64,
    pub(crate) happening: Happening,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
