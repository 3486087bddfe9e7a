//! "Why not this one": how a route stands among those of its prefix.

use crate::entry::{Entry, NeighbourKey, Selection};
use crate::select::PATIENCE;
use crate::{INFINITY, Instant};

/// Whether a route is in use, and if not, why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In use.
    Selected,
    /// We originate the prefix ourselves; nobody else's route can replace that.
    OwnPrefix,
    /// An import rule denies it (see [`crate::filter`]).
    Filtered,
    /// The link to the neighbour is down.
    LinkDown,
    /// Its metric with the link cost does not fit into 16 bits.
    TooFar,
    /// The owner cannot forward by such a route (see [`crate::Forwarding`]).
    NotInstallable,
    /// Using it could make a loop: it is neither newer than `seqno` nor, at that seqno, better than the
    /// `distance` that we once announced (RFC 8966 section 3.5.1).
    Unfeasible { seqno: u16, distance: u16 },
    /// A little better than the one in use, since `since`: taken when it stays so for 10 s.
    Waiting { since: Instant },
    /// The one in use has metric `best`, which is no worse.
    WorseMetric { best: u16 },
}

impl Standing {
    /// A name for scripts.
    pub fn code(self) -> &'static str {
        match self {
            Self::Selected => "selected",
            Self::OwnPrefix => "own-prefix",
            Self::Filtered => "filtered",
            Self::LinkDown => "link-down",
            Self::TooFar => "too-far",
            Self::NotInstallable => "not-installable",
            Self::Unfeasible { .. } => "unfeasible",
            Self::Waiting { .. } => "waiting",
            Self::WorseMetric { .. } => "worse-metric",
        }
    }
}

/// An answer for people.
impl core::fmt::Display for Standing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Selected => f.write_str("in use"),
            Self::OwnPrefix => f.write_str("we announce this prefix ourselves"),
            Self::Filtered => f.write_str("denied by an import rule"),
            Self::LinkDown => f.write_str("the link to the neighbour is down"),
            Self::TooFar => write!(f, "its metric is beyond {}", INFINITY - 1),
            Self::NotInstallable => f.write_str("this system cannot forward by such a route"),
            Self::Unfeasible { seqno, distance } => write!(
                f,
                "could make a loop: not newer than seqno {seqno}, nor announced with less than {distance}"
            ),
            Self::Waiting { .. } => write!(
                f,
                "a little better than the one in use: taken if it stays so for {} s",
                PATIENCE.as_secs()
            ),
            Self::WorseMetric { best } => write!(f, "no better than the one in use, which has metric {best}"),
        }
    }
}

impl Entry {
    /// How a neighbour's route stands. `link_down`: whether the cost of the link to it is infinite.
    pub(crate) fn standing(&self, from: NeighbourKey, link_down: bool) -> Standing {
        let used = match &self.selected {
            Selection::Own => return Standing::OwnPrefix,
            Selection::Via { neighbour, .. } if *neighbour == from => return Standing::Selected,
            Selection::Via { .. } => self.selected_route().map(|(_, used)| used.metric),
            _ => None,
        };
        let Some(route) = self.routes.get(&from) else {
            return Standing::LinkDown;
        };
        if route.is_denied() {
            return Standing::Filtered;
        }
        if !route.installable {
            return Standing::NotInstallable;
        }
        if link_down {
            return Standing::LinkDown;
        }
        if route.metric == INFINITY {
            return Standing::TooFar;
        }
        match self.sources.get(&route.router_id) {
            Some(source) if !self.is_feasible(route) => {
                return Standing::Unfeasible {
                    seqno: source.seqno.0,
                    distance: source.metric,
                };
            }
            _ => {}
        }
        match (used, self.challenged) {
            (Some(used), Some(since)) if route.metric < used => Standing::Waiting { since },
            (used, _) => Standing::WorseMetric {
                best: used.unwrap_or(INFINITY),
            },
        }
    }
}
