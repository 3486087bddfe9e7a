//! Packets under other keys than WireGuard's, beside its session. Handshakes are real ones; the time of the keys is the test's.

#![allow(clippy::unwrap_used)]

use osier_proto::{
    Duration, Instant,
    tunnel::{Cipher, Opened, Sealed, Session, SessionFactory as _, wireguard::WireGuardFactory},
};
use std::net::SocketAddr;

const KIND: u8 = 17;
const WIREGUARD: u8 = 4;
const SECOND: Duration = Duration::from_secs(1);

fn source() -> SocketAddr {
    "192.0.2.1:6697".parse().unwrap()
}

/// An IPv6 packet with this many octets of payload.
fn packet(payload: u16, fill: u8) -> Vec<u8> {
    let mut packet = vec![fill; 40 + usize::from(payload)];
    packet[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 0, 17, 64]);
    packet[4..6].copy_from_slice(&payload.to_be_bytes());
    packet
}

struct Pair {
    ends: [Box<dyn Session>; 2],
    now: Instant,
}

impl Pair {
    /// Without keys; `aes` for each end.
    fn new(aes: [bool; 2]) -> Self {
        let factories = [[7; 32], [8; 32]].map(|secret| WireGuardFactory::with_limit(&secret, u64::MAX));
        let keys = [factories[0].public_key(), factories[1].public_key()];
        let now = Instant::from_micros(1_000_000);
        let mut ends = factories
            .into_iter()
            .zip(aes)
            .enumerate()
            .map(|(i, (factory, aes))| {
                let factory = if aes { factory } else { factory.without_aes() };
                factory.new_session(keys[1 - i], 0x1234 + i as u32, now)
            });
        let ends = [ends.next().unwrap(), ends.next().unwrap()];
        Self { ends, now }
    }

    /// A handshake that end 0 begins, with the packet that confirms it.
    fn shake_hands(&self) {
        let (mut there, mut back, mut confirmation) = ([0; 2048], [0; 2048], [0; 2048]);
        let initiation = self.ends[0].initiate(self.now, &mut there).unwrap();
        let Opened::Reply(reply) = self.ends[1].open(self.now, source(), initiation, &mut back) else {
            panic!("no reply");
        };
        let Opened::Reply(first) = self.ends[0].open(self.now, source(), reply, &mut confirmation) else {
            panic!("no confirmation");
        };
        assert_eq!(self.open(1, first), Some(vec![]));
    }

    fn open(&self, end: usize, datagram: &[u8]) -> Option<Vec<u8>> {
        let mut out = [0; 4096];
        match self.ends[end].open(self.now, source(), datagram, &mut out) {
            Opened::Packet(packet) => Some(packet.to_vec()),
            _ => None,
        }
    }

