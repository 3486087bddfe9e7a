//! The configuration file: TOML, read strictly. `docs/osier-babel.toml` shows every key.
//!
//! Values that stand for themselves are checked while they are read, so that the parser knows their line; what
//! concerns several keys is checked afterwards, by the spans that were kept.

use super::config::{LONGEST_INTERVAL, SHORTEST_INTERVAL, routable};
use super::{
    Config, Install, InterfaceOptions, KeySource, LinkKind, MacError, MacOptions, Protocol, Redistribute,
    RouteRule, parse_router_id,
};
use ipnet::IpNet;
use osier_babel::RouterId;
use osier_babel::filter::{Action, PrefixRange, SourceMatch};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use std::collections::BTreeSet;
use std::io;
use std::net::Ipv6Addr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use toml::Spanned;

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// `key` is what stands there: the name of a key, or a header in brackets.
    #[error("{}, line {line}, `{key}`: {reason}", path.display())]
    Invalid {
        path: PathBuf,
        line: usize,
        key: String,
        reason: String,
    },
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`FileError`] names the line, the key and what to do. What flags may still supply (interfaces, control
    /// socket) may be missing; [`Config::check`] comes after them.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let text = std::fs::read_to_string(path).map_err(|source| FileError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// As [`Config::load`]; `path` is for messages only.
    pub fn parse(text: &str, path: &Path) -> Result<Self, FileError> {
        toml::from_str::<File>(text)
            .map_err(|error| Mistake {
                at: error.span().unwrap_or(0..0),
                reason: error.message().trim().to_owned(),
            })
            .and_then(File::into_config)
            .map_err(|mistake| mistake.in_file(text, path))
    }
}

/// Something wrong at a place in the text.
#[derive(Debug)]
struct Mistake {
    at: Range<usize>,
    reason: String,
}

impl Mistake {
    fn new(at: &Range<usize>, reason: impl Into<String>) -> Self {
        Self {
            at: at.clone(),
            reason: reason.into(),
        }
    }

