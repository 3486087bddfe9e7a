//! What the operator asks for.

use super::keys::MacOptions;
use super::{Redistribute, RouteRule};
use ipnet::IpNet;
use osier_babel::{CostModel, RouteKey, RouterId};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Everything `osier babel` is told, checked by [`Config::check`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to speak Babel; an interface that is down or does not exist yet is waited for.
    pub interfaces: Vec<InterfaceOptions>,
    /// Announced as ours with metric 0. The kernel must already know where they are.
    pub prefixes: Vec<IpNet>,
    /// At most one of each family: the prefixes of that family are announced for packets from it only
    /// (RFC 9079).
    pub source_prefixes: Vec<IpNet>,
    /// `None`: made from the MAC address of the first interface that has one, so it survives restarts.
    pub router_id: Option<RouterId>,
    /// 10 ms..=655.35 s.
    pub hello_interval: Duration,
    /// Interval of full updates, from the Hello interval to 655.35 s.
    pub update_interval: Duration,
    /// Unix socket for `osier babel dump`, made with mode 0600.
    pub control: PathBuf,
    /// Priority of our routes in the kernel's table: lower ones of others win. Together with the protocol
    /// number 42 it marks routes as ours, so do not use the pair for routes of your own.
    pub kernel_metric: u32,
    /// Where routes are installed.
    pub install: Install,
    /// How packets are authenticated, on all interfaces.
    pub mac: MacOptions,
    /// What to believe of neighbours' announcements, and how much.
    pub import: Vec<RouteRule>,
    /// What to announce to neighbours.
    pub export: Vec<RouteRule>,
    /// Which selected routes to install: the others are used in what we announce, though not by the kernel.
    pub install_rules: Vec<RouteRule>,
    /// Which routes of the kernel's table to announce as ours.
    pub redistribute: Vec<Redistribute>,
    /// Directory for what should survive a restart: router-id and seqno.
    pub state: Option<PathBuf>,
}

/// The routing table that selected routes go into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Install {
    /// Nowhere: to watch a network, or to measure the protocol alone.
    None,
    /// The kernel's table of this number; 254 is the main one.
    Table(u32),
}

impl Install {
    pub const MAIN: Self = Self::Table(254);
}

impl std::fmt::Display for Install {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::None => f.write_str("none"),
            Self::MAIN => f.write_str("main"),
            Self::Table(number) => write!(f, "{number}"),
        }
    }
}

impl std::str::FromStr for Install {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "none" => Ok(Self::None),
            "main" => Ok(Self::MAIN),
            // 255 is the kernel's own table of local addresses.
            number => number
                .parse()
                .ok()
                .filter(|n| (1..=252).contains(n) || *n == 254 || *n > 255)
                .map(Self::Table)
                .ok_or_else(|| ConfigError::Table(text.to_owned())),
        }
    }
}

/// One `-i`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceOptions {
    pub name: String,
    /// Nominal receive cost, 1..=65534.
    pub rx_cost: u16,
    /// The round-trip time to a neighbour adds to the cost of the link. It is measured in any case.
    pub rtt: bool,
    pub kind: LinkKind,
    /// Instead of [`Config::hello_interval`].
    pub hello_interval: Option<Duration>,
    /// Instead of [`Config::update_interval`]; at least the Hello interval.
    pub update_interval: Option<Duration>,
    /// `None`: as the kind suggests.
    pub split_horizon: Option<bool>,
}

/// What an interface leads to, which decides how its cost is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkKind {
    /// All members hear each other and little is lost: 2 out of 3 Hellos (RFC 8966 appendix A.2.1), cost 96,
    /// split horizon.
    #[default]
    Wired,
    /// Members may not hear each other and packets get lost: ETX (A.2.2), cost 256, no split horizon.
    Wireless,
    /// One neighbour, and packets may get lost: ETX, cost 96, split horizon.
    Tunnel,
}

impl LinkKind {
    /// Of a perfect link.
    pub const fn rx_cost(self) -> u16 {
        match self {
            Self::Wired | Self::Tunnel => Config::DEFAULT_RX_COST,
            Self::Wireless => 256,
        }
    }

