//! Whatever is signed survives encoding; whatever octets come are refused or the only encoding of what they say.

use crate::fixture::{bundle_of, keys, network, root};
use osier_proto::{
    IpNet,
    certificate::{self, Certificate, Flags},
    identity::{NodeId, TunnelKey},
    network::SignedNetwork,
    record::{self, Bundle, Endpoint, EndpointKind, Record},
    revocation::RevocationList,
    wallclock::UnixTime,
};
use proptest::prelude::*;

fn any_prefix() -> impl Strategy<Value = IpNet> {
    (any::<u128>(), 0u8..=128).prop_map(|(bits, length)| {
        IpNet::new(std::net::Ipv6Addr::from_bits(bits).into(), length)
            .unwrap()
            .trunc()
    })
}

fn any_fields() -> impl Strategy<Value = certificate::Fields> {
    let keys = (any::<[u8; 32]>(), any::<[u8; 32]>());
    let prefixes = proptest::collection::vec(any_prefix(), 1..=8);
    let rest = (
        any::<Option<u32>>(),
        "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
        0u8..8,
        any::<u64>(),
    );
    (keys, prefixes, rest, 0..u64::MAX / 2, 1..u64::MAX / 2).prop_map(
        |((node, tunnel_key), prefixes, (group, name, flags, serial), start, life)| certificate::Fields {
            node: NodeId(node),
            tunnel_key: TunnelKey(tunnel_key),
            prefixes,
            group,
            name,
            flags: Flags {
                relay: flags & 1 != 0,
                gateway: flags & 2 != 0,
                subnets: flags & 4 != 0,
            },
            serial,
            not_before: UnixTime(start),
            not_after: UnixTime(start + life),
        },
    )
}

fn any_record_fields() -> impl Strategy<Value = record::Fields> {
    let kind = prop_oneof![
        Just(EndpointKind::Local),
        Just(EndpointKind::Mapped),
        Just(EndpointKind::Observed),
        Just(EndpointKind::Configured)
    ];
    let endpoint =
        (any::<std::net::SocketAddr>(), kind).prop_map(|(address, kind)| Endpoint { address, kind });
    let endpoints = proptest::collection::vec(endpoint, 0..20);
    (any::<u64>(), endpoints, any::<(bool, bool, u8)>()).prop_map(
        |(sequence, endpoints, (leaf, relay, load))| record::Fields {
            node: NodeId([0; 32]),
            sequence,
            endpoints,
            leaf,
            relay,
            load,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_certificate_survives_encoding(fields in any_fields()) {
        let certificate = Certificate::issue(fields.clone(), &root(), None, &network().id()).unwrap();
        let read = Certificate::decode(&certificate.encode()).unwrap();
        prop_assert_eq!(&*read, &fields);
        prop_assert_eq!(read, certificate);
    }

    #[test]
    fn any_record_survives_encoding_and_holds(fields in any_record_fields()) {
        let record = Record::sign(fields, &keys(9), &network().id());
        let read = Record::decode(&record.encode()).unwrap();
        prop_assert_eq!(&read, &record);
        prop_assert!(read.verify(&network()).is_ok());
    }

    #[test]
    fn arbitrary_octets_are_decoded_to_what_encodes_to_them_or_refused(
        octets in proptest::collection::vec(any::<u8>(), 0..700),
    ) {
        if let Ok(certificate) = Certificate::decode(&octets) {
            prop_assert_eq!(certificate.encode(), octets.clone());
        }
        if let Ok(record) = Record::decode(&octets) {
            prop_assert_eq!(record.encode(), octets.clone());
        }
        if let Ok(list) = RevocationList::decode(&octets) {
            prop_assert_eq!(list.encode(), octets.clone());
        }
        if let Ok(network) = SignedNetwork::decode(&octets) {
            prop_assert_eq!(network.encode(), octets);
        }
    }

    /// What is changed at random in a good encoding is refused, or it is again the only encoding of what it says.
    #[test]
    fn a_mutated_bundle_is_refused_or_canonical(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut octets = bundle_of(9).encode();
        for (index, octet) in changes {
            let at = index.index(octets.len());
            octets[at] = octet;
        }
        if let Ok(bundle) = Bundle::decode(&octets) {
            prop_assert_eq!(bundle.encode(), octets);
        }
    }
}
