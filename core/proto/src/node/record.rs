//! Our own record: signed anew when what it says has changed.

use super::{Node, Request, timers::Timer};
use crate::{
    Duration, Instant,
    record::{Bundle, Endpoint, Fields, Record},
};
use core::net::SocketAddr;

/// Changes gather this long before a record is signed, and records are this far apart at least.
const GATHER: Duration = Duration::from_millis(100);
const APART: Duration = Duration::from_secs(2);
/// Said again, so that registries and neighbours know that we are still there.
const REPEAT: Duration = Duration::from_secs(3600);
/// A leaf says so more rarely: everybody whom it is to be told passes it on.
const LEAF_REPEAT: Duration = Duration::from_secs(6 * 3600);

#[derive(Debug)]
pub(super) struct OwnRecord {
    pub(super) sequence: u64,
    bundle: Option<Bundle>,
    signed_at: Option<Instant>,
}

impl OwnRecord {
    pub(super) fn new(sequence: u64) -> Self {
        Self {
            sequence,
            bundle: None,
            signed_at: None,
        }
    }

    pub(super) fn bundle(&self) -> Option<&Bundle> {
        self.bundle.as_ref()
    }

    /// Somebody knows a record of ours with this sequence: the next one will be above it.
    pub(super) fn outdo(&mut self, sequence: u64) {
        self.sequence = self.sequence.max(sequence);
        self.bundle = None;
    }
}

impl Node {
    pub(super) fn network_changed(&mut self, mut local: Vec<SocketAddr>, now: Instant) {
        local.sort();
        local.dedup();
        self.notice_network(&local, now);
        if self.endpoints.local == local {
            return;
        }
        let is_first = self.endpoints.local.is_empty();
        self.endpoints.local = local;
        self.evidence.network_changed(now);
        if !is_first {
            self.look_anew(now);
        }
        self.record_changed(now);
    }

    /// Nothing that was known of the network holds any longer: neighbours are asked at once.
    pub(super) fn look_anew(&mut self, now: Instant) {
        self.endpoints.forget_observations();
        self.backoff.clear();
        self.wake_up(now);
        self.probe_all(now);
        self.recheck_all_mtus(now);
        self.timers.advance(Timer::Dial, now + Duration::from_millis(10));
    }

    /// Something that our record tells may have changed.
    pub(super) fn record_changed(&mut self, now: Instant) {
        let apart = self.record.signed_at.map_or(now, |at| at + APART);
        self.timers.advance(Timer::Record, apart.max(now + GATHER));
    }

    pub(super) fn sign_record(&mut self, now: Instant) {
        if self.stop.is_stopping() {
            return;
        }
        let repeat = if self.parameters.leaf { LEAF_REPEAT } else { REPEAT };
        self.timers.advance(Timer::Record, now + repeat);
        let endpoints: Vec<Endpoint> = self.endpoints.list(now);
        let fields = Fields {
            node: self.id,
            // Civil time makes up for a lost state directory.
            sequence: (self.record.sequence + 1).max(self.unix_now(now).0),
            endpoints,
            leaf: self.parameters.leaf,
            relay: self.certificate.flags.relay && !self.parameters.leaf,
            load: 0,
        };
        let repeat_due = self
            .record
            .signed_at
            .is_none_or(|at| now.saturating_since(at) >= repeat);
        if let Some(bundle) = &self.record.bundle
            && !repeat_due
            && bundle.certificate == self.certificate
            && bundle.record.endpoints == fields.endpoints
            && bundle.record.leaf == fields.leaf
        {
            return;
        }
        let record = Record::sign(fields, &self.keys, &self.network.id());
        self.record.sequence = record.sequence;
        self.record.signed_at = Some(now);
        let bundle = Bundle {
            certificate: self.certificate.clone(),
            record,
        };
        self.record.bundle = Some(bundle.clone());
        self.directory.insert(bundle.clone(), now);
        self.request(Request::SaveCache);
        self.request(Request::Publish(bundle));
        self.tell_neighbours(self.id, None, now);
    }
}
