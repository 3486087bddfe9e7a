//! A small network whose keys everybody knows.

use osier_proto::{
    certificate::{self, Certificate, Flags},
    identity::{NodeId, SecretKeys, SigningSecret, TunnelKey},
    network::{Delegation, Network},
    record::{self, Bundle, Endpoint, EndpointKind, Record},
    revocation::RevocationList,
    wallclock::UnixTime,
};
use std::sync::OnceLock;

/// In the life of every certificate here.
pub const NOW: UnixTime = UnixTime(1_800_000_000);

pub fn root() -> SigningSecret {
    SigningSecret::from_bytes(&[1; 32])
}

pub fn issuer() -> SigningSecret {
    SigningSecret::from_bytes(&[2; 32])
}

pub fn keys(node: u8) -> SecretKeys {
    SecretKeys::from_entropy([node.wrapping_add(64); 64])
}

/// Public keys of the nodes: computed once, because some targets are built anew for each input.
pub fn public(node: u8) -> (NodeId, TunnelKey) {
    static PUBLIC: OnceLock<Vec<(NodeId, TunnelKey)>> = OnceLock::new();
    let all = PUBLIC.get_or_init(|| {
        (0..16)
            .map(|i| (keys(i).node_id(), keys(i).tunnel_key()))
            .collect()
    });
    all[usize::from(node % 16)]
}

pub fn network() -> Network {
    let prefix = core::net::Ipv6Addr::new(0xfd00, 0x51e4, 0, 0, 0, 0, 0, 0);
    Network {
        root: root().node_id(),
        name: "basket".into(),
        prefix: osier_proto::IpNet::new_assert(prefix.into(), 48),
        grace: 86_400,
    }
}

pub fn delegation() -> Delegation {
    Delegation::sign(
        issuer().node_id(),
        NOW.saturating_sub(1000),
        NOW.saturating_add(1000),
        &root(),
    )
}

pub fn address(node: u8) -> core::net::Ipv6Addr {
    core::net::Ipv6Addr::new(0xfd00, 0x51e4, 0, node.into(), 0, 0, 0, 1)
}

pub fn prefix(node: u8) -> osier_proto::IpNet {
    osier_proto::IpNet::new_assert(address(node).into(), 64).trunc()
}

pub fn certificate_fields(node: u8) -> certificate::Fields {
    certificate::Fields {
        node: keys(node).node_id(),
        tunnel_key: keys(node).tunnel_key(),
        prefixes: vec![prefix(node)],
        group: None,
        name: format!("node-{node}"),
        flags: Flags {
            relay: true,
            gateway: false,
            subnets: false,
        },
        serial: u64::from(node),
        not_before: NOW.saturating_sub(500),
        not_after: NOW.saturating_add(500),
    }
}

/// Issued under the delegation.
#[allow(clippy::expect_used, reason = "the fields above are acceptable")]
pub fn certificate(node: u8) -> Certificate {
    Certificate::issue(
        certificate_fields(node),
        &issuer(),
        Some(delegation()),
        &network().id(),
    )
    .expect("acceptable fields")
}

pub fn record(node: u8, endpoints: usize) -> Record {
    let endpoint = |i: usize| {
        let kinds = [
            EndpointKind::Local,
            EndpointKind::Mapped,
            EndpointKind::Observed,
            EndpointKind::Configured,
        ];
        let address = match i % 2 {
            0 => core::net::IpAddr::from([192, 0, 2, node + i as u8]),
            _ => core::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, i as u16).into(),
        };
        Endpoint {
            address: (address, 6690).into(),
            kind: kinds[i % 4],
        }
    };
    let fields = record::Fields {
        node: keys(node).node_id(),
        sequence: NOW.0,
        endpoints: (0..endpoints).map(endpoint).collect(),
        leaf: node.is_multiple_of(2),
        relay: true,
        load: node,
    };
    Record::sign(fields, &keys(node), &network().id())
}

pub fn bundle(node: u8, endpoints: usize) -> Bundle {
    Bundle {
        certificate: certificate(node),
        record: record(node, endpoints),
    }
}

#[allow(clippy::expect_used, reason = "few entries")]
pub fn revocation_list(entries: u8) -> RevocationList {
    let revoked = (0..entries)
        .map(|i| (NodeId([i; 32]), u64::from(i) << 8))
        .collect();
    RevocationList::sign(
        u64::from(entries),
        revoked,
        &issuer(),
        Some(delegation()),
        &network().id(),
    )
    .expect("few entries")
}
