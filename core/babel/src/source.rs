//! The source table: the best (seqno, metric) we ever announced for a prefix and router-id, and with it the
//! feasibility condition that keeps Babel free of loops (RFC 8966 sections 3.2.5, 3.5.1 and 3.7.3).

use crate::{Instant, seqno::Seqno};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) seqno: Seqno,
    pub(crate) metric: u16,
    /// When it may be forgotten; moved by every finite update sent.
    pub(crate) expires: Instant,
}

impl Source {
    /// A route is feasible when it is newer than what we announced, or as new and strictly better: then the
    /// neighbour's own feasibility distance is better than ours, so its path cannot lead through us. No source
    /// entry means that we never announced such a route, so nobody can route through us by it.
    pub(crate) fn admits(source: Option<&Self>, seqno: Seqno, metric: u16) -> bool {
        source.is_none_or(|source| {
            seqno.newer_than(source.seqno) || (seqno == source.seqno && metric < source.metric)
        })
    }

    /// Takes note of a finite update about to be sent.
    pub(crate) fn announced(&mut self, seqno: Seqno, metric: u16, expires: Instant) {
        if seqno.newer_than(self.seqno) {
            (self.seqno, self.metric) = (seqno, metric);
        } else if seqno == self.seqno {
            self.metric = self.metric.min(metric);
        }
        self.expires = self.expires.max(expires);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn source(seqno: u16, metric: u16) -> Source {
        Source {
            seqno: Seqno(seqno),
            metric,
            expires: Instant::ZERO,
        }
    }

    #[test]
    fn feasible_is_newer_or_as_new_and_strictly_better() {
        let known = source(65535, 200);
        assert!(Source::admits(None, Seqno(1), 60_000));
        assert!(Source::admits(Some(&known), Seqno(0), 60_000));
        assert!(Source::admits(Some(&known), Seqno(65535), 199));
        assert!(!Source::admits(Some(&known), Seqno(65535), 200));
        assert!(!Source::admits(Some(&known), Seqno(65534), 1));
    }

    #[test]
    fn the_distance_only_gets_better_within_a_seqno() {
        let mut known = source(10, 200);
        known.announced(Seqno(10), 300, Instant::ZERO);
        assert_eq!(known, source(10, 200));
        known.announced(Seqno(10), 150, Instant::ZERO);
        assert_eq!(known, source(10, 150));
        known.announced(Seqno(9), 1, Instant::ZERO);
        assert_eq!(known, source(10, 150));
        known.announced(Seqno(11), 900, Instant::ZERO);
        assert_eq!(known, source(11, 900));
    }
}
