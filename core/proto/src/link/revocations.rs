//! A revocation list in parts, since it can be longer than a packet.

use super::Message;
use crate::{
    codec::Reader,
    error::DecodeError,
    revocation::{MAX_REVOCATION_LIST, RevocationList},
};

/// Octets of a revocation list in one message; only the last part is shorter.
pub const REVOCATION_PART: usize = 1024;

const MAX_PARTS: u16 = MAX_REVOCATION_LIST.div_ceil(REVOCATION_PART) as u16;

/// One part of an encoded revocation list, which can be longer than a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationPart {
    /// The list's number.
    pub number: u64,
    /// BLAKE3 of the whole encoded list: parts with the same hash belong together.
    pub hash: [u8; 32],
    /// 0..total.
    pub index: u16,
    pub total: u16,
    pub octets: Vec<u8>,
}

impl Message {
    /// A revocation list in parts.
    pub fn revocations(list: &RevocationList) -> Vec<Self> {
        let encoded = list.encode();
        let hash = *blake3::hash(&encoded).as_bytes();
        // `MAX_REVOCATION_LIST` bounds the number of parts far below `u16::MAX`.
        let total = encoded.len().div_ceil(REVOCATION_PART) as u16;
        let parts = (0..total).zip(encoded.chunks(REVOCATION_PART));
        parts
            .map(|(index, octets)| {
                Self::Revocations(RevocationPart {
                    number: list.number,
                    hash,
                    index,
                    total,
                    octets: octets.to_vec(),
                })
            })
            .collect()
    }
}

impl RevocationPart {
    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (mut number, mut hash, mut index, mut total, mut octets) = (None, None, None, None, None);
        r.fields(|key, r| {
            match key {
                0 => number = Some(r.uint()?),
                1 => hash = Some(r.octets("hash")?),
                2 => index = Some(r.small("index")?),
                3 => total = Some(r.small("total")?),
                4 => octets = Some(r.bytes()?.to_vec()),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let part = Self {
            number: number.ok_or(DecodeError::Missing("number"))?,
            hash: hash.ok_or(DecodeError::Missing("hash"))?,
            index: index.ok_or(DecodeError::Missing("index"))?,
            total: total.ok_or(DecodeError::Missing("total"))?,
            octets: octets.ok_or(DecodeError::Missing("octets"))?,
        };
        if part.total > MAX_PARTS || part.index >= part.total {
            return Err(DecodeError::Invalid("index"));
        }
        let last = part.index + 1 == part.total;
        if part.octets.is_empty() || part.octets.len() > REVOCATION_PART {
            return Err(DecodeError::Invalid("octets"));
        }
        if !last && part.octets.len() != REVOCATION_PART {
            return Err(DecodeError::Invalid("octets"));
        }
        Ok(part)
    }
}

/// Puts the parts of a revocation list together again. One per neighbour: it holds at most one unfinished list
/// of [`MAX_REVOCATION_LIST`] octets, and a list with another hash takes the place of it unless its number is
/// lower.
#[derive(Debug, Default)]
pub struct RevocationAssembly {
    current: Option<(u64, [u8; 32])>,
    parts: Vec<Option<Vec<u8>>>,
}

impl RevocationAssembly {
    /// The decoded list (not yet verified) when this part was the last one missing; nothing while parts are
    /// missing or when what came together is not the list that was announced.
    pub fn add(&mut self, part: RevocationPart) -> Option<RevocationList> {
        let key = (part.number, part.hash);
        let total = usize::from(part.total);
        if self.current != Some(key) || self.parts.len() != total {
            if self.current.is_some_and(|(number, _)| part.number < number) {
                return None;
            }
            self.current = Some(key);
            self.parts = vec![None; total.min(usize::from(MAX_PARTS))];
        }
        *self.parts.get_mut(usize::from(part.index))? = Some(part.octets);
        let encoded = self.parts.iter().cloned().collect::<Option<Vec<_>>>()?.concat();
        *self = Self::default();
        let announced = *blake3::hash(&encoded).as_bytes() == part.hash;
        announced
            .then(|| RevocationList::decode(&encoded).ok())?
            .filter(|list| list.number == part.number)
    }
}
