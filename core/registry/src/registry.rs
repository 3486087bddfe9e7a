//! What the registry decides: who gets a certificate, who loses it, and what members are told.

use crate::{
    Database, DatabaseError, DirectoryError, Error, NetworkDir, Refusal,
    database::{NewNode, NodeRow, Record, Session, TokenRow},
    random, tls, unix_now,
};
use osier_proto::{
    IpNet,
    certificate::{Certificate, Fields, Flags},
    identity::NodeId,
    invite::{Invite, MAX_REGISTRIES, valid_registry_url},
    network::Network,
    registry_api::{Applicant, EnrolReply, EnrolRequest, PublishRequest},
    revocation::{MAX_REVOKED, RevocationList},
    wallclock::{CLOCK_SKEW, UnixTime},
};
use serde::Serialize;
use std::{
    net::{IpAddr, Ipv6Addr},
    path::Path,
    sync::Arc,
    time::Duration,
};

/// Certificates begin this much in the past, so that a node whose clock is an hour slow takes them at once.
const BACKDATE: u64 = 300;
/// A list is signed anew when its delegation ends within this time.
const RESIGN_AHEAD: u64 = 30 * 86_400;
/// Expired invites are shown for so long.
const KEEP_TOKENS: u64 = 30 * 86_400;

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

/// How to make an invite.
#[derive(Clone, Debug)]
pub struct InviteOptions {
    /// How many nodes may enrol with it; 1 by default.
    pub uses: u64,
    /// 1 day by default.
    pub expires_in: Duration,
    /// Base URLs of the registries; empty: those of the settings.
    pub urls: Vec<String>,
}

impl Default for InviteOptions {
    fn default() -> Self {
        Self {
            uses: 1,
            expires_in: Duration::from_secs(86_400),
            urls: Vec::new(),
        }
    }
}

