//! The format of a case.

use osier_babel::{Forwarding, IpNet, RouteKey};
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One case.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What is shown, in a sentence.
    pub about: String,
    /// The items of the conformance checklist in `docs/babel.md` that it covers.
    pub rules: Vec<u32>,
    #[serde(default)]
    pub speaker: SpeakerConfig,
    /// Which outputs are compared; everything when empty.
    #[serde(default)]
    pub record: Vec<Kind>,
    pub steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Hello,
    Ihu,
    Update,
    RouteRequest,
    SeqnoRequest,
    AckRequest,
    Ack,
    /// Packet counters and challenges, and whether the MACs are right.
    Mac,
    Event,
    View,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpeakerConfig {
    /// 16 hexadecimal digits.
    pub router_id: String,
    pub seqno: u16,
    pub seed: u64,
    pub neighbours_per_interface: Option<usize>,
    pub prefixes_per_neighbour: Option<usize>,
    pub forwarding: ForwardingSpec,
}

/// What the owner can forward by.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ForwardingSpec {
    pub v4_via_v6: bool,
    pub source_v4: bool,
    pub source_v6: bool,
}

impl Default for ForwardingSpec {
    fn default() -> Self {
        Self {
            v4_via_v6: true,
            source_v4: true,
            source_v6: true,
        }
    }
}

impl From<ForwardingSpec> for Forwarding {
    fn from(spec: ForwardingSpec) -> Self {
        Self {
            v4_via_v6: spec.v4_via_v6,
            source_v4: spec.source_v4,
            source_v6: spec.source_v6,
        }
    }
}

impl Default for SpeakerConfig {
    fn default() -> Self {
        let router_id = "0200000000000001".to_owned();
        Self {
            router_id,
            seqno: 1,
            seed: 1,
            neighbours_per_interface: None,
            prefixes_per_neighbour: None,
            forwarding: ForwardingSpec::default(),
        }
    }
}

/// Something that happens; without `at` right after the step before.
#[derive(Clone, Debug, Deserialize)]
pub struct Step {
    /// Milliseconds since the start.
    pub at: Option<u64>,
    #[serde(flatten)]
    pub action: Action,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    Interface(InterfaceSpec),
    RemoveInterface(u32),
    Announce {
        prefix: RouteSpec,
        metric: u16,
    },
    Withdraw(RouteSpec),
    LinkUsable {
        interface: u32,
        usable: bool,
    },
    HelloInterval {
        interface: u32,
        ms: u64,
    },
    RxCost {
        interface: u32,
        cost: u16,
    },
    Penalty(u16),
    /// Requires, or changes, authentication; without keys: none any more.
    Authenticate {
        #[serde(default = "first_interface")]
        interface: u32,
        /// `hmac-sha256:HEX` or `blake2s:HEX`.
        #[serde(default)]
        keys: Vec<String>,
        #[serde(default)]
        sign_only: bool,
    },
    RetractAll {},
    RequestRoute {
        interface: u32,
        prefix: Option<RouteSpec>,
    },
    /// From now on this router-id's updates are refused, also those known.
    Refuse(String),
    /// A neighbour that sends a Hello and an IHU now and then regularly.
    Neighbour(NeighbourSpec),
    /// It falls silent.
    Silence {
        interface: u32,
        address: Ipv6Addr,
    },
    Packet(PacketSpec),
    /// Records the route table.
    Routes {},
    /// Records the neighbour table.
    Neighbours {},
    /// Records the counters of authentication.
    MacCounters {},
    /// The owner finds out what it can forward by.
    Forwarding(ForwardingSpec),
    /// Nothing; the time passes.
    Wait {},
}

/// `PREFIX`, or `PREFIX from SOURCE` for a source-specific route.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct RouteSpec(pub RouteKey);

impl TryFrom<String> for RouteSpec {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let net = |text: &str| {
            text.parse::<IpNet>()
                .map_err(|error| format!("{text:?}: {error}"))
        };
        let (prefix, source) = match text.split_once(" from ") {
            None => (net(&text)?, None),
            Some((prefix, source)) => (net(prefix)?, Some(net(source)?)),
        };
        Ok(Self(RouteKey { prefix, source }))
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InterfaceSpec {
    pub id: u32,
    /// 2-out-of-3 instead of ETX.
    pub wired: bool,
    pub rx_cost: u16,
    pub hello_ms: u64,
    pub update_ms: u64,
    pub link_local: Ipv6Addr,
    pub ipv4: Option<Ipv4Addr>,
    pub v4_via_v6: bool,
    pub mtu: u16,
    pub split_horizon: bool,
    pub point_to_point: bool,
    pub rtt: Option<RttSpec>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RttSpec {
    pub min_ms: u64,
    pub max_ms: u64,
    pub cost: u16,
}

impl Default for InterfaceSpec {
    fn default() -> Self {
        Self {
            id: 1,
            wired: true,
            rx_cost: 96,
            hello_ms: 4000,
            update_ms: 16_000,
            link_local: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1),
            ipv4: None,
            v4_via_v6: false,
            mtu: 1500,
            split_horizon: false,
            point_to_point: false,
            rtt: None,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NeighbourSpec {
    #[serde(default = "first_interface")]
    pub interface: u32,
    pub address: Ipv6Addr,
    #[serde(default = "four_seconds")]
    pub hello_ms: u64,
    #[serde(default = "customary_cost")]
    pub cost: u16,
    /// Sends unicast Hellos only.
    #[serde(default)]
    pub unicast: bool,
    /// Never acknowledges.
    #[serde(default)]
    pub deaf: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PacketSpec {
    #[serde(default = "first_interface")]
    pub interface: u32,
    pub from: Ipv6Addr,
    #[serde(default)]
    pub unicast: bool,
    #[serde(default)]
    pub tlvs: Vec<TlvSpec>,
    /// The whole payload in hexadecimal, instead of TLVs.
    pub payload: Option<String>,
    /// Octets after the body.
    #[serde(default)]
    pub trailer: String,
    /// The packet is signed with these, after whatever else is in the trailer.
    #[serde(default)]
    pub keys: Vec<String>,
}

/// Times are in hundredths of a second, as on the wire.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum TlvSpec {
    AckRequest {
        opaque: u16,
        interval: u16,
    },
    Ack {
        opaque: u16,
    },
    Hello {
        #[serde(default)]
        unicast: bool,
        seqno: u16,
        interval: u16,
    },
    Ihu {
        address: Option<IpAddr>,
        cost: u16,
        interval: u16,
    },
    Update {
        prefix: Option<RouteSpec>,
        router_id: Option<String>,
        #[serde(default)]
        seqno: u16,
        metric: u16,
        #[serde(default = "sixteen_seconds")]
        interval: u16,
        next_hop: Option<IpAddr>,
    },
    RouteRequest {
        prefix: Option<RouteSpec>,
    },
    SeqnoRequest {
        prefix: RouteSpec,
        router_id: String,
        seqno: u16,
        hops: u8,
    },
    /// A packet counter with an index in hexadecimal.
    Pc {
        counter: u32,
        #[serde(default)]
        index: String,
    },
    /// Nonces in hexadecimal.
    Challenge(String),
    Reply(String),
    /// Octets in hexadecimal, spaces allowed.
    Raw(String),
}

fn first_interface() -> u32 {
    1
}

fn four_seconds() -> u64 {
    4000
}

fn sixteen_seconds() -> u16 {
    1600
}

fn customary_cost() -> u16 {
    96
}
