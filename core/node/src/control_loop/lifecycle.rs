//! What happens around the node: the network changes, the device goes to sleep and wakes up, the clock is set, and it
//! all ends.

use super::{ControlLoop, HOUSEKEEPING, Moment, offset};
use crate::{clock, control::types::Event, netwatch::Source, registry::Job};
use osier_proto::{Instant, node::Command};
use std::time::Duration;

/// A leaf does so when it is awake anyway; it does not wake for that before so much more time has passed.
const LEAF_SLACK: Duration = Duration::from_secs(14 * 60);
/// The system clock has been set when it moved by more than this against the monotonic one, in seconds.
const CLOCK_STEP: u64 = 5;
/// A planned stop that takes longer is ended anyway.
const STOP_LIMIT: Duration = Duration::from_secs(8);

impl ControlLoop {
    /// The addresses have changed, or the embedder says that the network has.
    pub(super) fn change_network(&mut self, now: Instant) {
        let before = self.told.clone();
        self.tell_addresses();
        if self.told == before {
            self.parts.node.handle_network_reset(now);
        }
        if !matches!(self.parts.settings.config.network, Source::Told(_)) || self.asleep {
            return;
        }
        // What the registry was asked over the old network gets no answer any more, and without one nothing does.
        if self.told.is_empty() {
            self.parts.registry.worker = None;
        } else {
            self.restart_registry();
        }
    }

    /// Saves what would be lost with the process, and leaves alone what wakes the radio: the request that the registry
    /// holds, and housekeeping. Tunnels go on, and traffic that comes is carried.
    pub(super) fn sleep(&mut self) {
        if std::mem::replace(&mut self.asleep, true) {
            return;
        }
        tracing::info!("going to sleep");
        self.save_cache();
        self.save_sequences();
        self.save_usage();
        self.parts.registry.worker = None;
        self.housekeeping_due = None;
    }

    /// Time has passed, perhaps much, and the network may be another one.
    pub(super) fn wake(&mut self, now: Instant) {
        let was_asleep = std::mem::take(&mut self.asleep);
        tracing::info!(was_asleep, "waking up");
        self.keep_house(now);
        self.parts.node.handle_timeout(now);
        self.parts.node.handle_network_reset(now);
        if was_asleep {
            self.restart_registry();
        }
    }

    pub(super) fn restart_registry(&mut self) {
        let number = self.parts.node.revocations().map_or(0, |list| list.number);
        let link = &mut self.parts.registry;
        // Two would ask for the same.
        link.worker = None;
        let (worker, urls) = (link.restart)(&self.parts.settings.current, number);
        link.worker = worker;
        link.urls = urls;
        let source = &self.parts.settings;
        if source.config.is_leaf(&source.current) {
            // Which tells whether the registry is reachable, too.
            self.submit(Job::FetchRevocations);
        }
    }

    pub(super) fn keep_house(&mut self, now: Instant) {
        self.housekeeping_due = (!self.asleep).then_some(now + HOUSEKEEPING);
        let offset = offset(&self.parts.shared.clock);
        if offset.abs_diff(self.clock_offset) > CLOCK_STEP {
            tracing::info!(seconds = offset - self.clock_offset, "the system clock was set");
            self.clock_offset = offset;
            self.parts
                .node
                .handle_command(Command::SetWallClock(clock::unix_time()), now);
        }
        self.probes.retain(|_, waiting| !waiting.is_closed());
        self.save_usage();
        self.check_health();
    }

    /// When to wake for housekeeping if nothing else happens.
    pub(super) fn housekeeping_by(&self) -> Option<Instant> {
        let source = &self.parts.settings;
        let is_leaf = source.config.is_leaf(&source.current);
        let slack = if is_leaf { LEAF_SLACK } else { Duration::ZERO };
        self.housekeeping_due.map(|due| due + slack)
    }

    pub(super) fn begin_stop(&mut self, now: Instant) {
        if self.stop.is_none() {
            tracing::info!("stopping: moving neighbours to other routes");
            self.stop = Some(Moment::now() + STOP_LIMIT);
            self.emit(Event::Stopping);
            self.parts.node.handle_command(Command::Stop, now);
        }
    }
}