    pub const fn cost_model(self) -> CostModel {
        match self {
            Self::Wired => CostModel::TwoOutOfThree,
            Self::Wireless | Self::Tunnel => CostModel::Etx,
        }
    }

    pub const fn split_horizon(self) -> bool {
        !matches!(self, Self::Wireless)
    }
}

impl InterfaceOptions {
    /// An interface with the customary cost of a wired link, 96.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            rx_cost: Config::DEFAULT_RX_COST,
            rtt: false,
            kind: LinkKind::Wired,
            hello_interval: None,
            update_interval: None,
            split_horizon: None,
        }
    }
}

impl Config {
    /// As babeld for wired links.
    pub const DEFAULT_HELLO_INTERVAL: Duration = Duration::from_secs(4);
    /// As babeld.
    pub const DEFAULT_UPDATE_INTERVAL: Duration = Duration::from_secs(16);
    /// As babeld for wired links.
    pub const DEFAULT_RX_COST: u16 = 96;
    /// Away from the 0 and 1024 of routes without a metric, the 32 of BIRD and those of DHCP clients.
    pub const DEFAULT_KERNEL_METRIC: u32 = 1042;

    /// The defaults, with `interfaces` and `control` to be filled in.
    pub fn new(interfaces: Vec<InterfaceOptions>, control: impl Into<PathBuf>) -> Self {
        Self {
            interfaces,
            prefixes: Vec::new(),
            source_prefixes: Vec::new(),
            router_id: None,
            hello_interval: Self::DEFAULT_HELLO_INTERVAL,
            update_interval: Self::DEFAULT_UPDATE_INTERVAL,
            control: control.into(),
            kernel_metric: Self::DEFAULT_KERNEL_METRIC,
            install: Install::MAIN,
            mac: MacOptions::default(),
            import: Vec::new(),
            export: Vec::new(),
            install_rules: Vec::new(),
            redistribute: Vec::new(),
            state: None,
        }
    }

    /// Sets the Hello interval of all interfaces, and the update interval to four of them.
    pub fn set_hello_interval(&mut self, interval: Duration) {
        self.hello_interval = interval;
        self.update_interval = (4 * interval).min(LONGEST_INTERVAL);
    }

    /// Hello and update interval of an interface.
    pub fn intervals(&self, interface: &InterfaceOptions) -> (Duration, Duration) {
        let hello = interface.hello_interval.unwrap_or(self.hello_interval);
        let update = interface.update_interval.unwrap_or(self.update_interval);
        // A long Hello interval of one interface alone stretches its updates.
        (hello, update.max(hello))
    }

    /// Puts into `new` what a running speaker cannot change; the names and present values of what would have
    /// changed.
    pub fn keep_fixed(&self, new: &mut Self) -> Vec<(&'static str, String)> {
        let mut kept = Vec::new();
        // Without one the next start makes it from a MAC address or the state, as this one did.
        if new.router_id.is_some() && new.router_id != self.router_id {
            let present = self
                .router_id
                .map_or("what it is".to_owned(), |id| id.to_string());
            kept.push(("router-id", present));
        }
        new.router_id = self.router_id;
        if new.control != self.control {
            kept.push(("control", self.control.display().to_string()));
        }
        new.control.clone_from(&self.control);
        if new.state != self.state {
            let present = self.state.as_ref().map(|path| path.display().to_string());
            kept.push(("state", present.unwrap_or_else(|| "unset".to_owned())));
        }
        new.state.clone_from(&self.state);
        if new.install != self.install {
            kept.push(("kernel.table", self.install.to_string()));
        }
        new.install = self.install;
        if new.kernel_metric != self.kernel_metric {
            kept.push(("kernel.metric", self.kernel_metric.to_string()));
        }
        new.kernel_metric = self.kernel_metric;
        kept
    }

