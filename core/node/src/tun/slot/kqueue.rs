//! By kqueue, whose own descriptor can be waited for.

use crate::system::Readable;
use rustix::{
    event::kqueue::{Event, EventFilter, EventFlags, kevent, kqueue},
    io::Result,
};
use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    ptr::null_mut,
};

#[derive(Debug)]
pub(super) struct Poller(OwnedFd);

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(kqueue()?))
    }

    /// # Errors
    /// When it cannot be waited for.
    pub(super) fn add(&self, device: &OwnedFd) -> Result<()> {
        self.change(device, EventFlags::ADD)
    }

    pub(super) fn remove(&self, device: &OwnedFd) {
        // Fails when it is not in there, which is what is wanted.
        let _ = self.change(device, EventFlags::DELETE);
    }

    /// When any of them is.
    pub(super) fn readable(&self) -> Readable<'_> {
        self.0.as_fd()
    }

    fn change(&self, device: &OwnedFd, flags: EventFlags) -> Result<()> {
        let event = Event::new(EventFilter::Read(device.as_raw_fd()), flags, null_mut());
        let no_events: &mut [Event] = &mut [];
        // SAFETY: the descriptor is open for the length of the call, and taken out before it is closed.
        unsafe { kevent(&self.0, &[event], no_events, None) }?;
        Ok(())
    }
}
