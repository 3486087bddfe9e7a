//! The signed, numbered list of nodes that no longer belong.

use crate::identity::NodeId;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    /// A higher number replaces a lower one.
    pub number: u64,
    /// Sorted. (node, certificates with a serial up to and including this are void; u64::MAX: the node for good)
    pub revoked: Vec<(NodeId, u64)>,
    // + delegation, signature, signed bytes
}
