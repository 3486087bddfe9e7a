//! The forwarding table: longest-prefix match, cheap to look up and cheap to publish.
//!
//! One hash table per prefix length in use, tried from the longest. A table is a list of small shards behind
//! [`Arc`]s: a look-up hashes the masked address, goes to one shard and compares about eight keys. Cloning a
//! table shares every shard, and a change afterwards copies one shard and the list of pointers, so publishing
//! after each route change does not copy the routes.
//!
//! Every prefix carries the counters of the traffic that comes from it ([`OriginCounters`]); all clones share
//! them, so what packet threads count under an old snapshot is not lost.
//!
//! Who can choose prefixes could choose colliding ones: only prefixes that a certificate permits get here, and
//! a long shard costs time, not correctness.

use crate::{IpNet, RouterId, tunnel::TunnelId};
use core::net::Ipv6Addr;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;

/// Where packets for a prefix go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// Ours: deliver to the TUN device.
    Local,
    Tunnel(TunnelId),
    /// Through the neighbour of this tunnel and perhaps others to `origin`, with whom we hold (or can hold) an
    /// end-to-end session.
    Relayed {
        via: TunnelId,
        origin: RouterId,
    },
    /// Known to be unreachable: answer with an ICMPv6 error, never fall back to a covering prefix.
    Unreachable,
}

impl Hop {
    /// The tunnel that it goes over, whoever may read it.
    pub fn tunnel(self) -> Option<TunnelId> {
        match self {
            Self::Tunnel(id) | Self::Relayed { via: id, .. } => Some(id),
            Self::Local | Self::Unreachable => None,
        }
    }
}

/// Traffic that came from one origin, that is, one prefix of the table: what we carried for it and what was
/// for us. Counts whole IPv6 packets.
#[derive(Debug, Default)]
pub struct OriginCounters {
    packets: AtomicU64,
    octets: AtomicU64,
}

impl OriginCounters {
    /// Counts one packet of so many octets.
    pub fn count(&self, octets: usize) {
        self.packets.fetch_add(1, Relaxed);
        self.octets.fetch_add(octets as u64, Relaxed);
    }

    pub fn packets(&self) -> u64 {
        self.packets.load(Relaxed)
    }

    pub fn octets(&self) -> u64 {
        self.octets.load(Relaxed)
    }
}

/// What [`Fib::lookup_entry`] finds.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    pub hop: Hop,
    pub origin: &'a OriginCounters,
}

/// IPv6 prefixes to hops.
#[derive(Clone, Debug, Default)]
pub struct Fib {
    /// Longest first; at most 129 of them, in practice two or three. Never holds an empty table.
    tables: Vec<Arc<Table>>,
    /// Traffic from sources that no prefix covers.
    unknown: Arc<OriginCounters>,
}

impl Fib {
    /// Adds or replaces. The origin counters of a prefix that is already there are kept. IPv4 prefixes are
    /// ignored: the overlay forwards IPv6 only.
    pub fn insert(&mut self, prefix: IpNet, hop: Hop) {
        let Some((key, length)) = key_of(&prefix) else {
            return;
        };
        let index = match self.tables.binary_search_by(|t| length.cmp(&t.length)) {
            Ok(index) => index,
            Err(index) => {
                self.tables.insert(index, Arc::new(Table::new(length)));
                index
            }
        };
        Arc::make_mut(&mut self.tables[index]).insert(key, hop);
    }

    /// Removes a prefix and returns its counters, so that their owner can keep the totals.
    pub fn remove(&mut self, prefix: &IpNet) -> Option<Arc<OriginCounters>> {
        let (key, length) = key_of(prefix)?;
        let index = self.tables.binary_search_by(|t| length.cmp(&t.length)).ok()?;
        self.tables[index].get(key)?;
        let table = Arc::make_mut(&mut self.tables[index]);
        let removed = table.remove(key);
        if table.count == 0 {
            self.tables.remove(index);
        }
        removed
    }

    /// The hop of the longest prefix that covers the destination.
    pub fn lookup(&self, destination: Ipv6Addr) -> Option<Hop> {
        self.find(destination).map(|e| e.hop)
    }

