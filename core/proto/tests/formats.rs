//! Certificates, records, revocation lists and requests: what is accepted and what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use osier_proto::{
    IpNet,
    certificate::{self, Certificate, CertificateError, Flags, MAX_CERTIFICATE},
    error::DecodeError,
    identity::{NodeId, SecretKeys, SigningSecret, TunnelKey},
    network::{Delegation, DelegationError, Network, SignedNetwork},
    record::{
        self, Bundle, Endpoint, EndpointKind, MAX_BUNDLE, MAX_ENDPOINTS, MAX_RECORD, Record, RecordError,
    },
    registry_api::{
        AuthError, AuthToken, DirectoryReply, EnrolError, EnrolReply, EnrolRequest, NetworkReply, ReplyError,
    },
    revocation::{MAX_REVOCATION_LIST, MAX_REVOKED, RevocationError, RevocationList},
    wallclock::UnixTime,
};
use proptest::prelude::*;

const START: u64 = 1_800_000_000;
const WEEK: u64 = 7 * 86_400;
const NOW: UnixTime = UnixTime(START + 3 * 86_400);

fn root() -> SigningSecret {
    SigningSecret::from_bytes(&[1; 32])
}

fn issuer() -> SigningSecret {
    SigningSecret::from_bytes(&[2; 32])
}

fn keys(seed: u8) -> SecretKeys {
    SecretKeys::from_entropy([seed; 64])
}

fn network() -> Network {
    Network {
        root: root().node_id(),
        name: "basket".into(),
        prefix: "fd12:3456:789a::/48".parse().unwrap(),
        grace: 30 * 86_400,
    }
}

fn delegation() -> Delegation {
    Delegation::sign(
        issuer().node_id(),
        UnixTime(START),
        UnixTime(START + 52 * WEEK),
        &root(),
    )
}

