//! Which interfaces there are, and when that changes.

use super::Error;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::{Handle, MulticastGroup};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tokio::task::JoinHandle;

/// An interface as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    /// Administratively up and with a carrier.
    pub(super) up: bool,
    pub(super) mtu: u32,
    pub(super) mac: Option<[u8; 6]>,
    /// The first one that is not tentative.
    pub(super) link_local: Option<Ipv6Addr>,
    /// The first one.
    pub(super) ipv4: Option<Ipv4Addr>,
}

/// The named interfaces that exist, by index.
pub(super) async fn look(handle: &Handle, names: &BTreeSet<String>) -> Result<BTreeMap<u32, Link>, Error> {
    let mut links = BTreeMap::new();
    let mut messages = handle.link().get().execute();
    while let Some(message) = messages.try_next().await.map_err(netlink)? {
        if let Some(link) = parse_link(&message).filter(|link| names.contains(&link.name)) {
            links.insert(link.index, link);
        }
    }
    let mut messages = handle.address().get().execute();
    while let Some(message) = messages.try_next().await.map_err(netlink)? {
        let Some(link) = links.get_mut(&message.header.index) else {
            continue;
        };
        match parse_address(&message) {
            Some(IpAddr::V6(address)) if address.is_unicast_link_local() => {
                link.link_local.get_or_insert(address);
            }
            Some(IpAddr::V4(address)) => {
                link.ipv4.get_or_insert(address);
            }
            _ => {}
        }
    }
    Ok(links)
}

fn netlink(error: rtnetlink::Error) -> Error {
    Error::Netlink(error.to_string())
}

fn parse_link(message: &LinkMessage) -> Option<Link> {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        up: is_up(message),
        mtu: 1280,
        mac: None,
        link_local: None,
        ipv4: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(octets) => {
                link.mac = octets.as_slice().try_into().ok().filter(|mac| *mac != [0; 6]);
            }
            _ => {}
        }
    }
    (!link.name.is_empty()).then_some(link)
}

fn is_up(message: &LinkMessage) -> bool {
    message.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp)
}

/// The address, unless duplicate address detection has yet to allow its use or has forbidden it.
fn parse_address(message: &AddressMessage) -> Option<IpAddr> {
    let unusable = AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed;
    let optimistic = message.header.flags.contains(AddressHeaderFlags::Optimistic);
    if message.header.flags.intersects(unusable) && !optimistic {
        return None;
    }
    let mut address = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Flags(flags) if flags.contains(AddressFlags::Dadfailed) => return None,
            // On a point-to-point IPv4 interface `Address` is the other end.
            AddressAttribute::Local(local) => return Some(*local),
            AddressAttribute::Address(a) => address = Some(*a),
            _ => {}
        }
    }
    address
}

/// Tells when links or addresses change. Changes come as they happen, so many of them at a time.
#[derive(Debug)]
pub(super) struct Watcher {
    messages: Messages,
    task: JoinHandle<()>,
}

/// What `rtnetlink` hands out, without the name of its channel's crate.
struct Messages(BoxStream<'static, NetlinkMessage<RouteNetlinkMessage>>);

impl std::fmt::Debug for Messages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Messages")
    }
}

impl Watcher {
    pub(super) fn new() -> Result<Self, Error> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
        ];
        let (connection, handle, messages) =
            rtnetlink::new_multicast_connection(&groups).map_err(|e| Error::Netlink(e.to_string()))?;
        let task = tokio::spawn(async move {
            // The connection ends with its last handle, and we want it without one.
            connection.await;
            drop(handle);
        });
        let messages = Messages(messages.map(|(message, _)| message).boxed());
        Ok(Self { messages, task })
    }

    /// Waits for changes. Returns the interfaces that were down at some moment since the last call: one that
    /// went down and up again has lost its routes, whatever it looks like now.
    pub(super) async fn changed(&mut self) -> Result<BTreeSet<u32>, Error> {
        let mut went_down = BTreeSet::new();
        let first = self.messages.0.next().await;
        note(&mut went_down, first)?;
        while let Some(more) = self.messages.0.next().now_or_never() {
            note(&mut went_down, more)?;
        }
        Ok(went_down)
    }
}

fn note(
    went_down: &mut BTreeSet<u32>,
    message: Option<NetlinkMessage<RouteNetlinkMessage>>,
) -> Result<(), Error> {
    let message = message.ok_or_else(|| Error::Netlink("the notifications ended".to_owned()))?;
    match message.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) => {
            went_down.insert(link.header.index);
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) if !is_up(&link) => {
            went_down.insert(link.header.index);
        }
        _ => {}
    }
    Ok(())
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}
