//! Joining, leaving and the registry worker, against a real registry in the same process.
#![allow(clippy::unwrap_used, clippy::panic)]

use osier_core::{
    join::{JoinError, JoinOptions, LeaveError, join, leave},
    membership::Membership,
    registry::{Client, Job, Registries, RegistryError, Report, Worker, WorkerConfig},
    sockets::Sockets,
    state::{StateDir, StateError},
};
use osier_proto::invite::Invite;
use osier_registry::{CreateOptions, InviteOptions, NetworkDir, Registry, ServeOptions, Server, unix_now};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

const SOON: Duration = Duration::from_secs(20);

/// A registry with directories for it and for nodes, all gone with the value.
struct World {
    path: PathBuf,
    registry: Registry,
    server: Option<Server>,
    address: SocketAddr,
}

impl World {
    async fn new(tls: bool) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("osier-join-{}-{unique}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let dir = path.join("registry");
        let network = NetworkDir::create(&dir, CreateOptions::new("home"), unix_now()).unwrap();
        if tls {
            network.create_self_signed(&["127.0.0.1".into()]).unwrap();
        }
        let registry = Registry::open(&dir).await.unwrap();
        let listen = Some("127.0.0.1:0".parse().unwrap());
        let server = registry.serve(ServeOptions { listen }).await.unwrap();
        let address = server.address();
        Self {
            path,
            registry,
            server: Some(server),
            address,
        }
    }

    fn url(&self) -> String {
        let scheme = if self.server.as_ref().is_some_and(Server::tls) {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.address)
    }

    async fn invite(&self, uses: u64, urls: &[&str]) -> Invite {
        let urls = urls.iter().map(|u| (*u).to_owned()).collect();
        self.registry
            .create_invite(InviteOptions {
                uses,
                urls,
                ..InviteOptions::default()
            })
            .await
            .unwrap()
    }

    fn options(&self, name: &str) -> JoinOptions {
        JoinOptions {
            state_dir: self.path.join(name),
            name: Some(name.into()),
        }
    }

    /// Joins as `name` and gives what the node would start from.
    async fn member(&self, name: &str) -> Membership {
        let invite = self.invite(1, &[&self.url()]).await;
        let options = self.options(name);
        join(&invite, &options).await.unwrap();
        Membership::load(&StateDir::open(&options.state_dir).unwrap()).unwrap()
    }

    async fn stop(&mut self) {
        self.server.take().unwrap().stop().await;
    }

