//! Who belongs and who may say what; and what strangers can do.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod net;

use net::*;
use osier_proto::{
    IpNet, RouterId,
    fib::Hop,
    identity::{SecretKeys, TunnelKey},
    node::{Command, Config, DownReason, Engine, Event, MeshParameters, Node, NodeError, ProbeOutcome},
    record::{Bundle, Fields, Record},
    tunnel::{SessionFactory, plain::PlainFactory},
    wallclock::UnixTime,
};
use std::sync::Arc;

/// A Babel packet with one Update (RFC 8966 section 4.6.9).
fn update(router_id: RouterId, prefix: IpNet, seqno: u16, metric: u16) -> Vec<u8> {
    let IpNet::V6(net) = prefix else { panic!("IPv6") };
    let mut body = vec![6, 10, 0, 0];
    body.extend(router_id.0);
    body.extend([8, 18, 2, 0, 64, 0]);
    body.extend(3000u16.to_be_bytes());
    body.extend(seqno.to_be_bytes());
    body.extend(metric.to_be_bytes());
    body.extend(&net.network().octets()[..8]);
    let mut packet = vec![42, 2];
    packet.extend((body.len() as u16).to_be_bytes());
    packet.extend(body);
    packet
}

fn mesh(count: usize) -> Net {
    let mut net = Net::mesh(count);
    net.run_until(secs(20), |net| net.all_reach_all())
        .expect("all pairs");
    net.run(secs(5));
    net
}

#[test]
fn a_prefix_that_is_not_in_the_certificate_is_refused_and_counted() {
    let mut net = mesh(3);
    let before = net.hosts[0].snapshot.fib.lookup(address_of(2));
    let own = net.id(1).router_id();
    net.forge(1, 0, 6696, &update(own, prefix(2), 1, 0));
    net.forge(
        1,
        0,
        6696,
        &update(own, "fd00:1:2:99::/64".parse().unwrap(), 1, 0),
    );
    net.run(millis(100));
    assert_eq!(net.counter(0, "route-forged-prefix"), 2);
    assert_eq!(net.hosts[0].snapshot.fib.lookup(address_of(2)), before);
    assert_eq!(net.hosts[0].snapshot.fib.lookup(address_of(0x99)), None);
    let now = net.now;
    let liar = net.id(1);
    let peers = net.node(0).peers(now);
    assert_eq!(peers.iter().find(|p| p.node == liar).unwrap().refused_routes, 2);
}

#[test]
fn a_source_specific_route_is_refused_even_from_its_owner() {
    let mut net = mesh(2);
    let before = net.hosts[0].snapshot.fib.lookup(address_of(1));
    // The neighbour's own prefix, but only for packets from fd00::/8 (RFC 9079 section 7).
    let mut packet = update(net.id(1).router_id(), prefix(1), 1, 0);
    let length = packet.len();
    packet.extend([128, 2, 8, 0xfd]);
    packet[3] += 4;
    // The Update's own length, after header and Router-Id TLV.
    packet[4 + 12 + 1] += 4;
    assert_eq!(length, 4 + 12 + 20);
    net.forge(1, 0, 6696, &packet);
    net.run(millis(100));
    assert_eq!(net.counter(0, "route-source-specific"), 1);
    assert_eq!(net.hosts[0].snapshot.fib.lookup(address_of(1)), before);
}

#[test]
fn a_route_of_an_unknown_origin_waits_for_its_certificate() {
    let mut net = mesh(2);
    let stranger = net.add();
    let origin = net.id(stranger).router_id();
    let forged = update(origin, prefix(stranger), 1, 96);
    net.forge(1, 0, 6696, &forged);
    net.run(millis(100));
    assert_eq!(net.counter(0, "route-unknown-origin"), 1);
    assert_eq!(net.hosts[0].snapshot.fib.lookup(address_of(stranger)), None);
    let (keys, certificate) = (
        net.hosts[stranger].keys.clone(),
        net.hosts[stranger].certificate.clone(),
    );
    let fields = Fields {
        node: keys.node_id(),
        sequence: 1,
        endpoints: Vec::new(),
        leaf: false,
        relay: true,
        load: 0,
    };
    let record = Record::sign(fields, &keys, &net.network.id());
    net.command(1, Command::AddBundles(vec![Bundle { certificate, record }]));
    net.run(millis(500));
    net.forge(1, 0, 6696, &forged);
    net.run(millis(10));
    let hop = net.hosts[0].snapshot.fib.lookup(address_of(stranger));
    assert!(matches!(hop, Some(Hop::Relayed { .. })), "{hop:?}");
}

