//! Selected routes on their way into one of the kernel's tables.
//!
//! [`Installer`] is the upper half: it remembers what is wanted for each route and what the kernel has, and
//! makes one the other, a bounded number of changes at a time. [`RouteTable`] is the lower half, so that tests
//! can do without a kernel.

use super::Error;
use futures_util::TryStreamExt;
use ipnet::{IpNet, Ipv6Net};
use osier_babel::{Forwarding, InterfaceId, RouteKey, Target};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::{Handle, RouteMessageBuilder};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::linux::net::SocketAddrExt;

/// What the kernel does with packets for a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Forward {
        interface: InterfaceId,
        next_hop: IpAddr,
    },
    Unreachable,
}

impl Action {
    fn of(target: &Target) -> Option<Self> {
        match *target {
            Target::Via {
                interface, next_hop, ..
            } => Some(Self::Forward { interface, next_hop }),
            Target::Unreachable => Some(Self::Unreachable),
            Target::Gone => None,
        }
    }
}

/// A table of routes that belong to us alone.
pub(super) trait RouteTable {
    /// Adds the route or, in one step, puts it in the place of the one we had.
    async fn replace(&mut self, route: RouteKey, action: Action) -> Result<(), TableError>;
    /// Removes our route; none is fine.
    async fn remove(&mut self, route: RouteKey) -> Result<(), TableError>;
    /// Removes all our routes, also those of an earlier run that crashed; tells how many.
    async fn flush(&mut self) -> Result<usize, TableError>;
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TableError {
    /// The kernel understood and said no.
    #[error("{}", std::io::Error::from_raw_os_error(.0.raw_os_error()))]
    Refused(Errno),
    /// Nothing can be said to the kernel any more.
    #[error("{0}")]
    Lost(String),
}

/// Makes the table what the speaker wants.
#[derive(Debug)]
pub(super) struct Installer<T> {
    /// `None`: nothing is installed.
    table: Option<T>,
    /// Changes not made yet; a later one for the same route replaces the earlier.
    pending: BTreeMap<RouteKey, Option<Action>>,
    installed: BTreeMap<RouteKey, Action>,
    /// Routes that the kernel may have dropped or changed by itself.
    doubtful: BTreeSet<RouteKey>,
    errors: u64,
}

impl Installer<KernelTable> {
    /// What can be forwarded by; everything when nothing is installed.
    pub(super) async fn forwarding(&mut self) -> Result<Forwarding, TableError> {
        match &mut self.table {
            Some(table) => table.forwarding().await,
            None => Ok(Forwarding::default()),
        }
    }
}

impl<T: RouteTable> Installer<T> {
    pub(super) fn new(table: Option<T>) -> Self {
        Self {
            table,
            pending: BTreeMap::new(),
            installed: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            errors: 0,
        }
    }

