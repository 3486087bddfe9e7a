//! Keys for packets beside a WireGuard session and told inside it, with which several threads seal and open at once.
//!
//! WireGuard knows one cipher, ChaCha20-Poly1305. Processors with instructions for AES do AES-GCM with a third of the
//! work, and the cipher is the largest part of what a packet costs. On those without, it is the more important that
//! several of them can work for one peer, which boringtun does not allow. So an end that gets
//! many packets tells the other, once after each handshake and through the session itself, a key of its own choice by
//! which it will know packets: one for AES-256-GCM where it has the instructions, and when that is not taken or it has
//! none, one for ChaCha20-Poly1305. Whoever holds the key may seal with it instead. Where little passes, nothing is
//! told: there would be nothing to save. Each direction stands for itself: an end that tells no key, stock
//! WireGuard above all, gets packets as WireGuard knows them.
//!
//! A key is as secret as the session that it was told in, and goes with it: a handshake ends the use of the key that
//! came before, so what was sealed cannot be read later by who gets hold of both ends (forward secrecy), and no key
//! seals longer than WireGuard's REJECT-AFTER-TIME. Keys are random and used in one direction, and the nonce is a
//! counter, so none repeats.
//!
//! ```text
//! packet     0 type 17 | 1..4 zero | 4..8 receiver, little endian | 8..16 counter, little endian
//!            16.. ciphertext and tag of 16 octets, as in a WireGuard data message
//! key packet IPv6 of next header 253 (RFC 3692) to and from fe80::6f73:6965:7200, hop limit 1:
//!            40 version 1 | 41 cipher, 1: AES-256-GCM, 2: ChaCha20-Poly1305 | 42 flags, 1: a key, 2: taken | 43 zero
//!            44..48 receiver of the key, little endian | 48..52 receiver of the key taken | 52..84 the key
//! ```

use super::{Cipher, OVERHEAD};
use crate::{
    Duration, Instant,
    replay::Window,
    sync::{lock, read, write},
};
use ring::{
    aead::{AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom as _, SystemRandom},
};
use std::sync::{
    Mutex, RwLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};
use zeroize::{Zeroize as _, Zeroizing};

/// First octet of a packet under one of these keys.
pub(super) const KIND: u8 = 17;
/// Octets of a key packet.
pub(super) const KEY_PACKET: usize = 84;

/// WireGuard's REJECT-AFTER-TIME (paper section 6.1).
const LIFE: Duration = Duration::from_secs(180);
/// Packets that were on their way when their key ended.
const OVERLAP: Duration = Duration::from_secs(10);
/// Packets under one key: with 1,400 octets some 2^34.5 blocks, for which RFC 8446 section 5.5 finds the chance of
/// telling AES-GCM from randomness below 2^-57.
const MAX_COUNTER: u64 = 1 << 28;
/// Packets in a second from which on the cipher is worth a few key packets.
const BUSY: u64 = 50;
/// Times that a key is told without an answer; who is silent does not know them.
const TRIES: u8 = 4;

const HEADER: usize = 16;
const TAG: usize = 16;
const IPV6_HEADER: usize = 40;
/// fe80::6f73:6965:7200.
const ADDRESS: [u8; 16] = [
    0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0x6f, 0x73, 0x69, 0x65, 0x72, 0,
];
const EXPERIMENT: u8 = 253;
const VERSION: u8 = 1;
const FLAG_KEY: u8 = 1;
const FLAG_TAKEN: u8 = 2;

/// Whether this processor does AES-GCM in hardware; without it ChaCha20-Poly1305 is faster.
pub(super) fn is_worthwhile() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Suite {
    Aes,
    ChaCha,
}

impl Suite {
    fn number(self) -> u8 {
        match self {
            Self::Aes => 1,
            Self::ChaCha => 2,
        }
    }

    fn of(number: u8) -> Option<Self> {
        [Self::Aes, Self::ChaCha]
            .into_iter()
            .find(|suite| suite.number() == number)
    }

    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Aes => &AES_256_GCM,
            Self::ChaCha => &CHACHA20_POLY1305,
        }
    }

    fn cipher(self) -> Cipher {
        match self {
            Self::Aes => Cipher::Aes256Gcm,
            Self::ChaCha => Cipher::ChaCha20Poly1305,
        }
    }
}

#[derive(Debug)]
struct Outgoing {
    suite: Suite,
    key: LessSafeKey,
    receiver: u32,
    /// Of the next packet; each belongs to who has drawn it.
    counter: AtomicU64,
    since: Instant,
}

#[derive(Debug)]
struct Incoming {
    key: LessSafeKey,
    receiver: u32,
    window: Mutex<Window>,
    since: Instant,
}

/// The key to seal with, if any.
#[derive(Debug, Default)]
struct Sealing {
    outgoing: Option<Outgoing>,
    /// Receiver of the key taken from the session in use. Were another or the same taken after its end, a counter could
    /// begin anew.
    taken: Option<u32>,
}

