//! The control API for the page: one command for each request that it makes. Answers are passed on as they are; those
//! that come line by line go through a channel.

use crate::failure::Failure;
use osier_control::{
    client::{Client, Lines},
    types::{
        Diagnostics, EventLine, InviteReply, InviteRequest, JoinLine, JoinRequest, Member, NetworkRequest,
        Peer, ProbeLine, ProbeRequest, Route, Service, Status, Topology, TraceLine, TraceRequest, Usage,
    },
};
use qrcode::{Color, EcLevel, QrCode};
use serde::{Serialize, de::DeserializeOwned};
use tauri::{State, ipc::Channel};
use tokio::sync::watch;

type Answer<T> = Result<T, Failure>;

/// Days of usage that the page shows.
const DAYS: usize = 400;

#[tauri::command]
pub(crate) async fn service(client: State<'_, Client>) -> Answer<Service> {
    Ok(client.service().await?)
}

#[tauri::command]
pub(crate) async fn status(client: State<'_, Client>) -> Answer<Status> {
    Ok(client.status().await?)
}

#[tauri::command]
pub(crate) async fn peers(client: State<'_, Client>) -> Answer<Vec<Peer>> {
    Ok(client.peers().await?)
}

#[tauri::command]
pub(crate) async fn members(client: State<'_, Client>) -> Answer<Vec<Member>> {
    Ok(client.members().await?)
}

#[tauri::command]
pub(crate) async fn routes(client: State<'_, Client>) -> Answer<Vec<Route>> {
    Ok(client.routes().await?)
}

#[tauri::command]
pub(crate) async fn topology(client: State<'_, Client>) -> Answer<Topology> {
    Ok(client.topology().await?)
}

#[tauri::command]
pub(crate) async fn usage(client: State<'_, Client>) -> Answer<Usage> {
    Ok(client.usage(DAYS).await?)
}

#[tauri::command]
pub(crate) async fn diagnostics(client: State<'_, Client>) -> Answer<Diagnostics> {
    Ok(client.diagnostics().await?)
}

#[tauri::command]
pub(crate) async fn bundle(client: State<'_, Client>) -> Answer<String> {
    Ok(client.bundle().await?)
}

#[tauri::command]
pub(crate) async fn switch(client: State<'_, Client>, on: bool) -> Answer<Service> {
    Ok(match on {
        true => client.on().await?,
        false => client.off().await?,
    })
}

#[tauri::command]
pub(crate) async fn leave(client: State<'_, Client>) -> Answer<Service> {
    Ok(client.leave().await?)
}

#[tauri::command]
pub(crate) async fn join(
    client: State<'_, Client>,
    invite: String,
    name: Option<String>,
    lines: Channel<JoinLine>,
) -> Answer<()> {
    pass_on(client.join(&JoinRequest { invite, name }).await?, &lines).await
}

#[tauri::command]
pub(crate) async fn create_network(
    client: State<'_, Client>,
    network: String,
    name: Option<String>,
    lines: Channel<JoinLine>,
) -> Answer<()> {
    let request = NetworkRequest { network, name };
    pass_on(client.create_network(&request).await?, &lines).await
}

/// An invite, and its QR code.
#[derive(Serialize)]
pub(crate) struct NewInvite {
    #[serde(flatten)]
    reply: InviteReply,
    /// A row of modules each, `1` for a dark one; none where the code would be larger than the largest.
    qr: Vec<String>,
}

#[tauri::command]
pub(crate) async fn invite(client: State<'_, Client>) -> Answer<NewInvite> {
    let reply = client.invite(&InviteRequest::default()).await?;
    let qr = rows(&reply.invite);
    Ok(NewInvite { reply, qr })
}

fn rows(text: &str) -> Vec<String> {
    let Ok(code) = QrCode::with_error_correction_level(text, EcLevel::L) else {
        return Vec::new();
    };
    let bits = |row: &[Color]| row.iter().map(|module| module.select('1', '0')).collect();
    code.to_colors().chunks(code.width()).map(bits).collect()
}

/// Everything that happens, until the service ends.
#[tauri::command]
pub(crate) async fn events(client: State<'_, Client>, lines: Channel<EventLine>) -> Answer<()> {
    pass_on(client.events().await?, &lines).await
}

#[tauri::command]
pub(crate) async fn trace(
    client: State<'_, Client>,
    target: String,
    lines: Channel<TraceLine>,
) -> Answer<()> {
    pass_on(client.trace(&TraceRequest::new(target)).await?, &lines).await
}

/// The number of the live ping; there is one at a time.
#[derive(Debug)]
pub(crate) struct Ping(watch::Sender<u64>);

impl Default for Ping {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Ping {
    /// Ends the one that runs; the receiver tells when that happens to the next.
    fn next(&self) -> watch::Receiver<u64> {
        self.0.send_modify(|number| *number += 1);
        self.0.subscribe()
    }
}

/// Pings `target` until [`ping_stop`] or another ping.
#[tauri::command]
pub(crate) async fn ping(
    client: State<'_, Client>,
    ping: State<'_, Ping>,
    target: String,
    lines: Channel<ProbeLine>,
) -> Answer<()> {
    let mut stop = ping.next();
    let request = ProbeRequest {
        count: 0,
        ..ProbeRequest::new(target)
    };
    tokio::select! {
        result = async { pass_on(client.probe(&request).await?, &lines).await } => result,
        _ = stop.changed() => Ok(()),
    }
}

#[tauri::command]
pub(crate) fn ping_stop(ping: State<'_, Ping>) {
    ping.next();
}

async fn pass_on<T: DeserializeOwned + Serialize>(mut from: Lines<T>, to: &Channel<T>) -> Answer<()> {
    while let Some(line) = from.next().await {
        // Fails when the page has gone.
        if to.send(line?).is_err() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_new_ping_ends_the_one_before() {
        let ping = Ping::default();
        let mut first = ping.next();
        assert!(!first.has_changed().unwrap());
        let second = ping.next();
        first.changed().await.unwrap();
        assert!(!second.has_changed().unwrap());
    }
}
