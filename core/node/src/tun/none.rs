//! Stands in for a TUN device when the node runs without one: never has a packet, swallows all. (The data plane
//! answers echo requests itself then, see `Snapshot::answers_echo`.)

use super::TunQueue;
use rustix::event::EventfdFlags;
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

#[derive(Debug)]
pub struct NoTun {
    /// Never readable.
    silent: OwnedFd,
}

impl NoTun {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            silent: rustix::event::eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
        })
    }
}

impl TunQueue for NoTun {
    fn receive(&self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn send(&self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn readable(&self) -> BorrowedFd<'_> {
        self.silent.as_fd()
    }

    fn name(&self) -> Option<&str> {
        None
    }
}
