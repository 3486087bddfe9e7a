//! What members ask for: renewal, publication, the directory.

use crate::fixture::{Extra, Fixture, Member, keys, options, refused};
use osier_proto::{
    identity::NodeId,
    record::Bundle,
    registry_api::{AUTH_HEADER, AuthToken, DirectoryReply, NetworkReply},
};
use osier_registry::CreateOptions;
use reqwest::{Method, StatusCode};
use std::{collections::BTreeSet, time::Duration};

const HOUR: u64 = 3600;

#[tokio::test]
async fn renewal_gives_a_later_certificate_for_the_same_prefix() {
    let f = Fixture::start().await;
    let member = f.member("birch").await;
    f.advance(7 * 24 * HOUR);
    let reply = f.http.renew(&member.keys, f.now()).await.unwrap();
    let (renewed, ..) = reply.verify(&f.http.network.root, &member.keys, f.now()).unwrap();
    assert_eq!(renewed.prefixes, member.certificate.prefixes);
    assert_eq!(renewed.name, "birch");
    assert!(renewed.serial > member.certificate.serial);
    assert_eq!(
        renewed.not_after.seconds_since(member.certificate.not_after),
        7 * 24 * HOUR
    );
    assert_eq!(f.server.metrics().renewed, 1);
}

#[tokio::test]
async fn a_revoked_node_gets_nothing_any_more() {
    let f = Fixture::start().await;
    let member = f.member("birch").await;
    f.registry.revoke_node("birch").await.unwrap();
    let now = f.now();
    assert_eq!(f.http.renew(&member.keys, now).await.unwrap_err().code, "revoked");
    for path in ["/v1/directory", "/v1/revocations"] {
        let refused = f
            .http
            .get::<serde_json::Value>(&member.keys, now, path)
            .await
            .unwrap_err();
        assert_eq!(
            (refused.status, refused.code.as_str()),
            (StatusCode::FORBIDDEN, "revoked")
        );
    }
    let bundle = member.bundle(&f.http.network, 1);
    assert_eq!(
        f.http.publish(&member.keys, now, &bundle).await.unwrap_err().code,
        "revoked"
    );
    let invite = f.invite(1).await;
    assert_eq!(
        f.http
            .enrol(&invite, "birch", &member.keys)
            .await
            .unwrap_err()
            .code,
        "revoked"
    );
    let left: u64 = f
        .registry
        .list_invites()
        .await
        .unwrap()
        .iter()
        .map(|invite| invite.uses_left)
        .sum();
    assert_eq!(left, 1);
}

#[tokio::test]
async fn an_expired_certificate_is_renewed_within_the_grace_only() {
    let options = CreateOptions {
        certificate_lifetime: Duration::from_secs(24 * HOUR),
        grace: Duration::from_secs(48 * HOUR),
        ..options("grace")
    };
    let f = Fixture::start_with(Extra {
        options: Some(&options),
        ..Extra::default()
    })
    .await;
    let member = f.member("birch").await;
    f.advance((24 + 47) * HOUR);
    assert!(member.certificate.verify(&f.http.network, f.now()).is_err());
    let reply = f.http.renew(&member.keys, f.now()).await.unwrap();
    reply.verify(&f.http.network.root, &member.keys, f.now()).unwrap();

    f.advance((24 + 50) * HOUR);
    let refused = f.http.renew(&member.keys, f.now()).await.unwrap_err();
    assert_eq!(
        (refused.status, refused.code.as_str()),
        (StatusCode::FORBIDDEN, "not-a-member")
    );
    assert!(refused.message.contains("invite"), "{}", refused.message);
    // It comes back with an invite, to its old prefix.
    let invite = f.invite(1).await;
    let reply = f.http.enrol(&invite, "birch", &member.keys).await.unwrap();
    let (certificate, ..) = reply.verify(&invite.root, &member.keys, f.now()).unwrap();
    assert_eq!(certificate.prefixes, member.certificate.prefixes);
}

