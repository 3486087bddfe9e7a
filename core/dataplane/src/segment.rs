//! Splits what a TUN device with offload gives: super-packets of TCP (TSO) and UDP (USO) into packets as they go
//! over the wire, with their checksums, and completes checksums that the kernel left to us.
//!
//! Segments are made in place, one after the other: the headers of each are written just before its payload, over
//! the end of the payload before, which must have been used by then. So nothing is copied but headers.

use crate::checksum::{IPV6_HEADER, TCP, finish, pseudo_header, sum, word};
use crate::virtio::{GSO_ECN, GSO_NONE, GSO_TCP6, GSO_UDP, NEEDS_CHECKSUM, VirtioHeader};
use osier_proto::packet::UDP;

/// Longest headers of a super-packet in octets: room for some extension headers and TCP with all its options.
const MAX_HEADERS: usize = 256;

/// Offsets in the TCP header (RFC 9293 section 3.1) and the UDP header (RFC 768).
pub(crate) const TCP_HEADER: usize = 20;
pub(crate) const TCP_SEQUENCE: usize = 4;
pub(crate) const TCP_DATA_OFFSET: usize = 12;
pub(crate) const TCP_FLAGS: usize = 13;
pub(crate) const TCP_CHECKSUM: usize = 16;
pub(crate) const UDP_HEADER: usize = 8;
pub(crate) const UDP_LENGTH: usize = 4;
pub(crate) const UDP_CHECKSUM: usize = 6;

const FIN: u8 = 0x01;
pub(crate) const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

/// Why a packet with its [`VirtioHeader`] makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    #[error("unknown kind of super-packet: {0}")]
    Kind(u8),
    #[error("the checksum to complete lies outside the packet")]
    Checksum,
    #[error("a super-packet that is not IPv6")]
    NotIpv6,
    #[error("the headers of a super-packet are cut short, too long or contradict each other")]
    Headers,
    #[error("a super-packet with segments of no length")]
    NoSize,
}

/// The packets in a buffer, one after the other.
#[derive(Debug)]
pub struct Segments<'a> {
    buffer: &'a mut [u8],
    /// `None` for a packet that is no super-packet.
    split: Option<Split>,
    /// Where the payload of the next segment begins; beyond the end when there is none.
    next: usize,
}

#[derive(Debug)]
struct Split {
    protocol: u8,
    transport: usize,
    /// Octets of all headers.
    length: usize,
    gso_size: usize,
    /// The first segment's, with zero for the checksum.
    headers: [u8; MAX_HEADERS],
    sequence: u32,
    /// Of addresses and protocol.
    pseudo: u64,
}

impl<'a> Segments<'a> {
    /// `packet` is what came behind `virtio`.
    ///
    /// # Errors
    /// The two contradict each other. The packet may have been changed.
    pub fn new(virtio: &VirtioHeader, packet: &'a mut [u8]) -> Result<Self, SegmentError> {
        let protocol = match virtio.gso_type & !GSO_ECN {
            GSO_NONE => {
                if virtio.flags & NEEDS_CHECKSUM != 0 {
                    complete_checksum(virtio, packet)?;
                }
                return Ok(Self {
                    buffer: packet,
                    split: None,
                    next: 0,
                });
            }
            GSO_TCP6 => TCP,
            GSO_UDP => UDP,
            _ => return Err(SegmentError::Kind(virtio.gso_type)),
        };
        let split = Split::new(protocol, virtio, packet)?;
        Ok(Self {
            buffer: packet,
            next: split.length,
            split: Some(split),
        })
    }

    /// The next packet, as long as there is one. Those before are overwritten.
    pub fn next_segment(&mut self) -> Option<&mut [u8]> {
        let Some(split) = &self.split else {
            let fresh = self.next == 0;
            self.next = 1;
            return fresh.then_some(&mut *self.buffer);
        };
        let total = self.buffer.len();
        // Without payload there is one segment all the same.
        if self.next >= total && !(self.next == total && total == split.length) {
            return None;
        }
        let payload = self.next;
        let end = total.min(payload.saturating_add(split.gso_size));
        self.next = if end == total { usize::MAX } else { end };
        // The first payload begins behind all headers, the others later.
        let segment = &mut self.buffer[payload - split.length..end];
        split.write_headers(segment, payload - split.length, end == total);
        Some(segment)
    }
}

