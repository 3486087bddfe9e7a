//! What one core can encrypt at best: the ceiling of everything that uses this cipher.

use crate::figures::{CIPHER_1280, CIPHER_1420, Sample};
use anyhow::{Result, anyhow};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use std::time::{Duration, Instant};

/// Packets between two looks at the clock.
const BATCH: usize = 64;

pub fn cipher(length: Duration) -> Result<Vec<Sample>> {
    let metrics = [(1280, &CIPHER_1280), (1420, &CIPHER_1420)];
    metrics
        .into_iter()
        .map(|(size, metric)| Ok((metric, rate(size, length)?)))
        .collect()
}

/// GB/s.
fn rate(size: usize, length: Duration) -> Result<f64> {
    let key =
        UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).map_err(|_| anyhow!("the key has a wrong size"))?;
    let key = LessSafeKey::new(key);
    let mut packet = vec![0; size];
    let (start, mut packets) = (Instant::now(), 0u64);
    while start.elapsed() < length {
        for _ in 0..BATCH {
            let mut nonce = [0; NONCE_LEN];
            nonce[4..].copy_from_slice(&packets.to_le_bytes());
            let nonce = Nonce::assume_unique_for_key(nonce);
            let tag = key
                .seal_in_place_separate_tag(nonce, Aad::empty(), &mut packet)
                .map_err(|_| anyhow!("encryption failed"))?;
            // Kept, so that nothing is optimised away.
            std::hint::black_box(tag.as_ref());
            packets += 1;
        }
    }
    Ok((packets * size as u64) as f64 / start.elapsed().as_secs_f64() / 1e9)
}
