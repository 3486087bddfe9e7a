//! `osier babel`: Babel on the interfaces of the operating system, to bridge with an existing Babel network.

use crate::{
    exit::{Exit, Failure, Outcome},
    format,
    output::{BOLD, Output, paint, table},
};
use ipnet::IpNet;
use osier_babel::RouterId;
use osier_core::babel_mode::{
    self, Config, Error, FileError, Install, InterfaceOptions, KeySource, MacError, Report, parse_router_id,
    parse_rx_cost,
};
use osier_core::system::{Reload, Stop};
use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::sync::mpsc;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct BabelArgs {
    #[command(subcommand)]
    action: Option<Action>,
    /// Configuration file; the other options come before what it says. SIGHUP reads it again
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Speak Babel on this interface; repeatable
    #[arg(
        long = "interface",
        short,
        value_name = "IF",
        required_unless_present = "config"
    )]
    interfaces: Vec<String>,
    /// Announce this prefix as ours; the kernel must know where it is; repeatable
    #[arg(long = "prefix", short, value_name = "PREFIX")]
    prefixes: Vec<IpNet>,
    /// Announce the prefixes of this one's family for packets from it only (RFC 9079); once for each family
    #[arg(long = "source-prefix", value_name = "PREFIX")]
    source_prefixes: Vec<IpNet>,
    /// Our router-id, 16 hexadecimal digits [default: made from the first MAC address]
    #[arg(long, value_name = "HEX16", value_parser = parse_router_id)]
    router_id: Option<RouterId>,
    /// Time between Hellos, in milliseconds [default: 4000]
    #[arg(long, value_name = "N")]
    hello_ms: Option<u32>,
    /// Time between full updates, in milliseconds [default: 4 Hellos]
    #[arg(long, value_name = "N")]
    update_ms: Option<u32>,
    /// Nominal cost of receiving on an interface; repeatable [default: 96]
    #[arg(long = "rxcost", value_name = "IF=N", value_parser = parse_rx_cost)]
    rx_costs: Vec<(String, u16)>,
    /// Authenticate packets with this key: hmac-sha256:HEX, blake2s:HEX, or better @FILE with one of these on
    /// each line, as others can see command lines; repeatable, one matching key is enough. SIGHUP reads the
    /// files again
    #[arg(long = "mac", value_name = "KEY")]
    macs: Vec<String>,
    /// Sign with the MAC keys, but believe packets without; for while keys are being handed out
    #[arg(long, requires = "macs")]
    mac_sign_only: bool,
    /// Let the round-trip time over this interface add to its cost; repeatable
    #[arg(long = "rtt", value_name = "IF")]
    rtts: Vec<String>,
    /// Priority of our routes in the kernel [default: 1042]
    #[arg(long, value_name = "N")]
    kernel_metric: Option<u32>,
    /// Where routes are installed: main, none, or the number of a table [default: main]
    #[arg(long, value_name = "TABLE")]
    install: Option<Install>,
    /// Directory that keeps router-id and sequence number for the next start
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Unix socket that `osier babel dump` asks
    #[arg(long, value_name = "PATH", required_unless_present = "config")]
    control: Option<PathBuf>,
    /// error, warn, info, debug or trace, or MODULE=LEVEL,… [default: info]
    #[arg(long, value_name = "LEVEL", env = "OSIER_LOG")]
    log_level: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Print the routes and neighbours of a running `osier babel`
    Dump {
        /// Only routes to this prefix, or to what covers this address
        #[arg(value_name = "PREFIX", value_parser = parse_target)]
        prefix: Option<IpNet>,
        /// The socket that it was started with
        #[arg(long, value_name = "PATH")]
        control: PathBuf,
    },
    /// Check a configuration file without starting anything
    Check {
        /// The file to check
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
    },
}

/// A prefix, or an address as the prefix of all its bits.
pub(super) fn parse_target(text: &str) -> Result<IpNet, String> {
    text.parse()
        .or_else(|_| text.parse().map(|address: IpAddr| IpNet::from(address)))
        .map_err(|_| format!("{text:?} is neither a prefix nor an address"))
}

/// Whether a route is about what was asked for: a single address means all routes that cover it.
pub(super) fn is_about(prefix: &IpNet, target: &IpNet) -> bool {
    let address = target.prefix_len() == target.max_prefix_len();
    prefix.trunc() == target.trunc() || (address && prefix.contains(target))
}