    /// Whether the parts make sense together.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.interfaces.is_empty() {
            return Err(ConfigError::NoInterface);
        }
        if self.control.as_os_str().is_empty() {
            return Err(ConfigError::NoControl);
        }
        let mut names = BTreeSet::new();
        for interface in &self.interfaces {
            let name = &interface.name;
            check_name(name)?;
            if !names.insert(name) {
                return Err(ConfigError::InterfaceTwice(name.clone()));
            }
            check_rx_cost(name, interface.rx_cost)?;
            let intervals = [interface.hello_interval, interface.update_interval];
            let own = intervals.into_iter().flatten();
            if let Some(wrong) = own
                .into_iter()
                .find(|i| !(SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(i))
            {
                return Err(ConfigError::HelloInterval(wrong));
            }
        }
        if !(SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&self.hello_interval) {
            return Err(ConfigError::HelloInterval(self.hello_interval));
        }
        if !(self.hello_interval..=LONGEST_INTERVAL).contains(&self.update_interval) {
            return Err(ConfigError::UpdateInterval(self.update_interval));
        }
        if let Some(id) = self.router_id.filter(|id| !usable_router_id(*id)) {
            return Err(ConfigError::RouterId(id.to_string()));
        }
        for (at, source) in self.source_prefixes.iter().enumerate() {
            if self.source_prefixes[..at]
                .iter()
                .any(|other| same_family(other, source))
            {
                return Err(ConfigError::SourceTwice(*source));
            }
            if !self.prefixes.iter().any(|prefix| same_family(prefix, source)) {
                return Err(ConfigError::SourceAlone(*source));
            }
        }
        self.prefixes
            .iter()
            .chain(&self.source_prefixes)
            .find(|p| !routable(p))
            .map_or(Ok(()), |p| Err(ConfigError::Prefix(*p)))
    }

    #[cfg(any(target_os = "linux", test))]
    /// What to announce as ours: each prefix with the source of its family, if there is one.
    pub(super) fn originated(&self) -> impl Iterator<Item = RouteKey> + '_ {
        self.prefixes.iter().map(|prefix| RouteKey {
            prefix: prefix.trunc(),
            source: self
                .source_prefixes
                .iter()
                .find(|source| same_family(prefix, source) && source.prefix_len() > 0)
                .map(IpNet::trunc),
        })
    }
}

/// The wire counts in hundredths of a second, in 16 bits.
pub(super) const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
pub(super) const LONGEST_INTERVAL: Duration = Duration::from_millis(655_350);

/// What is wrong with a [`Config`] or one of its texts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("no interface: give at least one -i IF, or an [[interface]] section in the file")]
    NoInterface,
    #[error("no control socket: give --control PATH, or `control` in the file")]
    NoControl,
    #[error("{0:?} is not the name of an interface (1 to 15 characters)")]
    BadInterfaceName(String),
    #[error("interface {0} is given twice")]
    InterfaceTwice(String),
    #[error("receive cost of {interface} must be 1 to 65534, not {cost}")]
    RxCost { interface: String, cost: String },
    #[error("{0:?} is not a receive cost: write IF=N, e.g. eth0=96")]
    RxCostSyntax(String),
    #[error("the Hello interval must be 10 ms to 655 s, not {0:?}")]
    HelloInterval(Duration),
    #[error("the update interval must be at least the Hello interval and at most 655 s, not {0:?}")]
    UpdateInterval(Duration),
    #[error("{0:?} is not a router-id: give 16 hexadecimal digits, neither all 0 nor all f")]
    RouterId(String),
    #[error("{0} cannot be announced: loopback, link-local and multicast prefixes mean nothing to others")]
    Prefix(IpNet),
    #[error(
        "source prefix {0}: there is another of this family already, give one for all prefixes of a family"
    )]
    SourceTwice(IpNet),
    #[error("source prefix {0}: no prefix of this family is announced, so give one with -p")]
    SourceAlone(IpNet),
    #[error("{0:?} is no table for routes: give `main`, `none`, or a number that is not 0, 253 or 255")]
    Table(String),
}

/// Parses 16 hexadecimal digits; colons between octets are permitted, as babeld writes them.
pub fn parse_router_id(text: &str) -> Result<RouterId, ConfigError> {
    let wrong = || ConfigError::RouterId(text.to_owned());
    let digits: String = text.chars().filter(|&c| c != ':').collect();
    if digits.len() != 16 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let number = u64::from_str_radix(&digits, 16).map_err(|_| wrong())?;
    let id = RouterId(number.to_be_bytes());
    if usable_router_id(id) {
        Ok(id)
    } else {
        Err(wrong())
    }
}

