//! By tun-rs.

use super::DeviceConfig;
#[cfg(target_os = "linux")]
use super::offload::{self, WithHeaders};
#[cfg(not(target_os = "linux"))]
use crate::tun::DEFAULT_NAME;
#[cfg(target_os = "linux")]
use crate::tun::SuperPackets;
use crate::{
    system::Readable,
    tun::{MTU, TunError, TunQueue, valid_name},
};
use ipnet::IpNet;
#[cfg(target_os = "linux")]
use osier_dataplane::VirtioHeader;
#[cfg(target_os = "linux")]
use std::io::IoSlice;
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};
use tun_rs::{DeviceBuilder, SyncDevice};

/// The device vanishes, with its address and its route, when this is dropped.
pub struct Device {
    device: Inner,
    name: String,
    index: u32,
}

enum Inner {
    Plain(SyncDevice),
    #[cfg(target_os = "linux")]
    WithHeaders(WithHeaders),
}

impl Inner {
    fn open(name: &str, offload: bool) -> io::Result<Self> {
        let builder = || DeviceBuilder::new().name(name).mtu(MTU).enable(true);
        #[cfg(target_os = "linux")]
        {
            let build = |offload| builder().offload(offload).multi_queue(offload).build_sync();
            let (device, offload) = offload::open(offload, build)?;
            Ok(match offload {
                true => Self::WithHeaders(WithHeaders::new(device)),
                false => Self::Plain(device),
            })
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = offload;
            // The kernel of macOS gives a number only if it is not asked for a name.
            let builder = match name {
                DEFAULT_NAME => DeviceBuilder::new().mtu(MTU).enable(true),
                _ => builder(),
            };
            Ok(Self::Plain(builder.build_sync()?))
        }
    }

    fn device(&self) -> &SyncDevice {
        match self {
            Self::Plain(device) => device,
            #[cfg(target_os = "linux")]
            Self::WithHeaders(inner) => inner.device(),
        }
    }

    fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Plain(device) => device.set_nonblocking(true),
            #[cfg(target_os = "linux")]
            Self::WithHeaders(inner) => inner.set_nonblocking(),
        }
    }
}

impl Device {
    /// Makes the device, gives it the node's address and routes the network's prefix to it.
    pub async fn open(config: &DeviceConfig) -> Result<Self, TunError> {
        let name = config.name.clone();
        if !valid_name(&name) {
            return Err(TunError::BadName { name });
        }
        let inner = Inner::open(&name, config.offload).map_err(|e| explain(e, &name))?;
        let device = inner.device();
        let io = |source| TunError::Io {
            name: name.clone(),
            source,
        };
        inner.set_nonblocking().map_err(io)?;
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
        #[cfg(target_os = "linux")]
        if let Inner::WithHeaders(_) = &inner {
            offload::limit_sizes(index).await;
        }
        add_route(index, config.network)
            .await
            .map_err(|reason| TunError::Route {
                name: name.clone(),
                prefix: config.network,
                reason,
            })?;
        Ok(Self {
            device: inner,
            name,
            index,
        })
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
        match &self.device {
            Inner::Plain(device) => device.recv(buffer),
            #[cfg(target_os = "linux")]
            Inner::WithHeaders(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn send(&self, packet: &[u8]) -> io::Result<()> {
        match &self.device {
            Inner::Plain(device) => device.send(packet).map(|_| ()),
            #[cfg(target_os = "linux")]
            Inner::WithHeaders(device) => {
                let header = VirtioHeader::PLAIN.encode();
                device.send(0, &[IoSlice::new(&header), IoSlice::new(packet)])
            }
        }
    }

    fn readable(&self) -> Readable<'_> {
        // SAFETY: the descriptor belongs to `self.device`, which lives at least as long as the borrow.
        unsafe { BorrowedFd::borrow_raw(self.device.device().as_raw_fd()) }
    }

    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn index(&self) -> Option<u32> {
        Some(self.index)
    }

    #[cfg(target_os = "linux")]
    fn super_packets(&self) -> Option<&dyn SuperPackets> {
        match &self.device {
            Inner::Plain(_) => None,
            Inner::WithHeaders(device) => Some(device),
        }
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
async fn add_route(index: u32, prefix: IpNet) -> Result<(), String> {
    use route_manager::{Route, RouteManager};
    let route = Route::new(prefix.network(), prefix.prefix_len()).with_if_index(index);
    let add = move || {
        let mut manager = RouteManager::new()?;
        match manager.add(&route) {
            // Left by a node that crashed, or of another network with this prefix: the newest start wins.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                manager.delete(&Route::new(route.destination(), route.prefix()))?;
                manager.add(&route)
            }
            done => done,
        }
    };
    // It waits for the kernel's answer.
    let done = tokio::task::spawn_blocking(add).await;
    done.map_err(io::Error::other)
        .flatten()
        .map_err(|e| e.to_string())
}
