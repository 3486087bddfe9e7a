//! Members of a network made without a registry, and daemons that run as them in namespaces of a lab.
#![allow(dead_code, unreachable_pub, clippy::expect_used, clippy::print_stderr)]

use osier_core::{
    Config, Daemon, TunChoice,
    control::client::Client,
    state::{Item, StateDir},
};
use osier_lab::{Error, Lab, Netns, Process, Result, wait_until};
use osier_proto::{
    certificate::{self, Certificate, Flags},
    identity::{NodeId, SecretKeys, SigningSecret},
    network::{Network, SignedNetwork},
    record::{self, Bundle, Endpoint, EndpointKind, Record},
    wallclock::UnixTime,
};
use std::{
    net::{Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

pub const PREFIX: &str = "fd6f:7369:6572::/48";

pub fn unix_time() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

/// A network whose root key the test holds.
pub struct Mesh {
    root: SigningSecret,
    signed: SignedNetwork,
}

/// One of its members.
pub struct Member {
    pub keys: SecretKeys,
    pub certificate: Certificate,
}

impl Mesh {
    pub fn new() -> Self {
        let root = SigningSecret::from_bytes(&[7; 32]);
        let network = Network {
            root: NodeId([0; 32]),
            name: "lab".into(),
            prefix: PREFIX.parse().expect("a prefix"),
            grace: 3600,
        };
        let signed = SignedNetwork::sign(network, &root).expect("a network");
        Self { root, signed }
    }

    pub fn member(&self, name: &str, number: u8) -> Member {
        let keys = SecretKeys::from_entropy([number; 64]);
        let now = unix_time();
        let fields = certificate::Fields {
            node: keys.node_id(),
            tunnel_key: keys.tunnel_key(),
            prefixes: vec![
                format!("fd6f:7369:6572:{number:x}::/64")
                    .parse()
                    .expect("a prefix"),
            ],
            group: None,
            name: name.into(),
            flags: Flags {
                relay: true,
                ..Flags::default()
            },
            serial: 1,
            not_before: UnixTime(now - 60),
            not_after: UnixTime(now + 86_400),
        };
        let network = self.signed.network().id();
        let certificate = Certificate::issue(fields, &self.root, None, &network).expect("a certificate");
        Member { keys, certificate }
    }

    pub fn bundle(&self, member: &Member, endpoints: &[&str]) -> Bundle {
        let endpoints = endpoints.iter().map(|address| Endpoint {
            address: address.parse().expect("an address"),
            kind: EndpointKind::Local,
        });
        let fields = record::Fields {
            node: member.keys.node_id(),
            sequence: 1,
            endpoints: endpoints.collect(),
            leaf: false,
            relay: true,
            load: 0,
        };
        let record = Record::sign(fields, &member.keys, &self.signed.network().id());
        Bundle {
            certificate: member.certificate.clone(),
            record,
        }
    }

    /// Makes a state directory as a join would have, which knows `others`.
    pub fn write_state(&self, dir: &Path, member: &Member, others: &[Bundle]) {
        let state = StateDir::create(dir).expect("a state directory");
        let write = |item, bytes: &[u8]| state.write(item, bytes).expect("a state file");
        write(Item::Identity, &member.keys.to_bytes());
        write(Item::Network, &self.signed.encode());
        write(Item::Certificate, &member.certificate.encode());
        let mut members = Vec::new();
        for bundle in others {
            let encoded = bundle.encode();
            members.extend((encoded.len() as u32).to_be_bytes());
            members.extend(encoded);
        }
        write(Item::Members, &members);
    }
}

impl Member {
    pub fn address(&self) -> Ipv6Addr {
        self.certificate.address()
    }
}

const DIRECTORY: &str = "OSIER_TEST_DAEMON";
const NO_TUN: &str = "OSIER_TEST_NO_TUN";

/// A daemon in a namespace: this program again, which finds out in [`be_a_daemon`] what it is to be.
pub fn start(netns: &Netns, dir: &Path, with_tun: bool) -> Result<Process> {
    let exe = std::env::current_exe().map_err(|e| Error::new(e.to_string()))?;
    let mut command = netns.command(exe);
    command
        .args(["--exact", "daemon_process", "--nocapture"])
        .env(DIRECTORY, dir);
    if !with_tun {
        command.env(NO_TUN, "1");
    }
    netns.spawn("osier", command)
}

/// The body of the test called `daemon_process`: nothing, unless [`start`] started it.
pub fn be_a_daemon() {
    let Some(dir) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let mut config = Config::new(PathBuf::from(dir));
    if std::env::var_os(NO_TUN).is_some() {
        config.tun = TunChoice::None;
    }
    config.control_socket = std::env::var_os("OSIER_TEST_SOCKET").map(PathBuf::from);
    osier_core::logging::init("info,osier_proto=debug,osier_core=debug").expect("a filter");
    let result = runtime().block_on(Daemon::run(config));
    if let Err(error) = result {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
    std::process::exit(0);
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

pub fn client(dir: &Path) -> Client {
    Client::in_state_dir(dir)
}

/// Neighbours that the daemon on `dir` counts; `None` while it does not answer.
pub fn neighbours(dir: &Path) -> Option<usize> {
    let status = runtime().block_on(client(dir).status()).ok()?;
    Some(status.neighbours)
}

pub fn answers(dir: &Path) -> bool {
    neighbours(dir).is_some()
}

pub const SOON: Duration = Duration::from_secs(15);

pub fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// `a` and `b` on one link; they know each other's endpoints.
pub struct Pair {
    pub a: Netns,
    pub b: Netns,
    pub dirs: [PathBuf; 2],
    pub members: [Member; 2],
}

pub fn pair(lab: &Lab) -> Result<Pair> {
    let (a, b) = (lab.netns("a")?, lab.netns("b")?);
    lab.veth((&a, "eth0"), (&b, "eth0"))?;
    a.address("eth0", "198.51.100.1/24")?;
    b.address("eth0", "198.51.100.2/24")?;
    let mesh = Mesh::new();
    let members = [mesh.member("alice", 1), mesh.member("bob", 2)];
    let bundles = [
        mesh.bundle(&members[0], &["198.51.100.1:16697"]),
        mesh.bundle(&members[1], &["198.51.100.2:16697"]),
    ];
    let dirs = [lab.directory().join("alice"), lab.directory().join("bob")];
    for (dir, member) in dirs.iter().zip(&members) {
        mesh.write_state(dir, member, &bundles);
    }
    Ok(Pair { a, b, dirs, members })
}

pub fn up(pair: &Pair) -> Result<[Process; 2]> {
    let processes = [
        start(&pair.a, &pair.dirs[0], true)?,
        start(&pair.b, &pair.dirs[1], true)?,
    ];
    wait_until(SOON, "the two are neighbours", || {
        pair.dirs.iter().all(|d| neighbours(d) == Some(1))
    })?;
    let other = pair.members[1].address().to_string();
    wait_until(SOON, "a packet gets through", || pair.a.ping(&other))?;
    Ok(processes)
}

pub fn expect(condition: bool, what: &str) -> Result<()> {
    if condition {
        Ok(())
    } else {
        Err(Error::new(format!("not so: {what}")))
    }
}

pub fn text(error: impl std::fmt::Display) -> Error {
    Error::new(error.to_string())
}
