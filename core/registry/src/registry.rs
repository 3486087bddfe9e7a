//! What the registry decides: who gets a certificate, who loses it, and what members are told.

use crate::{
    Database, DatabaseError, DirectoryError, Error, NetworkDir, Refusal,
    database::{NewNode, NodeRow, Record, Session},
    invites::{refused_token, token_hash},
    unix_now,
};
use osier_proto::{
    IpNet,
    certificate::{Certificate, Fields, Flags},
    identity::NodeId,
    network::Network,
    registry_api::{Applicant, EnrolReply, EnrolRequest, PublishRequest},
    revocation::RevocationList,
    wallclock::{CLOCK_SKEW, UnixTime},
};
use serde::Serialize;
use std::{
    net::{IpAddr, Ipv6Addr},
    path::Path,
    sync::Arc,
};

/// Certificates begin this much in the past, so that a node whose clock is an hour slow takes them at once.
const BACKDATE: u64 = 300;
pub(crate) type Clock = Arc<dyn Fn() -> UnixTime + Send + Sync>;

/// A registry directory with its database. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    dir: Arc<NetworkDir>,
    database: Database,
    clock: Clock,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("dir", &self.dir.path())
            .field("database", &self.database.label())
            .finish()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeInfo {
    pub node: NodeId,
    pub name: String,
    pub prefix: IpNet,
    pub address: Ipv6Addr,
    pub enrolled: UnixTime,
    /// End of its newest certificate.
    pub not_after: UnixTime,
    pub revoked: bool,
}

/// What a node gets when it enrols or renews.
#[derive(Clone, Debug)]
pub struct Enrolled {
    pub certificate: Certificate,
    pub revocations: RevocationList,
}

