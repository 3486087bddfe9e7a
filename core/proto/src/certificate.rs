//! The registry's signed statement: these keys own these prefixes until then.

use crate::{
    IpNet,
    codec::{Reader, Writer, check_size},
    error::DecodeError,
    identity::{NodeId, SigningSecret, TunnelKey},
    network::{Delegation, DelegationError, Network, NetworkId, check_version},
    signed::{Issued, IssuedError},
    wallclock::{CLOCK_SKEW, UnixTime},
};
use core::{
    net::{IpAddr, Ipv6Addr},
    ops::Deref,
};

/// Upper bound of an encoded certificate. With [`crate::record::MAX_RECORD`] it keeps a bundle within one link
/// message.
pub const MAX_CERTIFICATE: usize = 640;
/// Most prefixes in one certificate.
pub const MAX_PREFIXES: usize = 8;

const CONTEXT: &str = "osier certificate v1";
const VERSION: u64 = 1;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// May carry the traffic of others.
    pub relay: bool,
    /// May be a gateway to the Internet.
    pub gateway: bool,
    /// May announce networks behind it.
    pub subnets: bool,
}

impl Flags {
    fn bits(self) -> u64 {
        u64::from(self.relay) | u64::from(self.gateway) << 1 | u64::from(self.subnets) << 2
    }

    /// Unknown bits are permissions that we do not know how to grant: ignored.
    fn from_bits(bits: u64) -> Self {
        Self {
            relay: bits & 1 != 0,
            gateway: bits & 2 != 0,
            subnets: bits & 4 != 0,
        }
    }
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    pub node: NodeId,
    pub tunnel_key: TunnelKey,
    /// 1..=[`MAX_PREFIXES`]; the first is the node's own and IPv6.
    pub prefixes: Vec<IpNet>,
    pub group: Option<u32>,
    /// A DNS label: see [`valid_name`].
    pub name: String,
    pub flags: Flags,
    pub serial: u64,
    pub not_before: UnixTime,
    pub not_after: UnixTime,
}

