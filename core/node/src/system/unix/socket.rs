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

/// Undoes what quinn-udp sets for QUIC, which must not be fragmented. A failure leaves DF on, which on nearly
/// all paths changes nothing.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn allow_fragments(socket: &UdpSocket, ipv6: bool) {
    use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
    let _ = sockopt::set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::DONT);
    if ipv6 {
        let _ = sockopt::set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::DONT);
        clear_ipv6_dontfrag(socket);
    }
}

/// rustix and socket2 know no name for this option.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn clear_ipv6_dontfrag(socket: &UdpSocket) {
    use std::os::fd::AsRawFd;
    let off: libc::c_int = 0;
    // SAFETY: the descriptor is open for the length of the call, and the pointer and length describe `off`.
    let _ = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_DONTFRAG,
            (&raw const off).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
}

/// quinn-udp sets DF on these systems too; that it is left on is a limit of theirs for now.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn allow_fragments(_: &UdpSocket, _: bool) {}
