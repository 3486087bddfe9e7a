//! How large packets may be: found out for each tunnel and each end-to-end session, and again when it changes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod net;

use net::{Net, address_of, millis, secs};
use osier_proto::{Duration, link, packet::IPV6_HEADER};

/// What 1280 octets become in a tunnel and in a frame, which any network of ours passes.
const SMALLEST: usize = 1280 + 32 + 40;

fn mtu(net: &mut Net, from: usize, to: usize) -> u16 {
    let (now, peer) = (net.now, net.id(to));
    let peers = net.node(from).peers(now);
    let peer = peers.iter().find(|p| p.node == peer).expect("a peer");
    peer.mtu.expect("a tunnel")
}

fn session_mtu(net: &mut Net, from: usize, to: usize) -> Option<u16> {
    let (now, peer) = (net.now, net.id(to));
    let sessions = net.node(from).sessions(now);
    sessions.iter().find(|s| s.node == peer).map(|s| s.mtu)
}

/// Two neighbours that have just begun to talk.
fn pair() -> Net {
    let mut net = Net::mesh(2);
    net.run_until(secs(10), |net| net.all_reach_all())
        .expect("neighbours");
    talk(&mut net, secs(2));
    net
}

/// The first two hosts exchange packets of more than 1280 octets.
fn talk(net: &mut Net, time: Duration) {
    talk_until(net, time, |_| false);
}

fn talk_until(net: &mut Net, limit: Duration, condition: impl Fn(&mut Net) -> bool) -> Option<Duration> {
    talk_between(net, (0, 1), limit, condition)
}

fn talk_between(
    net: &mut Net,
    (a, b): (usize, usize),
    limit: Duration,
    condition: impl Fn(&mut Net) -> bool,
) -> Option<Duration> {
    let began = net.now;
    while net.now < began + limit {
        if condition(net) {
            return Some(net.now.saturating_since(began));
        }
        net.one_way_sized(a, b, 1300);
        net.one_way_sized(b, a, 1300);
        net.run(millis(200));
    }
    None
}

/// 0 - 1 - 2 with data between the ends.
fn line() -> Net {
    let mut net = Net::new(3);
    net.cut(0, 2);
    net.grow(3);
    net.introduce(2, &[1]);
    net.run_until(secs(20), |net| net.all_reach_all())
        .expect("a line");
    talk_between(&mut net, (0, 2), secs(2), |_| false);
    net
}

#[test]
fn a_wide_tunnel_carries_large_packets_from_the_beginning() {
    let mut net = pair();
    assert_eq!((mtu(&mut net, 0, 1), mtu(&mut net, 1, 0)), (1420, 1420));
    net.one_way_sized(0, 1, 1420);
    net.run(millis(100));
    assert_eq!(net.hosts[1].delivered.last().map(Vec::len), Some(1420));
}

#[test]
fn a_narrow_path_is_noticed_within_seconds_and_each_direction_for_itself() {
    let mut net = Net::new(2);
    net.narrow.insert((0, 1), 1400 + 32);
    net.grow(2);
    net.run(secs(2));
    talk(&mut net, secs(3));
    assert_eq!((mtu(&mut net, 0, 1), mtu(&mut net, 1, 0)), (1400, 1400));
    net.one_way_sized(0, 1, 1420);
    let error = net.hosts[0].delivered.last().expect("an error");
    assert_eq!(
        (error[IPV6_HEADER], &error[44..48]),
        (2, &1400u32.to_be_bytes()[..])
    );
}

#[test]
fn a_tunnel_without_large_packets_is_asked_nothing_until_there_are_some() {
    let mut net = Net::new(7);
    net.narrow.insert((0, 1), 1400 + 32);
    net.grow(2);
    net.run(secs(5));
    for _ in 0..1300 {
        net.one_way(0, 1);
        net.run(secs(1));
    }
    assert_eq!((mtu(&mut net, 0, 1), mtu(&mut net, 1, 0)), (1420, 1420));
    talk_until(&mut net, secs(2), |net| mtu(net, 0, 1) == 1400).expect("asked as soon as it matters");
}

#[test]
fn probes_are_not_to_be_fragmented() {
    let mut net = Net::new(2);
    net.fragmenting.insert((0, 1), 1380 + 32);
    net.grow(2);
    net.run(secs(2));
    talk(&mut net, secs(3));
    assert_eq!((mtu(&mut net, 0, 1), mtu(&mut net, 1, 0)), (1380, 1380));
}

#[test]
fn lost_probes_are_repeated() {
    let mut net = Net::new(5);
    net.loss = 20;
    net.grow(2);
    net.run_until(secs(60), |net| net.all_reach_all())
        .expect("neighbours");
    talk_until(&mut net, secs(30), |net| {
        mtu(net, 0, 1) == 1420 && mtu(net, 1, 0) == 1420
    })
    .expect("large packets in spite of the loss");
}

