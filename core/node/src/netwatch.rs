//! Our own addresses, and notice of every change.
//!
//! On Linux by rtnetlink: one dump, then another after each notification. Elsewhere by asking the system now
//! and then which address it would send from. A platform that tells its programs of changes by itself, as phones do,
//! takes the place of both ([`Source::Told`]): then nothing is done in between, and nothing wakes the machine.

use crate::sockets::Sockets;
use ipnet::IpNet;
use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};
use tokio::{sync::watch, task::JoinHandle};

/// Changes come in bursts; this long after the first we look.
const SETTLE: Duration = Duration::from_millis(200);
/// Between two looks where there are no notifications.
#[cfg(not(target_os = "linux"))]
const POLL: Duration = Duration::from_secs(15);
/// Before trying again when the system's notifications break off.
#[cfg(target_os = "linux")]
const RETRY: Duration = Duration::from_secs(5);

/// An address of an interface, as the system told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    pub address: IpAddr,
    pub interface: u32,
    /// Not to be given to others: tentative, failed, deprecated, made to be short-lived (RFC 8981), or on an interface
    /// that is down or unplugged.
    pub passing: bool,
}

/// How to learn of changes.
#[derive(Clone, Debug, Default)]
pub enum Source {
    /// By watching.
    #[default]
    System,
    /// From the embedder. Each value sent is a change, even when it is the same: another network may well give the same
    /// addresses.
    Told(watch::Receiver<Told>),
}

/// What an embedder knows of the network that its device is in now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// This device's addresses there; `None`: look for them.
    pub addresses: Option<Vec<IpAddr>>,
}

/// What must not be told to others.
#[derive(Clone, Copy, Debug)]
pub struct Exclude {
    /// Our TUN device.
    pub interface: Option<u32>,
    /// The mesh's own prefix: a tunnel cannot go through the mesh.
    pub mesh: IpNet,
}

/// The addresses at which others might reach us, sorted. Loopback addresses only when there is nothing else, for
/// networks on one machine.
pub fn usable(all: &[Own], exclude: &Exclude) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = all
        .iter()
        .filter(|own| !own.passing && Some(own.interface) != exclude.interface)
        .map(|own| own.address)
        .filter(|address| !exclude.mesh.contains(address) && !is_special(address))
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.iter().any(|a| !a.is_loopback()) {
        addresses.retain(|a| !a.is_loopback());
    }
    addresses
}

/// Link-local addresses mean nothing elsewhere; the others are not addresses of a host.
fn is_special(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast(),
    }
}

/// Watches until dropped.
#[derive(Debug)]
pub struct NetWatch {
    task: JoinHandle<()>,
    addresses: watch::Receiver<Vec<IpAddr>>,
    links: watch::Receiver<Vec<Link>>,
}

/// An interface, our TUN device excepted, by index, and its MTU in octets.
pub type Link = (u32, u32);

impl NetWatch {
    /// Starts watching; the first list is there when this returns.
    pub async fn start(exclude: Exclude, source: Source, sockets: Sockets) -> Self {
        let eye = Eye { exclude, sockets };
        let first = match &source {
            Source::System => eye.look().await,
            Source::Told(told) => {
                let told = told.borrow().clone();
                eye.seen(told).await
            }
        };
        let first = first.unwrap_or_else(|reason| {
            tracing::warn!(reason, "cannot list this machine's addresses");
            Vec::new()
        });
        let (sender, addresses) = watch::channel(first);
        let (links_sender, links) = watch::channel(links(&exclude).await.unwrap_or_default());
        let task = match source {
            Source::System => tokio::spawn(follow(sender, links_sender, eye)),
            Source::Told(mut told) => {
                told.mark_unchanged();
                tokio::spawn(listen(told, sender, eye))
            }
        };
        Self {
            task,
            addresses,
            links,
        }
    }

    pub fn addresses(&self) -> watch::Receiver<Vec<IpAddr>> {
        self.addresses.clone()
    }

    pub fn links(&self) -> watch::Receiver<Vec<Link>> {
        self.links.clone()
    }
}

