//! Two ends of a link, each with its [`Authenticator`].
#![allow(clippy::unwrap_used)]

use super::*;
use crate::MULTICAST;
use crate::wire::Builder;

const ALICE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xa);
const BOB: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xb);
const ROOM: usize = 4;

struct End {
    address: Ipv6Addr,
    authenticator: Authenticator,
    nonces: Nonces,
}

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1000)
}

fn key(octet: u8) -> MacKey {
    MacKey::hmac_sha256(&[octet; 32]).unwrap()
}

fn config(keys: &[MacKey]) -> Authentication {
    Authentication {
        keys: keys.to_vec(),
        mode: AuthenticationMode::Require,
        entropy: [0; 32],
    }
}

impl End {
    fn new(address: Ipv6Addr, keys: &[MacKey]) -> Self {
        let mut nonces = Nonces::default();
        nonces.stir(&[address.octets()[15]; 32]);
        Self {
            address,
            authenticator: Authenticator::new(&config(keys), &mut nonces),
            nonces,
        }
    }

    fn replace_keys(&mut self, keys: &[MacKey]) {
        self.authenticator.replace(&config(keys));
    }

    fn seal(&mut self, builder: Builder, to: Ipv6Addr) -> Vec<u8> {
        let mut payload = builder.finish();
        let limit = payload.len() + self.authenticator.overhead();
        self.authenticator
            .seal(&mut payload, self.address, to, &mut self.nonces, at(0));
        assert_eq!(payload.len(), limit);
        payload
    }

    fn hello(&mut self, to: Ipv6Addr) -> Vec<u8> {
        let mut builder = Builder::new(1000, self.address);
        builder.hello(false, 1, crate::wire::Centis(400));
        self.seal(builder, to)
    }

    fn challenge(&mut self, nonce: &[u8], to: Ipv6Addr) -> Vec<u8> {
        let mut builder = Builder::new(1000, self.address);
        builder.challenge_request(nonce);
        self.seal(builder, to)
    }

    fn reply(&mut self, nonce: &[u8], to: Ipv6Addr) -> Vec<u8> {
        let mut builder = Builder::new(1000, self.address);
        builder.challenge_reply(nonce);
        self.seal(builder, to)
    }

    fn open(&mut self, payload: &[u8], from: Ipv6Addr, to: Ipv6Addr, now: Instant) -> Opened {
        self.authenticator
            .open(payload, from, to, &mut self.nonces, ROOM, now)
            .unwrap()
    }

    /// What it makes of a multicast packet.
    fn hears(&mut self, payload: &[u8], from: &End, now: Instant) -> Opened {
        self.open(payload, from.address, MULTICAST, now)
    }

    /// Makes `other` known, at `now`.
    fn meet(&mut self, other: &mut End, now: Instant) {
        let hello = other.hello(MULTICAST);
        let challenge = self.hears(&hello, other, now).challenge.unwrap();
        let reply = other.reply(&challenge, self.address);
        assert!(self.open(&reply, other.address, self.address, now).accepted);
    }
}

fn ends() -> (End, End) {
    (End::new(ALICE, &[key(1)]), End::new(BOB, &[key(1)]))
}

#[test]
fn a_stranger_is_challenged_and_then_believed() {
    let (mut alice, mut bob) = ends();
    let hello = bob.hello(MULTICAST);
    let opened = alice.hears(&hello, &bob, at(0));
    assert!(!opened.accepted);
    assert_eq!(opened.failure, None);
    let nonce = opened.challenge.unwrap();
    let request = alice.challenge(&nonce, BOB);
    let answer = bob.open(&request, ALICE, BOB, at(1));
    assert_eq!(answer.reply.as_deref(), Some(&nonce[..]));
    assert!(!answer.accepted, "Bob has not challenged Alice yet");
    let reply = bob.reply(&answer.reply.unwrap(), ALICE);
    assert!(alice.open(&reply, BOB, ALICE, at(2)).accepted);
    let hello = bob.hello(MULTICAST);
    assert!(alice.hears(&hello, &bob, at(3)).accepted);
}

