//! Requests about the service around the node.

use super::{
    server::{Context, Ctx, answer, refuse, stopping, stream},
    stage::Order,
    types::{ErrorReply, InviteRequest, JoinLine, JoinRequest, NetworkRequest, Service, ServiceState, Usage},
};
use crate::{clock, control_loop::Ask, membership::load_usage, usage::DAYS};
use axum::{
    Json,
    extract::{
        Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::StatusCode,
    response::{IntoResponse, Response},
};
use osier_proto::{certificate::valid_name, invite::Invite, network::valid_name as valid_network_name};
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};

/// Lines of a join: fewer than fit.
const JOIN_LINES: usize = 8;

pub(super) async fn service(State(context): Ctx) -> Response {
    Json(current(&context).await).into_response()
}

/// The service now, with what only a running node knows.
pub(super) async fn current(context: &Context) -> Service {
    let mut service = context.stage.borrow().service();
    if service.state == ServiceState::Running
        && let Ok(member) = answer(context, Ask::Membership).await
    {
        service.member = Some(member);
    }
    service
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UsageQuery {
    #[serde(default = "all_days")]
    days: usize,
}

fn all_days() -> usize {
    DAYS
}

/// From the node, or from what the last one has left.
pub(super) async fn usage(State(context): Ctx, query: Result<Query<UsageQuery>, QueryRejection>) -> Response {
    let days = match query {
        Ok(Query(query)) if (1..=DAYS).contains(&query.days) => query.days,
        Ok(_) => return refuse(StatusCode::BAD_REQUEST, "bad-request", "days: between 1 and 400"),
        Err(error) => return refuse(StatusCode::BAD_REQUEST, "bad-request", error.body_text()),
    };
    match usage_of(&context, days).await {
        Ok(usage) => Json(usage).into_response(),
        Err(response) => response,
    }
}

pub(super) async fn usage_of(context: &Context, days: usize) -> Result<Usage, Response> {
    let has_node = context.stage.borrow().node.is_some();
    if has_node {
        return answer(context, |reply| Ask::Usage(days, reply)).await;
    }
    let dir = context.dir.upgrade().ok_or_else(stopping)?;
    let ledger = load_usage(&dir)
        .map_err(|error| refuse(StatusCode::INTERNAL_SERVER_ERROR, "disk", error.to_string()))?;
    Ok(ledger.view(clock::unix_time(), days))
}

pub(super) async fn leave(State(context): Ctx) -> Response {
    told(&context, Order::Leave).await
}

pub(super) async fn on(State(context): Ctx) -> Response {
    told(&context, Order::On).await
}

pub(super) async fn off(State(context): Ctx) -> Response {
    told(&context, Order::Off).await
}

async fn told(
    context: &Context,
    make: impl FnOnce(oneshot::Sender<Result<Service, ErrorReply>>) -> Order,
) -> Response {
    let orders = match orders(context) {
        Ok(orders) => orders,
        Err(response) => return response,
    };
    match order(orders, make).await {
        Ok(Ok(service)) => Json(service).into_response(),
        Ok(Err(error)) => (StatusCode::CONFLICT, Json(error)).into_response(),
        Err(response) => response,
    }
}

/// Gives an order and waits for what comes of it.
pub(super) async fn order<T>(
    orders: &mpsc::Sender<Order>,
    make: impl FnOnce(oneshot::Sender<T>) -> Order,
) -> Result<T, Response> {
    let (reply, answer) = oneshot::channel();
    orders.send(make(reply)).await.map_err(|_| stopping())?;
    answer.await.map_err(|_| stopping())
}

/// Where orders go, unless it is no service or is busy.
#[allow(clippy::result_large_err)] // once per request
fn orders(context: &Context) -> Result<&mpsc::Sender<Order>, Response> {
    let conflict = |code, message, fix| {
        let error = ErrorReply::new(code, message).with_fix(fix);
        Err((StatusCode::CONFLICT, Json(error)).into_response())
    };
    match &context.orders {
        None => conflict(
            "not-a-service",
            "this daemon is a plain node: it cannot be switched, joined or made to leave",
            "start it with `osier up --service`",
        ),
        Some(_) if context.stage.borrow().state == ServiceState::Joining => {
            conflict("busy", "a join is under way", "wait for its end")
        }
        Some(orders) => Ok(orders),
    }
}

pub(super) async fn join(State(context): Ctx, request: Result<Json<JoinRequest>, JsonRejection>) -> Response {
    let orders = match orders(&context) {
        Ok(orders) => orders,
        Err(response) => return response,
    };
    // serde's own words could quote the invite.
    let Ok(Json(request)) = request else {
        return refuse(
            StatusCode::BAD_REQUEST,
            "bad-request",
            "the body must be JSON: {\"invite\": \"osier://join/…\", \"name\": \"laptop\"}",
        );
    };
    let invite: Invite = match request.invite.trim().parse() {
        Ok(invite) => invite,
        Err(error) => {
            let error = ErrorReply::new("invite-invalid", format!("{error}"))
                .with_fix("copy the whole invite again, or ask for a new one");
            return (StatusCode::UNPROCESSABLE_ENTITY, Json(error)).into_response();
        }
    };
    let name = match node_name(request.name) {
        Ok(name) => name,
        Err(response) => return response,
    };
    let member = context.stage.borrow().member.clone();
    if let Some(member) = member.filter(|m| m.network.id != invite.network().to_string()) {
        let message = format!("this machine belongs to the network {}", member.network.name);
        let error = ErrorReply::new("wrong-network", message)
            .with_fix("leave it first (`osier leave`), then join with this invite");
        return (StatusCode::CONFLICT, Json(error)).into_response();
    }
    follow(&context, orders, |lines| Order::Join { invite, name, lines }).await
}

/// Where orders go, and what is asked for.
#[allow(clippy::result_large_err)] // once per request
fn asked<T>(
    context: &Context,
    request: Result<Json<T>, JsonRejection>,
) -> Result<(&mpsc::Sender<Order>, T), Response> {
    let orders = orders(context)?;
    match request {
        Ok(Json(request)) => Ok((orders, request)),
        Err(error) => Err(refuse(StatusCode::BAD_REQUEST, "bad-request", error.body_text())),
    }
}

/// What the node is to be called, in the form in which certificates have it.
#[allow(clippy::result_large_err)] // once per request
fn node_name(wanted: Option<String>) -> Result<Option<String>, Response> {
    let name = wanted.map(|name| name.trim().to_ascii_lowercase());
    match name.as_ref().filter(|name| !valid_name(name)) {
        None => Ok(name),
        Some(name) => {
            let error = ErrorReply::new(
                "name-invalid",
                format!("{:?} cannot be a node's name", shortened(name)),
            )
            .with_fix("use 1 to 63 letters, digits and hyphens");
            Err((StatusCode::UNPROCESSABLE_ENTITY, Json(error)).into_response())
        }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

pub(super) async fn create_network(
    State(context): Ctx,
    request: Result<Json<NetworkRequest>, JsonRejection>,
) -> Response {
    let (orders, request) = match asked(&context, request) {
        Ok(asked) => asked,
        Err(response) => return response,
    };
    let network = request.network.trim().to_owned();
    if !valid_network_name(&network) {
        let message = format!("{:?} cannot be a network's name", shortened(&network));
        let error = ErrorReply::new("network-name-invalid", message)
            .with_fix("use 1 to 63 octets of text, without control characters");
        return (StatusCode::UNPROCESSABLE_ENTITY, Json(error)).into_response();
    }
    let name = match node_name(request.name) {
        Ok(name) => name,
        Err(response) => return response,
    };
    let member = context.stage.borrow().member.clone();
    if let Some(member) = member {
        let message = format!("this machine belongs to the network {}", member.network.name);
        let error = ErrorReply::new("wrong-network", message).with_fix("leave it first: `osier leave`");
        return (StatusCode::CONFLICT, Json(error)).into_response();
    }
    follow(&context, orders, |lines| Order::Create { network, name, lines }).await
}

pub(super) async fn invite(
    State(context): Ctx,
    request: Result<Json<InviteRequest>, JsonRejection>,
) -> Response {
    let (orders, request) = match asked(&context, request) {
        Ok(asked) => asked,
        Err(response) => return response,
    };
    if !(1..=1000).contains(&request.uses) {
        return refuse(StatusCode::BAD_REQUEST, "bad-request", "uses: between 1 and 1000");
    }
    if !(60..=31_536_000).contains(&request.lifetime_seconds) {
        let message = "lifetime_seconds: between 60 and 31536000 (a year)";
        return refuse(StatusCode::BAD_REQUEST, "bad-request", message);
    }
    match order(orders, |reply| Order::Invite { request, reply }).await {
        Ok(Ok(invite)) => Json(invite).into_response(),
        Ok(Err(error)) => (StatusCode::CONFLICT, Json(error)).into_response(),
        Err(response) => response,
    }
}

/// Gives an order that answers by lines, and passes them on as they come.
async fn follow(
    context: &Context,
    orders: &mpsc::Sender<Order>,
    make: impl FnOnce(mpsc::Sender<JoinLine>) -> Order,
) -> Response {
    let (lines, mut progress) = mpsc::channel(JOIN_LINES);
    if orders.send(make(lines)).await.is_err() {
        return stopping();
    }
    stream(context.ended.clone(), move |out| async move {
        while let Some(line) = progress.recv().await {
            out.put(&line).await?;
        }
        Some(())
    })
}
