//! Events on their way up.
//!
//! What there is a newest state of is kept as that state alone: an app that was asleep gets one, not all it went
//! through. Other happenings wait in a bounded queue; what an app is too slow for is counted.

use crate::{Health, ServiceView, SessionError};
use osier_core::{
    control::types::{self as api, EventLine},
    service::Embedded,
    tun::SlotState,
};
use tokio::sync::{Mutex, broadcast, watch};

/// Happenings that may wait.
const WAITING: usize = 64;

#[derive(Clone, Debug, PartialEq, uniffi::Enum)]
pub enum Event {
    /// Joined, left, switched, started, stopped or failed; the newest, and the first of all events.
    ServiceChanged {
        service: ServiceView,
    },
    /// What the user should know, the newest; empty when all is well.
    HealthChanged {
        health: Vec<Health>,
    },
    /// The system has closed the device: another VPN has taken over, or the user has switched this one off. The node goes
    /// on without; `set_tun()` gives it another.
    DeviceLost {
        reason: String,
    },
    NeighbourUp {
        name: String,
    },
    NeighbourDown {
        name: String,
        reason: String,
    },
    /// This device is no member any more.
    Excluded {
        reason: String,
    },
    /// The app was too slow, and has missed this many of the last three kinds.
    Missed {
        count: u64,
    },
}

/// Where [`Events::next`] takes them from. One reader at a time.
pub(crate) struct Events(Mutex<Inbox>);

struct Inbox {
    service: watch::Receiver<Option<ServiceView>>,
    health: watch::Receiver<Vec<Health>>,
    device: watch::Receiver<SlotState>,
    happenings: broadcast::Receiver<Event>,
    over: bool,
}

/// Where the pump puts them.
struct Outbox {
    service: watch::Sender<Option<ServiceView>>,
    health: watch::Sender<Vec<Health>>,
    happenings: broadcast::Sender<Event>,
}

impl Events {
    /// Those of a service from now on, and what it is now. Needs a tokio runtime.
    pub(crate) fn of(service: &Embedded, now: api::Service, device: watch::Receiver<SlotState>) -> Self {
        let (states, mut newest) = watch::channel(Some(ServiceView::from(now)));
        newest.mark_changed();
        let (health, newest_health) = watch::channel(Vec::new());
        let (happenings, queue) = broadcast::channel(WAITING);
        let outbox = Outbox {
            service: states,
            health,
            happenings,
        };
        tokio::spawn(pump(service.events(), outbox));
        Self(Mutex::new(Inbox {
            service: newest,
            health: newest_health,
            device,
            happenings: queue,
            over: false,
        }))
    }

    /// `None` when the session has stopped and nothing is left. May be cancelled: nothing gets lost.
    pub(crate) async fn next(&self) -> Result<Option<Event>, SessionError> {
        let mut inbox = self.0.try_lock().map_err(|_| {
            SessionError::argument(
                "next_event() is called by two at once",
                "let one loop take the events and share what it got",
            )
        })?;
        let Inbox {
            service,
            health,
            device,
            happenings,
            over,
        } = &mut *inbox;
        while !*over {
            tokio::select! {
                biased;
                Ok(()) = service.changed() => {
                    if let Some(service) = service.borrow_and_update().clone() {
                        return Ok(Some(Event::ServiceChanged { service }));
                    }
                }
                Ok(()) = device.changed() => {
                    if let SlotState::Lost(reason) = device.borrow_and_update().clone() {
                        return Ok(Some(Event::DeviceLost { reason }));
                    }
                }
                Ok(()) = health.changed() => {
                    let health = health.borrow_and_update().clone();
                    return Ok(Some(Event::HealthChanged { health }));
                }
                happening = happenings.recv() => match happening {
                    Ok(event) => return Ok(Some(event)),
                    Err(broadcast::error::RecvError::Lagged(count)) => {
                        return Ok(Some(Event::Missed { count }));
                    }
                    // The pump has ended, and whatever it put before was taken above.
                    Err(broadcast::error::RecvError::Closed) => *over = true,
                },
            }
        }
        Ok(None)
    }
}

/// Sorts what happens, until the service has stopped.
async fn pump(mut lines: broadcast::Receiver<EventLine>, outbox: Outbox) {
    loop {
        let event = match lines.recv().await {
            Ok(line) => line.event,
            Err(broadcast::error::RecvError::Lagged(count)) => api::Event::Missed { count },
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let happening = match event {
            api::Event::ServiceChanged { service } => {
                outbox.service.send_replace(Some((*service).into()));
                continue;
            }
            api::Event::HealthChanged { health } => {
                outbox
                    .health
                    .send_replace(health.into_iter().map(Into::into).collect());
                continue;
            }
            api::Event::NeighbourUp { name, .. } => Event::NeighbourUp { name },
            api::Event::NeighbourDown { name, reason, .. } => Event::NeighbourDown { name, reason },
            api::Event::Excluded { reason } => Event::Excluded { reason },
            api::Event::Missed { count } => Event::Missed { count },
            api::Event::Stopped => return,
            api::Event::Hello { .. }
            | api::Event::RouteChanged { .. }
            | api::Event::Revoked { .. }
            | api::Event::Stopping
            | api::Event::Unknown => continue,
        };
        // Without a reader there is nobody to tell.
        let _ = outbox.happenings.send(happening);
    }
}
