//! A node's own signed statement of where it can be reached.

use crate::{certificate::Certificate, identity::NodeId};
use core::net::SocketAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointKind { Local, Mapped, Observed, Configured }

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint { pub address: SocketAddr, pub kind: EndpointKind }

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub node: NodeId,
    /// Rises with every change; seeded from civil time so that it survives lost state.
    pub sequence: u64,
    /// At most 16, best first.
    pub endpoints: Vec<Endpoint>,
    pub leaf: bool,
    pub relay: bool,
    /// 0 idle ..= 255 full.
    pub load: u8,
    // + signature and the signed bytes
}

/// A record with the certificate that makes sense of it; what is gossiped, cached and published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle { pub certificate: Certificate, pub record: Record }
