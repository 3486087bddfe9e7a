//! What the octets on the wire are spent on: every datagram taken apart as it is sent. The `plain` engine has
//! WireGuard's messages in their sizes and hides nothing.

use osier_proto::{
    link::{self, Message},
    relay,
    tunnel::{MessageKind, OVERHEAD},
};
use std::collections::BTreeMap;

/// UDP and IPv4 outside.
pub(crate) const OUTER_HEADERS: usize = 28;
/// IPv6 and UDP inside the tunnel.
const INNER_HEADERS: usize = 48;
/// Of a WireGuard data message, before what it carries; the rest of [`OVERHEAD`] follows.
const SEALED_HEADER: usize = 16;
const BABEL_HEADER: usize = 4;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// Something counted: how often, and its octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub number: u64,
    pub octets: u64,
}

impl Count {
    fn add(&mut self, octets: usize) {
        self.number += 1;
        self.octets += octets as u64;
    }
}

/// Octets by what they say, and datagrams by what is in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breakdown {
    /// Headers, handshakes, messages and TLVs. The sum is all octets.
    pub parts: BTreeMap<String, Count>,
    /// By the kinds of messages and TLVs in them, each named once, with all headers. The sum is all octets.
    pub datagrams: BTreeMap<String, Count>,
}

/// The part that pings and their answers are counted as.
const PINGS: &str = "pings";
const HEADERS: &str = "headers (IP, UDP, WireGuard, inner IPv6 and UDP)";

impl Breakdown {
    /// Counts a datagram; its octets if it is no ping, and what is in it.
    pub(crate) fn add(&mut self, datagram: &[u8]) -> (u64, String) {
        let size = datagram.len() + OUTER_HEADERS;
        let parts = take_apart(datagram);
        // Pings are counted with their headers: they are not what control traffic consists of.
        let mut names: Vec<&str> = parts.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let kind = names.join(", ");
        self.datagrams.entry(kind.clone()).or_default().add(size);
        if names == [PINGS] {
            self.parts.entry(PINGS.into()).or_default().add(size);
            return (0, kind);
        }
        let said: usize = parts.iter().map(|(_, octets)| octets).sum();
        self.parts
            .entry(HEADERS.into())
            .or_default()
            .add(size.saturating_sub(said));
        for (name, octets) in parts {
            self.parts.entry(name).or_default().add(octets);
        }
        (size as u64, kind)
    }

    /// What was added since an earlier state of the same breakdown.
    pub fn since(&self, earlier: &Self) -> Self {
        let less = |now: &BTreeMap<String, Count>, then: &BTreeMap<String, Count>| {
            let difference = now.iter().map(|(name, count)| {
                let before = then.get(name).copied().unwrap_or_default();
                let count = Count {
                    number: count.number - before.number,
                    octets: count.octets - before.octets,
                };
                (name.clone(), count)
            });
            difference.filter(|(_, count)| count.number > 0).collect()
        };
        Self {
            parts: less(&self.parts, &earlier.parts),
            datagrams: less(&self.datagrams, &earlier.datagrams),
        }
    }

    /// All octets but those of pings.
    pub fn control(&self) -> u64 {
        let control = self.parts.iter().filter(|(name, _)| *name != PINGS);
        control.map(|(_, count)| count.octets).sum()
    }
}

/// The messages in a datagram with their octets; headers are left out.
fn take_apart(datagram: &[u8]) -> Vec<(String, usize)> {
    let whole = |name: &str| vec![(name.to_owned(), datagram.len())];
    match MessageKind::of(datagram) {
        Some(MessageKind::Initiation) => return whole("WireGuard initiation"),
        Some(MessageKind::Data(_)) => {}
        Some(MessageKind::Frame(_)) => {
            let message = datagram.get(relay::HEADER..).unwrap_or_default();
            return match MessageKind::of(message) {
                Some(MessageKind::Data(_)) if message.len() > OVERHEAD => match &inner(message)[..] {
                    [(name, octets)] if name.starts_with("link ") => {
                        vec![(format!("session's {name}"), *octets)]
                    }
                    _ => whole(PINGS),
                },
                Some(MessageKind::Data(_)) => whole("session keepalive"),
                _ => whole("session handshake"),
            };
        }
        Some(_) => return whole("WireGuard response or cookie"),
        None => return whole("unknown"),
    }
    inner(datagram)
}

