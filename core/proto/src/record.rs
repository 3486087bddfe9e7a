//! A node's own signed statement of where it can be reached.

use crate::{
    certificate::{Certificate, CertificateError, MAX_CERTIFICATE},
    codec::{Reader, Writer, check_size},
    error::DecodeError,
    identity::{NodeId, SecretKeys},
    network::{Network, NetworkId, check_version},
    signed::Sealed,
    wallclock::UnixTime,
};
use core::{net::SocketAddr, ops::Deref};

/// Upper bound of an encoded record.
pub const MAX_RECORD: usize = 512;
/// Upper bound of an encoded bundle.
pub const MAX_BUNDLE: usize = MAX_CERTIFICATE + MAX_RECORD + 8;
/// Most endpoints in one record.
pub const MAX_ENDPOINTS: usize = 16;

const CONTEXT: &str = "osier record v1";
const VERSION: u64 = 1;

/// How the node came to know an endpoint of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointKind {
    /// An address of one of its interfaces.
    Local,
    /// A NAT promised to forward it (UPnP, PCP).
    Mapped,
    /// A neighbour saw datagrams come from it.
    Observed,
    /// The operator said so.
    Configured,
}

impl EndpointKind {
    fn from_code(code: u64) -> Result<Self, DecodeError> {
        Ok(match code {
            0 => Self::Local,
            1 => Self::Mapped,
            2 => Self::Observed,
            3 => Self::Configured,
            _ => return Err(DecodeError::Invalid("kind")),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    pub address: SocketAddr,
    pub kind: EndpointKind,
}

/// An address that a datagram can be sent to: not port 0, unspecified or multicast.
pub fn is_reachable(address: &SocketAddr) -> bool {
    let ip = address.ip();
    let broadcast = matches!(ip, core::net::IpAddr::V4(v4) if v4.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    pub node: NodeId,
    /// Rises with every change; seeded from civil time so that it survives lost state.
    pub sequence: u64,
    /// At most 16, best first.
    pub endpoints: Vec<Endpoint>,
    /// Carries only its own traffic.
    pub leaf: bool,
    /// Willing to carry the traffic of others.
    pub relay: bool,
    /// 0 idle ..= 255 full.
    pub load: u8,
}

/// A record as its node signed it; read its [`Fields`] directly (`record.sequence`). They cannot be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    fields: Fields,
    sealed: Sealed,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("the record is unreadable: {0}")]
    Decode(#[from] DecodeError),
    #[error("the record is not signed by the node it speaks of")]
    BadSignature,
    #[error("the record and the certificate beside it are of different nodes")]
    WrongNode,
    #[error(transparent)]
    Certificate(CertificateError),
}

impl Deref for Record {
    type Target = Fields;

    fn deref(&self) -> &Fields {
        &self.fields
    }
}

impl Record {
    /// Signs a record of our own. `fields.node` is set to the signer; endpoints nobody could send to are left
    /// out, as are those after the sixteenth.
    pub fn sign(mut fields: Fields, keys: &SecretKeys, network: &NetworkId) -> Self {
        fields.node = keys.node_id();
        for endpoint in &mut fields.endpoints {
            // Scope and flow are of no use to others, and IPv4 has one form.
            endpoint.address = SocketAddr::new(endpoint.address.ip().to_canonical(), endpoint.address.port());
        }
        fields
            .endpoints
            .retain(|endpoint| is_reachable(&endpoint.address));
        fields.endpoints.truncate(MAX_ENDPOINTS);
        let mut w = Writer::new();
        w.map(6).uint(0).uint(VERSION);
        w.uint(1).bytes(&fields.node.0);
        w.uint(2).uint(fields.sequence);
        w.uint(3).array(fields.endpoints.len());
        for endpoint in &fields.endpoints {
            w.array(2)
                .uint(endpoint.kind as u64)
                .socket_address(&endpoint.address);
        }
        w.uint(4)
            .uint(u64::from(fields.leaf) | u64::from(fields.relay) << 1);
        w.uint(5).uint(fields.load.into());
        let sealed = Sealed::sign(w.into_vec(), keys.signing(), CONTEXT, network);
        Self { fields, sealed }
    }

    pub fn encode(&self) -> Vec<u8> {
        self.sealed.encode()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let sealed = Sealed::decode(bytes, MAX_RECORD)?;
        Ok(Self {
            fields: read_fields(sealed.content())?,
            sealed,
        })
    }

    /// Whether its node signed it, for this network.
    pub fn verify(&self, network: &Network) -> Result<(), RecordError> {
        if self.sealed.verify(&self.node, CONTEXT, &network.id()) {
            Ok(())
        } else {
            Err(RecordError::BadSignature)
        }
    }
}

fn read_fields(signed: &[u8]) -> Result<Fields, DecodeError> {
    let (mut version, mut node, mut sequence, mut endpoints) = (None, None, None, None);
    let (mut flags, mut load) = (None, None);
    let mut r = Reader::new(signed);
    r.fields(|key, r| {
        match key {
            0 => version = Some(check_version(r.uint()?)?),
            1 => node = Some(r.node()?),
            2 => sequence = Some(r.uint()?),
            3 => endpoints = Some(r.list("endpoints", MAX_ENDPOINTS, read_endpoint)?),
            4 => flags = Some(r.uint()?),
            5 => load = Some(r.small("load")?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    r.finish()?;
    version.ok_or(DecodeError::Missing("version"))?;
    let flags = flags.ok_or(DecodeError::Missing("flags"))?;
    Ok(Fields {
        node: node.ok_or(DecodeError::Missing("node"))?,
        sequence: sequence.ok_or(DecodeError::Missing("sequence"))?,
        endpoints: endpoints.ok_or(DecodeError::Missing("endpoints"))?,
        leaf: flags & 1 != 0,
        relay: flags & 2 != 0,
        load: load.ok_or(DecodeError::Missing("load"))?,
    })
}

fn read_endpoint(r: &mut Reader<'_>) -> Result<Endpoint, DecodeError> {
    r.array_of(2)?;
    let kind = EndpointKind::from_code(r.uint()?)?;
    let address = r.socket_address()?;
    if !is_reachable(&address) {
        return Err(DecodeError::Invalid("endpoints"));
    }
    Ok(Endpoint { address, kind })
}

/// A record with the certificate that makes sense of it; what is gossiped, cached and published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    pub certificate: Certificate,
    pub record: Record,
}

impl Bundle {
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(2)
            .bytes(&self.certificate.encode())
            .bytes(&self.record.encode());
        w.into_vec()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        check_size(bytes, MAX_BUNDLE)?;
        let mut r = Reader::new(bytes);
        r.array_of(2)?;
        let (certificate, record) = (r.bytes()?, r.bytes()?);
        r.finish()?;
        Ok(Self {
            certificate: Certificate::read(certificate)?,
            record: Record::decode(record)?,
        })
    }

    /// One node in both, its certificate valid now, its record signed by it.
    pub fn verify(&self, network: &Network, now: UnixTime) -> Result<(), RecordError> {
        self.verify_record(network)?;
        self.certificate
            .verify(network, now)
            .map_err(RecordError::Certificate)
    }

    /// As [`Self::verify`] with [`Certificate::verify_with_grace`].
    pub fn verify_with_grace(&self, network: &Network, now: UnixTime) -> Result<(), RecordError> {
        self.verify_record(network)?;
        self.certificate
            .verify_with_grace(network, now)
            .map_err(RecordError::Certificate)
    }

    fn verify_record(&self, network: &Network) -> Result<(), RecordError> {
        if self.record.node != self.certificate.node {
            return Err(RecordError::WrongNode);
        }
        self.record.verify(network)
    }
}
