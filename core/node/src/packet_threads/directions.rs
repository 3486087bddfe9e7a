//! The two directions: from the TUN device to the network, and back. Each takes turns of bounded length, so that one
//! thread can serve both, and any number of threads may take turns side by side.

use super::{
    FromPath, Shared,
    batch::{Batch, Round},
    order::{Order, Ticket},
};
use crate::tun::MAX_QUEUES;
use osier_dataplane::{Segments, VirtioHeader};
use quinn_udp::RecvMeta;
use std::{
    io::{self, IoSliceMut},
    ops::Range,
};

/// Packets taken from one queue before others have their turn; a super-packet is handled whole. It is also what a train
/// holds, and how many lie between two looks at the snapshot and the clock.
const BATCH: usize = 64;
/// Receive buffers, each of which holds one datagram or several coalesced by the kernel (GRO); as many as quinn-udp
/// fills at once. Pages that were never used take no memory.
const BUFFERS: usize = 32;
/// Buffers in use while the kernel coalesces: more would outgrow the processor's cache.
const FEW_BUFFERS: usize = 4;
/// A packet or datagram with more octets is several.
const SINGLE: usize = 2048;
const BUFFER: usize = 65_535;
/// Octets of one read that say there are many.
const MUCH: usize = 48 << 10;
/// Failures to receive in a row after which the socket is given up.
const FAILURES: usize = 1000;

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// There was nothing more.
    Emptied,
    /// There may be more.
    More,
    /// There was as much as a turn takes.
    Full,
    /// Another thread reads.
    Taken,
    /// The source is gone, and control knows.
    Lost,
}

/// Of every source of packets.
#[derive(Debug, Default)]
pub(super) struct Orders {
    udp: Order,
    tun: [Order; MAX_QUEUES],
}

/// Whether a turn waits for its source, or leaves it to who is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    Wait,
    Leave,
}

impl Patience {
    /// `None` when it was left.
    fn read<T>(
        self,
        order: &Order,
        read: impl FnOnce() -> io::Result<T>,
    ) -> Option<io::Result<(T, Ticket<'_>)>> {
        match self {
            Self::Wait => Some(order.read(read)),
            Self::Leave => order.try_read(read),
        }
    }
}

pub(super) struct Outgoing {
    batch: Batch,
    buffer: Vec<u8>,
    read: Vec<(VirtioHeader, Range<usize>)>,
}

pub(super) struct Incoming {
    batch: Batch,
    storage: Vec<u8>,
    meta: [RecvMeta; BUFFERS],
    /// To be used by the next read.
    buffers: usize,
    failures: usize,
}

impl Outgoing {
    pub(super) fn new(shared: &Shared) -> Self {
        Self {
            batch: Batch::new(shared),
            buffer: vec![0; 2 * BUFFER],
            read: Vec::with_capacity(BATCH),
        }
    }

    pub(super) fn turn(
        &mut self,
        shared: &Shared,
        orders: &Orders,
        queue: usize,
        patience: Patience,
    ) -> Turn {
        let snapshot = shared.snapshot.load();
        let now = shared.clock.now();
        let mut handled = 0;
        while handled < BATCH {
            self.read.clear();
            let (buffer, read) = (&mut self.buffer, &mut self.read);
            let received = patience.read(&orders.tun[queue], || receive_some(shared, queue, buffer, read));
            let (emptied, ticket) = match received {
                Some(Ok(received)) => received,
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => return Turn::Emptied,
                Some(Err(error)) => {
                    shared.tell(FromPath::TunLost(error.to_string()));
                    return Turn::Lost;
                }
                None => return Turn::Taken,
            };
            let round = Round {
                shared,
                snapshot: &snapshot,
                now,
                ticket: Some(&ticket),
            };
            for (virtio, place) in self.read.drain(..) {
                match Segments::new(&virtio, &mut self.buffer[place]) {
                    Ok(mut segments) => {
                        while let Some(packet) = segments.next_segment() {
                            self.batch.outgoing(&round, packet);
                            handled += 1;
                        }
                    }
                    Err(error) => {
                        tracing::trace!(%error, ?virtio, "dropped");
                        shared.counters.count_bad_offload();
                        handled += 1;
                    }
                }
            }
            self.batch.flush(&round, &[]);
            if emptied {
                return Turn::Emptied;
            }
        }
        Turn::Full
    }
}

