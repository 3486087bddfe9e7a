//! Interfaces that are silent by agreement: nothing is said, nothing is forgotten, and what changed is told afterwards.

#![allow(clippy::unwrap_used)]

mod net;

use net::{Net, prefix};
use osier_babel::*;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
/// Between node 1 and node 2, which is the end that sleeps.
const LINK: InterfaceId = InterfaceId(1);

/// A line of three whose last link is silent.
fn silenced(seed: u64) -> Net {
    let mut net = Net::started(3, &[(0, 1), (1, 2)], seed);
    assert!(net.run_until(SECOND * 10, Net::is_converged).is_some());
    net.run_for(SECOND * 30);
    for node in [2, 1] {
        net.with(node, |speaker, now| speaker.set_quiet(LINK, true, now));
    }
    net.run_for(SECOND);
    net
}

fn speak_again(net: &mut Net) {
    for node in [2, 1] {
        net.with(node, |speaker, now| speaker.set_quiet(LINK, false, now));
    }
}

#[test]
fn a_silent_interface_says_nothing_and_forgets_nothing() {
    let mut net = silenced(1);
    let before = net.speaker(2).counters();
    net.run_for(HOUR * 3);
    let after = net.speaker(2).counters();
    assert_eq!(after.packets_sent, before.packets_sent);
    assert_eq!(after.packets_received, before.packets_received);
    assert!(net.is_converged(), "everybody reaches everybody");
    assert_eq!(net.speaker(1).neighbours().count(), 2);
    speak_again(&mut net);
    net.run_for(SECOND * 300);
    assert!(net.is_converged());
}

#[test]
fn what_changed_meanwhile_is_told_at_once_and_what_did_not_is_not() {
    let mut net = silenced(2);
    let (new, old): (IpNet, IpNet) = (prefix(7), prefix(0));
    net.with(0, |speaker, now| {
        speaker.announce(new, 0, now);
        speaker.withdraw(old, now);
    });
    net.run_for(HOUR);
    assert!(net.speaker(1).selected(new).is_some() && net.speaker(1).selected(old).is_none());
    assert!(net.speaker(2).selected(new).is_none() && net.speaker(2).selected(old).is_some());
    let before = net.speaker(1).counters().octets_sent;
    speak_again(&mut net);
    net.run_for(SECOND);
    assert!(net.speaker(2).selected(new).is_some() && net.speaker(2).selected(old).is_none());
    let said = net.speaker(1).counters().octets_sent - before;
    assert!(said < 400, "{said} octets");
}

#[test]
fn the_owners_word_ends_a_link_that_is_silent() {
    let mut net = silenced(3);
    net.with(1, |speaker, now| speaker.set_link_usable(LINK, false, now));
    net.run_for(SECOND);
    assert!(net.speaker(0).selected(prefix(2)).is_none());
    net.with(1, |speaker, now| speaker.set_link_usable(LINK, true, now));
    net.run_for(SECOND);
    assert!(
        net.speaker(0).selected(prefix(2)).is_some(),
        "and begins it again"
    );
    assert_eq!(net.next_hop(1, &prefix(2)), Some(2));
}

#[test]
fn requests_pass_and_are_answered_all_the_same() {
    let mut net = silenced(4);
    net.run_for(HOUR);
    let answers = net.speaker(2).counters().packets_sent;
    net.with(1, |speaker, now| {
        speaker.request_route(LINK, Some(prefix(2)), now)
    });
    net.run_for(SECOND);
    assert!(net.speaker(2).counters().packets_sent > answers);
    let hellos = net.speaker(2).counters().packets_sent;
    net.run_for(HOUR);
    assert_eq!(
        net.speaker(2).counters().packets_sent,
        hellos,
        "and silence goes on"
    );
}

