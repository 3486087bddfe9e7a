//! The registry directory: the network's keys, its signed description, and the settings.
//!
//! | file | what |
//! |---|---|
//! | `root.key` | the network's root key; needed to make delegations only, may be kept elsewhere |
//! | `issuer.key` | signs certificates and revocation lists |
//! | `delegation.cbor` | the root's statement that the issuer may |
//! | `network.cbor` | the network's description, signed by the root; written last, so its presence means "complete" |
//! | `registry.toml` | [`Settings`] |
//! | `registry.db` | the SQLite database, unless the settings name another |
//! | `self-signed.crt`, `self-signed.key` | TLS certificate made here, if wanted |

use crate::{
    DirectoryError, Settings,
    files::{self, Access},
    random, settings, tls,
};
use osier_proto::{
    IpNet,
    codec::{array_from_base64url, to_base64url},
    identity::{NodeId, SigningSecret},
    network::{Delegation, Network, SignedNetwork},
    wallclock::UnixTime,
};
use std::{
    fs,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
    time::Duration,
};
use zeroize::Zeroizing;

const ROOT_KEY: &str = "root.key";
const ISSUER_KEY: &str = "issuer.key";
const DELEGATION: &str = "delegation.cbor";
const NETWORK: &str = "network.cbor";
const SETTINGS: &str = "registry.toml";
const KEY_HEADER: &str = "osier-key-v1";

/// How long a delegation lasts. With the root key in place it is renewed by itself at half of this.
pub const DELEGATION_LIFETIME: Duration = Duration::from_secs(2 * 365 * 86_400);

/// What a network is made with.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// 1..=63 octets, for people.
    pub name: String,
    /// IPv6, 8..=60 bits; `None`: a random ULA /48 (RFC 4193 section 3.2).
    pub prefix: Option<IpNet>,
    /// 10 minutes to 1 year; 14 days by default.
    pub certificate_lifetime: Duration,
    /// How long members go on without a registry when their certificates have expired; 90 days by default.
    pub grace: Duration,
    /// `None`: an SQLite file in the directory.
    pub database: Option<String>,
    /// `None`: every address, port [`settings::DEFAULT_PORT`].
    pub listen: Option<SocketAddr>,
    /// Where nodes will reach the registry; can be filled in later.
    pub public_urls: Vec<String>,
}

impl CreateOptions {
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            prefix: None,
            certificate_lifetime: Settings::default().certificate_lifetime,
            grace: Duration::from_secs(90 * 86_400),
            database: None,
            listen: None,
            public_urls: Vec::new(),
        }
    }
}

/// An opened registry directory.
#[derive(Debug)]
pub struct NetworkDir {
    path: PathBuf,
    network: SignedNetwork,
    issuer: SigningSecret,
    delegation: RwLock<Delegation>,
    settings: Settings,
}

impl NetworkDir {
    /// Makes a network: keys, description, settings. Nothing that exists is overwritten, and when it fails
    /// nothing is left behind.
    pub fn create(path: &Path, options: CreateOptions, now: UnixTime) -> Result<Self, DirectoryError> {
        let prefix = match options.prefix {
            Some(prefix) if usable_prefix(&prefix) => prefix.trunc(),
            Some(prefix) => return Err(DirectoryError::Prefix(prefix.to_string())),
            None => random_prefix()?,
        };
        if !settings::valid_lifetime(options.certificate_lifetime) {
            return Err(DirectoryError::Lifetime);
        }
        let settings = Settings {
            listen: options.listen.unwrap_or(Settings::default().listen),
            public_urls: options.public_urls,
            database: options.database.unwrap_or(Settings::default().database),
            certificate_lifetime: options.certificate_lifetime,
            ..Settings::default()
        };
        let rendered = settings.render();
        Settings::parse(&path.join(SETTINGS), &rendered)?;
        let root = random_key()?;
        let issuer = random_key()?;
        let network = Network {
            root: root.node_id(),
            name: options.name,
            prefix,
            grace: options.grace.as_secs(),
        };
        let name = network.name.clone();
        let network = SignedNetwork::sign(network, &root).map_err(|_| DirectoryError::Name(name))?;
        let delegation = delegate(&root, &issuer, now);

        files::make_directory(path)?;
        let contents = [
            (ROOT_KEY, render_key(&root), Access::Owner),
            (ISSUER_KEY, render_key(&issuer), Access::Owner),
            (DELEGATION, Zeroizing::new(delegation.encode()), Access::Everyone),
            // It may hold a database password.
            (SETTINGS, Zeroizing::new(rendered.into_bytes()), Access::Owner),
            (NETWORK, Zeroizing::new(network.encode()), Access::Everyone),
        ];
        if let Some((name, ..)) = contents.iter().find(|(name, ..)| path.join(name).exists()) {
            return Err(DirectoryError::Exists(path.join(name)));
        }
        let mut made = Vec::new();
        for (name, contents, access) in &contents {
            let file = path.join(name);
            if let Err(error) = files::create(&file, contents, *access) {
                made.iter().for_each(|file| drop(fs::remove_file(file)));
                return Err(error);
            }
            made.push(file);
        }
        Self::open(path)
    }

