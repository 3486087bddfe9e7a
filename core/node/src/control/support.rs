//! Requests of somebody who looks for what is wrong.

use super::{
    server::{Context, Ctx, answer, verify},
    service::{current, usage_of},
    types::Diagnostics,
};
use crate::{bundle::Bundle, control_loop::Ask, diagnosis, logging, settings, state::StateDir, usage::DAYS};
use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Lines of the log in a bundle.
const LOG_LINES: usize = 500;

pub(super) async fn diagnostics(State(context): Ctx) -> Response {
    Json(diagnostics_of(&context).await).into_response()
}

pub(crate) async fn diagnostics_of(context: &Context) -> Diagnostics {
    verify(context).await;
    let service = current(context).await;
    let status = answer(context, Ask::Status).await.ok();
    let disk = match context.dir.upgrade() {
        Some(dir) => disk_trouble(dir).await,
        None => None,
    };
    diagnosis::diagnose(&service, status.as_ref(), disk.as_deref())
}

/// Why the state directory cannot be written.
async fn disk_trouble(dir: Arc<StateDir>) -> Option<String> {
    match tokio::task::spawn_blocking(move || dir.probe()).await {
        Ok(result) => result.err().map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    }
}

pub(super) async fn bundle(State(context): Ctx) -> Response {
    (
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
        bundle_of(&context).await,
    )
        .into_response()
}

pub(crate) async fn bundle_of(context: &Context) -> String {
    let mut bundle = Bundle::new();
    bundle.json("service", &current(context).await);
    bundle.diagnostics(&diagnostics_of(context).await);
    tell(&mut bundle, context, "status", Ask::Status).await;
    tell(&mut bundle, context, "peers", Ask::Peers).await;
    tell(&mut bundle, context, "sessions", Ask::Sessions).await;
    tell(&mut bundle, context, "routes", Ask::Routes).await;
    tell(&mut bundle, context, "members", Ask::Members).await;
    if let Ok(usage) = usage_of(context, DAYS).await {
        bundle.json("usage", &usage);
    }
    if let Some(dir) = context.dir.upgrade() {
        let settings = std::fs::read_to_string(dir.path().join(settings::FILE_NAME));
        bundle.section(
            "settings.toml",
            &settings.unwrap_or_else(|error| error.to_string()),
        );
    }
    let (lines, _) = logging::ring().follow(LOG_LINES);
    let log: String = lines
        .iter()
        .map(|l| format!("{} {} {} {}\n", l.unix_ms, l.level, l.target, l.message))
        .collect();
    bundle.section("log", &log);
    bundle.finish()
}

/// A section with the node's answer, if there is a node.
async fn tell<T: Serialize>(
    bundle: &mut Bundle,
    context: &Context,
    title: &str,
    make: impl FnOnce(oneshot::Sender<T>) -> Ask,
) {
    if let Ok(value) = answer(context, make).await {
        bundle.json(title, &value);
    }
}