/// Reads what goes on together: a super-packet ends it, or a buffer that is half full. Whether the queue was emptied.
///
/// # Errors
/// Only when nothing was read.
fn receive_some(
    shared: &Shared,
    queue: usize,
    buffer: &mut [u8],
    read: &mut Vec<(VirtioHeader, Range<usize>)>,
) -> io::Result<bool> {
    let mut used = 0;
    while read.len() < BATCH && used + BUFFER <= buffer.len() {
        let room = &mut buffer[used..used + BUFFER];
        let received = match shared.tun.super_packets() {
            Some(device) => device.receive(queue, room),
            None => {
                let received = shared.tun.receive(room);
                received.map(|length| (VirtioHeader::PLAIN, length))
            }
        };
        match received {
            Ok((virtio, length)) => {
                read.push((virtio, used..used + length));
                used += length;
                if length > SINGLE {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if read.is_empty() => return Err(error),
            // An error that stays is told by the next read.
            Err(_) => return Ok(true),
        }
    }
    Ok(false)
}

impl Incoming {
    pub(super) fn new(shared: &Shared) -> Self {
        Self {
            batch: Batch::new(shared),
            storage: vec![0; BUFFERS * BUFFER],
            meta: [RecvMeta::default(); BUFFERS],
            buffers: BUFFERS,
            failures: 0,
        }
    }

    pub(super) fn turn(&mut self, shared: &Shared, orders: &Orders, patience: Patience) -> Turn {
        let received = {
            let mut chunks = self.storage.chunks_mut(BUFFER);
            // As many chunks as buffers were allocated above; an empty slice would only receive nothing.
            let mut buffers: [IoSliceMut<'_>; BUFFERS] =
                std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
            let (buffers, meta) = (&mut buffers[..self.buffers], &mut self.meta[..self.buffers]);
            patience.read(&orders.udp, || shared.udp.receive(buffers, meta))
        };
        let (count, ticket) = match received {
            Some(Ok(received)) => received,
            Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => return Turn::Emptied,
            // Reports about what others did with our datagrams.
            Some(Err(error)) if self.failures < FAILURES => {
                tracing::debug!(%error, "receiving failed");
                self.failures += 1;
                return Turn::More;
            }
            Some(Err(error)) => {
                shared.tell(FromPath::UdpLost(error.to_string()));
                return Turn::Lost;
            }
            None => return Turn::Taken,
        };
        self.failures = 0;
        let octets: usize = self.meta[..count].iter().map(|meta| meta.len).sum();
        let coalesced = self.meta[..count].iter().any(|meta| meta.len > SINGLE);
        self.buffers = if coalesced { FEW_BUFFERS } else { BUFFERS };
        let snapshot = shared.snapshot.load();
        let round = Round {
            shared,
            snapshot: &snapshot,
            now: shared.clock.now(),
            ticket: Some(&ticket),
        };
        for (number, meta) in self.meta[..count].iter().enumerate() {
            let start = number * BUFFER;
            let end = start + meta.len.min(BUFFER);
            let stride = meta.stride.max(1);
            for at in (start..end).step_by(stride) {
                let place = at..end.min(at + stride);
                self.batch.incoming(&round, meta.addr, &mut self.storage, place);
            }
        }
        // What is relayed in place lies where the next datagrams go.
        self.batch.flush(&round, &self.storage);
        if count == BUFFERS || octets >= MUCH {
            Turn::Full
        } else {
            Turn::More
        }
    }

    /// The device's queues that have been written to since the last time, as bits.
    #[cfg(unix)]
    pub(super) fn take_written(&mut self) -> u32 {
        self.batch.take_written()
    }
}
