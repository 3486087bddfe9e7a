//! Single requests to a registry.

use super::{
    connect::{BoxError, Connector},
    tls::{self, Trust},
};
use crate::{
    clock,
    sockets::{SocketError, Sockets},
};
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, StatusCode, Uri,
    body::Bytes,
    header::{CONTENT_TYPE, PROXY_AUTHORIZATION, USER_AGENT},
};
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioTimer},
};
use osier_proto::{
    certificate::Certificate,
    identity::{NodeId, SecretKeys},
    network::{Network, NetworkId, SignedNetwork},
    record::Bundle,
    registry_api::{
        AUTH_HEADER, AuthToken, DirectoryReply, EnrolReply, EnrolRequest, ErrorReply, PublishRequest,
        RevocationReply,
    },
    revocation::RevocationList,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// For a whole request that is not held open.
const ANSWER: Duration = Duration::from_secs(15);
/// Beyond the time that a registry is asked to hold a request.
const HELD_EXTRA: Duration = Duration::from_secs(15);
/// Longest answer that we take.
const MAX_ANSWER: usize = 16 << 20;

/// Where the registries are; kept in the state directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registries {
    /// Base URLs, in order of preference.
    pub urls: Vec<String>,
    /// SHA-256 of their TLS certificate, when it is self-signed.
    pub tls_pin: Option<[u8; 32]>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    #[error("no registry is configured: set `registries` in settings.toml")]
    NoneConfigured,
    /// Not one of them answered, or all had trouble of their own.
    #[error("{0}")]
    Unreachable(String),
    /// The embedder's system keeps our sockets inside the VPN.
    #[error("the system does not let a connection to the registry past the VPN: {0}")]
    NotProtected(String),
    /// It understood and said no.
    #[error("{message}")]
    Refused { code: String, message: String },
    /// What it said cannot be true.
    #[error("the registry's answer is not valid: {0}")]
    Invalid(String),
}

