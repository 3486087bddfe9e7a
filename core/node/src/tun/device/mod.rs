//! A TUN device of the operating system, with its address and its route: by tun-rs on Unix, by wintun on Windows. Phones
//! give theirs.

#[cfg(target_os = "linux")]
mod offload;
#[cfg(any(target_os = "android", target_os = "ios"))]
mod phone;
#[cfg(all(unix, not(any(target_os = "android", target_os = "ios"))))]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(any(target_os = "android", target_os = "ios"))]
pub use phone::Device;
#[cfg(all(unix, not(any(target_os = "android", target_os = "ios"))))]
pub use unix::Device;
#[cfg(windows)]
pub use windows::Device;

use ipnet::IpNet;
use std::net::Ipv6Addr;

#[derive(Clone, Debug)]
pub struct DeviceConfig {
    /// `%d` stands for the first free number.
    pub name: String,
    pub address: Ipv6Addr,
    /// The network's prefix, which is routed to the device.
    pub network: IpNet,
    /// Use the system's offload where it has one.
    pub offload: bool,
}
