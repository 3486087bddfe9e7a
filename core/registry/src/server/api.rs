//! The requests of [`osier_proto::registry_api`].

use super::{
    connection::Peer,
    feed::CurrentList,
    limits::RateLimiter,
    metrics::{Metrics, MetricsSnapshot},
    stopped,
};
use crate::{Error, Refusal, Registry};
use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::{Query, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use osier_proto::{
    codec::to_base64url,
    identity::NodeId,
    registry_api::{
        AUTH_HEADER, AuthToken, DirectoryReply, EnrolReply, EnrolRequest, ErrorReply, NetworkReply,
        PublishRequest, RevocationReply,
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::watch, time::timeout};
use tracing::{debug, info, warn};

/// Bundles in one answer.
const MAX_SAMPLE: u64 = 64;
const DEFAULT_SAMPLE: u64 = 32;
/// Seconds that a request for revocations is held.
const MAX_WAIT: u64 = 60;

struct App {
    registry: Registry,
    list: watch::Receiver<CurrentList>,
    metrics: Arc<Metrics>,
    stopping: watch::Receiver<bool>,
    requests: RateLimiter,
    failed_enrolments: RateLimiter,
    /// All clients under one key.
    failed_enrolments_in_all: RateLimiter,
}

const EVERYBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

pub(super) fn router(
    registry: Registry,
    list: watch::Receiver<CurrentList>,
    metrics: Arc<Metrics>,
    stopping: watch::Receiver<bool>,
) -> Router {
    let limits = &registry.dir().settings().limits;
    let now = Instant::now();
    let (requests, tracked) = (f64::from(limits.requests_per_second), limits.tracked_addresses);
    let failures = f64::from(limits.failed_enrolments_per_minute);
    let failures_in_all = f64::from(limits.failed_enrolments_per_minute_in_all);
    let app = Arc::new(App {
        requests: RateLimiter::new(requests, requests * 10.0, tracked, now),
        failed_enrolments: RateLimiter::new(failures / 60.0, failures, tracked, now),
        failed_enrolments_in_all: RateLimiter::new(failures_in_all / 60.0, failures_in_all, 1, now),
        registry,
        list,
        metrics,
        stopping,
    });
    Router::new()
        .route("/v1/network", get(network))
        .route("/v1/enrol", post(enrol))
        .route("/v1/renew", post(renew))
        .route("/v1/record", put(publish))
        .route("/v1/directory", get(directory))
        .route("/v1/revocations", get(revocations))
        .route("/v1/health", get(health))
        .fallback(async || Failure::NotFound)
        .method_not_allowed_fallback(async || Failure::Method)
        .layer(from_fn_with_state(Arc::clone(&app), guard))
        .with_state(app)
}

/// The client's address: the connection's, or what the trusted proxy in front says.
#[derive(Clone, Copy)]
struct Client(IpAddr);

/// Around every request: rate, size and time of the body, counters, log.
async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let client = client_address(&app, &request);
    app.metrics.requests.add();
    let response = match admit(&app, client, request).await {
        Ok(request) => next.run(request).await,
        Err(failure) => failure.into_response(),
    };
    let status = response.status();
    match status.as_u16() {
        429 => {
            app.metrics.rate_limited.add();
            app.metrics.client_errors.add();
        }
        400..=499 => app.metrics.client_errors.add(),
        500.. => app.metrics.server_errors.add(),
        _ => {}
    }
    debug!(%method, path, status = status.as_u16(), %client, milliseconds = started.elapsed().as_millis() as u64);
    response
}

async fn admit(app: &App, client: IpAddr, request: Request) -> Result<Request, Failure> {
    app.requests
        .take(client, Instant::now())
        .map_err(Failure::RateLimited)?;
    let limits = &app.registry.dir().settings().limits;
    let (mut parts, body) = request.into_parts();
    let announced = parts
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok());
    if announced
        .and_then(|length| length.parse().ok())
        .is_some_and(|length: usize| length > limits.body_octets)
    {
        return Err(Failure::TooLarge(limits.body_octets));
    }
    let body = timeout(limits.request_time, to_bytes(body, limits.body_octets)).await;
    let body = body
        .map_err(|_| Failure::Slow)?
        .map_err(|error| body_failure(&error, limits.body_octets))?;
    parts.extensions.insert(Client(client));
    Ok(Request::from_parts(parts, Body::from(body)))
}

fn body_failure(error: &axum::Error, limit: usize) -> Failure {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<http_body_util::LengthLimitError>() {
            return Failure::TooLarge(limit);
        }
        cause = error.source();
    }
    Refusal::Malformed("the request's body is cut short".into()).into()
}