    /// Reads and checks everything but the database. An expired delegation is reported when something must be
    /// signed, so that a registry whose root key is offline can still be opened to renew it.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        let network = read_network(path)?;
        let issuer = read_key(&path.join(ISSUER_KEY))?;
        let root = path.join(ROOT_KEY);
        if root.exists() && read_key(&root)?.node_id() != network.network().root {
            return Err(DirectoryError::OtherNetwork {
                path: root,
                directory: path.to_owned(),
            });
        }
        let delegation = read_delegation(path, &network, issuer.node_id())?;
        let file = path.join(SETTINGS);
        let text = String::from_utf8(files::read(&file)?).map_err(|_| DirectoryError::Settings {
            path: file.clone(),
            reason: "not UTF-8 text".into(),
        })?;
        let settings = Settings::parse(&file, &text)?;
        Ok(Self {
            path: path.to_owned(),
            network,
            issuer,
            delegation: RwLock::new(delegation),
            settings,
        })
    }

    /// Makes a new delegation with the root key, which may be on a removable disk. Works when the old delegation
    /// has expired or is lost; when `issuer.key` is lost it makes a new one.
    pub fn renew_issuer(path: &Path, root_key: &Path, now: UnixTime) -> Result<Delegation, DirectoryError> {
        let network = read_network(path)?;
        let root = read_key(root_key)?;
        if root.node_id() != network.network().root {
            return Err(DirectoryError::OtherNetwork {
                path: root_key.to_owned(),
                directory: path.to_owned(),
            });
        }
        let file = path.join(ISSUER_KEY);
        let issuer = match read_key(&file) {
            Err(DirectoryError::Missing(_)) => {
                let issuer = random_key()?;
                files::create(&file, &render_key(&issuer), Access::Owner)?;
                issuer
            }
            other => other?,
        };
        let delegation = delegate(&root, &issuer, now);
        files::replace(&path.join(DELEGATION), &delegation.encode(), Access::Everyone)?;
        Ok(delegation)
    }

    /// Takes over a delegation that was renewed on disk, and renews it when half of it is over and the root key
    /// is here. Called by the server from time to time.
    pub(crate) fn refresh(&self, now: UnixTime) -> Result<(), DirectoryError> {
        let current = self.delegation();
        let half = current.not_after.seconds_since(current.not_before) / 2;
        let root = self.path.join(ROOT_KEY);
        if current.not_after.seconds_since(now) < half && root.exists() {
            Self::renew_issuer(&self.path, &root, now)?;
        }
        let stored = read_delegation(&self.path, &self.network, self.issuer.node_id())?;
        if stored != current {
            *self.delegation.write().unwrap_or_else(PoisonError::into_inner) = stored;
        }
        Ok(())
    }

    /// Makes `self-signed.crt` and `.key` for these host names and addresses; the next start uses them, and
    /// invites carry the certificate's hash.
    pub fn create_self_signed(&self, names: &[String]) -> Result<[u8; 32], DirectoryError> {
        tls::create_self_signed(&self.path, names)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn network(&self) -> &Network {
        self.network.network()
    }

    pub fn signed_network(&self) -> &SignedNetwork {
        &self.network
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether the root key is here; it need not be.
    pub fn has_root_key(&self) -> bool {
        self.path.join(ROOT_KEY).exists()
    }

    pub fn delegation(&self) -> Delegation {
        self.delegation
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The key that signs and its entitlement, if it is entitled at `now`.
    pub(crate) fn issuer(&self, now: UnixTime) -> Result<(&SigningSecret, Delegation), DirectoryError> {
        let delegation = self.delegation();
        if now >= delegation.not_after {
            return Err(DirectoryError::IssuerExpired(delegation.not_after));
        }
        delegation
            .verify(self.network(), now)
            .map_err(DirectoryError::Delegation)?;
        Ok((&self.issuer, delegation))
    }

    /// The settings' database, with a relative SQLite file placed in this directory.
    pub fn database_url(&self) -> String {
        let url = &self.settings.database;
        match url.strip_prefix("sqlite:") {
            Some(file) => {
                let file = file.strip_prefix("//").unwrap_or(file);
                format!("sqlite:{}", self.path.join(file).display())
            }
            None => url.clone(),
        }
    }
}

fn usable_prefix(prefix: &IpNet) -> bool {
    matches!(prefix, IpNet::V6(prefix) if (8..=60).contains(&prefix.prefix_len())
        && !prefix.addr().is_multicast() && !prefix.addr().is_unicast_link_local())
}

fn random_prefix() -> Result<IpNet, DirectoryError> {
    let mut octets = [0; 16];
    octets[0] = 0xfd;
    octets[1..6].copy_from_slice(&random::<5>()?);
    // 48 is a valid IPv6 prefix length.
    IpNet::new(IpAddr::V6(Ipv6Addr::from(octets)), 48)
        .map_err(|error| DirectoryError::Prefix(error.to_string()))
}

fn random_key() -> Result<SigningSecret, DirectoryError> {
    let seed = Zeroizing::new(random::<32>()?);
    Ok(SigningSecret::from_bytes(&seed))
}

fn delegate(root: &SigningSecret, issuer: &SigningSecret, now: UnixTime) -> Delegation {
    let end = now.saturating_add(DELEGATION_LIFETIME.as_secs());
    Delegation::sign(issuer.node_id(), now.saturating_sub(3600), end, root)
}

fn render_key(key: &SigningSecret) -> Zeroizing<Vec<u8>> {
    let seed = Zeroizing::new(key.to_bytes());
    let encoded = Zeroizing::new(to_base64url(&*seed));
    let mut text = Zeroizing::new(Vec::with_capacity(128));
    text.extend_from_slice(KEY_HEADER.as_bytes());
    text.push(b' ');
    text.extend_from_slice(encoded.as_bytes());
    text.push(b'\n');
    text
}

fn read_key(path: &Path) -> Result<SigningSecret, DirectoryError> {
    let corrupt = |reason: &str| DirectoryError::Corrupt {
        path: path.to_owned(),
        reason: reason.into(),
    };
    let contents = Zeroizing::new(files::read_secret(path)?);
    let text = std::str::from_utf8(&contents).map_err(|_| corrupt("not a key file"))?;
    let (header, key) = text
        .trim()
        .split_once(' ')
        .ok_or_else(|| corrupt("not a key file"))?;
    if header != KEY_HEADER {
        let newer = header.starts_with("osier-key-v");
        return Err(if newer {
            DirectoryError::Newer(path.to_owned())
        } else {
            corrupt("not a key file")
        });
    }
    let seed =
        array_from_base64url::<32>(key, "key").map_err(|_| corrupt("the key is cut short or changed"))?;
    Ok(SigningSecret::from_bytes(&Zeroizing::new(seed)))
}

fn read_network(path: &Path) -> Result<SignedNetwork, DirectoryError> {
    let file = path.join(NETWORK);
    let bytes = match files::read(&file) {
        Err(DirectoryError::Missing(_)) => return Err(DirectoryError::NoNetwork(path.to_owned())),
        other => other?,
    };
    let network =
        SignedNetwork::decode(&bytes).map_err(|error| DirectoryError::undecodable(file.clone(), error))?;
    let root = network.network().root;
    network
        .verify(&root)
        .map_err(|error| DirectoryError::unverified(file.clone(), error))?;
    if !usable_prefix(&network.network().prefix) {
        return Err(DirectoryError::Prefix(network.network().prefix.to_string()));
    }
    Ok(network)
}

fn read_delegation(
    path: &Path,
    network: &SignedNetwork,
    issuer: NodeId,
) -> Result<Delegation, DirectoryError> {
    let file = path.join(DELEGATION);
    let bytes = files::read(&file)?;
    let delegation =
        Delegation::decode(&bytes).map_err(|error| DirectoryError::undecodable(file.clone(), error))?;
    // Checked at a time when it holds, so that only the signature matters.
    delegation
        .verify(network.network(), delegation.not_before)
        .map_err(|error| DirectoryError::Corrupt {
            path: file.clone(),
            reason: error.to_string(),
        })?;
    if delegation.issuer != issuer {
        return Err(DirectoryError::Corrupt {
            path: file,
            reason: "it is for another issuer.key".into(),
        });
    }
    Ok(delegation)
}
