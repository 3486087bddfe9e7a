//! The operator's rules: about which routes to believe, tell and install, and which of the kernel's routes to
//! announce. Here interfaces have names; [`RouteRule::resolve`] looks up the numbers that they have now.

use osier_babel::RouterId;
use osier_babel::filter::{Action, PrefixRange, SourceMatch};
use std::net::Ipv6Addr;
#[cfg(any(target_os = "linux", test))]
use {
    ipnet::IpNet,
    osier_babel::{InterfaceId, filter::Rule},
    std::collections::BTreeMap,
};

/// A rule about routes; see [`osier_babel::filter::Rule`]. A condition that is `None` fits everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteRule {
    pub interface: Option<String>,
    pub neighbour: Option<Ipv6Addr>,
    pub prefix: Option<PrefixRange>,
    pub source: SourceMatch,
    pub router_id: Option<RouterId>,
    pub action: Action,
}

impl RouteRule {
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

    #[cfg(any(target_os = "linux", test))]
    /// The rule by the numbers of the interfaces; `None` while its interface does not exist, because then
    /// nothing can match.
    fn resolve(&self, interfaces: &BTreeMap<String, InterfaceId>) -> Option<Rule> {
        let interface = match &self.interface {
            Some(name) => Some(*interfaces.get(name)?),
            None => None,
        };
        Some(Rule {
            interface,
            neighbour: self.neighbour,
            prefix: self.prefix,
            source: self.source,
            router_id: self.router_id,
            action: self.action,
        })
    }
}

/// All rules of a list that can match at the moment, in order.
#[cfg(any(target_os = "linux", test))]
pub(super) fn resolve(rules: &[RouteRule], interfaces: &BTreeMap<String, InterfaceId>) -> Vec<Rule> {
    rules.iter().filter_map(|rule| rule.resolve(interfaces)).collect()
}

/// A rule about announcing routes that are in the kernel's table. The first one that matches decides; a route
/// that none matches is not announced. A condition that is `None` fits everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redistribute {
    pub protocol: Option<Protocol>,
    /// The interface that the route goes out of.
    pub interface: Option<String>,
    pub prefix: Option<PrefixRange>,
    /// The metric to announce it with; `None`: do not announce it.
    pub metric: Option<u16>,
}

/// Who made a route, as the kernel numbers them (rtnetlink(7), /etc/iproute2/rt_protos).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol(pub u8);

/// Names as `ip route` prints them; "connected" are the subnets of the interfaces' own addresses.
const PROTOCOLS: [(&str, u8); 13] = [
    ("connected", 2),
    ("boot", 3),
    ("static", 4),
    ("ra", 9),
    ("zebra", 11),
    ("bird", 12),
    ("dhcp", 16),
    ("babel", 42),
    ("bgp", 186),
    ("isis", 187),
    ("ospf", 188),
    ("rip", 189),
    ("eigrp", 192),
];

impl Protocol {
    /// Routes of Babel daemons.
    pub const BABEL: Self = Self(42);
}

impl std::str::FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = PROTOCOLS.iter().find(|(name, _)| *name == text).map(|(_, n)| *n);
        // 0 is "unspecified" and 1 the kernel's redirects.
        let number = named.or_else(|| text.parse().ok().filter(|n| *n > 1));
        number.map(Self).ok_or_else(|| {
            let names: Vec<_> = PROTOCOLS.iter().map(|(name, _)| *name).collect();
            format!(
                "{text:?} is no protocol of kernel routes: give one of {}, or its number, 2 to 255",
                names.join(", ")
            )
        })
    }
}

/// A route in the kernel's table.
#[cfg(any(target_os = "linux", test))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KernelRoute<'a> {
    pub(super) prefix: IpNet,
    pub(super) protocol: Protocol,
    pub(super) interface: Option<&'a str>,
}

#[cfg(any(target_os = "linux", test))]
impl Redistribute {
    fn matches(&self, route: &KernelRoute<'_>) -> bool {
        // Another Babel daemon's routes only when they are asked for: it speaks for itself.
        self.protocol
            .map_or(route.protocol != Protocol::BABEL, |p| p == route.protocol)
            && self
                .interface
                .as_deref()
                .is_none_or(|name| route.interface == Some(name))
            && self.prefix.is_none_or(|range| range.contains(&route.prefix))
    }
}

/// The metric to announce a route with, if any.
#[cfg(any(target_os = "linux", test))]
pub(super) fn redistributed(rules: &[Redistribute], route: &KernelRoute<'_>) -> Option<u16> {
    rules.iter().find(|rule| rule.matches(route))?.metric
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn kernel(prefix: &str, protocol: &str, interface: Option<&'static str>) -> KernelRoute<'static> {
        KernelRoute {
            prefix: prefix.parse().unwrap(),
            protocol: protocol.parse().unwrap(),
            interface,
        }
    }

    #[test]
    fn rules_of_interfaces_that_do_not_exist_are_left_out() {
        let rule = |name: &str| RouteRule {
            interface: Some(name.into()),
            ..RouteRule::new(Action::Deny)
        };
        let rules = [rule("eth0"), rule("eth1"), RouteRule::new(Action::Deny)];
        let found = resolve(&rules, &[("eth1".to_owned(), InterfaceId(7))].into());
        let interfaces: Vec<_> = found.iter().map(|r| r.interface).collect();
        assert_eq!(interfaces, [Some(InterfaceId(7)), None]);
    }

    #[test]
    fn kernel_routes_are_announced_by_protocol_interface_and_prefix() {
        let rules = [
            Redistribute {
                prefix: Some(PrefixRange::new("10.66.0.0/16".parse().unwrap(), None, Some(32)).unwrap()),
                ..Redistribute::default()
            },
            Redistribute {
                protocol: Some("static".parse().unwrap()),
                metric: Some(7),
                ..Redistribute::default()
            },
            Redistribute {
                protocol: Some("connected".parse().unwrap()),
                interface: Some("lan".into()),
                metric: Some(0),
                ..Redistribute::default()
            },
        ];
        for (route, metric) in [
            (kernel("10.66.1.0/24", "static", None), None),
            (kernel("10.1.0.0/16", "static", None), Some(7)),
            (kernel("10.1.0.0/16", "connected", Some("lan")), Some(0)),
            (kernel("10.1.0.0/16", "connected", Some("wan")), None),
            (kernel("10.1.0.0/16", "connected", None), None),
            (kernel("10.1.0.0/16", "dhcp", Some("lan")), None),
        ] {
            assert_eq!(redistributed(&rules, &route), metric, "{route:?}");
        }
    }

    #[test]
    fn routes_of_babel_daemons_are_announced_only_when_named() {
        let route = kernel("10.1.0.0/16", "babel", None);
        let mut rule = Redistribute {
            metric: Some(0),
            ..Redistribute::default()
        };
        assert_eq!(redistributed(std::slice::from_ref(&rule), &route), None);
        rule.protocol = Some(Protocol::BABEL);
        assert_eq!(redistributed(&[rule], &route), Some(0));
    }

    #[test]
    fn protocols_have_names_and_numbers() {
        assert_eq!("dhcp".parse(), Ok(Protocol(16)));
        assert_eq!("99".parse(), Ok(Protocol(99)));
        for wrong in ["", "0", "1", "256", "statik"] {
            let error = wrong.parse::<Protocol>().unwrap_err();
            assert!(error.contains("static"), "{error}");
        }
    }
}