#[test]
fn a_black_hole_that_appears_under_a_conversation_is_found_within_seconds() {
    let mut net = pair();
    net.run(secs(15));
    for _ in 0..40 {
        net.one_way_sized(0, 1, 1420);
        net.one_way(1, 0);
        net.run(millis(50));
    }
    assert_eq!(mtu(&mut net, 0, 1), 1420);
    net.narrow.insert((0, 1), SMALLEST);
    let began = net.now;
    while mtu(&mut net, 0, 1) > 1280 {
        assert!(net.now < began + secs(5), "not noticed");
        // Retransmissions: nothing that would be answered arrives.
        net.one_way_sized(0, 1, 1420);
        net.run(millis(200));
    }
    assert!(
        net.neighbours(0).contains(&net.id(1)),
        "the neighbour is not blamed"
    );
    // When the path is wide again that is found as well, later.
    net.narrow.clear();
    talk_until(&mut net, secs(2000), |net| mtu(net, 0, 1) == 1420).expect("the rise");
}

#[test]
fn what_the_system_refuses_to_send_makes_us_ask() {
    let mut net = pair();
    net.run(secs(30));
    net.narrow.insert((0, 1), SMALLEST);
    let (remote, now) = (net.hosts[1].address, net.now);
    net.node(0).handle_too_large(remote, now);
    net.settle(0);
    talk_until(&mut net, secs(3), |net| mtu(net, 0, 1) == 1280).expect("the fall");
    assert_eq!(
        mtu(&mut net, 1, 0),
        1420,
        "the other direction knows nothing of it"
    );
}

#[test]
fn another_endpoint_and_another_link_are_looked_at_again() {
    let mut net = pair();
    net.run(secs(30));
    // Host 1 moves to where less passes: host 0 hears from the new address.
    net.narrow.insert((0, 1), 1340 + 32);
    let address = "198.51.100.2:7000".parse().unwrap();
    net.hosts[1].address = address;
    let now = net.now;
    net.node(1).handle_network_change(vec![address], now);
    net.settle(1);
    talk_until(&mut net, secs(6), |net| {
        mtu(net, 0, 1) == 1340 && mtu(net, 1, 0) == 1340
    })
    .expect("both ends ask again");
    net.narrow.clear();
    let now = net.now;
    net.node(0).handle_link_change(now);
    net.settle(0);
    talk_until(&mut net, secs(3), |net| mtu(net, 0, 1) == 1420).expect("a wider link is used at once");
}

#[test]
fn a_message_of_a_newer_kind_is_skipped_whatever_its_padding() {
    let mut net = pair();
    // What a node that knows no probes sees of one: another type.
    let mut payload = link::Message::Unknown(99).encode();
    net.forge(0, 1, link::PORT, &payload);
    net.run(millis(50));
    assert_eq!(net.counter(1, "link-unknown-message"), 1);
    payload.resize(1300, 0);
    net.forge(0, 1, link::PORT, &payload);
    net.run(millis(50));
    assert_eq!(
        net.counter(1, "link-malformed"),
        1,
        "a message itself stays short"
    );
    // Answers to what was never asked change nothing.
    let ack = link::Message::MtuAck { nonce: 1, size: 1420 };
    net.narrow.insert((0, 1), SMALLEST);
    net.forge(0, 1, link::PORT, &ack.encode());
    net.run(millis(50));
    assert_eq!(net.counter(1, "mtu-ack-unknown"), 1);
}

#[test]
fn a_session_carries_what_all_its_hops_do() {
    let mut net = line();
    assert_eq!(session_mtu(&mut net, 0, 2), Some(1380));
    assert_eq!(session_mtu(&mut net, 2, 0), Some(1380));
    net.one_way_sized(0, 2, 1380);
    net.run(millis(100));
    assert_eq!(net.hosts[2].delivered.last().map(Vec::len), Some(1380));
    net.one_way_sized(0, 2, 1381);
    let error = net.hosts[0].delivered.last().expect("an error");
    assert_eq!(
        (error[IPV6_HEADER], &error[44..48]),
        (2, &1380u32.to_be_bytes()[..])
    );
}

#[test]
fn a_narrow_second_hop_is_noticed_by_the_sessions_ends() {
    let mut net = Net::new(4);
    net.cut(0, 2);
    net.narrow.insert((1, 2), 1380 + 32);
    net.grow(3);
    net.introduce(2, &[1]);
    net.run_until(secs(20), |net| net.all_reach_all())
        .expect("a line");
    talk_between(&mut net, (0, 2), secs(6), |_| false);
    talk_between(&mut net, (1, 2), secs(2), |_| false);
    assert_eq!((mtu(&mut net, 0, 1), mtu(&mut net, 1, 2)), (1420, 1380));
    assert_eq!(session_mtu(&mut net, 0, 2), Some(1340));
    assert_eq!(session_mtu(&mut net, 2, 0), Some(1340));
}

#[test]
fn a_second_hop_that_gets_narrow_is_noticed_when_nothing_is_answered() {
    let mut net = line();
    net.run(secs(15));
    net.one_way(2, 0);
    net.narrow.insert((1, 2), SMALLEST);
    let began = net.now;
    while session_mtu(&mut net, 0, 2) != Some(1280) {
        assert!(net.now < began + secs(8), "not noticed");
        net.one_way_sized(0, 2, 1380);
        net.run(millis(200));
    }
    net.one_way_sized(0, 2, 1280);
    net.run(millis(100));
    let last = net.hosts[2].delivered.last().expect("a packet");
    assert_eq!((last.len(), &last[8..24]), (1280, &address_of(0).octets()[..]));
}
