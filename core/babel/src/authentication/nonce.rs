//! Octets that never come twice: indices and the nonces of challenges.

use blake2::Blake2sMac256;
use hmac::{KeyInit, Mac};
use zeroize::Zeroizing;

/// Octets of an index or nonce. RFC 8967 section 7 holds 8 to be enough.
pub(super) const LENGTH: usize = 16;

pub(super) type Nonce = [u8; LENGTH];

/// A generator that the owner seeds: BLAKE2s, keyed with all entropy given so far, of a counter. Whoever does not
/// know the entropy cannot predict it, and no seed used twice makes it repeat while it lives.
#[derive(Default)]
pub(crate) struct Nonces {
    seed: Zeroizing<[u8; 32]>,
    count: u64,
}

impl Nonces {
    /// Adds entropy to what there is.
    pub(crate) fn stir(&mut self, entropy: &[u8; 32]) {
        *self.seed = *self.derive(b"seed", entropy);
    }

    pub(super) fn next(&mut self) -> Nonce {
        let octets = self.derive(b"nonce", &[]);
        let mut nonce = Nonce::default();
        nonce.copy_from_slice(&octets[..LENGTH]);
        nonce
    }

    fn derive(&mut self, purpose: &[u8], more: &[u8]) -> Zeroizing<[u8; 32]> {
        self.count += 1;
        let mut octets = Zeroizing::new([0; 32]);
        // A key of 32 octets is what the algorithm is made for: this never fails.
        if let Ok(mut mac) = Blake2sMac256::new_from_slice(&*self.seed) {
            mac.update(purpose);
            mac.update(&self.count.to_be_bytes());
            mac.update(more);
            octets.copy_from_slice(&mac.finalize().into_bytes());
        }
        octets
    }
}

impl core::fmt::Debug for Nonces {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Nonces(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn draw(nonces: &mut Nonces) -> Vec<Nonce> {
        (0..100).map(|_| nonces.next()).collect()
    }

    #[test]
    fn nonces_follow_the_entropy_and_never_repeat() {
        let mut nonces = Nonces::default();
        nonces.stir(&[1; 32]);
        let mut same = Nonces::default();
        same.stir(&[1; 32]);
        let first = draw(&mut nonces);
        assert_eq!(first, draw(&mut same));
        nonces.stir(&[1; 32]);
        let second = draw(&mut nonces);
        let mut other = Nonces::default();
        other.stir(&[2; 32]);
        let all: BTreeSet<Nonce> = [first, second, draw(&mut other)].into_iter().flatten().collect();
        assert_eq!(all.len(), 300);
    }
}
