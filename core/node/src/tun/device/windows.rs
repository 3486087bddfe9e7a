//! By Wintun: a driver whose library is put beside this program, and loaded from there (or from the system's
//! directory) only, never from wherever Windows would look.

use super::DeviceConfig;
use crate::{
    system::{self, Readable},
    tun::{MTU, TunError, TunQueue, valid_name},
};
use ipnet::IpNet;
use std::{
    io,
    net::Ipv6Addr,
    os::windows::io::BorrowedHandle,
    path::{Path, PathBuf},
    sync::Arc,
};
use windows_sys::Win32::{
    Foundation::{ERROR_OBJECT_ALREADY_EXISTS, WIN32_ERROR},
    NetworkManagement::IpHelper::{
        CreateIpForwardEntry2, CreateUnicastIpAddressEntry, GetIpInterfaceEntry, IP_ADDRESS_PREFIX,
        InitializeIpForwardEntry, InitializeIpInterfaceEntry, InitializeUnicastIpAddressEntry,
        MIB_IPFORWARD_ROW2, MIB_IPINTERFACE_ROW, MIB_UNICASTIPADDRESS_ROW, SetIpInterfaceEntry,
    },
    Networking::WinSock::{AF_INET6, IN6_ADDR, IN6_ADDR_0, IpDadStatePreferred, SOCKADDR_IN6, SOCKADDR_INET},
};

const LIBRARY: &str = "wintun.dll";
/// What the packets that wait for us may take, in octets.
const RING: u32 = 0x40_0000;
/// Devices of one name and different numbers that are looked at.
const MOST_NUMBERS: u32 = 100;
/// Below those of real links, so that the mesh's prefix goes to the mesh.
const ROUTE_METRIC: u32 = 0;

/// The device vanishes, with its address and its route, when this is dropped.
pub struct Device {
    session: Arc<wintun::Session>,
    /// Signalled when a packet comes to an empty queue. Belongs to the session.
    event: isize,
    name: String,
    driver: Option<String>,
    index: u32,
}

impl Device {
    /// Makes the device, gives it the node's address and routes the network's prefix to it.
    pub async fn open(config: &DeviceConfig) -> Result<Self, TunError> {
        let config = config.clone();
        // Windows takes seconds to install a device.
        let opened = tokio::task::spawn_blocking(move || open(&config)).await;
        opened.map_err(|e| TunError::Io {
            name: String::new(),
            source: io::Error::other(e),
        })?
    }
}

fn open(config: &DeviceConfig) -> Result<Device, TunError> {
    if !valid_name(&config.name) {
        return Err(TunError::BadName {
            name: config.name.clone(),
        });
    }
    let path = find_library()?;
    if !system::is_privileged() {
        return Err(TunError::Permission {
            name: config.name.clone(),
        });
    }
    // SAFETY: the library is Wintun's, as far as an administrator put it there; it does nothing when it is loaded.
    let wintun = unsafe { wintun::load_from_path(&path) }.map_err(|e| TunError::Driver {
        path: path.clone(),
        reason: e.to_string(),
    })?;
    let name = free_name(&wintun, &config.name)?;
    let io = |error: wintun::Error| TunError::Io {
        name: name.clone(),
        source: error.into(),
    };
    let adapter = wintun::Adapter::create(&wintun, &name, "Osier", None).map_err(|e| TunError::Driver {
        path: path.clone(),
        reason: e.to_string(),
    })?;
    let driver = wintun::get_running_driver_version(&wintun)
        .ok()
        .map(|version| format!("Wintun {version}"));
    tracing::debug!(driver, path = %path.display(), "the driver is loaded");
    let index = adapter.get_adapter_index().map_err(io)?;
    let session = Arc::new(adapter.start_session(RING).map_err(io)?);
    let event = session.get_read_wait_event().map_err(io)?;
    set_mtu(index).map_err(|source| TunError::Io {
        name: name.clone(),
        source,
    })?;
    add_address(index, config.address).map_err(|error| TunError::Address {
        name: name.clone(),
        address: config.address,
        reason: error.to_string(),
    })?;
    add_route(index, config.network).map_err(|error| TunError::Route {
        name: name.clone(),
        prefix: config.network,
        reason: error.to_string(),
    })?;
    Ok(Device {
        session,
        event,
        name,
        driver,
        index,
    })
}

fn find_library() -> Result<PathBuf, TunError> {
    let program = std::env::current_exe().unwrap_or_default();
    let beside = program.with_file_name(LIBRARY);
    let system = std::env::var_os("SystemRoot").map(|root| Path::new(&root).join("System32").join(LIBRARY));
    [Some(beside.clone()), system]
        .into_iter()
        .flatten()
        .find(|path| path.is_absolute() && path.is_file())
        .ok_or(TunError::NoDriver { wanted: beside })
}