    async fn start(&mut self) {
        let listen = Some(self.address);
        self.server = Some(self.registry.serve(ServeOptions { listen }).await.unwrap());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn worker(membership: &Membership, holds_requests: bool) -> (Worker, mpsc::Receiver<Report>) {
    let network = membership.network.clone();
    let client = Client::new(
        membership.registries.clone(),
        membership.keys.clone(),
        network.id(),
        Sockets::default(),
    )
    .unwrap();
    let (reports, reader) = mpsc::channel(16);
    let config = WorkerConfig {
        client: Arc::new(client),
        network,
        revocation_number: 0,
        holds_requests,
    };
    (Worker::start(config, reports), reader)
}

/// The first report that `wanted` takes.
async fn until<T>(reports: &mut mpsc::Receiver<Report>, wanted: impl Fn(Report) -> Option<T>) -> T {
    let search = async {
        loop {
            if let Some(found) = wanted(reports.recv().await.unwrap()) {
                return found;
            }
        }
    };
    tokio::time::timeout(SOON, search).await.unwrap()
}

fn files(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn join_fills_the_directory_once() {
    let world = World::new(false).await;
    let invite = world.invite(1, &[&world.url()]).await;
    let options = world.options("alice");
    let joined = join(&invite, &options).await.unwrap();
    assert_eq!(
        (
            joined.name.as_str(),
            joined.network.as_str(),
            joined.already_member
        ),
        ("alice", "home", false)
    );
    assert!(joined.network_prefix.contains(&joined.prefixes[0]));
    let expected = [
        "certificate",
        "identity.key",
        "network",
        "registries",
        "revocations",
    ];
    assert_eq!(files(&options.state_dir), expected);

    let again = join(&invite, &options).await.unwrap();
    assert!(again.already_member);
    assert_eq!(again.address, joined.address);

    let other = World::new(false).await;
    let foreign = other.invite(1, &[&other.url()]).await;
    assert!(matches!(
        join(&foreign, &options).await,
        Err(JoinError::OtherNetwork { .. })
    ));
    assert_eq!(files(&options.state_dir), expected);
}

#[tokio::test]
async fn refused_join_leaves_nothing_behind() {
    let world = World::new(false).await;
    let invite = world.invite(1, &[&world.url()]).await;
    join(&invite, &world.options("alice")).await.unwrap();
    let options = world.options("bob");
    match join(&invite, &options).await {
        Err(JoinError::Refused { code, .. }) => assert_eq!(code, "token-used"),
        other => panic!("{other:?}"),
    }
    assert!(!options.state_dir.exists());
    // A directory that was there stays.
    std::fs::create_dir(&options.state_dir).unwrap();
    join(&invite, &options).await.unwrap_err();
    assert_eq!(files(&options.state_dir), Vec::<String>::new());
    let bad = JoinOptions {
        name: Some("no spaces".into()),
        ..options
    };
    assert!(matches!(join(&invite, &bad).await, Err(JoinError::BadName(_))));
}

#[tokio::test]
async fn answer_lost_on_the_way_costs_no_second_invite() {
    let world = World::new(false).await;
    // Passes the request on and keeps the answer.
    let thief = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bad = format!("http://{}", thief.local_addr().unwrap());
    let registry = world.address;
    let robbery = tokio::spawn(async move {
        let (mut from, _) = thief.accept().await.unwrap();
        let mut to = TcpStream::connect(registry).await.unwrap();
        let mut buffer = [0; 8192];
        loop {
            tokio::select! {
                read = from.read(&mut buffer) => to.write_all(&buffer[..read.unwrap()]).await.unwrap(),
                read = async { let mut stolen = [0; 8192]; to.read(&mut stolen).await } => {
                    assert!(read.unwrap() > 0);
                    return;
                }
            }
        }
    });
    let invite = world.invite(1, &[&bad]).await;
    let options = world.options("alice");
    assert!(matches!(
        join(&invite, &options).await,
        Err(JoinError::Unreachable(_))
    ));
    robbery.await.unwrap();
    assert_eq!(files(&options.state_dir), ["identity.key.pending"]);
    // The same token, which has been used up by these very keys.
    let invite = Invite {
        registries: vec![world.url()],
        ..invite
    };
    join(&invite, &options).await.unwrap();
    assert!(!files(&options.state_dir).contains(&"identity.key.pending".to_owned()));
}

#[tokio::test]
async fn registries_are_tried_in_order() {
    let world = World::new(false).await;
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let dead = format!("http://{closed}");
    let invite = world.invite(1, &[&dead, &world.url()]).await;
    join(&invite, &world.options("alice")).await.unwrap();
    let invite = world.invite(1, &[&dead]).await;
    match join(&invite, &world.options("bob")).await {
        Err(JoinError::Unreachable(reason)) => assert!(reason.contains(&dead), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn self_signed_registry_is_known_by_its_pin() {
    let world = World::new(true).await;
    let invite = world.invite(2, &[&world.url()]).await;
    assert!(invite.tls_pin.is_some());
    join(&invite, &world.options("alice")).await.unwrap();
    for wrong in [Some([1; 32]), None] {
        let invite = Invite {
            tls_pin: wrong,
            ..invite.clone()
        };
        match join(&invite, &world.options("bob")).await {
            Err(JoinError::Unreachable(reason)) => assert!(reason.contains("certificate"), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn worker_fetches_members_and_hears_of_revocations_at_once() {
    let world = World::new(false).await;
    let alice = world.member("alice").await;
    let bob = world.member("bob").await;
    let (worker, mut reports) = worker(&alice, true);
    worker.submit(Job::FetchDirectory);
    worker.submit(Job::Renew);
    until(&mut reports, |report| {
        matches!(report, Report::Directory(..)).then_some(())
    })
    .await;
    let renewed = until(&mut reports, |report| match report {
        Report::Renewed(renewed) => Some(renewed.0),
        Report::Failed(error) => panic!("{error}"),
        _ => None,
    })
    .await;
    assert_eq!(renewed.node, alice.keys.node_id());
    assert!(renewed.serial > alice.certificate.serial);
    world.registry.revoke_node("bob").await.unwrap();
    let list = until(&mut reports, |report| match report {
        Report::Revocations(list) => Some(list),
        _ => None,
    })
    .await;
    assert!(list.revokes(&bob.certificate));
    assert!(!list.revokes(&alice.certificate));
}

#[tokio::test]
async fn worker_of_a_leaf_asks_for_revocations_when_it_is_told_to() {
    let world = World::new(false).await;
    let alice = world.member("alice").await;
    let bob = world.member("bob").await;
    let (worker, mut reports) = worker(&alice, false);
    world.registry.revoke_node("bob").await.unwrap();
    // It holds no request: the first that is heard of the registry is the answer to this.
    worker.submit(Job::FetchDirectory);
    let first = reports.recv().await.unwrap();
    assert!(matches!(first, Report::Reachable { .. }), "{first:?}");
    assert!(matches!(reports.recv().await, Some(Report::Directory(..))));
    // The registry's server looks for newer lists every now and then.
    let asks = async {
        loop {
            worker.submit(Job::FetchRevocations);
            match reports.recv().await.unwrap() {
                Report::Revocations(list) => return list,
                Report::Failed(error) => panic!("{error}"),
                _ => tokio::time::sleep(Duration::from_millis(500)).await,
            }
        }
    };
    let list = tokio::time::timeout(SOON, asks).await.unwrap();
    assert!(list.revokes(&bob.certificate));
}

#[tokio::test]
async fn dead_registry_is_reported_and_found_again() {
    let mut world = World::new(false).await;
    let alice = world.member("alice").await;
    world.stop().await;
    let (worker, mut reports) = worker(&alice, true);
    worker.submit(Job::FetchDirectory);
    let error = until(&mut reports, |report| match report {
        Report::Failed(error) => Some(error),
        _ => None,
    })
    .await;
    assert!(matches!(error, RegistryError::Unreachable(_)), "{error:?}");
    world.start().await;
    // The job was kept.
    until(&mut reports, |report| {
        matches!(report, Report::Directory(..)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn revoked_member_is_refused_with_a_code() {
    let world = World::new(false).await;
    let alice = world.member("alice").await;
    world.registry.revoke_node("alice").await.unwrap();
    let client = Client::new(
        alice.registries.clone(),
        alice.keys.clone(),
        alice.network.id(),
        Sockets::default(),
    )
    .unwrap();
    match client.renew(&alice.network.root).await {
        Err(RegistryError::Refused { code, .. }) => assert_eq!(code, "revoked"),
        other => panic!("{other:?}"),
    }
    let none = Client::new(
        Registries::default(),
        alice.keys.clone(),
        alice.network.id(),
        Sockets::default(),
    )
    .unwrap();
    assert_eq!(
        none.renew(&alice.network.root).await.unwrap_err(),
        RegistryError::NoneConfigured
    );
}

#[tokio::test]
async fn leaving_removes_everything_but_not_under_a_running_daemon() {
    let world = World::new(false).await;
    world.member("alice").await;
    let dir = world.path.join("alice");
    std::fs::write(dir.join("settings.toml"), "port = 1\n").unwrap();
    let running = StateDir::open(&dir).unwrap();
    assert!(matches!(
        leave(&dir).await,
        Err(LeaveError::State(StateError::Locked { .. }))
    ));
    drop(running);
    let left = leave(&dir).await.unwrap();
    assert_eq!((left.name.as_str(), left.network.as_str()), ("alice", "home"));
    assert_eq!(files(&dir), ["settings.toml"]);
    assert!(matches!(leave(&dir).await, Err(LeaveError::NotAMember(_))));
}
