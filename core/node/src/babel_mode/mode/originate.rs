//! What we announce as ours: the operator's prefixes, and routes of the kernel's table.

use super::{Install, Mode};
use crate::babel_mode::Error;
use crate::babel_mode::redistribute::{self, Ours, RouteWatcher};
use osier_babel::RouteKey;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// From the first change of a route to a look at the table: changes come in groups.
const SETTLE: Duration = Duration::from_millis(20);
/// Between two looks.
const GAP: Duration = Duration::from_millis(200);
/// A look without any reason, in case that something was missed.
const PERIOD: Duration = Duration::from_secs(30);

/// Follows the kernel's routes while rules want some of them.
#[derive(Debug, Default)]
pub(super) struct Follower {
    watcher: Option<RouteWatcher>,
    last: Option<Instant>,
    due: Option<Instant>,
}

impl Follower {
    /// Something may have changed.
    pub(super) fn stir(&mut self) {
        if self.watcher.is_some() {
            let soon = Instant::now() + SETTLE;
            let at = self.last.map_or(soon, |last| soon.max(last + GAP));
            self.due = Some(self.due.map_or(at, |due| due.min(at)));
        }
    }

    /// Waits until it is time to look; cancel-safe.
    pub(super) async fn due(&mut self) -> Result<(), Error> {
        loop {
            let Some(watcher) = &mut self.watcher else {
                return std::future::pending().await;
            };
            match self.due {
                Some(due) if due <= Instant::now() + GAP => {
                    tokio::time::sleep_until(due).await;
                    return Ok(());
                }
                due => tokio::select! {
                    changed = watcher.changed() => {
                        changed?;
                        self.stir();
                    }
                    () = tokio::time::sleep_until(due.unwrap_or_else(|| Instant::now() + PERIOD)) => return Ok(()),
                },
            }
        }
    }
}

impl Mode {
    /// Takes note of the rules for the kernel's routes and looks at these for the first time.
    pub(super) async fn follow_routes(&mut self) -> Result<(), Error> {
        self.follower = Follower::default();
        if !self.config.redistribute.is_empty() {
            self.follower.watcher = Some(RouteWatcher::new(self.ours())?);
        }
        self.originate().await
    }

    fn ours(&self) -> Ours {
        Ours {
            table: match self.config.install {
                Install::Table(number) => Some(number),
                Install::None => None,
            },
            metric: self.config.kernel_metric,
        }
    }

    /// Announces what we should and withdraws the rest.
    pub(super) async fn originate(&mut self) -> Result<(), Error> {
        let mut wanted: BTreeMap<RouteKey, u16> = BTreeMap::new();
        if self.follower.watcher.is_some() {
            let routes = redistribute::look(&self.handle, &self.config.redistribute, self.ours()).await?;
            wanted.extend(routes.into_iter().map(|(prefix, metric)| (prefix.into(), metric)));
            let now = Instant::now();
            (self.follower.last, self.follower.due) = (Some(now), Some(now + PERIOD));
        }
        wanted.extend(self.config.originated().map(|route| (route, 0)));
        let now = self.clock.now();
        let gone: Vec<RouteKey> = self
            .announced
            .keys()
            .filter(|p| !wanted.contains_key(p))
            .copied()
            .collect();
        for route in gone {
            tracing::debug!(%route, "no longer announced");
            self.speaker.withdraw(route, now);
        }
        for (route, metric) in &wanted {
            if self.announced.get(route) != Some(metric) {
                tracing::debug!(%route, metric, "announced");
                self.speaker.announce(*route, *metric, now);
            }
        }
        self.announced = wanted;
        Ok(())
    }
}
