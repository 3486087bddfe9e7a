//! Relay frames: how a message of an end-to-end session travels through others, who neither read nor change it.
//!
//! A frame is a header of [`HEADER`] octets before an unchanged WireGuard message. The header is for one hop: its
//! receiver chose the [`RelayKey`] by which it knows the sender, and told it inside the tunnel. A relay checks the
//! authentication code and a replay window, looks up the destination's locator, writes the header for the next
//! hop over the old one and sends the same buffer on.
//!
//! ```text
//!  0 type 16 | 1 version 2 | 2 flags | 3 hop limit | 4..8 receiver index, little endian
//!  8..16 counter, little endian                      | 16..24 destination locator, as in the address
//! 24..40 authentication code                         | 40.. WireGuard message
//! ```
//!
//! The code covers the header before it, the frame's length and the first 16 octets of the message, so that it
//! costs the same for any packet. What it does not cover, the session's own authentication does. It is SipHash-2-4 with
//! 128 bits (Aumasson and Bernstein, 2012), made for authenticating short inputs: of all that a relay does itself, the
//! code costs most.

use crate::{IpNet, replay::Window, sync::lock, tunnel::OVERHEAD};
use core::{fmt, net::Ipv6Addr};
use siphasher::sip128::SipHasher24;
use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering::Relaxed},
};
use zeroize::Zeroize as _;

/// Octets before the message.
pub const HEADER: usize = 40;
/// First octet of a frame: no WireGuard message begins with it.
pub const KIND: u8 = 16;
pub const VERSION: u8 = 2;
/// Relays a frame passes at most, plus one.
pub const HOP_LIMIT: u8 = 64;
/// A locator is the upper half of an address, so only nodes with a prefix this long or shorter have one.
pub const LOCATOR_LENGTH: u8 = 64;

/// The flag of [`Target::whole`].
const WHOLE: u8 = 1;

const CODE: usize = 24;
/// Octets of the message that the code covers.
const COVERED: usize = 16;

/// By what a receiver knows one neighbour's frames.
#[derive(Clone, PartialEq, Eq)]
pub struct HopKey(pub [u8; 16]);

impl fmt::Debug for HopKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HopKey")
    }
}

impl Drop for HopKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// What a receiver tells a neighbour: what its frames are to carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayKey {
    /// The receiver's index of the tunnel in the upper 24 bits, below it a number that changes with the key.
    pub receiver: u32,
    pub key: HopKey,
}

/// What stays the same from hop to hop, but for the hop limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub hop_limit: u8,
    pub locator: u64,
    /// The frame asks whether its size passes: a relay drops it rather than let it be fragmented.
    pub whole: bool,
}

/// What a frame's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub target: Target,
    pub receiver: u32,
    pub counter: u64,
}

impl Header {
    /// `None` unless this is a frame of our version around a message of at least the shortest length.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        if frame.len() < HEADER + OVERHEAD || frame[0] != KIND || frame[1] != VERSION {
            return None;
        }
        Some(Self {
            target: Target {
                hop_limit: frame[3],
                locator: u64::from_be_bytes(octets(frame, 16)?),
                whole: frame[2] & WHOLE != 0,
            },
            receiver: u32::from_le_bytes(octets(frame, 4)?),
            counter: u64::from_le_bytes(octets(frame, 8)?),
        })
    }

    /// Writes it, with its authentication code, before the message that is already in the frame. `false` when
    /// there is none.
    pub fn write(&self, frame: &mut [u8], key: &HopKey) -> bool {
        if frame.len() < HEADER + OVERHEAD {
            return false;
        }
        let target = &self.target;
        let flags = if target.whole { WHOLE } else { 0 };
        frame[..4].copy_from_slice(&[KIND, VERSION, flags, target.hop_limit]);
        frame[4..8].copy_from_slice(&self.receiver.to_le_bytes());
        frame[8..16].copy_from_slice(&self.counter.to_le_bytes());
        frame[16..CODE].copy_from_slice(&target.locator.to_be_bytes());
        let code = code(frame, key);
        frame[CODE..HEADER].copy_from_slice(&code);
        true
    }
}

/// Over 44 octets. The frame holds a header and a message.
fn code(frame: &[u8], key: &HopKey) -> [u8; 16] {
    let mut input = [0; CODE + 4 + COVERED];
    input[..CODE].copy_from_slice(&frame[..CODE]);
    // No datagram is longer than 2^16.
    input[CODE..CODE + 4].copy_from_slice(&(frame.len() as u32).to_le_bytes());
    input[CODE + 4..].copy_from_slice(&frame[HEADER..HEADER + COVERED]);
    SipHasher24::new_with_key(&key.0).hash(&input).as_bytes()
}

