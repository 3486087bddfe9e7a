//! A network and what its root, its issuer and its members signed.

use osier_proto::{
    certificate::{self, Certificate, Flags},
    identity::{NodeId, SecretKeys, SigningSecret},
    network::{Delegation, Network},
    record::{self, Bundle, Endpoint, EndpointKind, Record},
    revocation::RevocationList,
    wallclock::UnixTime,
};

pub(crate) const START: u64 = 1_800_000_000;
pub(crate) const WEEK: u64 = 7 * 86_400;
pub(crate) const NOW: UnixTime = UnixTime(START + 3 * 86_400);

pub(crate) fn root() -> SigningSecret {
    SigningSecret::from_bytes(&[1; 32])
}

pub(crate) fn issuer() -> SigningSecret {
    SigningSecret::from_bytes(&[2; 32])
}

pub(crate) fn keys(seed: u8) -> SecretKeys {
    SecretKeys::from_entropy([seed; 64])
}

pub(crate) fn network() -> Network {
    Network {
        root: root().node_id(),
        name: "basket".into(),
        prefix: "fd12:3456:789a::/48".parse().unwrap(),
        grace: 30 * 86_400,
    }
}

pub(crate) fn delegation() -> Delegation {
    Delegation::sign(
        issuer().node_id(),
        UnixTime(START),
        UnixTime(START + 52 * WEEK),
        &root(),
    )
}

pub(crate) fn fields(keys: &SecretKeys) -> certificate::Fields {
    certificate::Fields {
        node: keys.node_id(),
        tunnel_key: keys.tunnel_key(),
        prefixes: vec!["fd12:3456:789a:17::/64".parse().unwrap()],
        group: None,
        name: "willow-1".into(),
        flags: Flags {
            relay: true,
            gateway: false,
            subnets: false,
        },
        serial: 5,
        not_before: UnixTime(START),
        not_after: UnixTime(START + WEEK),
    }
}

pub(crate) fn certificate_of(keys: &SecretKeys) -> Certificate {
    Certificate::issue(fields(keys), &issuer(), Some(delegation()), &network().id()).unwrap()
}

pub(crate) fn record_of(keys: &SecretKeys) -> Record {
    let fields = record::Fields {
        node: keys.node_id(),
        sequence: START,
        endpoints: vec![
            Endpoint {
                address: "192.0.2.7:6690".parse().unwrap(),
                kind: EndpointKind::Mapped,
            },
            Endpoint {
                address: "[2001:db8::7]:6690".parse().unwrap(),
                kind: EndpointKind::Local,
            },
        ],
        leaf: false,
        relay: true,
        load: 3,
    };
    Record::sign(fields, keys, &network().id())
}

pub(crate) fn bundle_of(seed: u8) -> Bundle {
    Bundle {
        certificate: certificate_of(&keys(seed)),
        record: record_of(&keys(seed)),
    }
}

pub(crate) fn revocations(number: u64, revoked: Vec<(NodeId, u64)>) -> RevocationList {
    RevocationList::sign(number, revoked, &issuer(), Some(delegation()), &network().id()).unwrap()
}

pub(crate) fn flips(encoded: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    (0..encoded.len() * 8).map(|bit| {
        let mut forged = encoded.to_vec();
        forged[bit / 8] ^= 1 << (bit % 8);
        forged
    })
}
