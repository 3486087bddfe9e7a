//! Packets on their way to the TUN device, joined to super-packets where it takes them.

use super::Shared;
use crate::tun::SuperPackets;
use osier_dataplane::{Coalescer, Joins, MAX_PACKETS, Segments, SuperPacket, VIRTIO_HEADER, VirtioHeader};
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
}

impl Delivery {
    pub(super) fn new(shared: &Shared) -> Self {
        Self {
            coalescer: Coalescer::new(shared.takes.joins()),
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

    /// Writes everything.
    pub(super) fn flush(&mut self, buffer: &mut [u8], shared: &Shared) {
        if self.coalescer.is_empty() {
            return;
        }
        let device = shared.tun.super_packets();
        self.coalescer.drain(buffer, |buffer, packet| {
            let lost = match device {
                None => write_plain(shared, buffer, &packet),
                Some(device) => write(device, buffer, &packet).or_else(|error| {
                    if packet.packets == 1 || error.kind() != io::ErrorKind::InvalidInput {
                        return Err(packet.packets);
                    }
                    shared.takes.refuse(packet.virtio.is_udp());
                    write_apart(device, buffer, &packet)
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

fn write(device: &dyn SuperPackets, buffer: &[u8], packet: &SuperPacket<'_>) -> io::Result<()> {
    let header = packet.virtio.encode();
    let header = IoSlice::new(&header);
    if packet.packets == 1 {
        let mut pieces = packet.pieces();
        let piece = pieces.next().unwrap_or_default();
        return device.send(&[header, IoSlice::new(&buffer[piece])]);
    }
    let mut pieces = [header; 1 + MAX_PACKETS];
    let mut count = 1;
    for (slot, piece) in pieces[1..].iter_mut().zip(packet.pieces()) {
        *slot = IoSlice::new(&buffer[piece]);
        count += 1;
    }
    device.send(&pieces[..count])
}

/// Takes a super-packet apart again. Happens once for each kind, so it may allocate.
fn write_apart(device: &dyn SuperPackets, buffer: &[u8], packet: &SuperPacket<'_>) -> Result<(), usize> {
    let mut whole = Vec::with_capacity(packet.octets);
    for piece in packet.pieces() {
        whole.extend_from_slice(&buffer[piece]);
    }
    let mut segments = Segments::new(&packet.virtio, &mut whole).map_err(|_| packet.packets)?;
    let header: [u8; VIRTIO_HEADER] = VirtioHeader::PLAIN.encode();
    let mut lost = 0;
    while let Some(segment) = segments.next_segment() {
        let written = device.send(&[IoSlice::new(&header), IoSlice::new(segment)]);
        lost += usize::from(written.is_err());
    }
    if lost == 0 { Ok(()) } else { Err(lost) }
}