#[test]
fn a_leaf_is_not_used_as_a_relay() {
    let mut net = Net::new(4);
    net.cut(0, 2);
    for _ in 0..3 {
        net.add();
    }
    net.start(0);
    net.start_with(
        1,
        MeshParameters {
            leaf: true,
            ..MeshParameters::default()
        },
    );
    net.start(2);
    net.run(millis(300));
    net.introduce(0, &[1]);
    net.introduce(2, &[1]);
    net.run(secs(20));
    assert!(net.reaches(0, 1) && net.reaches(2, 1) && !net.reaches(0, 2));
}

#[test]
fn an_expired_neighbour_is_dropped_and_not_accepted_again() {
    let mut net = Net::new(5);
    net.add();
    net.add_until(EPOCH + 60);
    net.add();
    for host in 0..3 {
        net.start(host);
    }
    net.run(millis(300));
    net.introduce(1, &[0]);
    net.introduce(2, &[0]);
    net.run(secs(3600));
    assert!(net.all_reach_all(), "an hour of skew is forgiven");
    net.run(secs(120));
    let expired = |e: &Event| {
        matches!(
            e,
            Event::NeighbourDown {
                reason: DownReason::Expired,
                ..
            }
        )
    };
    assert!(net.saw(0, expired).is_some());
    net.run(secs(600));
    assert!(net.neighbours(0).len() == 1 && !net.reaches(0, 1) && net.reaches(0, 2));
    assert!(net.saw(1, |e| matches!(e, Event::Excluded(_))).is_some());
    let now = net.now;
    assert!(net.node(1).status(now).health.excluded.is_some());
}

#[test]
fn a_renewed_certificate_brings_a_node_back() {
    let mut net = Net::new(6);
    net.add();
    net.add_until(EPOCH + 60);
    net.start(0);
    net.start(1);
    net.run(millis(300));
    net.introduce(1, &[0]);
    net.run(secs(3800));
    assert!(!net.reaches(0, 1));
    let asked = net.hosts[1]
        .requests
        .iter()
        .any(|r| matches!(r, osier_proto::node::Request::Renew));
    assert!(asked, "it asked for a new one");
    let renewed = net.certificate(&net.hosts[1].keys, 1, 50, EPOCH + MONTH);
    net.command(1, Command::SetCertificate(renewed));
    net.run_until(secs(400), |net| net.all_reach_all())
        .expect("back again");
}

#[test]
fn a_revoked_node_loses_its_tunnels_and_routes_everywhere() {
    let mut net = mesh(5);
    let list = net.revocations(3, &[2]);
    net.command(4, Command::SetRevocations(list));
    net.run(secs(2));
    for host in [0, 1, 3, 4] {
        assert!(!net.neighbours(host).contains(&net.id(2)));
        assert!(!net.reaches(host, 2));
        assert!(net.saw(host, |e| matches!(e, Event::Revoked(_))).is_some());
        let now = net.now;
        assert_eq!(net.node(host).status(now).revocation_number, 3);
    }
    assert!(net.saw(2, |e| matches!(e, Event::Excluded(_))).is_some());
    net.run(secs(120));
    for host in [0, 1, 3, 4] {
        assert_eq!(net.neighbours(host).len(), 3);
    }
    let older = net.revocations(2, &[0]);
    net.command(4, Command::SetRevocations(older));
    net.run(secs(1));
    assert_eq!(net.neighbours(0).len(), 3, "a lower number means nothing");
}

