//! The two threads: from the TUN device to the network, and back.

use super::{FromPath, Shared, batch::Batch};
use crate::system::{Wake, wait};
use osier_dataplane::{Segments, VirtioHeader};
use quinn_udp::RecvMeta;
use std::io::{self, IoSliceMut};

/// Packets handled between two looks at the snapshot and the clock; a super-packet is handled whole.
const BATCH: usize = 256;
/// Receive buffers, each of which holds one datagram or several coalesced by the kernel (GRO).
const BUFFERS: usize = 4;
const BUFFER: usize = 65_535;

pub(super) fn tun_to_udp(shared: &Shared, stop: &Wake) {
    let mut batch = Batch::new(shared);
    let mut buffer = vec![0; BUFFER];
    let device = shared.tun.super_packets();
    let mut emptied = false;
    while wait(shared.tun.readable(), stop, emptied) {
        emptied = false;
        let snapshot = shared.snapshot.load();
        let now = shared.clock.now();
        let mut handled = 0;
        while handled < BATCH {
            let received = match device {
                Some(device) => device.receive(&mut buffer),
                None => shared
                    .tun
                    .receive(&mut buffer)
                    .map(|length| (VirtioHeader::PLAIN, length)),
            };
            match received {
                Ok((virtio, length)) => match Segments::new(&virtio, &mut buffer[..length]) {
                    Ok(mut segments) => {
                        while let Some(packet) = segments.next_segment() {
                            batch.from_tun(shared, &snapshot, packet, now);
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
                    emptied = true;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    batch.flush(shared, &[], now);
                    shared.tell(FromPath::TunLost(error.to_string()));
                    return;
                }
            }
        }
        batch.flush(shared, &[], now);
    }
}

pub(super) fn udp_to_tun(shared: &Shared, stop: &Wake) {
    let mut batch = Batch::new(shared);
    let mut storage = vec![0; BUFFERS * BUFFER];
    let mut meta = [RecvMeta::default(); BUFFERS];
    let mut failures = 0;
    let mut emptied = false;
    while wait(shared.udp.readable(), stop, emptied) {
        emptied = false;
        let mut handled = 0;
        while handled < BATCH {
            let received = {
                let mut chunks = storage.chunks_mut(BUFFER);
                // As many chunks as buffers were allocated above; an empty slice would only receive nothing.
                let mut buffers: [IoSliceMut<'_>; BUFFERS] =
                    std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
                shared.udp.receive(&mut buffers, &mut meta)
            };
            let count = match received {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    emptied = true;
                    break;
                }
                // Reports about what others did with our datagrams.
                Err(error) if failures < 1000 => {
                    tracing::debug!(%error, "receiving failed");
                    failures += 1;
                    break;
                }
                Err(error) => {
                    shared.tell(FromPath::UdpLost(error.to_string()));
                    return;
                }
            };
            failures = 0;
            let snapshot = shared.snapshot.load();
            let now = shared.clock.now();
            for (number, meta) in meta[..count].iter().enumerate() {
                let start = number * BUFFER;
                let end = start + meta.len.min(BUFFER);
                for at in (start..end).step_by(meta.stride.max(1)) {
                    let place = at..end.min(at + meta.stride.max(1));
                    batch.from_network(shared, &snapshot, meta.addr, &mut storage, place, now);
                    handled += 1;
                }
            }
            // What is relayed in place lies where the next datagrams go.
            batch.flush(shared, &storage, now);
        }
    }
}
