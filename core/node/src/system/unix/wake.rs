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

/// Most sources that can be waited for at once.
const MAX_SOURCES: usize = 15;

/// Sleeps until some of the sources, at most [`MAX_SOURCES`], have something to read, and says which; `None` when it is
/// time to stop. A source that is `None` never has anything.
pub(crate) fn wait_for_any<const N: usize>(
    sources: &[Option<Readable<'_>>; N],
    stop: &Wake,
) -> Option<[bool; N]> {
    const { assert!(N <= MAX_SOURCES) };
    // In place of a source that is gone, the stop: it ends the loop before anybody asks.
    let source = |n: usize| sources.get(n).copied().flatten().unwrap_or(stop.readable());
    let mut fds: [_; MAX_SOURCES + 1] =
        std::array::from_fn(|n| PollFd::from_borrowed_fd(source(n), PollFlags::IN));
    // The last of them is the stop.
    let fds = &mut fds[..=N];
    match rustix::event::poll(fds, None) {
        Ok(_) if !fds[N].revents().is_empty() => None,
        Ok(_) => Some(std::array::from_fn(|n| !fds[n].revents().is_empty())),
        // A signal: look again.
        Err(Errno::INTR) => Some([false; N]),
        Err(error) => {
            tracing::error!(%error, "poll failed");
            None
        }
    }
}
