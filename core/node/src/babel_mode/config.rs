//! What the operator asks for.

use super::keys::MacOptions;
use ipnet::IpNet;
use osier_babel::RouterId;
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
}

impl InterfaceOptions {
    /// An interface with the customary cost of a wired link, 96.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            rx_cost: Config::DEFAULT_RX_COST,
            rtt: false,
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
            router_id: None,
            hello_interval: Self::DEFAULT_HELLO_INTERVAL,
            update_interval: Self::DEFAULT_UPDATE_INTERVAL,
            control: control.into(),
            kernel_metric: Self::DEFAULT_KERNEL_METRIC,
            install: Install::MAIN,
            mac: MacOptions::default(),
        }
    }

    /// Whether the parts make sense together.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.interfaces.is_empty() {
            return Err(ConfigError::NoInterface);
        }
        let mut names = BTreeSet::new();
        for interface in &self.interfaces {
            let name = &interface.name;
            // The kernel's own rule, IFNAMSIZ less the final zero.
            let sane =
                (1..=15).contains(&name.len()) && !name.contains(|c: char| c == '/' || c.is_whitespace());
            if !sane {
                return Err(ConfigError::BadInterfaceName(name.clone()));
            }
            if !names.insert(name) {
                return Err(ConfigError::InterfaceTwice(name.clone()));
            }
            check_rx_cost(name, interface.rx_cost)?;
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
        self.prefixes
            .iter()
            .find(|p| !routable(p))
            .map_or(Ok(()), |p| Err(ConfigError::Prefix(*p)))
    }
}

/// The wire counts in hundredths of a second, in 16 bits.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
const LONGEST_INTERVAL: Duration = Duration::from_millis(655_350);

/// What is wrong with a [`Config`] or one of its texts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("no interface: give at least one -i IF")]
    NoInterface,
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
pub fn parse_rx_cost(text: &str) -> Result<InterfaceOptions, ConfigError> {
    let (name, cost) = text
        .split_once('=')
        .ok_or_else(|| ConfigError::RxCostSyntax(text.to_owned()))?;
    let out_of_range = || ConfigError::RxCost {
        interface: name.to_owned(),
        cost: cost.to_owned(),
    };
    let rx_cost = cost.parse().map_err(|_| out_of_range())?;
    check_rx_cost(name, rx_cost)?;
    Ok(InterfaceOptions {
        rx_cost,
        ..InterfaceOptions::new(name)
    })
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

/// Whether a prefix means the same to every router.
fn routable(prefix: &IpNet) -> bool {
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
    fn default_routes_and_private_prefixes_may_be_announced() {
        let mut config = config();
        for prefix in ["0.0.0.0/0", "::/0", "10.0.0.0/8", "fd00::/48", "2001:db8::1/128"] {
            config.prefixes.push(prefix.parse().unwrap());
        }
        assert_eq!(config.check(), Ok(()));
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
        assert_eq!((cost.name.as_str(), cost.rx_cost), ("wlan0", 256));
        for wrong in ["wlan0", "wlan0=", "wlan0=0", "wlan0=65535", "wlan0=-1"] {
            assert!(parse_rx_cost(wrong).is_err(), "{wrong}");
        }
    }
}
