//! The members we know: their certificates and newest records, all verified before they come here.

use crate::{
    Instant, RouterId,
    identity::{NodeId, TunnelKey},
    link,
    record::Bundle,
};
use std::collections::BTreeMap;

/// Members kept at most.
pub const CAPACITY: usize = 65_536;
/// Records of one member that are passed on to others within [`BURST_WINDOW`]; more wait for the next
/// comparison of digests, so that nobody can make the whole network talk.
const BURST: u8 = 5;
const BURST_WINDOW: crate::Duration = crate::Duration::from_secs(10);

#[derive(Clone, Debug)]
pub struct Member {
    pub bundle: Bundle,
    /// Not dialled before: it told us to go elsewhere, stopped, or refused us.
    pub avoid_until: Instant,
    window_start: Instant,
    window_count: u8,
}

/// What became of a bundle that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learnt {
    New,
    /// A newer record or certificate; `forward`: to be passed on at once.
    Newer {
        forward: bool,
    },
    Known,
    Full,
}

#[derive(Debug, Default)]
pub struct Directory {
    members: BTreeMap<NodeId, Member>,
    by_router_id: BTreeMap<RouterId, NodeId>,
    by_tunnel_key: BTreeMap<TunnelKey, NodeId>,
    /// Of [`Directory::digest`], until something changes.
    digest: Option<[u8; 32]>,
    changed: Instant,
}

impl Directory {
    /// When a bundle last came.
    pub fn changed(&self) -> Instant {
        self.changed
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub fn get(&self, node: &NodeId) -> Option<&Member> {
        self.members.get(node)
    }

    pub fn get_mut(&mut self, node: &NodeId) -> Option<&mut Member> {
        self.members.get_mut(node)
    }

    pub fn by_router_id(&self, router_id: &RouterId) -> Option<&Member> {
        self.members.get(self.by_router_id.get(router_id)?)
    }

    pub fn by_tunnel_key(&self, key: &TunnelKey) -> Option<&Member> {
        self.members.get(self.by_tunnel_key.get(key)?)
    }

    /// In order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &Member> + '_ {
        self.members.values()
    }

    /// Whether the bundle says more than we know, before it is verified.
    pub fn is_news(&self, bundle: &Bundle) -> bool {
        self.members.get(&bundle.record.node).is_none_or(|known| {
            let (known, new) = (&known.bundle, bundle);
            new.record.sequence >= known.record.sequence
                && new.certificate.serial >= known.certificate.serial
                && (new.record.sequence, new.certificate.serial)
                    != (known.record.sequence, known.certificate.serial)
        })
    }

    /// Takes a verified bundle.
    pub fn insert(&mut self, bundle: Bundle, now: Instant) -> Learnt {
        if !self.is_news(&bundle) {
            return Learnt::Known;
        }
        let node = bundle.record.node;
        let router_id = node.router_id();
        // Two keys with the same first 64 bits of their hash: the first one stays.
        if self
            .by_router_id
            .get(&router_id)
            .is_some_and(|other| *other != node)
        {
            return Learnt::Full;
        }
        let Some(known) = self.members.get_mut(&node) else {
            if self.members.len() >= CAPACITY {
                return Learnt::Full;
            }
            (self.digest, self.changed) = (None, now);
            self.by_router_id.insert(router_id, node);
            self.by_tunnel_key.insert(bundle.certificate.tunnel_key, node);
            let member = Member {
                bundle,
                avoid_until: Instant::ZERO,
                window_start: now,
                window_count: 1,
            };
            self.members.insert(node, member);
            return Learnt::New;
        };
        (self.digest, self.changed) = (None, now);
        self.by_tunnel_key.remove(&known.bundle.certificate.tunnel_key);
        self.by_tunnel_key.insert(bundle.certificate.tunnel_key, node);
        known.bundle = bundle;
        if now.saturating_since(known.window_start) >= BURST_WINDOW {
            known.window_start = now;
            known.window_count = 0;
        }
        known.window_count = known.window_count.saturating_add(1);
        Learnt::Newer {
            forward: known.window_count <= BURST,
        }
    }

    pub fn remove(&mut self, node: &NodeId) -> Option<Member> {
        let member = self.members.remove(node)?;
        self.by_router_id.remove(&node.router_id());
        self.by_tunnel_key.remove(&member.bundle.certificate.tunnel_key);
        self.digest = None;
        Some(member)
    }

    /// (router-id, record sequence) in order of router-id.
    pub fn entries(&self) -> Vec<(RouterId, u64)> {
        let sequence = |node| self.members.get(node).map(|m| m.bundle.record.sequence);
        self.by_router_id
            .iter()
            .filter_map(|(router_id, node)| Some((*router_id, sequence(node)?)))
            .collect()
    }

    /// The same on two nodes that know the same records.
    pub fn digest(&mut self) -> [u8; 32] {
        if let Some(digest) = self.digest {
            return digest;
        }
        let digest = link::directory_hash(self.entries());
        self.digest = Some(digest);
        digest
    }
}
