//! What happens around the node: the network changes, the device goes to sleep and wakes up.

use super::{ControlLoop, LONG, Moment};
use crate::netwatch::Source;
use osier_proto::Instant;

impl ControlLoop {
    /// The addresses have changed, or the embedder says that the network has.
    pub(super) fn change_network(&mut self, now: Instant) {
        let before = self.told.clone();
        self.tell_addresses();
        if self.told == before {
            self.look_anew(now);
        }
        // What the registry was asked over the old network gets no answer any more.
        if matches!(self.parts.settings.config.network, Source::Told(_)) && !self.asleep {
            self.restart_registry();
        }
    }

    /// Nothing that was known of the network holds any longer: as if it had been gone and were back.
    fn look_anew(&mut self, now: Instant) {
        self.parts.node.handle_network_change(Vec::new(), now);
        self.parts.node.handle_network_change(self.told.clone(), now);
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
        self.housekeeping_due = Moment::now() + LONG;
    }

    /// Time has passed, perhaps much, and the network may be another one.
    pub(super) fn wake(&mut self, now: Instant) {
        let was_asleep = std::mem::take(&mut self.asleep);
        tracing::info!(was_asleep, "waking up");
        self.keep_house(now);
        self.parts.node.handle_timeout(now);
        self.look_anew(now);
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
    }
}
