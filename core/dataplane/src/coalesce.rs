//! Joins packets that arrived one after the other into super-packets, which the kernel takes through its stack in
//! one go: consecutive TCP segments of a flow, and UDP datagrams of one flow and one length.
//!
//! What is joined can be taken apart again octet for octet ([`crate::Segments`] and the kernel do), so only packets
//! that differ in nothing but what follows from their place are joined, as Linux's GRO does: TCP with the same
//! acknowledgement, window, options and no flags but ACK, and PSH on the last. Checksums are verified first, as a
//! super-packet is trusted. Packets of one flow keep their order.
//!
//! Packets stay where they are; a super-packet is a list of places in the buffer.

use crate::{
    checksum::{IPV6_HEADER, TCP, finish, fold, pseudo_header, sum, word},
    segment::{
        PSH, TCP_CHECKSUM, TCP_DATA_OFFSET, TCP_FLAGS, TCP_HEADER, TCP_SEQUENCE, UDP_CHECKSUM, UDP_HEADER,
        UDP_LENGTH,
    },
    virtio::{GSO_TCP6, GSO_UDP, NEEDS_CHECKSUM, VirtioHeader},
};
use core::ops::Range;
use osier_proto::packet::UDP;

/// Packets that wait at most.
pub const MAX_PACKETS: usize = 256;
/// Super-packets looked at, newest first, for one that a packet may join.
const SEARCH: usize = 16;
/// Octets of a super-packet with its headers.
const MAX_OCTETS: usize = 65_535;

const ACK: u8 = 0x10;
/// What a packet may differ in from the first one of its super-packet, and what it may not.
const TCP_ACKNOWLEDGEMENT: Range<usize> = 8..12;
const TCP_WINDOW: Range<usize> = 14..16;
/// The urgent pointer, and the options behind it.
const TCP_URGENT: usize = 18;

/// What is joined: what the kernel takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Joins {
    pub tcp: bool,
    pub udp: bool,
}

/// Collects packets of a buffer that is written meanwhile behind them.
#[derive(Debug)]
pub struct Coalescer {
    joins: Joins,
    packets: Box<[Packet]>,
    packet_count: usize,
    supers: Box<[Super]>,
    super_count: usize,
    /// Those before it may not grow any more: a packet of an unknown flow came after them.
    barrier: usize,
}

/// A packet, or what is left of it when it has joined a super-packet: its payload.
#[derive(Clone, Copy, Debug, Default)]
struct Packet {
    start: usize,
    end: usize,
    /// Its number among the packets; itself at the end.
    next: u16,
}

#[derive(Clone, Copy, Debug, Default)]
struct Super {
    first: u16,
    last: u16,
    packets: u16,
    /// Zero when nothing may join, not even be compared.
    protocol: u8,
    closed: bool,
    /// The checksum of the first packet has been verified; the others' always are.
    verified: bool,
    pushed: bool,
    /// Of the first packet.
    start: usize,
    headers: usize,
    gso_size: usize,
    octets: usize,
    next_sequence: u32,
}

/// What is written to the device at once: headers and payload of the first packet, payloads of the others.
#[derive(Debug)]
pub struct SuperPacket<'a> {
    pub virtio: VirtioHeader,
    /// How many packets it was.
    pub packets: usize,
    pub octets: usize,
    list: &'a [Packet],
    first: u16,
}

impl SuperPacket<'_> {
    /// Places in the buffer, to be written one after the other.
    pub fn pieces(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut next = Some(self.first);
        core::iter::from_fn(move || {
            let at = next?;
            let packet = self.list[usize::from(at)];
            next = (packet.next != at).then_some(packet.next);
            Some(packet.start..packet.end)
        })
    }
}

/// What matters of a packet that might join others.
struct Candidate {
    protocol: u8,
    headers: usize,
    sequence: u32,
    pushed: bool,
    /// It is plain data.
    joins: bool,
}

impl Coalescer {
    pub fn new(joins: Joins) -> Self {
        Self {
            joins,
            packets: vec![Packet::default(); MAX_PACKETS].into_boxed_slice(),
            packet_count: 0,
            supers: vec![Super::default(); MAX_PACKETS].into_boxed_slice(),
            super_count: 0,
            barrier: 0,
        }
    }

    /// Changes what is joined from now on.
    pub fn set_joins(&mut self, joins: Joins) {
        self.joins = joins;
    }

    pub fn is_empty(&self) -> bool {
        self.packet_count == 0
    }

