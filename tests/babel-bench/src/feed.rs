//! The packets of neighbours that all announce the same prefixes.

use osier_babel::wire::{Builder, Centis, Update};
use osier_babel::{Duration, IpNet, MULTICAST, RouterId};
use std::net::{IpAddr, Ipv6Addr};

/// Prefixes of one origin.
const PREFIXES_PER_ORIGIN: usize = 100;
/// UDP payload of a full packet over Ethernet.
const PACKET: usize = 1400;
/// Far longer than any measurement, so that nothing expires in it.
pub const UPDATE_INTERVAL: Duration = Duration::from_secs(600);
pub const HELLO_INTERVAL: Duration = Duration::from_secs(60);
/// Hop count, port and group are the protocol's; see [`osier_babel::PORT`].
pub const GROUP: Ipv6Addr = MULTICAST;

/// How large a feed is.
#[derive(Clone, Copy, Debug)]
pub struct Feed {
    pub prefixes: usize,
    pub neighbours: usize,
}

/// What a dump of the whole table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// What every neighbour says at first, and again in each refresh.
    First,
    /// All origins have a newer seqno, and every neighbour another metric.
    Second,
}

impl Feed {
    /// Routes that the receiver holds in the end.
    pub fn routes(&self) -> usize {
        self.prefixes * self.neighbours
    }

    /// Link-local address of a neighbour, counted from 0.
    pub fn address(neighbour: usize) -> Ipv6Addr {
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, neighbour as u16 + 1)
    }

    /// A /64 out of fd00::/16.
    pub fn prefix(index: usize) -> IpNet {
        let (high, low) = ((index >> 16) as u16, index as u16);
        let address = Ipv6Addr::new(0xfd00, 0x0b, high, low, 0, 0, 0, 0);
        // A length of 64 is within the limits of IPv6.
        IpNet::new_assert(address.into(), 64)
    }

    /// A Hello and an IHU to `to`, which promise so much that one of them lasts for minutes.
    pub fn hello(neighbour: usize, seqno: u16, to: Ipv6Addr) -> Vec<u8> {
        let mut builder = Builder::new(PACKET, Self::address(neighbour));
        builder.hello(false, seqno, Centis::promising(HELLO_INTERVAL));
        builder.ihu(Some(IpAddr::V6(to)), 96, Centis::promising(HELLO_INTERVAL * 3));
        builder.finish()
    }

    /// The whole table as one neighbour tells it, compressed as daemons do.
    pub fn dump(&self, neighbour: usize, version: Version) -> Vec<Vec<u8>> {
        let source = Self::address(neighbour);
        let mut packets = Vec::new();
        let mut builder = Builder::new(PACKET, source);
        for index in 0..self.prefixes {
            let update = self.update(index, neighbour, version);
            if !builder.update(&update) {
                let full = std::mem::replace(&mut builder, Builder::new(PACKET, source));
                packets.push(full.finish());
                builder.update(&update);
            }
        }
        packets.push(builder.finish());
        packets
    }

    fn update(&self, index: usize, neighbour: usize, version: Version) -> Update {
        let turn = match version {
            Version::First => 0,
            Version::Second => 3,
        };
        // Which neighbour is best differs from prefix to prefix.
        let rank = (index * 7 + neighbour + turn) % self.neighbours.max(1);
        let origin = (index / PREFIXES_PER_ORIGIN) as u32 + 1;
        let [a, b, c, d] = origin.to_be_bytes();
        Update {
            prefix: Some(Self::prefix(index)),
            source: None,
            interval: Centis::promising(UPDATE_INTERVAL),
            seqno: if version == Version::First { 100 } else { 101 },
            metric: 200 + 40 * rank as u16,
            router_id: Some(RouterId([0xaa, 0, 0, 0, a, b, c, d])),
            next_hop: None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use osier_babel::wire::{Tlv, parse};

    #[test]
    fn a_dump_names_every_prefix_once() {
        let feed = Feed {
            prefixes: 1000,
            neighbours: 3,
        };
        let packets = feed.dump(2, Version::Second);
        let prefixes: Vec<IpNet> = packets
            .iter()
            .flat_map(|packet| parse(packet, Feed::address(2)).unwrap())
            .filter_map(|tlv| match tlv.unwrap() {
                Tlv::Update(update) => update.prefix,
                _ => None,
            })
            .collect();
        assert!(prefixes.iter().copied().eq((0..1000).map(Feed::prefix)));
        assert!(packets.len() < 1000 / 50, "{} packets", packets.len());
    }
}