    /// As [`Fib::lookup`], with the counters of that prefix.
    pub fn lookup_entry(&self, destination: Ipv6Addr) -> Option<Found<'_>> {
        self.find(destination).map(|e| Found {
            hop: e.hop,
            origin: &e.origin,
        })
    }

    /// The counters of the longest prefix that covers the source, or those of unknown sources.
    pub fn origin(&self, source: Ipv6Addr) -> &OriginCounters {
        self.find(source).map_or(&*self.unknown, |e| &*e.origin)
    }

    /// The counters of sources that no prefix covers.
    pub fn unknown_origin(&self) -> &OriginCounters {
        &self.unknown
    }

    /// Exactly this prefix.
    pub fn get(&self, prefix: &IpNet) -> Option<Found<'_>> {
        let (key, length) = key_of(prefix)?;
        let index = self.tables.binary_search_by(|t| length.cmp(&t.length)).ok()?;
        self.tables[index].get(key).map(|e| Found {
            hop: e.hop,
            origin: &e.origin,
        })
    }

    pub fn len(&self) -> usize {
        self.tables.iter().map(|t| t.count).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// In prefix order (address, then length). Sorts on each call: for views, not for packets.
    pub fn iter(&self) -> impl Iterator<Item = (IpNet, Hop)> + '_ {
        self.sorted().into_iter().map(|(prefix, e)| (prefix, e.hop))
    }

    /// The counters of every prefix, in prefix order.
    pub fn origins(&self) -> impl Iterator<Item = (IpNet, &OriginCounters)> + '_ {
        self.sorted().into_iter().map(|(prefix, e)| (prefix, &*e.origin))
    }

    /// Prefixes that are here and not in `old`, or the reverse, or whose hops differ; in no particular but a
    /// fixed order. Shards that the two share are not looked at.
    pub fn changes_since(&self, old: &Self) -> Vec<IpNet> {
        let mut changes = Vec::new();
        let lengths = self.tables.iter().chain(&old.tables).map(|t| t.length);
        for length in lengths.collect::<std::collections::BTreeSet<u8>>() {
            let of = |fib: &'_ Self| fib.tables.iter().find(|t| t.length == length).cloned();
            let empty = || Arc::new(Table::new(length));
            let (new, old) = (of(self).unwrap_or_else(empty), of(old).unwrap_or_else(empty));
            let keys = new.differing(&old).into_iter();
            changes.extend(keys.map(|k| IpNet::new_assert(Ipv6Addr::from_bits(k).into(), length)));
        }
        changes
    }

    fn find(&self, address: Ipv6Addr) -> Option<&Entry> {
        let bits = address.to_bits();
        self.tables.iter().find_map(|t| t.get(bits & t.mask))
    }

    fn sorted(&self) -> Vec<(IpNet, &Entry)> {
        let mut all: Vec<(u128, u8, &Entry)> = Vec::with_capacity(self.len());
        for table in &self.tables {
            all.extend(
                table
                    .shards
                    .iter()
                    .flat_map(|s| s.iter())
                    .map(|e| (e.key, table.length, e)),
            );
        }
        all.sort_unstable_by_key(|&(key, length, _)| (key, length));
        all.into_iter()
            .map(|(key, length, e)| (IpNet::new_assert(Ipv6Addr::from_bits(key).into(), length), e))
            .collect()
    }
}

/// Mean number of entries per shard at which a table doubles its shards.
const SHARD_LOAD: usize = 8;

#[derive(Clone, Debug)]
struct Entry {
    /// Address bits, masked to the table's length.
    key: u128,
    hop: Hop,
    origin: Arc<OriginCounters>,
}

/// All prefixes of one length.
#[derive(Clone, Debug)]
struct Table {
    length: u8,
    mask: u128,
    count: usize,
    /// A power of two of them.
    shards: Vec<Arc<Vec<Entry>>>,
}

impl Table {
    fn new(length: u8) -> Self {
        let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
        Self {
            length,
            mask,
            count: 0,
            shards: vec![Arc::default()],
        }
    }

