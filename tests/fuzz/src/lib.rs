//! Fuzz targets: one per parser of bytes that come from the network or from a person's clipboard.
//!
//! A target is a plain function from bytes to a verdict, which must not panic, hang or break the properties it
//! checks, whatever the bytes. Its seeds are made by code ([`Target::seeds`]) and committed under `corpus/`
//! (`cargo run -p osier-fuzz --bin osier-fuzz-corpus` writes them). `cargo test -p osier-fuzz` replays the corpus
//! and a fixed number of mutations of it on the stable toolchain; `make soak` runs the same functions under
//! libFuzzer. What libFuzzer finds is fixed and its input added to the corpus.

pub mod babel;
pub mod babel_mac;
pub mod dataplane;
pub mod fixtures;
pub mod formats;
pub mod mutate;
pub mod node;
pub mod offload;
pub mod packets;
pub mod registry;
pub mod tunnel;

use std::path::PathBuf;

/// A fuzz target.
#[derive(Debug)]
pub struct Target {
    /// Also the name of its folder in `corpus/`.
    pub name: &'static str,
    /// Whether the bytes were accepted as a well-formed input. Seeds mostly are, or they have grown stale.
    pub run: fn(&[u8]) -> bool,
    /// Name and bytes of each seed.
    pub seeds: fn() -> Vec<(String, Vec<u8>)>,
    /// Mutations that the short run makes: what takes about a second in a debug build.
    pub mutations: u32,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target {
        name: "certificate",
        run: formats::certificate,
        seeds: formats::certificates,
        mutations: 15_000,
    },
    Target {
        name: "bundle",
        run: formats::bundle,
        seeds: formats::bundles,
        mutations: 10_000,
    },
    Target {
        name: "revocations",
        run: formats::revocations,
        seeds: formats::revocation_lists,
        mutations: 10_000,
    },
    Target {
        name: "network",
        run: formats::network,
        seeds: formats::networks,
        mutations: 15_000,
    },
    Target {
        name: "invite",
        run: formats::invite,
        seeds: formats::invites,
        mutations: 30_000,
    },
    Target {
        name: "auth-token",
        run: formats::auth_token,
        seeds: formats::auth_tokens,
        mutations: 15_000,
    },
    Target {
        name: "registry-json",
        run: registry::json,
        seeds: registry::bodies,
        mutations: 15_000,
    },
    Target {
        name: "link-message",
        run: formats::link_message,
        seeds: formats::link_messages,
        mutations: 30_000,
    },
    Target {
        name: "packet",
        run: packets::packet,
        seeds: packets::packets,
        mutations: 30_000,
    },
    Target {
        name: "wireguard",
        run: tunnel::wireguard,
        seeds: tunnel::handshakes,
        mutations: 3_000,
    },
    Target {
        name: "data-keys",
        run: tunnel::data_keys,
        seeds: tunnel::key_packets,
        mutations: 1_000,
    },
    Target {
        name: "plain-tunnel",
        run: tunnel::plain,
        seeds: tunnel::plain_datagrams,
        mutations: 30_000,
    },
    Target {
        name: "from-network",
        run: dataplane::from_network,
        seeds: dataplane::datagrams,
        mutations: 15_000,
    },
    Target {
        name: "relay-frame",
        run: dataplane::from_network,
        seeds: dataplane::frames,
        mutations: 15_000,
    },
    Target {
        name: "babel",
        run: babel::speaker,
        seeds: babel::conversations,
        mutations: 10_000,
    },
    Target {
        name: "babel-mac",
        run: babel_mac::speaker,
        seeds: babel_mac::conversations,
        mutations: 5_000,
    },
    Target {
        name: "node",
        run: node::datagrams,
        seeds: node::conversations,
        mutations: 300,
    },
    Target {
        name: "node-neighbour",
        run: node::neighbour,
        seeds: node::neighbour_packets,
        mutations: 500,
    },
    Target {
        name: "segment",
        run: offload::segment,
        seeds: offload::super_packets,
        mutations: 30_000,
    },
    Target {
        name: "coalesce",
        run: offload::coalesce,
        seeds: offload::rows,
        mutations: 15_000,
    },
    Target {
        name: "from-tun",
        run: dataplane::from_tun,
        seeds: dataplane::outgoing,
        mutations: 15_000,
    },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Folder of a target's committed seeds.
pub fn corpus(target: &Target) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target.name)
}

/// Splits an input into packets, each after its length in two octets; the last may be cut short.
pub fn split(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let (length, rest) = data.split_first_chunk::<2>()?;
        let (packet, rest) = rest.split_at(rest.len().min(u16::from_be_bytes(*length).into()));
        data = rest;
        Some(packet)
    })
}

/// The opposite of [`split`]. Packets longer than 65,535 octets are cut.
pub fn join<'a>(packets: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut data = Vec::new();
    for packet in packets {
        let packet = &packet[..packet.len().min(0xffff)];
        data.extend_from_slice(&(packet.len() as u16).to_be_bytes());
        data.extend_from_slice(packet);
    }
    data
}
