//! The server's side of the control API.

use super::{
    ServerError,
    listener::{self, Listener},
    service,
    stage::{Order, Stage},
    support,
    types::{DownReply, ErrorReply, Event, EventLine, LogLine, ProbeRequest, TraceRequest},
};
use crate::{
    clock,
    control_loop::{Ask, ProbeAnswer},
    daemon::Ending,
    logging,
    state::StateDir,
    system::Group,
};
use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Query, State, rejection::JsonRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use std::{
    convert::Infallible,
    net::Ipv6Addr,
    path::{Path, PathBuf},
    sync::Weak,
    time::{Duration, Instant},
};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinHandle,
};

/// Requests are small.
const MAX_BODY: usize = 16 * 1024;
/// Lines of a stream that may wait for a slow reader.
const LINES: usize = 64;
/// Open requests get this long to end once the node has stopped.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long a neighbour's answer is waited for.
const ANSWER: Duration = Duration::from_millis(500);

/// What handlers need.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// What the service is now, with the node that answers.
    pub(crate) stage: watch::Receiver<Stage>,
    /// Where a service takes its orders; `None`: there is but a node.
    pub(crate) orders: Option<mpsc::Sender<Order>>,
    pub(crate) events: broadcast::Sender<EventLine>,
    /// Set when the daemon has stopped and everything is closed.
    pub(crate) ended: watch::Receiver<Ending>,
    /// Not to be kept locked by a request that goes on longer than the daemon.
    pub(crate) dir: Weak<StateDir>,
}

/// The listening server.
#[derive(Debug)]
pub(crate) struct Server {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens at `path`: a socket's, or on Windows a pipe's. A socket that a crashed daemon left is replaced: the
    /// caller holds the lock of the state directory, so nobody listens there. `group` may use it besides our own user.
    pub(crate) fn start(path: PathBuf, group: Option<&Group>, context: Context) -> Result<Self, ServerError> {
        let listener = Listener::bind(&path, group)?;
        let mut ended = context.ended.clone();
        let serve = axum::serve(listener, router(context)).with_graceful_shutdown(async move {
            // Fails when the daemon is being torn down, which ends it just as well.
            let _ = ended.wait_for(Ending::is_over).await;
        });
        let task = tokio::spawn(async move {
            if let Err(error) = serve.await {
                tracing::error!(%error, "the control API has ended");
            }
        });
        Ok(Self { path, task })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Lets the last answers go out; call it once `ended` is set.
    pub(crate) async fn finish(mut self) {
        let _ = tokio::time::timeout(LAST_WORDS, &mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        listener::remove(&self.path);
    }
}

/// The group with this name or number.
pub(crate) fn find_group(name: &str) -> Result<Group, ServerError> {
    match Group::find(name) {
        Ok(Some(group)) => Ok(group),
        Ok(None) => Err(ServerError::NoGroup(name.to_owned())),
        Err(source) => Err(ServerError::GroupLookup {
            name: name.to_owned(),
            source,
        }),
    }
}

fn router(context: Context) -> Router {
    Router::new()
        .route("/v1/service", get(service::service))
        .route("/v1/join", post(service::join))
        .route("/v1/network", post(service::create_network))
        .route("/v1/invite", post(service::invite))
        .route("/v1/leave", post(service::leave))
        .route("/v1/usage", get(service::usage))
        .route("/v1/diagnostics", get(support::diagnostics))
        .route("/v1/bundle", get(support::bundle))
        .route("/v1/on", post(service::on))
        .route("/v1/off", post(service::off))
        .route("/v1/status", get(status))
        .route("/v1/peers", get(|c: Ctx| ask(c, Ask::Peers)))
        .route("/v1/sessions", get(|c: Ctx| ask(c, Ask::Sessions)))
        .route("/v1/routes", get(|c: Ctx| ask(c, Ask::Routes)))
        .route("/v1/members", get(|c: Ctx| ask(c, Ask::Members)))
        .route("/v1/topology", get(|c: Ctx| ask(c, Ask::Topology)))
        .route("/v1/logs", get(logs))
        .route("/v1/events", get(events))
        .route("/v1/probe", post(probe))
        .route("/v1/trace", post(trace))
        .route("/v1/reload", post(reload))
        .route("/v1/down", post(down))
        .fallback(|| async { refuse(StatusCode::NOT_FOUND, "not-found", "there is no such request") })
        .method_not_allowed_fallback(|| async {
            refuse(
                StatusCode::METHOD_NOT_ALLOWED,
                "bad-request",
                "that request has another method",
            )
        })
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY))
        .with_state(context)
}

