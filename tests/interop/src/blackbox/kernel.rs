//! The common judge: what a daemon does with routes shows in its kernel, whichever daemon it is.

use osier_lab::Netns;
use serde_json::Value;

/// Where the kernel sends packets for a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Via { next_hop: String, dev: String },
    Unreachable,
    None,
}

/// The route for exactly this prefix (and source prefix). Routes of the kernel itself do not count.
pub(super) fn way(netns: &Netns, prefix: &str, source: Option<&str>) -> Way {
    let found = routes(netns, prefix.contains(':')).into_iter().find(|route| {
        let same = same_prefix(route["dst"].as_str().unwrap_or_default(), prefix);
        let from = route["from"].as_str().or_else(|| route["src_prefix"].as_str());
        same && from == source && route["protocol"] != "kernel"
    });
    let Some(route) = found else {
        return Way::None;
    };
    if route["type"].as_str().is_some_and(|kind| kind != "unicast") {
        return Way::Unreachable;
    }
    let hop = match route["nexthops"].get(0) {
        Some(first) => first.clone(),
        None => route,
    };
    let next_hop = hop["gateway"].as_str().or_else(|| hop["via"]["host"].as_str());
    Way::Via {
        next_hop: next_hop.unwrap_or_default().to_owned(),
        dev: hop["dev"].as_str().unwrap_or_default().to_owned(),
    }
}

/// How many routes lie within the first `start` characters of a prefix and forward.
pub(super) fn count(netns: &Netns, start: &str) -> usize {
    routes(netns, start.contains(':'))
        .iter()
        .filter(|route| route["dst"].as_str().is_some_and(|dst| dst.starts_with(start)))
        .filter(|route| route["type"].as_str().is_none_or(|kind| kind == "unicast"))
        .count()
}

fn routes(netns: &Netns, v6: bool) -> Vec<Value> {
    let family = if v6 { "-6" } else { "-4" };
    netns
        .run(&format!("ip -j {family} route show"))
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default()
}

/// `ip` leaves out the length of an address and calls the shortest prefix `default`.
fn same_prefix(shown: &str, prefix: &str) -> bool {
    let host = |length: &str| prefix.strip_suffix(length) == Some(shown);
    shown == prefix
        || host("/128")
        || (host("/32") && !prefix.contains(':'))
        || (shown == "default" && prefix.ends_with("/0"))
}