/// In a time that does not depend on where they differ.
fn is_authentic(frame: &[u8], key: &HopKey) -> bool {
    let sent: Option<[u8; 16]> = octets(frame, CODE);
    sent.is_some_and(|sent| u128::from_le_bytes(sent) ^ u128::from_le_bytes(code(frame, key)) == 0)
}

fn octets<const N: usize>(frame: &[u8], at: usize) -> Option<[u8; N]> {
    frame.get(at..at + N)?.try_into().ok()
}

/// The locator of a node with this prefix; `None` when others share the upper half of its address.
pub fn locator(prefix: &IpNet) -> Option<u64> {
    match prefix {
        IpNet::V6(net) if net.prefix_len() <= LOCATOR_LENGTH => {
            // The upper half of 128 bits.
            Some((net.network().to_bits() >> 64) as u64)
        }
        _ => None,
    }
}

/// What to look a locator up by: the address of the node that it belongs to.
pub fn address(locator: u64) -> Ipv6Addr {
    Ipv6Addr::from_bits(u128::from(locator) << 64 | 1)
}

/// Why a frame is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not from the neighbour, for a key that is gone, or changed on the way.
    Forged,
    /// Seen before, or too old to tell.
    Replayed,
}

#[derive(Debug)]
struct Incoming {
    key: RelayKey,
    window: Window,
}

#[derive(Debug)]
struct Outgoing {
    key: RelayKey,
    counter: u64,
}

/// Both directions of one hop.
#[derive(Debug, Default)]
pub(crate) struct Hop {
    /// The newest key and the one before it, by the last bit of the receiver index.
    incoming: Mutex<[Option<Incoming>; 2]>,
    outgoing: Mutex<Option<Outgoing>>,
    /// Frames came in with the newest key.
    used: AtomicBool,
}

impl Hop {
    /// From now on frames with this key are taken; those with the one before still are.
    pub(crate) fn add_incoming(&self, key: RelayKey) {
        let slot = (key.receiver & 1) as usize;
        lock(&self.incoming)[slot] = Some(Incoming {
            key,
            window: Window::new(),
        });
        self.used.store(false, Relaxed);
    }

    /// Takes no frames any more but those with the key of this receiver index.
    pub(crate) fn keep_only_incoming(&self, receiver: u32) {
        for slot in lock(&self.incoming).iter_mut() {
            slot.take_if(|incoming| incoming.key.receiver != receiver);
        }
    }

    /// The neighbour's key. The same key again changes nothing, so that its counter goes on.
    pub(crate) fn set_outgoing(&self, key: Option<RelayKey>) {
        let mut outgoing = lock(&self.outgoing);
        if outgoing.as_ref().map(|o| &o.key) != key.as_ref() {
            *outgoing = key.map(|key| Outgoing { key, counter: 0 });
        }
    }

    pub(crate) fn has_outgoing(&self) -> bool {
        lock(&self.outgoing).is_some()
    }

    /// Whether frames have come in with the newest key.
    pub(crate) fn is_used(&self) -> bool {
        self.used.load(Relaxed)
    }

    pub(crate) fn check(&self, header: &Header, frame: &[u8]) -> Result<(), Refusal> {
        let mut incoming = lock(&self.incoming);
        let slot = incoming[(header.receiver & 1) as usize].as_mut();
        let known = slot.filter(|i| i.key.receiver == header.receiver);
        let Some(known) = known.filter(|i| is_authentic(frame, &i.key.key)) else {
            return Err(Refusal::Forged);
        };
        if !known.window.accept(header.counter) {
            return Err(Refusal::Replayed);
        }
        if !self.used.load(Relaxed) {
            self.used.store(true, Relaxed);
        }
        Ok(())
    }

