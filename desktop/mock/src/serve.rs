//! The socket, and the answers of the scenario that plays.

use crate::scenario::{Library, Scenario, ScenarioError, fill};
use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::State,
    http::{Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde_json::{Value, json};
use std::{
    convert::Infallible, fs, io, os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc, time::Duration,
};
use tokio::{
    net::UnixListener,
    sync::{mpsc, watch},
    task::JoinHandle,
};

/// Another user than whoever runs this.
const NOBODY: u32 = 65534;

#[derive(Debug, thiserror::Error)]
pub(crate) enum PlayError {
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    #[error("cannot listen on {}: {source}", path.display())]
    Listen { path: PathBuf, source: io::Error },
}

/// Plays one scenario at a time.
#[derive(Debug)]
pub(crate) struct Stage {
    socket: PathBuf,
    library: Library,
    server: Option<Server>,
    /// Scenarios that answers ask for.
    cues: (mpsc::Sender<String>, mpsc::Receiver<String>),
}

#[derive(Debug)]
struct Server {
    playing: watch::Sender<Arc<Scenario>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone, Debug)]
struct Context {
    playing: watch::Receiver<Arc<Scenario>>,
    cues: mpsc::Sender<String>,
}

impl Stage {
    pub(crate) fn new(socket: PathBuf, library: Library) -> Self {
        Self {
            socket,
            library,
            server: None,
            cues: mpsc::channel(8),
        }
    }

    /// From now on `name` plays. Streams of the scenario before end.
    pub(crate) fn play(&mut self, name: &str) -> Result<(), PlayError> {
        let scenario = Arc::new(self.library.scenario(name)?);
        if !scenario.listening {
            self.server = None;
            let _ = fs::remove_file(&self.socket);
            return Ok(());
        }
        if let Some(server) = &self.server
            && server.playing.borrow().locked == scenario.locked
        {
            server.playing.send_replace(scenario);
            return Ok(());
        }
        let locked = scenario.locked;
        self.server = Some(self.listen(scenario)?);
        if locked {
            fs::set_permissions(&self.socket, fs::Permissions::from_mode(0o000))
                .map_err(|e| self.failed(e))?;
            // Root may open its own socket all the same, and without CAP_DAC_OVERRIDE not another's. Only root can
            // give it away, so nobody else needs that to work.
            let _ = std::os::unix::fs::chown(&self.socket, Some(NOBODY), None);
        }
        Ok(())
    }

    fn failed(&self, source: io::Error) -> PlayError {
        PlayError::Listen {
            path: self.socket.clone(),
            source,
        }
    }

    /// The scenario that an answer asked for.
    pub(crate) async fn cue(&mut self) -> String {
        match self.cues.1.recv().await {
            Some(name) => name,
            // We hold a sender ourselves.
            None => std::future::pending().await,
        }
    }

    fn listen(&self, scenario: Arc<Scenario>) -> Result<Server, PlayError> {
        let _ = fs::remove_file(&self.socket);
        let listener = UnixListener::bind(&self.socket).map_err(|e| self.failed(e))?;
        let (playing, receiver) = watch::channel(scenario);
        let router = Router::new().fallback(answer).with_state(Context {
            playing: receiver,
            cues: self.cues.0.clone(),
        });
        let task = tokio::spawn(async move {
            // Ends with the task; it has no other end.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Server { playing, task })
    }
}

/// Answers the request that `method` and the path of `uri` name.
async fn answer(State(context): State<Context>, method: Method, uri: Uri) -> Response {
    let mut playing = context.playing.clone();
    let scenario = playing.borrow_and_update().clone();
    let key = format!("{method} {}", uri.path());
    let Some(answer) = scenario.answers.get(&key) else {
        let body = json!({ "code": "not-found", "message": format!("the scenario has no answer to {key}"), "fix": null });
        return (StatusCode::NOT_FOUND, Json(body)).into_response();
    };
    if answer.get("$hang").is_some() {
        // Until another scenario plays, or there is none any more.
        let _ = playing.changed().await;
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if let Some(lines) = answer.get("$lines").and_then(Value::as_array) {
        return stream_of(answer, lines, playing, context.cues);
    }
    if let Some(next) = answer.get("$then").and_then(Value::as_str) {
        tokio::time::sleep(milliseconds(answer, "after_ms")).await;
        let _ = context.cues.send(next.to_owned()).await;
        return body_of(answer.get("body").unwrap_or(&Value::Null));
    }
    let status = answer.get("$status").and_then(Value::as_u64);
    match status.and_then(|status| StatusCode::from_u16(status as u16).ok()) {
        Some(status) => (status, body_of(answer.get("body").unwrap_or(&Value::Null))).into_response(),
        None => body_of(answer),
    }
}

/// JSON; a string is plain text.
fn body_of(value: &Value) -> Response {
    match fill(value) {
        Value::String(text) => text.into_response(),
        value => Json(value).into_response(),
    }
}

fn milliseconds(answer: &Value, key: &str) -> Duration {
    Duration::from_millis(answer.get(key).and_then(Value::as_u64).unwrap_or(0))
}

/// Sends the lines, `interval_ms` apart. `repeat` begins anew after the last, with the second; numbers named
/// `sequence` count on. A line `{"$then": NAME}` plays another scenario.
fn stream_of(
    answer: &Value,
    lines: &[Value],
    playing: watch::Receiver<Arc<Scenario>>,
    cues: mpsc::Sender<String>,
) -> Response {
    let lines: Vec<Value> = lines.iter().map(fill).collect();
    let interval = milliseconds(answer, "interval_ms");
    let repeat = answer.get("repeat").and_then(Value::as_bool).unwrap_or(false);
    let chunks = stream::unfold(
        (0_usize, lines, playing, cues),
        move |(at, lines, mut playing, cues)| async move {
            let repeated = if repeat && at > 0 {
                1 + (at - 1) % lines.len().saturating_sub(1).max(1)
            } else {
                at
            };
            let mut line = lines.get(repeated)?.clone();
            if at > 0 {
                tokio::select! {
                    () = tokio::time::sleep(interval) => {}
                    _ = playing.changed() => return None,
                }
            }
            let text = match line.get("$then").and_then(Value::as_str) {
                Some(next) => {
                    let _ = cues.send(next.to_owned()).await;
                    String::new()
                }
                None => {
                    if let Some(sequence) = line.get_mut("sequence") {
                        *sequence = at.saturating_sub(1).into();
                    }
                    format!("{line}\n")
                }
            };
            Some((
                Ok::<_, Infallible>(Bytes::from(text)),
                (at + 1, lines, playing, cues),
            ))
        },
    );
    (
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(chunks),
    )
        .into_response()
}
