//! MACs as RFC 8967 section 4.1 has them, written apart from the speaker so that both must agree.

use crate::run::octets;
use blake2::Blake2sMac;
use blake2::digest::consts::U16;
use hmac::{Hmac, KeyInit, Mac};
use osier_babel::{MacKey, PORT};
use sha2::Sha256;
use std::net::Ipv6Addr;

/// A key of a case for the speaker.
pub(crate) fn key(text: &str) -> Result<MacKey, String> {
    let (algorithm, secret) = split(text)?;
    let key = match algorithm {
        "hmac-sha256" => MacKey::hmac_sha256(&secret),
        _ => MacKey::blake2s(&secret),
    };
    key.map_err(|error| error.to_string())
}

fn split(text: &str) -> Result<(&str, Vec<u8>), String> {
    let (algorithm, hex) = text.split_once(':').ok_or("a key is ALGORITHM:HEX")?;
    if !["hmac-sha256", "blake2s"].contains(&algorithm) {
        return Err(format!("unknown algorithm {algorithm}"));
    }
    Ok((algorithm, octets(hex)?))
}

fn mac(text: &str, src: Ipv6Addr, dst: Ipv6Addr, covered: &[u8]) -> Result<Vec<u8>, String> {
    let (algorithm, secret) = split(text)?;
    let port = PORT.to_be_bytes();
    let message = [&src.octets()[..], &port, &dst.octets(), &port, covered].concat();
    Ok(match algorithm {
        "hmac-sha256" => {
            let mac = Hmac::<Sha256>::new_from_slice(&secret).map_err(|error| error.to_string())?;
            mac.chain_update(message).finalize().into_bytes().to_vec()
        }
        _ => {
            let mac = Blake2sMac::<U16>::new_from_slice(&secret).map_err(|error| error.to_string())?;
            mac.chain_update(message).finalize().into_bytes().to_vec()
        }
    })
}

/// The MAC TLV of one key; `covered` is the packet without trailer.
pub(crate) fn tlv(key: &str, src: Ipv6Addr, dst: Ipv6Addr, covered: &[u8]) -> Result<Vec<u8>, String> {
    let mac = mac(key, src, dst, covered)?;
    let length = u8::try_from(mac.len()).map_err(|error| error.to_string())?;
    Ok([&[16, length], &mac[..]].concat())
}

/// What a packet of the speaker says for authentication.
pub(crate) fn describe(payload: &[u8], src: Ipv6Addr, dst: Ipv6Addr, keys: &[String]) -> Vec<String> {
    let length = 4 + usize::from(u16::from_be_bytes([payload[2], payload[3]]));
    let (covered, trailer) = payload.split_at(length.min(payload.len()));
    let mut said = Vec::new();
    for (kind, body) in tlvs(&covered[4..]) {
        match kind {
            17 if body.len() >= 4 => {
                let counter = u32::from_be_bytes([body[0], body[1], body[2], body[3]]);
                said.push(format!("Packet Counter {counter} of {}", hex(&body[4..])));
            }
            18 => said.push(format!("Challenge {}", hex(body))),
            19 => said.push(format!("Reply {}", hex(body))),
            _ => {}
        }
    }
    for (kind, body) in tlvs(trailer) {
        let by = keys
            .iter()
            .position(|key| mac(key, src, dst, covered).is_ok_and(|mac| mac == body));
        let by = by.map_or("an unknown key".to_owned(), |number| {
            format!("key {}", number + 1)
        });
        said.push(format!("trailer: TLV {kind} of {} octets by {by}", body.len()));
    }
    said
}

fn tlvs(mut rest: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    while let [kind, after @ ..] = rest {
        let (length, after) = match after {
            _ if *kind == 0 => (0, after),
            [length, after @ ..] => (usize::from(*length).min(after.len()), after),
            [] => break,
        };
        found.push((*kind, &after[..length]));
        rest = &after[length..];
    }
    found
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