fn client_address(app: &App, request: &Request) -> IpAddr {
    let peer = request
        .extensions()
        .get()
        .map_or(EVERYBODY, |Peer(address)| *address);
    if !app.registry.dir().settings().trust_proxy {
        return peer;
    }
    // The last entry is the one that our own proxy wrote.
    let forwarded = request.headers().get_all("x-forwarded-for").iter().next_back();
    let forwarded = forwarded
        .and_then(|value| value.to_str().ok())
        .and_then(|list| list.rsplit(',').next());
    forwarded
        .and_then(|address| address.trim().parse().ok())
        .unwrap_or(peer)
}

// Handlers, in the order of the table.

type Answer<T> = Result<Json<T>, Failure>;

async fn network(State(app): State<Arc<App>>) -> Json<NetworkReply> {
    Json(NetworkReply::new(
        app.registry.dir().signed_network(),
        app.registry.now(),
    ))
}

async fn enrol(
    State(app): State<Arc<App>>,
    axum::Extension(Client(client)): axum::Extension<Client>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<EnrolReply> {
    // Only refusals are charged: a hundred nodes that start together behind one address are welcome.
    let now = Instant::now();
    app.failed_enrolments
        .check(client, now)
        .map_err(Failure::RateLimited)?;
    app.failed_enrolments_in_all
        .check(EVERYBODY, now)
        .map_err(Failure::RateLimited)?;
    let outcome = async {
        let request: EnrolRequest = json(&headers, &body)?;
        Ok(app.registry.enrol(&request).await?)
    };
    let outcome: Result<_, Failure> = outcome.await;
    match outcome {
        Ok(enrolled) => {
            app.metrics.enrolled.add();
            let certificate = &enrolled.certificate;
            info!(event = "enrolled", node = %certificate.node, name = %certificate.name, serial = certificate.serial, %client);
            Ok(Json(enrolled.reply(app.registry.dir(), app.registry.now())))
        }
        Err(failure) => {
            if !matches!(failure, Failure::Internal(_)) {
                app.failed_enrolments.charge(client, now);
                app.failed_enrolments_in_all.charge(EVERYBODY, now);
            }
            if let Failure::Refused(refusal) = &failure {
                app.metrics.enrolments_refused.add();
                info!(event = "enrolment-refused", code = refusal.code(), %client);
            }
            Err(failure)
        }
    }
}

async fn renew(
    State(app): State<Arc<App>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<EnrolReply> {
    let node = authenticate(&app, &method, &uri, &headers, &body)?;
    let enrolled = app.registry.renew(&node).await?;
    app.metrics.renewed.add();
    info!(event = "renewed", %node, serial = enrolled.certificate.serial, not_after = %enrolled.certificate.not_after);
    Ok(Json(enrolled.reply(app.registry.dir(), app.registry.now())))
}

async fn publish(
    State(app): State<Arc<App>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Failure> {
    let node = authenticate(&app, &method, &uri, &headers, &body)?;
    let request: PublishRequest = json(&headers, &body)?;
    app.registry.publish(&node, &request).await?;
    app.metrics.published.add();
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct DirectoryQuery {
    limit: Option<u64>,
}

async fn directory(
    State(app): State<Arc<App>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<DirectoryReply> {
    let node = authenticate(&app, &method, &uri, &headers, &body)?;
    let limit = query::<DirectoryQuery>(&uri)?
        .limit
        .unwrap_or(DEFAULT_SAMPLE)
        .min(MAX_SAMPLE);
    app.registry.check(&node).await?;
    let bundles = app.registry.directory(&node, limit).await?;
    let revocations = app.list.borrow().encoded.to_string();
    let bundles = bundles.iter().map(|bundle| to_base64url(bundle)).collect();
    Ok(Json(DirectoryReply {
        bundles,
        revocations,
        unix_time: app.registry.now().0,
    }))
}

#[derive(Deserialize)]
struct RevocationQuery {
    after: Option<u64>,
    wait: Option<u64>,
}

async fn revocations(
    State(app): State<Arc<App>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<RevocationReply> {
    let node = authenticate(&app, &method, &uri, &headers, &body)?;
    let query: RevocationQuery = query(&uri)?;
    app.registry.check(&node).await?;
    let (mut list, mut stopping) = (app.list.clone(), app.stopping.clone());
    if let Some(after) = query.after {
        let wait = Duration::from_secs(query.wait.unwrap_or(0).min(MAX_WAIT));
        tokio::select! {
            _ = timeout(wait, list.wait_for(|list| list.number > after)) => {}
            () = stopped(&mut stopping) => {}
        }
    }
    let CurrentList { number, encoded } = list.borrow().clone();
    Ok(Json(RevocationReply {
        revocations: encoded.to_string(),
        number,
        unix_time: app.registry.now().0,
    }))
}

#[derive(Serialize)]
struct HealthReply {
    status: &'static str,
    version: &'static str,
    unix_time: u64,
    metrics: MetricsSnapshot,
}

/// 200 while requests can be served, 503 while the database is gone: what a load balancer wants to know.
async fn health(State(app): State<Arc<App>>) -> (StatusCode, Json<HealthReply>) {
    let (code, status) = if app.metrics.is_database_down() {
        (StatusCode::SERVICE_UNAVAILABLE, "database-down")
    } else {
        (StatusCode::OK, "ok")
    };
    let metrics = app.metrics.snapshot();
    let reply = HealthReply {
        status,
        version: env!("CARGO_PKG_VERSION"),
        unix_time: app.registry.now().0,
        metrics,
    };
    (code, Json(reply))
}

// What handlers share.

/// The node that signed the request. Whether it is a member is the registry's to say.
fn authenticate(
    app: &App,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<NodeId, Failure> {
    let failure = |reason: String| Failure::Refused(Refusal::Unauthenticated(reason));
    let header = headers
        .get(AUTH_HEADER)
        .ok_or_else(|| failure(format!("the `{AUTH_HEADER}` header is missing")))?;
    let header = header
        .to_str()
        .map_err(|_| failure(format!("the `{AUTH_HEADER}` header is not text")))?;
    let token =
        AuthToken::decode(header).map_err(|error| failure(format!("the `{AUTH_HEADER}` header: {error}")))?;
    let purpose = format!("{method} {}", uri.path());
    let network = app.registry.dir().network().id();
    token
        .verify(&network, app.registry.now(), &purpose, body)
        .map_err(|error| failure(error.to_string()))?;
    Ok(token.node)
}

fn json<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Failure> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    if !kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .eq_ignore_ascii_case("application/json")
    {
        return Err(Failure::MediaType);
    }
    // Positions only: the text of serde's errors can hold parts of the body.
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Refusal::Malformed(format!(
            "the body is not the JSON of this request (line {line}, column {column})"
        ))
        .into()
    })
}

fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Failure> {
    let query = Query::<T>::try_from_uri(uri);
    query
        .map(|Query(query)| query)
        .map_err(|_| Refusal::Malformed("the query is malformed".into()).into())
}

/// Anything but success.
enum Failure {
    Refused(Refusal),
    RateLimited(Duration),
    TooLarge(usize),
    MediaType,
    Slow,
    NotFound,
    Method,
    Internal(Error),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refusal) => Self::Refused(refusal),
            error => Self::Internal(error),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut retry_after = None;
        let (status, code, message) = match self {
            Self::Refused(refusal) => (refusal_status(&refusal), refusal.code(), refusal.to_string()),
            Self::RateLimited(wait) => {
                // Rounded up, so that the client does not come a moment too early.
                retry_after = Some(wait.as_secs() + 1);
                (
                    StatusCode::TOO_MANY_REQUESTS,
                    "rate-limited",
                    "too many requests: try again later".to_owned(),
                )
            }
            Self::TooLarge(limit) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                format!("a request's body has at most {limit} octets"),
            ),
            Self::MediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "malformed",
                "the body must be JSON, with `content-type: application/json`".to_owned(),
            ),
            Self::Slow => (
                StatusCode::REQUEST_TIMEOUT,
                "malformed",
                "the body did not come in time".to_owned(),
            ),
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "malformed",
                "no such resource: this is an Osier registry".to_owned(),
            ),
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "malformed",
                "wrong method".to_owned(),
            ),
            Self::Internal(error) => {
                warn!(event = "failure", %error, "a request could not be served");
                retry_after = Some(5);
                let message = "the registry has a problem of its own: try again later".to_owned();
                (StatusCode::SERVICE_UNAVAILABLE, "internal", message)
            }
        };
        let mut response = (status, Json(ErrorReply::new(code, message))).into_response();
        if let Some(seconds) = retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

fn refusal_status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::TokenUnknown | Refusal::TokenUsed | Refusal::TokenExpired(_) => StatusCode::FORBIDDEN,
        Refusal::Revoked | Refusal::NotAMember | Refusal::ExpiredTooLong(_) => StatusCode::FORBIDDEN,
        Refusal::NameTaken(_) | Refusal::StaleRecord => StatusCode::CONFLICT,
        Refusal::NetworkFull => StatusCode::INSUFFICIENT_STORAGE,
        Refusal::Malformed(_) => StatusCode::BAD_REQUEST,
        Refusal::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
    }
}