    /// No packet may be added before a [`Coalescer::drain`].
    pub fn is_full(&self) -> bool {
        self.packet_count == MAX_PACKETS
    }

    /// Adds the IPv6 packet at `place` of `buffer`, which must stay there until [`Coalescer::drain`]. `false` when
    /// it is full, or there is nothing at that place.
    pub fn push(&mut self, buffer: &[u8], place: Range<usize>) -> bool {
        let Some(packet) = buffer.get(place.clone()) else {
            return false;
        };
        if self.is_full() {
            return false;
        }
        let candidate = Candidate::of(packet, self.joins);
        if let Some(candidate) = &candidate
            && let Some(found) = self.find(buffer, packet)
        {
            if self.may_join(buffer, packet, candidate, found) {
                self.join(place, candidate, found);
                return true;
            }
            // Whatever comes later of this flow must not overtake this packet.
            self.supers[found].closed = true;
        }
        self.begin(place, candidate);
        true
    }

    /// The newest super-packet of the packet's flow, if it is among the last few.
    fn find(&self, buffer: &[u8], packet: &[u8]) -> Option<usize> {
        let oldest = self.barrier.max(self.super_count.saturating_sub(SEARCH));
        (oldest..self.super_count).rev().find(|at| {
            let known = &self.supers[*at];
            let first = &buffer[known.start..];
            // Next header, addresses, ports.
            known.protocol == packet[6] && first[8..IPV6_HEADER + 4] == packet[8..IPV6_HEADER + 4]
        })
    }

    fn may_join(&mut self, buffer: &[u8], packet: &[u8], candidate: &Candidate, found: usize) -> bool {
        let known = &mut self.supers[found];
        let payload = packet.len() - candidate.headers;
        let fits = !known.closed
            && candidate.joins
            && candidate.headers == known.headers
            && payload <= known.gso_size
            && known.octets + payload <= MAX_OCTETS;
        if !fits {
            return false;
        }
        let first = &buffer[known.start..known.start + known.headers];
        // Version, traffic class and flow label; hop limit.
        let mut same = first[..4] == packet[..4] && first[7] == packet[7];
        if candidate.protocol == TCP {
            let (a, b) = (&first[IPV6_HEADER..], &packet[IPV6_HEADER..candidate.headers]);
            same &= candidate.sequence == known.next_sequence
                && a[TCP_ACKNOWLEDGEMENT] == b[TCP_ACKNOWLEDGEMENT]
                && a[TCP_WINDOW] == b[TCP_WINDOW]
                && a[TCP_URGENT..] == b[TCP_URGENT..];
        }
        if !same {
            return false;
        }
        if !known.verified {
            if !has_right_checksum(&buffer[known.start..known.start + known.octets], known.protocol) {
                return false;
            }
            known.verified = true;
        }
        has_right_checksum(packet, candidate.protocol)
    }

    fn join(&mut self, place: Range<usize>, candidate: &Candidate, found: usize) {
        let at = self.packet_count as u16;
        let payload = place.len() - candidate.headers;
        self.packets[usize::from(at)] = Packet {
            start: place.start + candidate.headers,
            end: place.end,
            next: at,
        };
        self.packet_count += 1;
        let known = &mut self.supers[found];
        self.packets[usize::from(known.last)].next = at;
        known.last = at;
        known.packets += 1;
        known.octets += payload;
        known.next_sequence = known.next_sequence.wrapping_add(payload as u32);
        known.pushed = candidate.pushed;
        // Only the last may be shorter, or pushed.
        known.closed = payload < known.gso_size || candidate.pushed;
    }

    fn begin(&mut self, place: Range<usize>, candidate: Option<Candidate>) {
        let at = self.packet_count as u16;
        self.packets[usize::from(at)] = Packet {
            start: place.start,
            end: place.end,
            next: at,
        };
        self.packet_count += 1;
        let mut new = Super {
            first: at,
            last: at,
            packets: 1,
            closed: true,
            start: place.start,
            octets: place.len(),
            ..Super::default()
        };
        match candidate {
            Some(candidate) => {
                let payload = place.len() - candidate.headers;
                new.protocol = candidate.protocol;
                new.headers = candidate.headers;
                new.gso_size = payload;
                new.next_sequence = candidate.sequence.wrapping_add(payload as u32);
                new.pushed = candidate.pushed;
                new.closed = !candidate.joins || candidate.pushed;
            }
            // It may belong to any flow: a fragment, say.
            None => self.barrier = self.super_count + 1,
        }
        self.supers[self.super_count] = new;
        self.super_count += 1;
    }

