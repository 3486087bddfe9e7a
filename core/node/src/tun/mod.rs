//! Where the packets of this machine come from and go to: a TUN device, or something that stands in for one.

mod device;
mod none;
#[cfg(unix)]
mod slot;

pub use device::{Device, DeviceConfig};
pub use none::NoTun;
#[cfg(unix)]
pub use slot::{Framing, SlotState, TunSlot};

use crate::system::Readable;
use osier_dataplane::{Joins, VirtioHeader};
use std::{
    io::{self, IoSlice},
    net::Ipv6Addr,
};

/// The device's MTU in octets: the most that any tunnel carries. Where less passes, the sender is told (ICMPv6 Packet
/// Too Big); 1280 octets pass everywhere.
pub const MTU: u16 = osier_proto::snapshot::MAX_MTU;

/// The least that a device must take, which is IPv6's.
pub const MIN_MTU: u16 = 1280;

/// Most queues of a device with offload.
pub const MAX_QUEUES: usize = 8;

/// The name of the device unless told otherwise; the kernel puts the first free number.
#[cfg(not(target_os = "macos"))]
pub const DEFAULT_NAME: &str = "osier%d";
/// The name of the device unless told otherwise; the kernel puts a free number, and wants this word before it.
#[cfg(target_os = "macos")]
pub const DEFAULT_NAME: &str = "utun%d";

/// A source and sink of IPv6 packets. Phones and tests bring their own; [`Device`] is the system's.
pub trait TunQueue: Send + Sync + std::fmt::Debug {
    /// Reads one packet without waiting. [`io::ErrorKind::WouldBlock`] when there is none; any other error means
    /// that the device is gone.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes one packet without waiting; a full queue drops it.
    fn send(&self, packet: &[u8]) -> io::Result<()>;

    /// Says when [`Self::receive`] has something: a descriptor that becomes readable, or on Windows an event that is
    /// signalled when something comes to an empty queue.
    fn readable(&self) -> Readable<'_>;

    /// What the operator calls it; `None` when there is no device.
    fn name(&self) -> Option<&str>;

    /// Name and version of the driver behind the device, where it is not part of the operating system.
    fn driver(&self) -> Option<&str> {
        None
    }

    /// The system's interface index, when it has one.
    fn index(&self) -> Option<u32> {
        None
    }

    /// How to exchange super-packets, where the device can; then [`Self::receive`] is not used.
    fn super_packets(&self) -> Option<&dyn SuperPackets> {
        None
    }
}

/// A device with offload: many packets of one flow go through the kernel and come to us as one.
pub trait SuperPackets {
    /// Queues that packets for us wait in, 1 ..= [`MAX_QUEUES`]; the calls below take a smaller number. Each is first in,
    /// first out. A flow comes from the queue by which its other direction was last written.
    fn queues(&self) -> usize {
        1
    }

    /// As [`TunQueue::readable`], for one queue.
    fn readable(&self, queue: usize) -> Readable<'_>;

    /// Reads one packet or super-packet without waiting; errors as for [`TunQueue::receive`].
    fn receive(&self, queue: usize, buffer: &mut [u8]) -> io::Result<(VirtioHeader, usize)>;

    /// Writes one without waiting: the pieces one after the other, the first of which is an encoded [`VirtioHeader`].
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for a super-packet: the system takes none of its kind.
    fn send(&self, queue: usize, pieces: &[IoSlice<'_>]) -> io::Result<()>;

    /// Which super-packets may be written, until one is refused.
    fn takes(&self) -> Joins;
}

#[derive(Debug, thiserror::Error)]
pub enum TunError {
    #[cfg_attr(
        not(windows),
        error(
            "no permission to make the network device {name}: run as root or with CAP_NET_ADMIN, install the service \
             (`osier service install`), or run without a device (--no-tun)"
        )
    )]
    #[cfg_attr(
        windows,
        error(
            "no permission to make the network device {name}: run as administrator, or run without a device (--no-tun)"
        )
    )]
    Permission { name: String },
    #[error(
        "this system has no TUN devices (/dev/net/tun is missing): load the module (`modprobe tun`), or run without a device (--no-tun)"
    )]
    Unsupported,
    #[error(
        "the driver Wintun is missing: get wintun.dll from https://www.wintun.net and put it beside this program, at {}; \
         or run without a device (--no-tun)", wanted.display()
    )]
    NoDriver { wanted: std::path::PathBuf },
    #[error("the driver Wintun at {} cannot be used: {reason}", path.display())]
    Driver {
        path: std::path::PathBuf,
        reason: String,
    },
    #[error(
        "{name:?} cannot be the name of a device: 1 to 15 letters, digits, '-', '_' or '.', and at most one %d"
    )]
    BadName { name: String },
    #[error("the network device {name} is in use by another program: choose another name with --tun")]
    Busy { name: String },
    #[error(
        "IPv6 is switched off on this system, and the mesh needs it: set the sysctl net.ipv6.conf.all.disable_ipv6 to 0"
    )]
    NoIpv6,
    #[error("cannot give {name} the address {address}: {reason}")]
    Address {
        name: String,
        address: Ipv6Addr,
        reason: String,
    },
    #[error("cannot route {prefix} to {name}: {reason}")]
    Route {
        name: String,
        prefix: ipnet::IpNet,
        reason: String,
    },
    #[error("cannot make the network device {name}: {source}")]
    Io { name: String, source: io::Error },
    #[error("on this system the network device is the VPN service's to make, and the app's to hand over")]
    Given,
    /// Of one that the embedder brought.
    #[error("the MTU of the device is {mtu}: it must be between {} and {MTU}", MIN_MTU)]
    BadMtu { mtu: u16 },
    #[error("what was given as the device cannot be used as one: {source}")]
    NotADevice { source: io::Error },
}

/// Whether `name` may be given to a new device.
pub fn valid_name(name: &str) -> bool {
    let plain = name.replacen("%d", "0", 1);
    (1..=15).contains(&name.len())
        && plain != "."
        && plain != ".."
        && plain
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_names_are_checked() {
        for good in ["osier%d", "osier0", "a", "vpn-1_x.y"] {
            assert!(valid_name(good), "{good}");
        }
        for bad in [
            "",
            "..",
            "with space",
            "sixteen-letters-",
            "a/b",
            "a%d%d",
            "a%s",
            "é",
        ] {
            assert!(!valid_name(bad), "{bad}");
        }
    }
}