pub(super) type Ctx = State<Context>;

/// Why a request is not carried out.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    pub(crate) reply: ErrorReply,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, reply: ErrorReply) -> Self {
        Self { status, reply }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self.reply)).into_response()
    }
}

/// Asks the control task and gives its answer.
async fn ask<T: Serialize>(
    State(context): Ctx,
    make: impl FnOnce(oneshot::Sender<T>) -> Ask,
) -> Result<Json<T>, Refusal> {
    answer(&context, make).await.map(Json)
}

/// The node's answer, or why there is none.
pub(crate) async fn answer<T>(
    context: &Context,
    make: impl FnOnce(oneshot::Sender<T>) -> Ask,
) -> Result<T, Refusal> {
    if context.ended.borrow().is_over() {
        return Err(stopping());
    }
    let stage = context.stage.borrow().clone();
    let asks = stage.node.as_ref().ok_or_else(|| no_node(&stage))?;
    let (reply, answer) = oneshot::channel();
    asks.send(make(reply)).await.map_err(|_| stopping())?;
    answer.await.map_err(|_| stopping())
}

/// For requests about a node that is not there.
fn no_node(stage: &Stage) -> Refusal {
    Refusal::new(StatusCode::CONFLICT, stage.refusal())
}

/// With a neighbour's answer to a question of now, when the last one is old.
async fn status(State(context): Ctx) -> Result<Json<super::types::Status>, Refusal> {
    verify(&context).await;
    ask(State(context), Ask::Status).await
}

pub(crate) async fn verify(context: &Context) {
    let _ = tokio::time::timeout(ANSWER, answer(context, Ask::Verify)).await;
}

