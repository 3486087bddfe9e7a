//! A small client of the control API, for the command line and other front ends.
//!
//! Every call opens its own connection: a front end needs no state, and a daemon that restarts between two
//! calls is not noticed.

use crate::{connect, types::*};
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, Response, body::Incoming, header};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    io,
    marker::PhantomData,
    path::{Path, PathBuf},
    time::Duration,
};

/// No answer that is not a stream takes longer than this (`down` has its own limit).
const TIMEOUT: Duration = Duration::from_secs(10);
/// A planned stop is bounded by the daemon; this is well above.
const DOWN_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest answer and longest line of a stream that we take from a daemon.
const MAX_ANSWER: usize = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no Osier daemon answers at {}: start one with `osier up`", socket.display())]
    NotRunning { socket: PathBuf },
    #[error("no permission to talk to the daemon at {}: use the user that runs it, or sudo", socket.display())]
    PermissionDenied { socket: PathBuf },
    /// The daemon understood and said no.
    #[error("{message}")]
    Refused {
        status: u16,
        code: String,
        message: String,
        fix: Option<String>,
    },
    #[error("the daemon did not answer in {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("the connection to the daemon broke: {0}")]
    Broken(String),
    #[error("the daemon's answer makes no sense ({0}): is it of another version?")]
    Nonsense(String),
}

/// Where a daemon's socket is (on Windows: its pipe). Cheap to make and to clone; connects on each call.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// The daemon whose state directory is `state_dir`.
    pub fn in_state_dir(state_dir: &Path) -> Self {
        Self::at(crate::default_place(state_dir))
    }

    /// The daemon that listens on `socket`.
    pub fn at(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
        }
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get("/v1/status").await
    }

    pub async fn peers(&self) -> Result<Vec<Peer>, ClientError> {
        self.get("/v1/peers").await
    }

    pub async fn sessions(&self) -> Result<Vec<Session>, ClientError> {
        self.get("/v1/sessions").await
    }

    pub async fn routes(&self) -> Result<Vec<Route>, ClientError> {
        self.get("/v1/routes").await
    }

    pub async fn members(&self) -> Result<Vec<Member>, ClientError> {
        self.get("/v1/members").await
    }

    pub async fn topology(&self) -> Result<Topology, ClientError> {
        self.get("/v1/topology").await
    }

    /// Planned stop; returns when the daemon has stopped.
    pub async fn down(&self) -> Result<DownReply, ClientError> {
        self.call(Method::POST, "/v1/down", &(), DOWN_TIMEOUT).await
    }

    pub async fn reload(&self) -> Result<ReloadReply, ClientError> {
        self.call(Method::POST, "/v1/reload", &(), TIMEOUT).await
    }

    /// The service around the node: answered in every state.
    pub async fn service(&self) -> Result<Service, ClientError> {
        self.get("/v1/service").await
    }

    /// Has a service join a network. Dropping the stream does not break the join off.
    pub async fn join(&self, request: &JoinRequest) -> Result<Lines<JoinLine>, ClientError> {
        self.stream(Method::POST, "/v1/join", Some(request)).await
    }

    /// Has a service make a network, run its registry and join it.
    pub async fn create_network(&self, request: &NetworkRequest) -> Result<Lines<JoinLine>, ClientError> {
        self.stream(Method::POST, "/v1/network", Some(request)).await
    }

    /// An invite to the network that the service hosts.
    pub async fn invite(&self, request: &InviteRequest) -> Result<InviteReply, ClientError> {
        self.call(Method::POST, "/v1/invite", request, TIMEOUT).await
    }

    /// Has a service leave its network: the keys are gone afterwards.
    pub async fn leave(&self) -> Result<Service, ClientError> {
        self.call(Method::POST, "/v1/leave", &(), DOWN_TIMEOUT).await
    }

    /// Switches a service's node on; returns when it runs, or has failed to.
    pub async fn on(&self) -> Result<Service, ClientError> {
        self.call(Method::POST, "/v1/on", &(), DOWN_TIMEOUT).await
    }

    /// Switches a service's node off; returns when it has stopped.
    pub async fn off(&self) -> Result<Service, ClientError> {
        self.call(Method::POST, "/v1/off", &(), DOWN_TIMEOUT).await
    }

    /// Octets of the newest `days` days.
    pub async fn usage(&self, days: usize) -> Result<Usage, ClientError> {
        self.get(&format!("/v1/usage?days={days}")).await
    }

    /// What was checked, what was seen, and what to do.
    pub async fn diagnostics(&self) -> Result<Diagnostics, ClientError> {
        self.get("/v1/diagnostics").await
    }

    /// Text for whoever helps, without secrets.
    pub async fn bundle(&self) -> Result<String, ClientError> {
        let answer = async { collect(self.send(Method::GET, "/v1/bundle", None::<&()>).await?).await };
        let bytes = tokio::time::timeout(TIMEOUT, answer)
            .await
            .map_err(|_| ClientError::Timeout(TIMEOUT))??;
        String::from_utf8(bytes.to_vec()).map_err(|e| ClientError::Nonsense(e.to_string()))
    }

    /// The newest `limit` log lines; with `follow`, all further ones too.
    pub async fn logs(&self, limit: usize, follow: bool) -> Result<Lines<LogLine>, ClientError> {
        self.stream(
            Method::GET,
            &format!("/v1/logs?limit={limit}&follow={follow}"),
            None::<&()>,
        )
        .await
    }

    /// Everything that happens from now on; the first line is [`Event::Hello`].
    pub async fn events(&self) -> Result<Lines<EventLine>, ClientError> {
        self.stream(Method::GET, "/v1/events", None::<&()>).await
    }

    /// Dropping the stream ends the probing.
    pub async fn probe(&self, request: &ProbeRequest) -> Result<Lines<ProbeLine>, ClientError> {
        self.stream(Method::POST, "/v1/probe", Some(request)).await
    }

    pub async fn trace(&self, request: &TraceRequest) -> Result<Lines<TraceLine>, ClientError> {
        self.stream(Method::POST, "/v1/trace", Some(request)).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let answer = async { read_all(self.send(Method::GET, path, None::<&()>).await?).await };
        tokio::time::timeout(TIMEOUT, answer)
            .await
            .map_err(|_| ClientError::Timeout(TIMEOUT))?
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
        limit: Duration,
    ) -> Result<T, ClientError> {
        let answer = async { read_all(self.send(method, path, Some(body)).await?).await };
        tokio::time::timeout(limit, answer)
            .await
            .map_err(|_| ClientError::Timeout(limit))?
    }

    async fn stream<T>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Lines<T>, ClientError> {
        let response = tokio::time::timeout(TIMEOUT, self.send(method, path, body))
            .await
            .map_err(|_| ClientError::Timeout(TIMEOUT))??;
        Ok(Lines {
            body: response.into_body(),
            buffer: BytesMut::new(),
            searched: 0,
            ended: false,
            kind: PhantomData,
        })
    }

    /// Connects, sends, and reads the head of the answer; an error status becomes [`ClientError::Refused`].
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = connect(&self.socket).await.map_err(|e| self.connect_error(&e))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        // Drives the connection until the answer has been read or dropped.
        tokio::spawn(connection);
        let body = match body {
            Some(body) => serde_json::to_vec(body).map_err(|e| ClientError::Nonsense(e.to_string()))?,
            None => Vec::new(),
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "osier")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| ClientError::Nonsense(e.to_string()))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = collect(response).await?;
        Err(match serde_json::from_slice::<ErrorReply>(&body) {
            Ok(error) => ClientError::Refused {
                status,
                code: error.code,
                message: error.message,
                fix: error.fix,
            },
            Err(_) => ClientError::Nonsense(format!("status {status}")),
        })
    }

    fn connect_error(&self, error: &io::Error) -> ClientError {
        let socket = self.socket.clone();
        match error.kind() {
            io::ErrorKind::PermissionDenied => ClientError::PermissionDenied { socket },
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NotRunning { socket },
            _ => ClientError::Broken(error.to_string()),
        }
    }
}

