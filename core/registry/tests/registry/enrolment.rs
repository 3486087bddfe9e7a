//! Joining.

use crate::fixture::{Extra, Fixture, keys, options};
use osier_proto::{IpNet, identity::SecretKeys, registry_api::EnrolRequest};
use osier_registry::{CreateOptions, InviteOptions};
use reqwest::{Method, StatusCode};
use std::{collections::BTreeSet, time::Duration};

#[tokio::test]
async fn a_node_with_an_invite_gets_a_certificate_that_holds() {
    let f = Fixture::start().await;
    let invite = f.invite(1).await;
    assert_eq!(invite.root, f.registry.dir().network().root);
    let keys = keys();
    let reply = f.http.enrol(&invite, "willow", &keys).await.unwrap();
    let (certificate, network, revocations) = reply.verify(&invite.root, &keys, f.now()).unwrap();
    assert_eq!(certificate.name, "willow");
    assert!(certificate.flags.relay);
    assert_eq!(certificate.prefixes.len(), 1);
    assert_eq!(certificate.prefixes[0].prefix_len(), 64);
    assert!(network.network().prefix.contains(&certificate.prefixes[0]));
    assert_eq!(network.network().prefix.prefix_len(), 48);
    assert!(network.network().prefix.to_string().starts_with("fd"));
    let life = certificate.not_after.seconds_since(f.now());
    assert!((13 * 86_400..=14 * 86_400).contains(&life), "{life}");
    assert_eq!(revocations.number, 0);

    let nodes = f.registry.list_nodes().await.unwrap();
    assert_eq!(nodes.len(), 1);
    assert_eq!(
        (nodes[0].node, nodes[0].address),
        (keys.node_id(), certificate.address())
    );
    assert_eq!(f.server.metrics().enrolled, 1);
}

#[tokio::test]
async fn a_token_works_once() {
    let f = Fixture::start().await;
    let invite = f.invite(1).await;
    f.http.enrol(&invite, "first", &keys()).await.unwrap();
    let refused = f.http.enrol(&invite, "second", &keys()).await.unwrap_err();
    assert_eq!(
        (refused.status, refused.code.as_str()),
        (StatusCode::FORBIDDEN, "token-used")
    );
    assert_eq!(f.registry.list_nodes().await.unwrap().len(), 1);
}

#[tokio::test]
async fn expired_unknown_and_withdrawn_tokens_are_told_apart() {
    let f = Fixture::start().await;
    let short = InviteOptions {
        expires_in: Duration::from_secs(60),
        ..InviteOptions::default()
    };
    let invite = f.registry.create_invite(short).await.unwrap();
    f.advance(61);
    assert_eq!(
        f.http.enrol(&invite, "late", &keys()).await.unwrap_err().code,
        "token-expired"
    );

    let mut invite = f.invite(1).await;
    let infos = f.registry.list_invites().await.unwrap();
    let open = infos
        .iter()
        .find(|info| info.uses_left == 1 && info.expires > f.now())
        .unwrap();
    f.registry.revoke_invite(&open.id).await.unwrap();
    assert_eq!(
        f.http
            .enrol(&invite, "withdrawn", &keys())
            .await
            .unwrap_err()
            .code,
        "token-unknown"
    );
    assert!(
        f.registry
            .revoke_invite(&open.id)
            .await
            .unwrap_err()
            .to_string()
            .contains("no invite")
    );

    invite.token[3] ^= 1;
    assert_eq!(
        f.http.enrol(&invite, "guess", &keys()).await.unwrap_err().code,
        "token-unknown"
    );
    assert!(f.registry.list_nodes().await.unwrap().is_empty());
    assert_eq!(f.server.metrics().enrolments_refused, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_twenty_that_race_for_seven_uses_seven_get_in() {
    let f = Fixture::start().await;
    let invite = f.invite(7).await;
    let tasks: Vec<_> = (0..20)
        .map(|n| {
            let (http, invite) = (f.http.clone(), invite.clone());
            tokio::spawn(async move {
                let keys = keys();
                let reply = http.enrol(&invite, &format!("node-{n}"), &keys).await;
                reply.map(|reply| {
                    reply
                        .verify(&invite.root, &keys, osier_registry::unix_now())
                        .unwrap()
                        .0
                        .prefixes[0]
                })
            })
        })
        .collect();
    let mut prefixes = BTreeSet::<IpNet>::new();
    let mut refusals = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(prefix) => assert!(prefixes.insert(prefix), "{prefix} was given twice"),
            Err(refused) => {
                assert_eq!(refused.code, "token-used");
                refusals += 1;
            }
        }
    }
    assert_eq!((prefixes.len(), refusals), (7, 13));
    assert_eq!(f.registry.list_nodes().await.unwrap().len(), 7);
    assert_eq!(f.registry.list_invites().await.unwrap()[0].uses_left, 0);
}

