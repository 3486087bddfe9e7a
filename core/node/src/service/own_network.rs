//! A service that has made a network: it runs its registry, and makes invites.

use super::{
    Keeper,
    hosting::{Host, HostError, InviteOrder},
};
use crate::{
    control::types::{ErrorReply, Hosting, InviteReply, InviteRequest, JoinLine, ServiceState},
    control_loop::Ask,
    netwatch::{Exclude, NetWatch},
};
use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// The invite by which this machine itself joins.
const OWN_INVITE: Duration = Duration::from_secs(600);

impl Keeper {
    /// Runs the registry of the network that was made here, if any. Without it the mesh works on: what keeps it from
    /// running is logged, and tried again when an invite is wanted.
    pub(super) async fn serve(&mut self) {
        if let Some(host) = self.host.as_mut().filter(|host| host.network().is_some())
            && let Err(error) = host.serve().await
        {
            tracing::error!(%error, "the registry does not run");
        }
        self.publish_hosting();
    }

    pub(super) async fn create(
        &mut self,
        network: &str,
        name: Option<String>,
        lines: &mpsc::Sender<JoinLine>,
    ) -> Result<(), ErrorReply> {
        let joined = self.stage.borrow().member.clone();
        if let Some(member) = joined {
            let message = format!("this machine belongs to the network {}", member.network.name);
            return Err(ErrorReply::new("wrong-network", message).with_fix("leave it first: `osier leave`"));
        }
        self.publish(|stage| stage.state = ServiceState::Joining);
        let result = self.make(network).await;
        self.publish_hosting();
        match result {
            Ok(invite) => self.join(&invite, name, lines).await,
            Err(error) => {
                self.settle(None).await;
                Err(error)
            }
        }
    }

    /// Makes the network; the answer is the invite by which this machine joins it.
    async fn make(&mut self, network: &str) -> Result<osier_proto::invite::Invite, ErrorReply> {
        let host = able(self.host.as_deref_mut())?;
        if let Some(there) = host.network() {
            let message = format!("this machine runs the registry of the network {there} already");
            let fix = "join it again: `osier invite --hosted`, then `osier join -`; or move its folder `registry` away from the state directory";
            return Err(ErrorReply::new("network-exists", message).with_fix(fix));
        }
        host.create(network).await.map_err(reply)?;
        tracing::info!(network, "a network was made");
        host.serve().await.map_err(reply)?;
        let own = InviteOrder {
            uses: 1,
            lifetime: OWN_INVITE,
            addresses: vec![Ipv4Addr::LOCALHOST.into()],
        };
        host.invite(own).await.map_err(reply)
    }

    pub(super) async fn invite(&mut self, request: &InviteRequest) -> Result<InviteReply, ErrorReply> {
        let addresses = self.addresses().await;
        let host = able(self.host.as_deref_mut())?;
        if host.network().is_none() {
            let message = "no network was made on this machine";
            let fix = "ask whoever runs your network's registry for an invite";
            return Err(ErrorReply::new("hosts-none", message).with_fix(fix));
        }
        host.serve().await.map_err(reply)?;
        let lifetime = Duration::from_secs(request.lifetime_seconds);
        let order = InviteOrder {
            uses: request.uses,
            lifetime,
            addresses,
        };
        let invite = host.invite(order).await.map_err(reply)?;
        self.publish_hosting();
        Ok(InviteReply {
            invite: invite.to_string(),
            expires: crate::clock::unix_time()
                .0
                .saturating_add(request.lifetime_seconds),
            registries: invite.registries,
        })
    }

    /// Where others may find this machine: in its networks, behind its router's mapping, and last in the mesh itself,
    /// which newcomers cannot use but members can, wherever this machine goes.
    async fn addresses(&self) -> Vec<IpAddr> {
        let member = self.stage.borrow().member.clone();
        let Some(member) = member else {
            return Vec::new();
        };
        let exclude = Exclude {
            interface: None,
            mesh: member.network.prefix,
        };
        let (network, sockets) = (self.config.network.clone(), self.config.sockets.clone());
        let watch = NetWatch::start(exclude, network, sockets).await;
        let mut addresses = watch.addresses().borrow().clone();
        let node = self.stage.borrow().node.clone();
        let (sender, answer) = oneshot::channel();
        if let Some(node) = node
            && node.send(Ask::Status(sender)).await.is_ok()
            && let Ok(status) = answer.await
        {
            for address in status.endpoints.iter().map(|endpoint| endpoint.address.ip()) {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        addresses.truncate(MOST_ADDRESSES);
        addresses.push(member.address.into());
        addresses
    }

    fn publish_hosting(&mut self) {
        let hosting = self.host.as_ref().and_then(|host| {
            Some(Hosting {
                network: host.network()?,
                serving: host.serves(),
            })
        });
        self.publish(|stage| stage.hosting = hosting);
    }
}

/// Addresses in an invite beside the one in the mesh, so that its QR code can still be read.
const MOST_ADDRESSES: usize = 3;

fn able<'a>(host: Option<&'a mut (dyn Host + 'static)>) -> Result<&'a mut (dyn Host + 'static), ErrorReply> {
    host.ok_or_else(|| {
        ErrorReply::new("cannot-host", "this service cannot run a registry")
            .with_fix("make the network with `osier network create` and `osier registry serve`")
    })
}

fn reply(error: HostError) -> ErrorReply {
    ErrorReply::new(error.code, error.message).with_fix(&error.fix)
}
