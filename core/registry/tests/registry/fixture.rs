//! A registry in a temporary directory, and clients that speak to it.

use osier_proto::{
    codec::to_base64url,
    identity::SecretKeys,
    invite::Invite,
    network::Network,
    record::{Bundle, Endpoint, EndpointKind, Fields, Record},
    registry_api::{AUTH_HEADER, AuthToken, EnrolReply, EnrolRequest, ErrorReply, PublishRequest},
    wallclock::UnixTime,
};
use osier_registry::{CreateOptions, InviteOptions, NetworkDir, Registry, ServeOptions, Server, unix_now};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;

pub(crate) struct Fixture {
    pub(crate) directory: TempDir,
    pub(crate) registry: Registry,
    pub(crate) server: Server,
    pub(crate) clock: Arc<AtomicU64>,
    pub(crate) http: Http,
}

/// Settings of tests: lines of `registry.toml` for the head and for `[limits]`.
#[derive(Clone, Copy, Default)]
pub(crate) struct Extra<'a> {
    pub(crate) options: Option<&'a CreateOptions>,
    pub(crate) head: &'a str,
    pub(crate) limits: &'a str,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        Self::start_with(Extra::default()).await
    }

    pub(crate) async fn start_with(extra: Extra<'_>) -> Self {
        let directory = TempDir::with_prefix("osier-registry-").unwrap();
        let path = directory.path().join("net");
        let options = extra.options.cloned().unwrap_or_else(|| options("test"));
        NetworkDir::create(&path, options, unix_now()).unwrap();
        amend_settings(&path, extra.head, extra.limits);
        Self::open(directory, &path).await
    }

    pub(crate) async fn open(directory: TempDir, path: &Path) -> Self {
        // Started at the present, and moved by tests.
        let clock = Arc::new(AtomicU64::new(unix_now().0));
        let reading = Arc::clone(&clock);
        let registry = Registry::open(path).await.unwrap();
        let registry = registry.with_clock(move || UnixTime(reading.load(Ordering::SeqCst)));
        let server = registry.serve(ServeOptions::default()).await.unwrap();
        let http = Http::to(&server, registry.dir().network());
        Self {
            directory,
            registry,
            server,
            clock,
            http,
        }
    }

    pub(crate) fn now(&self) -> UnixTime {
        self.registry.now()
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) async fn invite(&self, uses: u64) -> Invite {
        self.registry
            .create_invite(InviteOptions {
                uses,
                ..InviteOptions::default()
            })
            .await
            .unwrap()
    }

    /// A new member.
    pub(crate) async fn member(&self, name: &str) -> Member {
        let keys = keys();
        let invite = self.invite(1).await;
        let reply = self.http.enrol(&invite, name, &keys).await.unwrap();
        let network = self.registry.dir().network();
        let (certificate, ..) = reply.verify(&network.root, &keys, self.now()).unwrap();
        Member { keys, certificate }
    }
}

pub(crate) fn options(name: &str) -> CreateOptions {
    CreateOptions {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        public_urls: vec!["http://127.0.0.1:1".into()],
        ..CreateOptions::new(name)
    }
}