    /// `false` when the neighbour has told no key.
    pub(crate) fn sign(&self, frame: &mut [u8], target: Target) -> bool {
        let mut outgoing = lock(&self.outgoing);
        let Some(outgoing) = outgoing.as_mut() else {
            return false;
        };
        let header = Header {
            target,
            receiver: outgoing.key.receiver,
            counter: outgoing.counter,
        };
        outgoing.counter += 1;
        header.write(frame, &outgoing.key.key)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn key(receiver: u32) -> RelayKey {
        RelayKey {
            receiver,
            key: HopKey(core::array::from_fn(|i| i as u8)),
        }
    }

    fn frame() -> Vec<u8> {
        let mut frame = vec![0; HEADER];
        frame.extend((0..64).map(|i| 0x40 + i as u8));
        frame
    }

    const SAID: Header = Header {
        target: Target {
            hop_limit: 64,
            locator: 0xfd00_0001_0002_0003,
            whole: false,
        },
        receiver: 0x0012_3457,
        counter: 0x0102_0304,
    };

    #[test]
    fn a_frame_has_these_octets() {
        let mut frame = frame();
        assert!(SAID.write(&mut frame, &key(0).key));
        let golden = [
            0x10, 2, 0, 64, // type, version, flags, hop limit
            0x57, 0x34, 0x12, 0, // receiver
            4, 3, 2, 1, 0, 0, 0, 0, // counter
            0xfd, 0, 0, 1, 0, 2, 0, 3, // locator
        ];
        assert_eq!(frame[..CODE], golden);
        // SipHash-2-4, keyed with 0..16, of the 24 octets above, 104 in four octets and 0x40..0x50.
        assert_eq!(frame[CODE..HEADER], GOLDEN_CODE);
        assert_eq!(Header::parse(&frame), Some(SAID));
        assert_eq!(
            frame[HEADER..],
            self::frame()[HEADER..],
            "the message is unchanged"
        );
        let mut asking = SAID;
        asking.target.whole = true;
        assert!(asking.write(&mut frame, &key(0).key));
        assert_eq!((frame[2], Header::parse(&frame)), (1, Some(asking)));
    }

    const GOLDEN_CODE: [u8; 16] = [
        17, 110, 241, 18, 118, 3, 170, 109, 88, 3, 244, 166, 217, 111, 115, 184,
    ];

    #[test]
    fn no_other_version_type_or_length_is_a_frame() {
        let mut frame = frame();
        SAID.write(&mut frame, &key(0).key);
        for length in 0..HEADER + OVERHEAD {
            assert_eq!(Header::parse(&frame[..length]), None);
            assert!(!SAID.write(&mut frame.clone()[..length], &key(0).key));
        }
        for (at, value) in [(0, 4), (1, 0), (1, 1), (1, 3)] {
            let mut other = frame.clone();
            other[at] = value;
            assert_eq!(Header::parse(&other), None);
        }
    }

    fn hop() -> Hop {
        let hop = Hop::default();
        hop.add_incoming(key(0x100));
        hop.set_outgoing(Some(key(0x100)));
        hop
    }

    fn signed(hop: &Hop) -> Vec<u8> {
        let mut frame = frame();
        assert!(hop.sign(&mut frame, SAID.target));
        frame
    }

    fn check(hop: &Hop, frame: &[u8]) -> Result<(), Refusal> {
        hop.check(&Header::parse(frame).unwrap(), frame)
    }

    #[test]
    fn a_change_of_anything_covered_is_noticed() {
        let hop = hop();
        let frame = signed(&hop);
        for at in 2..HEADER + COVERED {
            let mut changed = frame.clone();
            changed[at] ^= 0x20;
            assert_eq!(check(&hop, &changed), Err(Refusal::Forged), "octet {at}");
        }
        assert_eq!(check(&hop, &frame[..frame.len() - 1]), Err(Refusal::Forged));
        let longer = [&frame[..], &[0]].concat();
        assert_eq!(check(&hop, &longer), Err(Refusal::Forged));
        assert!(!hop.is_used());
        assert_eq!(check(&hop, &frame), Ok(()));
        assert!(hop.is_used());
    }

    #[test]
    fn each_frame_is_taken_once_in_any_order() {
        let hop = hop();
        let frames: Vec<_> = (0..10).map(|_| signed(&hop)).collect();
        for frame in frames.iter().rev() {
            assert_eq!(check(&hop, frame), Ok(()));
        }
        for frame in &frames {
            assert_eq!(check(&hop, frame), Err(Refusal::Replayed));
        }
    }

    #[test]
    fn the_key_before_counts_until_it_is_dropped() {
        let hop = hop();
        let old = [signed(&hop), signed(&hop)];
        let mut other = key(0x101);
        other.key.0[0] ^= 1;
        hop.add_incoming(other.clone());
        assert_eq!(check(&hop, &old[0]), Ok(()));
        hop.set_outgoing(Some(other.clone()));
        let new = signed(&hop);
        hop.set_outgoing(Some(other));
        assert_ne!(signed(&hop), new, "the counter goes on");
        assert_eq!(check(&hop, &new), Ok(()));
        hop.keep_only_incoming(0x101);
        assert_eq!(check(&hop, &old[1]), Err(Refusal::Forged));
        hop.set_outgoing(None);
        assert!(!hop.sign(&mut frame(), SAID.target));
    }

    #[test]
    fn only_a_node_with_the_upper_half_to_itself_has_a_locator() {
        let of = |prefix: &str| locator(&prefix.parse().unwrap());
        assert_eq!(of("fd00:0:0:5::/64"), Some(0xfd00_0000_0000_0005));
        assert_eq!(of("fd00:0:0:500::/56"), Some(0xfd00_0000_0000_0500));
        assert_eq!(of("fd00:0:0:5:1::/80"), None);
        assert_eq!(of("10.0.0.0/8"), None);
        assert_eq!(
            address(0xfd00_0000_0000_0005),
            "fd00:0:0:5::1".parse::<Ipv6Addr>().unwrap()
        );
    }
}