    /// Remembers a change to make.
    pub(super) fn want(&mut self, route: RouteKey, target: &Target) {
        if self.table.is_some() {
            self.pending.insert(route, Action::of(target));
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// Changes that the kernel refused.
    pub(super) fn errors(&self) -> u64 {
        self.errors
    }

    pub(super) fn installed(&self, route: &RouteKey) -> Option<Action> {
        self.installed.get(route).copied()
    }

    /// Makes at most `budget` changes.
    ///
    /// # Errors
    /// Only when the table is lost. A refused change is logged and counted: the next one for that route
    /// tries again.
    pub(super) async fn apply(&mut self, budget: usize) -> Result<(), Error> {
        let Some(table) = &mut self.table else {
            return Ok(());
        };
        for _ in 0..budget {
            let Some((route, action)) = self.pending.pop_first() else {
                break;
            };
            // The speaker also tells of changes that only it can see, like a new metric.
            let doubtful = self.doubtful.remove(&route);
            if self.installed.get(&route) == action.as_ref() && !doubtful {
                continue;
            }
            let result = match action {
                Some(action) => table.replace(route, action).await,
                None => table.remove(route).await,
            };
            match (result, action) {
                (Ok(()), Some(action)) => {
                    tracing::debug!(%route, ?action, "kernel route set");
                    self.installed.insert(route, action);
                }
                (Ok(()), None) => {
                    tracing::debug!(%route, "kernel route removed");
                    self.installed.remove(&route);
                }
                (Err(TableError::Lost(reason)), _) => return Err(Error::Netlink(reason)),
                (Err(error), _) => {
                    self.errors += 1;
                    tracing::warn!(%route, ?action, "the kernel refused a route: {error}");
                }
            }
        }
        Ok(())
    }

    /// The interface went down: the kernel has dropped some routes over it (all, or only those of IPv6, or
    /// none when just the carrier is lost), so whatever is wanted next is done even if it seems to be so
    /// already.
    pub(super) fn doubt(&mut self, gone: InterfaceId) {
        let over_it =
            |action: &Action| matches!(action, Action::Forward { interface, .. } if *interface == gone);
        let routes = self
            .installed
            .iter()
            .filter(|(_, action)| over_it(action))
            .map(|(route, _)| *route);
        self.doubtful.extend(routes);
    }

    /// Removes every route of ours.
    pub(super) async fn flush(&mut self) -> Result<usize, TableError> {
        self.pending.clear();
        self.installed.clear();
        self.doubtful.clear();
        match &mut self.table {
            Some(table) => table.flush().await,
            None => Ok(0),
        }
    }
}

/// A host route that nobody has: the documentation prefix's first address.
const NOWHERE: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 128);

/// The right to call routes of one kernel metric ours, in this network namespace. Given back on any end of
/// the process, because it is the name of an abstract Unix socket.
#[derive(Debug)]
pub(super) struct Claim(#[expect(dead_code, reason = "held, not used")] std::os::unix::net::UnixDatagram);

impl Claim {
    pub(super) fn on(metric: u32) -> Result<Self, Error> {
        let name = format!("osier-babel-{metric}");
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name);
        address
            .and_then(|a| std::os::unix::net::UnixDatagram::bind_addr(&a))
            .map(Self)
            .map_err(|source| match source.kind() {
                std::io::ErrorKind::AddrInUse => Error::MetricInUse(metric),
                _ => Error::Netlink(format!("cannot claim kernel metric {metric}: {source}")),
            })
    }
}

/// A table of the kernel. Ours in it: protocol babel (42) with our metric.
#[derive(Debug)]
pub(super) struct KernelTable {
    handle: Handle,
    metric: u32,
    number: u32,
}

impl KernelTable {
    pub(super) fn new(handle: Handle, metric: u32, number: u32) -> Self {
        Self {
            handle,
            metric,
            number,
        }
    }

    fn message(&self, route: RouteKey) -> RouteMessage {
        let mut message = match route.prefix {
            IpNet::V4(p) => RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(p.network(), p.prefix_len())
                .priority(self.metric)
                .table_id(self.number)
                .build(),
            IpNet::V6(p) => RouteMessageBuilder::<Ipv6Addr>::new()
                .destination_prefix(p.network(), p.prefix_len())
                .priority(self.metric)
                .table_id(self.number)
                .build(),
        };
        if let Some(source) = route.source {
            message.header.source_prefix_length = source.prefix_len();
            let address = match source.network() {
                IpAddr::V4(a) => RouteAddress::Inet(a),
                IpAddr::V6(a) => RouteAddress::Inet6(a),
            };
            message.attributes.push(RouteAttribute::Source(address));
        }
        message.header.protocol = RouteProtocol::Babel;
        message
    }

    /// What this kernel can forward by; an unreachable route is set and removed to find out.
    ///
    /// Linux looks IPv6 destinations up first and then the source, as RFC 9079 section 4 wants, when it was
    /// built with IPV6_SUBTREES. For IPv4 it has only rules that look at the source first: with those two routers
    /// could send a packet in a circle, so source-specific IPv4 routes are not used.
    pub(super) async fn forwarding(&mut self) -> Result<Forwarding, TableError> {
        let probe = RouteKey {
            prefix: IpNet::V6(NOWHERE),
            source: Some(IpNet::V6(NOWHERE)),
        };
        let source_v6 = match self.replace(probe, Action::Unreachable).await {
            Ok(()) => {
                self.remove(probe).await?;
                true
            }
            Err(TableError::Refused(Errno::PERM)) => return Err(TableError::Refused(Errno::PERM)),
            Err(TableError::Refused(_)) => false,
            Err(lost) => return Err(lost),
        };
        Ok(Forwarding {
            v4_via_v6: std::fs::read_to_string("/proc/sys/kernel/osrelease")
                .is_ok_and(|release| has_v4_via_v6(&release)),
            source_v4: false,
            source_v6,
        })
    }

    fn is_ours(&self, message: &RouteMessage) -> bool {
        let table = message.attributes.iter().find_map(|a| match a {
            RouteAttribute::Table(table) => Some(*table),
            _ => None,
        });
        message.header.protocol == RouteProtocol::Babel
            && table.unwrap_or(message.header.table.into()) == self.number
            && message
                .attributes
                .contains(&RouteAttribute::Priority(self.metric))
    }

