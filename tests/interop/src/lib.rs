//! Routers for tests: `osier babel`, babeld, BIRD and FRR in namespaces, joined by wires; and crafted neighbours.
//!
//! A [`Router`] is a namespace that forwards, with a number N that gives it everything else: the addresses
//! 10.N.0.1 and fd00:0:0:N::1 on its loopback interface, which its daemon announces (osier and BIRD as
//! 10.N.0.0/24 and fd00:0:0:N::/64, babeld as host routes, as it always does with local addresses). [`wire`]
//! joins two routers; the interface is called after the other end. Then a daemon is started in each.
//! [`network::Network`] makes whole topologies of them; [`blackbox`] asks single daemons with crafted packets.

mod babeld;
mod bird;
pub mod blackbox;
mod daemon;
mod frr;
pub mod network;
mod osier;

pub use babeld::Babeld;
pub use bird::Bird;
pub use daemon::{Daemon, Key, Kind, Settings};
pub use frr::Frr;
pub use osier::{Neighbour, Osier, Report, Route, binary};

use osier_lab::{Lab, Netns, Result, Wire};
use std::time::Duration;

/// Hello interval of every daemon, so that a loss shows soon.
pub const HELLO: Duration = Duration::from_millis(400);
/// Update interval of every daemon.
pub const UPDATE: Duration = Duration::from_millis(1600);
/// For anything that should happen by itself: many update intervals, because the machine may be busy.
pub const SOON: Duration = Duration::from_secs(30);

/// A namespace that forwards; see the crate documentation.
#[derive(Debug)]
pub struct Router {
    pub netns: Netns,
    pub number: u8,
}

impl Router {
    pub fn new(lab: &Lab, name: &str, number: u8) -> Result<Self> {
        let netns = lab.netns(name)?;
        netns.forwarding()?;
        let router = Self { netns, number };
        router.netns.address("lo", &format!("{}/24", router.v4()))?;
        router.netns.address("lo", &format!("{}/64", router.v6()))?;
        Ok(router)
    }

    pub fn name(&self) -> &str {
        self.netns.name()
    }

    /// Its IPv4 address.
    pub fn v4(&self) -> String {
        format!("10.{}.0.1", self.number)
    }

    /// Its IPv6 address.
    pub fn v6(&self) -> String {
        format!("fd00:0:0:{}::1", self.number)
    }

    /// Its prefixes, IPv4 first.
    pub fn prefixes(&self) -> [String; 2] {
        [
            format!("10.{}.0.0/24", self.number),
            format!("fd00:0:0:{}::/64", self.number),
        ]
    }

    /// Whether pings from our own addresses are answered, in both families.
    pub fn reaches(&self, other: &Router) -> bool {
        let ping = |from: String, to: String| {
            self.netns
                .run(&format!("ping -n -q -c 1 -W 1 -I {from} {to}"))
                .is_ok()
        };
        ping(self.v4(), other.v4()) && ping(self.v6(), other.v6())
    }

    /// Where the kernel sends packets for `other`, as `ip route get` prints it.
    pub fn way_to(&self, other: &Router) -> String {
        let get = |to| self.netns.run(&format!("ip route get {to}")).unwrap_or_default();
        get(other.v4()) + &get(other.v6())
    }

    /// Whether both families go to `other` over the interface to `next`.
    pub fn goes_over(&self, other: &Router, next: &Router) -> bool {
        self.way_to(other)
            .matches(&format!("dev {} ", interface_to(next)))
            .count()
            == 2
    }

    /// The main table, both families, as `ip route show` prints it.
    pub fn kernel_routes(&self) -> String {
        let show = |family| {
            self.netns
                .run(&format!("ip {family} route show"))
                .unwrap_or_default()
        };
        show("-4") + &show("-6")
    }

    /// Whether the kernel has routes to something of `other` in both families, and forwards by them.
    pub fn forwards_to(&self, other: &Router) -> bool {
        self.has_both(|line, destination| line.starts_with(destination), other)
    }

    /// Whether the kernel has `unreachable` routes to something of `other` in both families.
    pub fn holds_unreachable(&self, other: &Router) -> bool {
        self.has_both(
            |line, destination| line.starts_with(&format!("unreachable {destination}")),
            other,
        )
    }

    fn has_both(&self, matches: impl Fn(&str, &str) -> bool, other: &Router) -> bool {
        let table = self.kernel_routes();
        let destinations = [
            format!("10.{}.0.", other.number),
            format!("fd00:0:0:{}::", other.number),
        ];
        destinations
            .iter()
            .all(|destination| table.lines().any(|line| matches(line, destination)))
    }
}

/// Name of every interface that leads to `router`.
fn interface_to(router: &Router) -> String {
    format!("to-{}", router.name())
}

/// Runs a test in a lab of its own; its failure shows what the daemons wrote.
pub fn in_lab(name: &str, test: impl FnOnce(&Lab) -> Result<()>) -> Result<()> {
    Lab::run(name, test)
}

/// Joins two routers by a wire that can be cut silently.
pub fn wire(lab: &Lab, a: &Router, b: &Router) -> Result<Wire> {
    let wire = lab.wire((&a.netns, &interface_to(b)), (&b.netns, &interface_to(a)))?;
    address_wire(a, b)?;
    Ok(wire)
}

/// Joins two routers by a wire whose ends lose their carrier together; cheaper to make.
pub fn cable(lab: &Lab, a: &Router, b: &Router) -> Result<()> {
    lab.veth((&a.netns, &interface_to(b)), (&b.netns, &interface_to(a)))?;
    address_wire(a, b)
}

fn address_wire(a: &Router, b: &Router) -> Result<()> {
    a.netns
        .address(&interface_to(b), &format!("{}/24", wire_address(a, b)))?;
    b.netns
        .address(&interface_to(a), &format!("{}/24", wire_address(b, a)))
}

/// The IPv4 address of `end` on its wire to `other`. The subnet is that of the smaller number first, so that no
/// two wires share one.
fn wire_address(end: &Router, other: &Router) -> String {
    let (low, high) = (end.number.min(other.number), end.number.max(other.number));
    format!("172.{}.{high}.{}", 16 + low, end.number)
}

/// A duration as seconds with decimals.
fn seconds(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64())
}