impl BabelArgs {
    /// Parsed here and not by clap, which would repeat a mistyped key in its message.
    fn keys(&self) -> Outcome<Vec<KeySource>> {
        let keys = self.macs.iter().map(|text| text.parse());
        keys.collect::<Result<_, MacError>>()
            .map_err(|e| Failure::plain(Exit::Usage, e.to_string()))
    }

    /// The file's settings, if there is one, with those of the command line over them.
    fn config(&self) -> Outcome<Config> {
        let mut config = match &self.config {
            Some(path) => load(path)?,
            None => Config::new(Vec::new(), PathBuf::new()),
        };
        if !self.interfaces.is_empty() {
            let known = std::mem::take(&mut config.interfaces);
            let options = |name: &String| known.iter().find(|i| i.name == *name).cloned();
            config.interfaces = self
                .interfaces
                .iter()
                .map(|name| options(name).unwrap_or_else(|| InterfaceOptions::new(name)))
                .collect();
        }
        for (name, cost) in &self.rx_costs {
            let Some(interface) = config.interfaces.iter_mut().find(|i| i.name == *name) else {
                return Err(Failure::new(
                    Exit::Usage,
                    format!("--rxcost names {name}, which is no interface of ours"),
                    format!("add `-i {name}`"),
                ));
            };
            interface.rx_cost = *cost;
        }
        if !self.prefixes.is_empty() {
            config.prefixes.clone_from(&self.prefixes);
        }
        if !self.source_prefixes.is_empty() {
            config.source_prefixes.clone_from(&self.source_prefixes);
        }
        config.router_id = self.router_id.or(config.router_id);
        if let Some(ms) = self.hello_ms {
            config.set_hello_interval(Duration::from_millis(ms.into()));
            config.interfaces.iter_mut().for_each(|i| i.hello_interval = None);
        }
        if let Some(ms) = self.update_ms {
            config.update_interval = Duration::from_millis(ms.into());
            config
                .interfaces
                .iter_mut()
                .for_each(|i| i.update_interval = None);
        }
        config.kernel_metric = self.kernel_metric.unwrap_or(config.kernel_metric);
        config.install = self.install.unwrap_or(config.install);
        config.state = self.state.clone().or(config.state);
        if let Some(control) = &self.control {
            config.control.clone_from(control);
        }
        for name in &self.rtts {
            let Some(interface) = config.interfaces.iter_mut().find(|i| i.name == *name) else {
                return Err(Failure::new(
                    Exit::Usage,
                    format!("--rtt names {name}, which is no interface of ours"),
                    format!("add `-i {name}`"),
                ));
            };
            interface.rtt = true;
        }
        if !self.macs.is_empty() {
            config.mac.keys = self.keys()?;
            config.mac.sign_only = self.mac_sign_only;
        }
        config
            .check()
            .map_err(|e| Failure::plain(Exit::Usage, e.to_string()))?;
        Ok(config)
    }
}

fn load(path: &Path) -> Outcome<Config> {
    Config::load(path).map_err(|error| {
        let exit = match &error {
            FileError::Read { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                Exit::Permission
            }
            _ => Exit::Usage,
        };
        Failure::plain(exit, error.to_string())
    })
}

pub(crate) async fn babel(args: &BabelArgs, output: &Output) -> Outcome {
    match &args.action {
        Some(Action::Dump { control, prefix }) => {
            let mut report = babel_mode::dump(control).await.map_err(|e| explain(&e))?;
            if let Some(target) = prefix {
                report.routes.retain(|route| is_about(&route.prefix, target));
                report.held.retain(|held| is_about(&held.prefix, target));
            }
            output.show(&report, render)
        }
        Some(Action::Check { config: path }) => {
            let config = load(path)?;
            // Interfaces and the socket may come from the command line.
            output.show(&Checked::new(&config), |checked| {
                format!("{}: {checked}\n", path.display())
            })
        }
        None => run(args, output).await,
    }
}

