//! Packets on their way to the TUN device, joined to super-packets where it takes them.

use super::Shared;
use crate::tun::SuperPackets;
use osier_dataplane::{Coalescer, Joins, MAX_PACKETS, Segments, SuperPacket, VIRTIO_HEADER, VirtioHeader};
use osier_proto::packet::{TCP, UDP};
use std::{
    io::{self, IoSlice},
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
};

/// Which super-packets the device takes; what it has refused once stays refused.
#[derive(Debug, Default)]
pub struct Takes {
    tcp: AtomicBool,
    udp: AtomicBool,
}

impl Takes {
    pub fn new(joins: Joins) -> Self {
        Self {
            tcp: joins.tcp.into(),
            udp: joins.udp.into(),
        }
    }

    pub fn joins(&self) -> Joins {
        Joins {
            tcp: self.tcp.load(Ordering::Relaxed),
            udp: self.udp.load(Ordering::Relaxed),
        }
    }

    fn refuse(&self, udp: bool) {
        let (which, name) = if udp {
            (&self.udp, "UDP")
        } else {
            (&self.tcp, "TCP")
        };
        if which.swap(false, Ordering::Relaxed) {
            tracing::info!("the TUN device takes no super-packets of {name}: packets go to it one by one");
        }
    }
}

/// Packets of one buffer that wait to be written.
#[derive(Debug)]
pub(super) struct Delivery {
    coalescer: Coalescer,
    /// Queues written to, as bits.
    written: u32,
}

impl Delivery {
    pub(super) fn new(shared: &Shared) -> Self {
        Self {
            coalescer: Coalescer::new(shared.takes.joins()),
            written: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.coalescer.is_empty()
    }

    /// Adds the packet at `place`. `true` when it is time to write.
    pub(super) fn push(&mut self, buffer: &[u8], place: Range<usize>) -> bool {
        self.coalescer.push(buffer, place);
        self.coalescer.is_full()
    }

    #[cfg(unix)]
    pub(super) fn take_written(&mut self) -> u32 {
        std::mem::take(&mut self.written)
    }

    /// Writes everything.
    pub(super) fn flush(&mut self, buffer: &mut [u8], shared: &Shared) {
        if self.coalescer.is_empty() {
            return;
        }
        let device = shared.tun.super_packets();
        let queues = device.map_or(1, SuperPackets::queues);
        let written = &mut self.written;
        self.coalescer.drain(buffer, |buffer, packet| {
            let first = packet.pieces().next().unwrap_or_default();
            let queue = queue_of(&buffer[first], queues);
            *written |= 1 << queue;
            let lost = match device {
                None => write_plain(shared, buffer, &packet),
                Some(device) => write(device, queue, buffer, &packet).or_else(|error| {
                    if packet.packets == 1 || error.kind() != io::ErrorKind::InvalidInput {
                        return Err(packet.packets);
                    }
                    shared.takes.refuse(packet.virtio.is_udp());
                    write_apart(device, queue, buffer, &packet)
                }),
            };
            if let Err(packets) = lost {
                shared.counters.count_deliver_errors(packets as u64);
            }
        });
        self.coalescer.set_joins(shared.takes.joins());
    }
}

/// To a device without offload, for which nothing is joined.
fn write_plain(shared: &Shared, buffer: &[u8], packet: &SuperPacket<'_>) -> Result<(), usize> {
    let mut lost = 0;
    for piece in packet.pieces() {
        lost += usize::from(shared.tun.send(&buffer[piece]).is_err());
    }
    if lost == 0 { Ok(()) } else { Err(lost) }
}

fn write(device: &dyn SuperPackets, queue: usize, buffer: &[u8], packet: &SuperPacket<'_>) -> io::Result<()> {
    let header = packet.virtio.encode();
    let header = IoSlice::new(&header);
    if packet.packets == 1 {
        let mut pieces = packet.pieces();
        let piece = pieces.next().unwrap_or_default();
        return device.send(queue, &[header, IoSlice::new(&buffer[piece])]);
    }
    let mut pieces = [header; 1 + MAX_PACKETS];
    let mut count = 1;
    for (slot, piece) in pieces[1..].iter_mut().zip(packet.pieces()) {
        *slot = IoSlice::new(&buffer[piece]);
        count += 1;
    }
    device.send(queue, &pieces[..count])
}

/// The queue for a packet: a flow's packets all have the same, and so have, by the kernel's doing, those of its other
/// direction. The first is kept from the flows that can be heavy: a ping waits for none of them.
fn queue_of(packet: &[u8], queues: usize) -> usize {
    const NEXT_HEADER: usize = 6;
    const ADDRESSES_AND_PORTS: Range<usize> = 8..44;
    let is_heavy = matches!(packet.get(NEXT_HEADER).copied(), Some(TCP | UDP));
    let flow = packet.get(ADDRESSES_AND_PORTS).filter(|_| is_heavy && queues > 1);
    flow.map_or(0, |flow| {
        let words = flow
            .chunks_exact(4)
            .map(|word| word.iter().fold(0, |all, b| all << 8 | u64::from(*b)));
        // Fibonacci hashing: the upper bits of the product depend on all of them.
        let hash = words.fold(0, |hash: u64, word| {
            (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        1 + (hash >> 40) as usize % (queues - 1)
    })
}

/// Takes a super-packet apart again. Happens once for each kind, so it may allocate.
fn write_apart(
    device: &dyn SuperPackets,
    queue: usize,
    buffer: &[u8],
    packet: &SuperPacket<'_>,
) -> Result<(), usize> {
    let mut whole = Vec::with_capacity(packet.octets);
    for piece in packet.pieces() {
        whole.extend_from_slice(&buffer[piece]);
    }
    let mut segments = Segments::new(&packet.virtio, &mut whole).map_err(|_| packet.packets)?;
    let header: [u8; VIRTIO_HEADER] = VirtioHeader::PLAIN.encode();
    let mut lost = 0;
    while let Some(segment) = segments.next_segment() {
        let written = device.send(queue, &[IoSlice::new(&header), IoSlice::new(segment)]);
        lost += usize::from(written.is_err());
    }
    if lost == 0 { Ok(()) } else { Err(lost) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn packet(next_header: u8, port: u16) -> Vec<u8> {
        let mut packet = vec![0x60; 60];
        packet[6] = next_header;
        packet[40..42].copy_from_slice(&port.to_be_bytes());
        packet
    }

    #[test]
    fn flows_keep_their_queue_and_leave_the_first_to_others() {
        let queues: BTreeSet<_> = (0..200).map(|port| queue_of(&packet(TCP, port), 8)).collect();
        assert_eq!(queues, (1..8).collect());
        assert_eq!(queue_of(&packet(UDP, 7), 8), queue_of(&packet(UDP, 7), 8));
        assert_eq!(queue_of(&packet(58, 7), 8), 0);
        assert_eq!(queue_of(&packet(TCP, 7), 1), 0);
        assert_eq!(queue_of(&packet(TCP, 7)[..43], 8), 0, "cut short");
        assert_eq!(queue_of(&[], 8), 0);
    }
}