/// A stream of newline-delimited JSON.
#[derive(Debug)]
pub struct Lines<T> {
    body: Incoming,
    buffer: BytesMut,
    /// Octets at the start of `buffer` known to hold no newline.
    searched: usize,
    ended: bool,
    kind: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Lines<T> {
    /// The next line; `None` when the daemon ended the stream. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<T, ClientError>> {
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|b| *b == b'\n') {
                let line = self.buffer.split_to(self.searched + at);
                self.buffer.advance(1);
                self.searched = 0;
                return Some(parse(&line));
            }
            self.searched = self.buffer.len();
            if self.ended {
                return None;
            }
            if self.buffer.len() > MAX_ANSWER {
                self.ended = true;
                return Some(Err(ClientError::Nonsense("an endless line".into())));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => {
                    self.ended = true;
                    return Some(Err(broken(error)));
                }
                None => self.ended = true,
            }
        }
    }
}

async fn read_all<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T, ClientError> {
    parse(&collect(response).await?)
}

async fn collect(response: Response<Incoming>) -> Result<Bytes, ClientError> {
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    Ok(body.map_err(|e| ClientError::Broken(e.to_string()))?.to_bytes())
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(bytes).map_err(|e| ClientError::Nonsense(e.to_string()))
}

fn broken(error: hyper::Error) -> ClientError {
    ClientError::Broken(error.to_string())
}