impl Registry {
    /// Opens the directory and the database its settings name.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let dir = NetworkDir::open(path)?;
        let database = Database::open(&dir.database_url()).await?;
        Self::new(dir, database).await
    }

    /// Joins a directory and a database; a fresh database is made the network's own.
    pub async fn new(dir: NetworkDir, database: Database) -> Result<Self, Error> {
        let registry = Self {
            dir: Arc::new(dir),
            database,
            clock: Arc::new(unix_now),
        };
        registry.attach().await?;
        Ok(registry)
    }

    /// With another clock than the system's.
    pub fn with_clock(mut self, clock: impl Fn() -> UnixTime + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    pub fn dir(&self) -> &NetworkDir {
        &self.dir
    }

    pub fn database(&self) -> &Database {
        &self.database
    }

    pub fn now(&self) -> UnixTime {
        (self.clock)()
    }

    pub(crate) fn network(&self) -> &Network {
        self.dir.network()
    }

    async fn attach(&self) -> Result<(), Error> {
        let mut session = self.database.write().await?;
        let expected = self.network().id();
        if session.network().await?.is_none() {
            session.insert_network(&expected).await?;
        }
        session.lock_network().await?;
        let found = session.network().await?.unwrap_or_default();
        if found != expected.to_string() {
            let database = self.database.label().to_owned();
            return Err(DatabaseError::OtherNetwork {
                database,
                found,
                expected,
            }
            .into());
        }
        if session.revocation_number().await?.is_none() {
            self.insert_list(&mut session, 0, Vec::new()).await?;
        }
        Ok(session.commit().await?)
    }

    // Nodes.

    /// By name; revoked ones too.
    pub async fn list_nodes(&self) -> Result<Vec<NodeInfo>, Error> {
        let nodes = self.database.read().await?.nodes().await?;
        nodes.into_iter().map(|node| self.node_info(node)).collect()
    }

    fn node_info(&self, row: NodeRow) -> Result<NodeInfo, Error> {
        let prefix = self.subnet(row.subnet).ok_or(Refusal::NetworkFull)?;
        let address = Ipv6Addr::from_bits(prefix_bits(&prefix) | 1);
        let NodeRow {
            node,
            name,
            enrolled,
            not_after,
            revoked,
            ..
        } = row;
        Ok(NodeInfo {
            node,
            name,
            prefix,
            address,
            enrolled,
            not_after,
            revoked,
        })
    }

    // What members ask for.

    /// Enrols a node: one transaction takes a use of the token and gives a prefix, or neither.
    ///
    /// The same node may ask again. With the token it enrolled with and nothing changed, that takes no use (the
    /// first answer may have been lost); else it needs a token like anybody. Either way it keeps its prefix.
    pub async fn enrol(&self, request: &EnrolRequest) -> Result<Enrolled, Error> {
        let network = self.network().id();
        let applicant = request
            .verify(&network)
            .map_err(|error| Refusal::Malformed(error.to_string()))?;
        let hash = token_hash(&applicant.token);
        // Guesses do not get as far as the lock.
        if self.database.read().await?.token(&hash).await?.is_none() {
            return Err(Refusal::TokenUnknown.into());
        }
        let now = self.now();
        let mut session = self.database.write().await?;
        let serial = session.next_serial().await?;
        let known = session.node(&applicant.node).await?;
        if known.as_ref().is_some_and(|node| node.revoked) {
            return Err(Refusal::Revoked.into());
        }
        let repeated = known.as_ref().is_some_and(|node| {
            node.token == hash
                && node.name == applicant.name
                && node.tunnel_key == applicant.tunnel_key
                && now <= self.renewable_until(node.not_after)
        });
        if !repeated && !session.use_token(&hash, now).await? {
            return Err(refused_token(&mut session, &hash, now).await?.into());
        }
        let holder = session.node_named(&applicant.name).await?;
        if holder.is_some_and(|holder| holder.node != applicant.node) {
            return Err(Refusal::NameTaken(applicant.name).into());
        }
        let (not_before, not_after) = self.validity(now)?;
        let row = NewNode {
            node: &applicant.node,
            tunnel_key: &applicant.tunnel_key,
            name: &applicant.name,
            serial,
            not_after,
            enrolled: now,
            token: &hash,
        };
        let subnet = match known {
            Some(known) => {
                session.update_node(&row).await?;
                known.subnet
            }
            None => self.insert_node(&mut session, &row).await?,
        };
        let certificate = self.issue(&applicant, subnet, serial, not_before, not_after)?;
        let revocations = self.stored_list(&mut session).await?;
        session.commit().await?;
        Ok(Enrolled {
            certificate,
            revocations,
        })
    }

    /// Gives it the next free subnet. The counter alone makes it unique; the loop is for a counter that a restored
    /// backup has set back.
    async fn insert_node(&self, session: &mut Session, row: &NewNode<'_>) -> Result<u64, Error> {
        loop {
            let subnet = session.next_subnet().await?;
            if self.subnet(subnet).is_none() {
                return Err(Refusal::NetworkFull.into());
            }
            if session.insert_node(row, subnet).await? {
                return Ok(subnet);
            }
        }
    }

    /// A new certificate for a member, also when the old one has expired, within the network's grace.
    pub async fn renew(&self, node: &NodeId) -> Result<Enrolled, Error> {
        let now = self.now();
        let mut session = self.database.write().await?;
        let serial = session.next_serial().await?;
        let known = self.check_member(session.node(node).await?, now)?;
        let (not_before, not_after) = self.validity(now)?;
        let row = NewNode {
            node,
            tunnel_key: &known.tunnel_key,
            name: &known.name,
            serial,
            not_after,
            enrolled: known.enrolled,
            token: &known.token,
        };
        session.update_node(&row).await?;
        let applicant = Applicant {
            token: [0; 16],
            node: *node,
            tunnel_key: known.tunnel_key,
            name: known.name.clone(),
        };
        let certificate = self.issue(&applicant, known.subnet, serial, not_before, not_after)?;
        let revocations = self.stored_list(&mut session).await?;
        session.commit().await?;
        Ok(Enrolled {
            certificate,
            revocations,
        })
    }

    /// Whether the node belongs, now.
    pub async fn check(&self, node: &NodeId) -> Result<(), Error> {
        let row = self.database.read().await?.node(node).await?;
        self.check_member(row, self.now())?;
        Ok(())
    }

    fn check_member(&self, row: Option<NodeRow>, now: UnixTime) -> Result<NodeRow, Refusal> {
        let row = row.ok_or(Refusal::NotAMember)?;
        if row.revoked {
            return Err(Refusal::Revoked);
        }
        if now > self.renewable_until(row.not_after) {
            return Err(Refusal::ExpiredTooLong(row.not_after));
        }
        Ok(row)
    }

    pub(crate) fn renewable_until(&self, not_after: UnixTime) -> UnixTime {
        not_after
            .saturating_add(CLOCK_SKEW)
            .saturating_add(self.network().grace)
    }

    /// Stores a member's record. The very same bundle may come again; an older one is refused.
    pub async fn publish(&self, node: &NodeId, request: &PublishRequest) -> Result<(), Error> {
        let malformed = |reason: String| Refusal::Malformed(reason);
        let bundle = request
            .decode()
            .map_err(|error| malformed(format!("the bundle: {error}")))?;
        let now = self.now();
        bundle
            .verify(self.network(), now)
            .map_err(|error| malformed(error.to_string()))?;
        if bundle.certificate.node != *node {
            return Err(malformed("the bundle is another node's".into()).into());
        }
        if i64::try_from(bundle.record.sequence).is_err() {
            return Err(malformed("the record's sequence is above 2^63".into()).into());
        }
        let record = Record {
            node: *node,
            sequence: bundle.record.sequence,
            serial: bundle.certificate.serial,
            not_after: bundle.certificate.not_after,
            bundle: bundle.encode(),
        };
        let mut session = self.database.write().await?;
        self.check_member(session.node(node).await?, now)?;
        if !session.put_record(&record, now).await?
            && session.bundle(node).await?.as_ref() != Some(&record.bundle)
        {
            return Err(Refusal::StaleRecord.into());
        }
        Ok(session.commit().await?)
    }

    /// A random sample of the other members' bundles, encoded.
    pub async fn directory(&self, node: &NodeId, limit: u64) -> Result<Vec<Vec<u8>>, Error> {
        let mut session = self.database.read().await?;
        Ok(session.sample_bundles(node, self.now(), limit).await?)
    }

    // Certificates.

    /// A certificate never outlives the issuer's right to sign it.
    fn validity(&self, now: UnixTime) -> Result<(UnixTime, UnixTime), DirectoryError> {
        let (_, delegation) = self.dir.issuer(now)?;
        let end = now.saturating_add(self.dir.settings().certificate_lifetime.as_secs());
        Ok((now.saturating_sub(BACKDATE), end.min(delegation.not_after)))
    }

    fn issue(
        &self,
        applicant: &Applicant,
        subnet: u64,
        serial: u64,
        not_before: UnixTime,
        not_after: UnixTime,
    ) -> Result<Certificate, Error> {
        let prefix = self.subnet(subnet).ok_or(Refusal::NetworkFull)?;
        let fields = Fields {
            node: applicant.node,
            tunnel_key: applicant.tunnel_key,
            prefixes: vec![prefix],
            group: None,
            name: applicant.name.clone(),
            flags: Flags {
                relay: true,
                ..Flags::default()
            },
            serial,
            not_before,
            not_after,
        };
        let (issuer, delegation) = self.dir.issuer(self.now())?;
        let certificate = Certificate::issue(fields, issuer, Some(delegation), &self.network().id());
        Ok(certificate.map_err(|error| Refusal::Malformed(error.to_string()))?)
    }

    /// The /64 of this number inside the network's prefix, if there are so many.
    fn subnet(&self, number: u64) -> Option<IpNet> {
        let prefix = &self.network().prefix;
        // `NetworkDir::open` admits prefixes of 8 to 60 bits only.
        let room = 64_u32.checked_sub(prefix.prefix_len().into())?;
        if number >> room != 0 {
            return None;
        }
        let bits = prefix_bits(prefix) | u128::from(number) << 64;
        IpNet::new(IpAddr::V6(Ipv6Addr::from_bits(bits)), 64).ok()
    }
}

impl Enrolled {
    pub(crate) fn reply(&self, dir: &NetworkDir, now: UnixTime) -> EnrolReply {
        EnrolReply::new(&self.certificate, dir.signed_network(), &self.revocations, now)
    }
}

fn prefix_bits(prefix: &IpNet) -> u128 {
    match prefix.network() {
        IpAddr::V6(network) => network.to_bits(),
        // Networks have IPv6 prefixes.
        IpAddr::V4(_) => 0,
    }
}