#[tokio::test]
async fn requests_of_strangers_and_forgers_are_refused() {
    let f = Fixture::start().await;
    let member = f.member("birch").await;
    let (now, network) = (f.now(), f.http.network.id());
    let stranger = f.http.renew(&keys(), now).await.unwrap_err();
    assert_eq!(
        (stranger.status, stranger.code.as_str()),
        (StatusCode::FORBIDDEN, "not-a-member")
    );

    let purpose = "POST /v1/renew";
    let mut stolen = AuthToken::sign(&keys(), &network, now, purpose, b"");
    stolen.node = member.keys.node_id();
    let sign =
        |at, purpose: &str, body: &[u8]| AuthToken::sign(&member.keys, &network, at, purpose, body).encode();
    let headers = [
        (None, "missing"),
        (Some(String::new()), "CBOR"),
        (Some("*".repeat(100)), "base64url"),
        (Some("A".repeat(8000)), "at most"),
        (Some(stolen.encode()), "not signed"),
        (Some(sign(now, "PUT /v1/record", b"")), "another method"),
        (Some(sign(now, purpose, b"other body")), "body"),
        (Some(sign(now.saturating_sub(3 * HOUR), purpose, b"")), "clock"),
        (Some(sign(now.saturating_add(3 * HOUR), purpose, b"")), "clock"),
    ];
    for (header, named) in headers {
        let request = f.http.request(Method::POST, "/v1/renew");
        let request = match header {
            Some(header) => request.header(AUTH_HEADER, header),
            None => request,
        };
        let refused = refused(request.send().await.unwrap()).await;
        assert_eq!(
            (refused.status, refused.code.as_str()),
            (StatusCode::UNAUTHORIZED, "unauthenticated"),
            "{named}"
        );
        assert!(refused.message.contains(named), "{named}: {}", refused.message);
    }
    assert_eq!(f.server.metrics().renewed, 0);
}

#[tokio::test]
async fn a_record_is_replaced_by_newer_ones_only() {
    let f = Fixture::start().await;
    let member = f.member("birch").await;
    let (now, network) = (f.now(), &f.http.network);
    let publish = async |bundle: &Bundle| f.http.publish(&member.keys, now, bundle).await;
    publish(&member.bundle(network, 5)).await.unwrap();
    // The same again: the answer may have been lost.
    publish(&member.bundle(network, 5)).await.unwrap();
    let replayed = publish(&member.bundle(network, 4)).await.unwrap_err();
    assert_eq!(
        (replayed.status, replayed.code.as_str()),
        (StatusCode::CONFLICT, "stale-record")
    );
    publish(&member.bundle(network, 6)).await.unwrap();
    assert_eq!(
        publish(&member.bundle(network, 5)).await.unwrap_err().code,
        "stale-record"
    );
    // A renewed certificate with the same record is news.
    let reply = f.http.renew(&member.keys, now).await.unwrap();
    let (certificate, ..) = reply.verify(&network.root, &member.keys, now).unwrap();
    let renewed = Member {
        keys: osier_proto::identity::SecretKeys::from_entropy(member.keys.to_bytes()),
        certificate,
    };
    publish(&renewed.bundle(network, 6)).await.unwrap();
    assert_eq!(
        publish(&member.bundle(network, 6)).await.unwrap_err().code,
        "stale-record"
    );
}

#[tokio::test]
async fn records_of_others_and_forged_ones_are_refused() {
    let f = Fixture::start().await;
    let (birch, beech) = (f.member("birch").await, f.member("beech").await);
    let (now, network) = (f.now(), &f.http.network);
    let mixed = Bundle {
        certificate: birch.certificate.clone(),
        record: beech.bundle(network, 1).record,
    };
    let foreign = Fixture::start().await;
    let outsider = foreign.member("birch").await.bundle(&foreign.http.network, 1);
    for bundle in [
        beech.bundle(network, 1),
        mixed,
        outsider,
        birch.bundle(network, u64::MAX),
    ] {
        let refused = f.http.publish(&birch.keys, now, &bundle).await.unwrap_err();
        assert_eq!(
            (refused.status, refused.code.as_str()),
            (StatusCode::BAD_REQUEST, "malformed")
        );
    }
    for text in [
        "{\"bundle\":\"\"}",
        "{\"bundle\":\"_-_-\"}",
        "{\"bundle\":\"=\"}",
        "{}",
    ] {
        let response = f
            .http
            .signed(&birch.keys, now, Method::PUT, "/v1/record", text.into())
            .await;
        assert_eq!(refused(response).await.code, "malformed", "{text}");
    }
    assert_eq!(f.server.metrics().published, 0);
}