    /// Multiply and fold, with a fixed key: the same on every run.
    fn shard(&self, key: u128) -> usize {
        let (high, low) = ((key >> 64) as u64, key as u64);
        let product = u128::from(high ^ 0x9e37_79b9_7f4a_7c15) * u128::from(low ^ 0xd6e8_feb8_6659_fd93);
        let folded = (product >> 64) as u64 ^ product as u64;
        let mixed = folded.wrapping_mul(0x9fb2_1c65_1e98_df25);
        // The best mixed bits of a product are its highest.
        (mixed >> 32) as usize & (self.shards.len() - 1)
    }

    fn get(&self, key: u128) -> Option<&Entry> {
        self.shards[self.shard(key)].iter().find(|e| e.key == key)
    }

    fn insert(&mut self, key: u128, hop: Hop) {
        let index = self.shard(key);
        if let Some(position) = self.shards[index].iter().position(|e| e.key == key) {
            Arc::make_mut(&mut self.shards[index])[position].hop = hop;
            return;
        }
        Arc::make_mut(&mut self.shards[index]).push(Entry {
            key,
            hop,
            origin: Arc::default(),
        });
        self.count += 1;
        if self.count > self.shards.len() * SHARD_LOAD {
            self.grow();
        }
    }

    fn remove(&mut self, key: u128) -> Option<Arc<OriginCounters>> {
        let index = self.shard(key);
        let position = self.shards[index].iter().position(|e| e.key == key)?;
        self.count -= 1;
        Some(
            Arc::make_mut(&mut self.shards[index])
                .swap_remove(position)
                .origin,
        )
    }

    /// Keys whose entries differ between the two tables of one length.
    fn differing(&self, old: &Self) -> Vec<u128> {
        let same_size = self.shards.len() == old.shards.len();
        let shared = |index: usize| same_size && Arc::ptr_eq(&self.shards[index], &old.shards[index]);
        let unshared = |table: &Self| {
            let shards = table.shards.iter().enumerate().filter(|(i, _)| !shared(*i));
            shards
                .flat_map(|(_, s)| s.iter().map(|e| (e.key, e.hop)))
                .collect::<Vec<_>>()
        };
        let new = unshared(self).into_iter();
        let changed = new.filter(|(key, hop)| old.get(*key).is_none_or(|e| e.hop != *hop));
        let gone = unshared(old)
            .into_iter()
            .filter(|(key, _)| self.get(*key).is_none());
        changed.chain(gone).map(|(key, _)| key).collect()
    }

    fn grow(&mut self) {
        let old = core::mem::take(&mut self.shards);
        let mut new: Vec<Vec<Entry>> = vec![Vec::new(); old.len() * 2];
        self.shards = vec![Arc::default(); new.len()];
        for entry in old.iter().flat_map(|s| s.iter()) {
            new[self.shard(entry.key)].push(entry.clone());
        }
        self.shards = new.into_iter().map(Arc::new).collect();
    }
}