/// Of a data message.
fn inner(datagram: &[u8]) -> Vec<(String, usize)> {
    let whole = |name: &str| vec![(name.to_owned(), datagram.len())];
    let end = datagram.len().saturating_sub(OVERHEAD - SEALED_HEADER);
    let packet = datagram.get(SEALED_HEADER..end).unwrap_or_default();
    if packet.is_empty() {
        return vec![("WireGuard keepalive".into(), 0)];
    }
    let port = |at: usize| packet.get(at..at + 2).map(|p| u16::from_be_bytes([p[0], p[1]]));
    let payload = packet.get(INNER_HEADERS..).unwrap_or_default();
    // Padding follows the packet.
    let length = port(4).map_or(0, usize::from) + osier_proto::packet::IPV6_HEADER;
    let said = packet.get(INNER_HEADERS..length).unwrap_or_default();
    match (packet.get(6), port(42)) {
        (Some(&UDP), Some(osier_babel::PORT)) => tlvs(payload.get(BABEL_HEADER..).unwrap_or_default()),
        (Some(&UDP), Some(link::PORT)) => vec![(format!("link {}", message(said)), payload.len())],
        (Some(&ICMPV6), _) => whole(PINGS),
        _ => whole("unknown"),
    }
}

fn message(payload: &[u8]) -> &'static str {
    match Message::decode(payload) {
        Ok(Message::Hello { .. }) => "Hello",
        Ok(Message::Accept { .. }) => "Accept",
        Ok(Message::Observed(_)) => "Observed",
        Ok(Message::Bundles(_)) => "Bundles",
        Ok(Message::CertificateRequest(_)) => "CertificateRequest",
        Ok(Message::Revocations(_)) => "Revocations",
        Ok(Message::Digest { .. }) => "Digest",
        Ok(Message::Summary { .. }) => "Summary",
        Ok(Message::BundleRequest(_)) => "BundleRequest",
        Ok(Message::Echo { .. }) => "Echo",
        Ok(Message::EchoReply { .. }) => "EchoReply",
        Ok(Message::Bye(_)) => "Bye",
        Ok(Message::MtuProbe { .. }) => "MtuProbe",
        Ok(Message::MtuAck { .. }) => "MtuAck",
        Ok(Message::Silent(_)) => "Silent",
        Ok(Message::RelayKey(_)) => "RelayKey",
        Ok(Message::RelayKeyTaken(_)) => "RelayKeyTaken",
        Ok(Message::Doze { .. }) => "Doze",
        Ok(Message::DozeTaken) => "DozeTaken",
        Ok(Message::Unknown(_)) | Err(_) => "unknown",
    }
}

fn tlvs(mut body: &[u8]) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    while let [kind, rest @ ..] = body {
        let length = match (kind, rest) {
            (0, _) => 1,
            (_, [length, ..]) => 2 + usize::from(*length),
            (_, []) => 1,
        };
        found.push((format!("Babel {}", tlv(*kind, body)), length));
        body = body.get(length..).unwrap_or_default();
    }
    found
}

fn tlv(kind: u8, tlv: &[u8]) -> &'static str {
    match kind {
        2 => "Acknowledgment Request",
        3 => "Acknowledgment",
        4 => "Hello",
        5 => "IHU",
        6 => "Router-Id",
        7 => "Next Hop",
        8 if tlv.get(10..12) == Some(&[0xff, 0xff]) => "retraction",
        8 => "Update",
        9 => "Route Request",
        10 => "Seqno Request",
        _ => "other TLV",
    }
}

/// A table for people: what costs most first, as octets a second and host.
pub fn table(title: &str, counts: &BTreeMap<String, Count>, seconds: f64, hosts: usize) -> String {
    use core::fmt::Write;
    let per_host = |number: u64| number as f64 / seconds / hosts.max(1) as f64;
    let mut rows: Vec<_> = counts.iter().filter(|(name, _)| *name != PINGS).collect();
    rows.sort_by_key(|(_, count)| core::cmp::Reverse(count.octets));
    let mut text = format!("{title}\n  octets/s  number/s  per host\n");
    for (name, count) in rows {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:>10.1}{:>10.3}  {name}",
            per_host(count.octets),
            per_host(count.number)
        );
    }
    text
}