/// The name, with the first free number where it has a place for one.
fn free_name(wintun: &wintun::Wintun, wanted: &str) -> Result<String, TunError> {
    let numbers = if wanted.contains("%d") { MOST_NUMBERS } else { 1 };
    (0..numbers)
        .map(|number| wanted.replace("%d", &number.to_string()))
        // A device vanishes with its owner, so one that can be opened is in use.
        .find(|name| wintun::Adapter::open(wintun, name).is_err())
        .ok_or(TunError::Busy {
            name: wanted.to_owned(),
        })
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
        match self.session.try_receive()? {
            Some(packet) => {
                // At most 65,535 octets, which is what the packet threads have room for.
                let length = packet.bytes().len().min(buffer.len());
                buffer[..length].copy_from_slice(&packet.bytes()[..length]);
                Ok(length)
            }
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn send(&self, packet: &[u8]) -> io::Result<()> {
        let length = u16::try_from(packet.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut slot = self.session.allocate_send_packet(length)?;
        slot.bytes_mut().copy_from_slice(packet);
        self.session.send_packet(slot);
        Ok(())
    }

    fn readable(&self) -> Readable<'_> {
        // SAFETY: the event belongs to `self.session`, which lives at least as long as the borrow.
        unsafe { BorrowedHandle::borrow_raw(self.event as _) }
    }

    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn driver(&self) -> Option<&str> {
        self.driver.as_deref()
    }

    fn index(&self) -> Option<u32> {
        Some(self.index)
    }
}

fn set_mtu(index: u32) -> io::Result<()> {
    let mut row = MIB_IPINTERFACE_ROW::default();
    // SAFETY: the row is a whole structure, here and below.
    unsafe { InitializeIpInterfaceEntry(&raw mut row) };
    row.Family = AF_INET6;
    row.InterfaceIndex = index;
    // SAFETY: see above.
    check(unsafe { GetIpInterfaceEntry(&raw mut row) })?;
    row.NlMtu = MTU.into();
    // Addresses of the mesh are nobody else's.
    row.DadTransmits = 0;
    // Must be so, says the documentation, whatever was read.
    row.SitePrefixLength = 0;
    // SAFETY: see above.
    check(unsafe { SetIpInterfaceEntry(&raw mut row) })
}

fn add_address(index: u32, address: Ipv6Addr) -> io::Result<()> {
    let mut row = MIB_UNICASTIPADDRESS_ROW::default();
    // SAFETY: the row is a whole structure, here and below.
    unsafe { InitializeUnicastIpAddressEntry(&raw mut row) };
    row.InterfaceIndex = index;
    row.Address = socket_address(address);
    row.OnLinkPrefixLength = 128;
    row.DadState = IpDadStatePreferred;
    // SAFETY: see above.
    check_unless_there(unsafe { CreateUnicastIpAddressEntry(&raw const row) })
}

fn add_route(index: u32, prefix: IpNet) -> io::Result<()> {
    let IpNet::V6(prefix) = prefix else {
        return Err(io::Error::other("it is not an IPv6 prefix"));
    };
    let mut row = MIB_IPFORWARD_ROW2::default();
    // SAFETY: the row is a whole structure, here and below.
    unsafe { InitializeIpForwardEntry(&raw mut row) };
    row.InterfaceIndex = index;
    row.DestinationPrefix = IP_ADDRESS_PREFIX {
        Prefix: socket_address(prefix.network()),
        PrefixLength: prefix.prefix_len(),
    };
    // On the link: there is no router.
    row.NextHop = socket_address(Ipv6Addr::UNSPECIFIED);
    row.Metric = ROUTE_METRIC;
    // SAFETY: see above.
    check_unless_there(unsafe { CreateIpForwardEntry2(&raw const row) })
}

fn socket_address(address: Ipv6Addr) -> SOCKADDR_INET {
    SOCKADDR_INET {
        Ipv6: SOCKADDR_IN6 {
            sin6_family: AF_INET6,
            sin6_addr: IN6_ADDR {
                u: IN6_ADDR_0 {
                    Byte: address.octets(),
                },
            },
            ..Default::default()
        },
    }
}

fn check(result: WIN32_ERROR) -> io::Result<()> {
    match result {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code as i32)),
    }
}

fn check_unless_there(result: WIN32_ERROR) -> io::Result<()> {
    match result {
        ERROR_OBJECT_ALREADY_EXISTS => Ok(()),
        other => check(other),
    }
}
