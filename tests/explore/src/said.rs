//! What a packet says, as far as it matters here, and how one is made to say something else.

use crate::names::{prefix_index, router_index};
use osier_babel::INFINITY;
use osier_babel::wire::{self, Tlv};

/// An update as it stands in a packet.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    pub prefix: usize,
    /// None in some retractions.
    pub router: Option<usize>,
    pub seqno: u16,
    pub metric: u16,
    pub interval_us: u64,
    /// How often the sender had forgotten its feasibility distance when it sent this.
    pub era: u32,
}

/// A packet, as far as it matters here.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Seqno and interval in microseconds.
    pub hello: Option<(u16, u64)>,
    pub claims: Vec<Claim>,
    /// Everything is retracted.
    pub wildcard: bool,
    /// Router-ids for which a newer seqno is asked for.
    pub requests: Vec<usize>,
}

impl Said {
    /// `None`: it cannot be read, or names what does not exist.
    pub fn read(payload: &[u8], from: core::net::Ipv6Addr) -> Option<Self> {
        let mut said = Self::default();
        for tlv in wire::parse(payload, from).ok()? {
            match tlv.ok()? {
                Tlv::Hello { seqno, interval, .. } => {
                    said.hello = Some((seqno, u64::from(interval.0) * 10_000));
                }
                Tlv::Update(update) => match update.prefix {
                    None => said.wildcard = true,
                    Some(net) => said.claims.push(Claim {
                        prefix: prefix_index(net, update.source)?,
                        router: match update.router_id {
                            Some(id) => Some(router_index(id)?),
                            None => None,
                        },
                        seqno: update.seqno,
                        metric: update.metric,
                        interval_us: u64::from(update.interval.0) * 10_000,
                        era: 0,
                    }),
                },
                Tlv::SeqnoRequest(request) => said.requests.push(router_index(request.router_id)?),
                _ => {}
            }
        }
        Some(said)
    }
}

/// Hands the body of every Update TLV to `change`.
pub fn each_update(payload: &mut [u8], change: fn(&mut [u8])) {
    let mut at = 4;
    while at + 1 < payload.len() {
        if payload[at] == 0 {
            at += 1;
            continue;
        }
        let end = at + 2 + usize::from(payload[at + 1]);
        if payload[at] == 8
            && let Some(body) = payload.get_mut(at + 2..end).filter(|body| body.len() >= 10)
        {
            change(body);
        }
        at = end;
    }
}

pub fn halve_metric(update: &mut [u8]) {
    let metric = u16::from_be_bytes([update[8], update[9]]);
    if metric != INFINITY {
        update[8..10].copy_from_slice(&(metric / 2).to_be_bytes());
    }
}

pub fn raise_seqno(update: &mut [u8]) {
    let seqno = u16::from_be_bytes([update[6], update[7]]).wrapping_add(1);
    update[6..8].copy_from_slice(&seqno.to_be_bytes());
}