fn key_of(prefix: &IpNet) -> Option<(u128, u8)> {
    match prefix {
        IpNet::V6(net) => Some((net.network().to_bits(), net.prefix_len())),
        IpNet::V4(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn net(s: &str) -> IpNet {
        s.parse().unwrap()
    }

    fn address(s: &str) -> Ipv6Addr {
        s.parse().unwrap()
    }

    const A: Hop = Hop::Tunnel(TunnelId(1));
    const B: Hop = Hop::Tunnel(TunnelId(2));

    #[test]
    fn the_longest_prefix_wins() {
        let mut fib = Fib::default();
        fib.insert(net("::/0"), A);
        fib.insert(net("fd00::/48"), Hop::Unreachable);
        fib.insert(net("fd00:0:0:1::/64"), B);
        fib.insert(net("fd00:0:0:1::1/128"), Hop::Local);
        assert_eq!(fib.lookup(address("fd00:0:0:1::1")), Some(Hop::Local));
        assert_eq!(fib.lookup(address("fd00:0:0:1::2")), Some(B));
        assert_eq!(fib.lookup(address("fd00:0:0:2::2")), Some(Hop::Unreachable));
        assert_eq!(fib.lookup(address("2001:db8::")), Some(A));
        fib.remove(&net("::/0"));
        assert_eq!(fib.lookup(address("2001:db8::")), None);
        assert_eq!(fib.len(), 3);
    }

    #[test]
    fn a_published_clone_does_not_change() {
        let mut fib = Fib::default();
        fib.insert(net("fd00::/64"), A);
        let published = fib.clone();
        fib.insert(net("fd00::/64"), B);
        fib.insert(net("fd00:0:0:1::/64"), B);
        assert_eq!(published.lookup(address("fd00::1")), Some(A));
        assert_eq!(published.len(), 1);
        assert_eq!(fib.lookup(address("fd00::1")), Some(B));
    }

    #[test]
    fn clones_share_the_counters_of_an_origin() {
        let mut fib = Fib::default();
        fib.insert(net("fd00::/64"), A);
        let published = fib.clone();
        fib.insert(net("fd00::/64"), B);
        published.origin(address("fd00::1")).count(100);
        published.origin(address("fd01::1")).count(7);
        assert_eq!(fib.get(&net("fd00::/64")).unwrap().origin.octets(), 100);
        assert_eq!(fib.unknown_origin().octets(), 7);
        assert_eq!(fib.remove(&net("fd00::/64")).unwrap().packets(), 1);
        assert!(fib.is_empty());
    }

    /// Against a plain list, with prefixes of several lengths that come and go.
    #[test]
    fn agrees_with_a_linear_search() {
        let mut state = 7u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let (mut fib, mut model) = (Fib::default(), BTreeMap::new());
        for _ in 0..20_000 {
            let length = [128, 64, 56, 48, 0][(next() % 5) as usize];
            let bits = 0xfd00u128 << 112 | u128::from(next() % 64) << 64 | u128::from(next() % 4);
            let prefix = IpNet::new(Ipv6Addr::from_bits(bits).into(), length)
                .unwrap()
                .trunc();
            if next() % 3 == 0 {
                assert_eq!(fib.remove(&prefix).is_some(), model.remove(&prefix).is_some());
            } else {
                let hop = Hop::Tunnel(TunnelId((next() % 9) as u32));
                fib.insert(prefix, hop);
                model.insert(prefix, hop);
            }
            let target = Ipv6Addr::from_bits(bits ^ u128::from(next() % 2));
            let expected = model
                .iter()
                .filter(|(p, _)| p.contains(&core::net::IpAddr::from(target)))
                .max_by_key(|(p, _)| p.prefix_len())
                .map(|(_, hop)| *hop);
            assert_eq!(fib.lookup(target), expected);
        }
        assert_eq!(fib.len(), model.len());
        assert!(
            fib.iter().eq(model.iter().map(|(p, h)| (*p, *h))),
            "iteration is in prefix order"
        );
    }

    #[test]
    fn differences_between_two_tables_are_found() {
        let mut fib = Fib::default();
        let prefix =
            |i: u128| IpNet::new(Ipv6Addr::from_bits(0xfd00u128 << 112 | i << 64).into(), 64).unwrap();
        (0..100).for_each(|i| fib.insert(prefix(i), A));
        let old = fib.clone();
        assert_eq!(fib.changes_since(&old), []);
        fib.insert(prefix(3), B);
        fib.insert(prefix(4), A);
        fib.insert(net("fd00::/48"), B);
        fib.remove(&prefix(50));
        let sorted = |mut changes: Vec<IpNet>| {
            changes.sort();
            changes
        };
        let expected = sorted(vec![net("fd00::/48"), prefix(3), prefix(50)]);
        assert_eq!(sorted(fib.changes_since(&old)), expected);
        assert_eq!(sorted(old.changes_since(&fib)), expected);
        (100..300).for_each(|i| fib.insert(prefix(i), A));
        assert_eq!(fib.changes_since(&old).len(), 203);
        assert_eq!(fib.changes_since(&Fib::default()).len(), fib.len());
    }

    #[test]
    fn many_prefixes_spread_over_the_shards() {
        let mut fib = Fib::default();
        for i in 0..10_000u128 {
            let bits = 0xfd00u128 << 112 | i << 64;
            fib.insert(IpNet::new(Ipv6Addr::from_bits(bits).into(), 64).unwrap(), A);
        }
        let longest = fib.tables[0].shards.iter().map(|s| s.len()).max().unwrap();
        assert!(longest <= 4 * SHARD_LOAD, "a shard holds {longest} prefixes");
    }
}
