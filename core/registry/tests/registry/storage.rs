//! The registry directory and SQLite, in good and bad states.

use crate::fixture::{Fixture, amend_settings, keys, options, until};
use osier_proto::network::Delegation;
use osier_registry::{
    CreateOptions, Database, DatabaseError, DirectoryError, Error, InviteOptions, NetworkDir, Registry,
    ServeOptions, unix_now,
};
use reqwest::{Method, StatusCode};
use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tempfile::TempDir;

fn directory() -> (TempDir, PathBuf) {
    let directory = TempDir::with_prefix("osier-registry-").unwrap();
    let path = directory.path().join("net");
    (directory, path)
}

fn created() -> (TempDir, PathBuf) {
    let (directory, path) = directory();
    NetworkDir::create(&path, options("net"), unix_now()).unwrap();
    (directory, path)
}

fn open_error(path: &Path) -> String {
    NetworkDir::open(path).unwrap_err().to_string()
}

#[test]
fn keys_are_for_their_owner_alone() {
    let (_directory, path) = created();
    let mode = |name: &str| fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("."), 0o700);
    for name in ["root.key", "issuer.key", "registry.toml"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    for name in ["root.key", "issuer.key"] {
        fs::set_permissions(path.join(name), fs::Permissions::from_mode(0o644)).unwrap();
        let error = open_error(&path);
        assert!(
            error.contains("chmod 600") && error.contains(name) && error.contains("0644"),
            "{error}"
        );
        fs::set_permissions(path.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    NetworkDir::open(&path).unwrap();
}

#[tokio::test]
async fn the_database_file_is_for_its_owner_alone() {
    let (_directory, path) = created();
    Registry::open(&path).await.unwrap();
    let mode = fs::metadata(path.join("registry.db"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_network_is_not_overwritten() {
    let (_directory, path) = created();
    let key = fs::read(path.join("root.key")).unwrap();
    let error = NetworkDir::create(&path, options("again"), unix_now()).unwrap_err();
    assert!(matches!(error, DirectoryError::Exists(_)), "{error}");
    assert_eq!(fs::read(path.join("root.key")).unwrap(), key);
    // Not even a stray key of another.
    let (_other, other) = directory();
    fs::create_dir(&other).unwrap();
    fs::write(other.join("issuer.key"), "mine").unwrap();
    NetworkDir::create(&other, options("other"), unix_now()).unwrap_err();
    assert_eq!(fs::read_dir(&other).unwrap().count(), 1);
}

#[test]
fn impossible_networks_are_refused_before_anything_is_written() {
    let (_directory, path) = directory();
    let attempt = |change: &dyn Fn(&mut CreateOptions)| {
        let mut options = options("net");
        change(&mut options);
        let error = NetworkDir::create(&path, options, unix_now()).unwrap_err();
        assert!(!path.exists());
        error.to_string()
    };
    for prefix in ["10.0.0.0/8", "fd00::/64", "fd00::/7", "fe80::/32", "ff00::/16"] {
        let error = attempt(&|o| o.prefix = Some(prefix.parse().unwrap()));
        assert!(error.contains("IPv6 prefix"), "{prefix}: {error}");
    }
    assert!(attempt(&|o| o.name = String::new()).contains("1 to 63"));
    assert!(attempt(&|o| o.name = "x".repeat(64)).contains("1 to 63"));
    assert!(attempt(&|o| o.certificate_lifetime = Duration::from_secs(5)).contains("10 minutes"));
    assert!(attempt(&|o| o.public_urls = vec!["nonsense".into()]).contains("nonsense"));
}

#[test]
fn missing_damaged_and_newer_files_are_named() {
    let (_directory, path) = created();
    let (_nothing, nothing) = directory();
    assert!(open_error(&nothing).contains("osier network create"));
    for (name, damaged) in [
        ("issuer.key", "not a key file"),
        ("root.key", "not a key file"),
        ("delegation.cbor", "damaged"),
        ("network.cbor", "damaged"),
        ("registry.toml", "registry.toml"),
    ] {
        let file = path.join(name);
        let whole = fs::read(&file).unwrap();
        fs::write(&file, b"\x00\xff nonsense").unwrap();
        let error = open_error(&path);
        assert!(error.contains(damaged) && error.contains(name), "{error}");
        fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        if name != "registry.toml" {
            assert!(open_error(&path).contains(name));
        }
        fs::remove_file(&file).unwrap();
        match name {
            // It may be kept elsewhere.
            "root.key" => drop(NetworkDir::open(&path).unwrap()),
            "network.cbor" => assert!(open_error(&path).contains("no network")),
            _ => assert!(open_error(&path).contains("missing")),
        }
        fs::write(&file, &whole).unwrap();
        if name.ends_with(".key") {
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            let text = String::from_utf8(whole.clone()).unwrap();
            fs::write(&file, text.replace("-v1 ", "-v2 ")).unwrap();
            assert!(open_error(&path).contains("newer Osier"));
            fs::write(&file, &whole).unwrap();
        }
        NetworkDir::open(&path).unwrap();
    }
    // One changed octet of a signed file.
    let file = path.join("network.cbor");
    let mut network = fs::read(&file).unwrap();
    let middle = network.len() - 10;
    network[middle] ^= 1;
    fs::write(&file, &network).unwrap();
    assert!(open_error(&path).contains("damaged"));
}

#[tokio::test]
async fn the_root_key_can_live_elsewhere() {
    let (_directory, path) = created();
    let elsewhere = TempDir::with_prefix("osier-registry-").unwrap();
    let root_key = elsewhere.path().join("root.key");
    fs::rename(path.join("root.key"), &root_key).unwrap();
    let registry = Registry::open(&path).await.unwrap();
    assert!(!registry.dir().has_root_key());
    registry.create_invite(InviteOptions::default()).await.unwrap();

    // Two years later the issuer may sign no more, and says what to do.
    let later = unix_now().saturating_add(731 * 86_400);
    let registry = registry.with_clock(move || later);
    let server = registry.serve(ServeOptions::default()).await.unwrap();
    let http = crate::fixture::Http::to(&server, registry.dir().network());
    let invite = registry.create_invite(InviteOptions::default()).await.unwrap();
    let refused = http.enrol(&invite, "elm", &keys()).await.unwrap_err();
    assert_eq!(
        (refused.status, refused.code.as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "internal")
    );
    let error = registry.revoke_node("elm").await.unwrap_err().to_string();
    assert!(error.contains("no node"), "{error}");
    server.stop().await;

    let before = registry.dir().delegation();
    let delegation = NetworkDir::renew_issuer(&path, &root_key, later).unwrap();
    assert!(delegation.not_after > before.not_after);
    let registry = Registry::open(&path).await.unwrap().with_clock(move || later);
    let server = registry.serve(ServeOptions::default()).await.unwrap();
    let http = crate::fixture::Http::to(&server, registry.dir().network());
    let keys = keys();
    let reply = http.enrol(&invite, "elm", &keys).await.unwrap();
    reply.verify(&invite.root, &keys, later).unwrap();
}

#[test]
fn a_lost_issuer_is_replaced_with_the_root_key() {
    let (_directory, path) = created();
    let before = NetworkDir::open(&path).unwrap().delegation();
    fs::remove_file(path.join("issuer.key")).unwrap();
    fs::remove_file(path.join("delegation.cbor")).unwrap();
    NetworkDir::renew_issuer(&path, &path.join("root.key"), unix_now()).unwrap();
    let after: Delegation = NetworkDir::open(&path).unwrap().delegation();
    assert_ne!(after.issuer, before.issuer);
    // Another network's root cannot.
    let (_other, other) = created();
    let error = NetworkDir::renew_issuer(&path, &other.join("root.key"), unix_now()).unwrap_err();
    assert!(error.to_string().contains("another network"), "{error}");
    assert_eq!(NetworkDir::open(&path).unwrap().delegation(), after);
}

#[tokio::test]
async fn a_database_of_another_network_is_refused() {
    let ((_first, first), (_second, second)) = (created(), created());
    Registry::open(&first).await.unwrap();
    let database = Database::open(&format!("sqlite:{}", first.join("registry.db").display()))
        .await
        .unwrap();
    let error = Registry::new(NetworkDir::open(&second).unwrap(), database)
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Database(DatabaseError::OtherNetwork { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn unusable_databases_are_named() {
    let (_directory, path) = created();
    for url in ["", "registry.db", "mysql://x/y", "sqlite:", "sqlite::memory:"] {
        let error = Database::open(url).await.unwrap_err();
        assert!(matches!(error, DatabaseError::Url(_)), "{url}: {error}");
    }
    let error = Database::open("sqlite:/nonexistent/registry.db")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("/nonexistent/registry.db") && error.contains("directory"),
        "{error}"
    );
    fs::write(
        path.join("garbage.db"),
        "this is no database, but long enough to look like a file of one".repeat(99),
    )
    .unwrap();
    let error = Database::open(&format!("sqlite:{}", path.join("garbage.db").display()))
        .await
        .unwrap_err();
    assert!(matches!(error, DatabaseError::Corrupt { .. }), "{error}");
    let error = Database::open("postgres://osier@localhost/osier?host=/nonexistent")
        .await
        .unwrap_err();
    assert!(matches!(error, DatabaseError::Unreachable(_)), "{error}");
    // One from the future.
    let registry = Registry::open(&path).await.unwrap();
    let url = registry.dir().database_url();
    registry.database().close().await;
    execute(&url, "INSERT INTO schema_steps (step) VALUES (99)").await;
    let error = Database::open(&url).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Newer { found: 99, .. }), "{error}");
}

/// A statement on a connection of its own.
async fn execute(url: &str, statement: &'static str) {
    let mut connection = connect(url).await;
    sqlx::query(statement).execute(&mut connection).await.unwrap();
}

async fn connect(url: &str) -> sqlx::SqliteConnection {
    use sqlx::Connection as _;
    sqlx::SqliteConnection::connect(url).await.unwrap()
}

#[tokio::test]
async fn a_locked_database_is_an_answer_and_not_a_hang() {
    let f = Fixture::start().await;
    let invite = f.invite(1).await;
    let mut other = connect(&f.registry.dir().database_url()).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let error = f
        .registry
        .create_invite(InviteOptions::default())
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Database(DatabaseError::Locked(_))),
        "{error}"
    );
    let refused = f.http.enrol(&invite, "elm", &keys()).await.unwrap_err();
    assert_eq!(
        (refused.status, refused.code.as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "internal")
    );
    assert!(refused.retry_after.is_some());
    assert!(!refused.message.contains("sqlite"), "{}", refused.message);
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    f.http.enrol(&invite, "elm", &keys()).await.unwrap();
}

#[tokio::test]
async fn a_restart_forgets_nothing() {
    let f = Fixture::start().await;
    let member = f.member("elm").await;
    let invite = f.invite(2).await;
    f.http.enrol(&invite, "oak", &keys()).await.unwrap();
    f.registry.revoke_node("oak").await.unwrap();
    let Fixture {
        directory,
        registry,
        server,
        ..
    } = f;
    server.stop().await;
    registry.database().close().await;
    let path = directory.path().join("net");
    let f = Fixture::open(directory, &path).await;
    f.http.renew(&member.keys, f.now()).await.unwrap();
    f.http.enrol(&invite, "ash", &keys()).await.unwrap();
    assert_eq!(
        f.http.enrol(&invite, "yew", &keys()).await.unwrap_err().code,
        "token-used"
    );
    assert_eq!(f.registry.revocations().await.unwrap().number, 1);
    assert_eq!(f.registry.list_nodes().await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let f = Fixture::start().await;
    let options = ServeOptions {
        listen: Some(f.server.address()),
    };
    let error = f.registry.serve(options).await.unwrap_err().to_string();
    assert!(
        error.contains(&f.server.address().to_string()) && error.contains("running already"),
        "{error}"
    );
}

#[tokio::test]
async fn an_invite_needs_to_know_where_the_registry_is() {
    let (_directory, path) = created();
    amend_settings(&path, "public_urls = []\nlisten = \"[::]:6690\"", "");
    let registry = Registry::open(&path).await.unwrap();
    let error = registry
        .create_invite(InviteOptions::default())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("public_urls"), "{error}");
    let file = path.join("registry.toml");
    fs::write(
        &file,
        fs::read_to_string(&file).unwrap().replace("[::]", "192.0.2.1"),
    )
    .unwrap();
    let registry = Registry::open(&path).await.unwrap();
    let invite = registry.create_invite(InviteOptions::default()).await.unwrap();
    assert_eq!(invite.registries, ["http://192.0.2.1:6690"]);
}

/// Runs the named test once more where it may mount: in a user and mount namespace of its own, with a small
/// file system of its own. True in that second run, false after it.
fn in_small_file_system(test: &str) -> Option<PathBuf> {
    const MOUNTED: &str = "OSIER_TEST_SMALL_FILE_SYSTEM";
    if let Some(path) = env::var_os(MOUNTED) {
        return Some(path.into());
    }
    let point = TempDir::with_prefix("osier-registry-").unwrap();
    let script = "mount -t tmpfs -o size=2m tmpfs \"$0\" && exec \"$1\" --exact \"$2\" --nocapture";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .args([
            point.path().as_os_str(),
            env::current_exe().unwrap().as_os_str(),
            test.as_ref(),
        ])
        .env(MOUNTED, point.path())
        .output()
        .expect("unshare(1) of util-linux is needed");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("1 passed"), "{text}");
    None
}

fn remount(path: &Path, how: &str) {
    let done = Command::new("mount")
        .args(["-o", &format!("remount,bind,{how}")])
        .arg(path)
        .status()
        .unwrap();
    assert!(done.success());
}

#[tokio::test]
async fn a_full_disk_is_reported_and_recovered_from() {
    let Some(disk) = in_small_file_system("storage::a_full_disk_is_reported_and_recovered_from") else {
        return;
    };
    let path = disk.join("net");
    NetworkDir::create(&path, options("full"), unix_now()).unwrap();
    let f = Fixture::open(TempDir::new_in(&disk).unwrap(), &path).await;
    let invite = f.invite(3).await;
    f.http.enrol(&invite, "before", &keys()).await.unwrap();

    let filler = disk.join("filler");
    let _ = fs::write(&filler, vec![0; 4 << 20]);
    let mut failed = None;
    // What is allocated already may hold a few more.
    for _ in 0..500 {
        match f.registry.create_invite(InviteOptions::default()).await {
            Ok(_) => {}
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    let error = failed.expect("the disk never filled up");
    assert!(
        matches!(error, Error::Database(DatabaseError::Full(_))),
        "{error:?}"
    );
    let refused = f.http.enrol(&invite, "during", &keys()).await.unwrap_err();
    assert_eq!(
        (refused.status, refused.code.as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "internal")
    );
    let error = NetworkDir::create(&disk.join("other"), options("other"), unix_now()).unwrap_err();
    assert!(error.to_string().contains("No space left"), "{error}");
    assert!(
        fs::read_dir(disk.join("other")).map_or(0, Iterator::count) == 0,
        "something was left behind"
    );

    fs::remove_file(&filler).unwrap();
    f.http.enrol(&invite, "after", &keys()).await.unwrap();
    assert_eq!(f.registry.list_nodes().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_read_only_directory_is_reported_and_recovered_from() {
    let Some(disk) = in_small_file_system("storage::a_read_only_directory_is_reported_and_recovered_from")
    else {
        return;
    };
    let path = disk.join("net");
    NetworkDir::create(&path, options("read-only"), unix_now()).unwrap();
    // Nothing was opened for writing yet: a start on a read-only directory.
    remount(&disk, "ro");
    let error = Registry::open(&path).await.unwrap_err().to_string();
    assert!(error.contains("writable"), "{error}");
    let error = NetworkDir::create(&disk.join("other"), options("other"), unix_now())
        .unwrap_err()
        .to_string();
    assert!(error.contains("Read-only"), "{error}");
    remount(&disk, "rw");
    let registry = Registry::open(&path).await.unwrap();
    let invite = registry.create_invite(InviteOptions::default()).await.unwrap();
    registry.database().close().await;

    // A database made before is no different.
    remount(&disk, "ro");
    let error = Registry::open(&path).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("writable"), "{text}");
    assert!(matches!(error, Error::Database(_)), "{error:?}");
    remount(&disk, "rw");
    let f = Fixture::open(TempDir::new_in(&disk).unwrap(), &path).await;
    f.http.enrol(&invite, "elm", &keys()).await.unwrap();
}

#[tokio::test]
async fn health_follows_the_database() {
    let f = Fixture::start().await;
    let status = async || {
        f.http
            .request(Method::GET, "/v1/health")
            .send()
            .await
            .unwrap()
            .status()
    };
    assert_eq!(status().await, StatusCode::OK);
    let url = f.registry.dir().database_url();
    execute(&url, "ALTER TABLE revocations RENAME TO gone").await;
    until("503", Duration::from_secs(5), async || {
        status().await == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
    execute(&url, "ALTER TABLE gone RENAME TO revocations").await;
    until("200", Duration::from_secs(5), async || {
        status().await == StatusCode::OK
    })
    .await;
}
