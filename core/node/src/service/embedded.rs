//! A service inside another program: what the control API offers, without a socket in between.

use super::{Opened, Service, line, open};
use crate::{
    config::Config,
    control::{
        server::{Context, Refusal, answer, resolve, verify},
        service::{begin_join, current, order, tell, usage_of},
        stage::Order,
        types::{
            ErrorReply, Event, EventLine, JoinLine, JoinRequest, Member, Membership, Outcome, Peer,
            Service as View, Status, Usage,
        },
    },
    control_loop::{Ask, Target},
    daemon::{DaemonError, Ending},
};
use std::time::Duration;
use tokio::{
    sync::{broadcast, oneshot},
    task::JoinHandle,
};

/// Echo data, and how far an echo may go: those of `osier ping`.
const PAYLOAD: usize = 56;
const HOP_LIMIT: u8 = 64;

/// Steers a service. Dropping it ends the node at once, without a word to its neighbours.
#[derive(Debug)]
pub struct Embedded {
    context: Context,
    task: JoinHandle<()>,
}

/// What came of an echo.
#[derive(Clone, Debug)]
pub struct Pong {
    /// Who answered: the target, or a node on the way.
    pub from: std::net::Ipv6Addr,
    pub name: Option<String>,
    pub outcome: Outcome,
    pub rtt: Duration,
}

impl Service {
    /// Starts a service on the current tokio runtime: no signals, no control socket. The node starts, if there is a
    /// membership and the switch is on.
    ///
    /// # Errors
    /// When the state directory cannot be used, or another program uses it. What keeps the node from running is told
    /// by [`Embedded::service`].
    pub async fn start(config: Config) -> Result<Embedded, DaemonError> {
        let Opened {
            mut keeper,
            mut questions,
            context,
            end,
            ..
        } = open(config, None)?;
        let events = context.events.clone();
        let task = tokio::spawn(async move {
            keeper.work(&mut questions, None).await;
            keeper.stop_node().await;
            drop(keeper);
            let _ = events.send(line(Event::Stopped));
            let _ = end.send(Ending::Done);
        });
        Ok(Embedded { context, task })
    }
}

/// Errors are those of the control API: `docs/control-api.md` lists their codes.
impl Embedded {
    /// `GET /v1/service`.
    pub async fn service(&self) -> View {
        current(&self.context).await
    }

    /// `GET /v1/status`.
    pub async fn status(&self) -> Result<Status, ErrorReply> {
        verify(&self.context).await;
        answer(&self.context, Ask::Status).await.map_err(reply)
    }

    /// `GET /v1/peers`.
    pub async fn peers(&self) -> Result<Vec<Peer>, ErrorReply> {
        answer(&self.context, Ask::Peers).await.map_err(reply)
    }

    /// `GET /v1/members`.
    pub async fn members(&self) -> Result<Vec<Member>, ErrorReply> {
        answer(&self.context, Ask::Members).await.map_err(reply)
    }

    /// `GET /v1/usage`.
    pub async fn usage(&self, days: usize) -> Result<Usage, ErrorReply> {
        usage_of(&self.context, days).await.map_err(reply)
    }

    /// `POST /v1/join`, to its end; and whether it was a member already.
    pub async fn join(&self, request: JoinRequest) -> Result<(Membership, bool), ErrorReply> {
        let mut lines = begin_join(&self.context, request).await.map_err(reply)?;
        let mut joined = None;
        while let Some(line) = lines.recv().await {
            match line {
                JoinLine::Joined {
                    member,
                    already_member,
                } => joined = Some((*member, already_member)),
                JoinLine::Failed { code, message, fix } => return Err(ErrorReply { code, message, fix }),
                JoinLine::Asking { .. } | JoinLine::Done { .. } | JoinLine::Unknown => {}
            }
        }
        joined.ok_or_else(|| ErrorReply::new("stopping", "the node is stopping"))
    }

    /// `POST /v1/leave`.
    pub async fn leave(&self) -> Result<View, ErrorReply> {
        tell(&self.context, Order::Leave).await.map_err(reply)
    }

    /// `POST /v1/on` and `off`.
    pub async fn switch(&self, on: bool) -> Result<View, ErrorReply> {
        let make = if on { Order::On } else { Order::Off };
        tell(&self.context, make).await.map_err(reply)
    }

    /// One echo to a member's name or address; `None` when it is lost.
    pub async fn ping(&self, target: &str, limit: Duration) -> Result<Option<Pong>, ErrorReply> {
        let Target { address, .. } = resolve(&self.context, target).await.map_err(reply)?;
        let answer = self.context.echo(address, HOP_LIMIT, PAYLOAD, limit).await;
        Ok(answer.map(|answer| Pong {
            from: answer.from,
            name: answer.from_name,
            outcome: answer.outcome,
            rtt: answer.rtt,
        }))
    }

    /// What happens from now on; the last is [`Event::Stopped`].
    pub fn events(&self) -> broadcast::Receiver<EventLine> {
        self.context.events.subscribe()
    }

    /// The device goes to sleep, and the process may end without another word: what is worth it is saved, and the
    /// registry is left alone. Tunnels go on.
    pub async fn sleep(&self) {
        self.steer(Order::Sleep).await;
    }

    /// The device has woken up: neighbours are asked at once, and what failed is tried again.
    pub async fn wake(&self) {
        self.steer(Order::Wake).await;
    }

    async fn steer(&self, make: impl FnOnce(oneshot::Sender<()>) -> Order) {
        if let Some(orders) = &self.context.orders {
            // Without a node there is no answer, and nothing to wait for.
            let _ = order(orders, make).await;
        }
    }

    /// Planned stop: neighbours are moved away first; returns when everything is closed.
    pub async fn stop(&self) {
        if let Some(orders) = &self.context.orders {
            // When it has stopped already, that is what was asked for.
            let _ = orders.send(Order::Down).await;
        }
        let _ = self.context.ended.clone().wait_for(Ending::is_over).await;
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn reply(refusal: Refusal) -> ErrorReply {
    refusal.reply
}
