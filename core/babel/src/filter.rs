//! Rules of the operator about single routes: what to believe (import) and what to tell (export).
//!
//! Rules are pure data, looked at in order; the first one that matches decides, and without one a route is
//! accepted. An accepted route can be made worse by a number added to its metric. Nothing can make a route
//! better: then metrics would no longer rise with every hop, which loop-freedom rests on (RFC 8966 section 3.5.2).
//!
//! On import the number counts like a part of the link's cost. A route denied on import is kept, with an infinite metric, so
//! that new rules can bring it back at once. On export the number is part of what we announce, hence of the
//! feasibility distance (section 3.7.3), so a neighbour's metric is still larger than ours.

use crate::{INFINITY, InterfaceId, IpNet, RouterId};
use core::net::Ipv6Addr;

/// The rules of both directions. The default has none and lets everything pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// About what neighbours announce.
    pub import: Vec<Rule>,
    /// About what we announce, our own prefixes included.
    pub export: Vec<Rule>,
}

/// One rule. It matches what fits all of its conditions; a condition that is `None` fits everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The interface that the update comes from or goes to.
    pub interface: Option<InterfaceId>,
    /// The neighbour that announced the route. Never fits on export, which is to all neighbours at once.
    pub neighbour: Option<Ipv6Addr>,
    pub prefix: Option<PrefixRange>,
    pub source: SourceMatch,
    /// The router that originated the route.
    pub router_id: Option<RouterId>,
    pub action: Action,
}

/// What happens to a route that a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is not used, or not announced.
    Deny,
    /// It passes, with this much added to its metric.
    Accept { add: u16 },
}

/// Which source prefixes (RFC 9079) fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceMatch {
    #[default]
    Any,
    /// Routes for every source only, that is ordinary ones.
    None,
    Within(PrefixRange),
}

/// Prefixes inside another, with a length within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixRange {
    prefix: IpNet,
    shortest: u8,
    longest: u8,
}

/// Why there can be no such [`PrefixRange`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    #[error("ge {ge} is shorter than the prefix {prefix} itself: give {} or more", prefix.prefix_len())]
    TooShort { prefix: IpNet, ge: u8 },
    #[error("le {le} is longer than an address of {prefix}: give at most {}", prefix.max_prefix_len())]
    TooLong { prefix: IpNet, le: u8 },
    #[error("ge {ge} is more than le {le}: nothing could match")]
    Empty { ge: u8, le: u8 },
}

/// What a rule is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    pub interface: InterfaceId,
    pub neighbour: Option<Ipv6Addr>,
    pub prefix: IpNet,
    pub source: Option<IpNet>,
    pub router_id: RouterId,
}

impl Rule {
    /// A rule that matches everything.
    pub const fn new(action: Action) -> Self {
        Self {
            interface: None,
            neighbour: None,
            prefix: None,
            source: SourceMatch::Any,
            router_id: None,
            action,
        }
    }

    pub fn matches(&self, subject: &Subject) -> bool {
        self.interface.is_none_or(|id| id == subject.interface)
            && self.neighbour.is_none_or(|n| subject.neighbour == Some(n))
            && self.prefix.is_none_or(|range| range.contains(&subject.prefix))
            && self.router_id.is_none_or(|id| id == subject.router_id)
            && match (self.source, &subject.source) {
                (SourceMatch::Any, _) | (SourceMatch::None, None) => true,
                (SourceMatch::Within(range), Some(source)) => range.contains(source),
                _ => false,
            }
    }
}

impl PrefixRange {
    /// Exactly this prefix without bounds; with `ge` also longer ones of at least that length, with `le` also
    /// longer ones of at most that length.
    ///
    /// # Errors
    /// When nothing could match.
    pub fn new(prefix: IpNet, ge: Option<u8>, le: Option<u8>) -> Result<Self, RangeError> {
        let prefix = prefix.trunc();
        let (own, max) = (prefix.prefix_len(), prefix.max_prefix_len());
        let shortest = ge.unwrap_or(own);
        let longest = le.unwrap_or(if ge.is_some() { max } else { own });
        if shortest < own {
            return Err(RangeError::TooShort { prefix, ge: shortest });
        }
        if longest > max {
            return Err(RangeError::TooLong { prefix, le: longest });
        }
        if shortest > longest {
            return Err(RangeError::Empty {
                ge: shortest,
                le: longest,
            });
        }
        Ok(Self {
            prefix,
            shortest,
            longest,
        })
    }