#[tokio::test]
async fn asking_again_gives_the_same_prefix_and_takes_no_use() {
    let f = Fixture::start().await;
    let (invite, keys) = (f.invite(2).await, keys());
    let prefix = async |invite, name| {
        let reply = f.http.enrol(invite, name, &keys).await?;
        Ok::<_, crate::fixture::Refused>(
            reply
                .verify(&f.http.network.root, &keys, f.now())
                .unwrap()
                .0
                .prefixes[0],
        )
    };
    let first = prefix(&invite, "alder").await.unwrap();
    assert_eq!(prefix(&invite, "alder").await.unwrap(), first);
    assert_eq!(f.registry.list_invites().await.unwrap()[0].uses_left, 1);
    // Another name is another wish: it takes a use.
    assert_eq!(prefix(&invite, "ash").await.unwrap(), first);
    assert_eq!(prefix(&invite, "aspen").await.unwrap_err().code, "token-used");
    // The answer to the last successful one may still be asked for, even when the token has ended.
    f.advance(2 * 86_400);
    assert_eq!(prefix(&invite, "ash").await.unwrap(), first);
    // A fresh token works as well, and keeps the prefix.
    let fresh = f.invite(1).await;
    assert_eq!(prefix(&fresh, "ash").await.unwrap(), first);
    assert_eq!(f.registry.list_invites().await.unwrap()[0].uses_left, 0);
    assert_eq!(f.registry.list_nodes().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_name_belongs_to_one_member() {
    let f = Fixture::start().await;
    let invite = f.invite(3).await;
    f.http.enrol(&invite, "oak", &keys()).await.unwrap();
    let refused = f.http.enrol(&invite, "oak", &keys()).await.unwrap_err();
    assert_eq!(
        (refused.status, refused.code.as_str()),
        (StatusCode::CONFLICT, "name-taken")
    );
    // The refused one cost no use; the name of a revoked node is free.
    assert_eq!(f.registry.list_invites().await.unwrap()[0].uses_left, 2);
    f.registry.revoke_node("oak").await.unwrap();
    f.http.enrol(&invite, "oak", &keys()).await.unwrap();
}

#[tokio::test]
async fn a_full_network_says_so() {
    let small = CreateOptions {
        prefix: Some("fd00:1:2:30::/60".parse().unwrap()),
        ..options("small")
    };
    let f = Fixture::start_with(Extra {
        options: Some(&small),
        ..Extra::default()
    })
    .await;
    let invite = f.invite(20).await;
    for n in 1..16 {
        f.http.enrol(&invite, &format!("n{n}"), &keys()).await.unwrap();
    }
    let refused = f.http.enrol(&invite, "n16", &keys()).await.unwrap_err();
    assert_eq!(
        (refused.status, refused.code.as_str()),
        (StatusCode::INSUFFICIENT_STORAGE, "network-full")
    );
    let nodes = f.registry.list_nodes().await.unwrap();
    let prefixes: BTreeSet<_> = nodes.iter().map(|node| node.prefix).collect();
    assert_eq!(prefixes.len(), 15);
    assert!(
        prefixes
            .iter()
            .all(|prefix| small.prefix.unwrap().contains(prefix))
    );
}

#[tokio::test]
async fn proof_of_possession_cannot_be_forged_or_moved() {
    let f = Fixture::start().await;
    let (invite, mine, network) = (f.invite(1).await, keys(), f.http.network.id());
    let good = EnrolRequest::sign(invite.token, "elm", &mine, &network);
    let theirs = EnrolRequest::sign(invite.token, "elm", &keys(), &network);
    let forged = [
        EnrolRequest {
            node: theirs.node.clone(),
            ..good.clone()
        },
        EnrolRequest {
            tunnel_key: theirs.tunnel_key.clone(),
            ..good.clone()
        },
        EnrolRequest {
            name: "yew".into(),
            ..good.clone()
        },
        EnrolRequest {
            signature: theirs.signature.clone(),
            ..good.clone()
        },
        // Made for another network.
        EnrolRequest::sign(
            invite.token,
            "elm",
            &mine,
            &osier_proto::network::NetworkId([7; 16]),
        ),
    ];
    for request in &forged {
        let refused = f.http.post_enrol(request).await.unwrap_err();
        assert_eq!(
            (refused.status, refused.code.as_str()),
            (StatusCode::BAD_REQUEST, "malformed")
        );
        assert!(refused.message.contains("not signed"), "{}", refused.message);
    }
    f.http.post_enrol(&good).await.unwrap();
}

#[tokio::test]
async fn bad_fields_are_refused_and_named() {
    let f = Fixture::start().await;
    let (invite, network) = (f.invite(1).await, f.http.network.id());
    let sign = |name: &str, keys: &SecretKeys| EnrolRequest::sign(invite.token, name, keys, &network);
    let good = sign("elm", &keys());
    let long = "a".repeat(64);
    let requests = [
        (
            EnrolRequest {
                token: "!!!".into(),
                ..good.clone()
            },
            "base64url",
        ),
        (
            EnrolRequest {
                token: "AAAA".into(),
                ..good.clone()
            },
            "token",
        ),
        (
            EnrolRequest {
                node: String::new(),
                ..good.clone()
            },
            "node",
        ),
        (
            EnrolRequest {
                signature: format!("{}=", good.signature),
                ..good.clone()
            },
            "base64url",
        ),
        (sign("-elm", &keys()), "-elm"),
        (sign("Elm", &keys()), "Elm"),
        (sign("", &keys()), "name"),
        (sign(&long, &keys()), "1 to 63"),
        (sign("élm", &keys()), "name"),
    ];
    for (request, named) in requests {
        let refused = f.http.post_enrol(&request).await.unwrap_err();
        assert_eq!(
            (refused.status, refused.code.as_str()),
            (StatusCode::BAD_REQUEST, "malformed")
        );
        assert!(refused.message.contains(named), "{named}: {}", refused.message);
    }
    for body in [
        "",
        "{",
        "[]",
        "null",
        "{\"token\":1}",
        "{\"unknown\":true}",
        "\u{0}",
    ] {
        let request = f
            .http
            .request(Method::POST, "/v1/enrol")
            .header("content-type", "application/json");
        let refused = crate::fixture::refused(request.body(body).send().await.unwrap()).await;
        assert_eq!(
            (refused.status, refused.code.as_str()),
            (StatusCode::BAD_REQUEST, "malformed"),
            "{body}"
        );
    }
    assert_eq!(f.registry.list_invites().await.unwrap()[0].uses_left, 1);
}

#[tokio::test]
async fn clocks_an_hour_off_are_no_obstacle() {
    let f = Fixture::start().await;
    for (name, offset) in [("slow", -3600_i64), ("fast", 3600)] {
        let (invite, keys) = (f.invite(1).await, keys());
        let theirs = osier_proto::wallclock::UnixTime(f.now().0.checked_add_signed(offset).unwrap());
        let reply = f.http.enrol(&invite, name, &keys).await.unwrap();
        reply.verify(&invite.root, &keys, theirs).unwrap();
        f.http
            .renew(&keys, theirs)
            .await
            .unwrap()
            .verify(&invite.root, &keys, theirs)
            .unwrap();
    }
}

#[tokio::test]
async fn invites_that_cannot_work_are_not_made() {
    let f = Fixture::start().await;
    let attempt = async |change: fn(&mut InviteOptions)| {
        let mut options = InviteOptions::default();
        change(&mut options);
        f.registry.create_invite(options).await.unwrap_err().to_string()
    };
    assert!(attempt(|o| o.uses = 0).await.contains("uses"));
    assert!(attempt(|o| o.expires_in = Duration::ZERO).await.contains("lasts"));
    assert!(
        attempt(|o| o.urls = vec!["registry.example".into()])
            .await
            .contains("http")
    );
    assert!(
        attempt(|o| o.urls = vec!["http://x".into(); 9])
            .await
            .contains("at most")
    );
    assert!(f.registry.list_invites().await.unwrap().is_empty());
}