#[tokio::test]
async fn the_directory_is_a_random_sample_of_the_other_members() {
    let f = Fixture::start_with(Extra {
        limits: "requests_per_second = 1000",
        ..Extra::default()
    })
    .await;
    let mut members = Vec::new();
    for n in 0..10 {
        let member = f.member(&format!("m{n}")).await;
        f.http
            .publish(&member.keys, f.now(), &member.bundle(&f.http.network, 1))
            .await
            .unwrap();
        members.push(member);
    }
    let sample = async |keys, query: &str| -> BTreeSet<NodeId> {
        let reply: DirectoryReply = f
            .http
            .get(keys, f.now(), &format!("/v1/directory{query}"))
            .await
            .unwrap();
        let (bundles, _) = reply.verify(&f.http.network, f.now()).unwrap();
        assert_eq!(bundles.len(), reply.bundles.len());
        bundles.iter().map(|bundle| bundle.certificate.node).collect()
    };
    let asking = members.remove(0).keys;
    let asking = &asking;
    let mut seen = BTreeSet::new();
    for _ in 0..30 {
        let some = sample(asking, "?limit=3").await;
        assert_eq!(some.len(), 3);
        seen.extend(some);
    }
    assert_eq!(seen.len(), 9, "the sample is not random");
    assert!(!seen.contains(&asking.node_id()));
    assert_eq!(sample(asking, "").await.len(), 9);
    assert_eq!(sample(asking, "?limit=0").await.len(), 0);
    assert_eq!(sample(asking, "?limit=99999999").await.len(), 9);
    let refused = f
        .http
        .get::<DirectoryReply>(asking, f.now(), "/v1/directory?limit=-1")
        .await
        .unwrap_err();
    assert_eq!(
        (refused.status, refused.code.as_str()),
        (StatusCode::BAD_REQUEST, "malformed")
    );

    // The revoked and the expired are left out.
    f.registry.revoke_node("m3").await.unwrap();
    assert!(!sample(asking, "").await.contains(&members[2].keys.node_id()));
    f.advance(10 * 24 * HOUR);
    let renewed = f.http.renew(&members[3].keys, f.now()).await.unwrap();
    let (certificate, ..) = renewed
        .verify(&f.http.network.root, &members[3].keys, f.now())
        .unwrap();
    members[3].certificate = certificate;
    f.http
        .publish(&members[3].keys, f.now(), &members[3].bundle(&f.http.network, 2))
        .await
        .unwrap();
    f.advance(5 * 24 * HOUR);
    assert_eq!(
        sample(asking, "").await,
        BTreeSet::from([members[3].keys.node_id()])
    );
}

#[tokio::test]
async fn anybody_may_read_the_network_and_the_health() {
    let f = Fixture::start().await;
    let reply: NetworkReply =
        crate::fixture::answer(f.http.request(Method::GET, "/v1/network").send().await.unwrap())
            .await
            .unwrap();
    let network = reply.verify(&f.http.network.root).unwrap();
    assert_eq!(network.network(), &f.http.network);
    f.member("birch").await;
    let health: serde_json::Value =
        crate::fixture::answer(f.http.request(Method::GET, "/v1/health").send().await.unwrap())
            .await
            .unwrap();
    assert_eq!(health["status"], "ok");
    assert_eq!(health["metrics"]["enrolled"], 1);
}
