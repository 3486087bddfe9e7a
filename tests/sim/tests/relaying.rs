//! End-to-end sessions in a small mesh: a and c never reach each other but through r.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use core::time::Duration;
use osier_dataplane::DropReason;
use osier_proto::relay::KIND;
use osier_sim::{HostId, HostOptions, Options, Tamper, Tap, World};

const SECRET: &[u8] = b"what nobody between is to read";
const MILLIS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// a, r and c, with routes.
fn line(seed: u64, encrypted: bool) -> (World, [HostId; 3]) {
    let mut world = World::new(Options {
        seed,
        encrypted,
        ..Options::default()
    });
    let hosts = world.add_hosts(3, &HostOptions::default());
    world.underlay.cut(hosts[0], hosts[2]);
    world.start_all(&hosts, 20 * MILLIS);
    let ready = world.run_until(30 * SECOND, 100 * MILLIS, |w| w.all_reachable());
    assert!(ready.is_some(), "{:?}", world.unreachable(&hosts));
    world.run_for(2 * SECOND);
    (world, [hosts[0], hosts[1], hosts[2]])
}

fn arrived(world: &World, host: HostId, payload: &[u8]) -> usize {
    world.host(host).inbox().filter(|p| p.ends_with(payload)).count()
}

fn dropped(world: &World, host: HostId, reason: DropReason) -> u64 {
    let mut drops = world.host(host).forwarder().drops();
    drops.find(|(r, _)| *r == reason).map_or(0, |(_, count)| count)
}

#[test]
fn a_relay_sees_no_payload() {
    let (mut world, [a, r, c]) = line(1, true);
    world.taps.insert(r, Tap::default());
    world.taps.insert(c, Tap::default());
    for _ in 0..5 {
        world.send_data(a, c, SECRET);
        world.send_data(c, a, SECRET);
        world.run_for(100 * MILLIS);
    }
    assert_eq!((arrived(&world, a, SECRET), arrived(&world, c, SECRET)), (5, 5));
    assert!(world.taps[&c].saw(SECRET), "the detector works");
    assert!(world.taps[&r].datagrams.iter().any(|d| d[0] == KIND));
    assert!(!world.taps[&r].saw(SECRET));
    // The other control experiment: without encryption it passes in the clear.
    let (mut world, [a, r, c]) = line(1, false);
    world.taps.insert(r, Tap::default());
    world.send_data(a, c, SECRET);
    world.run_for(SECOND);
    assert_eq!(arrived(&world, c, SECRET), 1);
    assert!(world.taps[&r].saw(SECRET));
}

#[test]
fn what_waits_for_a_session_is_bounded_and_arrives() {
    let (mut world, [a, _, c]) = line(2, false);
    for i in 0..40u8 {
        world.send_data(a, c, &[i; 100]);
    }
    world.run_for(SECOND);
    let newest: Vec<_> = (0..40u8)
        .filter(|i| arrived(&world, c, &[*i; 100]) == 1)
        .collect();
    assert_eq!(newest, (24..40).collect::<Vec<_>>(), "the newest 16");
    let now = world.now();
    let sessions = world.host(a).node().unwrap().sessions(now);
    assert_eq!(sessions.len(), 1);
    assert!(sessions[0].up && sessions[0].via.is_some());
    assert_eq!(sessions[0].mtu, 1380);
    // Nobody asks which size passes: these are small.
    assert_eq!(sessions[0].sent.packets, 16);
    assert_eq!(world.host(c).node().unwrap().sessions(now).len(), 1);
    // Nobody uses it any more; after two minutes its keys are renewed once more.
    world.run_for(430 * SECOND);
    let now = world.now();
    assert!(world.host(a).node().unwrap().sessions(now).is_empty());
    assert!(world.host(c).node().unwrap().sessions(now).is_empty());
    assert_eq!(world.violations, Vec::<String>::new());
}

