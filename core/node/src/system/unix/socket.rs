//! UDP sockets beyond std.

use super::wake::Readable;
use rustix::event::{PollFd, PollFlags, Timespec};
use std::{io, net::UdpSocket, os::fd::AsFd, time::Duration};

/// Tells when a socket has something to read; on Unix its own descriptor does.
#[derive(Debug)]
pub(crate) struct SocketWatch {}

impl SocketWatch {
    pub(crate) fn new(_: &UdpSocket) -> io::Result<Self> {
        Ok(Self {})
    }

    pub(crate) fn readable<'a>(&'a self, socket: &'a UdpSocket) -> Readable<'a> {
        socket.as_fd()
    }
}

/// Waits until the socket takes a datagram, but no longer than `limit`.
pub(crate) fn wait_writable(socket: &UdpSocket, limit: Duration) -> io::Result<()> {
    let limit = Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    };
    rustix::event::poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&limit))?;
    Ok(())
}

/// Whether the system cuts what is sent in one go into datagrams (UDP segmentation offload, Linux 4.18).
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn sends_segments(socket: &UdpSocket) -> bool {
    use std::os::fd::AsRawFd;
    // Zero is "off", which it is: this only asks whether the option exists.
    let off: libc::c_int = 0;
    // SAFETY: the descriptor is open for the length of the call, and the pointer and length describe `off`.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            (&raw const off).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    result == 0
}

/// Sends `contents` as datagrams of `size` octets each, the last of which may be shorter, without waiting.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn send_segments(
    socket: &UdpSocket,
    destination: std::net::SocketAddr,
    contents: &[u8],
    size: u16,
) -> io::Result<()> {
    use socket2::{MsgHdr, SockRef};
    const HEADER: usize = size_of::<libc::cmsghdr>();
    // One control message (cmsg(3)): its length, level, type, and the size, padded to a multiple of a word.
    let mut control = [0; HEADER + size_of::<usize>()];
    let length = HEADER + size_of::<u16>();
    control[..size_of::<usize>()].copy_from_slice(&length.to_ne_bytes());
    control[HEADER - 8..HEADER - 4].copy_from_slice(&libc::SOL_UDP.to_ne_bytes());
    control[HEADER - 4..HEADER].copy_from_slice(&libc::UDP_SEGMENT.to_ne_bytes());
    control[HEADER..length].copy_from_slice(&size.to_ne_bytes());
    let (address, buffers) = (destination.into(), [io::IoSlice::new(contents)]);
    let message = MsgHdr::new()
        .with_addr(&address)
        .with_buffers(&buffers)
        .with_control(&control);
    loop {
        match SockRef::from(socket).sendmsg(&message, 0) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map(drop),
        }
    }
}

/// Whether an error of [`send_segments`] means that these datagrams may still go one by one: a path or a device
/// that cannot segment, or segments that do not fit the path.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn refuses_segments(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE | libc::EOPNOTSUPP | libc::ENOPROTOOPT)
    )
}

/// Switches off receiving several datagrams of one sender as one (UDP GRO), which quinn-udp switches on.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn receive_singly(socket: &UdpSocket) {
    use std::os::fd::AsRawFd;
    let off: libc::c_int = 0;
    // SAFETY: the descriptor is open for the length of the call, and the pointer and length describe `off`.
    let _ = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_GRO,
            (&raw const off).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) use super::super::unsegmented::*;

/// Undoes what quinn-udp sets for QUIC, which must not be fragmented. A failure leaves DF on, which on nearly
/// all paths changes nothing.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn allow_fragments(socket: &UdpSocket, ipv6: bool) {
    use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
    let _ = sockopt::set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::DONT);
    if ipv6 {
        let _ = sockopt::set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::DONT);
        set_ipv6_dontfrag(socket, false);
    }
}

/// Until [`allow_fragments`]. What the system has learnt of path MTUs is not asked either: it may be wrong by now.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn forbid_fragments(socket: &UdpSocket, ipv6: bool) {
    use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
    let _ = sockopt::set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::PROBE);
    if ipv6 {
        let _ = sockopt::set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::PROBE);
        set_ipv6_dontfrag(socket, true);
    }
}

/// Whether an error of sending means that the datagram is larger than its way takes without fragments.
pub(crate) fn is_too_large(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMSGSIZE)
}

/// rustix and socket2 know no name for this option.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn set_ipv6_dontfrag(socket: &UdpSocket, on: bool) {
    use std::os::fd::AsRawFd;
    let value = libc::c_int::from(on);
    // SAFETY: the descriptor is open for the length of the call, and the pointer and length describe `value`.
    let _ = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_DONTFRAG,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
}

/// quinn-udp sets DF on these systems too; that it is left on is a limit of theirs for now.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn allow_fragments(_: &UdpSocket, _: bool) {}

/// See [`allow_fragments`].
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn forbid_fragments(_: &UdpSocket, _: bool) {}
