//! The link protocol's messages: round trips, limits, and what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use osier_proto::{
    RouterId,
    certificate::{self, Certificate, Flags},
    error::DecodeError,
    identity::{NodeId, SecretKeys, SigningSecret},
    link::{
        ByeReason, LinkCounters, MAX_MESSAGE, MAX_REQUESTED, MAX_SUMMARY, Message, RevocationAssembly,
        directory_hash,
    },
    network::NetworkId,
    record::{self, Bundle, Endpoint, EndpointKind, MAX_ENDPOINTS, Record},
    relay::{HopKey, RelayKey},
    revocation::{MAX_REVOKED, RevocationList},
    wallclock::UnixTime,
};
use proptest::prelude::*;

const NETWORK: NetworkId = NetworkId([5; 16]);

fn root() -> SigningSecret {
    SigningSecret::from_bytes(&[1; 32])
}

fn bundle(seed: u8, endpoints: usize, name: usize) -> Bundle {
    let keys = SecretKeys::from_entropy([seed; 64]);
    let certificate = certificate::Fields {
        node: keys.node_id(),
        tunnel_key: keys.tunnel_key(),
        prefixes: vec!["fd00:0:0:1::/64".parse().unwrap()],
        group: None,
        name: "n".repeat(name),
        flags: Flags::default(),
        serial: 1,
        not_before: UnixTime(1),
        not_after: UnixTime(2),
    };
    let endpoint = Endpoint {
        address: "[2001:db8::1]:6690".parse().unwrap(),
        kind: EndpointKind::Local,
    };
    let record = record::Fields {
        node: keys.node_id(),
        sequence: 1,
        endpoints: vec![endpoint; endpoints],
        leaf: false,
        relay: true,
        load: 0,
    };
    Bundle {
        certificate: Certificate::issue(certificate, &root(), None, &NETWORK).unwrap(),
        record: Record::sign(record, &keys, &NETWORK),
    }
}

fn relay_key(receiver: u32) -> RelayKey {
    RelayKey {
        receiver,
        key: HopKey([0xee; 16]),
    }
}

fn list(entries: usize) -> RevocationList {
    let entry = |i: usize| {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&(i as u64).to_be_bytes());
        (NodeId(key), u64::MAX)
    };
    RevocationList::sign(9, (0..entries).map(entry).collect(), &root(), None, &NETWORK).unwrap()
}

fn parts(list: &RevocationList) -> Vec<osier_proto::link::RevocationPart> {
    let part = |message| match message {
        Message::Revocations(part) => part,
        other => panic!("{other:?}"),
    };
    Message::revocations(list).into_iter().map(part).collect()
}

#[test]
fn every_message_survives_encoding_at_its_largest() {
    let ids = vec![RouterId([0xee; 8]); MAX_REQUESTED];
    let counters = LinkCounters {
        sent: u64::MAX,
        received: u64::MAX,
    };
    let mut messages = vec![
        Message::Hello {
            version: u16::MAX,
            certificate: vec![1; certificate::MAX_CERTIFICATE],
            capabilities: u64::MAX,
            nonce: u64::MAX,
            relay: Some(relay_key(u32::MAX)),
        },
        Message::RelayKey(relay_key(u32::MAX)),
        Message::RelayKeyTaken(u32::MAX),
        Message::Accept { nonce: u64::MAX },
        Message::Observed("192.0.2.1:5".parse().unwrap()),
        Message::Observed("[2001:db8::1]:65535".parse().unwrap()),
        Message::CertificateRequest(ids.clone()),
        Message::BundleRequest(ids),
        Message::Digest {
            members: u32::MAX,
            hash: [0xff; 32],
            revocations: u64::MAX,
        },
        Message::Summary {
            index: u16::MAX - 1,
            total: u16::MAX,
            entries: vec![(RouterId([0xee; 8]), u64::MAX); MAX_SUMMARY],
        },
        Message::Echo {
            nonce: 1,
            sent_at: u64::MAX,
            counters,
        },
        Message::EchoReply {
            nonce: 1,
            sent_at: u64::MAX,
            counters,
        },
        Message::Bye(ByeReason::Revoked),
        Message::Bye(ByeReason::Other(99)),
        Message::Silent(RouterId([0xee; 8])),
        Message::MtuProbe {
            nonce: u64::MAX,
            size: u16::MAX,
        },
        Message::MtuAck {
            nonce: u64::MAX,
            size: u16::MAX,
        },
        Message::Doze { interval: u16::MAX },
        Message::DozeTaken,
        Message::Unknown(20),
    ];
    messages.extend(Message::revocations(&list(MAX_REVOKED)));
    messages.extend(Message::bundles(&[
        bundle(1, MAX_ENDPOINTS, 63),
        bundle(2, MAX_ENDPOINTS, 63),
    ]));
    for message in messages {
        let encoded = message.encode();
        assert!(
            encoded.len() <= MAX_MESSAGE,
            "{} octets: {message:?}",
            encoded.len()
        );
        assert_eq!(Message::decode(&encoded), Ok(message));
    }
}

#[test]
fn bundles_fill_messages() {
    let bundles: Vec<Bundle> = (0..20).map(|i| bundle(i, usize::from(i) % 5, 8)).collect();
    let messages = Message::bundles(&bundles);
    assert!(messages.len() < 20, "{} messages", messages.len());
    let mut received = Vec::new();
    for message in &messages {
        assert!(message.encode().len() <= MAX_MESSAGE);
        let Message::Bundles(part) = Message::decode(&message.encode()).unwrap() else {
            panic!()
        };
        received.extend(part);
    }
    assert_eq!(received, bundles);
}

