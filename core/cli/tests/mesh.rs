//! Real daemons on the loopback address, without TUN devices and without privileges, steered by the program.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{Daemon, Registry, Run, node, operator, osier, wait_until, with_input};
use std::{
    fs,
    net::UdpSocket,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// Nodes that have joined one network.
struct Mesh {
    temp: TempDir,
    registry: Registry,
}

impl Mesh {
    fn new() -> Self {
        let temp = tempfile::tempdir().expect("a directory");
        let directory = temp.path().join("network");
        operator(&directory, "network create --name test").succeeds();
        let registry = Registry::serve(&directory, &[]);
        Self { temp, registry }
    }

    fn state(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn join(&self, name: &str) -> PathBuf {
        let invite = operator(&self.temp.path().join("network"), "invite --json").json();
        let mut command = osier();
        command
            .args(["join", "-", "--name", name])
            .env("OSIER_STATE_DIR", self.state(name));
        with_input(command, invite["invite"].as_str().expect("text")).succeeds();
        self.state(name)
    }

    /// Joins and starts a node that the others reach on the loopback address.
    fn start(&self, name: &str) -> (PathBuf, Daemon) {
        let state = self.join(name);
        let port = free_port();
        let endpoint = format!("127.0.0.1:{port}");
        let daemon = up(&state, &["--port", &port.to_string(), "--endpoint", &endpoint]);
        (state, daemon)
    }
}

fn up(state: &Path, options: &[&str]) -> Daemon {
    let mut command = osier();
    command
        .args(["up", "--no-tun", "--no-upnp"])
        .args(options)
        .env("OSIER_STATE_DIR", state);
    let mut daemon = Daemon::spawn(command);
    wait_until("the daemon answers or ends", || {
        node(state, "status").code == 0 || daemon.ended()
    });
    daemon
}

/// Free a moment ago.
fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0")
        .and_then(|s| s.local_addr())
        .expect("a port")
        .port()
}

#[test]
fn two_nodes_meet_and_everything_shows_it() {
    let mesh = Mesh::new();
    let (a, mut a_daemon) = mesh.start("berlin");
    let (b, mut b_daemon) = mesh.start("paris");
    let logs = |a: &Daemon, b: &Daemon| format!("{}\n---\n{}", a.log(), b.log());

    let reached = || node(&a, "ping paris --count 1 --timeout 0.5").code == 0;
    wait_until(
        &format!("berlin reaches paris: {}", logs(&a_daemon, &b_daemon)),
        reached,
    );

    let status = node(&a, "status --json").json();
    assert_eq!(status["name"], "berlin");
    assert_eq!(status["state"], "running");
    let address = node(&b, "status --json").json()["address"]
        .as_str()
        .expect("an address")
        .to_owned();
    assert!(
        node(&a, "status --verbose")
            .succeeds()
            .stdout
            .contains("berlin is up")
    );

    let peers = node(&a, "peers --json").json();
    assert_eq!(peers[0]["name"], "paris");
    assert_eq!(peers[0]["direct"], true);
    let table = node(&a, "peers").succeeds().stdout.clone();
    assert!(table.contains("paris") && table.contains("direct"), "{table}");

    let id = node(&b, "status --json").json()["node"]
        .as_str()
        .expect("an id")
        .to_owned();
    for target in ["paris", "PARIS", &address, &id, &id[..8]] {
        let lines = node(&a, &format!("ping {target} --count 2 --interval 0.05 --json"));
        let summary = lines.succeeds().json_lines().pop().expect("a summary");
        assert_eq!(summary["line"], "summary");
        assert_eq!(summary["received"], 2, "{target}");
    }
    node(&a, "ping nobody").fails(6).advises("osier members");

    let trace = node(&a, "trace paris --json").json_lines();
    assert_eq!(trace.last().expect("lines")["reached"], true);
    assert!(node(&a, "trace paris").succeeds().stdout.contains("paris"));

    let routes = node(&a, &format!("routes --to {address} --selected --json")).json();
    assert_eq!(routes.as_array().expect("a list").len(), 1);
    node(&a, "routes").succeeds();
    assert_eq!(
        node(&a, "members --json")
            .json()
            .as_array()
            .expect("a list")
            .len(),
        2
    );
    node(&a, "members").succeeds();

    let picture = mesh.temp.path().join("picture.svg");
    node(&a, &format!("topology --svg {}", picture.display())).succeeds();
    assert!(
        fs::read_to_string(&picture)
            .expect("drawn")
            .contains(">paris</text>")
    );
    assert!(
        node(&a, "topology --dot")
            .succeeds()
            .stdout
            .contains("\"berlin\" -- \"paris\"")
    );
    assert!(node(&a, "topology").succeeds().stdout.contains("└── paris"));
    node(&a, "topology --json").json();

    assert!(!node(&a, "logs --lines 5 --json").json_lines().is_empty());
    assert_eq!(node(&a, "reload --json").json()["applied"], serde_json::json!([]));
    fs::write(a.join("settings.toml"), "outgoing = \"many\"\n").expect("written");
    node(&a, "reload").fails(1).advises("settings.toml");

    let down = node(&b, "down --json").json();
    assert!(down["elapsed_ms"].is_u64());
    assert_eq!(b_daemon.wait(), 0, "{}", b_daemon.log());
    node(&b, "status").fails(3);
    a_daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(a_daemon.wait(), 0, "{}", a_daemon.log());
    mesh.registry.stop();
}

#[test]
fn a_second_daemon_or_a_taken_port_is_a_conflict() {
    let mesh = Mesh::new();
    let (a, daemon) = mesh.start("berlin");
    node(&a, "up --no-tun --no-upnp").fails(8).advises("osier down");
    node(&a, "leave --yes").succeeds();

    let b = mesh.join("paris");
    let taken = UdpSocket::bind("0.0.0.0:0").expect("a port");
    let port = taken.local_addr().expect("bound").port();
    node(&b, &format!("up --no-tun --no-upnp --port {port}"))
        .fails(8)
        .advises("--port");
    node(&b, "up --no-tun --no-upnp --log-level =").fails(2);
    drop(daemon);
}

#[test]
fn leaving_stops_the_daemon_first() {
    let mesh = Mesh::new();
    let (a, mut daemon) = mesh.start("berlin");
    node(&a, "leave --yes").succeeds();
    assert_eq!(daemon.wait(), 0, "{}", daemon.log());
    node(&a, "status").fails(4);
}

#[test]
fn the_control_socket_can_be_elsewhere() {
    let mesh = Mesh::new();
    let a = mesh.join("berlin");
    let socket = mesh.temp.path().join("s");
    let option = socket.to_str().expect("UTF-8").to_owned();
    let mut command = osier();
    command
        .args(["up", "--no-tun", "--no-upnp", "--control-socket", &option])
        .env("OSIER_STATE_DIR", &a);
    let daemon = Daemon::spawn(command);
    let ask = |line: &str| -> Run { node(&a, &format!("{line} --control-socket {option}")) };
    wait_until("the daemon answers", || ask("status").code == 0);
    node(&a, "status").fails(3);
    ask("down").succeeds();
    drop(daemon);
}