/// Top-level keys replace those of the file; limits are added.
pub(crate) fn amend_settings(path: &Path, head: &str, limits: &str) {
    let file = path.join("registry.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let replaced: Vec<_> = head.lines().filter_map(|line| line.split(" =").next()).collect();
    let kept = text
        .lines()
        .filter(|line| !replaced.iter().any(|key| line.starts_with(&format!("{key} ="))));
    let kept: Vec<_> = kept.collect();
    std::fs::write(
        &file,
        format!("{head}\n{}\n[limits]\n{limits}\n", kept.join("\n")),
    )
    .unwrap();
}

pub(crate) struct Member {
    pub(crate) keys: SecretKeys,
    pub(crate) certificate: osier_proto::certificate::Certificate,
}

impl Member {
    pub(crate) fn bundle(&self, network: &Network, sequence: u64) -> Bundle {
        let endpoint = Endpoint {
            address: "192.0.2.1:6696".parse().unwrap(),
            kind: EndpointKind::Configured,
        };
        let fields = Fields {
            node: self.keys.node_id(),
            sequence,
            endpoints: vec![endpoint],
            leaf: false,
            relay: true,
            load: 0,
        };
        let record = Record::sign(fields, &self.keys, &network.id());
        Bundle {
            certificate: self.certificate.clone(),
            record,
        }
    }
}

pub(crate) fn keys() -> SecretKeys {
    let mut entropy = [0; 64];
    getrandom::fill(&mut entropy).unwrap();
    SecretKeys::from_entropy(entropy)
}

/// An HTTP client of one registry.
#[derive(Clone)]
pub(crate) struct Http {
    pub(crate) client: reqwest::Client,
    pub(crate) base: String,
    pub(crate) network: Network,
}

/// What the registry said no with.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) retry_after: Option<u64>,
}

impl Http {
    pub(crate) fn to(server: &Server, network: &Network) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let scheme = if server.tls() { "https" } else { "http" };
        Self {
            client: reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(90))
                .build()
                .unwrap(),
            base: format!("{scheme}://{}", server.address()),
            network: network.clone(),
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub(crate) async fn enrol(
        &self,
        invite: &Invite,
        name: &str,
        keys: &SecretKeys,
    ) -> Result<EnrolReply, Refused> {
        self.post_enrol(&EnrolRequest::sign(invite.token, name, keys, &self.network.id()))
            .await
    }

    pub(crate) async fn post_enrol(&self, request: &EnrolRequest) -> Result<EnrolReply, Refused> {
        let response = self
            .request(Method::POST, "/v1/enrol")
            .json(request)
            .send()
            .await
            .unwrap();
        answer(response).await
    }

    /// A member's request, signed at `now`.
    pub(crate) async fn signed(
        &self,
        keys: &SecretKeys,
        now: UnixTime,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Response {
        let purpose = format!("{method} {}", path.split('?').next().unwrap());
        let token = AuthToken::sign(keys, &self.network.id(), now, &purpose, &body);
        let request = self.request(method, path).header(AUTH_HEADER, token.encode());
        request
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn renew(&self, keys: &SecretKeys, now: UnixTime) -> Result<EnrolReply, Refused> {
        answer(
            self.signed(keys, now, Method::POST, "/v1/renew", Vec::new())
                .await,
        )
        .await
    }

    pub(crate) async fn get<T: serde::de::DeserializeOwned>(
        &self,
        keys: &SecretKeys,
        now: UnixTime,
        path: &str,
    ) -> Result<T, Refused> {
        answer(self.signed(keys, now, Method::GET, path, Vec::new()).await).await
    }

    pub(crate) async fn publish(
        &self,
        keys: &SecretKeys,
        now: UnixTime,
        bundle: &Bundle,
    ) -> Result<(), Refused> {
        let body = serde_json::to_vec(&PublishRequest {
            bundle: to_base64url(&bundle.encode()),
        })
        .unwrap();
        let response = self.signed(keys, now, Method::PUT, "/v1/record", body).await;
        if response.status() == StatusCode::NO_CONTENT {
            Ok(())
        } else {
            Err(refused(response).await)
        }
    }
}

pub(crate) async fn answer<T: serde::de::DeserializeOwned>(response: Response) -> Result<T, Refused> {
    if response.status() == StatusCode::OK {
        return Ok(response.json().await.unwrap());
    }
    Err(refused(response).await)
}

pub(crate) async fn refused(response: Response) -> Refused {
    let status = response.status();
    let retry_after = response
        .headers()
        .get("retry-after")
        .map(|value| value.to_str().unwrap().parse().unwrap());
    let text = response.text().await.unwrap();
    let reply: ErrorReply = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: {text:?}"));
    Refused {
        status,
        code: reply.code,
        message: reply.message,
        retry_after,
    }
}

/// Polls until it holds.
pub(crate) async fn until(what: &str, limit: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < limit, "after {limit:?} still not: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