#[test]
fn a_message_type_of_the_future_is_no_error() {
    // [200, {1: "x"}] and a body of another shape.
    assert_eq!(
        Message::decode(&[0x82, 0x18, 200, 0xa1, 1, 0x61, b'x']),
        Ok(Message::Unknown(200))
    );
    assert_eq!(
        Message::decode(&[0x82, 0x18, 200, 0x80]),
        Ok(Message::Unknown(200))
    );
}

#[test]
fn a_field_of_the_future_is_skipped_unless_it_is_critical() {
    // Bye with key 128, then with key 1.
    let optional = [0x82, 12, 0xa2, 0, 0, 0x18, 128, 0x61, b'x'];
    assert_eq!(Message::decode(&optional), Ok(Message::Bye(ByeReason::Closing)));
    assert_eq!(
        Message::decode(&[0x82, 12, 0xa2, 0, 0, 1, 0]),
        Err(DecodeError::UnknownCriticalField(1))
    );
}

#[test]
fn an_oversized_message_is_refused() {
    let hello = Message::Hello {
        version: 1,
        certificate: vec![0; MAX_MESSAGE],
        capabilities: 0,
        nonce: 0,
        relay: None,
    };
    assert!(matches!(
        Message::decode(&hello.encode()),
        Err(DecodeError::TooLarge { .. })
    ));
    let request = Message::BundleRequest(vec![RouterId([0; 8]); MAX_REQUESTED + 1]);
    assert_eq!(
        Message::decode(&request.encode()),
        Err(DecodeError::Invalid("router_ids"))
    );
}

#[test]
fn a_summary_comes_in_parts() {
    let entries: Vec<_> = (0..200u64).map(|i| (RouterId(i.to_be_bytes()), i)).collect();
    let mut received = Vec::new();
    for message in Message::summary(&entries) {
        let Message::Summary { total, entries, .. } = message else {
            panic!()
        };
        assert_eq!(total, 4);
        received.extend(entries);
    }
    assert_eq!(received, entries);
    assert_ne!(
        directory_hash(entries.iter().copied()),
        directory_hash(entries.iter().copied().skip(1))
    );
}

#[test]
fn a_revocation_list_is_put_together_in_any_order() {
    let list = list(500);
    let mut parts = parts(&list);
    assert!(parts.len() > 10);
    parts.reverse();
    let last = parts.pop().unwrap();
    let mut assembly = RevocationAssembly::default();
    for part in parts.iter().chain(&parts) {
        assert_eq!(assembly.add(part.clone()), None);
    }
    assert_eq!(assembly.add(last), Some(list));
}

#[test]
fn a_forged_part_spoils_only_its_own_list() {
    let list = list(100);
    let mut forged = parts(&list);
    forged[1].octets[5] ^= 1;
    let mut assembly = RevocationAssembly::default();
    assert!(forged.into_iter().all(|part| assembly.add(part).is_none()));
    let together = parts(&list).into_iter().find_map(|part| assembly.add(part));
    assert_eq!(together, Some(list));
}

fn any_message() -> impl Strategy<Value = Message> {
    let ids = || proptest::collection::vec(any::<[u8; 8]>().prop_map(RouterId), 0..=MAX_REQUESTED);
    let counters = || any::<(u64, u64)>().prop_map(|(sent, received)| LinkCounters { sent, received });
    prop_oneof![
        (
            any::<(u16, u64, u64)>(),
            proptest::collection::vec(any::<u8>(), 0..640),
            any::<Option<u32>>()
        )
            .prop_map(
                |((version, capabilities, nonce), certificate, receiver)| Message::Hello {
                    version,
                    certificate,
                    capabilities,
                    nonce,
                    relay: receiver.map(relay_key)
                }
            ),
        any::<u32>().prop_map(|receiver| Message::RelayKey(relay_key(receiver))),
        any::<u32>().prop_map(Message::RelayKeyTaken),
        any::<u16>().prop_map(|interval| Message::Doze { interval }),
        Just(Message::DozeTaken),
        any::<u64>().prop_map(|nonce| Message::Accept { nonce }),
        (any::<[u8; 4]>(), any::<u16>()).prop_map(|address| Message::Observed(address.into())),
        ids().prop_map(Message::CertificateRequest),
        ids().prop_map(Message::BundleRequest),
        any::<(u32, [u8; 32], u64)>().prop_map(|(members, hash, revocations)| Message::Digest {
            members,
            hash,
            revocations
        }),
        any::<(u64, u16)>().prop_map(|(nonce, size)| Message::MtuProbe { nonce, size }),
        any::<(u64, u16)>().prop_map(|(nonce, size)| Message::MtuAck { nonce, size }),
        any::<[u8; 8]>().prop_map(|id| Message::Silent(RouterId(id))),
        (any::<(u64, u64)>(), counters()).prop_map(|((nonce, sent_at), counters)| Message::Echo {
            nonce,
            sent_at,
            counters
        }),
        (any::<(u64, u64)>(), counters()).prop_map(|((nonce, sent_at), counters)| Message::EchoReply {
            nonce,
            sent_at,
            counters
        }),
    ]
}

proptest! {
    #[test]
    fn any_message_survives_encoding(message in any_message()) {
        prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn a_mutated_message_is_refused_or_canonical(
        message in any_message(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut octets = message.encode();
        for (index, octet) in changes {
            let at = index.index(octets.len());
            octets[at] = octet;
        }
        // Unknown types and optional fields are dropped on reading, so they do not come back; all else does.
        if let Ok(message) = Message::decode(&octets)
            && !matches!(message, Message::Unknown(_))
            && message.encode().len() == octets.len()
        {
            prop_assert_eq!(message.encode(), octets);
        }
    }
}