    /// Deletes what `message` describes; nothing there is fine.
    async fn delete(&self, message: RouteMessage) -> Result<(), TableError> {
        match self
            .handle
            .route()
            .del(message)
            .execute()
            .await
            .map_err(table_error)
        {
            Err(TableError::Refused(Errno::SRCH)) => Ok(()),
            other => other,
        }
    }
}

impl RouteTable for KernelTable {
    async fn replace(&mut self, route: RouteKey, action: Action) -> Result<(), TableError> {
        let mut message = self.message(route);
        match action {
            Action::Unreachable => message.header.kind = RouteType::Unreachable,
            Action::Forward { interface, next_hop } => {
                message.header.kind = RouteType::Unicast;
                message.attributes.push(RouteAttribute::Oif(interface.0));
                message.attributes.push(gateway(route.prefix, next_hop));
                if next_hop.is_ipv4() {
                    // The neighbour is on the link even when its address is not of one of our subnets.
                    message.header.flags |= rtnetlink::packet_route::route::RouteFlags::Onlink;
                }
            }
        }
        self.handle
            .route()
            .add(message)
            .replace()
            .execute()
            .await
            .map_err(table_error)
    }

    async fn remove(&mut self, route: RouteKey) -> Result<(), TableError> {
        let mut message = self.message(route);
        // Of whatever type and scope.
        message.header.kind = RouteType::Unspec;
        message.header.scope = RouteScope::NoWhere;
        self.delete(message).await
    }

