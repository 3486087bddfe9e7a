//! Which of a prefix's routes to use (RFC 8966 section 3.6).
//!
//! Only feasible routes with a finite metric are candidates; the seqno plays no part. A route that is lost is
//! replaced at once. A better one replaces it at once when it is clearly better, otherwise when it has stayed
//! better for [`PATIENCE`]: two routes that swap places within the noise of loss measurement never flap
//! (A.3), yet every network settles on its shortest paths.

use crate::entry::{Entry, NeighbourKey, Selection};
use crate::{Duration, Instant};

/// How long a slightly better route must stay better.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Metrics nearer than this are never "clearly" apart.
const NOISE: u16 = 16;

/// At least a quarter lower.
pub(crate) fn clearly_better(metric: u16, than: u16) -> bool {
    metric < than && than - metric >= NOISE && u32::from(metric) * 4 <= u32::from(than) * 3
}

/// The neighbour to route through now. Starts or ends the wait for a switch as a side effect.
pub(crate) fn choose(entry: &mut Entry, now: Instant) -> Option<NeighbourKey> {
    let selected = match &entry.selected {
        Selection::Via { neighbour, .. } => Some(*neighbour),
        _ => None,
    };
    let (mut best, mut current): (Option<(u16, NeighbourKey)>, _) = (None, None);
    for (key, route) in entry.routes.iter().filter(|(_, r)| r.is_candidate()) {
        let this = (route.metric, *key);
        let is_selected = selected == Some(*key);
        // Whether it is feasible costs a look-up: only those that matter are asked.
        let wins = best.is_none_or(|best| this < best);
        if (wins || is_selected) && entry.is_feasible(route) {
            if is_selected {
                current = Some(this);
            }
            if wins {
                best = Some(this);
            }
        }
    }
    let (Some((metric, current)), Some((best_metric, best))) = (current, best) else {
        entry.challenged = None;
        return best.map(|(_, key)| key);
    };
    if best_metric >= metric {
        entry.challenged = None;
        return Some(current);
    }
    let since = *entry.challenged.get_or_insert(now);
    if clearly_better(best_metric, metric) || now >= since + PATIENCE {
        entry.challenged = None;
        return Some(best);
    }
    Some(current)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::INFINITY;
    use crate::entry::Route;
    use crate::source::Source;
    use crate::{InterfaceId, RouterId, seqno::Seqno};
    use core::net::Ipv6Addr;

    const ORIGIN: RouterId = RouterId([1; 8]);

    fn neighbour(n: u32) -> NeighbourKey {
        (InterfaceId(n), Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1))
    }

    fn route(metric: u16, seqno: u16) -> Route {
        Route {
            router_id: ORIGIN,
            seqno: Seqno(seqno),
            reference: metric.saturating_sub(10),
            worse: None,
            penalty: 0,
            next_hop: neighbour(1).1.into(),
            installable: true,
            metric,
            hold: 14_000,
            expires: Instant::ZERO + Duration::from_secs(14),
            reminders: 0,
        }
    }

    fn entry(routes: &[(u32, Route)]) -> Entry {
        let mut entry = Entry::new();
        entry.routes = routes.iter().map(|(n, r)| (neighbour(*n), r.clone())).collect();
        entry
    }

    fn use_route(entry: &mut Entry, n: u32) {
        let route = entry.routes.get(&neighbour(n)).unwrap();
        entry.selected = Selection::Via {
            neighbour: neighbour(n),
            router_id: route.router_id,
            next_hop: route.next_hop,
            metric: route.metric,
        };
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn the_lowest_metric_wins_whatever_the_seqno() {
        let mut entry = entry(&[(1, route(200, 9)), (2, route(100, 1)), (3, route(150, 5))]);
        assert_eq!(choose(&mut entry, at(0)), Some(neighbour(2)));
    }

    #[test]
    fn a_route_that_is_no_better_changes_nothing() {
        let mut entry = entry(&[(1, route(100, 1)), (2, route(90, 1))]);
        assert!(!entry.is_content_beside(100), "nothing is in use yet");
        use_route(&mut entry, 2);
        for (metric, content) in [(89, false), (90, true), (91, true), (INFINITY, true)] {
            assert_eq!(entry.is_content_beside(metric), content, "{metric}");
        }
        use_route(&mut entry, 1);
        assert_eq!(choose(&mut entry, at(0)), Some(neighbour(1)));
        assert!(!entry.is_content_beside(100), "a better one waits for its time");
    }

    #[test]
    fn unfeasible_and_unreachable_routes_are_never_chosen() {
        let mut entry = entry(&[(1, route(100, 1)), (2, route(INFINITY, 2))]);
        let source = Source {
            seqno: Seqno(1),
            metric: 90,
            expires: at(100),
        };
        entry.sources.insert(ORIGIN, source);
        assert_eq!(choose(&mut entry, at(0)), None);
    }

    #[test]
    fn what_cannot_be_forwarded_by_is_never_chosen() {
        let mut entry = entry(&[(1, route(100, 1)), (2, route(200, 1))]);
        entry.routes.get_mut(&neighbour(1)).unwrap().installable = false;
        assert_eq!(choose(&mut entry, at(0)), Some(neighbour(2)));
        entry.routes.get_mut(&neighbour(2)).unwrap().installable = false;
        assert_eq!(choose(&mut entry, at(0)), None);
    }

    #[test]
    fn a_clearly_better_route_is_taken_at_once() {
        let mut entry = entry(&[(1, route(200, 1)), (2, route(150, 1))]);
        use_route(&mut entry, 1);
        assert_eq!(choose(&mut entry, at(0)), Some(neighbour(2)));
    }

    #[test]
    fn a_slightly_better_route_must_stay_better() {
        let mut entry = entry(&[(1, route(200, 1)), (2, route(190, 1))]);
        use_route(&mut entry, 1);
        assert_eq!(choose(&mut entry, at(0)), Some(neighbour(1)));
        assert_eq!(entry.challenged, Some(at(0)));
        assert_eq!(choose(&mut entry, at(9)), Some(neighbour(1)));
        assert_eq!(choose(&mut entry, at(10)), Some(neighbour(2)));
    }

    #[test]
    fn routes_that_swap_places_within_the_noise_do_not_flap() {
        let mut entry = entry(&[(1, route(200, 1)), (2, route(190, 1))]);
        use_route(&mut entry, 1);
        for second in 0..100 {
            let noise = if second % 8 < 4 { 190 } else { 210 };
            entry.routes.get_mut(&neighbour(2)).unwrap().metric = noise;
            assert_eq!(choose(&mut entry, at(second)), Some(neighbour(1)));
        }
    }

    #[test]
    fn a_lost_route_is_replaced_at_once_even_by_a_worse_one() {
        let mut entry = entry(&[(1, route(INFINITY, 1)), (2, route(9000, 1))]);
        use_route(&mut entry, 1);
        assert_eq!(choose(&mut entry, at(0)), Some(neighbour(2)));
    }
}
