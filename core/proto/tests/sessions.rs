//! How many end-to-end sessions there are, and how much waits for one.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod net;

use net::*;
use osier_proto::{
    IpNet, RouterId,
    certificate::{Certificate, Fields, Flags},
    identity::SecretKeys,
    node::Command,
    packet::{UdpHeader, udp_packet},
    record::{self, Bundle, Record},
    tunnel::{Opened, Sealed, Session, SessionFactory, plain::PlainFactory},
    wallclock::UnixTime,
};

/// As many sessions as a node holds (docs/mesh.md).
const CAPACITY: usize = 1024;

/// Members far away: those that host 0 has heard of, and the other ends of its sessions with them.
struct Far {
    keys: Vec<SecretKeys>,
    bundles: Vec<Bundle>,
}

impl Far {
    fn new(net: &Net, count: usize) -> Self {
        let (mut keys, mut bundles) = (Vec::new(), Vec::new());
        for number in 0..count {
            let mut entropy = [9; 64];
            entropy[..8].copy_from_slice(&(number as u64).to_be_bytes());
            entropy[32..40].copy_from_slice(&(number as u64).to_be_bytes());
            let own = SecretKeys::from_entropy(entropy);
            let prefix: IpNet = format!("fd00:1:2:{:x}::/64", 0x1000 + number).parse().unwrap();
            let fields = Fields {
                node: own.node_id(),
                tunnel_key: own.tunnel_key(),
                prefixes: vec![prefix],
                group: None,
                name: format!("far-{number}"),
                flags: Flags::default(),
                serial: number as u64 + 1,
                not_before: UnixTime(EPOCH - 86_400),
                not_after: UnixTime(EPOCH + MONTH),
            };
            let certificate = Certificate::issue(fields, &net.root, None, &net.network.id()).unwrap();
            let fields = record::Fields {
                node: own.node_id(),
                sequence: 1,
                endpoints: Vec::new(),
                leaf: false,
                relay: false,
                load: 0,
            };
            let record = Record::sign(fields, &own, &net.network.id());
            bundles.push(Bundle { certificate, record });
            keys.push(own);
        }
        Self { keys, bundles }
    }

    fn origin(&self, number: usize) -> RouterId {
        self.keys[number].node_id().router_id()
    }

    /// The member begins a handshake, which comes through the only neighbour.
    fn begin(&self, net: &mut Net, number: usize) -> Box<dyn Session> {
        let factory = PlainFactory::new(self.keys[number].tunnel_key());
        let far = factory.new_session(net.hosts[0].keys.tunnel_key(), number as u32, net.now);
        let tunnel = *net.hosts[0].snapshot.tunnels.keys().next().expect("a neighbour");
        let (now, mut out) = (net.now, [0; 256]);
        let initiation = far.initiate(now, &mut out).unwrap().to_vec();
        net.node(0).handle_relayed_handshake(tunnel, &initiation, now);
        net.settle(0);
        net.now += millis(1);
        far
    }

    /// Begins and completes one.
    fn complete(&self, net: &mut Net, number: usize) {
        let far = self.begin(net, number);
        let handle = net.hosts[0].snapshot.sessions.with(&self.origin(number)).unwrap();
        let (from, mut out, mut back) = (net.hosts[1].address, [0; 256], [0; 256]);
        let initiation = handle.session().initiate(net.now, &mut out).unwrap();
        let Opened::Reply(response) = far.open(net.now, from, initiation, &mut back) else {
            panic!("no response")
        };
        let opened = handle.session().open(net.now, from, response, &mut out);
        assert!(matches!(opened, Opened::Reply(_)));
        handle.set_up(true);
    }

    fn is_held(&self, net: &Net, number: usize) -> bool {
        net.hosts[0]
            .snapshot
            .sessions
            .with(&self.origin(number))
            .is_some()
    }

    /// A packet goes out in the session.
    fn send(&self, net: &Net, number: usize) {
        let handle = net.hosts[0].snapshot.sessions.with(&self.origin(number)).unwrap();
        let mut out = [0; 256];
        assert!(matches!(
            handle.seal(net.now, &[0; 60], &mut out).0,
            Sealed::Datagram(_)
        ));
    }
}

#[test]
fn of_too_many_sessions_the_least_recently_used_goes_but_rather_one_that_never_was_up() {
    let mut net = Net::mesh(2);
    net.run_until(secs(10), |net| net.all_reach_all())
        .expect("they join");
    let far = Far::new(&net, CAPACITY + 4);
    net.command(0, Command::AddBundles(far.bundles.clone()));
    for number in 0..CAPACITY {
        far.complete(&mut net, number);
    }
    let sessions = |net: &mut Net| {
        let now = net.now;
        net.node(0).status(now).sessions
    };
    assert_eq!(sessions(&mut net), CAPACITY);
    assert_eq!(net.counter(0, "session-evicted"), 0);
    // The oldest is used again: the next in age are the least recently used now.
    far.send(&net, 0);
    far.complete(&mut net, CAPACITY);
    assert!(far.is_held(&net, 0) && !far.is_held(&net, 1) && far.is_held(&net, 2));
    // Whoever only begins handshakes displaces one, then their own kind.
    for number in CAPACITY + 1..CAPACITY + 4 {
        far.begin(&mut net, number);
    }
    assert!(!far.is_held(&net, 2) && far.is_held(&net, 3));
    let begun = (CAPACITY + 1..CAPACITY + 4).map(|number| far.is_held(&net, number));
    assert_eq!(begun.collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(sessions(&mut net), CAPACITY);
    assert_eq!(net.counter(0, "session-evicted"), 4);
}

/// 0 - 1 - 2
fn line() -> Net {
    let mut net = Net::new(1);
    net.cut(0, 2);
    net.grow(3);
    net.introduce(2, &[1]);
    net.run_until(secs(10), |net| net.all_reach_all())
        .expect("all pairs of a line");
    net
}

#[test]
fn what_waits_for_a_session_is_bounded_by_octets_and_by_number() {
    let mut net = line();
    let packet = |octets: usize| {
        let header = UdpHeader {
            source: address_of(0),
            destination: address_of(2),
            hop_limit: 64,
            source_port: 9,
            destination_port: 9,
        };
        udp_packet(&header, &vec![0; octets - 48]).unwrap()
    };
    let wait = |net: &mut Net, octets: usize, count: usize| {
        let now = net.now;
        for _ in 0..count {
            net.node(0).handle_unsent_packet(&packet(octets), now);
        }
        let sessions = net.node(0).sessions(now);
        assert_eq!(sessions.len(), 1);
        (sessions[0].held, net.counter(0, "session-held-overflow"))
    };
    // 64 KiB hold six of them.
    assert_eq!(wait(&mut net, 10_000, 10), (6, 4));
    assert_eq!(wait(&mut net, 65_000, 1), (1, 10));
    // It goes as soon as there is no room for both.
    assert_eq!(wait(&mut net, 1000, 1), (1, 11));
    assert_eq!(wait(&mut net, 100, 100), (16, 96));
    net.settle(0);
    net.run(secs(1));
    let now = net.now;
    assert_eq!(net.node(0).sessions(now)[0].held, 0);
    assert_eq!(net.hosts[2].delivered.len(), 16, "what waited arrives");
}
