//! The two directions: from the TUN device to the network, and back. Each takes turns of bounded length, so that one
//! thread can serve both.

use super::{FromPath, Shared, batch::Batch};
use crate::system::Wake;
use osier_dataplane::{Segments, VirtioHeader};
use quinn_udp::RecvMeta;
use std::io::{self, IoSliceMut};

/// Packets taken from one queue before others have their turn; a super-packet is handled whole. It is also what a train
/// holds, and how many lie between two looks at the snapshot and the clock.
const BATCH: usize = 64;
/// Receive buffers, each of which holds one datagram or several coalesced by the kernel (GRO); as many as quinn-udp
/// fills at once. Pages that were never used take no memory.
const BUFFERS: usize = 32;
/// Buffers in use while the kernel coalesces: more would outgrow the processor's cache.
const FEW_BUFFERS: usize = 4;
/// A buffer with more octets has been coalesced.
const SINGLE: usize = 2048;
const BUFFER: usize = 65_535;
/// Failures to receive in a row after which the socket is given up.
const FAILURES: usize = 1000;

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// There was nothing more.
    Emptied,
    /// There may be more.
    More,
    /// The source is gone, and control knows.
    Lost,
}

pub(super) struct Outgoing {
    batch: Batch,
    buffer: Vec<u8>,
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
            buffer: vec![0; BUFFER],
        }
    }

    pub(super) fn turn(&mut self, shared: &Shared, queue: usize) -> Turn {
        let device = shared.tun.super_packets();
        let snapshot = shared.snapshot.load();
        let now = shared.clock.now();
        let mut handled = 0;
        let mut ended = Turn::More;
        while handled < BATCH {
            let received = match device {
                Some(device) => device.receive(queue, &mut self.buffer),
                None => {
                    let received = shared.tun.receive(&mut self.buffer);
                    received.map(|length| (VirtioHeader::PLAIN, length))
                }
            };
            match received {
                Ok((virtio, length)) => match Segments::new(&virtio, &mut self.buffer[..length]) {
                    Ok(mut segments) => {
                        while let Some(packet) = segments.next_segment() {
                            self.batch.outgoing(shared, &snapshot, packet, now);
                            handled += 1;
                        }
                    }
                    Err(error) => {
                        tracing::trace!(%error, ?virtio, "dropped");
                        shared.counters.count_bad_offload();
                        handled += 1;
                    }
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ended = Turn::Emptied;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    shared.tell(FromPath::TunLost(error.to_string()));
                    ended = Turn::Lost;
                    break;
                }
            }
        }
        self.batch.flush(shared, &[], now);
        ended
    }
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

    pub(super) fn turn(&mut self, shared: &Shared) -> Turn {
        let received = {
            let mut chunks = self.storage.chunks_mut(BUFFER);
            // As many chunks as buffers were allocated above; an empty slice would only receive nothing.
            let mut buffers: [IoSliceMut<'_>; BUFFERS] =
                std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
            shared
                .udp
                .receive(&mut buffers[..self.buffers], &mut self.meta[..self.buffers])
        };
        let count = match received {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Turn::Emptied,
            // Reports about what others did with our datagrams.
            Err(error) if self.failures < FAILURES => {
                tracing::debug!(%error, "receiving failed");
                self.failures += 1;
                return Turn::More;
            }
            Err(error) => {
                shared.tell(FromPath::UdpLost(error.to_string()));
                return Turn::Lost;
            }
        };
        self.failures = 0;
        let coalesced = self.meta[..count].iter().any(|meta| meta.len > SINGLE);
        self.buffers = if coalesced { FEW_BUFFERS } else { BUFFERS };
        let snapshot = shared.snapshot.load();
        let now = shared.clock.now();
        for (number, meta) in self.meta[..count].iter().enumerate() {
            let start = number * BUFFER;
            let end = start + meta.len.min(BUFFER);
            let stride = meta.stride.max(1);
            for at in (start..end).step_by(stride) {
                let place = at..end.min(at + stride);
                self.batch
                    .incoming(shared, &snapshot, meta.addr, &mut self.storage, place, now);
            }
        }
        // What is relayed in place lies where the next datagrams go.
        self.batch.flush(shared, &self.storage, now);
        Turn::More
    }
}

/// Both directions in one thread: what one writes to the device often makes the kernel send at once, acknowledgements
/// above all, and then nobody has to be woken for it. The device's queues take turns, so that a ping does not wait
/// behind all that a stream has ready.
#[cfg(unix)]
pub(super) fn both_ways(shared: &Shared, stop: &Wake) {
    use crate::{system::wait_for_any, tun::MAX_QUEUES};
    let (mut outgoing, mut incoming) = (Outgoing::new(shared), Incoming::new(shared));
    let device = shared.tun.super_packets();
    let mut sources = [None; 1 + MAX_QUEUES];
    let (udp, tun) = (0, 1);
    sources[udp] = Some(shared.udp.readable());
    match device {
        Some(device) => {
            let queues = device.queues().min(MAX_QUEUES);
            (0..queues).for_each(|queue| sources[tun + queue] = Some(device.readable(queue)));
        }
        None => sources[tun] = Some(shared.tun.readable()),
    }
    while let Some(ready) = wait_for_any(&sources, stop) {
        let mut written = 0;
        if ready[udp] {
            match incoming.turn(shared) {
                Turn::Lost => sources[udp] = None,
                Turn::Emptied | Turn::More => written = incoming.batch.take_written(),
            }
        }
        for queue in 0..MAX_QUEUES {
            // Without asking whether something is there when it well may be.
            let likely = ready[tun + queue] || written & 1 << queue != 0;
            if likely && sources[tun + queue].is_some() && outgoing.turn(shared, queue) == Turn::Lost {
                sources[tun..].fill(None);
            }
        }
    }
}

#[cfg(not(unix))]
pub(super) fn tun_to_udp(shared: &Shared, stop: &Wake) {
    let mut outgoing = Outgoing::new(shared);
    let mut turn = Turn::More;
    while turn != Turn::Lost && crate::system::wait(shared.tun.readable(), stop, turn == Turn::Emptied) {
        turn = outgoing.turn(shared, 0);
    }
}

#[cfg(not(unix))]
pub(super) fn udp_to_tun(shared: &Shared, stop: &Wake) {
    let mut incoming = Incoming::new(shared);
    let mut turn = Turn::More;
    while turn != Turn::Lost && crate::system::wait(shared.udp.readable(), stop, turn == Turn::Emptied) {
        turn = incoming.turn(shared);
    }
}