/// An invite as the registry remembers it: without its token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InviteInfo {
    /// Names it to [`Registry::revoke_invite`].
    pub id: String,
    pub uses: u64,
    pub uses_left: u64,
    pub created: UnixTime,
    pub expires: UnixTime,
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

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RevokedNode {
    pub node: NodeId,
    pub name: String,
    /// Of the list that says so.
    pub list_number: u64,
    /// It was revoked before.
    pub already: bool,
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

    fn network(&self) -> &Network {
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

    // Invites.

    /// Makes an invite. Its token is nowhere else: the database has only the hash.
    pub async fn create_invite(&self, options: InviteOptions) -> Result<Invite, Error> {
        let registries = if options.urls.is_empty() {
            self.own_urls()?
        } else {
            options.urls
        };
        if let Some(url) = registries.iter().find(|url| !valid_registry_url(url)) {
            return Err(Error::Invalid(format!(
                "`{url}` is not a registry's URL: use http://HOST:PORT or https://HOST:PORT"
            )));
        }
        if registries.len() > MAX_REGISTRIES {
            return Err(Error::Invalid(format!(
                "an invite holds at most {MAX_REGISTRIES} registry URLs"
            )));
        }
        if options.uses == 0 || options.uses > 1_000_000 {
            return Err(Error::Invalid("an invite has 1 to 1,000,000 uses".into()));
        }
        if !(1..=366 * 86_400).contains(&options.expires_in.as_secs()) {
            return Err(Error::Invalid("an invite lasts 1 second to 1 year".into()));
        }
        let token = random::<16>().map_err(DirectoryError::from)?;
        let now = self.now();
        let row = TokenRow {
            hash: token_hash(&token),
            uses: options.uses,
            uses_left: options.uses,
            created: now,
            expires: now.saturating_add(options.expires_in.as_secs()),
        };
        let tls_pin = tls::pin(&self.dir)?;
        let mut session = self.database.write().await?;
        session
            .delete_tokens_expired_before(now.saturating_sub(KEEP_TOKENS))
            .await?;
        session.insert_token(&row).await?;
        session.commit().await?;
        Ok(Invite {
            registries,
            root: self.network().root,
            token,
            tls_pin,
        })
    }

    /// The settings' URLs, or the address it listens on when that is a single one.
    fn own_urls(&self) -> Result<Vec<String>, Error> {
        let settings = self.dir.settings();
        if !settings.public_urls.is_empty() {
            return Ok(settings.public_urls.clone());
        }
        let listen = settings.listen;
        if listen.ip().is_unspecified() || listen.port() == 0 {
            return Err(Error::Invalid(
                "the registry does not know where nodes reach it: set public_urls in registry.toml, or give the URL".into(),
            ));
        }
        let scheme = if tls::server_config(&self.dir)?.is_some() {
            "https"
        } else {
            "http"
        };
        Ok(vec![format!("{scheme}://{listen}")])
    }

    /// Newest first; expired ones are shown for 30 days.
    pub async fn list_invites(&self) -> Result<Vec<InviteInfo>, Error> {
        let tokens = self.database.read().await?.tokens().await?;
        Ok(tokens.iter().map(invite_info).collect())
    }

    /// Withdraws an invite; nodes that enrolled with it stay.
    pub async fn revoke_invite(&self, id: &str) -> Result<InviteInfo, Error> {
        let mut session = self.database.write().await?;
        let token = session
            .tokens()
            .await?
            .into_iter()
            .find(|token| invite_info(token).id == id);
        let token = token.ok_or_else(|| Error::NoSuchInvite(id.to_owned()))?;
        session.delete_token(&token.hash).await?;
        session.commit().await?;
        Ok(invite_info(&token))
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

    /// Ends a node's membership for good: it gets no certificate any more, and the new list, which members fetch
    /// and pass on, voids those it has. By name, or by at least 8 digits of its key.
    pub async fn revoke_node(&self, name_or_key: &str) -> Result<RevokedNode, Error> {
        let mut session = self.database.write().await?;
        session.lock_network().await?;
        let node = find_node(&mut session, name_or_key).await?;
        let list = self.stored_list(&mut session).await?;
        let (list_number, already) = if node.revoked && list.revoked.iter().any(|&(id, _)| id == node.node) {
            (list.number, true)
        } else {
            session.mark_revoked(&node.node).await?;
            let mut revoked = self.still_needed(&mut session, &list).await?;
            revoked.push((node.node, u64::MAX));
            if revoked.len() > MAX_REVOKED {
                return Err(Error::TooManyRevoked);
            }
            self.insert_list(&mut session, list.number + 1, revoked).await?;
            (list.number + 1, false)
        };
        session.commit().await?;
        Ok(RevokedNode {
            node: node.node,
            name: node.name,
            list_number,
            already,
        })
    }

    /// Entries of nodes that may still have a certificate somebody accepts.
    async fn still_needed(
        &self,
        session: &mut Session,
        list: &RevocationList,
    ) -> Result<Vec<(NodeId, u64)>, DatabaseError> {
        let mut kept = Vec::new();
        for &(node, serial) in &list.revoked {
            let over = match session.node(&node).await? {
                Some(row) => self.now() > self.renewable_until(row.not_after),
                // Not ours to judge.
                None => false,
            };
            if !over {
                kept.push((node, serial));
            }
        }
        Ok(kept)
    }

    async fn insert_list(
        &self,
        session: &mut Session,
        number: u64,
        revoked: Vec<(NodeId, u64)>,
    ) -> Result<(), Error> {
        let now = self.now();
        let (issuer, delegation) = self.dir.issuer(now)?;
        let list = RevocationList::sign(number, revoked, issuer, Some(delegation), &self.network().id());
        let list = list.map_err(|_| Error::TooManyRevoked)?;
        Ok(session.insert_revocations(number, list.encode(), now).await?)
    }

    async fn stored_list(&self, session: &mut Session) -> Result<RevocationList, DatabaseError> {
        let bytes = session
            .revocations()
            .await?
            .ok_or_else(|| session.corrupt("there is no revocation list"))?;
        RevocationList::decode(&bytes).map_err(|_| session.corrupt("the revocation list is unreadable"))
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

    fn renewable_until(&self, not_after: UnixTime) -> UnixTime {
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

    /// The newest revocation list.
    pub async fn revocations(&self) -> Result<RevocationList, Error> {
        let mut session = self.database.read().await?;
        Ok(self.stored_list(&mut session).await?)
    }

    /// The number of the newest list.
    pub(crate) async fn revocation_number(&self) -> Result<u64, Error> {
        let mut session = self.database.read().await?;
        Ok(session.revocation_number().await?.unwrap_or_default())
    }

    /// Renews the delegation if it is time and the root key is here, and signs the list anew before the delegation
    /// it carries ends.
    pub(crate) async fn maintain(&self) -> Result<(), Error> {
        let now = self.now();
        self.dir.refresh(now)?;
        let ahead = now.saturating_add(RESIGN_AHEAD);
        let lasts = |list: &RevocationList| {
            // The list's own check adds the grace.
            list.verify(self.network(), ahead.saturating_add(self.network().grace))
                .is_ok()
        };
        if lasts(&self.revocations().await?) || self.dir.delegation().not_after <= ahead {
            return Ok(());
        }
        let mut session = self.database.write().await?;
        session.lock_network().await?;
        let list = self.stored_list(&mut session).await?;
        if !lasts(&list) {
            let revoked = self.still_needed(&mut session, &list).await?;
            self.insert_list(&mut session, list.number + 1, revoked).await?;
        }
        Ok(session.commit().await?)
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

fn token_hash(token: &[u8; 16]) -> String {
    blake3::derive_key("osier registry 2026 invite token", token)
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect()
}

fn invite_info(token: &TokenRow) -> InviteInfo {
    InviteInfo {
        id: token.hash.chars().take(12).collect(),
        uses: token.uses,
        uses_left: token.uses_left,
        created: token.created,
        expires: token.expires,
    }
}

async fn refused_token(session: &mut Session, hash: &str, now: UnixTime) -> Result<Refusal, DatabaseError> {
    Ok(match session.token(hash).await? {
        None => Refusal::TokenUnknown,
        Some(token) if token.expires <= now => Refusal::TokenExpired(token.expires),
        Some(_) => Refusal::TokenUsed,
    })
}

async fn find_node(session: &mut Session, name_or_key: &str) -> Result<NodeRow, Error> {
    if let Some(node) = session.node_named(name_or_key).await? {
        return Ok(node);
    }
    let wanted = name_or_key.to_ascii_lowercase();
    let nodes = session.nodes().await?;
    let by_key = |row: &NodeRow| wanted.len() >= 8 && row.node.to_string().starts_with(&wanted);
    let mut found: Vec<NodeRow> = nodes.iter().filter(|row| by_key(row)).cloned().collect();
    if found.is_empty() {
        // Revoked before: say so instead of "unknown".
        found = nodes
            .into_iter()
            .filter(|row| row.name == wanted)
            .take(1)
            .collect();
    }
    match (found.pop(), found.is_empty()) {
        (Some(node), true) => Ok(node),
        (Some(_), false) => Err(Error::AmbiguousNode(name_or_key.to_owned())),
        (None, _) => Err(Error::NoSuchNode(name_or_key.to_owned())),
    }
}
