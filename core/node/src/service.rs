//! A service that outlives its node: what a desktop's front end talks to.
//!
//! It locks the state directory and opens the control socket before there is a membership, and keeps both while the
//! mesh is switched off. One task owns everything and carries out one [`Order`] at a time; what it is at the moment is
//! published as a [`Stage`], from which the control API answers without asking it.
//!
//! ```text
//!  NotJoined ──join──▶ Joining ──▶ Starting ──▶ Running ──off──▶ Stopping ──▶ Off
//!      ▲                              │  ▲         │                          │
//!      └────────── leave ─────────────┤  └ Failed ◀┘ ◀────────── on ──────────┘
//! ```
//!
//! [`Service::run`] is a daemon of its own, with signals and a control socket; [`Service::start`] is for programs that
//! have it inside them, such as a phone's VPN service, and says the same to them directly.
//!
//! The switch is kept in the state directory. A node that cannot start, or ends without having been told to, is tried
//! again at growing distances.

mod embedded;
pub mod hosting;
mod own_network;
mod problem;

pub use embedded::{Embedded, Pong};

use crate::{
    clock,
    config::Config,
    control::{
        server::Context,
        stage::{self, Order, Stage},
        types::{
            ErrorReply, Event, EventLine, JoinLine, Membership, Problem, ReloadReply, Service as View,
            ServiceState,
        },
    },
    control_loop::Ask,
    daemon::{self, DaemonError, Ending, Front, Handle},
    join::{self, JoinError},
    logging, membership,
    settings::Settings,
    state::{Content, Item, StateDir, StateError},
    system::{Reload, Stop},
};
use hosting::Host;
use osier_proto::invite::Invite;
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{broadcast, mpsc, watch},
    time::Instant,
};

/// Orders that may wait while one is carried out.
const ORDERS: usize = 16;
/// Between two attempts to start a node: at first, and at most.
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// Makes services run.
#[derive(Debug)]
pub struct Service {}

/// The switch as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Switch {
    on: bool,
}

impl Service {
    /// Runs a service in the foreground until it is told to stop, by a signal or through the control API, as
    /// [`crate::Daemon::run`] does.
    ///
    /// # Errors
    /// When the state directory or the control socket cannot be used. What keeps the node from running is
    /// no error here: it is told by `GET /v1/service`.
    pub async fn run(config: Config) -> Result<(), DaemonError> {
        Self::run_with_host(config, None).await
    }

    /// As [`Self::run`], with something that runs a registry: the service then can make a network.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn run_with_host(config: Config, host: Option<Box<dyn Host>>) -> Result<(), DaemonError> {
        let failed = |source| DaemonError::System {
            what: "cannot watch for signals",
            source,
        };
        let mut stop = Stop::watch().map_err(failed)?;
        let mut reload = Reload::watch().map_err(failed)?;
        let Opened {
            mut keeper,
            mut questions,
            context,
            settings,
            end,
        } = open(config, host)?;
        let events = context.events.clone();
        let server = daemon::listen(&keeper.config, &settings, &keeper.dir, context)?;
        tracing::info!(on = keeper.stage.borrow().on, "service started");
        tokio::select! {
            () = keeper.work(&mut questions, Some(&mut reload)) => {}
            () = stop.requested() => {}
        }
        tokio::select! {
            () = keeper.stop() => {}
            () = stop.requested() => tracing::warn!("second signal: ending at once"),
        }
        drop(keeper);
        let _ = events.send(line(Event::Stopped));
        let _ = end.send(Ending::Done);
        if let Some(server) = server {
            server.finish().await;
        }
        tracing::info!("service stopped");
        Ok(())
    }
}

/// A service that is about to work.
struct Opened {
    keeper: Keeper,
    questions: mpsc::Receiver<Order>,
    context: Context,
    settings: Settings,
    end: watch::Sender<Ending>,
}