/// A certificate as it was issued; read its [`Fields`] directly (`certificate.node`). They cannot be changed,
/// so they are always what was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    fields: Fields,
    network: NetworkId,
    issued: Issued,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("the certificate is unreadable: {0}")]
    Decode(#[from] DecodeError),
    #[error("the certificate belongs to network {0}, which is not ours")]
    WrongNetwork(NetworkId),
    #[error("the certificate is not signed by the network's root or its issuer")]
    BadSignature,
    #[error("the certificate's issuer is not entitled: {0}")]
    Delegation(#[from] DelegationError),
    #[error("the certificate begins at {0}: check this machine's clock")]
    NotYetValid(UnixTime),
    #[error("the certificate ended at {0}: renew it at the registry, or check this machine's clock")]
    Expired(UnixTime),
    #[error("the certificate grants {0}, which is outside the network's prefix")]
    PrefixOutsideNetwork(IpNet),
    #[error("the certificate is revoked")]
    Revoked,
}

/// 1..=63 characters of `a-z`, `0-9` and `-`, which does not come first or last (a lower-case DNS label).
pub fn valid_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

impl Fields {
    fn check(&self) -> Result<(), DecodeError> {
        let own = self.prefixes.first().ok_or(DecodeError::Invalid("prefixes"))?;
        if self.prefixes.len() > MAX_PREFIXES || !matches!(own, IpNet::V6(_)) {
            return Err(DecodeError::Invalid("prefixes"));
        }
        if !valid_name(&self.name) {
            return Err(DecodeError::Invalid("name"));
        }
        if self.not_before >= self.not_after {
            return Err(DecodeError::Invalid("not_after"));
        }
        Ok(())
    }
}

impl Deref for Certificate {
    type Target = Fields;

    fn deref(&self) -> &Fields {
        &self.fields
    }
}

impl Certificate {
    /// Signs `fields` with the root's key (no delegation) or with an issuer's and its delegation.
    ///
    /// # Errors
    /// Fields that no reader would accept (name, number of prefixes, validity).
    pub fn issue(
        mut fields: Fields,
        issuer: &SigningSecret,
        delegation: Option<Delegation>,
        network: &NetworkId,
    ) -> Result<Self, DecodeError> {
        fields
            .prefixes
            .iter_mut()
            .for_each(|prefix| *prefix = prefix.trunc());
        fields.check()?;
        let mut w = Writer::new();
        w.map(10 + usize::from(fields.group.is_some()));
        w.uint(0).uint(VERSION);
        w.uint(1).bytes(&network.0);
        w.uint(2).bytes(&fields.node.0);
        w.uint(3).bytes(&fields.tunnel_key.0);
        w.uint(4).array(fields.prefixes.len());
        for prefix in &fields.prefixes {
            w.prefix(prefix);
        }
        if let Some(group) = fields.group {
            w.uint(5).uint(group.into());
        }
        w.uint(6).text(&fields.name);
        w.uint(7).uint(fields.flags.bits());
        w.uint(8).uint(fields.serial);
        w.uint(9).uint(fields.not_before.0);
        w.uint(10).uint(fields.not_after.0);
        let certificate = Self {
            fields,
            network: *network,
            issued: Issued::sign(w.into_vec(), issuer, delegation, CONTEXT, network),
        };
        check_size(&certificate.encode(), MAX_CERTIFICATE)?;
        Ok(certificate)
    }

    /// Strict, deterministic CBOR; anything but the one canonical encoding is refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, CertificateError> {
        Ok(Self::read(bytes)?)
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let issued = Issued::decode(bytes, MAX_CERTIFICATE)?;
        let (network, fields) = read_fields(issued.content())?;
        fields.check()?;
        Ok(Self {
            fields,
            network,
            issued,
        })
    }

    pub fn encode(&self) -> Vec<u8> {
        self.issued.encode()
    }

    /// Signature chain, network, validity (an hour of clock skew is forgiven) and prefixes inside the network's.
    pub fn verify(&self, network: &Network, now: UnixTime) -> Result<(), CertificateError> {
        self.verify_within(network, now, 0)
    }

    /// As [`Self::verify`], but an expired certificate (or delegation) still counts for the network's grace: for
    /// members that cannot reach their registry.
    pub fn verify_with_grace(&self, network: &Network, now: UnixTime) -> Result<(), CertificateError> {
        self.verify_within(network, now, network.grace)
    }

    fn verify_within(&self, network: &Network, now: UnixTime, grace: u64) -> Result<(), CertificateError> {
        // Cheap checks first: strangers' certificates come here too.
        if self.network != network.id() {
            return Err(CertificateError::WrongNetwork(self.network));
        }
        if let Some(outside) = self
            .prefixes
            .iter()
            .find(|prefix| !network.prefix.contains(*prefix))
        {
            return Err(CertificateError::PrefixOutsideNetwork(*outside));
        }
        if now.saturating_add(CLOCK_SKEW) < self.not_before {
            return Err(CertificateError::NotYetValid(self.not_before));
        }
        if now > self.not_after.saturating_add(CLOCK_SKEW).saturating_add(grace) {
            return Err(CertificateError::Expired(self.not_after));
        }
        self.issued
            .verify(CONTEXT, network, now, grace)
            .map_err(|error| match error {
                IssuedError::BadSignature => CertificateError::BadSignature,
                IssuedError::Delegation(error) => error.into(),
            })
    }

    /// Whether it lets the node announce `prefix`: one of its prefixes covers it.
    pub fn permits(&self, prefix: &IpNet) -> bool {
        self.prefixes.iter().any(|own| own.contains(prefix))
    }

    /// The node's own address: the first host (::1) of its first prefix.
    pub fn address(&self) -> Ipv6Addr {
        // `Fields::check` has seen to it that there is a first prefix and that it is IPv6.
        match self
            .prefixes
            .first()
            .map(|prefix| (prefix.network(), prefix.prefix_len()))
        {
            Some((IpAddr::V6(network), 0..=127)) => Ipv6Addr::from_bits(network.to_bits() | 1),
            Some((IpAddr::V6(network), _)) => network,
            _ => Ipv6Addr::UNSPECIFIED,
        }
    }

    pub fn delegation(&self) -> Option<&Delegation> {
        self.issued.delegation()
    }

    pub fn network(&self) -> NetworkId {
        self.network
    }

    /// When to renew it: at half of its life.
    pub fn renew_at(&self) -> UnixTime {
        self.not_before
            .saturating_add(self.not_after.seconds_since(self.not_before) / 2)
    }
}

fn read_fields(signed: &[u8]) -> Result<(NetworkId, Fields), DecodeError> {
    let (mut version, mut network, mut node, mut tunnel_key, mut prefixes) = (None, None, None, None, None);
    let (mut group, mut name, mut flags, mut serial) = (None, None, None, None);
    let (mut not_before, mut not_after) = (None, None);
    let mut r = Reader::new(signed);
    r.fields(|key, r| {
        match key {
            0 => version = Some(check_version(r.uint()?)?),
            1 => network = Some(NetworkId(r.octets("network")?)),
            2 => node = Some(r.node()?),
            3 => tunnel_key = Some(r.tunnel_key()?),
            4 => prefixes = Some(r.list("prefixes", MAX_PREFIXES, Reader::prefix)?),
            5 => group = Some(r.small("group")?),
            6 => name = Some(r.text()?.to_owned()),
            7 => flags = Some(Flags::from_bits(r.uint()?)),
            8 => serial = Some(r.uint()?),
            9 => not_before = Some(UnixTime(r.uint()?)),
            10 => not_after = Some(UnixTime(r.uint()?)),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    r.finish()?;
    version.ok_or(DecodeError::Missing("version"))?;
    let fields = Fields {
        node: node.ok_or(DecodeError::Missing("node"))?,
        tunnel_key: tunnel_key.ok_or(DecodeError::Missing("tunnel_key"))?,
        prefixes: prefixes.ok_or(DecodeError::Missing("prefixes"))?,
        group,
        name: name.ok_or(DecodeError::Missing("name"))?,
        flags: flags.ok_or(DecodeError::Missing("flags"))?,
        serial: serial.ok_or(DecodeError::Missing("serial"))?,
        not_before: not_before.ok_or(DecodeError::Missing("not_before"))?,
        not_after: not_after.ok_or(DecodeError::Missing("not_after"))?,
    };
    Ok((network.ok_or(DecodeError::Missing("network"))?, fields))
}
