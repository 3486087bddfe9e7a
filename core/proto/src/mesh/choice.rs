//! Whom to dial and whom to replace, as pure functions.

use super::{backoff::Backoff, directory::Member};
use crate::{Duration, Instant, record::EndpointKind, tunnel::TunnelId};
use core::net::SocketAddr;

/// Where a member can be tried now, best first; empty: not now. `own` are our addresses, which are never dialled.
pub fn reachable(member: &Member, backoff: &Backoff, own: &[SocketAddr], now: Instant) -> Vec<SocketAddr> {
    if member.avoid_until > now {
        return Vec::new();
    }
    let mut endpoints: Vec<_> = member
        .bundle
        .record
        .endpoints
        .iter()
        .filter(|e| backoff.is_ready(&e.address, now) && !own.contains(&e.address))
        .map(|e| (backoff.failures(&e.address), rank(e.kind), e.address))
        .collect();
    // What has failed before comes last.
    endpoints.sort_by_key(|(failures, rank, _)| (*failures, *rank));
    endpoints.into_iter().map(|(_, _, address)| address).collect()
}

/// When it makes sense to try the member again; `None`: never, it has no endpoints.
pub fn retry_at(member: &Member, backoff: &Backoff, own: &[SocketAddr]) -> Option<Instant> {
    let endpoints = member.bundle.record.endpoints.iter();
    let soonest = endpoints
        .filter(|e| !own.contains(&e.address))
        .map(|e| backoff.ready_at(&e.address).unwrap_or(Instant::ZERO))
        .min()?;
    Some(soonest.max(member.avoid_until))
}

fn rank(kind: EndpointKind) -> u8 {
    match kind {
        EndpointKind::Configured => 0,
        EndpointKind::Local => 1,
        EndpointKind::Mapped => 2,
        EndpointKind::Observed => 3,
    }
}

/// How useful an outgoing tunnel was lately. The order of the fields is the policy: the least goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Usefulness {
    pub usable: bool,
    /// Order of magnitude (binary logarithm, in steps of four doublings) of the octets of data lately.
    pub traffic: u32,
    /// Selected routes over it, the neighbour's own aside.
    pub routes: usize,
    /// Nearer is better.
    pub nearness: core::cmp::Reverse<Duration>,
    pub tunnel: TunnelId,
}

impl Usefulness {
    pub fn traffic_class(octets: u64) -> u32 {
        (u64::BITS - octets.leading_zeros()) / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cmp::Reverse;

    #[test]
    fn the_least_useful_tunnel_carries_least_and_is_farthest() {
        let tunnel = |id, octets, routes, millis| Usefulness {
            usable: true,
            traffic: Usefulness::traffic_class(octets),
            routes,
            nearness: Reverse(Duration::from_millis(millis)),
            tunnel: TunnelId(id),
        };
        let near = tunnel(1, 0, 0, 3);
        let far = tunnel(2, 0, 0, 200);
        let routing = tunnel(3, 0, 5, 200);
        let carrying = tunnel(4, 1 << 30, 0, 200);
        let dead = Usefulness {
            usable: false,
            ..carrying
        };
        let mut all = [carrying, near, routing, far, dead];
        all.sort();
        assert_eq!(all, [dead, far, near, routing, carrying]);
    }
}