    fn in_file(self, text: &str, path: &Path) -> FileError {
        let before = text.get(..self.at.start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        // The key is on this line, or further up when the value has several lines.
        let key = text
            .lines()
            .take(line)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .find_map(|line| {
                let line = line.trim();
                if line.starts_with("[[") || (line.starts_with('[') && line.ends_with(']')) {
                    return Some(line);
                }
                line.split_once('=').map(|(key, _)| key.trim())
            });
        let reason = match self.reason.strip_prefix("missing field ") {
            Some(field) => format!("{field} is missing here: add it"),
            None => self.reason,
        };
        FileError::Invalid {
            path: path.to_owned(),
            line,
            key: key.unwrap_or_default().to_owned(),
            reason: reason.replace('\n', " "),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    router_id: Option<Text<Id>>,
    control: Option<PathBuf>,
    state: Option<PathBuf>,
    #[serde(default)]
    prefixes: Vec<Text<OwnPrefix>>,
    #[serde(default)]
    source_prefixes: Vec<Text<OwnPrefix>>,
    hello_ms: Option<Spanned<Interval>>,
    update_ms: Option<Spanned<Interval>>,
    #[serde(default)]
    mac: Keys,
    #[serde(default)]
    mac_sign_only: bool,
    #[serde(default)]
    kernel: Kernel,
    #[serde(default)]
    interface: Vec<Interface>,
    #[serde(default)]
    import: Vec<Rule>,
    #[serde(default)]
    export: Vec<Rule>,
    #[serde(default)]
    install: Vec<Rule>,
    #[serde(default)]
    redistribute: Vec<Spanned<Announce>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Kernel {
    table: Option<Text<Install>>,
    metric: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Interface {
    name: Spanned<Text<Name>>,
    kind: Option<LinkKind>,
    rxcost: Option<Cost>,
    hello_ms: Option<Spanned<Interval>>,
    update_ms: Option<Spanned<Interval>>,
    split_horizon: Option<bool>,
    rtt: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Rule {
    interface: Option<Spanned<Text<Name>>>,
    neighbour: Option<Spanned<Text<Neighbour>>>,
    prefix: Option<Spanned<Prefixes>>,
    ge: Option<Spanned<u8>>,
    le: Option<Spanned<u8>>,
    source: Option<Text<Source>>,
    router_id: Option<Text<Id>>,
    action: Word,
    add_metric: Option<Spanned<Cost>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Accept,
    Deny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Announce {
    protocol: Option<Text<Protocol>>,
    interface: Option<Text<Name>>,
    prefix: Option<Spanned<Prefixes>>,
    ge: Option<Spanned<u8>>,
    le: Option<Spanned<u8>>,
    metric: Option<Spanned<Metric>>,
    #[serde(default = "accept")]
    action: Word,
}

fn accept() -> Word {
    Word::Accept
}

/// MAC keys. No message about them repeats what stands there.
#[derive(Default)]
struct Keys(Vec<KeySource>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let toml::Value::Array(values) = toml::Value::deserialize(deserializer)? else {
            return Err(D::Error::custom(
                "give a list of keys, e.g. [\"@/etc/osier-babel.keys\"]",
            ));
        };
        let keys = values
            .iter()
            .map(|value| value.as_str().unwrap_or_default().parse());
        keys.collect::<Result<_, MacError>>()
            .map(Self)
            .map_err(D::Error::custom)
    }
}

/// One prefix or a list of them.
struct Prefixes(Vec<IpNet>);

impl<'de> Deserialize<'de> for Prefixes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => vec![text],
            toml::Value::Array(values) => values
                .into_iter()
                .map(|value| value.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .ok_or_else(|| D::Error::custom("give prefixes as text, e.g. \"10.0.0.0/8\""))?,
            _ => {
                return Err(D::Error::custom(
                    "give a prefix as text, e.g. \"10.0.0.0/8\", or a list of them",
                ));
            }
        };
        if texts.is_empty() {
            return Err(D::Error::custom(
                "an empty list matches nothing: leave the key out to match everything",
            ));
        }
        let prefixes: Result<_, _> = texts.iter().map(|text| parse_prefix(text)).collect();
        prefixes.map(Self).map_err(D::Error::custom)
    }
}

fn parse_prefix(text: &str) -> Result<IpNet, String> {
    let prefix: IpNet = text
        .parse()
        .map_err(|_| format!("{text:?} is no prefix: write e.g. 10.0.0.0/8 or fd00::/48"))?;
    if prefix.trunc() != prefix {
        return Err(format!(
            "{text:?} has bits behind its length: write {}",
            prefix.trunc()
        ));
    }
    Ok(prefix)
}

/// A value written as text, or as a number where that is what the text would be.
struct Text<T>(T);

impl<'de, T> Deserialize<'de> for Text<T>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            other => {
                return Err(D::Error::custom(format!(
                    "expected text, found a {}",
                    other.type_str()
                )));
            }
        };
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

struct Id(RouterId);

impl FromStr for Id {
    type Err = super::ConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_router_id(text).map(Self)
    }
}

struct Name(String);

impl FromStr for Name {
    type Err = super::ConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        super::config::check_name(text)?;
        Ok(Self(text.to_owned()))
    }
}

struct Neighbour(Ipv6Addr);

impl FromStr for Neighbour {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = text.parse().ok().filter(Ipv6Addr::is_unicast_link_local);
        address
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no neighbour: give its link-local address, e.g. fe80::1"))
    }
}

/// A prefix that can be announced as ours.
struct OwnPrefix(IpNet);

impl FromStr for OwnPrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let prefix = parse_prefix(text)?;
        if routable(&prefix) {
            Ok(Self(prefix))
        } else {
            Err(super::ConfigError::Prefix(prefix).to_string())
        }
    }
}

struct Source(SourceMatch);

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "any" => Ok(Self(SourceMatch::Any)),
            "none" => Ok(Self(SourceMatch::None)),
            _ => {
                let prefix = parse_prefix(text).map_err(|e| format!("{e}, or \"any\" or \"none\""))?;
                PrefixRange::new(prefix, None, Some(prefix.max_prefix_len()))
                    .map(|range| Self(SourceMatch::Within(range)))
                    .map_err(|e| e.to_string())
            }
        }
    }
}

/// Milliseconds within the wire's limits.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "i64")]
struct Interval(Duration);

