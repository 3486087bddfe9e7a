//! UDP segmentation offload where we do not use it: datagrams go and come one by one.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
};

pub(crate) fn sends_segments(_: &UdpSocket) -> bool {
    false
}

pub(crate) fn send_segments(_: &UdpSocket, _: SocketAddr, _: &[u8], _: u16) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn refuses_segments(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
}

pub(crate) fn receive_singly(_: &UdpSocket) {}
