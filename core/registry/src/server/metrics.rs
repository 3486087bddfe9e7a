//! Counters since the start.

use serde::Serialize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        #[derive(Debug, Default)]
        pub(super) struct Metrics {
            pub(super) database_down: AtomicBool,
            $(pub(super) $name: Counter,)*
        }

        /// Counters since the start; `/v1/health` shows them.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        pub struct MetricsSnapshot {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Metrics {
            pub(super) fn snapshot(&self) -> MetricsSnapshot {
                MetricsSnapshot { $($name: self.$name.get(),)* }
            }
        }
    };
}

metrics! {
    /// Connections accepted.
    connections,
    /// Connections closed at once for want of a slot.
    connections_refused,
    /// Requests of all kinds.
    requests,
    /// Nodes enrolled, repeats included.
    enrolled,
    /// Enrolments refused: token, name, signature or form.
    enrolments_refused,
    /// Certificates renewed.
    renewed,
    /// Records stored.
    published,
    /// Answers with a 4xx status.
    client_errors,
    /// Answers with status 429.
    rate_limited,
    /// Answers with a 5xx status.
    server_errors,
}

impl Metrics {
    pub(super) fn is_database_down(&self) -> bool {
        self.database_down.load(Ordering::Relaxed)
    }
}