fn open(config: Config, host: Option<Box<dyn Host>>) -> Result<Opened, DaemonError> {
    let dir = Arc::new(StateDir::create(&config.state_dir)?);
    // A mistake in them keeps the node from running, which is told; the front end must be able to ask.
    let settings = Settings::load(dir.path()).unwrap_or_else(|error| {
        tracing::error!(%error, "going on without settings");
        Settings::default()
    });
    if let Err(error) = daemon::init_log(&config, &settings) {
        tracing::error!(%error, "going on with the default log");
    }
    let (orders, questions) = mpsc::channel(ORDERS);
    let (events, _) = broadcast::channel(daemon::EVENTS);
    let (end, ended) = watch::channel(Ending::NotYet);
    let on = read_switch(&dir)?;
    let (stage, current) = watch::channel(Stage {
        managed: true,
        state: ServiceState::Starting,
        on,
        member: None,
        problem: None,
        hosting: None,
        node: None,
        started: std::time::Instant::now(),
    });
    let context = Context {
        stage: current,
        orders: Some(orders),
        events: events.clone(),
        ended,
        dir: Arc::downgrade(&dir),
    };
    let keeper = Keeper {
        config,
        dir,
        stage,
        events,
        host,
        node: None,
        failures: 0,
        retry_at: None,
    };
    Ok(Opened {
        keeper,
        questions,
        context,
        settings,
        end,
    })
}

/// The one owner of the service's state.
struct Keeper {
    config: Config,
    dir: Arc<StateDir>,
    stage: watch::Sender<Stage>,
    events: broadcast::Sender<EventLine>,
    host: Option<Box<dyn Host>>,
    node: Option<Handle>,
    /// Attempts to start it in a row that came to nothing.
    failures: u32,
    retry_at: Option<Instant>,
}