impl Drop for NetWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn links(exclude: &Exclude) -> Result<Vec<Link>, String> {
    let mut links = system::links().await?;
    links.retain(|(interface, _)| Some(*interface) != exclude.interface);
    links.sort_unstable();
    Ok(links)
}

/// Looks at this machine's addresses.
struct Eye {
    exclude: Exclude,
    sockets: Sockets,
}

impl Eye {
    async fn look(&self) -> Result<Vec<IpAddr>, String> {
        let all = system::addresses(&self.sockets).await?;
        Ok(usable(&all, &self.exclude))
    }

    async fn seen(&self, told: Told) -> Result<Vec<IpAddr>, String> {
        let Some(addresses) = told.addresses else {
            return self.look().await;
        };
        let own = |address| Own {
            address,
            interface: 0,
            passing: false,
        };
        let all: Vec<Own> = addresses.into_iter().map(own).collect();
        Ok(usable(&all, &self.exclude))
    }
}

async fn follow(sender: watch::Sender<Vec<IpAddr>>, mtus: watch::Sender<Vec<Link>>, eye: Eye) {
    let mut changes = system::Changes::new();
    loop {
        changes.next().await;
        tokio::time::sleep(SETTLE).await;
        changes.forget();
        if let Ok(now) = links(&eye.exclude).await {
            mtus.send_if_modified(|before| {
                let changed = *before != now;
                *before = now;
                changed
            });
        }
        let Ok(now) = eye.look().await else {
            continue;
        };
        sender.send_if_modified(|before| {
            let changed = *before != now;
            if changed {
                tracing::info!(addresses = ?now, "addresses changed");
                *before = now;
            }
            changed
        });
    }
}

/// Ends when the embedder has gone away.
async fn listen(mut told: watch::Receiver<Told>, sender: watch::Sender<Vec<IpAddr>>, eye: Eye) {
    while told.changed().await.is_ok() {
        let told = told.borrow_and_update().clone();
        // Without addresses for now, which is what to go on with.
        let now = eye.seen(told).await.unwrap_or_default();
        tracing::info!(addresses = ?now, "told of another network");
        sender.send_replace(now);
    }
}

#[cfg(target_os = "linux")]
mod system {
    use super::{Link, Own, RETRY, Sockets};
    use futures_util::{FutureExt, StreamExt, TryStreamExt};
    use rtnetlink::{
        MulticastGroup,
        packet_core::NetlinkMessage,
        packet_route::{
            RouteNetlinkMessage,
            address::{AddressAttribute, AddressFlags, AddressMessage},
            link::{LinkAttribute, LinkFlags, LinkMessage},
        },
        sys::SocketAddr,
    };
    use std::{net::IpAddr, pin::Pin};

    type Messages =
        Pin<Box<dyn futures_util::Stream<Item = (NetlinkMessage<RouteNetlinkMessage>, SocketAddr)> + Send>>;