impl TryFrom<i64> for Interval {
    type Error = String;

    fn try_from(ms: i64) -> Result<Self, String> {
        let interval = u64::try_from(ms).ok().map(Duration::from_millis);
        interval
            .filter(|i| (SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(i))
            .map(Self)
            .ok_or_else(|| format!("{ms} is out of range: give 10 to 655350 milliseconds"))
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "i64")]
struct Cost(u16);

impl TryFrom<i64> for Cost {
    type Error = String;

    fn try_from(cost: i64) -> Result<Self, String> {
        let number = u16::try_from(cost)
            .ok()
            .filter(|n| (1..osier_babel::INFINITY).contains(n));
        number
            .map(Self)
            .ok_or_else(|| format!("{cost} is out of range: give 1 to 65534"))
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "i64")]
struct Metric(u16);

impl TryFrom<i64> for Metric {
    type Error = String;

    fn try_from(metric: i64) -> Result<Self, String> {
        let number = u16::try_from(metric).ok().filter(|n| *n < osier_babel::INFINITY);
        number
            .map(Self)
            .ok_or_else(|| format!("{metric} is out of range: give 0 to 65534"))
    }
}

/// Which list a rule stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    Import,
    Export,
    Install,
}

impl File {
    fn into_config(self) -> Result<Config, Mistake> {
        let mut config = Config::new(Vec::new(), self.control.unwrap_or_default());
        config.state = self.state;
        config.router_id = self.router_id.map(|id| id.0.0);
        config.mac = MacOptions {
            keys: self.mac.0,
            sign_only: self.mac_sign_only,
        };
        config.prefixes = self.prefixes.into_iter().map(|p| p.0.0).collect();
        config.source_prefixes = self.source_prefixes.into_iter().map(|p| p.0.0).collect();
        config.install = self.kernel.table.map_or(Install::MAIN, |t| t.0);
        config.kernel_metric = self.kernel.metric.unwrap_or(Config::DEFAULT_KERNEL_METRIC);
        if let Some(hello) = &self.hello_ms {
            config.set_hello_interval(hello.get_ref().0);
        }
        if let Some(update) = &self.update_ms {
            at_least(update, config.hello_interval)?;
            config.update_interval = update.get_ref().0;
        }
        let mut names = BTreeSet::new();
        for interface in self.interface {
            let options = interface.into_options(&config)?;
            if !names.insert(options.0.name.clone()) {
                return Err(Mistake::new(
                    &options.1,
                    format!("{} has a section already: merge the two", options.0.name),
                ));
            }
            config.interfaces.push(options.0);
        }
        for (rules, list, into) in [
            (self.import, List::Import, &mut config.import),
            (self.export, List::Export, &mut config.export),
            (self.install, List::Install, &mut config.install_rules),
        ] {
            for rule in rules {
                into.extend(rule.into_rules(list, &names)?);
            }
        }
        for announce in self.redistribute {
            let span = announce.span();
            config
                .redistribute
                .extend(announce.into_inner().into_rules(&span)?);
        }
        Ok(config)
    }
}

fn at_least(update: &Spanned<Interval>, hello: Duration) -> Result<(), Mistake> {
    if update.get_ref().0 >= hello {
        return Ok(());
    }
    let reason = format!(
        "must be at least the Hello interval, which is {} ms here",
        hello.as_millis()
    );
    Err(Mistake::new(&update.span(), reason))
}

impl Interface {
    /// The options, and where the name stands.
    fn into_options(self, config: &Config) -> Result<(InterfaceOptions, Range<usize>), Mistake> {
        let span = self.name.span();
        let mut options = InterfaceOptions::new(self.name.into_inner().0.0);
        options.kind = self.kind.unwrap_or_default();
        options.rx_cost = self.rxcost.map_or(options.kind.rx_cost(), |cost| cost.0);
        options.split_horizon = self.split_horizon;
        options.rtt = self.rtt.unwrap_or(options.kind == LinkKind::Tunnel);
        options.hello_interval = self.hello_ms.map(|hello| hello.into_inner().0);
        options.update_interval = self.update_ms.as_ref().map(|update| update.get_ref().0);
        if let Some(update) = &self.update_ms {
            at_least(update, options.hello_interval.unwrap_or(config.hello_interval))?;
        }
        Ok((options, span))
    }
}