impl Keeper {
    /// Returns when the service is to end.
    async fn work(&mut self, orders: &mut mpsc::Receiver<Order>, mut reload: Option<&mut Reload>) {
        self.serve().await;
        self.settle(None).await;
        loop {
            let node = &mut self.node;
            let node_ended = async {
                match node {
                    Some(node) => node.stopped().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                order = orders.recv() => match order {
                    None | Some(Order::Down) => return,
                    Some(order) => self.carry_out(order).await,
                },
                result = node_ended => {
                    self.node = None;
                    let error = result.err().unwrap_or(DaemonError::NotRunning);
                    tracing::error!(%error, "the node has ended");
                    self.fail(problem::of(&error));
                }
                () = sleep_until(self.retry_at) => self.start().await,
                () = requested(&mut reload) => {
                    let result = match &self.node {
                        Some(node) => node.reload().await.map_err(|error| error.to_string()),
                        None => self.reload().map_err(|error| error.message),
                    };
                    if let Err(error) = result {
                        tracing::error!(error, "the settings were not read again");
                    }
                }
            }
        }
    }

    async fn carry_out(&mut self, order: Order) {
        match order {
            Order::Join { invite, name, lines } => {
                let result = self.join(&invite, name, &lines).await;
                let _ = lines.try_send(self.last_line(result));
            }
            Order::Create { network, name, lines } => {
                let result = self.create(&network, name, &lines).await;
                let _ = lines.try_send(self.last_line(result));
            }
            Order::Invite { request, reply } => drop(reply.send(self.invite(&request).await)),
            Order::Leave(reply) => drop(reply.send(self.leave().await)),
            Order::On(reply) => drop(reply.send(self.switch(true).await)),
            Order::Off(reply) => drop(reply.send(self.switch(false).await)),
            Order::Reload(reply) => drop(reply.send(self.reload())),
            Order::Sleep(reply) => self.pass_on(Ask::Sleep(reply)).await,
            Order::Wake(reply) => match self.retry_at {
                Some(_) => {
                    self.start().await;
                    let _ = reply.send(());
                }
                None => self.pass_on(Ask::Wake(reply)).await,
            },
            // Taken by the caller.
            Order::Down => {}
        }
    }

    /// Without a node there is nothing to do, which dropping the question says.
    async fn pass_on(&self, ask: Ask) {
        if let Some(node) = &self.node {
            let _ = node.asks().send(ask).await;
        }
    }

    fn last_line(&self, result: Result<(), ErrorReply>) -> JoinLine {
        match result {
            Ok(()) => JoinLine::Done {
                service: Box::new(self.stage.borrow().service()),
            },
            Err(error) => {
                tracing::warn!(code = error.code, "the join failed");
                JoinLine::Failed {
                    code: error.code,
                    message: error.message,
                    fix: error.fix,
                }
            }
        }
    }

    /// Goes to where membership and switch say; `problem` is shown when nothing worse comes up.
    async fn settle(&mut self, problem: Option<Problem>) {
        match self.load_member() {
            Ok(member) => {
                let on = self.stage.borrow().on;
                let state = if on {
                    ServiceState::Starting
                } else {
                    ServiceState::Off
                };
                self.publish(|stage| {
                    stage.state = state;
                    stage.member = Some(member);
                    stage.problem = problem;
                });
                if on {
                    self.start().await;
                }
            }
            Err(StateError::Empty(_)) => self.publish(|stage| {
                stage.state = ServiceState::NotJoined;
                stage.member = None;
                stage.problem = problem;
            }),
            // A join replaces what was moved aside.
            Err(error @ StateError::Damaged { .. }) => {
                tracing::error!(%error, "no membership");
                let problem = problem::of(&error.into());
                self.publish(|stage| {
                    stage.state = ServiceState::NotJoined;
                    stage.member = None;
                    stage.problem = Some(problem);
                });
            }
            Err(error) => {
                tracing::error!(%error, "the membership cannot be read");
                let problem = problem::of(&error.into());
                if self.stage.borrow().on {
                    self.fail(problem);
                } else {
                    self.publish(|stage| {
                        stage.state = ServiceState::Off;
                        stage.problem = Some(problem);
                    });
                }
            }
        }
    }

    fn load_member(&self) -> Result<Membership, StateError> {
        let (_, certificate, network) = membership::load_essentials(&self.dir)?;
        Ok(stage::describe(&certificate, &network))
    }

    async fn start(&mut self) {
        self.retry_at = None;
        if self.node.is_some() {
            return;
        }
        self.publish(|stage| stage.state = ServiceState::Starting);
        let front = Front::Service(self.events.clone());
        match daemon::launch(self.config.clone(), self.dir.clone(), front).await {
            Ok(node) => {
                self.failures = 0;
                let asks = node.asks();
                self.node = Some(node);
                let member = self.load_member().ok();
                self.publish(|stage| {
                    stage.member = member;
                    stage.state = ServiceState::Running;
                    stage.node = Some(asks);
                    // Only what concerns the start is over.
                    if stage
                        .problem
                        .as_ref()
                        .is_some_and(|p| p.code != problem::NOT_REMEMBERED)
                    {
                        stage.problem = None;
                    }
                });
            }
            Err(error) => {
                tracing::error!(%error, "the node cannot start");
                self.fail(problem::of(&error));
            }
        }
    }

    /// The node does not run though it should: tries again later.
    fn fail(&mut self, problem: Problem) {
        self.failures = self.failures.saturating_add(1);
        let doubled = FIRST_RETRY.saturating_mul(1 << (self.failures - 1).min(8));
        self.retry_at = Some(Instant::now() + doubled.min(LONGEST_RETRY));
        self.publish(|stage| {
            stage.state = ServiceState::Failed;
            stage.node = None;
            stage.problem = Some(problem);
        });
    }

    /// The node first: it tells its registry that it goes.
    async fn stop(&mut self) {
        self.stop_node().await;
        if let Some(host) = &mut self.host {
            host.stop().await;
        }
    }

    /// A planned stop, if there is something to stop.
    async fn stop_node(&mut self) {
        self.retry_at = None;
        if let Some(node) = &mut self.node {
            self.stage
                .send_modify(|stage| stage.state = ServiceState::Stopping);
            announce(&self.stage, &self.events);
            if let Err(error) = node.stop().await {
                tracing::warn!(%error, "while stopping the node");
            }
            self.node = None;
            self.publish(|stage| stage.node = None);
        }
    }

    async fn switch(&mut self, on: bool) -> Result<View, ErrorReply> {
        if self.stage.borrow().state == ServiceState::NotJoined {
            return Err(self.stage.borrow().refusal());
        }
        let trouble = self.remember(on);
        tracing::info!(on, "switched");
        if !on {
            self.stop_node().await;
            self.failures = 0;
            self.settle(trouble).await;
        } else if self.node.is_none() {
            self.failures = 0;
            self.settle(trouble).await;
        } else if trouble.is_some() {
            self.publish(|stage| stage.problem = trouble);
        }
        Ok(self.stage.borrow().service())
    }

    /// Keeps the switch; a disk that refuses is no reason not to do what was asked now.
    fn remember(&self, on: bool) -> Option<Problem> {
        self.stage.send_modify(|stage| stage.on = on);
        // One boolean always makes JSON.
        let content = serde_json::to_vec(&Switch { on }).unwrap_or_default();
        let error = self.dir.write(Item::Switch, &content).err()?;
        tracing::error!(%error, "the switch is not remembered");
        Some(problem::not_remembered(&error))
    }

    async fn join(
        &mut self,
        invite: &Invite,
        name: Option<String>,
        lines: &mpsc::Sender<JoinLine>,
    ) -> Result<(), ErrorReply> {
        let _ = lines.try_send(JoinLine::Asking {
            registries: invite.registries.clone(),
        });
        let already = join::current_membership(&self.dir, invite).map_err(|e| problem::of_join(&e))?;
        let already_member = already.is_some();
        if !already_member {
            // One that was revoked may still run.
            self.stop_node().await;
            self.publish(|stage| stage.state = ServiceState::Joining);
            let name = name.unwrap_or_else(join::default_name);
            if let Err(error) = join::enrol(&self.dir, invite, &name, &self.config.sockets).await {
                self.settle(None).await;
                return Err(problem::of_join(&error));
            }
        }
        let member = self
            .load_member()
            .map_err(|e| problem::of_join(&JoinError::State(e)))?;
        tracing::info!(name = member.name, network = member.network.name, "joined");
        let _ = lines.try_send(JoinLine::Joined {
            member: Box::new(member),
            already_member,
        });
        let was_on = self.stage.borrow().on;
        let trouble = if was_on { None } else { self.remember(true) };
        if self.node.is_none() {
            self.failures = 0;
            self.settle(trouble).await;
        }
        Ok(())
    }

    async fn leave(&mut self) -> Result<View, ErrorReply> {
        if self.stage.borrow().state == ServiceState::NotJoined {
            return Err(self.stage.borrow().refusal());
        }
        self.stop_node().await;
        let result = join::forget(&self.dir);
        if result.is_ok() {
            self.stage.send_modify(|stage| stage.on = true);
            tracing::info!("left the network");
        }
        self.settle(None).await;
        result.map_err(|error| problem::of_join(&JoinError::State(error)))?;
        Ok(self.stage.borrow().service())
    }

    /// Without a node: the next one reads the settings again anyway.
    fn reload(&self) -> Result<ReloadReply, ErrorReply> {
        let settings = Settings::load(self.dir.path());
        let bad = |error: &dyn std::fmt::Display| ErrorReply::new("bad-settings", error.to_string());
        let settings = settings.map_err(|error| bad(&error))?;
        if let (None, Some(filter)) = (&self.config.log, &settings.log) {
            logging::init(filter).map_err(|error| bad(&error))?;
        }
        Ok(ReloadReply::default())
    }

    fn publish(&self, change: impl FnOnce(&mut Stage)) {
        self.stage.send_modify(change);
        announce(&self.stage, &self.events);
    }
}

fn announce(stage: &watch::Sender<Stage>, events: &broadcast::Sender<EventLine>) {
    let service = Box::new(stage.borrow().service());
    // Without readers there is nobody to tell.
    let _ = events.send(line(Event::ServiceChanged { service }));
}

fn line(event: Event) -> EventLine {
    EventLine {
        unix_ms: clock::unix_ms(),
        event,
    }
}

/// On, unless it was switched off. A damaged one has been moved aside.
fn read_switch(dir: &StateDir) -> Result<bool, StateError> {
    let switch = match dir.read(Item::Switch)? {
        Content::Missing => return Ok(true),
        Content::MovedAside(..) => None,
        Content::Intact(bytes) => serde_json::from_slice::<Switch>(&bytes).ok(),
    };
    if switch.is_none() {
        dir.move_aside(Item::Switch);
        tracing::warn!("the file of the switch was damaged: it is on");
    }
    Ok(switch.is_none_or(|switch| switch.on))
}

async fn requested(reload: &mut Option<&mut Reload>) {
    match reload {
        Some(reload) => reload.requested().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn switch_is_on_until_it_is_switched_off() {
        let temp = TempDir::new("switch");
        let dir = StateDir::create(temp.path()).unwrap();
        assert!(read_switch(&dir).unwrap());
        for on in [false, true, false] {
            dir.write(Item::Switch, &serde_json::to_vec(&Switch { on }).unwrap())
                .unwrap();
            assert_eq!(read_switch(&dir).unwrap(), on);
        }
        for damaged in [&b"nonsense"[..], b"osier 1 switch"] {
            std::fs::write(dir.path_of(Item::Switch), damaged).unwrap();
            assert!(read_switch(&dir).unwrap());
            assert!(!dir.path_of(Item::Switch).exists());
        }
        // A good header around something else.
        dir.write(Item::Switch, b"{}").unwrap();
        assert!(read_switch(&dir).unwrap());
        assert!(dir.path().join("switch.damaged").exists());
    }
}
