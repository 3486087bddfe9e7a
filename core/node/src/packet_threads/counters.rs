//! What the packet path counts.

use osier_dataplane::DropReason;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of the packet path; they only rise.
#[derive(Debug, Default)]
pub struct Counters {
    drops: [AtomicU64; DropReason::ALL.len()],
    /// Lost because control was busy.
    control_overflow: AtomicU64,
    /// The socket was full, or the system knew no way.
    send_errors: AtomicU64,
    deliver_errors: AtomicU64,
    /// The device gave a super-packet that makes no sense.
    bad_offload: AtomicU64,
    /// Trains that had to go as single datagrams, because path or device cannot segment.
    trains_refused: AtomicU64,
    /// Full turns that helpers took.
    helped: AtomicU64,
}

impl Counters {
    /// Stable names and values.
    pub fn list(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        let drops = DropReason::ALL.iter().zip(&self.drops);
        let drops = drops.map(|(reason, counter)| (format!("drop-{}", reason.name()), counter));
        let others = [
            ("drop-control-overflow", &self.control_overflow),
            ("drop-bad-offload", &self.bad_offload),
            ("send-errors", &self.send_errors),
            ("deliver-errors", &self.deliver_errors),
            ("trains-refused", &self.trains_refused),
            ("helped-turns", &self.helped),
        ];
        let others = others
            .into_iter()
            .map(|(name, counter)| (name.to_owned(), counter));
        drops
            .chain(others)
            .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
    }

    pub(crate) fn count_send_errors(&self, datagrams: u64) {
        self.send_errors.fetch_add(datagrams, Ordering::Relaxed);
    }

    pub(super) fn count_deliver_errors(&self, packets: u64) {
        self.deliver_errors.fetch_add(packets, Ordering::Relaxed);
    }

    pub(super) fn count_control_overflow(&self) {
        self.control_overflow.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_bad_offload(&self) {
        self.bad_offload.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refused_train(&self) {
        self.trains_refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_helped(&self, turns: u64) {
        self.helped.fetch_add(turns, Ordering::Relaxed);
    }

    pub(super) fn count_drop(&self, reason: DropReason) {
        if let Some(at) = DropReason::ALL.iter().position(|known| *known == reason) {
            self.drops[at].fetch_add(1, Ordering::Relaxed);
        }
    }
}