#[test]
fn nothing_is_remembered_before_a_mac_passed() {
    let (mut alice, _) = ends();
    let mut mallory = End::new(BOB, &[key(9)]);
    let hello = mallory.hello(MULTICAST);
    let opened = alice.hears(&hello, &mallory, at(0));
    assert_eq!(opened.failure, Some(Failure::Mac));
    assert!(!opened.accepted && opened.challenge.is_none());
    let mut bare = End::new(BOB, &[]);
    let hello = bare.hello(MULTICAST);
    assert_eq!(alice.hears(&hello, &bare, at(0)).failure, Some(Failure::Missing));
    assert!(alice.authenticator.peers.is_empty());
}

#[test]
fn every_octet_and_both_addresses_are_covered() {
    let (mut alice, mut bob) = ends();
    alice.meet(&mut bob, at(0));
    let hello = bob.hello(MULTICAST);
    for octet in 0..hello.len() {
        let mut changed = hello.clone();
        changed[octet] ^= 1;
        let opened = alice
            .authenticator
            .open(&changed, BOB, MULTICAST, &mut alice.nonces, ROOM, at(1));
        assert!(!opened.is_some_and(|opened| opened.accepted), "octet {octet}");
    }
    assert_eq!(alice.open(&hello, BOB, ALICE, at(1)).failure, Some(Failure::Mac));
    assert_eq!(
        alice.open(&hello, ALICE, MULTICAST, at(1)).failure,
        Some(Failure::Mac)
    );
    assert!(alice.hears(&hello, &bob, at(1)).accepted);
}

#[test]
fn a_mac_in_the_body_does_not_count() {
    let (mut alice, mut bob) = ends();
    alice.meet(&mut bob, at(0));
    let mut hello = bob.hello(MULTICAST);
    let length = u16::try_from(hello.len() - 4).unwrap();
    hello[2..4].copy_from_slice(&length.to_be_bytes());
    assert_eq!(alice.hears(&hello, &bob, at(1)).failure, Some(Failure::Missing));
}

#[test]
fn one_matching_mac_among_many_is_enough() {
    let mut alice = End::new(ALICE, &[key(1), MacKey::blake2s(b"new").unwrap()]);
    let mut bob = End::new(BOB, &[key(2), key(3), MacKey::blake2s(b"new").unwrap()]);
    alice.meet(&mut bob, at(0));
    let hello = bob.hello(MULTICAST);
    assert!(alice.hears(&hello, &bob, at(1)).accepted);
}

#[test]
fn keys_are_rotated_without_a_single_loss() {
    let (mut alice, mut bob) = ends();
    alice.meet(&mut bob, at(0));
    let hear = |alice: &mut End, bob: &mut End| {
        let hello = bob.hello(MULTICAST);
        let opened = alice.hears(&hello, bob, at(1));
        assert!(opened.accepted, "{opened:?}");
    };
    bob.replace_keys(&[key(1), key(2)]);
    hear(&mut alice, &mut bob);
    alice.replace_keys(&[key(1), key(2)]);
    hear(&mut alice, &mut bob);
    bob.replace_keys(&[key(2)]);
    hear(&mut alice, &mut bob);
    alice.replace_keys(&[key(2)]);
    hear(&mut alice, &mut bob);
}

#[test]
fn replays_are_refused_but_not_what_was_only_overtaken() {
    let (mut alice, mut bob) = ends();
    alice.meet(&mut bob, at(0));
    let (first, second) = (bob.hello(MULTICAST), bob.hello(MULTICAST));
    assert!(alice.hears(&second, &bob, at(1)).accepted);
    assert!(alice.hears(&first, &bob, at(1)).accepted);
    for replay in [&first, &second] {
        let opened = alice.hears(replay, &bob, at(2000));
        assert_eq!(opened.failure, Some(Failure::Replayed));
        assert!(
            opened.challenge.is_none(),
            "RFC 8967 4.3: no challenge for an old counter"
        );
    }
}

#[test]
fn unicast_may_overtake_multicast_by_any_number_of_packets() {
    let (mut alice, mut bob) = ends();
    alice.meet(&mut bob, at(0));
    let late = bob.hello(MULTICAST);
    for _ in 0..500 {
        let hello = bob.hello(ALICE);
        assert!(alice.open(&hello, BOB, ALICE, at(1)).accepted);
    }
    assert!(alice.hears(&late, &bob, at(2)).accepted);
    assert!(!alice.hears(&late, &bob, at(2)).accepted);
}

