//! What happens around the node: the network changes, the device goes to sleep and wakes up.

use super::ControlLoop;
use crate::{netwatch::Source, registry::Job};
use osier_proto::Instant;

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
}
