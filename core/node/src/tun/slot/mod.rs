//! A TUN device that the platform brings, takes away and replaces, while the node goes on.
//!
//! A phone's VPN service has a device only once the node has joined and knows its address, gets another one whenever
//! its settings change, and loses it when another VPN takes over. [`TunSlot`] stands for it throughout, as
//! `TunChoice::Given`: empty, it has no packets and swallows all; filled again, tunnels and sessions are as they were.
//!
//! The packet threads wait for one descriptor all the time. It is that of a poller, which the device of the moment is
//! put into.

#[cfg_attr(any(target_os = "linux", target_os = "android"), path = "epoll.rs")]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), path = "kqueue.rs")]
mod poller;

use super::{MIN_MTU, MTU, TunError, TunQueue};
use crate::system::Readable;
use arc_swap::ArcSwapOption;
use poller::Poller;
use rustix::io::{IoSlice, IoSliceMut, readv, writev};
use std::{io, os::fd::OwnedFd, sync::Arc};
use tokio::sync::watch;

/// What stands before each packet of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Nothing: Linux with `IFF_NO_PI`, Android.
    None,
    /// The address family in four octets: Apple's utun.
    Family,
}

impl Framing {
    /// Of this system's devices.
    pub const NATIVE: Self = if cfg!(target_vendor = "apple") {
        Self::Family
    } else {
        Self::None
    };
}

/// IPv6 as Apple numbers it: all that the mesh carries.
const FAMILY_IPV6: [u8; 4] = 30_u32.to_be_bytes();

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// Before the first device, or after it was taken out.
    Empty,
    Filled {
        mtu: u16,
    },
    /// The system has closed the device: another VPN has taken over, or the user has switched this one off.
    Lost(String),
}

#[derive(Debug)]
pub struct TunSlot {
    poller: Poller,
    device: ArcSwapOption<OwnedFd>,
    framing: Framing,
    state: watch::Sender<SlotState>,
}

impl TunSlot {
    /// An empty one.
    pub fn new(framing: Framing) -> io::Result<Self> {
        Ok(Self {
            poller: Poller::new()?,
            device: ArcSwapOption::empty(),
            framing,
            state: watch::channel(SlotState::Empty).0,
        })
    }

    /// Puts a device in, in place of the one before, which is closed. It exchanges plain packets: no offload, no
    /// headers but those of [`Framing`]. Address and routes are the caller's.
    ///
    /// # Errors
    /// The device is closed then, and the one before stays.
    pub fn fill(&self, device: OwnedFd, mtu: u16) -> Result<(), TunError> {
        if !(MIN_MTU..=MTU).contains(&mtu) {
            return Err(TunError::BadMtu { mtu });
        }
        let unusable = |error: rustix::io::Errno| TunError::NotADevice { source: error.into() };
        rustix::io::ioctl_fionbio(&device, true).map_err(unusable)?;
        self.poller.add(&device).map_err(unusable)?;
        let before = self.device.swap(Some(Arc::new(device)));
        self.state.send_replace(SlotState::Filled { mtu });
        self.close(before);
        tracing::info!(mtu, "a device was given");
        Ok(())
    }

    /// Takes the device out and closes it.
    pub fn empty(&self) {
        if let Some(before) = self.device.swap(None) {
            self.state.send_replace(SlotState::Empty);
            self.close(Some(before));
        }
    }

    /// What is in it, from now on.
    pub fn state(&self) -> watch::Receiver<SlotState> {
        self.state.subscribe()
    }

    /// Closed when the packet threads have finished with it as well.
    fn close(&self, device: Option<Arc<OwnedFd>>) {
        if let Some(device) = device {
            self.poller.remove(&device);
        }
    }

    /// The device has failed, unless it has been replaced meanwhile.
    fn lose(&self, device: &Arc<OwnedFd>, reason: String) {
        let before = self.device.compare_and_swap(device, None);
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, device)) {
            tracing::warn!(reason, "the device is gone");
            self.state.send_replace(SlotState::Lost(reason));
            self.close(Some(device.clone()));
        }
    }

    fn read(&self, device: &OwnedFd, buffer: &mut [u8]) -> rustix::io::Result<usize> {
        match self.framing {
            Framing::None => rustix::io::read(device, buffer),
            Framing::Family => {
                let mut family = [0; 4];
                let mut pieces = [IoSliceMut::new(&mut family), IoSliceMut::new(buffer)];
                Ok(readv(device, &mut pieces)?.saturating_sub(family.len()))
            }
        }
    }
}

