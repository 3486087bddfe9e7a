//! The kernel's routes as announcements of ours: which there are, and when that changes.

use super::Error;
use super::config::routable;
use super::rules::{KernelRoute, Protocol, Redistribute, redistributed};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use ipnet::IpNet;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tokio::task::JoinHandle;

/// Which routes are ours, so that we never announce what we learnt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ours {
    pub(super) table: Option<u32>,
    pub(super) metric: u32,
}

/// Routes of others are taken from here.
const MAIN_TABLE: u32 = 254;

/// What the rules want announced at the moment, with which metric.
pub(super) async fn look(
    handle: &Handle,
    rules: &[Redistribute],
    ours: Ours,
) -> Result<BTreeMap<IpNet, u16>, Error> {
    let mut wanted = BTreeMap::new();
    let names = names(handle).await?;
    for query in [
        RouteMessageBuilder::<Ipv4Addr>::new().build(),
        RouteMessageBuilder::<Ipv6Addr>::new().build(),
    ] {
        let mut routes = handle.route().get(query).execute();
        while let Some(message) = routes.try_next().await.map_err(netlink)? {
            let Some(route) = parse(&message, &names).filter(|_| !is_ours(&message, ours)) else {
                continue;
            };
            if let Some(metric) = redistributed(rules, &route) {
                // Of several routes to a prefix the rule that makes it best counts.
                let known = wanted.entry(route.prefix).or_insert(metric);
                *known = metric.min(*known);
            }
        }
    }
    Ok(wanted)
}

async fn names(handle: &Handle) -> Result<BTreeMap<u32, String>, Error> {
    let mut names = BTreeMap::new();
    let mut links = handle.link().get().execute();
    while let Some(link) = links.try_next().await.map_err(netlink)? {
        for attribute in link.attributes {
            if let LinkAttribute::IfName(name) = attribute {
                names.insert(link.header.index, name);
            }
        }
    }
    Ok(names)
}

/// A route in the main table to somewhere that others could go.
fn parse<'a>(message: &RouteMessage, names: &'a BTreeMap<u32, String>) -> Option<KernelRoute<'a>> {
    let forwards = matches!(
        message.header.kind,
        // An aggregate is often held by one of the latter.
        RouteType::Unicast | RouteType::BlackHole | RouteType::Unreachable | RouteType::Prohibit
    );
    if !forwards || table(message) != MAIN_TABLE || message.header.source_prefix_length != 0 {
        return None;
    }
    let family_any = match message.header.address_family {
        rtnetlink::packet_route::AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        _ => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let (mut address, mut interface) = (family_any, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(a)) => address = IpAddr::V4(*a),
            RouteAttribute::Destination(RouteAddress::Inet6(a)) => address = IpAddr::V6(*a),
            RouteAttribute::Oif(index) => interface = names.get(index).map(String::as_str),
            _ => {}
        }
    }
    let prefix = IpNet::new(address, message.header.destination_prefix_length).ok()?;
    // The kernel itself puts an unreachable default route there when it has none.
    let placeholder = prefix.prefix_len() == 0 && message.header.kind != RouteType::Unicast;
    (routable(&prefix) && !placeholder).then_some(KernelRoute {
        prefix,
        protocol: Protocol(message.header.protocol.into()),
        interface,
    })
}

fn table(message: &RouteMessage) -> u32 {
    let attribute = message.attributes.iter().find_map(|a| match a {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    attribute.unwrap_or(message.header.table.into())
}

fn is_ours(message: &RouteMessage, ours: Ours) -> bool {
    Protocol(message.header.protocol.into()) == Protocol::BABEL
        && Some(table(message)) == ours.table
        && message
            .attributes
            .contains(&RouteAttribute::Priority(ours.metric))
}

fn netlink(error: rtnetlink::Error) -> Error {
    Error::Netlink(error.to_string())
}

/// Tells when routes of others change. The kernel says nothing of IPv4 routes that go with their interface:
/// look again when one goes down, too.
pub(super) struct RouteWatcher {
    messages: BoxStream<'static, NetlinkMessage<RouteNetlinkMessage>>,
    task: JoinHandle<()>,
    ours: Ours,
}

impl std::fmt::Debug for RouteWatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RouteWatcher")
    }
}

impl RouteWatcher {
    pub(super) fn new(ours: Ours) -> Result<Self, Error> {
        let groups = [MulticastGroup::Ipv4Route, MulticastGroup::Ipv6Route];
        let (connection, handle, messages) =
            rtnetlink::new_multicast_connection(&groups).map_err(|e| Error::Netlink(e.to_string()))?;
        let task = tokio::spawn(async move {
            // The connection ends with its last handle, and we want it without one.
            connection.await;
            drop(handle);
        });
        Ok(Self {
            messages: messages.map(|(message, _)| message).boxed(),
            task,
            ours,
        })
    }

    /// Waits for a change by somebody else; cancel-safe. Whatever else the kernel says, lost messages
    /// included, counts as one.
    pub(super) async fn changed(&mut self) -> Result<(), Error> {
        while let Some(message) = self.messages.next().await {
            let own = match &message.payload {
                NetlinkPayload::InnerMessage(
                    RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route),
                ) => is_ours(route, self.ours),
                _ => false,
            };
            if !own {
                return Ok(());
            }
        }
        Err(Error::Netlink("the notifications of routes ended".to_owned()))
    }
}

impl Drop for RouteWatcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}