fn fields(keys: &SecretKeys) -> certificate::Fields {
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

fn certificate_of(keys: &SecretKeys) -> Certificate {
    Certificate::issue(fields(keys), &issuer(), Some(delegation()), &network().id()).unwrap()
}

fn record_of(keys: &SecretKeys) -> Record {
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

fn bundle_of(seed: u8) -> Bundle {
    Bundle {
        certificate: certificate_of(&keys(seed)),
        record: record_of(&keys(seed)),
    }
}

fn revocations(number: u64, revoked: Vec<(NodeId, u64)>) -> RevocationList {
    RevocationList::sign(number, revoked, &issuer(), Some(delegation()), &network().id()).unwrap()
}

fn flips(encoded: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    (0..encoded.len() * 8).map(|bit| {
        let mut forged = encoded.to_vec();
        forged[bit / 8] ^= 1 << (bit % 8);
        forged
    })
}

#[test]
fn a_certificate_survives_encoding_and_holds() {
    for delegated in [true, false] {
        let certificate = if delegated {
            certificate_of(&keys(9))
        } else {
            Certificate::issue(fields(&keys(9)), &root(), None, &network().id()).unwrap()
        };
        let read = Certificate::decode(&certificate.encode()).unwrap();
        assert_eq!(read, certificate);
        assert_eq!(read.verify(&network(), NOW), Ok(()));
        assert_eq!(
            read.address(),
            "fd12:3456:789a:17::1".parse::<std::net::Ipv6Addr>().unwrap()
        );
    }
}

#[test]
fn a_certificate_permits_its_prefixes_and_parts_of_them_only() {
    let certificate = certificate_of(&keys(9));
    let permits = |prefix: &str| certificate.permits(&prefix.parse::<IpNet>().unwrap());
    assert!(permits("fd12:3456:789a:17::/64"));
    assert!(permits("fd12:3456:789a:17::1/128"));
    assert!(!permits("fd12:3456:789a:18::/64"));
    assert!(!permits("fd12:3456:789a::/48"));
    assert!(!permits("::/0"));
    assert!(!permits("10.0.0.0/8"));
}

#[test]
fn every_bit_flip_in_a_certificate_is_refused() {
    for forged in flips(&certificate_of(&keys(9)).encode()) {
        let read = Certificate::decode(&forged);
        assert!(!read.is_ok_and(|certificate| certificate.verify(&network(), NOW).is_ok()));
    }
}

#[test]
fn every_cut_or_lengthened_certificate_is_refused() {
    let mut encoded = certificate_of(&keys(9)).encode();
    for length in 0..encoded.len() {
        assert!(Certificate::decode(&encoded[..length]).is_err());
    }
    encoded.push(0);
    assert_eq!(
        Certificate::decode(&encoded),
        Err(CertificateError::Decode(DecodeError::Trailing(1)))
    );
    encoded.resize(MAX_CERTIFICATE + 1, 0);
    assert!(matches!(
        Certificate::decode(&encoded),
        Err(CertificateError::Decode(DecodeError::TooLarge { .. }))
    ));
}

#[test]
fn a_clock_that_is_an_hour_off_is_forgiven_and_no_more() {
    let certificate = certificate_of(&keys(9));
    let at = |seconds: u64| certificate.verify(&network(), UnixTime(seconds));
    assert_eq!(at(START - 3600), Ok(()));
    assert_eq!(
        at(START - 3601),
        Err(CertificateError::NotYetValid(UnixTime(START)))
    );
    assert_eq!(at(START + WEEK + 3600), Ok(()));
    assert_eq!(
        at(START + WEEK + 3601),
        Err(CertificateError::Expired(UnixTime(START + WEEK)))
    );
}

#[test]
fn an_expired_certificate_counts_for_the_networks_grace_only_where_it_is_asked_for() {
    let certificate = certificate_of(&keys(9));
    let end = START + WEEK + 3600 + network().grace;
    assert!(certificate.verify(&network(), UnixTime(end)).is_err());
    assert_eq!(certificate.verify_with_grace(&network(), UnixTime(end)), Ok(()));
    assert!(
        certificate
            .verify_with_grace(&network(), UnixTime(end + 1))
            .is_err()
    );
    assert!(
        certificate
            .verify_with_grace(&network(), UnixTime(START - 3601))
            .is_err()
    );
}

#[test]
fn a_certificate_of_another_network_is_refused() {
    let other_root = SigningSecret::from_bytes(&[77; 32]);
    let other = Network {
        root: other_root.node_id(),
        ..network()
    };
    let foreign = Certificate::issue(fields(&keys(9)), &other_root, None, &other.id()).unwrap();
    assert_eq!(
        foreign.verify(&network(), NOW),
        Err(CertificateError::WrongNetwork(other.id()))
    );
    assert!(foreign.verify(&other, NOW).is_ok());
    // Signed by the right key, for the wrong network.
    let confused = Certificate::issue(fields(&keys(9)), &root(), None, &other.id()).unwrap();
    assert!(confused.verify(&network(), NOW).is_err());
    assert!(confused.verify(&other, NOW).is_err());
}

#[test]
fn an_issuer_without_a_delegation_that_holds_is_refused() {
    let issue = |issuer: &SigningSecret, delegation| {
        let id = network().id();
        Certificate::issue(fields(&keys(9)), issuer, delegation, &id)
            .unwrap()
            .verify(&network(), NOW)
    };
    let thief = SigningSecret::from_bytes(&[66; 32]);
    assert_eq!(issue(&thief, None), Err(CertificateError::BadSignature));
    assert_eq!(
        issue(&thief, Some(delegation())),
        Err(CertificateError::BadSignature)
    );
    let own = Delegation::sign(thief.node_id(), UnixTime(START), UnixTime(START + WEEK), &thief);
    assert_eq!(
        issue(&thief, Some(own)),
        Err(CertificateError::Delegation(DelegationError::BadSignature))
    );
    let mut redirected = delegation();
    redirected.issuer = thief.node_id();
    assert_eq!(
        issue(&thief, Some(redirected)),
        Err(CertificateError::Delegation(DelegationError::BadSignature))
    );
    let ended = Delegation::sign(issuer().node_id(), UnixTime(1), UnixTime(START), &root());
    assert_eq!(
        issue(&issuer(), Some(ended)),
        Err(CertificateError::Delegation(DelegationError::Expired(UnixTime(
            START
        ))))
    );
}

#[test]
fn a_prefix_outside_the_network_is_refused() {
    for outside in ["fd99::/64", "fd12:3456:7899::/64", "fd12:3456::/32"] {
        let mut fields = fields(&keys(9));
        fields.prefixes.push(outside.parse().unwrap());
        let certificate = Certificate::issue(fields, &root(), None, &network().id()).unwrap();
        assert_eq!(
            certificate.verify(&network(), NOW),
            Err(CertificateError::PrefixOutsideNetwork(outside.parse().unwrap()))
        );
    }
}

#[test]
fn nobody_can_issue_what_nobody_would_accept() {
    let refused = |change: fn(&mut certificate::Fields)| {
        let mut fields = fields(&keys(9));
        change(&mut fields);
        assert!(Certificate::issue(fields, &root(), None, &network().id()).is_err());
    };
    refused(|fields| fields.prefixes.clear());
    refused(|fields| fields.prefixes = vec!["10.0.0.0/8".parse().unwrap()]);
    refused(|fields| fields.prefixes = vec!["fd12:3456:789a:17::/64".parse().unwrap(); 9]);
    refused(|fields| fields.not_after = fields.not_before);
    for name in ["", "-a", "a-", "A", "a.b", "ä", &"a".repeat(64)] {
        let fields = certificate::Fields {
            name: name.into(),
            ..fields(&keys(9))
        };
        assert!(
            Certificate::issue(fields, &root(), None, &network().id()).is_err(),
            "{name:?}"
        );
    }
}

#[test]
fn the_largest_certificate_and_record_fit_their_limits() {
    let most: Vec<IpNet> = (0..8)
        .map(|i| {
            format!("fd12:3456:789a:17:ffff:ffff:ffff:ff0{i}/128")
                .parse()
                .unwrap()
        })
        .collect();
    let fields = certificate::Fields {
        prefixes: most,
        group: Some(u32::MAX),
        name: "n".repeat(63),
        flags: Flags {
            relay: true,
            gateway: true,
            subnets: true,
        },
        serial: u64::MAX,
        not_before: UnixTime(u64::MAX - 1),
        not_after: UnixTime(u64::MAX),
        ..fields(&keys(9))
    };
    let delegation = Delegation::sign(
        issuer().node_id(),
        UnixTime(u64::MAX),
        UnixTime(u64::MAX),
        &root(),
    );
    let certificate = Certificate::issue(fields, &issuer(), Some(delegation), &network().id()).unwrap();
    assert_eq!(Certificate::decode(&certificate.encode()).unwrap(), certificate);

    let endpoint = Endpoint {
        address: "[2fee:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap(),
        kind: EndpointKind::Configured,
    };
    let fields = record::Fields {
        node: keys(9).node_id(),
        sequence: u64::MAX,
        endpoints: vec![endpoint; MAX_ENDPOINTS],
        leaf: true,
        relay: true,
        load: 255,
    };
    let record = Record::sign(fields, &keys(9), &network().id());
    assert_eq!(record.endpoints.len(), MAX_ENDPOINTS);
    assert!(record.encode().len() <= MAX_RECORD, "{}", record.encode().len());
    let bundle = Bundle { certificate, record };
    assert!(bundle.encode().len() <= MAX_BUNDLE);
    assert_eq!(Bundle::decode(&bundle.encode()).unwrap(), bundle);
}

#[test]
fn a_record_leaves_out_what_nobody_could_send_to() {
    let endpoint = |text: &str| Endpoint {
        address: text.parse().unwrap(),
        kind: EndpointKind::Local,
    };
    let fields = record::Fields {
        node: NodeId([0; 32]),
        sequence: 1,
        endpoints: [
            "0.0.0.0:1",
            "192.0.2.1:0",
            "[ff02::1]:5",
            "255.255.255.255:9",
            "[::ffff:192.0.2.1]:7",
        ]
        .map(endpoint)
        .to_vec(),
        leaf: false,
        relay: false,
        load: 0,
    };
    let record = Record::sign(fields, &keys(3), &network().id());
    assert_eq!(record.endpoints, [endpoint("192.0.2.1:7")]);
    assert_eq!(record.node, keys(3).node_id());
    assert_eq!(Record::decode(&record.encode()).unwrap(), record);
}

#[test]
fn every_bit_flip_in_a_bundle_is_refused() {
    let encoded = bundle_of(9).encode();
    assert!(Bundle::decode(&encoded).unwrap().verify(&network(), NOW).is_ok());
    for forged in flips(&encoded) {
        assert!(!Bundle::decode(&forged).is_ok_and(|bundle| bundle.verify(&network(), NOW).is_ok()));
    }
}

#[test]
fn a_record_beside_anothers_certificate_is_refused() {
    let mixed = Bundle {
        certificate: certificate_of(&keys(9)),
        record: record_of(&keys(8)),
    };
    assert_eq!(mixed.verify(&network(), NOW), Err(RecordError::WrongNode));
}

#[test]
fn a_revocation_list_voids_serials_up_to_its_own() {
    let node = keys(9).node_id();
    let revokes = |serial| revocations(1, vec![(node, serial)]).revokes(&certificate_of(&keys(9)));
    assert!(!revokes(4));
    assert!(revokes(5));
    assert!(revokes(u64::MAX));
    assert!(!revocations(1, vec![(keys(8).node_id(), u64::MAX)]).revokes(&certificate_of(&keys(9))));
    assert!(!revocations(0, vec![]).revokes(&certificate_of(&keys(9))));
}

#[test]
fn a_revocation_list_is_sorted_and_survives_encoding() {
    let entries = vec![
        (NodeId([9; 32]), 1),
        (NodeId([1; 32]), 2),
        (NodeId([9; 32]), u64::MAX),
    ];
    let list = revocations(7, entries);
    assert_eq!(list.revoked, [(NodeId([1; 32]), 2), (NodeId([9; 32]), u64::MAX)]);
    assert_eq!(RevocationList::decode(&list.encode()), Ok(list.clone()));
    assert_eq!(list.verify(&network(), NOW), Ok(()));
    let foreign = Network {
        root: keys(99).node_id(),
        ..network()
    };
    assert_eq!(
        list.verify(&foreign, NOW),
        Err(RevocationError::WrongNetwork(network().id()))
    );
}

#[test]
fn every_bit_flip_in_a_revocation_list_is_refused() {
    for forged in flips(&revocations(7, vec![(NodeId([1; 32]), 2), (NodeId([9; 32]), u64::MAX)]).encode()) {
        assert!(!RevocationList::decode(&forged).is_ok_and(|list| list.verify(&network(), NOW).is_ok()));
    }
}

#[test]
fn the_longest_revocation_list_fits_its_limit() {
    let node = |i: usize| {
        let mut key = [0xff; 32];
        key[..8].copy_from_slice(&(i as u64).to_be_bytes());
        NodeId(key)
    };
    let most: Vec<_> = (0..MAX_REVOKED).map(|i| (node(i), u64::MAX)).collect();
    let list = revocations(u64::MAX, most.clone());
    assert!(list.encode().len() <= MAX_REVOCATION_LIST);
    assert_eq!(
        RevocationList::decode(&list.encode()).unwrap().revoked.len(),
        MAX_REVOKED
    );
    let more = most.into_iter().chain([(NodeId([0; 32]), 0)]).collect();
    assert!(RevocationList::sign(1, more, &issuer(), None, &network().id()).is_err());
}

#[test]
fn a_request_is_bound_to_its_method_body_time_and_network() {
    let id = network().id();
    let token = AuthToken::sign(&keys(9), &id, NOW, "PUT /v1/record", b"body");
    let token = AuthToken::decode(&token.encode()).unwrap();
    assert_eq!(token.verify(&id, NOW, "PUT /v1/record", b"body"), Ok(()));
    assert_eq!(
        token.verify(&id, NOW, "POST /v1/renew", b"body"),
        Err(AuthError::WrongRequest)
    );
    assert_eq!(
        token.verify(&id, NOW, "PUT /v1/record", b"bodz"),
        Err(AuthError::WrongRequest)
    );
    assert!(
        token
            .verify(&id, NOW.saturating_add(7200), "PUT /v1/record", b"body")
            .is_ok()
    );
    assert_eq!(
        token.verify(&id, NOW.saturating_add(7201), "PUT /v1/record", b"body"),
        Err(AuthError::Skewed(NOW))
    );
    assert!(
        token
            .verify(&id, NOW.saturating_sub(7201), "PUT /v1/record", b"body")
            .is_err()
    );
    let other = Network {
        root: keys(99).node_id(),
        ..network()
    }
    .id();
    assert_eq!(
        token.verify(&other, NOW, "PUT /v1/record", b"body"),
        Err(AuthError::BadSignature)
    );
    let mut stolen = token.clone();
    stolen.node = keys(8).node_id();
    assert_eq!(
        stolen.verify(&id, NOW, "PUT /v1/record", b"body"),
        Err(AuthError::BadSignature)
    );
}

#[test]
fn an_enrolment_request_proves_possession_of_its_key() {
    let id = network().id();
    let request = EnrolRequest::sign([7; 16], "willow", &keys(9), &id);
    let json = serde_json::to_string(&request).unwrap();
    let request: EnrolRequest = serde_json::from_str(&json).unwrap();
    let applicant = request.verify(&id).unwrap();
    assert_eq!((applicant.token, applicant.node), ([7; 16], keys(9).node_id()));
    assert_eq!(applicant.tunnel_key, keys(9).tunnel_key());
    let tampered = EnrolRequest {
        name: "oak".into(),
        ..request.clone()
    };
    assert_eq!(tampered.verify(&id), Err(EnrolError::BadSignature));
    let named = EnrolRequest::sign([7; 16], "Not A Name", &keys(9), &id);
    assert!(matches!(named.verify(&id), Err(EnrolError::Name(_))));
    let short = EnrolRequest {
        token: "AAAA".into(),
        ..request
    };
    assert!(matches!(short.verify(&id), Err(EnrolError::Decode(_))));
}

#[test]
fn a_reply_is_believed_only_as_far_as_its_signatures_go() {
    let network = SignedNetwork::sign(network(), &root()).unwrap();
    let list = revocations(3, vec![]);
    let reply = EnrolReply::new(&certificate_of(&keys(9)), &network, &list, NOW);
    let (certificate, _, revoked) = reply.verify(&root().node_id(), &keys(9), NOW).unwrap();
    assert_eq!((certificate.node, revoked.number), (keys(9).node_id(), 3));
    assert_eq!(
        reply.verify(&root().node_id(), &keys(8), NOW),
        Err(ReplyError::WrongNode)
    );
    assert!(reply.verify(&keys(8).node_id(), &keys(9), NOW).is_err());
    assert!(NetworkReply::new(&network, NOW).verify(&root().node_id()).is_ok());
    assert!(
        NetworkReply::new(&network, NOW)
            .verify(&issuer().node_id())
            .is_err()
    );
}

#[test]
fn one_bad_bundle_does_not_hide_the_directory() {
    let list = revocations(3, vec![(keys(4).node_id(), u64::MAX)]);
    let mixed = Bundle {
        certificate: certificate_of(&keys(2)),
        record: record_of(&keys(3)),
    };
    let all = [bundle_of(1), mixed, bundle_of(4), bundle_of(5)];
    let mut reply = DirectoryReply::new(&all, &list, NOW);
    reply.bundles.push("%%%".into());
    let (bundles, _) = reply.verify(&network(), NOW).unwrap();
    assert_eq!(bundles, [bundle_of(1), bundle_of(5)]);
}

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
