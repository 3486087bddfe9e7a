//! Sleeping in `poll`.

use rustix::{
    event::{PollFd, PollFlags},
    io::Errno,
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// A descriptor that is readable when there is something to read.
pub type Readable<'a> = BorrowedFd<'a>;

/// Wakes every thread that waits for it, now and later: it cannot be taken back.
#[derive(Debug)]
pub struct Wake {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    counter: OwnedFd,
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pair: (OwnedFd, OwnedFd),
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Wake {
    pub fn new() -> io::Result<Self> {
        use rustix::event::EventfdFlags;
        let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        Ok(Self {
            counter: rustix::event::eventfd(0, flags)?,
        })
    }

    pub fn wake(&self) {
        // The counter is never read, so it stays readable. Writing 1 to it cannot fail.
        let _ = rustix::io::write(&self.counter, &1_u64.to_ne_bytes());
    }

    pub fn readable(&self) -> Readable<'_> {
        self.counter.as_fd()
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Wake {
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = std::os::unix::net::UnixStream::pair()?;
        writer.set_nonblocking(true)?;
        Ok(Self {
            pair: (reader.into(), writer.into()),
        })
    }

    pub fn wake(&self) {
        // Never read, so it stays readable; when it is full, it is readable too.
        let _ = rustix::io::write(&self.pair.1, &[1]);
    }

    pub fn readable(&self) -> Readable<'_> {
        self.pair.0.as_fd()
    }
}

/// Sleeps until one of the sources, or both, have something to read, and says which; `None` when it is time to stop.
/// A source that is `None` never has anything.
pub(crate) fn wait_for_either(
    first: Option<Readable<'_>>,
    second: Option<Readable<'_>>,
    stop: &Wake,
) -> Option<(bool, bool)> {
    // In place of a source that is gone, the stop: it ends the loop before anybody asks.
    let or_stop =
        |source: Option<_>| PollFd::from_borrowed_fd(source.unwrap_or(stop.readable()), PollFlags::IN);
    let mut fds = [
        PollFd::from_borrowed_fd(stop.readable(), PollFlags::IN),
        or_stop(first),
        or_stop(second),
    ];
    match rustix::event::poll(&mut fds, None) {
        Ok(_) => fds[0]
            .revents()
            .is_empty()
            .then(|| (!fds[1].revents().is_empty(), !fds[2].revents().is_empty())),
        // A signal: look again.
        Err(Errno::INTR) => Some((false, false)),
        Err(error) => {
            tracing::error!(%error, "poll failed");
            None
        }
    }
}