async fn reload(State(context): Ctx) -> Response {
    let without_node = context.stage.borrow().node.is_none();
    let result = match &context.orders {
        Some(orders) if without_node => service::order(orders, Order::Reload).await,
        _ => answer(&context, Ask::Reload).await,
    };
    match result {
        Ok(Ok(reply)) => Json(reply).into_response(),
        Ok(Err(error)) => (StatusCode::UNPROCESSABLE_ENTITY, Json(error)).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn down(State(mut context): Ctx) -> Response {
    let began = Instant::now();
    // When it has already stopped, the answer below is the right one too.
    match &context.orders {
        Some(orders) => drop(orders.send(Order::Down).await),
        None => {
            let node = context.stage.borrow().node.clone();
            if let Some(asks) = node {
                let _ = asks.send(Ask::Stop).await;
            }
        }
    }
    let _ = context.ended.wait_for(Ending::is_over).await;
    Json(DownReply {
        elapsed_ms: began.elapsed().as_millis() as u64,
    })
    .into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogQuery {
    #[serde(default = "default_limit")]
    limit: usize,
    #[serde(default)]
    follow: bool,
}

fn default_limit() -> usize {
    200
}

async fn logs(
    State(context): Ctx,
    query: Result<Query<LogQuery>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let Query(query) = match query {
        Ok(query) => query,
        Err(error) => return bad_request(error.body_text()).into_response(),
    };
    let (backlog, mut following) = logging::ring().follow(query.limit);
    stream(context.ended.clone(), move |lines| async move {
        for line in backlog {
            lines.put(&line).await?;
        }
        if !query.follow {
            return Some(());
        }
        loop {
            match following.recv().await {
                Ok(line) => lines.put(&line).await?,
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    let note = LogLine {
                        unix_ms: clock::unix_ms(),
                        level: "WARN".into(),
                        target: "osier_core::control".into(),
                        message: format!("this reader was too slow: {missed} lines are missing here"),
                    };
                    lines.put(&note).await?;
                }
                Err(broadcast::error::RecvError::Closed) => return Some(()),
            }
        }
    })
}

async fn events(State(context): Ctx) -> Response {
    let mut events = context.events.subscribe();
    let member = context.stage.borrow().member.clone();
    let hello = Event::Hello {
        name: member.as_ref().map(|m| m.name.clone()),
        address: member.map(|m| m.address),
    };
    stream(context.ended.clone(), move |lines| async move {
        lines
            .put(&EventLine {
                unix_ms: clock::unix_ms(),
                event: hello,
            })
            .await?;
        loop {
            let line = match events.recv().await {
                Ok(line) => line,
                Err(broadcast::error::RecvError::Lagged(count)) => EventLine {
                    unix_ms: clock::unix_ms(),
                    event: Event::Missed { count },
                },
                Err(broadcast::error::RecvError::Closed) => return Some(()),
            };
            let last = matches!(line.event, Event::Stopped);
            lines.put(&line).await?;
            if last {
                return Some(());
            }
        }
    })
}

async fn probe(State(context): Ctx, request: Result<Json<ProbeRequest>, JsonRejection>) -> Response {
    let request = match request {
        Ok(Json(request)) => request,
        Err(error) => return bad_request(error.body_text()).into_response(),
    };
    if let Err(reason) = super::probe::check_probe(&request) {
        return bad_request(reason).into_response();
    }
    let target = match resolve(&context, &request.target).await {
        Ok(target) => target,
        Err(refusal) => return refusal.into_response(),
    };
    stream(context.ended.clone(), move |lines| {
        super::probe::probe(context, request, target, lines)
    })
}

async fn trace(State(context): Ctx, request: Result<Json<TraceRequest>, JsonRejection>) -> Response {
    let request = match request {
        Ok(Json(request)) => request,
        Err(error) => return bad_request(error.body_text()).into_response(),
    };
    if let Err(reason) = super::probe::check_trace(&request) {
        return bad_request(reason).into_response();
    }
    let target = match resolve(&context, &request.target).await {
        Ok(target) => target,
        Err(refusal) => return refusal.into_response(),
    };
    stream(context.ended.clone(), move |lines| {
        super::probe::trace(context, request, target, lines)
    })
}

pub(crate) async fn resolve(context: &Context, target: &str) -> Result<crate::control_loop::Target, Refusal> {
    answer(context, |reply| Ask::Resolve(target.to_owned(), reply))
        .await?
        .map_err(|error| Refusal::new(StatusCode::NOT_FOUND, error))
}

impl Context {
    /// One echo; `None` when it is lost.
    pub(crate) async fn echo(
        &self,
        target: Ipv6Addr,
        hop_limit: u8,
        payload: usize,
        limit: Duration,
    ) -> Option<ProbeAnswer> {
        let ask = answer(self, |answer| Ask::Probe {
            target,
            hop_limit,
            payload,
            answer,
        });
        tokio::time::timeout(limit, ask).await.ok()?.ok()
    }
}

/// The writing end of a stream of lines; `None` from [`Lines::put`] means that the reader has gone.
#[derive(Clone, Debug)]
pub(super) struct Lines(mpsc::Sender<Result<Bytes, Infallible>>);

impl Lines {
    pub(super) async fn put(&self, line: &impl Serialize) -> Option<()> {
        let mut bytes = serde_json::to_vec(line).ok()?;
        bytes.push(b'\n');
        self.0.send(Ok(bytes.into())).await.ok()
    }
}

/// Answers with the lines that `write` puts, until it ends, the reader goes away or the node stops.
pub(super) fn stream<F, W>(mut ended: watch::Receiver<Ending>, write: W) -> Response
where
    W: FnOnce(Lines) -> F,
    F: Future<Output = Option<()>> + Send + 'static,
{
    let (sender, mut lines) = mpsc::channel(LINES);
    let gone = sender.clone();
    let writing = write(Lines(sender));
    tokio::spawn(async move {
        tokio::select! {
            _ = writing => {}
            () = gone.closed() => {}
            _ = ended.wait_for(Ending::is_over) => {}
        }
    });
    let body = futures_util::stream::poll_fn(move |context| lines.poll_recv(context));
    (
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(body),
    )
        .into_response()
}

pub(super) fn stopping() -> Refusal {
    refuse(
        StatusCode::SERVICE_UNAVAILABLE,
        "stopping",
        "the node is stopping",
    )
}

pub(super) fn bad_request(message: impl Into<String>) -> Refusal {
    refuse(StatusCode::BAD_REQUEST, "bad-request", message)
}

pub(super) fn refuse(status: StatusCode, code: &str, message: impl Into<String>) -> Refusal {
    Refusal::new(status, ErrorReply::new(code, message))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{control::client::Client, control::client::ClientError, testing::TempDir};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A server without a control task.
    struct Lonely {
        asks: mpsc::Receiver<Ask>,
        path: PathBuf,
        _temp: TempDir,
        _server: Server,
        end: watch::Sender<Ending>,
        events: broadcast::Sender<EventLine>,
    }

    fn lonely() -> Lonely {
        let temp = TempDir::new("server");
        let path = crate::control::default_place(temp.path());
        let (asks, questions) = mpsc::channel(1);
        let (events, _) = broadcast::channel(4);
        let (end, ended) = watch::channel(Ending::NotYet);
        let member = serde_json::from_value(serde_json::json!({
            "name": "alice", "address": "fd00::1", "prefixes": [],
            "network": {"name": "home", "id": "00", "prefix": "fd00::/48"},
            "certificate": {"serial": 1, "not_before": 0, "not_after": 1, "seconds_left": 0},
        }));
        let stage = Stage::plain(asks, member.unwrap());
        let context = Context {
            stage: watch::channel(stage).1,
            orders: None,
            events: events.clone(),
            ended,
            dir: Weak::new(),
        };
        let server = Server::start(path.clone(), None, context).unwrap();
        Lonely {
            asks: questions,
            path,
            _temp: temp,
            _server: server,
            end,
            events,
        }
    }

    async fn raw(path: &Path, request: &str) -> String {
        let mut stream = osier_control::connect(path).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn post(path: &str, body: &str) -> String {
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        )
    }

    #[tokio::test]
    async fn nonsense_gets_an_error_that_says_so() {
        let mut server = lonely();
        server.asks.close();
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        for (request, status, code) in [
            (get("/v2/nothing"), "404", "not-found"),
            (get("/v1/down"), "405", "bad-request"),
            (get("/v1/logs?limit=many"), "400", "bad-request"),
            (get("/v1/usage?days=0"), "400", "bad-request"),
            (get("/v1/usage?days=401"), "400", "bad-request"),
            (post("/v1/probe", "{"), "400", "bad-request"),
            (
                post("/v1/probe", r#"{"target":"x","unknown":1}"#),
                "400",
                "bad-request",
            ),
            (
                post("/v1/probe", r#"{"target":"x","interval_ms":1}"#),
                "400",
                "interval_ms",
            ),
            (post("/v1/trace", r#"{"target":"x","tries":0}"#), "400", "tries"),
            (
                post("/v1/probe", &format!(r#"{{"target":"{}"}}"#, "x".repeat(20_000))),
                "400",
                "bad-request",
            ),
            (get("/v1/status"), "503", "stopping"),
            (post("/v1/off", "null"), "409", "not-a-service"),
            (post("/v1/join", r#"{"invite":"x"}"#), "409", "not-a-service"),
        ] {
            let answer = raw(&server.path, &request).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}")),
                "{request}: {answer}"
            );
            assert!(answer.contains(code), "{request}: {answer}");
        }
    }

    #[test]
    fn unknown_group_is_named() {
        assert!(
            matches!(find_group("no-such-group"), Err(ServerError::NoGroup(name)) if name == "no-such-group")
        );
    }

    #[tokio::test]
    async fn slow_reader_of_events_is_told_what_it_missed() {
        let server = lonely();
        let mut lines = Client::at(&server.path).events().await.unwrap();
        assert!(matches!(
            lines.next().await.unwrap().unwrap().event,
            Event::Hello { .. }
        ));
        // Without a point at which the server could run: more than its channel holds.
        for n in 0..100 {
            let event = Event::Revoked { node: n.to_string() };
            let _ = server.events.send(EventLine { unix_ms: 0, event });
        }
        assert!(matches!(lines.next().await.unwrap().unwrap().event, Event::Missed { count } if count > 0));
    }

    #[tokio::test]
    async fn streams_and_down_end_when_the_node_has_stopped() {
        let mut server = lonely();
        let client = Client::at(&server.path);
        let mut events = client.events().await.unwrap();
        events.next().await.unwrap().unwrap();
        let down = tokio::spawn(async move { client.down().await });
        assert!(matches!(server.asks.recv().await, Some(Ask::Stop)));
        server.end.send(Ending::Done).unwrap();
        down.await.unwrap().unwrap();
        assert!(events.next().await.is_none());
    }

    #[tokio::test]
    async fn missing_daemon_is_explained() {
        let error = Client::at("/nonexistent/control.sock")
            .status()
            .await
            .unwrap_err();
        assert!(matches!(error, ClientError::NotRunning { .. }));
        assert!(error.to_string().contains("osier up"));
    }
}