#[test]
fn one_that_was_away_hears_of_revocations_when_it_comes_back() {
    let mut net = mesh(4);
    net.kill(3);
    net.run(secs(10));
    let list = net.revocations(1, &[1]);
    net.command(0, Command::SetRevocations(list));
    net.run(secs(5));
    net.start(3);
    net.run(secs(10));
    let now = net.now;
    assert_eq!(net.node(3).status(now).revocation_number, 1);
    assert!(!net.neighbours(3).contains(&net.id(1)));
}

#[test]
fn a_forged_revocation_list_is_refused() {
    let mut net = mesh(2);
    let real = core::mem::replace(
        &mut net.root,
        osier_proto::identity::SigningSecret::from_bytes(&[1; 32]),
    );
    let forged = net.revocations(9, &[1]);
    net.root = real;
    net.command(0, Command::SetRevocations(forged));
    net.run(secs(1));
    assert_eq!(net.counter(0, "revocations-refused"), 1);
    assert_eq!(net.neighbours(0).len(), 1);
}

#[test]
fn probes_tell_what_stands_in_their_way() {
    let mut net = Net::new(7);
    net.cut(0, 2);
    net.grow(3);
    net.introduce(2, &[1]);
    net.run_until(secs(20), |net| net.all_reach_all())
        .expect("a line");
    let mut outcome = |target, hop_limit| {
        let events = net.hosts[0].events.len();
        let probe = Command::Probe {
            id: 7,
            target,
            hop_limit,
            payload: 100,
        };
        net.command(0, probe);
        net.run(millis(200));
        let answer = net.hosts[0].events[events..].iter().find_map(|(_, e)| match e {
            Event::ProbeReply {
                id: 7, outcome, from, ..
            } => Some((outcome.clone(), *from)),
            _ => None,
        });
        answer.expect("an answer")
    };
    assert_eq!(outcome(address_of(2), 64), (ProbeOutcome::Echo, address_of(2)));
    assert_eq!(
        outcome(address_of(2), 1),
        (ProbeOutcome::TimeExceeded, address_of(1))
    );
    assert_eq!(outcome(address_of(0), 64).0, ProbeOutcome::Echo);
    assert!(matches!(
        outcome(address_of(77), 64).0,
        ProbeOutcome::Unreachable(0)
    ));
}

#[test]
fn strangers_get_few_and_short_lived_tunnels() {
    let mut net = mesh(2);
    let key = net.hosts[0].keys.tunnel_key();
    for n in 0..1000u32 {
        let mut stranger = [7; 32];
        stranger[..4].copy_from_slice(&n.to_be_bytes());
        let session = PlainFactory::new(TunnelKey(stranger)).new_session(key, n, net.now);
        let mut out = vec![0; 2000];
        let initiation = session.initiate(net.now, &mut out).unwrap().to_vec();
        net.inject(0, ([203, 0, 113, 1], n as u16).into(), initiation);
    }
    net.run(millis(100));
    assert!(net.hosts[0].snapshot.tunnels.len() <= 65);
    assert!(net.counter(0, "handshake-limit") > 900);
    net.run(secs(15));
    assert_eq!(net.hosts[0].snapshot.tunnels.len(), 1);
    assert!(net.all_reach_all());
}

#[test]
fn a_node_with_another_networks_certificate_is_refused() {
    let mut net = mesh(2);
    let mut other = Net::new(8);
    other.root = osier_proto::identity::SigningSecret::from_bytes(&[99; 32]);
    other.network.root = other.root.node_id();
    let stranger = net.add();
    net.hosts[stranger].certificate =
        other.certificate(&net.hosts[stranger].keys, stranger, 1, EPOCH + MONTH);
    let real = core::mem::replace(&mut net.network, other.network);
    net.start(stranger);
    net.network = real;
    net.run(millis(300));
    // It knows where we are, by a bundle that its own network would not accept.
    let initiation = {
        let keys = &net.hosts[stranger].keys;
        let session =
            PlainFactory::new(keys.tunnel_key()).new_session(net.hosts[0].keys.tunnel_key(), 1, net.now);
        let mut out = vec![0; 2000];
        session.initiate(net.now, &mut out).unwrap().to_vec()
    };
    let from = net.hosts[stranger].address;
    net.inject(0, from, initiation);
    net.run(secs(15));
    assert_eq!(net.neighbours(0).len(), 1);
}

