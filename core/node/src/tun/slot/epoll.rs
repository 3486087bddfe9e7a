//! By epoll, whose own descriptor can be waited for.

use crate::system::Readable;
use rustix::{event::epoll, io::Result};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

#[derive(Debug)]
pub(super) struct Poller(OwnedFd);

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(epoll::CreateFlags::CLOEXEC)?))
    }

    /// # Errors
    /// When it cannot be waited for.
    pub(super) fn add(&self, device: &OwnedFd) -> Result<()> {
        epoll::add(
            &self.0,
            device,
            epoll::EventData::new_u64(0),
            epoll::EventFlags::IN,
        )
    }

    pub(super) fn remove(&self, device: &OwnedFd) {
        // Fails when it is not in there, which is what is wanted.
        let _ = epoll::delete(&self.0, device);
    }

    /// When any of them is.
    pub(super) fn readable(&self) -> Readable<'_> {
        self.0.as_fd()
    }
}
