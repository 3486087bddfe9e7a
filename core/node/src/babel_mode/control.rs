//! The control socket: HTTP and JSON, like the node's (`GET /v1/babel`).

use super::{Error, Report};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustix::fs::Mode as FileMode;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Where the report is.
const RESOURCE: &str = "/v1/babel";
/// Reports being made at the same time; more wait.
const QUEUE: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest report we take: about 100,000 routes.
const LONGEST_REPORT: usize = 64 << 20;

/// Somebody wants to know; the answer goes into it.
pub(super) type Request = oneshot::Sender<Report>;

/// Listens until dropped, then removes the socket's file.
#[derive(Debug)]
pub(super) struct Server {
    path: PathBuf,
    task: JoinHandle<()>,
    requests: mpsc::Receiver<Request>,
}

impl Server {
    pub(super) async fn listen(path: &Path) -> Result<Self, Error> {
        remove_stale(path).await?;
        let listen = |source| Error::Listen {
            path: path.to_owned(),
            source,
        };
        let listener = bind(path).map_err(listen)?;
        let (sender, requests) = mpsc::channel(QUEUE);
        let router = Router::new().route(RESOURCE, get(report)).with_state(sender);
        let task = tokio::spawn(async move {
            // Ends only when we abort it.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            path: path.to_owned(),
            task,
            requests,
        })
    }

    /// The next request; cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Request> {
        self.requests.recv().await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        // Somebody may have removed it already.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The file is never open to others, not even for a moment: Linux gives it the mode that the socket had when
/// it was bound.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    rustix::fs::fchmod(&socket, FileMode::RUSR | FileMode::WUSR)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(i32::try_from(QUEUE).unwrap_or(i32::MAX))?;
    UnixListener::from_std(socket.into())
}

/// Removes the socket that a crashed run left behind, and nothing else.
async fn remove_stale(path: &Path) -> Result<(), Error> {
    let listen = |source| Error::Listen {
        path: path.to_owned(),
        source,
    };
    let is_socket = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type().is_socket(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(listen(error)),
    };
    if !is_socket {
        return Err(listen(io::Error::other(
            "a file that is not a socket is in the way",
        )));
    }
    if UnixStream::connect(path).await.is_ok() {
        return Err(Error::AlreadyRunning(path.to_owned()));
    }
    std::fs::remove_file(path).map_err(listen)
}

/// A long table is written down beside the loop that routes, and not in it.
async fn report(
    State(requests): State<mpsc::Sender<Request>>,
) -> Result<Response, (StatusCode, &'static str)> {
    const STOPPING: (StatusCode, &str) = (StatusCode::SERVICE_UNAVAILABLE, "stopping");
    let (sender, answer) = oneshot::channel();
    requests.send(sender).await.map_err(|_| STOPPING)?;
    let report = answer.await.map_err(|_| STOPPING)?;
    tokio::task::spawn_blocking(move || Json(report).into_response())
        .await
        .map_err(|_| STOPPING)
}

/// Asks the server at `path`.
pub(super) async fn fetch(path: &Path) -> Result<Report, Error> {
    let bad = |reason: String| Error::BadAnswer {
        path: path.to_owned(),
        reason,
    };
    tokio::time::timeout(TIMEOUT, exchange(path))
        .await
        .unwrap_or_else(|_| Err(bad(format!("none came within {} s", TIMEOUT.as_secs()))))
}

async fn exchange(path: &Path) -> Result<Report, Error> {
    let bad = |reason: String| Error::BadAnswer {
        path: path.to_owned(),
        reason,
    };
    let stream = UnixStream::connect(path)
        .await
        .map_err(|source| Error::NotRunning {
            path: path.to_owned(),
            source,
        })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| bad(e.to_string()))?;
    let request = hyper::Request::get(RESOURCE)
        .header(hyper::header::HOST, "localhost")
        .body(Empty::<Bytes>::new())
        .map_err(|e| bad(e.to_string()))?;
    let answer = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|e| bad(e.to_string()))?;
        if response.status() != StatusCode::OK {
            return Err(bad(format!("status {}", response.status())));
        }
        let body = Limited::new(response.into_body(), LONGEST_REPORT).collect().await;
        let body = body.map_err(|e| bad(e.to_string()))?.to_bytes();
        serde_json::from_slice(&body).map_err(|e| bad(e.to_string()))
    };
    // Whatever the connection has to say shows in the answer.
    let driver = tokio::spawn(async move {
        let _ = connection.await;
    });
    let report = answer.await;
    driver.abort();
    report
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn report() -> Report {
        Report {
            router_id: "0123456789abcdef".into(),
            seqno: 7,
            announced: vec!["10.0.0.0/8".parse().unwrap()],
            interfaces: vec![],
            routes: vec![],
            held: vec![],
            neighbours: vec![],
            counters: Default::default(),
        }
    }

    fn scratch(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("osier-babel-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        directory
    }

    #[tokio::test]
    async fn a_report_arrives_and_only_the_owner_may_ask() {
        let directory = scratch("report");
        let path = directory.join("babel.sock");
        let mut server = Server::listen(&path).await.unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let asked = path.clone();
        let client = tokio::spawn(async move { fetch(&asked).await });
        server.next().await.unwrap().send(report()).unwrap();
        assert_eq!(client.await.unwrap().unwrap(), report());
        drop(server);
        assert!(!path.exists());
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[tokio::test]
    async fn a_socket_left_by_a_crash_is_taken_over_and_a_live_one_is_not() {
        let directory = scratch("stale");
        let path = directory.join("babel.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let server = Server::listen(&path).await.unwrap();
        assert!(matches!(
            Server::listen(&path).await,
            Err(Error::AlreadyRunning(_))
        ));
        drop(server);
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(Server::listen(&path).await, Err(Error::Listen { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[tokio::test]
    async fn asking_where_nobody_listens_says_so() {
        let error = fetch(Path::new("/nonexistent/babel.sock")).await.unwrap_err();
        assert!(error.to_string().contains("is `osier babel` running"), "{error}");
    }
}