#[test]
fn a_new_index_needs_a_new_challenge_and_old_packets_are_refused() {
    let (mut alice, mut bob) = ends();
    alice.meet(&mut bob, at(0));
    let old = bob.hello(MULTICAST);
    bob.authenticator.counter = u32::MAX;
    let index = bob.authenticator.index;
    alice.meet(&mut bob, at(1000));
    assert_ne!(bob.authenticator.index, index, "the counter overflowed");
    let opened = alice.hears(&old, &bob, at(1001));
    assert!(!opened.accepted);
    assert!(opened.challenge.is_some(), "an unknown index");
}

#[test]
fn a_challenge_provoked_within_an_index_makes_no_replay_acceptable() {
    let (mut alice, mut bob) = ends();
    let mut before = End::new(BOB, &[key(1)]);
    before.authenticator.index = [7; 16];
    alice.meet(&mut bob, at(0));
    let hello = bob.hello(MULTICAST);
    assert!(alice.hears(&hello, &bob, at(1)).accepted);
    // An old packet of another index makes Alice challenge Bob, who answers truthfully.
    let ancient = before.hello(MULTICAST);
    let nonce = alice.hears(&ancient, &before, at(1000)).challenge.unwrap();
    let reply = bob.reply(&nonce, ALICE);
    assert!(alice.open(&reply, BOB, ALICE, at(1001)).accepted);
    assert!(!alice.open(&reply, BOB, ALICE, at(1002)).accepted);
    assert_eq!(
        alice.hears(&hello, &bob, at(1003)).failure,
        Some(Failure::Replayed)
    );
}

#[test]
fn replies_count_only_for_a_challenge_under_way() {
    let (mut alice, mut bob) = ends();
    let unasked = bob.reply(&[0; 16], ALICE);
    let nonce = alice.open(&unasked, BOB, ALICE, at(0)).challenge.unwrap();
    let other = bob.reply(&[0; 16], ALICE);
    assert!(!alice.open(&other, BOB, ALICE, at(1)).accepted);
    let longer = bob.reply(&[&nonce[..], &[0]].concat(), ALICE);
    assert!(!alice.open(&longer, BOB, ALICE, at(2)).accepted);
    let late = bob.reply(&nonce, ALICE);
    assert!(!alice.open(&late, BOB, ALICE, at(30_000)).accepted);
    let in_time = bob.reply(&nonce, ALICE);
    assert!(alice.open(&in_time, BOB, ALICE, at(29_999)).accepted);
}

#[test]
fn challenges_and_replies_are_rate_limited_each() {
    let (mut alice, mut bob) = ends();
    let challenged: Vec<u64> = (0..10)
        .map(|n| n * 100)
        .filter(|millis| {
            let hello = bob.hello(MULTICAST);
            alice.hears(&hello, &bob, at(*millis)).challenge.is_some()
        })
        .collect();
    assert_eq!(challenged, [0, 300, 600, 900]);
    let answered: Vec<u64> = (0..10)
        .map(|n| n * 100)
        .filter(|millis| {
            let request = bob.challenge(b"", ALICE);
            alice.open(&request, BOB, ALICE, at(*millis)).reply.is_some()
        })
        .collect();
    assert_eq!(answered, [0, 300, 600, 900]);
}

#[test]
fn a_peer_further_away_than_the_gap_between_challenges_still_gets_known() {
    let (mut alice, mut bob) = ends();
    let mut nonces = VecDeque::new();
    for millis in (0..2000).step_by(100) {
        let hello = bob.hello(MULTICAST);
        let opened = alice.hears(&hello, &bob, at(millis));
        nonces.extend(opened.challenge.map(|nonce| (millis + 1000, nonce)));
        if let Some((_, nonce)) = nonces.pop_front_if(|(due, _)| *due <= millis) {
            let reply = bob.reply(&nonce, ALICE);
            assert!(alice.open(&reply, BOB, ALICE, at(millis)).accepted);
            return;
        }
    }
    panic!("no challenge succeeded");
}

#[test]
fn a_challenge_by_multicast_is_not_answered() {
    let (mut alice, mut bob) = ends();
    let request = bob.challenge(b"nonce", MULTICAST);
    let opened = alice.hears(&request, &bob, at(0));
    assert_eq!((opened.reply, opened.challenges), (None, 1));
}