#[test]
fn a_node_is_not_built_with_a_certificate_of_others() {
    let mut net = Net::new(1);
    let (a, b) = (net.add(), net.add());
    let config = Config {
        keys: Arc::clone(&net.hosts[a].keys),
        certificate: net.hosts[b].certificate.clone(),
        network: net.network.clone(),
        revocations: None,
        bundles: Vec::new(),
        mesh: MeshParameters::default(),
        engine: Engine::WireGuard { aes: true },
        seqno: 1,
        wall_clock: UnixTime(EPOCH),
        record_sequence: 0,
    };
    let error = Node::new(config, [0; 32], net.now).unwrap_err();
    assert_eq!(error, NodeError::KeyMismatch);
    assert!(error.to_string().contains("osier join"));
}

#[test]
fn hostile_bytes_at_every_input_change_nothing() {
    let mut net = mesh(3);
    let (tunnels, routes) = (net.hosts[0].snapshot.tunnels.len(), net.node(0).routes().len());
    let tunnel = *net.hosts[0].snapshot.tunnels.keys().next().unwrap();
    let keys = SecretKeys::from_entropy([250; 64]);
    let seeds: Vec<Vec<u8>> = vec![
        update(keys.node_id().router_id(), prefix(9), 1, 1),
        osier_proto::link::Message::Bundles(net.bundle(1).into_iter().collect()).encode(),
        osier_proto::link::Message::Accept { nonce: 1 }.encode(),
        osier_proto::link::Message::summary(&[(keys.node_id().router_id(), 5)])[0].encode(),
        net.bundle(2).unwrap().encode(),
    ];
    for round in 0..3000usize {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..net.random() % 4 {
            let at = net.random() as usize % bytes.len();
            bytes[at] = net.random() as u8;
        }
        bytes.truncate(net.random() as usize % (bytes.len() + 1));
        let from = ([203, 0, 113, 9], 9).into();
        let now = net.now;
        let mut datagram = bytes.clone();
        datagram.splice(0..0, [[1, 2, 3, 4][round % 4], 0, 0, 0]);
        datagram.resize([148, 92, 64, 200][round % 4], 0);
        let node = net.node(0);
        node.handle_datagram(from, &bytes, now);
        node.handle_datagram(from, &datagram, now);
        node.handle_tunnel_packet(tunnel, &bytes, now);
        node.handle_probe_packet(&bytes, now);
        let peer = [1, 2][round % 2];
        net.forge(peer, 0, [6696, 6697][round % 2], &bytes);
        if round % 50 == 0 {
            net.run(millis(20));
        }
    }
    net.run(secs(20));
    assert_eq!(net.hosts[0].snapshot.tunnels.len(), tunnels);
    assert_eq!(net.node(0).routes().len(), routes);
    assert!(net.all_reach_all());
}

#[test]
fn a_stepping_clock_does_not_break_a_mesh() {
    let mut net = mesh(3);
    for hour in [0, 1] {
        let time = UnixTime(EPOCH + hour * 3500);
        net.command(1, Command::SetWallClock(time));
        net.run(secs(60));
        assert!(net.all_reach_all());
    }
}

#[test]
fn a_clock_in_the_past_is_told_and_costs_nothing_once_it_is_set() {
    let mut net = mesh(4);
    net.kill(3);
    net.run(secs(10));
    net.epoch = 1000;
    net.start(3);
    net.run(secs(10));
    let now = net.now;
    assert!(!net.reaches(3, 0));
    assert!(net.node(3).status(now).health.clock_suspect);
    assert_eq!(net.node(3).bundles().len(), 4, "the cache is not emptied");
    let time = UnixTime(EPOCH + now.as_micros() / 1_000_000);
    net.command(3, Command::SetWallClock(time));
    net.run_until(secs(400), |net| net.all_reach_all())
        .expect("back again");
}