impl TunQueue for TunSlot {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(device) = self.device.load_full() else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let reason = match self.read(&device, buffer) {
            Ok(0) => "it was closed".into(),
            Ok(length) => return Ok(length),
            Err(error) => {
                let error = io::Error::from(error);
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) {
                    return Err(error);
                }
                error.to_string()
            }
        };
        // The node goes on without, and waits for the next one.
        self.lose(&device, reason);
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn send(&self, packet: &[u8]) -> io::Result<()> {
        let device = self.device.load();
        let Some(device) = &*device else {
            return Ok(());
        };
        match self.framing {
            Framing::None => rustix::io::write(device, packet)?,
            Framing::Family => writev(device, &[IoSlice::new(&FAMILY_IPV6), IoSlice::new(packet)])?,
        };
        Ok(())
    }

    fn readable(&self) -> Readable<'_> {
        self.poller.readable()
    }

    fn name(&self) -> Option<&str> {
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::system::{Wake, wait};
    use std::os::unix::net::UnixDatagram;

    /// A device, and the system's side of it.
    fn device() -> (OwnedFd, UnixDatagram) {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        (ours.into(), theirs)
    }

    fn next(slot: &TunSlot) -> Vec<u8> {
        assert!(wait(slot.readable(), &Wake::new().unwrap(), true));
        let mut buffer = [0; 100];
        let length = slot.receive(&mut buffer).unwrap();
        buffer[..length].to_vec()
    }

    fn is_silent(slot: &TunSlot) -> bool {
        let error = slot.receive(&mut [0; 100]).unwrap_err();
        error.kind() == io::ErrorKind::WouldBlock
    }

    #[test]
    fn empty_slot_has_nothing_and_swallows_all() {
        let slot = TunSlot::new(Framing::None).unwrap();
        assert!(is_silent(&slot));
        slot.send(b"packet").unwrap();
        assert_eq!(*slot.state().borrow(), SlotState::Empty);
    }

    #[test]
    fn next_device_replaces_the_last_one_under_a_waiting_thread() {
        let slot = Arc::new(TunSlot::new(Framing::None).unwrap());
        // Waits before there is any device.
        let waiting = {
            let slot = slot.clone();
            std::thread::spawn(move || next(&slot))
        };
        let (first, system) = device();
        slot.fill(first, 1400).unwrap();
        system.send(b"first").unwrap();
        assert_eq!(waiting.join().unwrap(), b"first");
        let waiting = {
            let slot = slot.clone();
            std::thread::spawn(move || next(&slot))
        };
        let (second, other) = device();
        slot.fill(second, MIN_MTU).unwrap();
        // The first was closed at our end.
        assert!(system.send(b"lost").is_err());
        other.send(b"second").unwrap();
        assert_eq!(waiting.join().unwrap(), b"second");
        slot.send(b"back").unwrap();
        let mut buffer = [0; 10];
        assert_eq!(other.recv(&mut buffer).unwrap(), 4);
        assert_eq!(*slot.state().borrow(), SlotState::Filled { mtu: MIN_MTU });
        slot.empty();
        assert!(is_silent(&slot) && other.send(b"lost").is_err());
        assert_eq!(*slot.state().borrow(), SlotState::Empty);
    }

    #[test]
    fn device_that_breaks_is_told_and_the_next_one_works() {
        let slot = TunSlot::new(Framing::None).unwrap();
        // A stream ends, as a device does that was revoked.
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        slot.fill(ours.into(), 1300).unwrap();
        let state = slot.state();
        drop(theirs);
        assert!(is_silent(&slot));
        assert!(matches!(&*state.borrow(), SlotState::Lost(_)));
        let (next_one, system) = device();
        slot.fill(next_one, 1300).unwrap();
        system.send(b"again").unwrap();
        assert_eq!(next(&slot), b"again");
    }

    #[test]
    fn bad_devices_are_refused_and_the_one_before_stays() {
        let slot = TunSlot::new(Framing::None).unwrap();
        let (good, system) = device();
        slot.fill(good, 1300).unwrap();
        assert!(matches!(
            slot.fill(device().0, 1279),
            Err(TunError::BadMtu { mtu: 1279 })
        ));
        assert!(matches!(
            slot.fill(device().0, MTU + 1),
            Err(TunError::BadMtu { .. })
        ));
        // Cannot be waited for.
        let file = std::fs::File::open("/dev/null").unwrap();
        #[cfg(target_os = "linux")]
        assert!(matches!(
            slot.fill(file.into(), 1300),
            Err(TunError::NotADevice { .. })
        ));
        system.send(b"still").unwrap();
        assert_eq!(next(&slot), b"still");
    }

    #[test]
    fn families_stand_before_packets_where_the_system_wants_them() {
        let slot = TunSlot::new(Framing::Family).unwrap();
        let (ours, system) = device();
        slot.fill(ours, 1300).unwrap();
        system.send(b"\0\0\0\x1epacket").unwrap();
        assert_eq!(next(&slot), b"packet");
        slot.send(b"reply").unwrap();
        let mut buffer = [0; 20];
        let length = system.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"\0\0\0\x1ereply");
    }
}
