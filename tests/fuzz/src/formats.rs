//! The signed structures and the messages in CBOR. What is accepted must be canonical: it encodes to the very
//! bytes it was decoded from.

use crate::fixtures::{
    self, NOW, address, certificate_fields, delegation, issuer, keys, prefix, record, revocation_list, root,
};
use osier_proto::{
    RouterId,
    certificate::{self, Certificate, Flags},
    codec::{from_base64url, to_base64url},
    invite::{Invite, PREFIX},
    link::{ByeReason, LinkCounters, Message, RevocationAssembly},
    network::{Delegation, SignedNetwork},
    record::{Bundle, Record},
    registry_api::AuthToken,
    relay::{HopKey, RelayKey},
    revocation::RevocationList,
    wallclock::UnixTime,
};

fn named<T>(
    seeds: impl IntoIterator<Item = (&'static str, T)>,
    encode: fn(&T) -> Vec<u8>,
) -> Vec<(String, Vec<u8>)> {
    seeds
        .into_iter()
        .map(|(name, seed)| (name.to_owned(), encode(&seed)))
        .collect()
}

pub fn certificate(data: &[u8]) -> bool {
    let Ok(certificate) = Certificate::decode(data) else {
        return false;
    };
    assert_eq!(certificate.encode(), data);
    let _ = certificate.verify(&fixtures::network(), NOW);
    let _ = certificate.verify_with_grace(&fixtures::network(), UnixTime(u64::MAX));
    for prefix in &certificate.prefixes {
        assert!(certificate.permits(prefix));
    }
    assert!(!certificate.address().is_unspecified() || certificate.prefixes[0].prefix_len() == 128);
    if let Some(delegation) = certificate.delegation() {
        assert_eq!(Delegation::decode(&delegation.encode()).as_ref(), Ok(delegation));
    }
    certificate.renew_at() <= certificate.not_after
}

#[allow(clippy::expect_used, reason = "acceptable fields")]
pub fn certificates() -> Vec<(String, Vec<u8>)> {
    let by_root = Certificate::issue(certificate_fields(3), &root(), None, &fixtures::network().id());
    let full = certificate::Fields {
        group: Some(7),
        prefixes: (1..9).map(prefix).collect(),
        name: "n".repeat(63),
        flags: Flags {
            relay: true,
            gateway: true,
            subnets: true,
        },
        serial: u64::MAX,
        ..certificate_fields(4)
    };
    let full = Certificate::issue(full, &issuer(), Some(delegation()), &fixtures::network().id());
    let seeds = [
        ("delegated", fixtures::certificate(2)),
        ("by-root", by_root.expect("acceptable fields")),
        ("full", full.expect("acceptable fields")),
    ];
    named(seeds, Certificate::encode)
}

pub fn bundle(data: &[u8]) -> bool {
    if let Ok(record) = Record::decode(data) {
        assert_eq!(record.encode(), data);
        let _ = record.verify(&fixtures::network());
        return true;
    }
    let Ok(bundle) = Bundle::decode(data) else {
        return false;
    };
    assert_eq!(bundle.encode(), data);
    let _ = bundle.verify(&fixtures::network(), NOW);
    true
}

pub fn bundles() -> Vec<(String, Vec<u8>)> {
    let mut seeds = named(
        [
            ("plain", fixtures::bundle(1, 2)),
            ("without-endpoints", fixtures::bundle(2, 0)),
            ("sixteen-endpoints", fixtures::bundle(3, 16)),
        ],
        Bundle::encode,
    );
    seeds.extend(named([("record", record(4, 5))], Record::encode));
    seeds
}

pub fn revocations(data: &[u8]) -> bool {
    let Ok(list) = RevocationList::decode(data) else {
        return false;
    };
    assert_eq!(list.encode(), data);
    let _ = list.verify(&fixtures::network(), NOW);
    let _ = list.revokes(&fixtures::certificate(1));
    true
}

pub fn revocation_lists() -> Vec<(String, Vec<u8>)> {
    let seeds = [
        ("empty", revocation_list(0)),
        ("one", revocation_list(1)),
        ("twenty", revocation_list(20)),
    ];
    named(seeds, RevocationList::encode)
}

pub fn network(data: &[u8]) -> bool {
    if let Ok(delegation) = Delegation::decode(data) {
        assert_eq!(delegation.encode(), data);
        let _ = delegation.verify(&fixtures::network(), NOW);
        return true;
    }
    let Ok(network) = SignedNetwork::decode(data) else {
        return false;
    };
    assert_eq!(network.encode(), data);
    let _ = network.verify(&root().node_id());
    true
}

#[allow(clippy::expect_used, reason = "an acceptable name")]
pub fn networks() -> Vec<(String, Vec<u8>)> {
    let network = SignedNetwork::sign(fixtures::network(), &root()).expect("an acceptable name");
    let mut seeds = named([("network", network)], SignedNetwork::encode);
    seeds.extend(named([("delegation", delegation())], Delegation::encode));
    seeds
}

/// The text, or the content that it carries in base64url with a right checksum: mutations of the text alone would
/// never get past the checksum.
pub fn invite(data: &[u8]) -> bool {
    if let Ok(text) = core::str::from_utf8(data)
        && let Ok(invite) = text.parse::<Invite>()
    {
        assert_eq!(invite.to_string().parse(), Ok(invite));
        return true;
    }
    let checked = [data, &osier_proto::invite::checksum(data)].concat();
    let text = format!("{PREFIX}{}", to_base64url(&checked));
    let Ok(invite) = text.parse::<Invite>() else {
        return false;
    };
    assert_eq!(invite.to_string().parse(), Ok(invite));
    true
}

#[allow(clippy::expect_used, reason = "the text was just made")]
pub fn invites() -> Vec<(String, Vec<u8>)> {
    let invite = |registries: &[&str], tls_pin| Invite {
        registries: registries.iter().map(|&url| url.to_owned()).collect(),
        root: root().node_id(),
        token: [0x55; 16],
        tls_pin,
    };
    let pinned = invite(
        &["https://203.0.113.1:6690", "https://[2001:db8::1]:6690"],
        Some([9; 32]),
    );
    let plain = invite(&["https://registry.example"], None);
    let content = |invite: &Invite| {
        let text = invite.to_string();
        let mut bytes = from_base64url(&text[PREFIX.len()..]).expect("base64url");
        bytes.truncate(bytes.len() - 4);
        bytes
    };
    let mut seeds = named(
        [("pinned-content", pinned.clone()), ("content", plain.clone())],
        content,
    );
    seeds.extend(named([("pinned", pinned), ("plain", plain)], |invite| {
        invite.to_string().into_bytes()
    }));
    seeds
}

/// The header's text, or the CBOR in it.
pub fn auth_token(data: &[u8]) -> bool {
    let text = match core::str::from_utf8(data) {
        Ok(text) if AuthToken::decode(text).is_ok() => text.to_owned(),
        _ => to_base64url(data),
    };
    let Ok(token) = AuthToken::decode(&text) else {
        return false;
    };
    assert_eq!(token.encode(), text);
    let _ = token.verify(&fixtures::network().id(), NOW, &token.purpose, b"");
    true
}

#[allow(clippy::expect_used, reason = "the text was just made")]
pub fn auth_tokens() -> Vec<(String, Vec<u8>)> {
    let token =
        |purpose, body: &[u8]| AuthToken::sign(&keys(1), &fixtures::network().id(), NOW, purpose, body);
    let mut seeds = named(
        [
            ("directory", token("GET /v1/directory", b"")),
            ("record", token("PUT /v1/record", b"{}")),
        ],
        |token| from_base64url(&token.encode()).expect("base64url"),
    );
    seeds.extend(named([("header", token("POST /v1/renew", b""))], |token| {
        token.encode().into_bytes()
    }));
    seeds
}

pub fn link_message(data: &[u8]) -> bool {
    let Ok(message) = Message::decode(data) else {
        return false;
    };
    // Unknown types and optional fields are dropped when read; what remains must be stable.
    let encoded = message.encode();
    assert_eq!(Message::decode(&encoded).as_ref(), Ok(&message));
    assert!(matches!(message, Message::Unknown(_)) || encoded.len() <= data.len());
    match message {
        Message::Hello { certificate, .. } => drop(Certificate::decode(&certificate)),
        Message::Bundles(bundles) => {
            let packed = Message::bundles(&bundles);
            assert!(
                packed
                    .iter()
                    .all(|message| message.encode().len() <= osier_proto::link::MAX_MESSAGE)
            );
        }
        Message::Revocations(part) => {
            let mut assembly = RevocationAssembly::default();
            let _ = assembly.add(part.clone());
            let _ = assembly.add(part);
        }
        _ => (),
    }
    true
}

pub fn link_messages() -> Vec<(String, Vec<u8>)> {
    let ids: Vec<_> = (0..5).map(|node| keys(node).node_id().router_id()).collect();
    let counters = LinkCounters {
        sent: 1000,
        received: 998,
    };
    let relay_key = RelayKey {
        receiver: 0x00ab_cdef,
        key: HopKey([7; 16]),
    };
    let hello = Message::Hello {
        version: osier_proto::link::VERSION,
        certificate: fixtures::certificate(1).encode(),
        capabilities: 0,
        nonce: 0x1234_5678_9abc_def0,
        relay: Some(relay_key.clone()),
    };
    let mut seeds = vec![
        ("hello", hello),
        (
            "accept",
            Message::Accept {
                nonce: 0x1234_5678_9abc_def0,
            },
        ),
        ("observed-4", Message::Observed(([192, 0, 2, 1], 6690).into())),
        ("observed-6", Message::Observed((address(1), 6690).into())),
        (
            "bundles",
            Message::Bundles(vec![fixtures::bundle(1, 2), fixtures::bundle(2, 1)]),
        ),
        ("certificate-request", Message::CertificateRequest(ids.clone())),
        ("bundle-request", Message::BundleRequest(ids.clone())),
        (
            "digest",
            Message::Digest {
                members: 8,
                hash: [7; 32],
                revocations: 3,
            },
        ),
        (
            "summary",
            Message::Summary {
                index: 0,
                total: 1,
                entries: ids
                    .iter()
                    .map(|&id| (id, NOW.0))
                    .chain([(RouterId([0; 8]), 0)])
                    .collect(),
            },
        ),
        (
            "echo",
            Message::Echo {
                nonce: 7,
                sent_at: 1_000_000,
                counters,
            },
        ),
        (
            "echo-reply",
            Message::EchoReply {
                nonce: 7,
                sent_at: 1_000_000,
                counters,
            },
        ),
        ("bye", Message::Bye(ByeReason::Closing)),
        ("silent", Message::Silent(RouterId([7; 8]))),
        ("mtu-probe", Message::MtuProbe { nonce: 9, size: 1420 }),
        ("mtu-ack", Message::MtuAck { nonce: 9, size: 1420 }),
        ("relay-key", Message::RelayKey(relay_key)),
        ("relay-key-taken", Message::RelayKeyTaken(0x00ab_cdef)),
        ("unknown", Message::Unknown(18)),
    ];
    seeds.extend(
        Message::revocations(&revocation_list(3))
            .into_iter()
            .map(|part| ("revocations", part)),
    );
    seeds.extend(
        Message::revocations(&revocation_list(60))
            .into_iter()
            .skip(1)
            .map(|part| ("revocations-2", part)),
    );
    named(seeds, Message::encode)
}
