//! By tun-rs.

use super::DeviceConfig;
use crate::{
    system::Readable,
    tun::{MTU, TunError, TunQueue, valid_name},
};
use ipnet::IpNet;
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};
use tun_rs::{DeviceBuilder, SyncDevice};

/// The device vanishes, with its address and its route, when this is dropped.
pub struct Device {
    device: SyncDevice,
    name: String,
    index: u32,
}

impl Device {
    /// Makes the device, gives it the node's address and routes the network's prefix to it.
    pub async fn open(config: &DeviceConfig) -> Result<Self, TunError> {
        let name = config.name.clone();
        if !valid_name(&name) {
            return Err(TunError::BadName { name });
        }
        let device = DeviceBuilder::new()
            .name(&name)
            .mtu(MTU)
            .enable(true)
            .build_sync()
            .map_err(|e| explain(e, &name))?;
        let io = |source| TunError::Io {
            name: name.clone(),
            source,
        };
        device.set_nonblocking(true).map_err(io)?;
        let (name, index) = (device.name().map_err(io)?, device.if_index().map_err(io)?);
        device
            .add_address_v6(config.address, 128)
            .map_err(|error| match error.raw_os_error() {
                // The kernel's words for an interface on which IPv6 is disabled.
                Some(libc::EACCES | libc::EPERM | libc::EOPNOTSUPP | libc::EAFNOSUPPORT) => TunError::NoIpv6,
                _ => TunError::Address {
                    name: name.clone(),
                    address: config.address,
                    reason: error.to_string(),
                },
            })?;
        add_route(index, config.network)
            .await
            .map_err(|reason| TunError::Route {
                name: name.clone(),
                prefix: config.network,
                reason,
            })?;
        Ok(Self { device, name, index })
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device")
            .field("name", &self.name)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

impl TunQueue for Device {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.device.recv(buffer)
    }

    fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.device.send(packet).map(|_| ())
    }

    fn readable(&self) -> Readable<'_> {
        // SAFETY: the descriptor belongs to `self.device`, which lives at least as long as the borrow.
        unsafe { BorrowedFd::borrow_raw(self.device.as_raw_fd()) }
    }

    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn index(&self) -> Option<u32> {
        Some(self.index)
    }
}

fn explain(error: io::Error, name: &str) -> TunError {
    let name = name.to_owned();
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => TunError::Permission { name },
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => TunError::Unsupported,
        Some(libc::EBUSY | libc::EEXIST) => TunError::Busy { name },
        _ => TunError::Io { name, source: error },
    }
}

#[cfg(target_os = "linux")]
async fn add_route(index: u32, prefix: IpNet) -> Result<(), String> {
    use rtnetlink::RouteMessageBuilder;
    use std::net::Ipv6Addr;
    let IpNet::V6(prefix) = prefix else {
        return Err("it is not an IPv6 prefix".into());
    };
    let (connection, handle, _) = rtnetlink::new_connection().map_err(|e| e.to_string())?;
    let driver = tokio::spawn(connection);
    let route = RouteMessageBuilder::<Ipv6Addr>::new()
        .destination_prefix(prefix.network(), prefix.prefix_len())
        .output_interface(index)
        .build();
    // Replacing: of two networks with one prefix on a machine, the newest start wins, as with `ip route replace`.
    let result = handle.route().add(route).replace().execute().await;
    driver.abort();
    result.map_err(|e| e.to_string())
}

#[cfg(not(target_os = "linux"))]
async fn add_route(_: u32, _: IpNet) -> Result<(), String> {
    Err("routes cannot be set on this system yet".into())
}
