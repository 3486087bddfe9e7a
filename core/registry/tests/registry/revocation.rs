//! Revocation lists and those who wait for them.

use crate::fixture::{Extra, Fixture, options};
use osier_proto::registry_api::RevocationReply;
use osier_registry::{CreateOptions, Registry};
use std::time::{Duration, Instant};

#[tokio::test]
async fn each_revocation_makes_the_next_list() {
    let f = Fixture::start().await;
    let (oak, elm) = (f.member("oak").await, f.member("elm").await);
    let first = f.registry.revoke_node("oak").await.unwrap();
    assert_eq!(
        (first.node, first.list_number, first.already),
        (oak.keys.node_id(), 1, false)
    );
    // By the beginning of the key.
    let key = elm.keys.node_id().to_string();
    let second = f.registry.revoke_node(&key[..12]).await.unwrap();
    assert_eq!((second.name.as_str(), second.list_number), ("elm", 2));
    let again = f.registry.revoke_node("oak").await.unwrap();
    assert_eq!((again.list_number, again.already), (2, true));
    for (unknown, _) in [("ash", 0), (&key[..7], 0), ("ffffffffffff", 0), ("", 0)] {
        assert!(
            f.registry
                .revoke_node(unknown)
                .await
                .unwrap_err()
                .to_string()
                .contains("no node"),
            "{unknown}"
        );
    }
    let list = f.registry.revocations().await.unwrap();
    list.verify(&f.http.network, f.now()).unwrap();
    assert_eq!(list.number, 2);
    assert!(list.revokes(&oak.certificate) && list.revokes(&elm.certificate));
}

#[tokio::test]
async fn who_waits_is_told_within_two_seconds_of_a_revocation_made_elsewhere() {
    let f = Fixture::start().await;
    let waiting = f.member("oak").await;
    let revoked = f.member("elm").await;
    let (http, now) = (f.http.clone(), f.now());
    let waiter = tokio::spawn(async move {
        let reply: RevocationReply = http
            .get(&waiting.keys, now, "/v1/revocations?after=0&wait=60")
            .await
            .unwrap();
        (reply, Instant::now())
    });
    // Nothing comes while there is nothing.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(!waiter.is_finished());
    let elsewhere = Registry::open(&f.directory.path().join("net")).await.unwrap();
    elsewhere.revoke_node("elm").await.unwrap();
    let made = Instant::now();
    let (reply, told) = waiter.await.unwrap();
    assert!(told.saturating_duration_since(made) < Duration::from_secs(2));
    let list = reply.verify(&f.http.network, f.now()).unwrap();
    assert_eq!((reply.number, list.number), (1, 1));
    assert!(list.revokes(&revoked.certificate));
}

#[tokio::test]
async fn without_news_the_answer_comes_when_the_time_is_over() {
    let f = Fixture::start().await;
    let member = f.member("oak").await;
    let ask = async |query: &str| {
        let start = Instant::now();
        let path = format!("/v1/revocations{query}");
        let reply: RevocationReply = f.http.get(&member.keys, f.now(), &path).await.unwrap();
        (reply.number, start.elapsed())
    };
    let (number, took) = ask("?after=0&wait=1").await;
    assert_eq!(number, 0);
    assert!(
        (Duration::from_secs(1)..Duration::from_secs(5)).contains(&took),
        "{took:?}"
    );
    for query in ["", "?wait=60", "?after=0"] {
        assert!(ask(query).await.1 < Duration::from_secs(1), "{query}");
    }
}

#[tokio::test]
async fn a_server_that_stops_answers_those_who_wait() {
    let f = Fixture::start().await;
    let member = f.member("oak").await;
    let (http, now) = (f.http.clone(), f.now());
    let waiter = tokio::spawn(async move {
        http.get::<RevocationReply>(&member.keys, now, "/v1/revocations?after=0&wait=60")
            .await
    });
    let server = f.server;
    crate::fixture::until("the request has arrived", Duration::from_secs(10), async || {
        server.metrics().requests == 2
    })
    .await;
    let start = Instant::now();
    server.stop().await;
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(waiter.await.unwrap().unwrap().number, 0);
}

#[tokio::test]
async fn entries_leave_the_list_when_their_certificates_are_over() {
    let short = CreateOptions {
        certificate_lifetime: Duration::from_secs(3600),
        grace: Duration::from_secs(3600),
        ..options("short")
    };
    let f = Fixture::start_with(Extra {
        options: Some(&short),
        ..Extra::default()
    })
    .await;
    f.member("oak").await;
    f.registry.revoke_node("oak").await.unwrap();
    f.advance(4 * 3600);
    let elm = f.member("elm").await;
    f.registry.revoke_node("elm").await.unwrap();
    let list = f.registry.revocations().await.unwrap();
    assert_eq!(
        (list.number, list.revoked.as_slice()),
        (2, [(elm.keys.node_id(), u64::MAX)].as_slice())
    );
}

#[tokio::test]
async fn delegation_and_list_are_renewed_before_they_end() {
    let f = Fixture::start().await;
    let before = f.registry.dir().delegation();
    // Half of it is over: a server with the root key renews by itself.
    f.advance(400 * 86_400);
    let server = f.registry.serve(Default::default()).await.unwrap();
    crate::fixture::until("a new delegation", Duration::from_secs(10), async || {
        f.registry.dir().delegation().not_after > before.not_after
    })
    .await;
    server.stop().await;
    // The list carries the old delegation: it is signed anew before that ends.
    f.advance(320 * 86_400);
    let server = f.registry.serve(Default::default()).await.unwrap();
    crate::fixture::until("a new list", Duration::from_secs(10), async || {
        f.registry.revocations().await.unwrap().number == 1
    })
    .await;
    server.stop().await;
    let list = f.registry.revocations().await.unwrap();
    list.verify(&f.http.network, before.not_after.saturating_add(200 * 86_400))
        .unwrap();
}
