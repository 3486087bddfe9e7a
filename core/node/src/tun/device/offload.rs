//! Super-packets to and from Linux's TUN device (IFF_VNET_HDR, TUNSETOFFLOAD).

use crate::{
    system::Readable,
    tun::{MAX_QUEUES, SuperPackets},
};
use osier_dataplane::{Joins, VIRTIO_HEADER, VirtioHeader};
use rustix::io::{IoSlice, IoSliceMut, readv, writev};
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};
use tun_rs::SyncDevice;

/// Opens a device with offload if wanted, and without where the kernel refuses it. `build` makes the device; its
/// argument asks for offload.
pub(super) fn open<D>(wanted: bool, build: impl Fn(bool) -> io::Result<D>) -> io::Result<(D, bool)> {
    if wanted {
        match build(true) {
            Ok(device) => return Ok((device, true)),
            // If it was for another reason, the second attempt fails too and tells it.
            Err(error) => tracing::info!(%error, "no offload on this system's TUN devices"),
        }
    }
    Ok((build(false)?, false))
}

/// Datagrams of the largest size that fit one train (65,507 octets of UDP): WireGuard's 32 octets are on top of the MTU.
const TRAIN: u32 = 65_507 / (crate::tun::MTU as u32 + 32);
/// Octets of a super-packet that the kernel makes for the device: no more segments of TCP than one train holds, which is
/// 45, and the kernel's reserve for headers. A larger one would leave a small rest, which costs as many system calls and
/// wake-ups on the way as a whole train. Segments are counted as small as they are behind relays, whose header takes
/// 40 octets more: direct ones are larger, and 44 of them fit.
const SUPER_PACKET: u32 = TRAIN * (crate::tun::MTU as u32 - 40 - 60) + 600;
/// Packets and super-packets that may wait for us in each queue, as many as for a network card. 100,000 datagrams a second
/// fill it in 10 ms, which is as long as others may keep us from a processor; an eighth of it lost datagrams at half the
/// rate. A stream of TCP seldom has that many super-packets under way, and flows that are told apart wait in other queues.
const QUEUE: u32 = 1000;

/// A device that cannot be told works all the same.
pub(super) async fn limit_sizes(index: u32) {
    use rtnetlink::{LinkUnspec, packet_route::link::LinkAttribute};
    let Ok((connection, handle, _)) = rtnetlink::new_connection() else {
        return;
    };
    let driver = tokio::spawn(connection);
    let link = || LinkUnspec::new_with_index(index);
    let size = link().append_extra_attribute(LinkAttribute::GsoMaxSize(SUPER_PACKET));
    for message in [size.build(), link().txqueuelen(QUEUE).build()] {
        if let Err(error) = handle.link().set(message).execute().await {
            tracing::debug!(%error, "the device keeps its limits");
        }
    }
    driver.abort();
}

/// A device whose packets come and go behind a [`VirtioHeader`].
pub(super) struct WithHeaders {
    /// At least one.
    queues: Vec<SyncDevice>,
}

impl WithHeaders {
    /// With further queues, as many as the kernel grants.
    pub(super) fn new(first: SyncDevice) -> Self {
        let mut queues = vec![first];
        while queues.len() < MAX_QUEUES {
            match queues[0].try_clone() {
                Ok(queue) => queues.push(queue),
                Err(error) => {
                    tracing::debug!(%error, queues = queues.len(), "no more queues");
                    break;
                }
            }
        }
        Self { queues }
    }

    /// One for all that concerns the device as a whole.
    pub(super) fn device(&self) -> &SyncDevice {
        &self.queues[0]
    }

    pub(super) fn set_nonblocking(&self) -> io::Result<()> {
        self.queues
            .iter()
            .try_for_each(|queue| queue.set_nonblocking(true))
    }
}

impl SuperPackets for WithHeaders {
    fn queues(&self) -> usize {
        self.queues.len()
    }

    fn readable(&self, queue: usize) -> Readable<'_> {
        // SAFETY: the descriptor belongs to a member of `self.queues`, which lives at least as long as the borrow.
        unsafe { BorrowedFd::borrow_raw(self.queues[queue].as_raw_fd()) }
    }

    fn receive(&self, queue: usize, buffer: &mut [u8]) -> io::Result<(VirtioHeader, usize)> {
        let mut header = [0; VIRTIO_HEADER];
        let mut pieces = [IoSliceMut::new(&mut header), IoSliceMut::new(buffer)];
        let length = readv(self.readable(queue), &mut pieces)?;
        Ok((VirtioHeader::decode(header), length.saturating_sub(VIRTIO_HEADER)))
    }

    fn send(&self, queue: usize, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        writev(self.readable(queue), pieces)?;
        Ok(())
    }

    fn takes(&self) -> Joins {
        Joins {
            tcp: true,
            // The kernel has the two together, since Linux 6.2.
            udp: self.device().udp_gso(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn kernel_that_refuses_offload_gives_a_plain_device() {
        let old_kernel = |offload: bool| match offload {
            true => Err(io::Error::from_raw_os_error(libc::EINVAL)),
            false => Ok("plain"),
        };
        assert_eq!(open(true, old_kernel).unwrap(), ("plain", false));
        assert_eq!(open(false, old_kernel).unwrap(), ("plain", false));
        let new_kernel = |offload: bool| Ok(if offload { "offload" } else { "plain" });
        assert_eq!(open(true, new_kernel).unwrap(), ("offload", true));
        assert_eq!(open(false, new_kernel).unwrap(), ("plain", false));
    }

    #[test]
    fn other_errors_are_told() {
        let error = open(true, |_| Err::<(), _>(io::Error::from_raw_os_error(libc::EPERM))).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    }
}
