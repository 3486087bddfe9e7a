//! UDP sockets beyond std.

use super::wake::{Readable, Reset, new_event};
use std::{
    ffi::c_void,
    io,
    net::UdpSocket,
    os::windows::io::{AsHandle, AsRawHandle, AsRawSocket, OwnedHandle},
    ptr,
    time::Duration,
};
use windows_sys::Win32::Networking::WinSock::{
    FD_READ, IP_DONTFRAGMENT, IPPROTO_IP, IPPROTO_IPV6, IPV6_DONTFRAG, POLLWRNORM, SIO_UDP_CONNRESET, SOCKET,
    SOCKET_ERROR, WSAEMSGSIZE, WSAEVENT, WSAEventSelect, WSAGetLastError, WSAIoctl, WSAPOLLFD, WSAPoll,
    setsockopt,
};

/// Tells when a socket has something to read.
#[derive(Debug)]
pub(crate) struct SocketWatch {
    event: OwnedHandle,
}

impl SocketWatch {
    pub(crate) fn new(socket: &UdpSocket) -> io::Result<Self> {
        let event = new_event(Reset::WhenSeen)?;
        // Winsock's name for the same handle.
        let handle = event.as_raw_handle() as WSAEVENT;
        // SAFETY: socket and event are open. The system keeps its own reference to the event.
        check(unsafe { WSAEventSelect(raw(socket), handle, FD_READ as i32) })?;
        ignore_refusals(socket);
        Ok(Self { event })
    }

    pub(crate) fn readable<'a>(&'a self, _: &'a UdpSocket) -> Readable<'a> {
        self.event.as_handle()
    }
}

/// Otherwise receiving fails each time that a datagram of ours was refused at its destination (ICMP).
fn ignore_refusals(socket: &UdpSocket) {
    let (off, mut returned) = (0_i32, 0);
    // SAFETY: the socket is open, and pointers and lengths describe `off` and `returned`. Without overlapped
    // structure the call is synchronous. A failure leaves those errors, which are counted and survived.
    let _ = unsafe {
        WSAIoctl(
            raw(socket),
            SIO_UDP_CONNRESET,
            (&raw const off).cast::<c_void>(),
            size_of_val(&off) as u32,
            ptr::null_mut(),
            0,
            &raw mut returned,
            ptr::null_mut(),
            None,
        )
    };
}

pub(crate) use super::super::unsegmented::*;

/// Waits until the socket takes a datagram, but no longer than `limit`.
pub(crate) fn wait_writable(socket: &UdpSocket, limit: Duration) -> io::Result<()> {
    let mut poll = WSAPOLLFD {
        fd: raw(socket),
        events: POLLWRNORM,
        revents: 0,
    };
    let limit = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the pointer is to one structure, as the count says.
    check(unsafe { WSAPoll(&raw mut poll, 1, limit) })
}

/// Undoes what quinn-udp sets for QUIC, which must not be fragmented. A failure leaves DF on, which on nearly
/// all paths changes nothing.
pub(crate) fn allow_fragments(socket: &UdpSocket, ipv6: bool) {
    set_dont_fragment(socket, ipv6, false);
}

/// Until [`allow_fragments`].
pub(crate) fn forbid_fragments(socket: &UdpSocket, ipv6: bool) {
    set_dont_fragment(socket, ipv6, true);
}

fn set_dont_fragment(socket: &UdpSocket, ipv6: bool, on: bool) {
    set(socket, IPPROTO_IP, IP_DONTFRAGMENT, on);
    if ipv6 {
        set(socket, IPPROTO_IPV6, IPV6_DONTFRAG, on);
    }
}

/// Whether an error of sending means that the datagram is larger than its way takes without fragments.
pub(crate) fn is_too_large(error: &io::Error) -> bool {
    error.raw_os_error() == Some(WSAEMSGSIZE)
}

fn set(socket: &UdpSocket, level: i32, option: i32, on: bool) {
    let value = u32::from(on);
    // SAFETY: the socket is open, and pointer and length describe `value`.
    let _ = unsafe {
        setsockopt(
            raw(socket),
            level,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as i32,
        )
    };
}

fn raw(socket: &UdpSocket) -> SOCKET {
    // Both are as wide as a pointer.
    socket.as_raw_socket() as SOCKET
}

fn check(result: i32) -> io::Result<()> {
    match result {
        // SAFETY: asks for the thread's last error, nothing else.
        SOCKET_ERROR => Err(io::Error::from_raw_os_error(unsafe { WSAGetLastError() })),
        _ => Ok(()),
    }
}