/// Speaks for one node to the registries of its network.
pub struct Client {
    http: legacy::Client<Connector, Full<Bytes>>,
    connector: Connector,
    registries: Registries,
    /// Index of the registry that answered last.
    preferred: AtomicUsize,
    keys: Arc<SecretKeys>,
    network: NetworkId,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("registries", &self.registries)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// With connections over `sockets`.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(
        registries: Registries,
        keys: Arc<SecretKeys>,
        network: NetworkId,
        sockets: Sockets,
    ) -> Result<Self, RegistryError> {
        let trust = match registries.tls_pin {
            _ if !registries.urls.iter().any(|url| url.starts_with("https:")) => Trust::NoTls,
            Some(pin) => Trust::Pin(pin),
            None => Trust::System,
        };
        let tls = tls::client_config(&trust)
            .map_err(|e| RegistryError::Unreachable(format!("TLS cannot be set up: {e}")))?;
        let connector = Connector::new(sockets, tls);
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(1)
            .build(connector.clone());
        Ok(Self {
            http,
            connector,
            registries,
            preferred: AtomicUsize::new(0),
            keys,
            network,
        })
    }

    pub fn registries(&self) -> &Registries {
        &self.registries
    }

    /// Enrols the node with an invite's token. Enrolling the same keys with the same token again is harmless.
    pub async fn enrol(
        &self,
        root: &NodeId,
        token: [u8; 16],
        name: &str,
    ) -> Result<Timed<(Certificate, SignedNetwork, RevocationList)>, RegistryError> {
        let request = EnrolRequest::sign(token, name, &self.keys, &self.network);
        let reply: EnrolReply = self.post("/v1/enrol", &request).await?;
        let verified = reply.verify(root, &self.keys, clock::unix_time());
        Timed::new(reply.unix_time, verified)
    }

    /// A new certificate for the same prefixes.
    pub async fn renew(
        &self,
        root: &NodeId,
    ) -> Result<Timed<(Certificate, SignedNetwork, RevocationList)>, RegistryError> {
        let reply: EnrolReply = self.post("/v1/renew", &()).await?;
        let verified = reply.verify(root, &self.keys, clock::unix_time());
        Timed::new(reply.unix_time, verified)
    }

    pub async fn publish(&self, bundle: &Bundle) -> Result<(), RegistryError> {
        let body = to_json(&PublishRequest::new(bundle))?;
        self.request(Method::PUT, "/v1/record", "", Some(body), ANSWER)
            .await
            .map(|_| ())
    }

    /// A random sample of at most `limit` members.
    pub async fn directory(
        &self,
        network: &Network,
        limit: usize,
    ) -> Result<Timed<(Vec<Bundle>, RevocationList)>, RegistryError> {
        let query = format!("?limit={limit}");
        let body = self
            .request(Method::GET, "/v1/directory", &query, None, ANSWER)
            .await?;
        let reply: DirectoryReply = from_json(&body)?;
        let verified = reply.verify(network, clock::unix_time());
        Timed::new(reply.unix_time, verified)
    }

    /// The newest revocation list; the registry holds the request for up to `wait` until there is one with a
    /// number above `after`.
    pub async fn revocations(
        &self,
        network: &Network,
        after: u64,
        wait: Duration,
    ) -> Result<Timed<RevocationList>, RegistryError> {
        let query = format!("?after={after}&wait={}", wait.as_secs());
        let body = self
            .request(Method::GET, "/v1/revocations", &query, None, wait + HELD_EXTRA)
            .await?;
        let reply: RevocationReply = from_json(&body)?;
        let verified = reply.verify(network, clock::unix_time());
        Timed::new(reply.unix_time, verified)
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, RegistryError> {
        let body = to_json(body)?;
        // No body at all rather than JSON's null.
        let body = if body == b"null" { Vec::new() } else { body };
        from_json(&self.request(Method::POST, path, "", Some(body), ANSWER).await?)
    }

    /// Tries the registries in turn, beginning with the one that answered last.
    async fn request(
        &self,
        method: Method,
        path: &str,
        query: &str,
        body: Option<Vec<u8>>,
        limit: Duration,
    ) -> Result<Vec<u8>, RegistryError> {
        let count = self.registries.urls.len();
        let first = self.preferred.load(Ordering::Relaxed);
        let mut failures = Vec::new();
        for at in (0..count).map(|n| (first + n) % count) {
            let base = self.registries.urls[at].trim_end_matches('/');
            match self
                .request_at(base, &method, path, query, body.clone(), limit)
                .await
            {
                Err(RegistryError::Unreachable(reason)) => failures.push(format!("{base}: {reason}")),
                answer => {
                    self.preferred.store(at, Ordering::Relaxed);
                    return answer;
                }
            }
        }
        if count == 0 {
            return Err(RegistryError::NoneConfigured);
        }
        Err(RegistryError::Unreachable(failures.join("; ")))
    }

    async fn request_at(
        &self,
        base: &str,
        method: &Method,
        path: &str,
        query: &str,
        body: Option<Vec<u8>>,
        limit: Duration,
    ) -> Result<Vec<u8>, RegistryError> {
        let purpose = format!("{method} {path}");
        let content = body.as_deref().unwrap_or_default();
        let token = AuthToken::sign(&self.keys, &self.network, clock::unix_time(), &purpose, content);
        let uri: Uri = format!("{base}{path}{query}")
            .parse()
            .map_err(|_| RegistryError::Unreachable("it is not a URL".into()))?;
        let mut request = Request::builder()
            .method(method)
            .header(AUTH_HEADER, token.encode())
            .header(USER_AGENT, concat!("osier/", env!("CARGO_PKG_VERSION")));
        if let Some(auth) = self.connector.proxy(&uri).as_ref().and_then(|p| p.basic_auth())
            && uri.scheme_str() == Some("http")
        {
            request = request.header(PROXY_AUTHORIZATION, auth);
        }
        let body = body.filter(|b| !b.is_empty());
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request
            .uri(uri)
            .body(Full::new(body.unwrap_or_default().into()))
            .map_err(|e| RegistryError::Unreachable(e.to_string()))?;
        let (status, answer) = tokio::time::timeout(limit, self.exchange(request))
            .await
            .map_err(|_| RegistryError::Unreachable("no answer in time".into()))??;
        if status.is_success() {
            return Ok(answer);
        }
        let error = serde_json::from_slice::<ErrorReply>(&answer).ok();
        // Trouble of the registry's own: another one may do better.
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            let message = error.map(|e| e.message).unwrap_or_default();
            return Err(RegistryError::Unreachable(
                format!("{status} {message}").trim_end().to_owned(),
            ));
        }
        match error {
            Some(error) => Err(RegistryError::Refused {
                code: error.code,
                message: error.message,
            }),
            // Some other web server.
            None => Err(RegistryError::Unreachable(format!(
                "it answers {status}, which no registry does"
            ))),
        }
    }

    /// The whole answer.
    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Vec<u8>), RegistryError> {
        let response = self.http.request(request).await.map_err(|e| failed(e.into()))?;
        let status = response.status();
        let (mut body, mut answer) = (response.into_body(), Vec::new());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| failed(e.into()))?;
            let Some(chunk) = frame.data_ref() else {
                continue;
            };
            if answer.len() + chunk.len() > MAX_ANSWER {
                return Err(RegistryError::Invalid("it is too long".into()));
            }
            answer.extend_from_slice(chunk);
        }
        Ok((status, answer))
    }
}

/// An answer with the registry's clock, to compare ours with.
#[derive(Clone, Debug)]
pub struct Timed<T> {
    pub value: T,
    /// Unix seconds.
    pub registry_time: u64,
}

impl<T> Timed<T> {
    fn new(registry_time: u64, value: Result<T, impl std::fmt::Display>) -> Result<Self, RegistryError> {
        match value {
            Ok(value) => Ok(Self { value, registry_time }),
            Err(error) => {
                let skew = registry_time.abs_diff(clock::unix_time().0);
                let hint = match skew {
                    3600.. => format!(
                        " (this machine's clock and the registry's differ by {skew} s: set the clock)"
                    ),
                    _ => String::new(),
                };
                Err(RegistryError::Invalid(format!("{error}{hint}")))
            }
        }
    }
}

fn to_json(value: &impl Serialize) -> Result<Vec<u8>, RegistryError> {
    serde_json::to_vec(value).map_err(|e| RegistryError::Invalid(e.to_string()))
}

fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RegistryError> {
    serde_json::from_slice(bytes).map_err(|e| RegistryError::Invalid(e.to_string()))
}

/// The client's own text hides the cause, and the cause is what helps.
fn failed(error: BoxError) -> RegistryError {
    if let Some(reason) = SocketError::refusal(&*error) {
        return RegistryError::NotProtected(reason.to_owned());
    }
    let mut cause: &dyn std::error::Error = &*error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    RegistryError::Unreachable(cause.to_string())
}