#[test]
fn only_the_first_packet_counter_counts() {
    let (mut alice, mut bob) = ends();
    alice.meet(&mut bob, at(0));
    let mut payload = Builder::new(1000, BOB).finish();
    packet::append_counter(&mut payload, bob.authenticator.counter, &bob.authenticator.index);
    let replayed = bob.seal_raw(payload);
    assert_eq!(
        alice.hears(&replayed, &bob, at(1)).failure,
        Some(Failure::Replayed)
    );
}

impl End {
    /// Seals a packet that may have a packet counter already.
    fn seal_raw(&mut self, mut payload: Vec<u8>) -> Vec<u8> {
        self.authenticator
            .seal(&mut payload, self.address, MULTICAST, &mut self.nonces, at(0));
        payload
    }
}

#[test]
fn a_packet_without_counter_is_dropped_but_its_challenge_answered() {
    let (mut alice, _) = ends();
    let mut builder = Builder::new(1000, BOB);
    builder.challenge_request(b"nonce");
    let mut payload = builder.finish();
    let mac = key(1)
        .mac([&packet::pseudo_header(BOB, ALICE), &payload])
        .unwrap();
    packet::append_mac(&mut payload, mac.octets());
    let opened = alice.open(&payload, BOB, ALICE, at(0));
    assert_eq!(opened.failure, Some(Failure::Missing));
    assert_eq!(opened.reply.as_deref(), Some(&b"nonce"[..]));
    assert!(opened.challenge.is_none());
}

#[test]
fn index_and_counter_are_forgotten_whatever_challenges_fail() {
    let (mut alice, mut bob) = ends();
    alice.meet(&mut bob, at(0));
    let kept = bob.hello(MULTICAST);
    let mut ghost = End::new(BOB, &[key(1)]);
    ghost.authenticator.index = [9; 16];
    for second in 1..300 {
        let hello = ghost.hello(MULTICAST);
        assert!(!alice.hears(&hello, &ghost, at(second * 1000)).accepted);
    }
    let opened = alice.hears(&kept, &bob, at(300_000));
    assert!(
        !opened.accepted && opened.challenge.is_some(),
        "delayed for longer than five minutes"
    );
}

#[test]
fn the_number_of_peers_is_bounded_and_old_ones_make_room() {
    let (mut alice, _) = ends();
    for n in 1..=20u16 {
        let mut peer = End::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, n), &[key(1)]);
        let hello = peer.hello(MULTICAST);
        let opened = alice.hears(&hello, &peer, at(0));
        assert_eq!(opened.failure.is_some(), usize::from(n) > ROOM);
        assert!(alice.authenticator.peers.len() <= ROOM);
    }
    let mut bob = End::new(BOB, &[key(1)]);
    alice.meet(&mut bob, at(30_000));
    assert_eq!(alice.authenticator.peers.len(), 1);
}

#[test]
fn sign_only_believes_everybody_but_learns_whom_it_could_trust() {
    let (mut alice, mut bob) = ends();
    alice.authenticator.mode = AuthenticationMode::SignOnly;
    let mut bare = End::new(BOB, &[]);
    let hello = bare.hello(MULTICAST);
    let opened = alice.hears(&hello, &bare, at(0));
    assert!(opened.accepted);
    assert_eq!(opened.failure, Some(Failure::Missing));
    alice.meet(&mut bob, at(0));
    alice.authenticator.mode = AuthenticationMode::Require;
    let hello = bob.hello(MULTICAST);
    assert!(alice.hears(&hello, &bob, at(1)).accepted);
}

#[test]
fn without_keys_nobody_is_believed() {
    let mut alice = End::new(ALICE, &[]);
    let mut bob = End::new(BOB, &[key(1)]);
    let hello = bob.hello(MULTICAST);
    assert_eq!(alice.hears(&hello, &bob, at(0)).failure, Some(Failure::Mac));
}

#[test]
fn eight_keys_leave_room_for_the_longest_challenge_and_reply() {
    let keys: Vec<MacKey> = (1..=9).map(key).collect();
    let mut alice = End::new(ALICE, &keys);
    assert_eq!(alice.authenticator.keys.len(), MAX_KEYS);
    let mut builder = Builder::new(512 - alice.authenticator.overhead(), ALICE);
    assert!(builder.challenge_reply(&[1; 192]));
    assert!(builder.challenge_request(&alice.nonces.next()));
    assert!(alice.seal(builder, BOB).len() <= 512);
}