/// Parses `IF=N`.
pub fn parse_rx_cost(text: &str) -> Result<(String, u16), ConfigError> {
    let (name, cost) = text
        .split_once('=')
        .ok_or_else(|| ConfigError::RxCostSyntax(text.to_owned()))?;
    let out_of_range = || ConfigError::RxCost {
        interface: name.to_owned(),
        cost: cost.to_owned(),
    };
    let rx_cost = cost.parse().map_err(|_| out_of_range())?;
    check_rx_cost(name, rx_cost)?;
    Ok((name.to_owned(), rx_cost))
}

/// The kernel's own rule, IFNAMSIZ less the final zero.
pub(super) fn check_name(name: &str) -> Result<(), ConfigError> {
    let sane = (1..=15).contains(&name.len()) && !name.contains(|c: char| c == '/' || c.is_whitespace());
    if sane {
        Ok(())
    } else {
        Err(ConfigError::BadInterfaceName(name.to_owned()))
    }
}

fn check_rx_cost(interface: &str, cost: u16) -> Result<(), ConfigError> {
    if (1..osier_babel::INFINITY).contains(&cost) {
        return Ok(());
    }
    Err(ConfigError::RxCost {
        interface: interface.to_owned(),
        cost: cost.to_string(),
    })
}

/// RFC 8966 section 4.1.3.
pub(super) fn usable_router_id(id: RouterId) -> bool {
    id.0 != [0; 8] && id.0 != [0xff; 8]
}

fn same_family(a: &IpNet, b: &IpNet) -> bool {
    a.addr().is_ipv4() == b.addr().is_ipv4()
}