async fn run(args: &BabelArgs, output: &Output) -> Outcome {
    let config = args.config()?;
    super::start_log(args.log_level.as_deref(), output)?;
    let listen = |e| Failure::io("cannot listen for signals", &e);
    let (mut stop, mut reload) = (Stop::watch().map_err(listen)?, Reload::watch().map_err(listen)?);
    let (sender, reloads) = mpsc::channel(1);
    let shutdown = async move {
        loop {
            tokio::select! {
                () = stop.requested() => return,
                () = reload.requested() => match args.config() {
                    // The receiver is gone only when we stop.
                    Ok(config) => drop(sender.send(config).await),
                    Err(failure) => tracing::error!("the configuration stays as it was: {}", failure.message),
                },
            }
        }
    };
    babel_mode::run(config, reloads, shutdown)
        .await
        .map_err(|e| explain(&e))
}

/// What a checked file amounts to.
#[derive(Debug, serde::Serialize)]
struct Checked {
    valid: bool,
    interfaces: Vec<String>,
    prefixes: Vec<IpNet>,
    import_rules: usize,
    export_rules: usize,
    install_rules: usize,
    redistribute_rules: usize,
}

impl Checked {
    fn new(config: &Config) -> Self {
        Self {
            valid: true,
            interfaces: config.interfaces.iter().map(|i| i.name.clone()).collect(),
            prefixes: config.prefixes.clone(),
            import_rules: config.import.len(),
            export_rules: config.export.len(),
            install_rules: config.install_rules.len(),
            redistribute_rules: config.redistribute.len(),
        }
    }
}

impl std::fmt::Display for Checked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "valid; {} interfaces, {} prefixes, {} import, {} export, {} install and {} redistribute rules",
            self.interfaces.len(),
            self.prefixes.len(),
            self.import_rules,
            self.export_rules,
            self.install_rules,
            self.redistribute_rules
        )
    }
}

fn explain(error: &Error) -> Failure {
    let exit = match error {
        Error::Config(_) | Error::Mac(_) | Error::NoRouterId => Exit::Usage,
        Error::PortInUse { .. } | Error::AlreadyRunning(_) => Exit::Conflict,
        Error::Permission { .. } => Exit::Permission,
        Error::NotRunning { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            Exit::Permission
        }
        Error::NotRunning { .. } => Exit::NotRunning,
        _ => Exit::Failure,
    };
    Failure::plain(exit, error.to_string())
}

