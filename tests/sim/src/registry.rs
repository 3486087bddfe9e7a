//! A registry without HTTP and disks: issues certificates, keeps the directory and the revocation list.

use crate::random::Random;
use osier_proto::{
    IpNet,
    certificate::{Certificate, Fields, Flags},
    identity::{NodeId, SecretKeys, SigningSecret},
    network::Network,
    record::Bundle,
    revocation::RevocationList,
    wallclock::UnixTime,
};
use std::collections::BTreeMap;

/// Validity of a certificate in seconds.
const LIFETIME: u64 = 14 * 86_400;
/// Members in one answer to a directory request.
const SAMPLE: usize = 64;

#[derive(Debug)]
pub struct Registry {
    root: SigningSecret,
    network: Network,
    /// Whether nodes can reach it.
    pub reachable: bool,
    serial: u64,
    directory: BTreeMap<NodeId, Bundle>,
    revoked: Vec<(NodeId, u64)>,
    list: Option<RevocationList>,
}

impl Registry {
    pub(crate) fn new(root: [u8; 32]) -> Self {
        let root = SigningSecret::from_bytes(&root);
        let network = Network {
            root: root.node_id(),
            name: "simulation".into(),
            prefix: "fd5e:ed00:1::/48".parse().expect("a constant"),
            grace: 30 * 86_400,
        };
        Self {
            root,
            network,
            reachable: true,
            serial: 0,
            directory: BTreeMap::new(),
            revoked: Vec::new(),
            list: None,
        }
    }

    pub fn network(&self) -> &Network {
        &self.network
    }

    pub fn list(&self) -> Option<&RevocationList> {
        self.list.as_ref()
    }

    /// The /64 number `index + 1` of the network and some `more`, for these keys.
    pub(crate) fn certify(&mut self, keys: &SecretKeys, index: u32, more: u32, now: UnixTime) -> Certificate {
        self.serial += 1;
        let IpNet::V6(network) = self.network.prefix else {
            unreachable!("the constant above")
        };
        let prefix = |number: u32| {
            let bits = network.addr().to_bits() | u128::from(number) << 64;
            IpNet::new_assert(core::net::Ipv6Addr::from_bits(bits).into(), 64)
        };
        let others = (0..more).map(|k| prefix(0x4000 + 8 * index + k));
        let fields = Fields {
            node: keys.node_id(),
            tunnel_key: keys.tunnel_key(),
            prefixes: core::iter::once(prefix(index + 1)).chain(others).collect(),
            group: None,
            name: format!("n{index}"),
            flags: Flags {
                relay: true,
                ..Flags::default()
            },
            serial: self.serial,
            not_before: now,
            not_after: UnixTime(now.0 + LIFETIME),
        };
        Certificate::issue(fields, &self.root, None, &self.network.id()).expect("fields that are in order")
    }

    pub(crate) fn publish(&mut self, bundle: Bundle) {
        let node = bundle.certificate.node;
        let known = self.directory.get(&node);
        if known.is_none_or(|b| b.record.sequence < bundle.record.sequence) {
            self.directory.insert(node, bundle);
        }
    }

    pub(crate) fn sample(&self, random: &mut Random) -> Vec<Bundle> {
        let all: Vec<&Bundle> = self.directory.values().collect();
        random.sample(&all, SAMPLE).into_iter().cloned().collect()
    }

    /// Voids a node's certificates for good.
    pub(crate) fn revoke(&mut self, node: NodeId) -> RevocationList {
        self.directory.remove(&node);
        self.revoked.push((node, u64::MAX));
        let number = self.list.as_ref().map_or(1, |l| l.number + 1);
        let list = RevocationList::sign(number, self.revoked.clone(), &self.root, None, &self.network.id())
            .expect("far below the limit");
        self.list = Some(list.clone());
        list
    }
}