    /// Hands over everything, in the order in which the first packets came, and forgets it. The headers of
    /// super-packets are written into `buffer`.
    pub fn drain(&mut self, buffer: &mut [u8], mut emit: impl FnMut(&[u8], SuperPacket<'_>)) {
        for known in &self.supers[..self.super_count] {
            let virtio = if known.packets > 1 {
                known.write_headers(buffer)
            } else {
                VirtioHeader::PLAIN
            };
            let packet = SuperPacket {
                virtio,
                packets: known.packets.into(),
                octets: known.octets,
                list: &self.packets[..self.packet_count],
                first: known.first,
            };
            emit(buffer, packet);
        }
        self.packet_count = 0;
        self.super_count = 0;
        self.barrier = 0;
    }
}

impl Candidate {
    /// `None` unless it belongs to a flow that can be told by its ports.
    fn of(packet: &[u8], join: Joins) -> Option<Self> {
        let header = packet.first_chunk::<IPV6_HEADER>()?;
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        if header[0] >> 4 != 6 || IPV6_HEADER + length != packet.len() {
            return None;
        }
        let transport = &packet[IPV6_HEADER..];
        match header[6] {
            TCP if transport.len() >= TCP_HEADER => {
                let length = 4 * usize::from(transport[TCP_DATA_OFFSET] >> 4);
                if !(TCP_HEADER..=transport.len()).contains(&length) {
                    return None;
                }
                let mut sequence = [0; 4];
                sequence.copy_from_slice(&transport[TCP_SEQUENCE..][..4]);
                let flags = transport[TCP_FLAGS];
                Some(Self {
                    protocol: TCP,
                    headers: IPV6_HEADER + length,
                    sequence: u32::from_be_bytes(sequence),
                    pushed: flags & PSH != 0,
                    // Reserved bits share an octet with the data offset.
                    joins: join.tcp
                        && flags & !PSH == ACK
                        && transport[TCP_DATA_OFFSET] & 0xf == 0
                        && transport.len() > length,
                })
            }
            UDP if transport.len() >= UDP_HEADER => {
                let stated = u16::from_be_bytes([transport[UDP_LENGTH], transport[UDP_LENGTH + 1]]);
                Some(Self {
                    protocol: UDP,
                    headers: IPV6_HEADER + UDP_HEADER,
                    sequence: 0,
                    pushed: false,
                    joins: join.udp && usize::from(stated) == transport.len() && transport.len() > UDP_HEADER,
                })
            }
            _ => None,
        }
    }
}

impl Super {
    /// Makes the first packet's headers those of the super-packet, which has at least two packets.
    fn write_headers(&self, buffer: &mut [u8]) -> VirtioHeader {
        let first = &mut buffer[self.start..self.start + self.headers];
        // At most MAX_OCTETS together.
        let behind_ip = (self.octets - IPV6_HEADER) as u16;
        first[4..6].copy_from_slice(&behind_ip.to_be_bytes());
        let partial = fold(pseudo_header(first, self.protocol) + word(behind_ip));
        let transport = &mut first[IPV6_HEADER..];
        let (gso_type, checksum) = if self.protocol == TCP {
            if self.pushed {
                transport[TCP_FLAGS] |= PSH;
            }
            (GSO_TCP6, TCP_CHECKSUM)
        } else {
            transport[UDP_LENGTH..][..2].copy_from_slice(&behind_ip.to_be_bytes());
            (GSO_UDP, UDP_CHECKSUM)
        };
        transport[checksum..][..2].copy_from_slice(&partial.to_ne_bytes());
        VirtioHeader {
            flags: NEEDS_CHECKSUM,
            gso_type,
            header_length: self.headers as u16,
            gso_size: self.gso_size as u16,
            checksum_start: IPV6_HEADER as u16,
            checksum_offset: checksum as u16,
        }
    }
}

/// Whether the checksum is the one that a sender writes (there are two zeros).
fn has_right_checksum(packet: &[u8], protocol: u8) -> bool {
    let transport = &packet[IPV6_HEADER..];
    let at = if protocol == TCP {
        TCP_CHECKSUM
    } else {
        UDP_CHECKSUM
    };
    let field = [transport[at], transport[at + 1]];
    // What is in the field is subtracted, that is, its complement added.
    let total = pseudo_header(packet, protocol)
        + word(transport.len() as u16)
        + sum(transport)
        + u64::from(!u16::from_ne_bytes(field));
    finish(total, protocol) == field
}
