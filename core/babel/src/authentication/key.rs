//! Keys, and the codes made with them (RFC 8967 section 4.1).

use blake2::Blake2sMac;
use blake2::digest::consts::U16;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Longest MAC that we make or compare.
pub(super) const LONGEST_MAC: usize = 32;
/// Longer keys would first be hashed (RFC 2104), and other daemons refuse them (RFC 9046 section 3.8).
const LONGEST_HMAC_KEY: usize = 64;
/// RFC 7693 section 2.1.
const LONGEST_BLAKE2S_KEY: usize = 32;

/// Why octets are no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("an HMAC-SHA256 key has 1 to {LONGEST_HMAC_KEY} octets, not {0}")]
    HmacSha256(usize),
    #[error("a BLAKE2s key has 1 to {LONGEST_BLAKE2S_KEY} octets, not {0}")]
    Blake2s(usize),
}

/// A secret that all routers of a link share. Wiped when dropped, never shown.
#[derive(Clone)]
pub struct MacKey {
    algorithm: Algorithm,
    secret: Zeroizing<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    HmacSha256,
    Blake2s,
}

impl MacKey {
    /// HMAC-SHA256 (RFC 2104, RFC 6234): MACs of 32 octets. `secret` has 1 to 64 octets, best 32 random ones.
    pub fn hmac_sha256(secret: &[u8]) -> Result<Self, KeyError> {
        if !(1..=LONGEST_HMAC_KEY).contains(&secret.len()) {
            return Err(KeyError::HmacSha256(secret.len()));
        }
        Ok(Self::new(Algorithm::HmacSha256, secret))
    }

    /// Keyed BLAKE2s (RFC 7693) with MACs of 16 octets. `secret` has 1 to 32 octets, best 32 random ones.
    pub fn blake2s(secret: &[u8]) -> Result<Self, KeyError> {
        if !(1..=LONGEST_BLAKE2S_KEY).contains(&secret.len()) {
            return Err(KeyError::Blake2s(secret.len()));
        }
        Ok(Self::new(Algorithm::Blake2s, secret))
    }

    fn new(algorithm: Algorithm, secret: &[u8]) -> Self {
        Self {
            algorithm,
            secret: Zeroizing::new(secret.to_vec()),
        }
    }

    /// Octets of each MAC.
    pub(super) fn mac_len(&self) -> usize {
        match self.algorithm {
            Algorithm::HmacSha256 => 32,
            Algorithm::Blake2s => 16,
        }
    }

    /// The MAC of `parts`, one after the other. Always there: the constructors admit no key that the algorithms
    /// refuse.
    pub(super) fn mac(&self, parts: [&[u8]; 2]) -> Option<MacValue> {
        let mut octets = [0; LONGEST_MAC];
        match self.algorithm {
            Algorithm::HmacSha256 => {
                let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).ok()?;
                parts.iter().for_each(|part| mac.update(part));
                octets.copy_from_slice(&mac.finalize().into_bytes());
            }
            Algorithm::Blake2s => {
                let mut mac = Blake2sMac::<U16>::new_from_slice(&self.secret).ok()?;
                parts.iter().for_each(|part| mac.update(part));
                octets[..16].copy_from_slice(&mac.finalize().into_bytes());
            }
        }
        Some(MacValue {
            octets,
            length: self.mac_len(),
        })
    }
}

/// A computed MAC.
#[derive(Clone, Copy, Debug)]
pub(super) struct MacValue {
    octets: [u8; LONGEST_MAC],
    length: usize,
}

impl MacValue {
    pub(super) fn octets(&self) -> &[u8] {
        &self.octets[..self.length]
    }

    /// Takes the same time wherever the two differ.
    pub(super) fn matches(&self, received: &[u8]) -> bool {
        self.octets().ct_eq(received).into()
    }
}

impl core::fmt::Debug for MacKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "MacKey({:?}, …)", self.algorithm)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        text.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn mac(key: &MacKey, message: &[u8]) -> Vec<u8> {
        let (first, second) = message.split_at(message.len() / 3);
        key.mac([first, second]).unwrap().octets().to_vec()
    }

    /// RFC 4231 test cases 1, 2 and 3.
    #[test]
    fn hmac_sha256_gives_the_published_values() {
        let cases: [(&[u8], &[u8], &str); 3] = [
            (
                &[0x0b; 20],
                b"Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 20],
                &[0xdd; 50],
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            ),
        ];
        for (key, message, expected) in cases {
            assert_eq!(mac(&MacKey::hmac_sha256(key).unwrap(), message), hex(expected));
        }
    }

    /// Made with another implementation, Python's `hashlib.blake2s(digest_size=16, key=…)`.
    #[test]
    fn blake2s_gives_a_digest_of_sixteen_octets() {
        let key: Vec<u8> = (0..32).collect();
        let message: Vec<u8> = (0..100).collect();
        assert_eq!(
            mac(&MacKey::blake2s(&key).unwrap(), &message),
            hex("0b67d33f8b859c3157fbabd9e6e47ed0")
        );
        assert_eq!(
            mac(&MacKey::blake2s(b"k").unwrap(), b"abc"),
            hex("f335237426ff5582d0c607ef240684b5")
        );
    }

    #[test]
    fn keys_have_the_lengths_that_other_daemons_allow() {
        assert!(MacKey::hmac_sha256(&[1; 64]).is_ok());
        assert_eq!(
            MacKey::hmac_sha256(&[1; 65]).unwrap_err(),
            KeyError::HmacSha256(65)
        );
        assert!(MacKey::hmac_sha256(&[]).is_err());
        assert!(MacKey::blake2s(&[1; 32]).is_ok());
        assert_eq!(MacKey::blake2s(&[1; 33]).unwrap_err(), KeyError::Blake2s(33));
        assert!(MacKey::blake2s(&[]).is_err());
    }

    #[test]
    fn a_mac_matches_itself_only() {
        let key = MacKey::blake2s(b"secret").unwrap();
        let value = key.mac([b"a", b"b"]).unwrap();
        let right = value.octets().to_vec();
        assert!(value.matches(&right));
        assert!(!value.matches(&right[..15]));
        assert!(!value.matches(&[&right[..], &[0]].concat()));
        assert!(!value.matches(&[]));
        for bit in 0..128 {
            let mut wrong = right.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(!value.matches(&wrong));
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        let shown = format!("{:?}", MacKey::hmac_sha256(&[77; 32]).unwrap());
        assert!(shown.contains("HmacSha256"), "{shown}");
        assert!(!shown.contains("77") && !shown.contains("4d"), "{shown}");
    }
}