    async fn flush(&mut self) -> Result<usize, TableError> {
        // Permission shows only when something is changed, so remove what cannot be there (RFC 3849).
        self.remove(IpNet::V6(NOWHERE).into()).await?;
        let mut ours = Vec::new();
        for query in [
            RouteMessageBuilder::<Ipv4Addr>::new().build(),
            RouteMessageBuilder::<Ipv6Addr>::new().build(),
        ] {
            let mut routes = self.handle.route().get(query).execute();
            while let Some(route) = routes.try_next().await.map_err(table_error)? {
                if self.is_ours(&route) {
                    ours.push(route);
                }
            }
        }
        let count = ours.len();
        for route in ours {
            self.delete(route).await?;
        }
        Ok(count)
    }
}

fn gateway(prefix: IpNet, next_hop: IpAddr) -> RouteAttribute {
    match (prefix, next_hop) {
        (_, IpAddr::V4(a)) => RouteAttribute::Gateway(RouteAddress::Inet(a)),
        (IpNet::V6(_), IpAddr::V6(a)) => RouteAttribute::Gateway(RouteAddress::Inet6(a)),
        // An IPv4 route with an IPv6 next hop (RFC 9229) has an attribute of its own.
        (IpNet::V4(_), IpAddr::V6(a)) => {
            RouteAttribute::Via(rtnetlink::packet_route::route::RouteVia::Inet6(a))
        }
    }
}

/// Since Linux 5.2 an IPv4 route can have an IPv6 next hop.
fn has_v4_via_v6(release: &str) -> bool {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (5, 2),
        _ => false,
    }
}

fn table_error(error: rtnetlink::Error) -> TableError {
    match error {
        rtnetlink::Error::NetlinkError(message) => {
            TableError::Refused(Errno::from_raw_os_error(message.raw_code().abs()))
        }
        other => TableError::Lost(other.to_string()),
    }
}

/// Sysctls without which the kernel will not forward what neighbours send through us, and their state.
pub(super) fn forwarding_is_off() -> Vec<&'static str> {
    [
        ("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
        (
            "net.ipv6.conf.all.forwarding",
            "/proc/sys/net/ipv6/conf/all/forwarding",
        ),
    ]
    .into_iter()
    .filter(|(_, path)| std::fs::read_to_string(path).is_ok_and(|value| value.trim() == "0"))
    .map(|(name, _)| name)
    .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use osier_babel::RouterId;

    #[derive(Debug, PartialEq)]
    enum Call {
        Replace(RouteKey, Action),
        Remove(RouteKey),
    }

    #[derive(Debug, Default)]
    struct Recorder {
        calls: Vec<Call>,
        refuse: bool,
    }

    impl RouteTable for Recorder {
        async fn replace(&mut self, route: RouteKey, action: Action) -> Result<(), TableError> {
            self.calls.push(Call::Replace(route, action));
            if self.refuse {
                Err(TableError::Refused(Errno::NETUNREACH))
            } else {
                Ok(())
            }
        }
        async fn remove(&mut self, route: RouteKey) -> Result<(), TableError> {
            self.calls.push(Call::Remove(route));
            Ok(())
        }
        async fn flush(&mut self) -> Result<usize, TableError> {
            Ok(0)
        }
    }

    fn route() -> RouteKey {
        "10.1.0.0/16".parse::<IpNet>().unwrap().into()
    }

    fn via(last: u8, metric: u16) -> Target {
        Target::Via {
            interface: InterfaceId(2),
            next_hop: IpAddr::from([10, 0, 0, last]),
            metric,
            router_id: RouterId([1; 8]),
            seqno: 1,
        }
    }

    fn forward(last: u8) -> Action {
        Action::Forward {
            interface: InterfaceId(2),
            next_hop: IpAddr::from([10, 0, 0, last]),
        }
    }

    #[tokio::test]
    async fn a_route_moves_by_one_replacement_and_never_by_a_removal() {
        let mut installer = Installer::new(Some(Recorder::default()));
        for target in [via(1, 96), via(2, 96), Target::Unreachable, Target::Gone] {
            installer.want(route(), &target);
            installer.apply(10).await.unwrap();
        }
        assert_eq!(
            installer.table.as_ref().unwrap().calls,
            [
                Call::Replace(route(), forward(1)),
                Call::Replace(route(), forward(2)),
                Call::Replace(route(), Action::Unreachable),
                Call::Remove(route()),
            ]
        );
    }

    #[tokio::test]
    async fn changes_the_kernel_cannot_see_are_not_told_to_it() {
        let mut installer = Installer::new(Some(Recorder::default()));
        for metric in [96, 192, 288] {
            installer.want(route(), &via(1, metric));
            installer.apply(10).await.unwrap();
        }
        assert_eq!(installer.table.as_ref().unwrap().calls.len(), 1);
    }

    #[tokio::test]
    async fn only_the_last_of_several_waiting_changes_is_made() {
        let mut installer = Installer::new(Some(Recorder::default()));
        installer.want(route(), &via(1, 96));
        installer.want(route(), &Target::Unreachable);
        installer.want(route(), &via(2, 96));
        installer.apply(10).await.unwrap();
        assert_eq!(
            installer.table.as_ref().unwrap().calls,
            [Call::Replace(route(), forward(2))]
        );
    }

    #[tokio::test]
    async fn routes_to_one_prefix_from_different_sources_are_different_routes() {
        let mut installer = Installer::new(Some(Recorder::default()));
        let from = |source: &str| RouteKey {
            source: Some(source.parse().unwrap()),
            ..route()
        };
        installer.want(route(), &via(1, 96));
        installer.want(from("192.0.2.0/24"), &via(2, 96));
        installer.apply(10).await.unwrap();
        installer.want(route(), &Target::Gone);
        installer.apply(10).await.unwrap();
        assert_eq!(installer.installed(&route()), None);
        assert_eq!(installer.installed(&from("192.0.2.0/24")), Some(forward(2)));
        assert_eq!(installer.installed(&from("198.51.100.0/24")), None);
    }

    #[test]
    fn ipv6_next_hops_for_ipv4_came_with_linux_5_2() {
        for (release, has) in [
            ("4.19.0-26-amd64", false),
            ("5.1.21", false),
            ("5.2.0", true),
            ("5.10-rc1", true),
            ("6.18.44-x", true),
            ("unknown", false),
        ] {
            assert_eq!(has_v4_via_v6(release), has, "{release}");
        }
    }

    #[tokio::test]
    async fn a_burst_is_applied_in_portions() {
        let mut installer = Installer::new(Some(Recorder::default()));
        for third in 0..100u8 {
            let prefix: IpNet = format!("10.1.{third}.0/24").parse().unwrap();
            installer.want(prefix.into(), &via(1, 96));
        }
        installer.apply(64).await.unwrap();
        assert!(!installer.is_idle());
        installer.apply(64).await.unwrap();
        assert!(installer.is_idle());
        assert_eq!(installer.table.as_ref().unwrap().calls.len(), 100);
    }

    #[tokio::test]
    async fn a_refused_route_is_counted_and_not_reported_as_installed() {
        let mut installer = Installer::new(Some(Recorder {
            refuse: true,
            ..Recorder::default()
        }));
        installer.want(route(), &via(1, 96));
        installer.apply(10).await.unwrap();
        assert_eq!((installer.errors(), installer.installed(&route())), (1, None));
    }

    #[tokio::test]
    async fn routes_over_an_interface_that_went_down_are_installed_anew() {
        let mut installer = Installer::new(Some(Recorder::default()));
        installer.want(route(), &via(1, 96));
        installer.apply(10).await.unwrap();
        installer.doubt(InterfaceId(2));
        installer.want(route(), &via(1, 96));
        installer.apply(10).await.unwrap();
        assert_eq!(installer.table.as_ref().unwrap().calls.len(), 2);
    }
}