/// What is to be told.
#[derive(Debug, Default)]
struct Telling {
    /// Keys so far, as the lowest octet of their receivers.
    number: u8,
    /// When the session in use was first heard of.
    since: Option<Instant>,
    /// The session in use has its key.
    drawn: bool,
    /// Our newest key, until the other end has it.
    key: Option<(Suite, u32, Zeroizing<[u8; 32]>)>,
    tries: u8,
    /// The other end's key that it may think we lack.
    taken: Option<u32>,
}

/// The keys of one peer, both directions. Several threads seal and open at once: what they do under a shared lock is
/// drawing a counter, the cipher and, once a packet is known to be authentic, a look at the window.
#[derive(Debug)]
pub(super) struct DataKeys {
    /// Our index of the peer, in the upper 24 bits.
    index: u32,
    /// Whether keys for AES are told and taken.
    aes: bool,
    sealing: RwLock<Sealing>,
    /// The newest and the one before, by the last bit of the receiver.
    incoming: RwLock<[Option<Incoming>; 2]>,
    telling: Mutex<Telling>,
    /// WireGuard's receiver index of the session in use; [`NO_SESSION`] at first.
    session: AtomicU64,
    /// Data messages of WireGuard's own since the last look.
    ordinary: AtomicU64,
}

/// More than 32 bits.
const NO_SESSION: u64 = u64::MAX;

impl DataKeys {
    pub(super) fn new(index: u32, aes: bool) -> Self {
        Self {
            index: index << 8,
            aes,
            sealing: RwLock::default(),
            incoming: RwLock::default(),
            telling: Mutex::default(),
            session: AtomicU64::new(NO_SESSION),
            ordinary: AtomicU64::new(0),
        }
    }

    /// A data message of the session that we know by this receiver index has been opened. Whether that is the session
    /// in use: the newest one in which the other end has spoken, so that both have its keys.
    pub(super) fn opened(&self, session: u32, now: Instant) -> bool {
        self.ordinary.fetch_add(1, Relaxed);
        let known = self.session.load(Relaxed);
        if u64::from(session) == known {
            return true;
        }
        let mut telling = lock(&self.telling);
        // boringtun numbers its sessions in the lowest octet. Those before are over when the one in use is.
        let is_newer = (session as u8).wrapping_sub(known as u8) < 0x80;
        let is_over = |since| now.saturating_since(since) >= LIFE + OVERLAP;
        if !is_newer && !telling.since.is_none_or(is_over) {
            return false;
        }
        self.session.store(session.into(), Relaxed);
        telling.since = Some(now);
        telling.taken = None;
        telling.drawn = false;
        telling.key = None;
        telling.tries = 0;
        // The other end's key came with what is over now, and if it has started anew, it no longer knows it.
        *write(&self.sealing) = Sealing::default();
        true
    }

    /// A new key of ours, to be told.
    fn draw(&self, suite: Suite, telling: &mut Telling, now: Instant) {
        let mut key = Zeroizing::new([0; 32]);
        let drawn = SystemRandom::new().fill(&mut *key).is_ok();
        let Some(unbound) = UnboundKey::new(suite.algorithm(), &*key).ok().filter(|_| drawn) else {
            return;
        };
        telling.drawn = true;
        telling.number = telling.number.wrapping_add(1);
        let receiver = self.index | u32::from(telling.number);
        write(&self.incoming)[(receiver & 1) as usize] = Some(Incoming {
            key: LessSafeKey::new(unbound),
            receiver,
            window: Mutex::new(Window::new()),
            since: now,
        });
        telling.tries = 0;
        telling.key = Some((suite, receiver, key));
    }

    /// The next key packet to send through the session; to be asked every second.
    pub(super) fn poll_tell(&self, packet: &mut [u8; KEY_PACKET], now: Instant) -> bool {
        let is_busy = self.ordinary.swap(0, Relaxed) >= BUSY;
        let mut telling = lock(&self.telling);
        if is_busy && !telling.drawn {
            let suite = if self.aes { Suite::Aes } else { Suite::ChaCha };
            self.draw(suite, &mut telling, now);
        }
        if telling.tries >= TRIES
            && let Some((Suite::Aes, ..)) = telling.key.take()
        {
            self.draw(Suite::ChaCha, &mut telling, now);
        }
        let taken = telling.taken.take();
        if telling.key.is_none() && taken.is_none() {
            return false;
        }
        *packet = [0; KEY_PACKET];
        packet[0] = 0x60;
        packet[5] = (KEY_PACKET - IPV6_HEADER) as u8;
        packet[6] = EXPERIMENT;
        packet[7] = 1;
        packet[8..24].copy_from_slice(&ADDRESS);
        packet[24..40].copy_from_slice(&ADDRESS);
        packet[40] = VERSION;
        if let Some((suite, receiver, key)) = &telling.key {
            packet[41] = suite.number();
            packet[42] |= FLAG_KEY;
            packet[44..48].copy_from_slice(&receiver.to_le_bytes());
            packet[52..84].copy_from_slice(&**key);
            telling.tries += 1;
        }
        if let Some(taken) = taken {
            packet[42] |= FLAG_TAKEN;
            packet[48..52].copy_from_slice(&taken.to_le_bytes());
        }
        true
    }

