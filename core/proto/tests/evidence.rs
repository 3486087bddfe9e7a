//! What a node knows of being connected: verified answers, and silence.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod net;

use net::{Net, secs};
use osier_proto::{
    Duration,
    node::{Command, Proof, Status},
};

fn status(net: &mut Net, host: usize) -> Status {
    let now = net.now;
    net.node(host).status(now)
}

/// How long ago a neighbour answered last.
fn age(net: &mut Net, host: usize) -> Option<Duration> {
    let (now, verified) = (net.now, status(net, host).verified);
    Some(now.saturating_since(verified?.at))
}

fn pair() -> Net {
    let mut net = Net::new(1);
    net.grow(2);
    net.introduce(0, &[1]);
    net.run_until(secs(15), |net| net.all_reach_all())
        .expect("they join");
    net
}

#[test]
fn open_tunnel_is_verified_at_once_and_again_when_asked() {
    let mut net = pair();
    net.run(secs(1));
    for host in [0, 1] {
        assert!(age(&mut net, host).is_some_and(|age| age < secs(20)), "{host}");
        assert!(matches!(
            status(&mut net, host).verified.unwrap().proof,
            Proof::Echo | Proof::Handshake
        ));
    }
    // Idle links are measured now and then; asking gives an answer of now.
    net.run_until(secs(300), |net| age(net, 0) > Some(secs(60)))
        .expect("no answer within a minute, while nobody asks");
    net.command(0, Command::Verify);
    net.run(secs(1));
    assert!(age(&mut net, 0) < Some(secs(1)));
}

#[test]
fn silent_neighbour_verifies_nothing_and_counts_as_unanswered() {
    let mut net = pair();
    net.run(secs(10));
    let before = status(&mut net, 0);
    assert_eq!((before.wanted, before.udp.unanswered), (1, 0));
    net.kill(1);
    net.command(0, Command::Verify);
    net.run(secs(40));
    let after = status(&mut net, 0);
    assert_eq!(after.verified.unwrap().at, before.verified.unwrap().at);
    assert_eq!((after.usable_neighbours, after.udp.unanswered), (0, 1));
    let silence = net.now.saturating_since(after.udp.silent_since);
    assert!(silence >= secs(30), "{silence:?}");
}

#[test]
fn members_that_were_dialled_in_vain_are_counted_until_one_answers() {
    let mut net = Net::new(2);
    net.grow(4);
    (1..4).for_each(|other| net.cut(0, other));
    net.introduce(0, &[1, 2, 3]);
    net.run(secs(30));
    let alone = status(&mut net, 0);
    assert_eq!((alone.udp.unanswered, alone.udp.heard), (3, None));
    net.heal(0, 2);
    net.run_until(secs(120), |net| age(net, 0).is_some())
        .expect("the healed one answers");
    assert!(status(&mut net, 0).udp.heard.is_some());
    assert_eq!(status(&mut net, 0).udp.unanswered, 0);
}