impl Split {
    fn new(protocol: u8, virtio: &VirtioHeader, packet: &[u8]) -> Result<Self, SegmentError> {
        if packet.first().is_none_or(|octet| octet >> 4 != 6) {
            return Err(SegmentError::NotIpv6);
        }
        let transport = usize::from(virtio.checksum_start);
        let gso_size = usize::from(virtio.gso_size);
        if gso_size == 0 {
            return Err(SegmentError::NoSize);
        }
        let (fixed, checksum) = match protocol {
            TCP => (TCP_HEADER, TCP_CHECKSUM),
            _ => (UDP_HEADER, UDP_CHECKSUM),
        };
        if transport < IPV6_HEADER || usize::from(virtio.checksum_offset) != checksum {
            return Err(SegmentError::Headers);
        }
        // With extension headers the protocol is named in the last of them, which the kernel has looked for.
        if transport == IPV6_HEADER && packet.get(6) != Some(&protocol) {
            return Err(SegmentError::Headers);
        }
        let length = match protocol {
            TCP => {
                let words = packet
                    .get(transport + TCP_DATA_OFFSET)
                    .ok_or(SegmentError::Headers)?
                    >> 4;
                transport + 4 * usize::from(words)
            }
            _ => transport + UDP_HEADER,
        };
        if length < transport + fixed || length > MAX_HEADERS || length > packet.len() {
            return Err(SegmentError::Headers);
        }
        // A segment's length must fit IPv6's own field.
        if packet.len().min(length + gso_size) - IPV6_HEADER > usize::from(u16::MAX) {
            return Err(SegmentError::Headers);
        }
        let mut headers = [0; MAX_HEADERS];
        headers[..length].copy_from_slice(&packet[..length]);
        headers[transport + checksum..][..2].fill(0);
        let mut sequence = [0; 4];
        if protocol == TCP {
            sequence.copy_from_slice(&headers[transport + TCP_SEQUENCE..][..4]);
        }
        Ok(Self {
            protocol,
            transport,
            length,
            gso_size,
            sequence: u32::from_be_bytes(sequence),
            pseudo: pseudo_header(packet, protocol),
            headers,
        })
    }

    /// `offset`: of its payload in all the payload.
    fn write_headers(&self, segment: &mut [u8], offset: usize, last: bool) {
        segment[..self.length].copy_from_slice(&self.headers[..self.length]);
        // Checked in `new` to fit.
        let behind_ip = (segment.len() - IPV6_HEADER) as u16;
        segment[4..6].copy_from_slice(&behind_ip.to_be_bytes());
        let transport = &mut segment[self.transport..];
        let length = transport.len() as u16;
        let checksum = if self.protocol == TCP {
            // Sequence numbers wrap.
            let sequence = self.sequence.wrapping_add(offset as u32);
            transport[TCP_SEQUENCE..][..4].copy_from_slice(&sequence.to_be_bytes());
            if !last {
                transport[TCP_FLAGS] &= !(FIN | PSH);
            }
            if offset > 0 {
                transport[TCP_FLAGS] &= !CWR;
            }
            TCP_CHECKSUM
        } else {
            transport[UDP_LENGTH..][..2].copy_from_slice(&length.to_be_bytes());
            UDP_CHECKSUM
        };
        let sum = self.pseudo + word(length) + sum(transport);
        transport[checksum..][..2].copy_from_slice(&finish(sum, self.protocol));
    }
}

/// The field holds the sum of the pseudo-header; what follows is added.
fn complete_checksum(virtio: &VirtioHeader, packet: &mut [u8]) -> Result<(), SegmentError> {
    let start = usize::from(virtio.checksum_start);
    let offset = usize::from(virtio.checksum_offset);
    let covered = packet.get_mut(start..).ok_or(SegmentError::Checksum)?;
    if covered.len() < offset + 2 {
        return Err(SegmentError::Checksum);
    }
    let protocol = if offset == UDP_CHECKSUM { UDP } else { TCP };
    let checksum = finish(sum(covered), protocol);
    covered[offset..][..2].copy_from_slice(&checksum);
    Ok(())
}