#[test]
fn a_hostile_relay_gains_nothing() {
    let alter: Tamper = |frame| {
        let mut altered = frame.to_vec();
        let last = altered.len() - 1;
        altered[last] ^= 1;
        vec![altered]
    };
    let truncate: Tamper = |frame| vec![frame[..frame.len() - 1].to_vec()];
    let replay: Tamper = |frame| vec![frame.to_vec(), frame.to_vec(), frame.to_vec()];
    let header: Tamper = |frame| {
        let mut altered = frame.to_vec();
        altered[20] ^= 1;
        vec![altered]
    };
    for (seed, (tamper, reason, arrives)) in [
        (alter, DropReason::SessionRejected, 0),
        (truncate, DropReason::FrameForged, 0),
        (header, DropReason::FrameForged, 0),
        (replay, DropReason::FrameReplayed, 10),
    ]
    .into_iter()
    .enumerate()
    {
        let (mut world, [a, r, c]) = line(seed as u64 + 10, true);
        world.send_data(a, c, b"hello");
        world.run_for(SECOND);
        assert_eq!(arrived(&world, c, b"hello"), 1);
        let before = world.host(c).delivered();
        world.hostile.insert(r, tamper);
        for _ in 0..10 {
            world.send_data(a, c, SECRET);
            world.run_for(20 * MILLIS);
        }
        world.run_for(500 * MILLIS);
        assert_eq!(arrived(&world, c, SECRET), arrives, "{reason:?}");
        assert_eq!(world.host(c).delivered() - before, arrives as u64);
        assert!(dropped(&world, c, reason) >= 10, "{reason:?} is counted");
        // It stops: the session has not suffered.
        world.hostile.clear();
        world.run_for(5 * SECOND);
        world.send_data(a, c, b"again");
        world.run_for(SECOND);
        assert_eq!(arrived(&world, c, b"again"), 1, "{reason:?}");
    }
}

#[test]
fn keys_are_replaced_and_nothing_is_lost() {
    let (mut world, [a, r, c]) = line(3, false);
    let tunnel = |world: &World| {
        let mut tunnels = world.host(r).snapshot().tunnels.values();
        tunnels.all(|t| t.takes_frames())
    };
    assert!(tunnel(&world));
    for i in 0..400u32 {
        world.send_data(a, c, &i.to_be_bytes());
        world.run_for(SECOND);
    }
    assert_eq!(world.host(c).delivered(), 400);
    for reason in [DropReason::FrameForged, DropReason::FrameReplayed] {
        assert_eq!(dropped(&world, r, reason) + dropped(&world, c, reason), 0);
    }
}

#[test]
fn an_end_that_restarts_is_reached_again_soon() {
    let (mut world, [a, r, c]) = line(4, false);
    world.send_data(a, c, SECRET);
    world.run_for(SECOND);
    for restarted in [c, r] {
        world.kill(restarted);
        world.start(restarted);
        let back = world.run_until(20 * SECOND, 200 * MILLIS, |world| {
            let before = world.host(c).delivered();
            world.send_data(a, c, b"are you there");
            world.run_for(100 * MILLIS);
            world.host(c).delivered() > before
        });
        assert!(back.is_some(), "{restarted:?}");
        assert!(back < Some(15 * SECOND), "{restarted:?} took {back:?}");
    }
}

#[test]
fn a_revoked_member_loses_its_sessions() {
    let (mut world, [a, r, c]) = line(5, false);
    world.send_data(a, c, SECRET);
    world.run_for(SECOND);
    assert_eq!(arrived(&world, c, SECRET), 1);
    world.revoke(a, &[c, r]);
    world.run_for(SECOND);
    let now = world.now();
    assert!(world.host(c).node().unwrap().sessions(now).is_empty());
    world.send_data(a, c, SECRET);
    world.run_for(5 * SECOND);
    assert_eq!(arrived(&world, c, SECRET), 1, "nothing more");
}
