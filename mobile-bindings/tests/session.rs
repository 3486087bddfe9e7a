//! Sessions as an app uses them: two in this process, a real registry, and stand-ins for the devices.
#![allow(clippy::unwrap_used, clippy::panic)]

use osier_mobile::{
    ConnectionState, DevicePath, Event, LogLine, NetworkInfo, Platform, PlatformError, ServiceState, Session,
    SessionConfig, SessionError, Verdict,
};
use osier_registry::{CreateOptions, InviteOptions, NetworkDir, Registry, ServeOptions, Server, unix_now};
use std::{
    future::Future,
    net::Ipv6Addr,
    os::{
        fd::IntoRawFd,
        unix::{fs::DirBuilderExt, net::UnixDatagram},
    },
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::{runtime::Runtime, time::timeout};

const SOON: Duration = Duration::from_secs(30);

/// What an app would be to the core.
#[derive(Default)]
struct App {
    protected: Mutex<Vec<i32>>,
    refuses: AtomicBool,
    lines: Mutex<Vec<LogLine>>,
}

impl Platform for App {
    fn protect(&self, fd: i32) -> Result<bool, PlatformError> {
        self.protected.lock().unwrap().push(fd);
        Ok(!self.refuses.load(Ordering::SeqCst))
    }

    fn log(&self, line: LogLine) -> Result<(), PlatformError> {
        self.lines.lock().unwrap().push(line);
        Ok(())
    }
}

/// A network with its registry, on the loopback address.
struct Network {
    /// The registry's. Apps have an executor of another kind, and so have these tests ([`wait`]).
    runtime: Runtime,
    registry: Registry,
    server: Option<Server>,
    dir: TempDir,
}

impl Network {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("registry");
        NetworkDir::create(&place, CreateOptions::new("home"), unix_now()).unwrap();
        let (registry, server) = runtime.block_on(async {
            let registry = Registry::open(&place).await.unwrap();
            let listen = Some("127.0.0.1:0".parse().unwrap());
            let server = registry.serve(ServeOptions { listen }).await.unwrap();
            (registry, server)
        });
        Self {
            runtime,
            registry,
            server: Some(server),
            dir,
        }
    }

    fn invite(&self) -> String {
        let url = format!("http://{}", self.server.as_ref().unwrap().address());
        let options = InviteOptions {
            urls: vec![url],
            ..InviteOptions::default()
        };
        self.runtime
            .block_on(self.registry.create_invite(options))
            .unwrap()
            .to_string()
    }

    fn session(&self, name: &str) -> (Arc<Session>, Arc<App>) {
        self.session_that(name, false)
    }

    fn session_that(&self, name: &str, leaf: bool) -> (Arc<Session>, Arc<App>) {
        let app = Arc::new(App::default());
        let state_dir = self.dir.path().join(name).display().to_string();
        let config = SessionConfig {
            state_dir,
            log: Some("info".into()),
            leaf,
        };
        let session = Session::new(config, app.clone()).unwrap();
        // The loopback address will do as long as there is no other.
        let here = Some(vec!["127.0.0.1".into()]);
        session.network_changed(NetworkInfo { addresses: here }).unwrap();
        (session, app)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let server = self.server.take().unwrap();
        self.runtime.block_on(server.stop());
    }
}

/// Waits on an executor that is not the session's and drives no IO: what foreign languages do.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        timeout(SOON, future)
            .await
            .unwrap_or_else(|_| panic!("it takes too long"))
    })
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !condition() {
        assert!(began.elapsed() < SOON, "{what}: it takes too long");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn wait_for_event(session: &Session, wanted: impl Fn(&Event) -> bool) -> Event {
    wait(async {
        loop {
            match session.next_event().await.unwrap() {
                Some(event) if wanted(&event) => return event,
                Some(_) => {}
                None => panic!("the session has stopped"),
            }
        }
    })
}

/// The system's side of a device.
fn give_device(session: &Session) -> UnixDatagram {
    let (ours, system) = UnixDatagram::pair().unwrap();
    system.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    session.set_tun(ours.into_raw_fd(), 1400).unwrap();
    system
}

/// An IPv6 packet of UDP, as short as it can be.
fn packet(from: Ipv6Addr, to: Ipv6Addr, mark: u8) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 9, 17, 64];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend([0, 1, 0, 2, 0, 9, 0, 0, mark]);
    packet
}

fn passes(from: (&UnixDatagram, Ipv6Addr), to: (&UnixDatagram, Ipv6Addr), mark: u8) -> bool {
    let packet = packet(from.1, to.1, mark);
    from.0.send(&packet).unwrap();
    let mut buffer = [0; 2000];
    // What was late may come first.
    while let Ok(length) = to.0.recv(&mut buffer) {
        if buffer[..length] == packet {
            return true;
        }
    }
    false
}