impl Rule {
    /// One rule for each of its prefixes.
    fn into_rules(self, list: List, names: &BTreeSet<String>) -> Result<Vec<RouteRule>, Mistake> {
        if let Some(name) = &self.interface {
            let text = &name.get_ref().0.0;
            // Without any section the interfaces come from the command line.
            if !names.is_empty() && !names.contains(text) {
                let reason =
                    format!("no [[interface]] section is called {text:?}: add one, or correct the name");
                return Err(Mistake::new(&name.span(), reason));
            }
        }
        if let (Some(neighbour), List::Export) = (&self.neighbour, list) {
            let reason = "updates go to all neighbours of an interface alike: use `interface` instead";
            return Err(Mistake::new(&neighbour.span(), reason));
        }
        let action = match (self.action, &self.add_metric) {
            (Word::Deny, None) => Action::Deny,
            (Word::Deny, Some(add)) => {
                return Err(Mistake::new(
                    &add.span(),
                    "what is denied has no metric: remove this key",
                ));
            }
            (Word::Accept, Some(add)) if list == List::Install => {
                let reason = "the kernel's metric is the same for all routes: use [[import]] instead";
                return Err(Mistake::new(&add.span(), reason));
            }
            (Word::Accept, add) => Action::Accept {
                add: add.as_ref().map_or(0, |add| add.get_ref().0),
            },
        };
        let rule = RouteRule {
            interface: self.interface.map(|name| name.into_inner().0.0),
            neighbour: self.neighbour.map(|address| address.into_inner().0.0),
            prefix: None,
            source: self.source.map_or(SourceMatch::Any, |source| source.0.0),
            router_id: self.router_id.map(|id| id.0.0),
            action,
        };
        let ranges = ranges(self.prefix, self.ge, self.le)?;
        Ok(ranges
            .into_iter()
            .map(|prefix| RouteRule {
                prefix,
                ..rule.clone()
            })
            .collect())
    }
}

impl Announce {
    fn into_rules(self, span: &Range<usize>) -> Result<Vec<Redistribute>, Mistake> {
        if self.protocol.is_none() && self.interface.is_none() && self.prefix.is_none() {
            let reason =
                "this would announce every route of the kernel: give `protocol`, `interface` or `prefix`";
            return Err(Mistake::new(span, reason));
        }
        let metric = match (self.action, self.metric) {
            (Word::Deny, Some(metric)) => {
                return Err(Mistake::new(
                    &metric.span(),
                    "what is denied has no metric: remove this key",
                ));
            }
            (Word::Deny, None) => None,
            (Word::Accept, metric) => Some(metric.map_or(0, |metric| metric.into_inner().0)),
        };
        let rule = Redistribute {
            protocol: self.protocol.map(|protocol| protocol.0),
            interface: self.interface.map(|name| name.0.0),
            prefix: None,
            metric,
        };
        let ranges = ranges(self.prefix, self.ge, self.le)?;
        Ok(ranges
            .into_iter()
            .map(|prefix| Redistribute {
                prefix,
                ..rule.clone()
            })
            .collect())
    }
}

/// A range for each prefix; one `None` without any.
fn ranges(
    prefixes: Option<Spanned<Prefixes>>,
    ge: Option<Spanned<u8>>,
    le: Option<Spanned<u8>>,
) -> Result<Vec<Option<PrefixRange>>, Mistake> {
    let Some(prefixes) = prefixes else {
        return match ge.or(le) {
            Some(bound) => Err(Mistake::new(
                &bound.span(),
                "means nothing without `prefix`: add that",
            )),
            None => Ok(vec![None]),
        };
    };
    let span = ge.as_ref().or(le.as_ref()).map_or(prefixes.span(), Spanned::span);
    let (ge, le) = (ge.map(Spanned::into_inner), le.map(Spanned::into_inner));
    let ranges = prefixes.into_inner().0.into_iter().map(|prefix| {
        PrefixRange::new(prefix, ge, le)
            .map(Some)
            .map_err(|error| Mistake::new(&span, error.to_string()))
    });
    ranges.collect()
}

#[cfg(test)]
mod tests;