    pub(super) async fn addresses(_: &Sockets) -> Result<Vec<Own>, String> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(|e| e.to_string())?;
        let driver = tokio::spawn(connection);
        let messages: Result<Vec<AddressMessage>, _> = handle.address().get().execute().try_collect().await;
        let links: Result<Vec<LinkMessage>, _> = handle.link().get().execute().try_collect().await;
        driver.abort();
        let idle: Vec<u32> = links
            .map_err(|e| e.to_string())?
            .iter()
            .filter(|link| !carries(link.header.flags))
            .map(|link| link.header.index)
            .collect();
        let mut own: Vec<Own> = messages
            .map_err(|e| e.to_string())?
            .iter()
            .filter_map(own)
            .collect();
        // An unplugged interface keeps its addresses for a while, and nothing gets through.
        own.iter_mut()
            .for_each(|own| own.passing |= idle.contains(&own.interface));
        Ok(own)
    }

    pub(super) async fn links() -> Result<Vec<Link>, String> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(|e| e.to_string())?;
        let driver = tokio::spawn(connection);
        let messages: Result<Vec<LinkMessage>, _> = handle.link().get().execute().try_collect().await;
        driver.abort();
        let mtu = |message: &LinkMessage| {
            message.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::Mtu(mtu) => Some((message.header.index, *mtu)),
                _ => None,
            })
        };
        Ok(messages
            .map_err(|e| e.to_string())?
            .iter()
            .filter_map(mtu)
            .collect())
    }

    fn carries(flags: LinkFlags) -> bool {
        flags.contains(LinkFlags::Up) && flags.intersects(LinkFlags::Running | LinkFlags::LowerUp)
    }

    fn own(message: &AddressMessage) -> Option<Own> {
        let mut address = None;
        let mut flags = AddressFlags::from_bits_truncate(u32::from(message.header.flags.bits()));
        for attribute in &message.attributes {
            match attribute {
                // On point-to-point interfaces `Address` is the other end.
                AddressAttribute::Local(local) => address = Some(*local),
                AddressAttribute::Address(other) => address = address.or(Some(*other)),
                AddressAttribute::Flags(all) => flags = *all,
                _ => {}
            }
        }
        let address = address?;
        let mut unfit = AddressFlags::Tentative | AddressFlags::Dadfailed | AddressFlags::Deprecated;
        if matches!(address, IpAddr::V6(_)) {
            // For IPv6 this bit means "temporary".
            unfit |= AddressFlags::Secondary;
        }
        Some(Own {
            address,
            interface: message.header.index,
            passing: flags.intersects(unfit),
        })
    }

    pub(super) struct Changes {
        messages: Option<(Messages, tokio::task::JoinHandle<()>)>,
    }

    impl Changes {
        pub(super) fn new() -> Self {
            Self { messages: None }
        }

        /// Returns after a change, and once after each (re)connection, as changes may have been missed.
        pub(super) async fn next(&mut self) {
            let Some((messages, driver)) = &mut self.messages else {
                self.connect().await;
                return;
            };
            if messages.next().await.is_none() {
                driver.abort();
                self.messages = None;
            }
        }

        async fn connect(&mut self) {
            let groups = [
                MulticastGroup::Link,
                MulticastGroup::Ipv4Ifaddr,
                MulticastGroup::Ipv6Ifaddr,
            ];
            match rtnetlink::new_multicast_connection(&groups) {
                Ok((connection, _, messages)) => {
                    self.messages = Some((Box::pin(messages), tokio::spawn(connection)));
                }
                Err(error) => {
                    tracing::debug!(%error, "no notice of network changes");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }

        /// Drops what has come in meanwhile.
        pub(super) fn forget(&mut self) {
            if let Some((messages, _)) = &mut self.messages {
                while let Some(Some(_)) = messages.next().now_or_never() {}
            }
        }
    }

    impl Drop for Changes {
        fn drop(&mut self) {
            if let Some((_, driver)) = &self.messages {
                driver.abort();
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::{Link, Own, POLL, Sockets};
    use socket2::{Domain, Type};
    use std::net::{IpAddr, SocketAddr};

    /// The addresses that the system would send from, which for a host with one link is all there is to know.
    pub(super) async fn addresses(sockets: &Sockets) -> Result<Vec<Own>, String> {
        let ask = |towards: &str| -> Option<IpAddr> {
            let towards: SocketAddr = towards.parse().ok()?;
            let socket = sockets.open(Domain::for_address(towards), Type::DGRAM).ok()?;
            // Sends nothing; the addresses are for documentation (RFC 5737, RFC 3849).
            socket.connect(&towards.into()).ok()?;
            Some(socket.local_addr().ok()?.as_socket()?.ip())
        };
        let found = [ask("192.0.2.1:9"), ask("[2001:db8::1]:9")];
        Ok(found
            .into_iter()
            .flatten()
            .map(|address| Own {
                address,
                interface: 0,
                passing: false,
            })
            .collect())
    }

    /// What links take is found out by asking over them, now and then.
    pub(super) async fn links() -> Result<Vec<Link>, String> {
        Ok(Vec::new())
    }

    pub(super) struct Changes;

    impl Changes {
        pub(super) fn new() -> Self {
            Self
        }

        pub(super) async fn next(&mut self) {
            tokio::time::sleep(POLL).await;
        }

        pub(super) fn forget(&mut self) {}
    }
}

/// The private IPv4 addresses among ours: behind these a NAT may be asked for a mapping.
pub fn private_v4(addresses: &[IpAddr]) -> Vec<Ipv4Addr> {
    let v4 = addresses.iter().filter_map(|a| match a {
        IpAddr::V4(v4) => Some(*v4),
        IpAddr::V6(_) => None,
    });
    // 100.64.0.0/10 is shared space between a carrier's NAT and its customers (RFC 6598).
    v4.filter(|a| a.is_private() || (a.octets()[0] == 100 && a.octets()[1] & 0xc0 == 64))
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MESH: &str = "fd12:3456:789a::/48";

    fn own(address: &str) -> Own {
        Own {
            address: address.parse().unwrap(),
            interface: 2,
            passing: false,
        }
    }

    fn exclude() -> Exclude {
        Exclude {
            interface: Some(9),
            mesh: MESH.parse().unwrap(),
        }
    }

    #[test]
    fn addresses_that_mean_nothing_elsewhere_are_left_out() {
        let mut tun = own("2001:db8::9");
        tun.interface = 9;
        let mut old = own("2001:db8::5");
        old.passing = true;
        let all = [
            own("192.0.2.7"),
            own("169.254.3.4"),
            own("fe80::1"),
            own("127.0.0.1"),
            own("::1"),
            own("2001:db8::1"),
            own("2001:db8::1"),
            own("fd12:3456:789a:1::1"),
            own("fd00::7"),
            tun,
            old,
        ];
        let expected: Vec<IpAddr> = ["192.0.2.7", "2001:db8::1", "fd00::7"]
            .iter()
            .map(|a| a.parse().unwrap())
            .collect();
        assert_eq!(usable(&all, &exclude()), expected);
    }

    #[test]
    fn loopback_is_better_than_nothing() {
        let all = [own("127.0.0.1"), own("fe80::1"), own("::1")];
        assert_eq!(
            usable(&all, &exclude()),
            ["127.0.0.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]
        );
        assert_eq!(usable(&[], &exclude()), Vec::<IpAddr>::new());
    }

    #[test]
    fn private_addresses_are_recognised() {
        let all: Vec<IpAddr> = [
            "10.1.2.3",
            "172.31.0.1",
            "172.32.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "100.128.0.1",
            "203.0.113.1",
            "fd00::1",
        ]
        .iter()
        .map(|a| a.parse().unwrap())
        .collect();
        let private = private_v4(&all);
        assert_eq!(private.len(), 4);
        assert!(!private.contains(&"172.32.0.1".parse().unwrap()));
    }

    #[tokio::test]
    async fn system_lists_something() {
        // Every machine that runs tests has at least a loopback interface that is up or an address.
        let watch = NetWatch::start(exclude(), Source::System, Sockets::default()).await;
        let addresses = watch.addresses().borrow().clone();
        assert!(addresses.iter().all(|a| !is_special(a)), "{addresses:?}");
    }

    #[tokio::test]
    async fn embedder_tells_of_networks_and_each_is_a_change() {
        let told = |addresses: &[&str]| Told {
            addresses: Some(addresses.iter().map(|a| a.parse().unwrap()).collect()),
        };
        let (sender, receiver) = watch::channel(told(&["192.0.2.7", "fe80::1"]));
        let watch = NetWatch::start(exclude(), Source::Told(receiver), Sockets::default()).await;
        let mut addresses = watch.addresses();
        let here: Vec<IpAddr> = vec!["192.0.2.7".parse().unwrap()];
        assert_eq!(*addresses.borrow_and_update(), here);
        sender.send_replace(told(&["192.0.2.7"]));
        addresses.changed().await.unwrap();
        assert_eq!(*addresses.borrow_and_update(), here);
        sender.send_replace(told(&[]));
        addresses.changed().await.unwrap();
        assert_eq!(*addresses.borrow_and_update(), Vec::<IpAddr>::new());
    }
}
