//! Requests about the service around the node, by HTTP and of the program that it runs in.

use super::{
    server::{Context, Ctx, Refusal, answer, bad_request, refuse, stopping, stream},
    stage::Order,
    types::{
        ErrorReply, InviteReply, InviteRequest, JoinLine, JoinRequest, NetworkRequest, Service, ServiceState,
        Usage,
    },
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
pub(crate) async fn current(context: &Context) -> Service {
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
        Ok(Query(query)) => query.days,
        Err(error) => return bad_request(error.body_text()).into_response(),
    };
    usage_of(&context, days).await.map(Json).into_response()
}

pub(crate) async fn usage_of(context: &Context, days: usize) -> Result<Usage, Refusal> {
    if !(1..=DAYS).contains(&days) {
        return Err(bad_request("days: between 1 and 400"));
    }
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
    tell(context, make).await.map(Json).into_response()
}

/// Gives an order that is refused while a join is under way.
pub(crate) async fn tell<T>(
    context: &Context,
    make: impl FnOnce(oneshot::Sender<Result<T, ErrorReply>>) -> Order,
) -> Result<T, Refusal> {
    order(orders(context)?, make)
        .await?
        .map_err(|error| Refusal::new(StatusCode::CONFLICT, error))
}

/// Gives an order and waits for what comes of it.
pub(crate) async fn order<T>(
    orders: &mpsc::Sender<Order>,
    make: impl FnOnce(oneshot::Sender<T>) -> Order,
) -> Result<T, Refusal> {
    let (reply, answer) = oneshot::channel();
    orders.send(make(reply)).await.map_err(|_| stopping())?;
    answer.await.map_err(|_| stopping())
}

/// Where orders go, unless it is no service or is busy.
fn orders(context: &Context) -> Result<&mpsc::Sender<Order>, Refusal> {
    let conflict = |code, message, fix| {
        let error = ErrorReply::new(code, message).with_fix(fix);
        Err(Refusal::new(StatusCode::CONFLICT, error))
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
    if let Err(refusal) = orders(&context) {
        return refusal.into_response();
    }
    // serde's own words could quote the invite.
    let Ok(Json(request)) = request else {
        let message = "the body must be JSON: {\"invite\": \"osier://join/…\", \"name\": \"laptop\"}";
        return bad_request(message).into_response();
    };
    match begin_join(&context, request).await {
        Ok(progress) => follow(&context, progress),
        Err(refusal) => refusal.into_response(),
    }
}

/// Passes on the lines as they come.
fn follow(context: &Context, mut progress: mpsc::Receiver<JoinLine>) -> Response {
    stream(context.ended.clone(), move |out| async move {
        while let Some(line) = progress.recv().await {
            out.put(&line).await?;
        }
        Some(())
    })
}

/// Lets the service join; the lines tell how it goes.
pub(crate) async fn begin_join(
    context: &Context,
    request: JoinRequest,
) -> Result<mpsc::Receiver<JoinLine>, Refusal> {
    let orders = orders(context)?;
    let invite: Invite = request.invite.trim().parse().map_err(|error| {
        let error = ErrorReply::new("invite-invalid", format!("{error}"));
        unfit(error.with_fix("copy the whole invite again, or ask for a new one"))
    })?;
    let name = node_name(request.name)?;
    let member = context.stage.borrow().member.clone();
    if let Some(member) = member.filter(|m| m.network.id != invite.network().to_string()) {
        let message = format!("this machine belongs to the network {}", member.network.name);
        let error = ErrorReply::new("wrong-network", message)
            .with_fix("leave it first (`osier leave`), then join with this invite");
        return Err(Refusal::new(StatusCode::CONFLICT, error));
    }
    begin(orders, |lines| Order::Join { invite, name, lines }).await
}

fn unfit(error: ErrorReply) -> Refusal {
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, error)
}

/// What the node is to be called, in the form in which certificates have it.
fn node_name(wanted: Option<String>) -> Result<Option<String>, Refusal> {
    let name = wanted.map(|name| name.trim().to_ascii_lowercase());
    match name.as_ref().filter(|name| !valid_name(name)) {
        None => Ok(name),
        Some(name) => {
            let message = format!("{:?} cannot be a node's name", shortened(name));
            let error = ErrorReply::new("name-invalid", message);
            Err(unfit(error.with_fix("use 1 to 63 letters, digits and hyphens")))
        }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Gives an order that answers by lines.
async fn begin(
    orders: &mpsc::Sender<Order>,
    make: impl FnOnce(mpsc::Sender<JoinLine>) -> Order,
) -> Result<mpsc::Receiver<JoinLine>, Refusal> {
    let (lines, progress) = mpsc::channel(JOIN_LINES);
    orders.send(make(lines)).await.map_err(|_| stopping())?;
    Ok(progress)
}

pub(super) async fn create_network(
    State(context): Ctx,
    request: Result<Json<NetworkRequest>, JsonRejection>,
) -> Response {
    let request = request.map_err(|error| bad_request(error.body_text()));
    let begun = async { begin_network(&context, request?.0).await };
    match begun.await {
        Ok(progress) => follow(&context, progress),
        Err(refusal) => refusal.into_response(),
    }
}

async fn begin_network(
    context: &Context,
    request: NetworkRequest,
) -> Result<mpsc::Receiver<JoinLine>, Refusal> {
    let orders = orders(context)?;
    let network = request.network.trim().to_owned();
    if !valid_network_name(&network) {
        let message = format!("{:?} cannot be a network's name", shortened(&network));
        let error = ErrorReply::new("network-name-invalid", message);
        return Err(unfit(
            error.with_fix("use 1 to 63 octets of text, without control characters"),
        ));
    }
    let name = node_name(request.name)?;
    let member = context.stage.borrow().member.clone();
    if let Some(member) = member {
        let message = format!("this machine belongs to the network {}", member.network.name);
        let error = ErrorReply::new("wrong-network", message).with_fix("leave it first: `osier leave`");
        return Err(Refusal::new(StatusCode::CONFLICT, error));
    }
    begin(orders, |lines| Order::Create { network, name, lines }).await
}

pub(super) async fn invite(
    State(context): Ctx,
    request: Result<Json<InviteRequest>, JsonRejection>,
) -> Response {
    let request = request.map_err(|error| bad_request(error.body_text()));
    let made = async { new_invite(&context, request?.0).await };
    made.await.map(Json).into_response()
}

async fn new_invite(context: &Context, request: InviteRequest) -> Result<InviteReply, Refusal> {
    if !(1..=1000).contains(&request.uses) {
        return Err(bad_request("uses: between 1 and 1000"));
    }
    if !(60..=31_536_000).contains(&request.lifetime_seconds) {
        return Err(bad_request("lifetime_seconds: between 60 and 31536000 (a year)"));
    }
    tell(context, |reply| Order::Invite { request, reply }).await
}