fn render(report: &Report) -> String {
    let number = |n: u16| {
        if n == osier_babel::INFINITY {
            "infinite".to_owned()
        } else {
            n.to_string()
        }
    };
    let announced: Vec<String> = report.announced.iter().map(ToString::to_string).collect();
    let mut text = format!(
        "{} {} {}\n",
        paint(BOLD, "router-id"),
        report.router_id,
        announced.join(" ")
    );
    text += "\n";
    text += &table(
        ["INTERFACE", "STATE", "ADDRESS", "RXCOST"],
        &[3],
        report.interfaces.iter().map(|i| {
            let state = if i.active { "up" } else { "waiting" };
            let address = i.link_local.map_or("-".into(), |a| a.to_string());
            [i.dev.clone(), state.into(), address, i.rx_cost.to_string()]
        }),
    );
    text += "\n";
    text += &table(
        ["NEIGHBOUR", "DEV", "COST", "RXCOST", "TXCOST", "RTT"],
        &[2, 3, 4, 5],
        report.neighbours.iter().map(|n| {
            let rtt = n.rtt_ms.map_or("-".into(), |ms| {
                format::rtt(Duration::try_from_secs_f64(ms / 1000.0).unwrap_or_default())
            });
            [
                n.addr.to_string(),
                n.dev.clone(),
                number(n.cost),
                number(n.rx_cost),
                number(n.tx_cost),
                rtt,
            ]
        }),
    );
    text += "\n";
    text += &table(
        [
            "PREFIX",
            "FROM",
            "VIA",
            "DEV",
            "METRIC",
            "ROUTER-ID",
            "SEQNO",
            "WHY OR WHY NOT",
        ],
        &[4, 6],
        report.routes.iter().map(|r| {
            let source = r.src.map_or("-".into(), |s| s.to_string());
            [
                r.prefix.to_string(),
                source,
                r.via.to_string(),
                r.dev.clone(),
                number(r.metric),
                r.router_id.clone(),
                r.seqno.to_string(),
                r.why.clone(),
            ]
        }),
    );
    if !report.held.is_empty() {
        text += "\n";
        text += &table(
            ["HELD UNREACHABLE", "FROM", "FOR", "WAITS FOR"],
            &[2],
            report.held.iter().map(|held| {
                [
                    held.prefix.to_string(),
                    held.src.map_or("-".into(), |source| source.to_string()),
                    format!("{:.0} s", held.seconds_left),
                    format!("{} neighbours", held.awaiting),
                ]
            }),
        );
    }
    let seen = report.counters.iter().filter(|(_, count)| **count > 0);
    text += "\n";
    text += &table(
        ["COUNTER", "VALUE"],
        &[1],
        seen.map(|(name, count)| [name.clone(), count.to_string()]),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::json;

    #[derive(Debug, Parser)]
    struct Wrapper {
        #[command(flatten)]
        babel: BabelArgs,
    }

    fn parse(line: &str) -> Result<Outcome<Config>, clap::Error> {
        let args = Wrapper::try_parse_from(std::iter::once("x").chain(line.split_whitespace()))?.babel;
        Ok(args.config())
    }

    #[test]
    fn the_whole_command_line_reaches_the_configuration() {
        let config = parse(
            "-i eth0 -i eth1 -p fd00::/64 -p 10.0.0.0/8 --router-id 0123456789abcdef --hello-ms 500 --update-ms 3000 \
             --rxcost eth1=256 --control /run/b.sock",
        )
        .expect("parses")
        .expect("valid");
        let costs: Vec<u16> = config.interfaces.iter().map(|i| i.rx_cost).collect();
        assert_eq!(costs, [96, 256]);
        assert_eq!(config.prefixes.len(), 2);
        assert_eq!(config.router_id.expect("given").to_string(), "0123456789abcdef");
        assert_eq!(
            (config.hello_interval, config.update_interval),
            (Duration::from_millis(500), Duration::from_secs(3))
        );
    }

    #[test]
    fn updates_follow_the_hellos_unless_told() {
        let interval = |line: &str| parse(line).expect("parses").expect("valid").update_interval;
        assert_eq!(interval("-i e --control c"), Config::DEFAULT_UPDATE_INTERVAL);
        assert_eq!(
            interval("-i e --control c --hello-ms 200"),
            Duration::from_millis(800)
        );
        assert_eq!(
            interval("-i e --control c --hello-ms 600000"),
            Duration::from_millis(655_350)
        );
    }

    #[test]
    fn the_command_line_comes_before_the_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("babel.toml");
        let text = "control = '/run/file.sock'\nprefixes = ['10.0.0.0/8']\nhello-ms = 1000\nrouter-id = '0123456789abcdef'\n\
                    [kernel]\ntable = 'none'\n\
                    [[interface]]\nname = 'a'\nrxcost = 200\nhello-ms = 2000\n[[interface]]\nname = 'b'\n";
        std::fs::write(&path, text).expect("written");
        let config = |more: &str| {
            parse(&format!("--config {} {more}", path.display()))
                .expect("parses")
                .expect("valid")
        };
        let costs = |config: &Config| -> Vec<(String, u16)> {
            config
                .interfaces
                .iter()
                .map(|i| (i.name.clone(), i.rx_cost))
                .collect()
        };
        let file = config("");
        assert_eq!(costs(&file), [("a".into(), 200), ("b".into(), 96)]);
        assert_eq!(
            (file.control.to_str(), file.install),
            (Some("/run/file.sock"), Install::None)
        );
        let over = config(
            "-i c -i a --rxcost c=7 -p fd00::/48 --hello-ms 500 --control /run/x --install 9 --state /s",
        );
        assert_eq!(costs(&over), [("c".into(), 7), ("a".into(), 200)]);
        assert_eq!(over.prefixes, ["fd00::/48".parse().expect("a prefix")]);
        assert_eq!(over.router_id, file.router_id);
        let intervals = over.intervals(&over.interfaces[1]);
        assert_eq!(intervals, (Duration::from_millis(500), Duration::from_secs(2)));
        assert_eq!(
            (over.control.to_str(), over.install),
            (Some("/run/x"), Install::Table(9))
        );
        assert_eq!(over.state, Some("/s".into()));
    }

    #[test]
    fn a_prefix_means_itself_and_an_address_what_covers_it() {
        let about = |prefix: &str, target: &str| {
            is_about(
                &prefix.parse().expect("a prefix"),
                &parse_target(target).expect("a target"),
            )
        };
        assert!(about("10.0.0.0/8", "10.0.0.0/8") && !about("10.0.0.0/8", "10.1.0.0/16"));
        assert!(about("10.0.0.0/8", "10.1.2.3") && about("0.0.0.0/0", "10.1.2.3"));
        assert!(!about("::/0", "10.1.2.3") && about("fd00::1/128", "fd00::1"));
        assert!(parse_target("ten").is_err());
    }

    #[test]
    fn a_cost_for_a_foreign_interface_is_refused() {
        let failure = parse("-i e --control c --rxcost f=1")
            .expect("parses")
            .expect_err("foreign");
        assert_eq!(failure.exit, Exit::Usage);
    }

    #[test]
    fn keys_and_round_trip_times_reach_the_configuration() {
        let config = parse(
            "-i a -i b --control c --mac hmac-sha256:0011 --mac blake2s:22 --mac @/etc/k --mac-sign-only --rtt b",
        )
        .expect("parses")
        .expect("valid");
        assert_eq!(config.mac.keys.len(), 3);
        assert!(config.mac.sign_only && config.mac.has_files());
        assert_eq!(
            config.interfaces.iter().map(|i| i.rtt).collect::<Vec<_>>(),
            [false, true]
        );
        let failure = parse("-i e --control c --mac md5:5ecre7")
            .expect("parses")
            .expect_err("no key");
        assert!(failure.exit == Exit::Usage && !failure.message.contains("5ecre7"));
        let failure = parse("-i e --control c --rtt f")
            .expect("parses")
            .expect_err("foreign");
        assert_eq!(failure.exit, Exit::Usage);
    }

    #[test]
    fn a_source_prefix_needs_a_prefix_to_go_with() {
        let line = "-i e --control c -p fd01::/48 --source-prefix fd00::/64";
        let config = parse(line).expect("parses").expect("valid");
        assert_eq!(config.source_prefixes, ["fd00::/64".parse().expect("a prefix")]);
        let failure = parse("-i e --control c -p 10.0.0.0/8 --source-prefix fd00::/64")
            .expect("parses")
            .expect_err("no IPv6 prefix");
        assert_eq!(failure.exit, Exit::Usage);
    }

    #[test]
    fn options_of_later_versions_are_not_ignored() {
        for line in ["-i e --control c --mac-sign-only", "-i e", "--control c"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_dump_needs_nothing_but_the_socket() {
        let args = Wrapper::try_parse_from(["x", "dump", "--control", "c"])
            .expect("parses")
            .babel;
        assert!(args.action.is_some());
    }

    #[test]
    fn a_report_shows_why_routes_are_not_used() {
        let route = |via: &str, metric: u16, feasible: bool, selected: bool, installed: bool, why: &str| {
            json!({"prefix": "fd00::/64", "src": null, "via": via, "dev": "eth0", "neighbour": "fe80::2", "metric": metric,
                   "refmetric": 0, "router_id": "0123456789abcdef", "seqno": 3, "installed": installed,
                   "feasible": feasible, "selected": selected, "state": "of no matter here", "why": why})
        };
        let report: Report = serde_json::from_value(json!({
            "router_id": "fedcba9876543210", "seqno": 1, "announced": ["fd01::/64"],
            "interfaces": [{"dev": "eth0", "active": true, "link_local": "fe80::1", "ipv4": null, "rx_cost": 96},
                           {"dev": "eth1", "active": false, "link_local": null, "ipv4": null, "rx_cost": 256}],
            "routes": [route("fe80::2", 96, true, true, true, "in use"),
                       route("fe80::3", 96, true, true, false, "the kernel refused it"),
                       route("fe80::4", 192, true, false, false, "no better"),
                       route("fe80::5", 192, false, false, false, "could make a loop"),
                       route("fe80::6", 65535, true, false, false, "the link is down")],
            "neighbours": [{"addr": "fe80::2", "dev": "eth0", "cost": 96, "rx_cost": 96, "tx_cost": 96, "rtt_ms": 1.5},
                           {"addr": "fe80::3", "dev": "eth0", "cost": 65535, "rx_cost": 96, "tx_cost": 65535, "rtt_ms": null}],
            "counters": {"packets_received": 7, "malformed_packets": 2, "ignored_tlvs": 0},
        }))
        .expect("a report");
        insta::assert_snapshot!(anstream::adapter::strip_str(&render(&report)).to_string());
    }
}
