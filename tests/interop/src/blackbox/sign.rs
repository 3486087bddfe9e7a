//! MAC authentication (RFC 8967) of what crafted neighbours say, and of what the daemon answers.

use super::encode::{octets, tlv};
use super::link::PORT;
use crate::Key;
use blake2::Blake2sMac;
use blake2::digest::consts::U16;
use hmac::{Hmac, KeyInit, Mac};
use osier_lab::{Error, Result};
use serde::Deserialize;
use sha2::Sha256;
use std::net::Ipv6Addr;

const PC: u8 = 17;
const MAC: u8 = 16;
pub(super) const CHALLENGE_REPLY: u8 = 19;

/// How a packet departs from what a good neighbour would sign.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Signature {
    /// Neither counter nor MAC.
    pub absent: bool,
    /// No counter.
    pub no_counter: bool,
    /// Counter relative to the last: 0 repeats it, 1 is the next.
    pub counter: Option<i64>,
    /// Counter relative to the last of the same kind, unicast or multicast: a daemon may keep the two apart (RFC 9467),
    /// and then only this one repeats.
    pub counter_of_kind: Option<i64>,
    /// Another index, in hexadecimal.
    pub index: Option<String>,
    /// Other keys.
    pub keys: Option<Vec<String>>,
}

/// A neighbour's signing state.
#[derive(Clone, Debug)]
pub(super) struct Signer {
    pub keys: Vec<Key>,
    index: Vec<u8>,
    counter: u32,
    /// The greatest counters of unicast and of multicast packets.
    of_kind: [u32; 2],
}

impl Signer {
    pub(super) fn new(keys: Vec<Key>, number: u8) -> Self {
        Self {
            keys,
            index: [&b"case-"[..], &[number; 3]].concat(),
            counter: 1000,
            of_kind: [1000; 2],
        }
    }

    pub(super) fn shares(&self, keys: &[Key]) -> bool {
        self.keys.iter().any(|key| keys.contains(key))
    }

    /// Signs a packet made of header, body and trailer. Without keys it stays as it is.
    pub(super) fn sign(
        &mut self,
        payload: &[u8],
        from: Ipv6Addr,
        to: Ipv6Addr,
        how: &Signature,
    ) -> Result<Vec<u8>> {
        let keys = match &how.keys {
            None => self.keys.clone(),
            Some(keys) => parse_keys(keys)?,
        };
        if keys.is_empty() || how.absent || payload.len() < 4 {
            return Ok(payload.to_vec());
        }
        let of_kind = &mut self.of_kind[usize::from(to.is_multicast())];
        let wanted = match how.counter_of_kind {
            Some(step) => i64::from(*of_kind) + step,
            None => i64::from(self.counter) + how.counter.unwrap_or(1),
        };
        let counter = u32::try_from(wanted).map_err(|e| Error::new(e.to_string()))?;
        self.counter = self.counter.max(counter);
        *of_kind = counter.max(*of_kind);
        let index = how
            .index
            .as_ref()
            .map_or(Ok(self.index.clone()), |hex| octets(hex))?;
        let length = usize::from(u16::from_be_bytes([payload[2], payload[3]]));
        let (packet, trailer) = payload
            .split_at_checked(4 + length)
            .ok_or_else(|| Error::new("cannot sign a packet that is too short"))?;
        let mut packet = packet.to_vec();
        if !how.no_counter {
            packet.extend(tlv(PC, &[&counter.to_be_bytes(), &index])?);
        }
        let length = u16::try_from(packet.len() - 4).map_err(|e| Error::new(e.to_string()))?;
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        let mut codes = Vec::new();
        for key in &keys {
            codes.extend(tlv(MAC, &[&code(key, from, to, &packet)?])?);
        }
        Ok([&packet[..], trailer, &codes].concat())
    }
}

/// How many of the keys have signed a packet of the daemon.
pub(super) fn verified(
    keys: &[Key],
    payload: &[u8],
    from: Ipv6Addr,
    to: Ipv6Addr,
    macs: &[Vec<u8>],
) -> usize {
    let Some(([_, _, high, low], _)) = payload.split_first_chunk::<4>() else {
        return 0;
    };
    let length = 4 + usize::from(u16::from_be_bytes([*high, *low]));
    let covered = payload.get(..length).unwrap_or_default();
    keys.iter()
        .filter(|key| code(key, from, to, covered).is_ok_and(|code| macs.contains(&code)))
        .count()
}

pub(super) fn parse_keys(texts: &[String]) -> Result<Vec<Key>> {
    texts
        .iter()
        .map(|text| match text.split_once(':') {
            Some(("hmac-sha256", secret)) => Ok(Key::HmacSha256(secret.to_owned())),
            Some(("blake2s", secret)) => Ok(Key::Blake2s(secret.to_owned())),
            _ => Err(Error::new(format!("not a key: {text}"))),
        })
        .collect()
}

/// RFC 8967 section 4.1: over addresses, ports, header and body.
fn code(key: &Key, from: Ipv6Addr, to: Ipv6Addr, packet: &[u8]) -> Result<Vec<u8>> {
    let covered = [
        &from.octets()[..],
        &PORT.to_be_bytes(),
        &to.octets(),
        &PORT.to_be_bytes(),
        packet,
    ]
    .concat();
    let wrong = |_| Error::new("a key of this length is not possible");
    Ok(match key {
        Key::HmacSha256(secret) => {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(wrong)?;
            mac.update(&covered);
            mac.finalize().into_bytes().to_vec()
        }
        Key::Blake2s(secret) => {
            let mut mac = Blake2sMac::<U16>::new_from_slice(secret.as_bytes()).map_err(wrong)?;
            mac.update(&covered);
            mac.finalize().into_bytes().to_vec()
        }
    })
}
