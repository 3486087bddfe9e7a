//! The link protocol: what two ends of a tunnel tell each other besides Babel, in CBOR over UDP port
//! [`PORT`] between their link-local addresses, inside the tunnel.

/// UDP port of the link protocol (both ends).
pub const PORT: u16 = 6697;