/// What the other screens show.
fn look_around(phone: &Session) {
    let topology = wait(phone.topology()).unwrap();
    let tunnels: Vec<_> = topology.links.iter().filter(|link| link.tunnel).collect();
    assert_eq!(
        (tunnels.len(), tunnels[0].from.as_str(), tunnels[0].to.as_str()),
        (1, "phone", "tablet")
    );
    assert!(topology.nodes.iter().any(|node| node.own && node.name == "phone"));
    let checks = wait(phone.checks()).unwrap();
    let verdict = |name: &str| {
        checks
            .iter()
            .find(|check| check.name == name)
            .map(|check| check.verdict)
    };
    assert_eq!(verdict("membership"), Some(Verdict::Ok));
    assert_eq!(verdict("neighbours"), Some(Verdict::Ok));
    let bundle = wait(phone.support_bundle()).unwrap();
    assert!(
        bundle.contains("== status ==") && bundle.contains("tablet"),
        "{bundle}"
    );
}

#[test]
fn two_devices_join_and_exchange_packets_over_devices_that_come_and_go() {
    let network = Network::new();
    let (phone, app) = network.session("phone");
    let (tablet, _) = network.session("tablet");

    let is =
        |event: &Event, state| matches!(event, Event::ServiceChanged { service } if service.state == state);
    wait_for_event(&phone, |event| is(event, ServiceState::NotJoined));
    assert_eq!(wait(phone.tun_settings()).unwrap(), None);
    assert!(matches!(
        wait(phone.status()),
        Err(SessionError::NotJoined { .. })
    ));

    let member = wait(phone.join(network.invite(), Some("phone".into()))).unwrap();
    assert_eq!((member.name.as_str(), member.network.as_str()), ("phone", "home"));
    let other = wait(tablet.join(network.invite(), Some("tablet".into()))).unwrap();
    wait_for_event(&phone, |event| is(event, ServiceState::Running));
    wait_for_event(
        &phone,
        |event| matches!(event, Event::NeighbourUp { name } if name == "tablet"),
    );

    let settings = wait(phone.tun_settings()).unwrap().unwrap();
    assert_eq!(
        (settings.address.as_str(), settings.address_length),
        (member.address.as_str(), 128)
    );
    assert_eq!(
        format!("{}/{}", settings.route, settings.route_length),
        member.prefix
    );

    let (here, there) = (member.address.parse().unwrap(), other.address.parse().unwrap());
    let (ours, theirs) = (give_device(&phone), give_device(&tablet));
    until("packets pass", || passes((&ours, here), (&theirs, there), 1));
    until("and back", || passes((&theirs, there), (&ours, here), 2));

    // Another device, with the tunnel as it was.
    let before = wait(phone.status()).unwrap();
    let ours = give_device(&phone);
    until("packets pass the new device", || {
        passes((&ours, here), (&theirs, there), 3)
    });
    until("and back to it", || passes((&theirs, there), (&ours, here), 4));
    assert_eq!(wait(phone.status()).unwrap().neighbours, before.neighbours);

    until("it is connected", || {
        wait(phone.status()).unwrap().connection.state == ConnectionState::Connected
    });
    let devices = wait(phone.devices()).unwrap();
    assert_eq!(devices.len(), 1);
    assert_eq!(
        (devices[0].name.as_str(), devices[0].path),
        ("tablet", DevicePath::Direct)
    );
    // Nobody behind the stand-in answers pings, but a name that nobody has is an error.
    assert_eq!(wait(phone.ping("tablet".into(), 100)).unwrap(), None);
    assert!(matches!(
        wait(phone.ping("nobody".into(), 100)),
        Err(SessionError::Argument { .. })
    ));
    assert!(wait(phone.usage(1)).unwrap().days[0].own_sent_octets > 0);
    look_around(&phone);

    wait(phone.sleep()).unwrap();
    until("packets pass the sleeping one", || {
        passes((&theirs, there), (&ours, here), 5)
    });
    wait(phone.wake()).unwrap();
    phone
        .network_changed(NetworkInfo {
            addresses: Some(vec!["127.0.0.1".into()]),
        })
        .unwrap();
    until("packets pass after the change", || {
        passes((&ours, here), (&theirs, there), 6)
    });

    assert!(!app.protected.lock().unwrap().is_empty());
    until("the log arrives", || {
        app.lines
            .lock()
            .unwrap()
            .iter()
            .any(|line| line.text.contains("joined"))
    });

    wait(phone.stop()).unwrap();
    assert_eq!(
        wait(async { while phone.next_event().await.unwrap().is_some() {} }),
        ()
    );
    assert!(matches!(
        wait(phone.status()),
        Err(SessionError::NotRunning { .. })
    ));
}

