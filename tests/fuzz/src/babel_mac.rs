//! The Babel speaker with authentication: a member of the link that says anything at all, and strangers.

use crate::babel::{INTERFACE, LIMITS, START, link_local, new_speaker, run_until};
use crate::{join, split};
use core::net::Ipv6Addr;
use hmac::{Hmac, KeyInit, Mac};
use osier_babel::{
    AcceptAll, Authentication, AuthenticationMode, Destination, Duration, MULTICAST, MacKey, PORT, Speaker,
};
use sha2::Sha256;
use std::collections::BTreeMap;

const SECRET: [u8; 32] = [7; 32];
/// Bits of a packet's first octet.
const UNICAST: u8 = 1;
const SIGNED: u8 = 0x80;
const ANSWERS: u8 = 0x40;

fn authenticated(node: u8) -> Speaker {
    let mut speaker = new_speaker(node, START);
    // The constructor admits this key.
    let keys = MacKey::hmac_sha256(&SECRET).into_iter().collect();
    let authentication = Authentication {
        keys,
        mode: AuthenticationMode::Require,
        entropy: [node; 32],
    };
    speaker.set_authentication(INTERFACE, Some(authentication), START);
    speaker
}

/// Appends a MAC that covers what the header says is the body, if there is so much.
fn sign(payload: &mut Vec<u8>, src: Ipv6Addr, dst: Ipv6Addr) {
    let Some(&[_, _, high, low]) = payload.first_chunk::<4>() else {
        return;
    };
    let covered = 4 + usize::from(u16::from_be_bytes([high, low]));
    let Some(covered) = payload.get(..covered) else {
        return;
    };
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(&SECRET) else {
        return;
    };
    let port = PORT.to_be_bytes();
    let header = [&src.octets()[..], &port, &dst.octets(), &port].concat();
    let mac = mac
        .chain_update(header)
        .chain_update(covered)
        .finalize()
        .into_bytes();
    payload.extend([16, 32]);
    payload.extend(mac);
}

/// Puts TLVs into the body of a packet that has nothing behind it.
fn append(payload: &mut Vec<u8>, tlvs: &[u8]) {
    if payload.len() < 4 {
        return;
    }
    payload.extend(tlvs);
    let length = (payload.len() - 4) as u16;
    payload[2..4].copy_from_slice(&length.to_be_bytes());
}

/// The nonce of a challenge in a packet of the speaker's.
fn challenge(payload: &[u8]) -> Option<&[u8]> {
    let mut body = payload.get(4..)?;
    while let [kind, length, rest @ ..] = body {
        let (tlv, rest) = rest.split_at_checked((*length).into())?;
        if *kind == 18 {
            return Some(tlv);
        }
        body = rest;
    }
    None
}

/// Packets as for the target `babel`, with two more bits in the first octet: sign the packet, and answer the last
/// challenge in it.
pub fn speaker(data: &[u8]) -> bool {
    let mut speaker = authenticated(1);
    let mut now = START;
    let mut challenges: BTreeMap<Ipv6Addr, Vec<u8>> = BTreeMap::new();
    let mut signed = false;
    let check = |challenges: &mut BTreeMap<Ipv6Addr, Vec<u8>>, speaker: &mut Speaker, now| {
        run_until(speaker, now, |destination, payload| {
            assert!(payload.len() <= 1280 - 48, "a packet over the MTU");
            let body = usize::from(u16::from_be_bytes([payload[2], payload[3]])) + 4;
            assert_eq!(payload.len(), body + 34, "one MAC in the trailer");
            if let (Destination::Unicast(address), Some(nonce)) = (destination, challenge(payload)) {
                challenges.insert(address, nonce.to_vec());
            }
        });
    };
    for packet in split(data) {
        let Some((&first, payload)) = packet.split_first() else {
            continue;
        };
        now += Duration::from_millis(250);
        check(&mut challenges, &mut speaker, now);
        let destination = if first & UNICAST != 0 {
            link_local(1)
        } else {
            MULTICAST
        };
        let source = link_local(2 + (first & 0x3f) / 2 % 6);
        let mut payload = payload.to_vec();
        if first & ANSWERS != 0
            && let Some(nonce) = challenges.get(&source)
        {
            append(&mut payload, &[&[19, nonce.len() as u8], &nonce[..]].concat());
        }
        if first & SIGNED != 0 {
            sign(&mut payload, source, destination);
            signed = true;
        }
        speaker.handle_packet(INTERFACE, source, destination, &payload, &mut AcceptAll, now);
        if !signed {
            assert_eq!(speaker.neighbours().count(), 0, "a stranger became a neighbour");
        }
    }
    check(&mut challenges, &mut speaker, now + Duration::from_secs(30));
    assert!(speaker.routes().count() <= LIMITS.prefixes * LIMITS.neighbours_per_interface);
    assert!(speaker.neighbours().count() <= LIMITS.neighbours_per_interface);
    let counters = speaker.counters();
    counters.challenges_sent > 0 && counters.malformed_packets == 0 && counters.ignored_tlvs == 0
}

/// One packet made of TLVs.
fn packet(first: u8, tlvs: &[&[u8]]) -> Vec<u8> {
    let body = tlvs.concat();
    let length = (body.len() as u16).to_be_bytes();
    [&[first, 42, 2], &length[..], &body].concat()
}

/// A packet counter with the index 1, 2.
fn counter(n: u8) -> [u8; 8] {
    [17, 6, 0, 0, 0, n, 1, 2]
}

pub fn conversations() -> Vec<(String, Vec<u8>)> {
    const HELLO: &[u8] = &[4, 12, 0, 0, 0, 1, 1, 0x90, 3, 4, 0, 0, 1, 0];
    const IHU: &[u8] = &[5, 6, 0, 0, 0, 96, 4, 0xb0];
    const UPDATE: &[u8] = &[
        6, 10, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 18, 2, 0x80, 64, 0, 6, 0x40, 0, 5, 0, 0, 0xfd, 0, 0x51, 0xe4,
        0, 0, 0, 9,
    ];
    const CHALLENGE: &[u8] = &[18, 3, 1, 2, 3];
    let one = |name: &str, packets: &[Vec<u8>]| (name.to_owned(), join(packets.iter().map(Vec::as_slice)));
    let stranger = packet(0, &[HELLO, &counter(1)]);
    let met = packet(SIGNED, &[HELLO, &counter(1)]);
    let proof = packet(SIGNED | ANSWERS | UNICAST, &[&counter(2)]);
    let routes = packet(SIGNED, &[HELLO, IHU, UPDATE, &counter(3)]);
    vec![
        one("met", &[met.clone(), proof.clone(), routes.clone()]),
        one(
            "replayed",
            &[met.clone(), proof.clone(), routes.clone(), routes.clone()],
        ),
        one("stranger-and-member", &[stranger, met.clone(), proof.clone()]),
        one(
            "challenged",
            &[met.clone(), packet(SIGNED | UNICAST, &[CHALLENGE, &counter(2)])],
        ),
        one(
            "two-members",
            &[
                met.clone(),
                packet(SIGNED | 2, &[HELLO, &counter(1)]),
                proof,
                packet(SIGNED | ANSWERS | UNICAST | 2, &[&counter(9)]),
                routes,
            ],
        ),
    ]
}
