//! Stands in for a TUN device when the node runs without one: never has a packet, swallows all. (The data plane
//! answers echo requests itself then, see `Snapshot::answers_echo`.)

use super::TunQueue;
use crate::system::{Readable, Wake};
use std::io;

#[derive(Debug)]
pub struct NoTun {
    /// Never woken.
    silent: Wake,
}

impl NoTun {
    pub fn new() -> io::Result<Self> {
        Ok(Self { silent: Wake::new()? })
    }
}

impl TunQueue for NoTun {
    fn receive(&self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn send(&self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn readable(&self) -> Readable<'_> {
        self.silent.readable()
    }

    fn name(&self) -> Option<&str> {
        None
    }
}