/// Whether a prefix means the same to every router.
pub(super) fn routable(prefix: &IpNet) -> bool {
    match prefix.network() {
        IpAddr::V4(a) => !(a.is_loopback() || a.is_link_local() || a.is_multicast()),
        IpAddr::V6(a) => !(a.is_loopback() || a.is_unicast_link_local() || a.is_multicast()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::new(
            vec![InterfaceOptions::new("eth0"), InterfaceOptions::new("eth1")],
            "/run/babel.sock",
        )
    }

    #[test]
    fn defaults_are_those_of_babeld() {
        let config = config();
        assert_eq!(config.check(), Ok(()));
        assert_eq!(config.hello_interval, Duration::from_secs(4));
        assert_eq!(config.update_interval, Duration::from_secs(16));
        assert_eq!(config.interfaces[0].rx_cost, 96);
    }

    #[test]
    fn contradictions_are_refused() {
        let with = |change: fn(&mut Config)| {
            let mut config = config();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(with(|c| c.interfaces.clear()).contains("-i IF"));
        assert!(with(|c| c.interfaces[1].name = "eth0".into()).contains("twice"));
        assert!(with(|c| c.interfaces[1].name = "far/too".into()).contains("name"));
        assert!(with(|c| c.interfaces[0].rx_cost = 0).contains("1 to 65534"));
        assert!(with(|c| c.interfaces[0].rx_cost = 65535).contains("1 to 65534"));
        assert!(with(|c| c.hello_interval = Duration::from_millis(9)).contains("Hello"));
        assert!(with(|c| c.update_interval = Duration::from_secs(1)).contains("update"));
        assert!(with(|c| c.prefixes.push("fe80::/64".parse().unwrap())).contains("fe80::/64"));
        assert!(with(|c| c.prefixes.push("224.0.0.0/4".parse().unwrap())).contains("224.0.0.0/4"));
        assert!(with(|c| c.router_id = Some(RouterId([0; 8]))).contains("router-id"));
    }

    #[test]
    fn a_source_prefix_goes_with_the_prefixes_of_its_family() {
        let mut config = config();
        config.prefixes = ["fd00::/48", "10.0.0.0/8", "::/0"]
            .map(|p| p.parse().unwrap())
            .into();
        config.source_prefixes = vec!["2001:db8::1/32".parse().unwrap()];
        assert_eq!(config.check(), Ok(()));
        let announced: Vec<String> = config.originated().map(|route| route.to_string()).collect();
        assert_eq!(
            announced,
            [
                "fd00::/48 from 2001:db8::/32",
                "10.0.0.0/8",
                "::/0 from 2001:db8::/32"
            ]
        );
        config.source_prefixes.push("fd00::/8".parse().unwrap());
        assert!(config.check().unwrap_err().to_string().contains("another"));
        config.source_prefixes = vec!["fe80::/64".parse().unwrap()];
        assert!(config.check().unwrap_err().to_string().contains("fe80::/64"));
        config.source_prefixes = vec!["fd00::/8".parse().unwrap()];
        config.prefixes = vec!["10.0.0.0/8".parse().unwrap()];
        assert!(config.check().unwrap_err().to_string().contains("-p"));
    }

    #[test]
    fn default_routes_and_private_prefixes_may_be_announced() {
        let mut config = config();
        for prefix in ["0.0.0.0/0", "::/0", "10.0.0.0/8", "fd00::/48", "2001:db8::1/128"] {
            config.prefixes.push(prefix.parse().unwrap());
        }
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn a_reload_keeps_what_cannot_change_and_says_so() {
        let mut old = config();
        old.router_id = Some(RouterId([1; 8]));
        let mut new = config();
        new.prefixes.push("10.0.0.0/8".parse().unwrap());
        assert_eq!(
            old.keep_fixed(&mut new),
            [],
            "no router-id in the file means the one we have"
        );
        assert_eq!((new.prefixes.len(), new.router_id), (1, old.router_id));
        new.control = "/run/other.sock".into();
        new.router_id = Some(RouterId([2; 8]));
        new.install = Install::None;
        new.kernel_metric = 7;
        new.state = Some("/var/lib/x".into());
        let names: Vec<_> = old
            .keep_fixed(&mut new)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(
            names,
            ["router-id", "control", "state", "kernel.table", "kernel.metric"]
        );
        assert_eq!((new.control, new.install), (old.control, old.install));
    }

    #[test]
    fn the_intervals_of_an_interface_come_before_those_of_all() {
        let mut config = config();
        config.set_hello_interval(Duration::from_secs(1));
        config.interfaces[1].hello_interval = Some(Duration::from_secs(10));
        let intervals = |n: usize| {
            let (hello, update) = config.intervals(&config.interfaces[n]);
            (hello.as_secs(), update.as_secs())
        };
        assert_eq!((intervals(0), intervals(1)), ((1, 4), (10, 10)));
    }

    #[test]
    fn router_ids_are_sixteen_digits() {
        assert_eq!(
            parse_router_id("0123456789abcdef").unwrap().to_string(),
            "0123456789abcdef"
        );
        assert_eq!(
            parse_router_id("01:23:45:67:89:ab:cd:ef").unwrap().to_string(),
            "0123456789abcdef"
        );
        for wrong in [
            "",
            "123",
            "0123456789abcdeg",
            "+123456789abcdef",
            "0000000000000000",
            "ffffffffffffffff",
        ] {
            assert!(parse_router_id(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn tables_have_names_or_numbers() {
        for (text, table) in [
            ("none", Install::None),
            ("main", Install::MAIN),
            ("254", Install::MAIN),
            ("10", Install::Table(10)),
            ("70000", Install::Table(70_000)),
        ] {
            assert_eq!(text.parse(), Ok(table));
        }
        assert_eq!(
            [Install::None, Install::MAIN, Install::Table(7)].map(|t| t.to_string()),
            ["none", "main", "7"]
        );
        for wrong in ["", "0", "253", "255", "default", "-1", "4294967296"] {
            assert!(wrong.parse::<Install>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn receive_costs_name_their_interface() {
        let cost = parse_rx_cost("wlan0=256").unwrap();
        assert_eq!(cost, ("wlan0".to_owned(), 256));
        for wrong in ["wlan0", "wlan0=", "wlan0=0", "wlan0=65535", "wlan0=-1"] {
            assert!(parse_rx_cost(wrong).is_err(), "{wrong}");
        }
    }
}
