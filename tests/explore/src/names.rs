//! What nodes, prefixes and router-ids are called in packets, and which number such a name stands for.

use crate::case::PREFIXES;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use osier_babel::{IpNet, RouteKey, RouterId};

/// Router-ids that one node may bear one after the other.
pub const NAMES: usize = 4;

pub fn address(node: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, node as u16 + 1)
}

pub fn address_index(address: Ipv6Addr) -> Option<usize> {
    usize::from(address.segments()[7]).checked_sub(1)
}

/// Plain prefixes, one from a source only, one that covers others, and the same of IPv4.
pub fn prefix(index: usize) -> RouteKey {
    let v6 = |third, length| {
        let net = Ipv6Addr::new(0xfd00, 0, third, 0, 0, 0, 0, 0);
        IpNet::new_assert(IpAddr::V6(net), length)
    };
    let v4 = |second, length| IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(10, second, 0, 0)), length);
    let (prefix, source) = match index {
        0..=2 => (v6(index as u16 + 1, 48), None),
        3 => (v6(3, 48), Some(v6(9, 48))),
        4 => (v6(5, 48), None),
        5 => (v6(0, 16), None),
        6 => (v4(6, 16), None),
        _ => (v4(0, 8), Some(v4(9, 16))),
    };
    RouteKey { prefix, source }
}

pub fn prefix_index(net: IpNet, source: Option<IpNet>) -> Option<usize> {
    let index = match (net.addr(), source) {
        (IpAddr::V6(_), Some(_)) => 3,
        (IpAddr::V6(_), None) if net.prefix_len() == 16 => 5,
        (IpAddr::V6(a), None) => usize::from(a.segments()[2]).checked_sub(1)?,
        (IpAddr::V4(_), None) => 6,
        (IpAddr::V4(_), Some(_)) => 7,
    };
    let key = RouteKey { prefix: net, source };
    (index < PREFIXES && prefix(index) == key).then_some(index)
}

/// A node's `name`th router-id.
pub fn router_id(node: usize, name: usize) -> RouterId {
    RouterId([0xaa, 0, 0, 0, 0, name as u8, 0, node as u8 + 1])
}

/// Numbers router-ids of all nodes.
pub fn router_index(id: RouterId) -> Option<usize> {
    let [0xaa, 0, 0, 0, 0, name, 0, node] = id.0 else {
        return None;
    };
    Some(usize::from(node).checked_sub(1)? * NAMES + usize::from(name))
}