    /// Takes what the other end says if this packet, which came through the session in use, is a key packet. What it
    /// cannot use it skips.
    pub(super) fn hear(&self, packet: &mut [u8], in_use: bool, now: Instant) -> bool {
        if packet.len() < IPV6_HEADER || packet[6] != EXPERIMENT || packet[24..40] != ADDRESS {
            return false;
        }
        let is_known = packet.len() >= KEY_PACKET && packet[40] == VERSION;
        // One of a session that is over has been late: its key may have been in use already.
        if is_known && in_use {
            let word =
                |at: usize| u32::from_le_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]]);
            if packet[42] & FLAG_TAKEN != 0 {
                let taken = word(48);
                lock(&self.telling)
                    .key
                    .take_if(|(_, receiver, _)| *receiver == taken);
            }
            let suite = Suite::of(packet[41]).filter(|suite| self.aes || *suite != Suite::Aes);
            if packet[42] & FLAG_KEY != 0
                && let Some(suite) = suite
            {
                self.take(suite, word(44), &packet[52..84], now);
            }
        }
        packet.zeroize();
        true
    }

    fn take(&self, suite: Suite, receiver: u32, key: &[u8], now: Instant) {
        let mut sealing = write(&self.sealing);
        if sealing.taken.is_none()
            && let Ok(key) = UnboundKey::new(suite.algorithm(), key)
        {
            sealing.taken = Some(receiver);
            sealing.outgoing = Some(Outgoing {
                suite,
                key: LessSafeKey::new(key),
                receiver,
                counter: AtomicU64::new(0),
                since: now,
            });
        }
        // Told again when our answer was lost.
        let taken = sealing.taken;
        drop(sealing);
        lock(&self.telling).taken = taken.filter(|t| *t == receiver);
    }

    /// What packets can be sealed with.
    pub(super) fn cipher(&self, now: Instant) -> Option<Cipher> {
        let sealing = read(&self.sealing);
        let outgoing = sealing.outgoing.as_ref().filter(|o| o.lasts(now));
        outgoing.map(|o| o.suite.cipher())
    }

    /// Seals a packet into `out`, which has room for it and [`OVERHEAD`] octets more. `None`: there is no key.
    pub(super) fn seal(&self, packet: &[u8], out: &mut [u8], now: Instant) -> Option<usize> {
        let sealing = read(&self.sealing);
        let outgoing = sealing.outgoing.as_ref().filter(|o| o.lasts(now))?;
        // Come what may, it is never drawn again: threads that pass the limit together stay far below 2^64.
        let counter = outgoing.counter.fetch_add(1, Relaxed);
        let length = packet.len();
        out[..4].copy_from_slice(&[KIND, 0, 0, 0]);
        out[4..8].copy_from_slice(&outgoing.receiver.to_le_bytes());
        out[8..HEADER].copy_from_slice(&counter.to_le_bytes());
        let (body, rest) = out[HEADER..].split_at_mut(length);
        body.copy_from_slice(packet);
        let tag = outgoing
            .key
            .seal_in_place_separate_tag(nonce(counter), Aad::empty(), body);
        rest[..TAG].copy_from_slice(tag.ok()?.as_ref());
        Some(length + OVERHEAD)
    }

    /// Opens a packet into `out`, which is as long as the datagram: its length. `None`: forged, seen before, or for a
    /// key that is gone.
    pub(super) fn open(&self, datagram: &[u8], out: &mut [u8], now: Instant) -> Option<usize> {
        let (header, sealed) = datagram.split_first_chunk::<HEADER>()?;
        let [_, z1, z2, z3, r1, r2, r3, r4, counter @ ..] = *header;
        let (receiver, counter) = (u32::from_le_bytes([r1, r2, r3, r4]), u64::from_le_bytes(counter));
        if [z1, z2, z3] != [0; 3] {
            return None;
        }
        let incoming = read(&self.incoming);
        let known = incoming[(receiver & 1) as usize].as_ref()?;
        if known.receiver != receiver || now.saturating_since(known.since) >= LIFE + OVERLAP {
            return None;
        }
        let out = out.get_mut(..sealed.len())?;
        out.copy_from_slice(sealed);
        let packet = known.key.open_in_place(nonce(counter), Aad::empty(), out).ok()?;
        lock(&known.window).accept(counter).then_some(packet.len())
    }

    /// Forgets keys that have ended.
    pub(super) fn expire(&self, now: Instant) {
        write(&self.sealing).outgoing.take_if(|o| !o.lasts(now));
        for slot in write(&self.incoming).iter_mut() {
            slot.take_if(|i| now.saturating_since(i.since) >= LIFE + OVERLAP);
        }
    }
}

impl Outgoing {
    fn lasts(&self, now: Instant) -> bool {
        now.saturating_since(self.since) < LIFE && self.counter.load(Relaxed) < MAX_COUNTER
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}