    fn seal(&self, end: usize, packet: &[u8]) -> Vec<u8> {
        let mut out = [0; 4096];
        match self.ends[end].seal(self.now, packet, &mut out) {
            Sealed::Datagram(datagram) => datagram.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    /// Sealed otherwise than by boringtun: the first packet of a second goes the ordinary way.
    fn seal_second(&self, end: usize, packet: &[u8]) -> Vec<u8> {
        assert_eq!(self.seal(end, packet)[0], WIREGUARD);
        self.seal(end, packet)
    }

    fn tick(&self, end: usize) -> Option<Vec<u8>> {
        let mut out = [0; 2048];
        self.ends[end].tick(self.now, &mut out).map(<[u8]>::to_vec)
    }

    /// So many packets each way that a better cipher is worth its keys.
    fn talk(&self) {
        for end in [0, 1] {
            for _ in 0..50 {
                let packet = packet(100, 1);
                assert_eq!(self.open(1 - end, &self.seal(end, &packet)), Some(packet));
            }
        }
    }

    /// Both ends tell their keys and that they have the other's, in turns of a second.
    fn tell(&mut self) {
        self.talk();
        for _ in 0..3 {
            self.now += SECOND;
            for end in [1, 0] {
                if let Some(told) = self.tick(end) {
                    assert_eq!(told[0], WIREGUARD);
                    assert_eq!(self.open(1 - end, &told), Some(vec![]));
                }
            }
        }
        assert_eq!([self.tick(0), self.tick(1)], [None, None]);
    }

    fn ciphers(&self) -> [Cipher; 2] {
        [0, 1].map(|end| self.ends[end].cipher(self.now))
    }
}

/// Machines without AES instructions have nothing to test here.
fn has_aes() -> bool {
    let mut pair = Pair::new([true, true]);
    pair.shake_hands();
    pair.tell();
    let has = pair.ciphers() == [Cipher::Aes256Gcm; 2];
    #[cfg(target_arch = "x86_64")]
    assert_eq!(
        has,
        std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
    );
    has
}

fn ready() -> Option<Pair> {
    has_aes().then(|| {
        let mut pair = Pair::new([true, true]);
        pair.shake_hands();
        pair.tell();
        pair
    })
}

#[test]
fn packets_change_the_cipher_once_keys_are_told() {
    let Some(pair) = ready() else { return };
    for end in [0, 1] {
        for payload in [0, 1, 15, 16, 1240, 1400] {
            let packet = packet(payload, 0x42);
            let mut sealed = pair.seal(end, &packet);
            if sealed[0] == WIREGUARD {
                sealed = pair.seal(end, &packet);
            }
            assert_eq!(sealed[0], KIND);
            assert_eq!(sealed.len(), packet.len() + 32);
            assert!(!sealed.windows(40).any(|w| w == &packet[..40]));
            assert_eq!(pair.open(1 - end, &sealed), Some(packet));
        }
    }
}

/// Idle tunnels must not cost anything more.
#[test]
fn where_little_passes_no_keys_are_told() {
    let mut pair = Pair::new([true, true]);
    pair.shake_hands();
    for _ in 0..100 {
        pair.now += SECOND;
        for end in [0, 1] {
            assert!(pair.open(1 - end, &pair.seal(end, &packet(100, 1))).is_some());
            assert_eq!(pair.tick(end), None);
        }
    }
}

#[test]
fn one_packet_a_second_goes_the_ordinary_way() {
    let Some(mut pair) = ready() else { return };
    for _ in 0..3 {
        let kinds: Vec<u8> = (0..100).map(|_| pair.seal(0, &packet(100, 1))[0]).collect();
        assert_eq!(kinds[0], WIREGUARD);
        assert!(kinds[1..].iter().all(|kind| *kind == KIND));
        pair.now += SECOND;
    }
}

#[test]
fn what_was_changed_cut_repeated_or_made_for_others_is_refused() {
    let Some(pair) = ready() else { return };
    let sealed = pair.seal_second(0, &packet(64, 3));
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 0x20;
        assert_eq!(pair.open(1, &changed), None, "octet {at}");
    }
    for length in 0..sealed.len() {
        assert_eq!(pair.open(1, &sealed[..length]), None, "{length} octets");
    }
    assert_eq!(pair.open(0, &sealed), None, "its own");
    assert!(pair.open(1, &sealed).is_some());
    assert_eq!(pair.open(1, &sealed), None, "a second time");
    let mut late: Vec<_> = (0..100).map(|_| pair.seal(0, &packet(64, 3))).collect();
    late.reverse();
    assert!(late.iter().all(|sealed| pair.open(1, sealed).is_some()));
}

#[test]
fn an_end_that_wants_no_aes_gets_none_and_tells_none() {
    let can = has_aes();
    for aes in [[true, false], [false, true], [false, false]] {
        let mut pair = Pair::new(aes);
        pair.shake_hands();
        let mut told = [0; 2];
        for _ in 0..20 {
            pair.now += SECOND;
            pair.talk();
            for end in [0, 1] {
                pair.seal(end, &packet(10, 1));
                if let Some(datagram) = pair.tick(end) {
                    told[end] += 1;
                    assert_eq!(pair.open(1 - end, &datagram), Some(vec![]));
                }
            }
        }
        // It is WireGuard's cipher, but not behind its lock.
        assert_eq!(pair.ciphers(), [Cipher::ChaCha20Poly1305; 2]);
        for end in [0, 1] {
            let sealed = pair.seal(end, &packet(10, 1));
            assert_eq!(sealed[0], KIND);
            assert_eq!(pair.open(1 - end, &sealed), Some(packet(10, 1)));
            // A key for AES that is not taken is followed by another; then both ends say that they have one.
            let most = if aes[end] && can { 4 + 2 } else { 2 };
            assert!(told[end] <= most, "{told:?} key packets");
        }
    }
}

#[test]
fn a_handshake_ends_a_key_and_the_next_is_another() {
    let Some(mut pair) = ready() else { return };
    let before = pair.seal_second(0, &packet(64, 3));
    let late = pair.seal(0, &packet(64, 3));
    pair.shake_hands();
    assert_eq!(pair.open(1, &pair.seal(0, &packet(1, 1))), Some(packet(1, 1)));
    assert_eq!(pair.ends[1].cipher(pair.now), Cipher::ChaCha20Poly1305);
    assert!(pair.open(0, &pair.seal(1, &packet(1, 1))).is_some());
    assert_eq!(pair.ciphers(), [Cipher::ChaCha20Poly1305; 2]);
    pair.tell();
    assert_eq!(pair.ciphers(), [Cipher::Aes256Gcm; 2]);
    let after = pair.seal_second(0, &packet(64, 3));
    assert_eq!([before[0], after[0]], [KIND, KIND]);
    assert_ne!(before[4..8], after[4..8], "the same receiver");
    assert!(pair.open(1, &after).is_some());
    // On its way since before; but not for ever.
    assert!(pair.open(1, &before).is_some());
    pair.now += Duration::from_secs(190);
    assert_eq!(pair.open(1, &late), None);
    assert_eq!(pair.ciphers(), [Cipher::ChaCha20Poly1305; 2]);
}

/// Were an old key packet to count, its key would be used again with counters from 0.
#[test]
fn a_key_packet_that_comes_again_or_late_starts_no_counter_anew() {
    if !has_aes() {
        return;
    }
    let mut pair = Pair::new([true, true]);
    pair.shake_hands();
    pair.talk();
    pair.now += SECOND;
    let tellings = [
        pair.tick(1).unwrap(),
        pair.tick(1).unwrap(),
        pair.tick(1).unwrap(),
    ];
    assert!(pair.open(0, &tellings[0]).is_some());
    let first = pair.seal_second(0, &packet(64, 3));
    assert_eq!(first[8..16], [0; 8]);
    assert!(pair.open(0, &tellings[1]).is_some());
    assert_eq!(pair.seal(0, &packet(64, 3))[8], 1, "the counter goes on");
    pair.now += Duration::from_secs(181);
    assert!(pair.open(0, &pair.seal(1, &packet(1, 1))).is_some());
    pair.shake_hands();
    assert!(pair.open(0, &pair.seal(1, &packet(1, 1))).is_some());
    assert!(pair.open(0, &tellings[2]).is_some());
    assert_eq!(pair.ends[0].cipher(pair.now), Cipher::ChaCha20Poly1305);
}

/// Tells a peer that forgot everything from one that did not.
#[test]
fn a_peer_that_starts_anew_is_understood_after_its_handshake() {
    let Some(mut pair) = ready() else { return };
    let fresh = Pair::new([true, true]);
    let [started_anew, _] = fresh.ends;
    pair.ends[0] = started_anew;
    pair.shake_hands();
    assert_eq!(pair.open(0, &pair.seal(1, &packet(9, 9))), Some(packet(9, 9)));
    assert_eq!(pair.open(0, &pair.seal(1, &packet(9, 9))), Some(packet(9, 9)));
    pair.tell();
    assert_eq!(pair.ciphers(), [Cipher::Aes256Gcm; 2]);
    assert!(pair.open(0, &pair.seal_second(1, &packet(9, 9))).is_some());
}

#[test]
fn several_threads_share_the_keys_of_one_peer() {
    const EACH: u16 = 2000;
    let Some(pair) = ready() else { return };
    let pair = &pair;
    // Once the packet that goes the ordinary way is gone.
    pair.seal(0, &packet(1, 0));
    let sealed: Vec<_> = std::thread::scope(|scope| {
        let threads = [0_u8, 1, 2].map(|thread| {
            scope.spawn(move || {
                let seal = |n: u16| pair.seal(0, &packet(n % 1300, thread));
                (0..EACH).map(seal).collect::<Vec<_>>()
            })
        });
        threads.map(|thread| thread.join().unwrap()).concat()
    });
    let headers: std::collections::BTreeSet<_> = sealed.iter().map(|datagram| &datagram[..16]).collect();
    assert_eq!(headers.len(), 3 * usize::from(EACH), "no counter twice");
    // In the order of their counters, as far as a window reaches, and each offered to two threads.
    let mut sealed: Vec<_> = sealed.iter().collect();
    sealed.sort_by_key(|datagram| u64::from_le_bytes(datagram[8..16].try_into().unwrap()));
    for some in sealed.chunks(1000) {
        let opened = std::thread::scope(|scope| {
            let open = || some.iter().filter_map(|datagram| pair.open(1, datagram)).count();
            let other = scope.spawn(open);
            open() + other.join().unwrap()
        });
        assert_eq!(opened, some.len(), "each exactly once");
    }
}