    pub fn contains(&self, prefix: &IpNet) -> bool {
        (self.shortest..=self.longest).contains(&prefix.prefix_len()) && self.prefix.contains(prefix)
    }
}

impl Filters {
    /// What import rules add to the metric; [`INFINITY`] when they deny the route.
    pub(crate) fn import(&self, subject: &Subject) -> u16 {
        decide(&self.import, subject)
    }

    /// What export rules add to the metric; [`INFINITY`] when they deny the route.
    pub(crate) fn export(&self, subject: &Subject) -> u16 {
        decide(&self.export, subject)
    }
}

/// The first rule that matches decides.
pub fn first_match<'a>(rules: &'a [Rule], subject: &Subject) -> Option<&'a Rule> {
    rules.iter().find(|rule| rule.matches(subject))
}

fn decide(rules: &[Rule], subject: &Subject) -> u16 {
    match first_match(rules, subject).map(|rule| rule.action) {
        None => 0,
        Some(Action::Accept { add }) => add,
        Some(Action::Deny) => INFINITY,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use core::net::{IpAddr, Ipv4Addr};
    use ipnet::{Ipv4Net, Ipv6Net};
    use proptest::prelude::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn subject(prefix: &str) -> Subject {
        Subject {
            interface: InterfaceId(1),
            neighbour: Some("fe80::1".parse().unwrap()),
            prefix: net(prefix),
            source: None,
            router_id: RouterId([1; 8]),
        }
    }

    fn range(prefix: &str, ge: Option<u8>, le: Option<u8>) -> PrefixRange {
        PrefixRange::new(net(prefix), ge, le).unwrap()
    }

    #[test]
    fn lengths_are_bounded_as_routers_do() {
        let fits = |ge, le, prefix: &str| range("10.0.0.0/8", ge, le).contains(&net(prefix));
        assert!(fits(None, None, "10.0.0.0/8"));
        assert!(!fits(None, None, "10.0.0.0/9"));
        assert!(!fits(None, None, "0.0.0.0/0"));
        assert!(fits(Some(16), None, "10.1.0.0/16") && fits(Some(16), None, "10.1.1.1/32"));
        assert!(!fits(Some(16), None, "10.0.0.0/15"));
        assert!(fits(None, Some(16), "10.0.0.0/8") && fits(None, Some(16), "10.1.0.0/16"));
        assert!(!fits(None, Some(16), "10.1.0.0/17"));
        assert!(!fits(None, Some(32), "11.0.0.0/16") && !fits(Some(8), None, "a00::/8"));
        assert!(range("0.0.0.0/0", None, Some(32)).contains(&net("192.0.2.1/32")));
        assert!(!range("0.0.0.0/0", None, Some(32)).contains(&net("::/0")));
    }

    #[test]
    fn ranges_that_nothing_fits_are_refused() {
        let wrong = |ge, le| {
            PrefixRange::new(net("10.0.0.0/8"), ge, le)
                .unwrap_err()
                .to_string()
        };
        assert!(wrong(Some(7), None).contains("8 or more"));
        assert!(wrong(None, Some(33)).contains("at most 32"));
        assert!(wrong(Some(24), Some(16)).contains("nothing"));
        assert!(wrong(None, Some(7)).contains("nothing"));
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let mut open = Rule::new(Action::Accept { add: 10 });
        open.prefix = Some(range("10.1.0.0/16", None, None));
        let mut closed = Rule::new(Action::Deny);
        closed.prefix = Some(range("10.0.0.0/8", None, Some(32)));
        let filters = Filters {
            import: vec![open, closed],
            export: vec![],
        };
        assert_eq!(filters.import(&subject("10.1.0.0/16")), 10);
        assert_eq!(filters.import(&subject("10.2.0.0/16")), INFINITY);
        assert_eq!(filters.import(&subject("192.0.2.0/24")), 0);
        assert_eq!(filters.export(&subject("10.2.0.0/16")), 0);
    }

    #[test]
    fn every_condition_must_fit() {
        let all = Rule {
            interface: Some(InterfaceId(1)),
            neighbour: Some("fe80::1".parse().unwrap()),
            prefix: Some(range("fd00::/8", None, Some(128))),
            source: SourceMatch::Within(range("2001:db8::/32", None, Some(64))),
            router_id: Some(RouterId([1; 8])),
            action: Action::Deny,
        };
        let whole = Subject {
            source: Some(net("2001:db8:1::/48")),
            ..subject("fd00:1::/32")
        };
        assert!(all.matches(&whole));
        for other in [
            Subject {
                interface: InterfaceId(2),
                ..whole
            },
            Subject {
                neighbour: None,
                ..whole
            },
            Subject {
                neighbour: Some("fe80::2".parse().unwrap()),
                ..whole
            },
            Subject {
                prefix: net("2001:db8::/32"),
                ..whole
            },
            Subject {
                source: None,
                ..whole
            },
            Subject {
                source: Some(net("2001:db8::1/128")),
                ..whole
            },
            Subject {
                router_id: RouterId([2; 8]),
                ..whole
            },
        ] {
            assert!(!all.matches(&other), "{other:?}");
        }
        let plain = Rule {
            source: SourceMatch::None,
            ..Rule::new(Action::Deny)
        };
        assert!(plain.matches(&subject("fd00::/64")) && !plain.matches(&whole));
    }

    fn prefix() -> impl Strategy<Value = IpNet> {
        // Few bits, so that prefixes often contain each other.
        let v4 = (any::<u8>(), 0..=32u8).prop_map(|(a, len)| {
            IpNet::V4(Ipv4Net::new(Ipv4Addr::new(a & 0x81, a & 3, 0, a & 1), len).unwrap()).trunc()
        });
        let v6 = (any::<u8>(), 0..=128u8).prop_map(|(a, len)| {
            let address = u128::from(a & 0x83).rotate_right(8);
            IpNet::V6(Ipv6Net::new(address.into(), len).unwrap()).trunc()
        });
        prop_oneof![v4, v6]
    }

    proptest! {
        /// A range contains exactly the prefixes whose first and last addresses it covers and whose length fits.
        #[test]
        fn ranges_are_about_addresses_and_lengths(base in prefix(), other in prefix(), ge in 0..=128u8, le in 0..=128u8) {
            let Ok(range) = PrefixRange::new(base, Some(ge), Some(le)) else {
                return Ok(());
            };
            let same_family = base.addr().is_ipv4() == other.addr().is_ipv4();
            let inside = |a: IpAddr| base.contains(&a);
            let expected = same_family && inside(other.network()) && inside(other.broadcast())
                && (ge..=le).contains(&other.prefix_len()) && other.prefix_len() >= base.prefix_len();
            prop_assert_eq!(range.contains(&other), expected);
        }

        /// Rules behind the deciding one, and rules that do not match, change nothing.
        #[test]
        fn only_the_first_match_counts(
            rules in prop::collection::vec((prop::option::of(prefix()), prop::option::of(0..3u32), prop::option::of(0..1000u16)), 0..8),
            prefix in prefix(), interface in 0..3u32,
        ) {
            let rules: Vec<Rule> = rules.into_iter().map(|(prefix, interface, add)| Rule {
                prefix: prefix.map(|p| PrefixRange::new(p, None, Some(p.max_prefix_len())).unwrap()),
                interface: interface.map(InterfaceId),
                ..Rule::new(add.map_or(Action::Deny, |add| Action::Accept { add }))
            }).collect();
            let subject = Subject { prefix, interface: InterfaceId(interface), ..subject("::/0") };
            let whole = decide(&rules, &subject);
            let matching: Vec<Rule> = rules.iter().filter(|r| r.matches(&subject)).cloned().collect();
            prop_assert_eq!(whole, decide(&matching, &subject));
            prop_assert_eq!(whole, decide(matching.get(..1).unwrap_or_default(), &subject));
            prop_assert!(!matching.is_empty() || whole == 0);
        }
    }
}
