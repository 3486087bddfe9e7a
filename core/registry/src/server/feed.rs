//! Watches the newest revocation list for those who wait for it.
//!
//! Lists are made by commands and other registries, so the database is asked each second; that is also how the
//! server notices that the database is gone and back.

use super::{metrics::Metrics, stopped};
use crate::{Error, Registry};
use osier_proto::codec::to_base64url;
use std::{
    future::Future,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{sync::watch, time::interval};
use tracing::{info, warn};

const POLL: Duration = Duration::from_secs(1);

/// The newest list, ready to send.
#[derive(Clone, Debug)]
pub(super) struct CurrentList {
    pub(super) number: u64,
    pub(super) encoded: Arc<str>,
}

pub(super) struct Feed;

impl Feed {
    /// Loads the list, and returns the task that keeps it fresh.
    pub(super) async fn start(
        registry: Registry,
        metrics: Arc<Metrics>,
        stopping: watch::Receiver<bool>,
    ) -> Result<
        (
            impl Future<Output = ()> + Send + 'static,
            watch::Receiver<CurrentList>,
        ),
        Error,
    > {
        let (sender, receiver) = watch::channel(load(&registry).await?);
        Ok((run(registry, metrics, sender, stopping), receiver))
    }
}

async fn load(registry: &Registry) -> Result<CurrentList, Error> {
    let list = registry.revocations().await?;
    Ok(CurrentList {
        number: list.number,
        encoded: to_base64url(&list.encode()).into(),
    })
}

async fn run(
    registry: Registry,
    metrics: Arc<Metrics>,
    sender: watch::Sender<CurrentList>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut ticks = interval(POLL);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stopped(&mut stopping) => return,
        }
        let outcome = refresh(&registry, &sender).await;
        let down = outcome.is_err();
        if metrics.database_down.swap(down, Ordering::Relaxed) != down {
            match outcome {
                Err(error) => {
                    warn!(event = "database-down", %error, "requests are answered with 503 meanwhile")
                }
                Ok(()) => info!(event = "database-up", "the database answers again"),
            }
        }
    }
}

async fn refresh(registry: &Registry, sender: &watch::Sender<CurrentList>) -> Result<(), Error> {
    // Any other number, also a smaller one: a database restored from a backup is what counts now.
    if registry.revocation_number().await? != sender.borrow().number {
        let list = load(registry).await?;
        info!(
            event = "revocations",
            number = list.number,
            "a new revocation list"
        );
        sender.send_replace(list);
    }
    Ok(())
}
