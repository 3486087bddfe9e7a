//! Postgres for real: a private server on a Unix socket.

use crate::fixture::{Fixture, Http, amend_settings, keys, options, refused, until};
use osier_proto::{invite::Invite, wallclock::UnixTime};
use osier_registry::{
    CreateOptions, Database, DatabaseKind, InviteOptions, NetworkDir, Registry, ServeOptions, Server,
    unix_now,
};
use reqwest::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;

const NOBODY: u32 = 65_534;

/// A Postgres server, its data and its socket in one temporary directory.
struct Postgres {
    binaries: PathBuf,
    directory: TempDir,
    server: Option<Child>,
}

impl Postgres {
    fn start() -> Self {
        let directory = TempDir::with_prefix("osier-pg-").unwrap();
        let binaries = binaries().expect("PostgreSQL's server is missing: apt-get install postgresql");
        let mut postgres = Self {
            binaries,
            directory,
            server: None,
        };
        let data = postgres.data();
        let output = ordinary_user(&postgres.binaries.join("initdb"), postgres.directory.path())
            .args([
                "--auth=trust",
                "--username=osier",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                "-D",
            ])
            .arg(&data)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        postgres.run();
        postgres
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn run(&mut self) {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.path().join("log"))
            .unwrap();
        let child = ordinary_user(&self.binaries.join("postgres"), self.directory.path())
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(self.directory.path())
            .args(["-c", "listen_addresses=", "-c", "fsync=off"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.server = Some(child);
        let ready = || {
            let done = Command::new(self.binaries.join("pg_isready"))
                .args(["-q", "-h"])
                .arg(self.directory.path())
                .status();
            done.is_ok_and(|status| status.success())
        };
        let start = Instant::now();
        while !ready() {
            let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "Postgres does not start:\n{log}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// At once, with connections cut.
    fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = kill_process(Pid::from_child(&server), Signal::QUIT);
            let _ = server.wait();
        }
    }

    fn url(&self) -> String {
        format!(
            "postgres://osier@localhost/postgres?host={}",
            self.directory.path().display()
        )
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

fn binaries() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let debian = versions.map(|version| version.path().join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    let elsewhere: Vec<_> = env::split_paths(&path).collect();
    debian
        .chain(elsewhere)
        .find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
}

/// Postgres refuses root. Root, real or of a namespace, takes another number in a user namespace, in which the
/// files stay its own; where that is forbidden, it becomes nobody. The server dies with the test.
fn ordinary_user(program: &Path, directory: &Path) -> Command {
    const MAPPED: [&str; 3] = ["--user", "--map-user=1000", "--map-group=1000"];
    let mut command = if !rustix::process::geteuid().is_root() {
        Command::new("setpriv")
    } else if Command::new("unshare")
        .args(MAPPED)
        .arg("true")
        .status()
        .is_ok_and(|status| status.success())
    {
        let mut command = Command::new("unshare");
        command.args(MAPPED).arg("setpriv");
        command
    } else {
        chown(directory, Some(NOBODY), Some(NOBODY)).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command
    };
    command
        .args(["--pdeathsig", "QUIT"])
        .arg(program)
        .current_dir("/");
    command
}

/// Two directories of one network, as on two machines that share a database.
fn two_directories(postgres: &Postgres) -> (TempDir, [PathBuf; 2]) {
    let directory = TempDir::with_prefix("osier-registry-").unwrap();
    let paths = [directory.path().join("one"), directory.path().join("two")];
    let options = CreateOptions {
        database: Some(postgres.url()),
        ..options("shared")
    };
    NetworkDir::create(&paths[0], options, unix_now()).unwrap();
    amend_settings(&paths[0], "", "requests_per_second = 10000");
    fs::create_dir(&paths[1]).unwrap();
    for entry in fs::read_dir(&paths[0]).unwrap() {
        let entry = entry.unwrap();
        // The root key stays on the first machine.
        if entry.file_name() != "root.key" {
            fs::copy(entry.path(), paths[1].join(entry.file_name())).unwrap();
        }
    }
    (directory, paths)
}

async fn serve(path: &Path) -> (Registry, Server, Http) {
    let registry = Registry::open(path).await.unwrap();
    let server = registry.serve(ServeOptions::default()).await.unwrap();
    let http = Http::to(&server, registry.dir().network());
    (registry, server, http)
}

async fn invite(registry: &Registry, uses: u64) -> Invite {
    registry
        .create_invite(InviteOptions {
            uses,
            ..InviteOptions::default()
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn everything_works_on_postgres_as_on_sqlite() {
    let postgres = Postgres::start();
    let directory = TempDir::with_prefix("osier-registry-").unwrap();
    let path = directory.path().join("net");
    let options = CreateOptions {
        database: Some(postgres.url()),
        ..options("postgres")
    };
    NetworkDir::create(&path, options, unix_now()).unwrap();
    let f = Fixture::open(directory, &path).await;
    assert_eq!(f.registry.database().kind(), DatabaseKind::Postgres);
    let (oak, elm) = (f.member("oak").await, f.member("elm").await);
    assert_ne!(oak.certificate.prefixes, elm.certificate.prefixes);
    for (member, sequence) in [(&oak, 1), (&elm, 1), (&elm, 2)] {
        f.http
            .publish(&member.keys, f.now(), &member.bundle(&f.http.network, sequence))
            .await
            .unwrap();
    }
    let stale = f
        .http
        .publish(&elm.keys, f.now(), &elm.bundle(&f.http.network, 1))
        .await
        .unwrap_err();
    assert_eq!(stale.code, "stale-record");
    let found: osier_proto::registry_api::DirectoryReply =
        f.http.get(&oak.keys, f.now(), "/v1/directory").await.unwrap();
    assert_eq!(
        found.verify(&f.http.network, f.now()).unwrap().0,
        [elm.bundle(&f.http.network, 2)]
    );
    f.http.renew(&oak.keys, f.now()).await.unwrap();
    let taken = f
        .http
        .enrol(&f.invite(1).await, "oak", &keys())
        .await
        .unwrap_err();
    assert_eq!(taken.code, "name-taken");
    f.registry.revoke_node("elm").await.unwrap();
    assert_eq!(
        f.http.renew(&elm.keys, f.now()).await.unwrap_err().code,
        "revoked"
    );
    assert!(f.registry.revocations().await.unwrap().revokes(&elm.certificate));
    assert_eq!(f.registry.list_nodes().await.unwrap().len(), 2);
    let open = &f.registry.list_invites().await.unwrap()[0];
    f.registry.revoke_invite(&open.id).await.unwrap();
    // Opening it again finds the schema in place.
    Database::open(&postgres.url()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_registries_share_tokens_and_prefixes() {
    let postgres = Postgres::start();
    let (_directory, paths) = two_directories(&postgres);
    // Both make the schema at once.
    let (one, two) = tokio::join!(serve(&paths[0]), serve(&paths[1]));
    let invite = invite(&one.0, 20).await;
    let tasks: Vec<_> = (0..40)
        .map(|n| {
            let http = if n % 2 == 0 { one.2.clone() } else { two.2.clone() };
            let invite = invite.clone();
            tokio::spawn(async move {
                let keys = keys();
                let reply = http.enrol(&invite, &format!("n{n}"), &keys).await;
                reply.map(|reply| reply.verify(&invite.root, &keys, unix_now()).unwrap().0)
            })
        })
        .collect();
    let (mut prefixes, mut serials, mut refusals) = (BTreeSet::new(), BTreeSet::new(), 0);
    for task in tasks {
        match task.await.unwrap() {
            Ok(certificate) => {
                assert!(
                    prefixes.insert(certificate.prefixes[0]),
                    "{} was given twice",
                    certificate.prefixes[0]
                );
                assert!(serials.insert(certificate.serial));
            }
            Err(refused) => {
                assert_eq!(refused.code, "token-used");
                refusals += 1;
            }
        }
    }
    assert_eq!((prefixes.len(), refusals), (20, 20));
    // A revocation made at one is known at the other.
    two.0
        .revoke_node(&two.0.list_nodes().await.unwrap()[0].name)
        .await
        .unwrap();
    assert_eq!(one.0.revocations().await.unwrap().number, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn when_one_of_two_registries_is_killed_enrolment_goes_on_at_the_other() {
    const CHILD: &str = "OSIER_TEST_REGISTRY";
    if let Some(path) = env::var_os(CHILD) {
        // We are the registry that gets killed.
        let (_registry, server, _http) = serve(Path::new(&path)).await;
        println!("\nlistening on {}", server.address());
        return std::future::pending().await;
    }
    let postgres = Postgres::start();
    let (_directory, paths) = two_directories(&postgres);
    let (registry, _server, surviving) = serve(&paths[0]).await;
    let mut child = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "postgres::when_one_of_two_registries_is_killed_enrolment_goes_on_at_the_other",
        ])
        .arg("--nocapture")
        .env(CHILD, &paths[1])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines
        .find_map(|line| line.unwrap().strip_prefix("listening on ").map(str::to_owned))
        .unwrap();
    let doomed = Http {
        base: format!("http://{address}"),
        ..surviving.clone()
    };

    let invite = invite(&registry, 200).await;
    let enrolled_there = Arc::new(AtomicUsize::new(0));
    // Each node tries the doomed one first and then the other, with the same keys: like a node with an invite
    // that names both.
    let tasks: Vec<_> = (0..60)
        .map(|n| {
            let (doomed, surviving, invite) = (doomed.clone(), surviving.clone(), invite.clone());
            let enrolled_there = Arc::clone(&enrolled_there);
            tokio::spawn(async move {
                let keys = keys();
                let request = osier_proto::registry_api::EnrolRequest::sign(
                    invite.token,
                    &format!("n{n}"),
                    &keys,
                    &surviving.network.id(),
                );
                let sent = doomed
                    .request(Method::POST, "/v1/enrol")
                    .json(&request)
                    .send()
                    .await;
                let reply = match sent.and_then(reqwest::Response::error_for_status) {
                    Ok(response) => response
                        .json::<osier_proto::registry_api::EnrolReply>()
                        .await
                        .ok(),
                    Err(_) => None,
                };
                let reply = match reply {
                    Some(reply) => {
                        enrolled_there.fetch_add(1, Ordering::SeqCst);
                        reply
                    }
                    None => surviving.post_enrol(&request).await.unwrap(),
                };
                (
                    keys.node_id(),
                    reply.verify(&invite.root, &keys, unix_now()).unwrap().0.prefixes[0],
                )
            })
        })
        .collect();
    until(
        "some enrolled at the doomed registry",
        Duration::from_secs(30),
        async || enrolled_there.load(Ordering::SeqCst) >= 3,
    )
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
    let mut given = BTreeMap::new();
    for task in tasks {
        let (node, prefix) = task.await.unwrap();
        given.insert(node, prefix);
    }
    assert_eq!(given.len(), 60);
    assert_eq!(given.values().collect::<BTreeSet<_>>().len(), 60);
    // What was answered is what was stored, and no use got lost or was taken twice.
    let nodes = registry.list_nodes().await.unwrap();
    assert_eq!(nodes.len(), 60);
    assert!(nodes.iter().all(|node| given[&node.node] == node.prefix));
    assert_eq!(registry.list_invites().await.unwrap()[0].uses_left, 140);
}

#[tokio::test]
async fn a_database_that_goes_away_and_comes_back() {
    let mut postgres = Postgres::start();
    let (_directory, paths) = two_directories(&postgres);
    let (registry, _server, http) = serve(&paths[0]).await;
    let invite = invite(&registry, 5).await;
    let elm = keys();
    http.enrol(&invite, "elm", &elm).await.unwrap();

    postgres.stop();
    let now = UnixTime(unix_now().0);
    for attempt in [
        http.enrol(&invite, "oak", &keys()).await,
        http.renew(&elm, now).await,
    ] {
        let refused = attempt.unwrap_err();
        assert_eq!(
            (refused.status, refused.code.as_str()),
            (StatusCode::SERVICE_UNAVAILABLE, "internal")
        );
        assert!(refused.retry_after.is_some());
    }
    let health = async || {
        http.request(Method::GET, "/v1/health")
            .send()
            .await
            .unwrap()
            .status()
    };
    until("health says so", Duration::from_secs(15), async || {
        health().await == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
    // What needs no database is there.
    assert!(
        http.request(Method::GET, "/v1/network")
            .send()
            .await
            .unwrap()
            .status()
            .is_success()
    );
    let wrong = http.request(Method::GET, "/v1/directory").send().await.unwrap();
    assert_eq!(refused(wrong).await.code, "unauthenticated");

    postgres.run();
    until("it works again", Duration::from_secs(15), async || {
        http.enrol(&invite, "oak", &keys()).await.is_ok()
    })
    .await;
    http.renew(&elm, now).await.unwrap();
    until("health says so", Duration::from_secs(15), async || {
        health().await == StatusCode::OK
    })
    .await;
}