/// The line, whose sleeper has lent its seqnos. Somebody is behind node 0, which wants a newer one for him when what
/// node 1 announces gets worse.
fn lent(seed: u64) -> Net {
    let mut net = Net::started(4, &[(0, 1), (1, 2), (0, 3)], seed);
    assert!(net.run_until(SECOND * 10, Net::is_converged).is_some());
    net.run_for(SECOND * 30);
    net.with(2, |speaker, now| {
        speaker.lend_seqnos();
        speaker.set_quiet(LINK, true, now);
    });
    let origin = net.speaker(1).selected(prefix(2)).unwrap().router_id;
    net.with(1, |speaker, now| {
        speaker.set_quiet(LINK, true, now);
        speaker.borrow_seqnos(LINK, origin);
    });
    net.run_for(SECOND);
    net
}

fn worsen(net: &mut Net, by: u16) {
    net.with(1, |speaker, now| speaker.set_announce_penalty(by, now));
    net.run_for(SECOND * 3);
}

fn seqno_at(net: &Net, node: usize) -> u16 {
    net.speaker(node).selected(prefix(2)).unwrap().seqno
}

#[test]
fn who_wants_a_newer_seqno_does_not_wake_the_origin() {
    let mut net = lent(5);
    let (before, sent) = (seqno_at(&net, 0), net.speaker(2).counters().packets_sent);
    for round in 1..=20 {
        worsen(&mut net, 1000 * round);
        assert!(net.is_converged(), "round {round}");
    }
    assert!(seqno_at(&net, 0) >= before + 10, "{}", seqno_at(&net, 0));
    assert_eq!(net.speaker(2).counters().packets_sent, sent);
    assert_eq!(net.speaker(2).seqno(), before, "it knows nothing of it");
    speak_again(&mut net);
    net.run_for(SECOND);
    assert_eq!(seqno_at(&net, 1), net.speaker(2).seqno());
    assert!(seqno_at(&net, 1) > before + 200, "above all that was lent");
    // Nobody is left with a number that it could not outdo.
    worsen(&mut net, 30_000);
    assert!(net.is_converged());
    net.run_for(HOUR);
    assert_eq!(seqno_at(&net, 0), seqno_at(&net, 1));
}

#[test]
fn an_origin_whose_seqnos_are_used_up_is_asked_and_lends_more() {
    let mut net = lent(6);
    let (first, sent) = (seqno_at(&net, 1), net.speaker(2).counters().packets_sent);
    let mut asked_at = Vec::new();
    for round in 1..=1500 {
        worsen(&mut net, 5000 * (round % 2));
        assert!(net.is_converged(), "round {round}");
        if net.speaker(2).seqno() > first + 200 * asked_at.len() as u16 {
            asked_at.push(net.speaker(2).seqno());
        }
    }
    assert!(asked_at.len() >= 3, "{asked_at:?}");
    let said = net.speaker(2).counters().packets_sent - sent;
    assert!(said <= 2 * asked_at.len() as u64, "{said} packets");
    speak_again(&mut net);
    net.run_for(SECOND * 300);
    assert!(net.is_converged());
    assert_eq!(seqno_at(&net, 1), net.speaker(2).seqno());
}

#[test]
fn what_was_lent_twice_is_not_used_twice() {
    let mut net = lent(7);
    for round in 1..=150 {
        worsen(&mut net, 100 * round);
    }
    let origin = net.speaker(1).selected(prefix(2)).unwrap().router_id;
    // The neighbour believes that the origin spoke, which it did not; the origin asks again for quiet.
    net.with(1, |speaker, now| {
        speaker.set_quiet(LINK, false, now);
        speaker.set_quiet(LINK, true, now);
        speaker.borrow_seqnos(LINK, origin);
    });
    for round in 151..=190 {
        worsen(&mut net, 100 * round);
    }
    speak_again(&mut net);
    net.run_for(SECOND);
    assert!(net.is_converged());
    assert_eq!(seqno_at(&net, 1), net.speaker(2).seqno(), "the origin is ahead");
}
