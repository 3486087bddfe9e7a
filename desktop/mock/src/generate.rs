//! Lists about many made-up devices: the same ones whenever asked.

use serde_json::{Value, json};

const PLACES: [&str; 12] = [
    "berlin", "paris", "tokyo", "lima", "oslo", "cairo", "quito", "seoul", "riga", "delhi", "accra", "perth",
];
/// Every so many devices one is reached directly.
const DIRECT_EVERY: usize = 40;
/// … and one not at all.
const LOST_EVERY: usize = 97;

struct Device {
    name: String,
    node: String,
    address: String,
    direct: bool,
    lost: bool,
    /// The neighbour it is reached through.
    via: String,
}

fn name(index: usize) -> String {
    format!("{}-{index:04}", PLACES[index % PLACES.len()])
}

fn devices(count: usize) -> impl Iterator<Item = Device> {
    (0..count).map(|index| Device {
        name: name(index),
        node: format!("{index:064x}"),
        address: format!("fd6f:7369:6572:{:x}::1", index + 16),
        direct: index % DIRECT_EVERY == 0,
        lost: index % LOST_EVERY == LOST_EVERY - 1,
        via: name(index - index % DIRECT_EVERY),
    })
}

pub(crate) fn peers(count: usize) -> Value {
    devices(count)
        .enumerate()
        .filter(|(_, device)| !device.lost)
        .map(|(index, device)| {
            let direct = device.direct;
            json!({
                "name": device.name, "node": device.node, "address": device.address,
                "neighbour": direct, "direct": direct,
                "via": (!direct).then_some(device.via),
                "outgoing": direct.then_some(true),
                "endpoint": direct.then(|| format!("203.0.113.{}:6690", index % 250 + 1)),
                "rtt_ms": direct.then_some(4.0 + (index % 180) as f64),
                "cost": direct.then_some(96 + index % 400),
                "metric": 96 + index % 900,
                "mtu": direct.then_some(1420),
                "sent_octets": 1_000 * index, "received_octets": 2_500 * index,
                "last_handshake_seconds": direct.then_some(index % 120),
                "cipher": direct.then_some("chacha20-poly1305"),
            })
        })
        .collect()
}

/// Ourselves and `count` others.
pub(crate) fn members(count: usize) -> Value {
    let own = json!({
        "name": "berlin", "node": "aa".repeat(32), "address": "fd6f:7369:6572:1::1",
        "prefixes": ["fd6f:7369:6572:1::/64"], "own": true, "reachable": true, "endpoints": [],
        "leaf": false, "relay": true, "serial": 7, "not_after": 4_000_000_000_u64, "sequence": 3,
    });
    let others = devices(count).map(|device| {
        json!({
            "name": device.name, "node": device.node, "address": device.address,
            "prefixes": [device.address.replace("::1", "::/64")], "own": false, "reachable": !device.lost,
            "endpoints": [], "leaf": false, "relay": true, "serial": 8, "not_after": 4_000_000_000_u64, "sequence": 1,
        })
    });
    std::iter::once(own).chain(others).collect()
}

pub(crate) fn topology(count: usize) -> Value {
    let own = json!({
        "name": "berlin", "node": "aa".repeat(32), "address": "fd6f:7369:6572:1::1", "own": true, "reachable": true,
    });
    let others = devices(count).map(|device| {
        json!({
            "name": device.name, "node": device.node, "address": device.address,
            "own": false, "reachable": !device.lost,
        })
    });
    let links = devices(count)
        .filter(|device| !device.lost)
        .enumerate()
        .map(|(index, device)| {
            let from = if device.direct {
                "berlin".to_owned()
            } else {
                device.via
            };
            json!({ "from": from, "to": device.name, "tunnel": device.direct, "cost": 96 + index % 400 })
        });
    json!({
        "nodes": std::iter::once(own).chain(others).collect::<Value>(),
        "links": links.collect::<Value>(),
    })
}
