//! Packets as JSON, for cases to match against.
//!
//! This reader shares nothing with the one under test and forgives nothing: what it cannot read becomes a TLV of
//! type `bad`, which no case expects.

use serde_json::{Map, Value, json};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The TLVs of a packet's body and of its trailer.
pub(super) fn decode(payload: &[u8], source: Ipv6Addr) -> (Vec<Value>, Vec<Value>) {
    let Some(([42, 2, high, low], rest)) = payload.split_first_chunk::<4>() else {
        return (vec![json!({"type": "bad", "why": "header"})], Vec::new());
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let Some((body, trailer)) = rest.split_at_checked(length) else {
        return (vec![json!({"type": "bad", "why": "body length"})], Vec::new());
    };
    (Reader::new(source).tlvs(body), Reader::new(source).tlvs(trailer))
}

/// State that TLVs leave for those after them (RFC 8966 section 4.5).
struct Reader {
    source: Ipv6Addr,
    router_id: Option<String>,
    next_hop_v4: Option<Ipv4Addr>,
    next_hop_v6: Ipv6Addr,
    /// By address encoding.
    defaults: [Option<[u8; 16]>; 5],
}

impl Reader {
    fn new(source: Ipv6Addr) -> Self {
        Self {
            source,
            router_id: None,
            next_hop_v4: None,
            next_hop_v6: source,
            defaults: [None; 5],
        }
    }

    fn tlvs(&mut self, mut rest: &[u8]) -> Vec<Value> {
        let mut found = Vec::new();
        while let Some((&kind, after)) = rest.split_first() {
            if kind == 0 {
                found.push(json!({"type": "pad1"}));
                rest = after;
                continue;
            }
            let Some((body, after)) = after
                .split_first()
                .and_then(|(&length, after)| after.split_at_checked(usize::from(length)))
            else {
                found.push(json!({"type": "bad", "why": "TLV length"}));
                break;
            };
            found.push(
                self.tlv(kind, body)
                    .unwrap_or_else(|| json!({"type": "bad", "kind": kind, "octets": hex(body)})),
            );
            rest = after;
        }
        found
    }

    fn tlv(&mut self, kind: u8, body: &[u8]) -> Option<Value> {
        let mut fields = Fields(body);
        let mut value = match kind {
            1 => return Some(json!({"type": "padn"})),
            2 => {
                let reserved = fields.u16()?;
                json!({"type": "ack-request", "reserved": reserved, "opaque": fields.u16()?, "interval": fields.u16()?})
            }
            3 => json!({"type": "ack", "opaque": fields.u16()?}),
            4 => {
                let flags = fields.u16()?;
                json!({"type": "hello", "unicast": flags & 0x8000 != 0, "flags": flags & 0x7fff, "seqno": fields.u16()?,
                       "interval": fields.u16()?})
            }
            5 => {
                let (ae, reserved) = (fields.u8()?, fields.u8()?);
                let (cost, interval) = (fields.u16()?, fields.u16()?);
                json!({"type": "ihu", "ae": ae, "reserved": reserved, "cost": cost, "interval": interval,
                       "address": fields.address(ae)?})
            }
            6 => {
                let reserved = fields.u16()?;
                let id = hex(fields.take(8)?);
                self.router_id = Some(id.clone());
                json!({"type": "router-id", "reserved": reserved, "router_id": id})
            }
            7 => {
                let (ae, reserved) = (fields.u8()?, fields.u8()?);
                let address = fields.address(ae)?;
                match ae {
                    1 => self.next_hop_v4 = address.as_ref()?.parse().ok(),
                    _ => self.next_hop_v6 = address.as_ref()?.parse().ok()?,
                }
                json!({"type": "next-hop", "ae": ae, "reserved": reserved, "address": address})
            }
            8 => self.update(&mut fields)?,
            9 => {
                let (ae, plen) = (fields.u8()?, fields.u8()?);
                json!({"type": "route-request", "ae": ae, "prefix": fields.prefix(ae, plen, 0, None)?})
            }
            10 => {
                let (ae, plen) = (fields.u8()?, fields.u8()?);
                let (seqno, hops, reserved) = (fields.u16()?, fields.u8()?, fields.u8()?);
                let id = hex(fields.take(8)?);
                json!({"type": "seqno-request", "ae": ae, "seqno": seqno, "hops": hops, "reserved": reserved,
                       "router_id": id, "prefix": fields.prefix(ae, plen, 0, None)?})
            }
            16 => return Some(json!({"type": "mac", "octets": hex(body)})),
            17 => {
                let high = u64::from(fields.u16()?);
                let counter = high << 16 | u64::from(fields.u16()?);
                return Some(json!({"type": "pc", "counter": counter, "index": hex(fields.0)}));
            }
            18 => return Some(json!({"type": "challenge", "nonce": hex(body)})),
            19 => return Some(json!({"type": "challenge-reply", "nonce": hex(body)})),
            _ => return Some(json!({"type": "unknown", "kind": kind, "octets": hex(body)})),
        };
        let object = value.as_object_mut()?;
        fields.sub_tlvs(object)?;
        Some(value)
    }

    fn update(&mut self, fields: &mut Fields<'_>) -> Option<Value> {
        let (ae, flags, plen, omitted) = (fields.u8()?, fields.u8()?, fields.u8()?, fields.u8()?);
        let (interval, seqno, metric) = (fields.u16()?, fields.u16()?, fields.u16()?);
        let default = self.defaults.get_mut(usize::from(ae))?;
        let octets = fields.octets(ae, plen, omitted, default.as_ref())?;
        if flags & 0x80 != 0 {
            *default = Some(octets);
        }
        if flags & 0x40 != 0 {
            let id = if ae == 1 {
                [0, 0, 0, 0, octets[0], octets[1], octets[2], octets[3]]
            } else {
                octets[8..].try_into().ok()?
            };
            self.router_id = Some(hex(&id));
        }
        let next_hop = match ae {
            1 => self.next_hop_v4.map(|address| address.to_string()),
            _ => Some(self.next_hop_v6.to_string()),
        };
        Some(
            json!({"type": "update", "ae": ae, "flags": flags & 0x3f, "interval": interval, "seqno": seqno,
                   "metric": metric, "prefix": prefix(ae, plen, octets), "router_id": self.router_id,
                   "next_hop": next_hop, "from_source": next_hop == Some(self.source.to_string())}),
        )
    }
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// `None` inside for the wildcard.
    fn address(&mut self, ae: u8) -> Option<Option<String>> {
        Some(match ae {
            0 => None,
            1 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(self.take(4)?).ok()?).to_string()),
            2 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(self.take(16)?).ok()?).to_string()),
            3 => {
                let mut octets = [0; 16];
                octets[..2].copy_from_slice(&[0xfe, 0x80]);
                octets[8..].copy_from_slice(self.take(8)?);
                Some(Ipv6Addr::from(octets).to_string())
            }
            _ => return None,
        })
    }

    fn octets(&mut self, ae: u8, plen: u8, omitted: u8, default: Option<&[u8; 16]>) -> Option<[u8; 16]> {
        let mut octets = [0; 16];
        let (limit, start) = match ae {
            0 => return (plen == 0 && omitted == 0).then_some(octets),
            1 | 4 => (4, 0),
            2 => (16, 0),
            3 => (16, 8),
            _ => return None,
        };
        if start == 8 {
            octets[..2].copy_from_slice(&[0xfe, 0x80]);
        }
        let end = usize::from(plen).div_ceil(8);
        let omitted = usize::from(omitted);
        if end > limit || omitted > end {
            return None;
        }
        if omitted > 0 {
            octets[..omitted].copy_from_slice(&default?[..omitted]);
        }
        let begin = omitted.max(start);
        octets[begin..end.max(begin)].copy_from_slice(self.take(end.saturating_sub(begin))?);
        Some(octets)
    }

    fn prefix(&mut self, ae: u8, plen: u8, omitted: u8, default: Option<&[u8; 16]>) -> Option<String> {
        self.octets(ae, plen, omitted, default)
            .map(|octets| prefix(ae, plen, octets))
    }

    /// The rest of a TLV: a source prefix (RFC 9079) and timestamps (RFC 9616) by name, others as octets.
    fn sub_tlvs(&mut self, object: &mut Map<String, Value>) -> Option<()> {
        while !self.0.is_empty() {
            let kind = self.u8()?;
            if kind == 0 {
                continue;
            }
            let length = self.u8()?;
            let mut body = Fields(self.take(usize::from(length))?);
            let value = match kind {
                1 => continue,
                3 if body.0.len() >= 4 => json!(body.0.chunks_exact(4).map(hex).collect::<Vec<_>>()),
                128 => {
                    let ae = object.get("ae").and_then(Value::as_u64).unwrap_or(2) as u8;
                    let plen = body.u8()?;
                    json!(body.prefix(ae, plen, 0, None)?)
                }
                _ => json!(hex(body.0)),
            };
            let name = match kind {
                3 => "timestamp".to_owned(),
                128 => "source".to_owned(),
                _ => format!("sub{kind}"),
            };
            object.insert(name, value);
        }
        Some(())
    }
}

/// `*` for the wildcard.
fn prefix(ae: u8, plen: u8, octets: [u8; 16]) -> String {
    match ae {
        0 => "*".to_owned(),
        1 | 4 => format!(
            "{}/{plen}",
            Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3])
        ),
        _ => format!("{}/{plen}", Ipv6Addr::from(octets)),
    }
}

pub(super) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
