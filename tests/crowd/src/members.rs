//! A network of our own and its members, made without a registry.

use anyhow::{Context, Result};
use osier_proto::{
    IpNet,
    certificate::{self, Certificate, Flags},
    identity::{SecretKeys, SigningSecret},
    network::{Network, SignedNetwork},
    record::{self, Bundle, Record},
    wallclock::UnixTime,
};
use std::{net::Ipv6Addr, sync::Arc};

const DAY: u64 = 86_400;

#[derive(Debug)]
pub struct Members {
    root: SigningSecret,
    pub network: Network,
    now: UnixTime,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Member {
    pub keys: Arc<SecretKeys>,
    pub certificate: Certificate,
    /// Where nobody can dial it: it says no address.
    pub bundle: Bundle,
}

impl Member {
    pub fn address(&self) -> Ipv6Addr {
        self.certificate.address()
    }
}

impl Members {
    /// `now`: civil time, around which certificates hold.
    pub fn new(now: UnixTime) -> Result<Self> {
        let root = SigningSecret::from_bytes(&[200; 32]);
        let network = Network {
            root: root.node_id(),
            name: "crowd".into(),
            prefix: "fd00:1:2::/48".parse()?,
            grace: 0,
        };
        Ok(Self { root, network, now })
    }

    pub fn signed(&self) -> Result<SignedNetwork> {
        SignedNetwork::sign(self.network.clone(), &self.root).context("the network's name is refused")
    }

    /// Always the same keys for the same number. Only a relay may carry what is not its own.
    pub fn member(&self, number: u16, relay: bool) -> Result<Member> {
        let mut entropy = [0; 64];
        let mut hasher = blake3::Hasher::new_derive_key("osier crowd member");
        hasher.update(&number.to_be_bytes());
        hasher.finalize_xof().fill(&mut entropy);
        let keys = SecretKeys::from_entropy(entropy);
        let prefix: IpNet = format!("fd00:1:2:{number:x}::/64").parse()?;
        let fields = certificate::Fields {
            node: keys.node_id(),
            tunnel_key: keys.tunnel_key(),
            prefixes: vec![prefix],
            group: None,
            name: format!("member-{number}"),
            flags: Flags {
                relay,
                ..Flags::default()
            },
            serial: u64::from(number) + 1,
            not_before: UnixTime(self.now.0.saturating_sub(DAY)),
            not_after: UnixTime(self.now.0 + 30 * DAY),
        };
        let id = self.network.id();
        let certificate = Certificate::issue(fields, &self.root, None, &id).context("no certificate")?;
        let fields = record::Fields {
            node: keys.node_id(),
            sequence: self.now.0,
            endpoints: Vec::new(),
            leaf: !relay,
            relay,
            load: 0,
        };
        let record = Record::sign(fields, &keys, &id);
        Ok(Member {
            keys: Arc::new(keys),
            bundle: Bundle {
                certificate: certificate.clone(),
                record,
            },
            certificate,
        })
    }
}
