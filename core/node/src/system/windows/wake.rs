//! Sleeping in `WaitForMultipleObjects`.

use std::{
    io,
    os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle},
    ptr,
};
use windows_sys::Win32::{
    Foundation::{WAIT_OBJECT_0, WAIT_TIMEOUT},
    System::Threading::{CreateEventW, INFINITE, SetEvent, WaitForMultipleObjects},
};

/// An event that is signalled when something comes to an empty queue.
pub type Readable<'a> = BorrowedHandle<'a>;

/// Wakes every thread that waits for it, now and later: it cannot be taken back.
#[derive(Debug)]
pub struct Wake {
    event: OwnedHandle,
}

impl Wake {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            event: new_event(Reset::Never)?,
        })
    }

    pub fn wake(&self) {
        // SAFETY: the handle is open. This fails for handles only that are no events.
        let _ = unsafe { SetEvent(self.event.as_raw_handle()) };
    }

    pub fn readable(&self) -> Readable<'_> {
        self.event.as_handle()
    }
}

/// When an event ceases to be signalled.
pub(super) enum Reset {
    Never,
    /// When a waiting thread has seen it.
    WhenSeen,
}

pub(super) fn new_event(reset: Reset) -> io::Result<OwnedHandle> {
    let manual = i32::from(matches!(reset, Reset::Never));
    // SAFETY: no pointer but null is given.
    let event = unsafe { CreateEventW(ptr::null(), manual, 0, ptr::null()) };
    match event.is_null() {
        true => Err(io::Error::last_os_error()),
        // SAFETY: the handle is new and nobody else's.
        false => Ok(unsafe { OwnedHandle::from_raw_handle(event) }),
    }
}

/// Sleeps until there may be something to read; `false` when it is time to stop. Events tell of what is new only, so
/// it sleeps only when `source` has been `emptied`: read until it had nothing more.
pub(crate) fn wait(source: Readable<'_>, stop: &Wake, emptied: bool) -> bool {
    // The first that is signalled counts.
    let handles = [stop.event.as_raw_handle(), source.as_raw_handle()];
    let limit = if emptied { INFINITE } else { 0 };
    // SAFETY: both handles are open for the length of the call, and the count is the array's.
    match unsafe { WaitForMultipleObjects(handles.len() as u32, handles.as_ptr(), 0, limit) } {
        WAIT_OBJECT_0 => false,
        WAIT_TIMEOUT => true,
        signalled if signalled == WAIT_OBJECT_0 + 1 => true,
        _ => {
            tracing::error!(error = %io::Error::last_os_error(), "waiting failed");
            false
        }
    }
}
