//! Where authentication sits in a packet (RFC 8967 section 6).

use super::nonce;
use crate::PORT;
use crate::wire::{HEADER, kind};
use core::net::Ipv6Addr;

/// Type and length.
pub(super) const TLV_HEADER: usize = 2;
/// Octets of our PC TLV.
pub(super) const COUNTER_TLV: usize = TLV_HEADER + 4 + nonce::LENGTH;
/// Longer indices and nonces are not looked at (sections 6.2 and 6.3).
const LONGEST_INDEX: usize = 32;
const LONGEST_NONCE: usize = 192;

/// Addresses and ports, which the MAC covers though they are not in the payload (section 4.1).
pub(super) fn pseudo_header(src: Ipv6Addr, dst: Ipv6Addr) -> [u8; 36] {
    let mut header = [0; 36];
    header[..16].copy_from_slice(&src.octets());
    header[16..18].copy_from_slice(&PORT.to_be_bytes());
    header[18..34].copy_from_slice(&dst.octets());
    header[34..].copy_from_slice(&PORT.to_be_bytes());
    header
}

/// Appends a PC TLV to a packet without trailer.
pub(super) fn append_counter(payload: &mut Vec<u8>, counter: u32, index: &nonce::Nonce) {
    // 4 and 16 octets.
    payload.extend_from_slice(&[kind::PC, (4 + nonce::LENGTH) as u8]);
    payload.extend_from_slice(&counter.to_be_bytes());
    payload.extend_from_slice(index);
    // Whoever built the packet left room for this below the limit of 65,535.
    let length = u16::try_from(payload.len() - HEADER).unwrap_or(u16::MAX);
    payload[2..HEADER].copy_from_slice(&length.to_be_bytes());
}

/// Appends a MAC TLV to the trailer.
pub(super) fn append_mac(payload: &mut Vec<u8>, mac: &[u8]) {
    // MACs have at most 32 octets.
    payload.extend_from_slice(&[kind::MAC, mac.len() as u8]);
    payload.extend_from_slice(mac);
}

/// A received packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    /// Header and body: what the MAC covers.
    pub(super) covered: &'a [u8],
    trailer: &'a [u8],
}

impl<'a> Packet<'a> {
    /// `None` when the packet is shorter than its header says.
    pub(super) fn split(payload: &'a [u8]) -> Option<Self> {
        let (&[_, _, high, low], _) = payload.split_first_chunk::<HEADER>()?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (covered, trailer) = payload.split_at_checked(HEADER + length)?;
        Some(Self { covered, trailer })
    }

    /// MACs count only in the trailer (section 6.1).
    pub(super) fn macs(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        Tlvs(self.trailer)
            .filter(|(kind, _)| *kind == kind::MAC)
            .map(|(_, mac)| mac)
    }

    /// Looks for what authentication needs before the body is read in earnest (section 4.3).
    pub(super) fn preparse(&self) -> Found<'a> {
        let body = &self.covered[HEADER..];
        let mut found = Found {
            counter: None,
            request: None,
            requests: 0,
            body,
        };
        for (kind, tlv) in Tlvs(body) {
            match kind {
                kind::PC => found.counter = found.counter.or_else(|| counter(tlv)),
                kind::CHALLENGE_REQUEST if tlv.len() <= LONGEST_NONCE => {
                    found.requests += 1;
                    found.request.get_or_insert(tlv);
                }
                _ => {}
            }
        }
        found
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    /// Counter and index of the first PC TLV.
    pub(super) counter: Option<(u32, &'a [u8])>,
    /// The first nonce to be answered.
    pub(super) request: Option<&'a [u8]>,
    pub(super) requests: u64,
    body: &'a [u8],
}

impl<'a> Found<'a> {
    /// The nonces sent back.
    pub(super) fn replies(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let replies = Tlvs(self.body).filter(|(kind, _)| *kind == kind::CHALLENGE_REPLY);
        replies.map(|(_, nonce)| nonce)
    }
}

fn counter(tlv: &[u8]) -> Option<(u32, &[u8])> {
    let (counter, index) = tlv.split_first_chunk()?;
    (index.len() <= LONGEST_INDEX).then_some((u32::from_be_bytes(*counter), index))
}

/// Type and contents of one TLV after the other, up to the first that does not fit.
#[derive(Clone, Copy, Debug)]
struct Tlvs<'a>(&'a [u8]);

impl<'a> Iterator for Tlvs<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&kind, rest) = self.0.split_first()?;
        if kind == kind::PAD1 {
            self.0 = rest;
            return Some((kind, &[]));
        }
        let (&length, rest) = rest.split_first()?;
        let (tlv, rest) = rest.split_at_checked(length.into())?;
        self.0 = rest;
        Some((kind, tlv))
    }
}
