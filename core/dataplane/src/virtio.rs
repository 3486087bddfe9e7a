//! The header in front of every packet of a TUN device with offload (`struct virtio_net_hdr` of Linux's
//! `virtio_net.h`): says which checksum is still missing and how a super-packet is to be split.

/// Its length in octets.
pub const VIRTIO_HEADER: usize = 10;

/// The checksum at `checksum_start + checksum_offset` covers everything from `checksum_start`, and holds the sum of
/// the pseudo-header until somebody completes it.
pub(crate) const NEEDS_CHECKSUM: u8 = 1;

/// No super-packet.
pub(crate) const GSO_NONE: u8 = 0;
/// TCP over IPv6.
pub(crate) const GSO_TCP6: u8 = 4;
/// UDP datagrams of one length, over IPv4 or IPv6.
pub(crate) const GSO_UDP: u8 = 5;
/// A bit beside the type: congestion was notified on the first segment only.
pub(crate) const GSO_ECN: u8 = 0x80;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VirtioHeader {
    pub flags: u8,
    pub gso_type: u8,
    /// Octets of all headers; a hint.
    pub header_length: u16,
    /// Octets of payload in each segment; the last may have fewer.
    pub gso_size: u16,
    /// Where the transport header begins.
    pub checksum_start: u16,
    /// Of the checksum in the transport header.
    pub checksum_offset: u16,
}

impl VirtioHeader {
    /// In front of a packet that is whole.
    pub const PLAIN: Self = Self {
        flags: 0,
        gso_type: GSO_NONE,
        header_length: 0,
        gso_size: 0,
        checksum_start: 0,
        checksum_offset: 0,
    };

    /// Whether this is a UDP super-packet, which not every kernel takes.
    pub fn is_udp(&self) -> bool {
        self.gso_type == GSO_UDP
    }

    pub fn decode(octets: [u8; VIRTIO_HEADER]) -> Self {
        let [flags, gso_type, a, b, c, d, e, f, g, h] = octets;
        let number = |pair| u16::from_ne_bytes(pair);
        Self {
            flags,
            gso_type,
            header_length: number([a, b]),
            gso_size: number([c, d]),
            checksum_start: number([e, f]),
            checksum_offset: number([g, h]),
        }
    }

    pub fn encode(&self) -> [u8; VIRTIO_HEADER] {
        let [a, b] = self.header_length.to_ne_bytes();
        let [c, d] = self.gso_size.to_ne_bytes();
        let [e, f] = self.checksum_start.to_ne_bytes();
        let [g, h] = self.checksum_offset.to_ne_bytes();
        [self.flags, self.gso_type, a, b, c, d, e, f, g, h]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_its_wire_form() {
        let header = VirtioHeader {
            flags: 1,
            gso_type: 4,
            header_length: 72,
            gso_size: 1208,
            checksum_start: 40,
            checksum_offset: 16,
        };
        assert_eq!(VirtioHeader::decode(header.encode()), header);
        assert_eq!(VirtioHeader::PLAIN.encode(), [0; VIRTIO_HEADER]);
    }
}