#[test]
fn refused_socket_is_a_typed_error_and_is_not_used() {
    let network = Network::new();
    let (phone, app) = network.session("phone");
    app.refuses.store(true, Ordering::SeqCst);
    let error = wait(phone.join(network.invite(), Some("phone".into()))).unwrap_err();
    let SessionError::NotProtected { why } = error else {
        panic!("{error:?}")
    };
    assert_eq!(why.code, "socket-not-protected");
    assert!(!why.fix.is_empty());
    assert_eq!(app.protected.lock().unwrap().len(), 1);

    app.refuses.store(false, Ordering::SeqCst);
    wait(phone.join(network.invite(), Some("phone".into()))).unwrap();
    wait(phone.switch_on(false)).unwrap();
    // A node that may not use its UDP socket does not run, and says why.
    app.refuses.store(true, Ordering::SeqCst);
    let service = wait(phone.switch_on(true)).unwrap();
    assert_eq!(service.state, ServiceState::Failed);
    assert_eq!(service.problem.unwrap().code, "socket-not-protected");
    // It is tried again when the device wakes up.
    app.refuses.store(false, Ordering::SeqCst);
    wait(phone.wake()).unwrap();
    assert_eq!(wait(phone.service()).unwrap().state, ServiceState::Running);
}

#[test]
fn mistakes_have_their_own_errors() {
    let network = Network::new();
    let (phone, _) = network.session("phone");
    let join = |invite: &str, name: &str| wait(phone.join(invite.into(), Some(name.into())));
    assert!(matches!(
        join("osier://join/nonsense", "phone"),
        Err(SessionError::Invite { .. })
    ));
    let invite = network.invite();
    assert!(matches!(
        join(&invite, "not a name"),
        Err(SessionError::Name { .. })
    ));
    join(&invite, "phone").unwrap();
    wait(phone.leave()).unwrap();
    let again = join(&invite, "phone").unwrap_err();
    assert!(
        matches!(&again, SessionError::Invite { why } if why.code == "invite-used"),
        "{again:?}"
    );

    assert!(matches!(
        phone.set_tun(-1, 1400),
        Err(SessionError::Argument { .. })
    ));
    let (ours, _system) = UnixDatagram::pair().unwrap();
    assert!(matches!(
        phone.set_tun(ours.into_raw_fd(), 9000),
        Err(SessionError::Device { .. })
    ));
    let nonsense = NetworkInfo {
        addresses: Some(vec!["somewhere".into()]),
    };
    assert!(matches!(
        phone.network_changed(nonsense),
        Err(SessionError::Argument { .. })
    ));
    assert!(matches!(
        wait(phone.ping("x".into(), 1)),
        Err(SessionError::Argument { .. })
    ));
    assert!(matches!(wait(phone.usage(0)), Err(SessionError::Argument { .. })));

    // One session per state directory.
    let config = SessionConfig {
        state_dir: network.dir.path().join("phone").display().to_string(),
        log: None,
        leaf: true,
    };
    assert!(matches!(
        Session::new(config, Arc::new(App::default())),
        Err(SessionError::Storage { .. })
    ));
}

#[test]
fn app_decides_whether_the_device_carries_for_others() {
    let network = Network::new();
    for leaf in [true, false] {
        let name = format!("leaf-{leaf}");
        // Whatever somebody has left in the directory.
        let dir = network.dir.path().join(&name);
        std::fs::DirBuilder::new().mode(0o700).create(&dir).unwrap();
        std::fs::write(dir.join("settings.toml"), format!("leaf = {}\n", !leaf)).unwrap();
        let (phone, _) = network.session_that(&name, leaf);
        wait(phone.join(network.invite(), Some(name))).unwrap();
        let bundle = wait(phone.support_bundle()).unwrap();
        let (_, members) = bundle.split_once("== members ==").unwrap();
        assert!(members.contains(&format!("\"leaf\": {leaf}")), "{members}");
        wait(phone.stop()).unwrap();
    }
}

#[test]
fn device_that_the_system_closes_is_told() {
    let network = Network::new();
    let (phone, _) = network.session("phone");
    wait(phone.join(network.invite(), Some("phone".into()))).unwrap();
    let (ours, system) = std::os::unix::net::UnixStream::pair().unwrap();
    phone.set_tun(ours.into_raw_fd(), 1400).unwrap();
    drop(system);
    wait_for_event(&phone, |event| matches!(event, Event::DeviceLost { .. }));
    phone.clear_tun();
}
