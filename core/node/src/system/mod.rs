//! What differs between operating systems and has no better place: `unix` and `windows` offer the same items, and
//! the rest of the crate sees only these. (The TUN device and the control API's listener have back ends of their
//! own, in [`crate::tun`] and [`crate::control`].)
//!
//! - [`Readable`], [`Wake`], `wait` (on Unix `wait_for_any`): how a packet thread sleeps until its device or socket has
//!   something or the node stops;
//! - `SocketWatch`, `allow_fragments`, `forbid_fragments`, `wait_writable`, `send_segments`: what a packet thread needs of a UDP socket
//!   beyond std;
//! - [`Stop`], [`Reload`]: what the system or the operator tells a daemon;
//! - `files`: private directories and files, and the lock of a state directory;
//! - [`Group`], [`is_privileged`]: who may do what.

#[cfg(unix)]
mod unix;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod unsegmented;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as native;
#[cfg(windows)]
use windows as native;

#[cfg(windows)]
pub(crate) use native::access;
#[cfg(not(unix))]
pub(crate) use native::wake::wait;
#[cfg(unix)]
pub(crate) use native::wake::wait_for_any;
pub use native::{
    access::{Group, is_privileged},
    signals::{Reload, Stop},
    wake::{Readable, Wake},
};
pub(crate) use native::{
    files, host_name,
    socket::{
        SocketWatch, allow_fragments, forbid_fragments, is_too_large, receive_singly, refuses_segments,
        send_segments, sends_segments, wait_writable,
    },
};

/// For tests: on Unix a packet thread waits for several sources, of which some may be gone.
#[cfg(all(test, unix))]
pub(crate) fn wait(source: Readable<'_>, stop: &Wake, _emptied: bool) -> bool {
    wait_for_any(&[Some(source), None], stop).is_some()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::{
        sync::{Arc, mpsc},
        thread,
    };

    #[test]
    fn stop_that_came_first_is_not_missed_and_stays() {
        let (source, stop) = (Wake::new().unwrap(), Wake::new().unwrap());
        stop.wake();
        assert!(!wait(source.readable(), &stop, true));
        assert!(!wait(source.readable(), &stop, false));
        assert!(!wait(source.readable(), &stop, true));
    }

    #[test]
    fn sleeper_is_woken_by_its_source_and_then_by_the_stop() {
        let (source, stop) = (Arc::new(Wake::new().unwrap()), Arc::new(Wake::new().unwrap()));
        let (woken, awake) = mpsc::channel();
        let sleeper = {
            let (source, stop) = (source.clone(), stop.clone());
            thread::spawn(move || {
                while wait(source.readable(), &stop, true) {
                    woken.send(()).unwrap();
                }
            })
        };
        source.wake();
        awake.recv().unwrap();
        stop.wake();
        sleeper.join().unwrap();
    }

    #[test]
    fn unknown_group_is_no_group() {
        assert_eq!(Group::find("no-such-group").unwrap(), None);
    }
}
