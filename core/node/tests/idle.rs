//! What an embedded leaf costs while nothing happens, beside a real registry and a real neighbour.
#![allow(clippy::unwrap_used)]

use osier_core::{
    Config, Service, TunChoice,
    control::types::JoinRequest,
    netwatch::{Source, Told},
    service::Embedded,
};
use osier_registry::{CreateOptions, InviteOptions, NetworkDir, Registry, ServeOptions, unix_now};
use std::{path::Path, time::Duration};
use tokio::{sync::watch, time::Instant};

/// A leaf dozes half a minute after its tunnels opened.
const DOZES: Duration = Duration::from_secs(60);
/// Longer than housekeeping of other nodes is apart, and than a registry holds a request.
const WINDOW: Duration = Duration::from_secs(62);

async fn start(dir: &Path, leaf: bool, told: watch::Receiver<Told>) -> Embedded {
    let mut config = Config::new(dir);
    config.tun = TunChoice::None;
    config.port_mapping = Some(false);
    config.leaf = Some(leaf);
    config.network = Source::Told(told);
    Service::start(config).await.unwrap()
}

async fn counter(service: &Embedded, name: &str) -> u64 {
    let status = service.status().await.unwrap();
    status.counters.get(name).copied().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_leaf_does_not_wake_between_beats() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("registry");
    NetworkDir::create(&place, CreateOptions::new("home"), unix_now()).unwrap();
    let registry = Registry::open(&place).await.unwrap();
    let listen = Some("127.0.0.1:0".parse().unwrap());
    let server = registry.serve(ServeOptions { listen }).await.unwrap();
    let url = format!("http://{}", server.address());

    let (_network, told) = watch::channel(Told {
        addresses: Some(vec!["127.0.0.1".parse().unwrap()]),
    });
    let mut services = Vec::new();
    for (name, leaf) in [("hub", false), ("phone", true)] {
        let service = start(&dir.path().join(name), leaf, told.clone()).await;
        let options = InviteOptions {
            urls: vec![url.clone()],
            ..InviteOptions::default()
        };
        let invite = registry.create_invite(options).await.unwrap().to_string();
        let name = Some(name.to_owned());
        service.join(JoinRequest { invite, name }).await.unwrap();
        services.push(service);
    }
    let (hub, phone) = (&services[0], &services[1]);

    let deadline = Instant::now() + DOZES;
    while counter(phone, "doze").await == 0 {
        assert!(Instant::now() < deadline, "it does not doze");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let before = counter(phone, "control-wakeups").await;
    // Nobody looks meanwhile.
    tokio::time::sleep(WINDOW).await;
    let wakeups = counter(phone, "control-wakeups").await - before;
    // The next beat is 110 s after the first; our question brings an answer from the neighbour.
    println!("{wakeups} wake-ups in {WINDOW:?}");
    assert!(wakeups <= 1, "{wakeups} wake-ups in {WINDOW:?}");
    assert!(counter(hub, "control-wakeups").await > 0, "it is counted at all");
    let to = hub.status().await.unwrap().name;
    let pong = phone.ping(&to, Duration::from_secs(5)).await.unwrap();
    assert!(pong.is_some(), "it is there all the same");

    for service in &services {
        service.stop().await;
    }
    server.stop().await;
}
